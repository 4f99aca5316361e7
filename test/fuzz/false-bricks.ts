/**
 * A brick that knows the secret and means no good, in front of a client with a mount on top: answers to nothing, of another operation, cut short,
 * with identities of others and lists without end; recalls, redirects and new views in any number. Whatever it says, no request of the kernel is
 * answered twice or with what the kernel would refuse, and the client serves when an honest brick is there again.
 */
import { InHeader, OutHeader, ReadIn } from '../../src/fuse/abi.js';
import { ERRNO_MAX, Opcode } from '../../src/fuse/abi-constants.js';
import { Errno, LostError } from '../../src/base/errno.js';
import { VolumeClient } from '../../src/client/client.js';
import type { Channel, Network } from '../../src/env/channel.js';
import { silentLog } from '../../src/env/log.js';
import type { View } from '../../src/fops/view.js';
import { RealClock, RealRandom } from '../../src/platform/clock.js';
import { encodeFrame } from '../../src/wire/codec.js';
import { answerHandshake } from '../../src/wire/handshake.js';
import { MESSAGES, type Message, type MessageOf } from '../../src/wire/messages.js';
import { OPS } from '../../src/fops/ops.js';
import { SeededRandom } from '../sim/world.js';
import { VOLUME } from '../support/brick-set.js';
import { FakeKernel } from '../support/fake-kernel.js';
import { CAPTURED } from '../unit/fuse/captured-requests.js';
import { SECRET, SELF, SIBLING, THIRD } from './lone-brick.js';
import { Mutator, putTogether, takeApart, type Parts } from './mutate.js';
import { pair, type PipeChannel } from './pipe-channel.js';
import type { Recording } from './recording.js';
import { describe, turn, Watch, within, type Figures } from './watch.js';

const MEMORY_MIB_MAX = 700;
const BATCH = 100;
const NEW_CLIENT_EVERY = 4_000;
const HONEST_MS = 5_000;
const REPLY = MESSAGES.reply.code;
const SIZED = new Set<number>([Opcode.READ, Opcode.READDIR, Opcode.READDIRPLUS]);
/** Places in a reply. */
const ID = 1;
const ERRNO = 2;
const OPERATION = 4;

/** Connects to whatever the test puts behind it. */
class FalseNetwork implements Network<Message> {
  accept: (channel: PipeChannel) => void = () => undefined;

  connect(): Promise<Channel<Message>> {
    const { near, far } = pair();
    this.accept(far);
    return far.closed ? Promise.reject(new LostError('refused', Errno.ECONNREFUSED)) : Promise.resolve(near);
  }

  listen(): never {
    throw new Error('nobody listens here');
  }
}

interface Mount {
  client: VolumeClient;
  kernel: FakeKernel;
  network: FalseNetwork;
  /** The brick's end of the connection; undefined while there is none. */
  channel: PipeChannel | undefined;
  asked: MessageOf<'request'>[];
}

export class FalseBrickAttack {
  readonly watch = new Watch('false brick → client and mount', MEMORY_MIB_MAX);
  readonly #random: SeededRandom;
  readonly #mutator: Mutator;
  readonly #frames: Buffer[];
  readonly #replies = new Map<number, Parts[]>();
  readonly #others: Parts[];
  readonly #env = { clock: new RealClock(), random: new RealRandom() };
  readonly #requests = Object.entries(CAPTURED).map(([, hex]) => Buffer.from(hex, 'hex'));
  #view: View = { epoch: 7, primary: SELF, inSync: [SELF, SIBLING, THIRD], catchingUp: [] };
  #unique = 100;
  /** Most bytes of the answer to a request that names a size. */
  readonly #limits = new Map<number, number>();
  #honest = false;
  #mount!: Mount;

  constructor(recording: Recording, seed: number) {
    this.#random = new SeededRandom(seed);
    this.#mutator = new Mutator(this.#random);
    this.#frames = recording.brickToClient;
    const parts = this.#frames.map(takeApart);
    for (const reply of parts.filter(({ items }) => items[0] === REPLY)) {
      const op = reply.items[OPERATION] as number;
      this.#replies.set(op, [...(this.#replies.get(op) ?? []), reply]);
    }
    this.#others = parts.filter(({ items }) => items[0] !== REPLY);
  }

  async run(inputs: number): Promise<Figures> {
    const { watch } = this;
    try {
      while (watch.inputs < inputs && watch.violations.length === 0) {
        this.#honest = false;
        this.#mount = this.#newMount();
        await turn();
        const until = Math.min(inputs, watch.inputs + NEW_CLIENT_EVERY);
        while (watch.inputs < until && watch.violations.length === 0) {
          for (let i = 0; i < BATCH && watch.violations.length === 0; i++) this.#throwOne();
          await turn();
          watch.sampleMemory();
        }
        await this.#check();
        this.#mount.client.close();
      }
    } catch (error) {
      watch.violation(describe(error));
    }
    return watch.end();
  }

