/** Bricks that answer what the test says, over a network in memory. */
import { silentLog } from '../../../src/env/log.js';
import type { View } from '../../../src/fops/view.js';
import type { VolumeSpec } from '../../../src/fops/volume.js';
import { VolumeClient, type ClientOptions } from '../../../src/client/client.js';
import { answerHandshake, type Caller } from '../../../src/wire/handshake.js';
import type { Message, MessageOf } from '../../../src/wire/messages.js';
import { World } from '../../sim/world.js';
import { clockOf, MemoryNetwork, type MemoryChannel } from '../../support/memory-network.js';

export const GFID = '0123456789abcdef0123456789abcdef';
export const ATTR = {
  gfid: GFID,
  mode: 0o100644,
  nlink: 1,
  uid: 0,
  gid: 0,
  rdev: 0,
  size: 0,
  blocks: 0,
  atime: { sec: 1, nsec: 0 },
  mtime: { sec: 1, nsec: 0 },
  ctime: { sec: 1, nsec: 0 },
};
const VOLUME = 'feedfacefeedfacefeedfacefeedface';
const SECRET = '5e'.repeat(32);

export class FakeBrick {
  readonly id: string;
  readonly port: number;
  readonly received: Message[] = [];
  channel: MemoryChannel | undefined;
  caller: Caller | undefined;
  /** Answers; the default says yes to `reclaim` and success to every mutation without a result. */
  answer: (message: Message) => Message | undefined = (message) => plainAnswer(message);

  constructor(
    readonly set: FakeBricks,
    index: number,
  ) {
    this.id = `${index + 1}`.padStart(32, '0');
    this.port = 1000 + index;
  }

  start(
    address: { host: string; port: number } | { path: string } = { host: 'host', port: this.port },
  ): Promise<{ close(): Promise<void> }> {
    return this.set.network.listen(address, (accepted) => {
      const channel = accepted as MemoryChannel;
      const { world } = this.set;
      const env = { clock: clockOf(world), random: world.random };
      answerHandshake(
        env,
        channel,
        { volume: VOLUME, secret: SECRET, brick: this.id, view: () => this.set.view },
        (caller) => {
          this.caller = caller;
          this.channel = channel;
          channel.onMessage = (message) => {
            // Payloads are overwritten after the call.
            this.received.push(structuredClone(message));
            const reply = this.answer(message);
            if (reply !== undefined) channel.send(reply);
          };
        },
        () => undefined,
      );
    });
  }

  requests(): MessageOf<'request'>[] {
    return this.received.filter((message) => message.kind === 'request');
  }

  /** All but pings. */
  kinds(): string[] {
    return this.received
      .filter((message) => message.kind !== 'ping')
      .map((message) => (message.kind === 'request' ? `request ${message.op}` : message.kind));
  }
}

export function reply(message: MessageOf<'request'>, result: unknown = {}, errno = 0): Message {
  return {
    kind: 'reply',
    id: message.id,
    errno,
    lease: false,
    op: message.op,
    result: errno === 0 ? result : undefined,
  } as Message;
}

export function plainAnswer(message: Message): Message | undefined {
  if (message.kind === 'reclaim') return { kind: 'reclaimed', id: message.id, errno: 0, losses: 0 };
  if (message.kind !== 'request') return undefined;
  if (message.op === 'open') return reply(message, { attr: { ...ATTR, gfid: message.args.gfid } });
  if (message.op === 'getattr') return reply(message, { attr: ATTR });
  if (message.op === 'write') return reply(message, { offset: message.args.offset, attr: undefined });
  return reply(message);
}

export class FakeBricks {
  readonly world = new World(7);
  readonly network = new MemoryNetwork(this.world);
  readonly bricks: FakeBrick[];
  readonly spec: VolumeSpec;
  view: View;

  constructor(count = 3) {
    this.bricks = Array.from({ length: count }, (_, index) => new FakeBrick(this, index));
    const ids = this.bricks.map((brick) => brick.id);
    this.view = { epoch: 1, primary: ids[0] as string, inSync: ids, catchingUp: [] };
    this.spec = {
      id: VOLUME,
      name: 'test',
      secret: SECRET,
      started: true,
      options: {},
      bricks: this.bricks.map((brick) => ({ id: brick.id, node: 'n', host: 'host', path: '/b', port: brick.port })),
    };
  }

  brick(index: number): FakeBrick {
    return this.bricks[index] as FakeBrick;
  }

  client(options: ClientOptions = {}, spec = this.spec): VolumeClient {
    const { world, network } = this;
    const client = new VolumeClient(
      { clock: clockOf(world), random: world.random, network, log: silentLog },
      options,
    );
    client.update(spec, this.view);
    return client;
  }

  /** The next view, with another primary. */
  moveTo(index: number): View {
    this.view = { ...this.view, epoch: this.view.epoch + 1, primary: this.brick(index).id };
    return this.view;
  }

  /** Virtual time goes on until the promise settles, at most for `ms`. */
  async settle<T>(promise: Promise<T>, ms = 60_000): Promise<T> {
    let over = false;
    const done = (): void => {
      over = true;
    };
    promise.then(done, done);
    if (!(await this.world.run(() => over, this.world.now + ms)))
      throw new Error(`not settled within ${ms} ms of virtual time`);
    return await promise;
  }

  async wait(ms: number): Promise<void> {
    const until = this.world.now + ms;
    this.world.at(ms, () => undefined);
    await this.world.run(() => this.world.now >= until, until);
  }
}