  #newMount(): Mount {
    const network = new FalseNetwork();
    network.accept = (channel) => this.#accepted(channel);
    const brick = (id: string, port: number) => ({ id, node: 'n', host: 'host', path: '/b', port });
    const spec = { id: VOLUME, name: 'test', secret: SECRET, started: true, options: {}, bricks: [brick(SELF, 1), brick(SIBLING, 2), brick(THIRD, 3)] };
    const client = new VolumeClient({ ...this.#env, network, log: silentLog });
    const kernel = new FakeKernel(client.fops);
    this.#view = { ...this.#view, epoch: 7 };
    const mount: Mount = { client, kernel, network, channel: undefined, asked: [] };
    this.#mount = mount;
    client.update(spec, this.#view);
    return mount;
  }

  #accepted(channel: PipeChannel): void {
    const mount = this.#mount;
    const brick = mount.client.view.primary;
    answerHandshake(this.#env, channel, { volume: VOLUME, secret: SECRET, brick, view: () => this.#view }, () => {
      mount.channel = channel;
      channel.onClose = () => {
        if (mount.channel === channel) mount.channel = undefined;
        this.watch.refused++;
      };
      channel.onMessage = (message) => this.#asked(channel, message);
    }, () => undefined);
  }

  #asked(channel: PipeChannel, message: Message): void {
    if (message.kind === 'reclaim' && (this.#honest || this.#random.chance(0.8))) channel.send({ kind: 'reclaimed', id: message.id, errno: 0, losses: 0 });
    if (message.kind === 'ping' && this.#honest) channel.send({ kind: 'pong', id: message.id, epoch: this.#view.epoch, leaseMs: 500, equal: [], synced: 0 });
    if (message.kind !== 'request') return;
    if (this.#honest) this.#answerHonestly(channel, message);
    else if (this.#mount.asked.length < 500) this.#mount.asked.push(structuredClone(message));
  }

  #answerHonestly(channel: PipeChannel, { id, op }: MessageOf<'request'>): void {
    const space = { blockSize: 4096, blocks: 1, blocksFree: 1, blocksAvailable: 1, files: 1, filesFree: 1, nameMax: 255 };
    channel.send({ kind: 'reply', id, errno: op === 'statfs' ? 0 : Errno.ESTALE, lease: false, op, result: op === 'statfs' ? space : undefined } as Message);
  }

  /** The kernel asks, or the brick says something. */
  #throwOne(): void {
    const { watch } = this;
    const mount = this.#mount;
    const random = this.#random;
    try {
      if (random.chance(0.4) || mount.channel === undefined) this.#kernelAsks();
      if (mount.channel === undefined) {
        // The view names nobody any more: management tells another one.
        if (random.chance(0.2) && mount.client.view.epoch < Number.MAX_SAFE_INTEGER) {
          this.#view = { epoch: mount.client.view.epoch + 1, primary: random.pick([SELF, SIBLING]), inSync: [SELF, SIBLING], catchingUp: [] };
          this.#update();
        }
        return;
      }
      const frame = this.#next();
      watch.input(frame);
      mount.channel.raw(frame);
      this.#checkReplies();
    } catch (error) {
      watch.violation(`crash: ${describe(error)}`);
    }
  }

  #update(): void {
    const brick = (id: string, port: number) => ({ id, node: 'n', host: 'host', path: '/b', port });
    this.#mount.client.update({ id: VOLUME, name: 'test', secret: SECRET, started: true, options: {}, bricks: [brick(SELF, 1), brick(SIBLING, 2), brick(THIRD, 3)] }, this.#view);
  }

  #kernelAsks(): void {
    const { kernel } = this.#mount;
    const random = this.#random;
    if (kernel.session.outstanding > 300) return;
    const bytes = Buffer.from(random.pick(this.#requests));
    for (let n = random.below(3); n > 0; n--) {
      const at = InHeader.bytes + random.below(Math.max(1, bytes.length - InHeader.bytes));
      if (at < bytes.length) bytes[at] = random.below(256);
    }
    bytes.writeUInt32LE(bytes.length, InHeader.at.len);
    bytes.writeUInt32LE((this.#unique += 2), InHeader.at.unique);
    bytes.writeUInt32LE(random.pick([1, 1, 2, 3, 4]), InHeader.at.nodeid);
    const opcode = bytes.readUInt32LE(InHeader.at.opcode);
    if (SIZED.has(opcode) && bytes.length >= InHeader.bytes + ReadIn.bytes) this.#limits.set(this.#unique, bytes.readUInt32LE(InHeader.bytes + ReadIn.at.size));
    this.watch.input(bytes, 'kernel');
    void kernel.send(bytes);
  }

  #next(): Buffer {
    const random = this.#random;
    const { asked } = this.#mount;
    if (random.chance(0.1)) return this.#mutator.bytes(random.pick(this.#frames), random.pick(this.#frames));
    if (random.chance(0.15)) return this.#storm();
    if (asked.length === 0 || random.chance(0.1)) return putTogether(this.#mutator.parts(random.pick([...this.#replies.values()].flat()), 1));
    const [request] = asked.splice(random.below(asked.length), 1) as [MessageOf<'request'>];
    const code = OPS[request.op].code;
    const known = this.#replies.get(random.chance(0.95) ? code : random.pick([...this.#replies.keys()]));
    if (known === undefined) return encodeFrame({ kind: 'reply', id: request.id, errno: random.pick([1, 5, 38, 107, 511, 512, 2 ** 31, 2 ** 32 - 1]), lease: true, op: request.op, result: undefined } as Message);
    const { items, payload } = random.pick(known);
    const fresh = [...items];
    fresh[ID] = random.chance(0.97) ? request.id : random.next();
    const changed = this.#mutator.parts({ items: fresh, payload }, random.chance(0.5) ? ID + 1 : OPERATION + 1);
    if (random.chance(0.03) && changed.items[ERRNO] === 0) changed.items[ERRNO] = random.pick([1, 38, 512, 2 ** 31, 2 ** 32 - 1]);
    return putTogether(changed);
  }

  /** Recalls, redirects, new views. */
  #storm(): Buffer {
    const random = this.#random;
    const epoch = random.pick([0, 7, this.#view.epoch, this.#view.epoch + 1, random.next(), ...(random.chance(0.02) ? [2 ** 52, Number.MAX_SAFE_INTEGER] : [])]);
    const view = { epoch: Math.min(epoch, Number.MAX_SAFE_INTEGER), primary: random.pick([SELF, SIBLING, THIRD, '', 'f'.repeat(32)]), inSync: random.chance(0.5) ? [SELF] : Array.from({ length: 64 }, () => this.#mutator.gfid()), catchingUp: [] };
    switch (random.below(5)) {
      case 0:
        return encodeFrame({ kind: 'recall', id: random.next(), gfids: Array.from({ length: random.pick([0, 1, 100, 5000]) }, () => this.#mutator.gfid()) });
      case 1:
        return encodeFrame({ kind: 'redirect', id: random.next(), view });
      case 2:
        return encodeFrame({ kind: 'newView', view });
      case 3:
        return encodeFrame({ kind: 'pong', id: random.next(), epoch, leaseMs: 2 ** 32 - 1, equal: [], synced: random.next() });
      default:
        return putTogether(this.#mutator.parts(random.pick(this.#others), random.below(2)));
    }
  }

  /** What the kernel would not take: it would leave its caller waiting, or end the mount. */
  #checkReplies(): void {
    const { kernel } = this.#mount;
    for (const [unique, { errno, body }] of kernel.replies) {
      this.watch.carriedOut++;
      const limit = this.#limits.get(unique);
      this.#limits.delete(unique);
      if (limit !== undefined && errno === 0 && body.length > limit) this.watch.violation(`request ${unique} asked for ${limit} bytes and was answered with ${body.length}`);
      if (errno > ERRNO_MAX) this.watch.violation(`request ${unique} was answered with errno ${errno}`);
      if (errno !== 0 && body.length > 0) this.watch.violation(`request ${unique} was refused with a body of ${body.length} bytes`);
      if (body.length + OutHeader.bytes > (1 << 20) + 4096) this.watch.violation(`request ${unique} was answered with ${body.length} bytes`);
    }
    kernel.replies.clear();
  }

  /** The client goes on when an honest brick is there. */
  async #check(): Promise<void> {
    const { watch } = this;
    const { client } = this.#mount;
    this.#honest = true;
    if (client.view.epoch >= Number.MAX_SAFE_INTEGER) return;
    this.#view = { epoch: client.view.epoch + 1, primary: SELF, inSync: [SELF], catchingUp: [] };
    this.#update();
    if (!(await within(HONEST_MS, client.fops.statfs({})))) watch.violation(`the client did not go on within ${HONEST_MS} ms: ${client.connected} ${this.#mount.channel?.closed} ${JSON.stringify(client.view)}`);
  }
}
