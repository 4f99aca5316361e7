/**
 * Frames of clients that know the secret and mean no good, thrown at a brick that is primary: recorded ones, changed in their parts and in their
 * bytes, repeated, reordered, of other epochs and with request numbers of others. Beside them an honest client must go on.
 */
import { ROOT_GFID } from '../../src/base/ids.js';
import { encodeFrame } from '../../src/wire/codec.js';
import { MESSAGES, type Message } from '../../src/wire/messages.js';
import { SeededRandom } from '../sim/world.js';
import { Arena } from './arena.js';
import { LoneBrick, SELF, SetTarget, type Target } from './lone-brick.js';
import type { PipeChannel } from './pipe-channel.js';
import { Mutator, putTogether, takeApart, type Parts } from './mutate.js';
import type { Recording } from './recording.js';
import { describe, turn, Watch, within, type Figures } from './watch.js';

const MEMORY_MIB_MAX = 700;
const CLIENTS = 6;
const BATCH = 200;
const CHECK_EVERY = 5_000;
const TIDY_EVERY = 20_000;
const SESSION_INPUTS = 1_000;
/** Longer than the leases of a client that does not answer. */
const RECALL_MS = 800;
const HONEST_MS = 5_000;
const REQUEST = MESSAGES.request.code;
const RECLAIM = MESSAGES.reclaim.code;

/** Places of the fields in the header of a request. */
const ID = 1;
const EPOCH = 2;
const REQUEST_NUMBER = 3;
const ACKNOWLEDGED = 4;
const OPERATION = 5;
/** In that of a reclaim. */
const BEGINS = 3;
const LOCKS = 5;

/** An honest client, reduced to one request after another. */
export class Honest {
  readonly #connect: (onMessage: (message: Message) => void) => PipeChannel;
  #caller: PipeChannel | undefined;
  #id = 1;
  readonly #waiting = new Map<number, (message: Message) => void>();

  constructor(connect: (onMessage: (message: Message) => void) => PipeChannel) {
    this.#connect = connect;
  }

  #reclaim(epoch: number): Promise<void> {
    return new Promise((resolve) => {
      this.#caller = this.#connect((message) => {
        if (message.kind === 'reclaimed') resolve();
        if (message.kind === 'reply' || message.kind === 'redirect') this.#waiting.get(message.id)?.(message);
      });
      this.#caller.deliver(encodeFrame({ kind: 'reclaim', id: epoch, epoch, begins: true, opens: [], locks: [] }));
    });
  }

  /** Resolves with the reply; asks again where it is sent elsewhere. */
  async ask(op: string, args: object, epoch: number): Promise<{ errno: number; result: Record<string, unknown> }> {
    if (this.#caller === undefined || this.#caller.closed) await this.#reclaim(epoch);
    const caller = this.#caller as PipeChannel;
    const id = this.#id++;
    const answered = new Promise<Message>((resolve) => this.#waiting.set(id, resolve));
    caller.deliver(encodeFrame({ kind: 'request', id, epoch, requestNumber: id, acknowledged: Math.max(0, id - 2), op, args } as Message));
    const message = await answered;
    this.#waiting.delete(id);
    if (message.kind !== 'reply') throw new Error(`an honest request got ${message.kind}`);
    return { errno: message.errno, result: (message.result ?? {}) as Record<string, unknown> };
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 10));
}

export class ClientAttack {
  readonly watch: Watch;
  readonly #arena: Arena;
  readonly #target: Target;
  readonly #random: SeededRandom;
  readonly #mutator: Mutator;
  readonly #frames: Buffer[];
  readonly #requests: Parts[];
  readonly #others: Parts[];
  readonly #reclaims: Parts[];
  readonly #ready = new WeakSet<PipeChannel>();
  readonly #callers: (PipeChannel | undefined)[] = [];
  readonly #honest: Honest;
  readonly #past: Buffer[] = [];
  readonly #recalls: number[] = [];
  readonly #lockRecalls: { gfid: string; lease: number }[] = [];
  /** Requests that are to be answered before the volume is looked at. */
  readonly #unanswered = new Set<number>();
  #number = 1000;
  #thrown = 0;
  /** Sessions do not change any more. */
  #lastSession: number | undefined;

  private constructor(watch: Watch, arena: Arena, target: Target, recording: Recording, seed: number) {
    this.watch = watch;
    this.#arena = arena;
    this.#target = target;
    this.#random = new SeededRandom(seed);
    this.#mutator = new Mutator(this.#random);
    this.#frames = recording.clientToBrick;
    const parts = this.#frames.map(takeApart);
    this.#requests = parts.filter(({ items }) => items[0] === REQUEST);
    this.#others = parts.filter(({ items }) => items[0] !== REQUEST);
    this.#reclaims = parts.filter(({ items }) => items[0] === RECLAIM && (items[LOCKS] as unknown[]).length > 0);
    this.#honest = new Honest((onMessage) => target.connect('client', 'a'.repeat(32), onMessage));
  }

  /** One brick that is the whole set: most inputs in a second. */
  static oneBrick(recording: Recording, seed: number): ClientAttack {
    const arena = new Arena(1);
    const target = new LoneBrick(arena.brick(0), { epoch: 7, primary: SELF, inSync: [SELF], catchingUp: [] });
    arena.layTraps();
    return new ClientAttack(new Watch('clients → brick', MEMORY_MIB_MAX), arena, target, recording, seed);
  }

  /** Three bricks: what one client says must cost no member its place. */
  static async threeBricks(recording: Recording, seed: number): Promise<ClientAttack> {
    const arena = new Arena(3);
    const target = await SetTarget.start(arena.root);
    arena.layTraps();
    return new ClientAttack(new Watch('clients → three bricks', MEMORY_MIB_MAX), arena, target, recording, seed);
  }

  async run(inputs: number): Promise<Figures> {
    const { watch } = this;
    try {
      await this.#tidy();
      while (watch.inputs < inputs && watch.violations.length === 0) {
        for (let i = 0; i < BATCH && watch.violations.length === 0; i++) this.#throwOne();
        this.#answerRecalls();
        await turn();
        watch.sampleMemory();
        if (watch.inputs % CHECK_EVERY < BATCH) await this.#check();
        if (watch.inputs % TIDY_EVERY < BATCH) await this.#tidy();
      }
      await this.#check();
      await this.#staleChangesNothing();
      for (const line of this.#arena.escaped()) watch.violation(`changed outside the brick: ${line}`);
    } catch (error) {
      watch.violation(describe(error));
    } finally {
      await this.#target.close();
      this.#arena.close();
    }
    return watch.end();
  }

  #caller(index: number): PipeChannel {
    const caller = this.#callers[index];
    if (caller !== undefined && !caller.closed) return caller;
    const id = this.#session(index);
    const opened: PipeChannel = this.#target.connect('client', id, (message) => {
      if (message.kind === 'reclaimed') this.#ready.add(opened);
      this.#answered(message);
    });
    this.#callers[index] = opened;
    const { epoch } = this.#target;
    if (this.#random.chance(0.3)) this.#deliver(opened, putTogether(this.#mutator.parts(this.#current(this.#random.pick(this.#reclaims)), 3)));
    opened.deliver(encodeFrame({ kind: 'reclaim', id: epoch, epoch, begins: true, opens: [], locks: [] }));
    return opened;
  }

  /** One that was spoilt (numbers acknowledged that never were) is left after a while. */
  #session(index: number): string {
    const number = this.#lastSession ?? Math.floor(this.watch.inputs / SESSION_INPUTS);
    return `${index}${number.toString(16)}`.padEnd(32, 'e');
  }

  #answered(message: Message): void {
    const { watch } = this;
    if (message.kind === 'reply') {
      this.#unanswered.delete(message.id);
      if (message.errno === 0) watch.carriedOut++;
      else watch.refused++;
      const attr = (message.result as { attr?: { gfid: string } } | undefined)?.attr;
      if (attr !== undefined) this.#mutator.learn(attr.gfid);
    } else if (message.kind === 'redirect') watch.refused++;
    else if (message.kind === 'recall' && this.#random.chance(0.9)) this.#recalls.push(message.id);
    else if (message.kind === 'recallLocks' && this.#random.chance(0.9)) this.#lockRecalls.push({ gfid: message.gfid, lease: message.lease });
  }

  /** A few recalls are never answered. */
  #answerRecalls(): void {
    for (const { gfid, lease } of this.#lockRecalls.splice(0)) for (const caller of this.#callers) caller?.deliver(encodeFrame({ kind: 'yieldedLocks', gfid, lease }));
    for (const id of this.#recalls.splice(0)) for (const caller of this.#callers) caller?.deliver(encodeFrame({ kind: 'recalled', id }));
  }

  #throwOne(): void {
    const frame = this.#next();
    const caller = this.#caller(this.#random.below(CLIENTS));
    // Who did not say what it holds is closed with its first request.
    if (this.#ready.has(caller) || this.#random.chance(0.02)) this.#deliver(caller, frame);
  }

  #deliver(caller: PipeChannel, frame: Buffer): void {
    this.watch.input(frame);
    try {
      if (!caller.deliver(frame)) this.watch.refused++;
    } catch (error) {
      this.watch.violation(`crash: ${describe(error)}`);
    }
  }

  #next(): Buffer {
    const random = this.#random;
    if (this.#past.length > 100 && random.chance(0.04)) return random.pick(this.#past);
    if (random.chance(0.12)) return this.#mutator.bytes(random.pick(this.#frames), random.pick(this.#frames));
    const parts = this.#current(random.pick(random.chance(0.03) ? this.#others : this.#requests));
    const frame = putTogether(this.#mutator.parts(parts, random.chance(0.03) ? 0 : parts.items[0] !== REQUEST ? 1 : random.chance(0.05) ? OPERATION : OPERATION + 1));
    this.#past[this.#thrown++ % 500] = frame;
    return frame;
  }

  /** As a client of this brick would say it, most of the time. */
  #current({ items, payload }: Parts): Parts {
    const random = this.#random;
    const fresh = [...items];
    const number = this.#number++;
    const odd = (value: number): number => (random.chance(0.03) ? random.pick([0, 1, value + 1, value - 1, 2 ** 32, Number.MAX_SAFE_INTEGER]) : value);
    if (fresh[0] === REQUEST) {
      fresh[ID] = odd(number);
      fresh[EPOCH] = odd(this.#target.epoch);
      fresh[REQUEST_NUMBER] = odd(number);
      fresh[ACKNOWLEDGED] = random.chance(0.0005) ? random.next() : number - 300;
    } else if (fresh[0] === RECLAIM) {
      fresh[ID] = fresh[EPOCH] = odd(this.#target.epoch);
      fresh[BEGINS] = true;
    }
    return { items: fresh, payload };
  }

  /** An honest client writes, and reads what it wrote. */
  async #check(): Promise<void> {
    const { watch } = this;
    const work = async (): Promise<void> => {
      const name = `honest${watch.inputs}`;
      const made = await this.#honest.ask('create', { parent: ROOT_GFID, name, mode: 0o600, exclusive: true, truncate: false, uid: 0, gid: 0 }, this.#target.epoch);
      if (made.errno === 28) return;
      if (made.errno !== 0) return watch.violation(`an honest client could not create a file: errno ${made.errno}`);
      const { gfid } = made.result['attr'] as { gfid: string };
      const data = Buffer.from(name);
      const wrote = await this.#honest.ask('write', { gfid, offset: 0, append: false, sync: false, killPriv: false, data }, this.#target.epoch);
      if (wrote.errno === 28) return;
      const read = await this.#honest.ask('read', { gfid, offset: 0, size: 100 }, this.#target.epoch);
      if (!data.equals(Buffer.from(read.result['data'] as Uint8Array))) watch.violation(`an honest client did not read what it wrote: errno ${wrote.errno} ${read.errno}`);
      await this.#honest.ask('release', { gfid }, this.#target.epoch);
      await this.#honest.ask('unlink', { parent: ROOT_GFID, name }, this.#target.epoch);
    };
    const problem = this.#target.problem();
    if (problem !== undefined) watch.violation(problem);
    if (!(await within(HONEST_MS, work()))) watch.violation(`an honest client got no answer within ${HONEST_MS} ms`);
  }

  /** Space is made, and what most inputs work on is there again. */
  async #tidy(): Promise<void> {
    const ask = (op: string, args: object) => this.#honest.ask(op, args, this.#target.epoch);
    const clear = async (gfid: string, depth: number): Promise<void> => {
      for (;;) {
        const { result } = await ask('readdir', { gfid, after: '', limit: 500, attributes: false });
        const entries = result['entries'] as { name: string; gfid: string; type: number }[];
        let removed = 0;
        for (const { name, gfid: child, type } of entries) {
          if (type === 0o040000 && depth < 100) await clear(child, depth + 1);
          removed += (await ask(type === 0o040000 ? 'rmdir' : 'unlink', { parent: gfid, name })).errno === 0 ? 1 : 0;
        }
        if (removed === 0) return;
      }
    };
    if (!(await within(60_000, clear(ROOT_GFID, 0)))) this.watch.violation('tidying up did not end');
    const owner = { uid: 0, gid: 0 };
    const learn = async (op: string, args: object): Promise<string> => {
      const { result } = await ask(op, { parent: ROOT_GFID, ...owner, ...args });
      const gfid = (result['attr'] as { gfid: string } | undefined)?.gfid ?? ROOT_GFID;
      this.#mutator.learn(gfid);
      return gfid;
    };
    const directory = await learn('mkdir', { name: 'directory', mode: 0o755 });
    for (const name of ['one', 'two']) await learn('create', { name, mode: 0o644, exclusive: false, truncate: false });
    for (const target of ['/etc/passwd', '../canary/secret', '../canary']) await learn('symlink', { name: `link${target.length}`, target });
    await learn('mknod', { parent: directory, name: 'fifo', mode: 0o010666, rdev: 0 });
    await learn('mknod', { parent: directory, name: 'disk', mode: 0o060666, rdev: 0x800 });
    await learn('mknod', { parent: directory, name: 'null', mode: 0o020666, rdev: 0x103 });
  }

  /** A connection whose requests are taken. */
  async #readyCaller(index: number): Promise<PipeChannel> {
    const limit = Date.now() + HONEST_MS;
    for (;;) {
      const caller = this.#caller(index);
      if (this.#ready.has(caller)) return caller;
      if (Date.now() > limit) throw new Error(`client ${index} was not taken on within ${HONEST_MS} ms`);
      await pause();
    }
  }

  /** A session that is silent is revoked when another wants what it may hold, and what it asked for before is then new. */
  #signOfLife(): void {
    for (const caller of this.#callers) if (caller?.closed === false) caller.deliver(encodeFrame({ kind: 'ping', id: 1 }));
  }

  /** What was asked for has been done, but for what waits for a lock; recalls that nobody answered ran out. */
  async #quiet(): Promise<void> {
    const limit = Date.now() + HONEST_MS;
    while (this.#unanswered.size > 0 && Date.now() < limit) {
      this.#answerRecalls();
      this.#signOfLife();
      await pause();
    }
    await new Promise((resolve) => setTimeout(resolve, RECALL_MS));
    this.#signOfLife();
    await this.#check();
    this.#target.flush();
  }

  /** Nothing of another epoch, and nothing that was answered before, changes the volume. */
  async #staleChangesNothing(): Promise<void> {
    const { watch } = this;
    this.#lastSession = Math.floor(watch.inputs / SESSION_INPUTS);
    await this.#readyCaller(1);
    const caller = await this.#readyCaller(0);
    const fresh: Buffer[] = [];
    for (const parts of this.#requests) {
      const current = this.#current(parts);
      current.items[ID] = current.items[REQUEST_NUMBER] = this.#number;
      current.items[EPOCH] = this.#target.epoch;
      fresh.push(putTogether(current));
      this.#unanswered.add(this.#number);
      caller.deliver(fresh.at(-1) as Buffer);
    }
    await this.#quiet();
    const before = this.#arena.tree(0);
    for (const frame of fresh) {
      watch.input(frame, 'again');
      // Another connection would begin the session anew, and nothing be repeated.
      if (!caller.closed) caller.deliver(frame);
    }
    const { epoch: now } = this.#target;
    for (const epoch of [0, now - 1, now + 1, 2 ** 40, Number.MAX_SAFE_INTEGER]) {
      for (const parts of this.#requests) {
        const { items, payload } = this.#current(parts);
        items[EPOCH] = epoch;
        const frame = putTogether({ items, payload });
        watch.input(frame, `epoch ${epoch}`);
        this.#caller(1).deliver(frame);
      }
    }
    await this.#quiet();
    const after = this.#arena.tree(0);
    const differ = after.filter((line) => !before.includes(line)).concat(before.filter((line) => !after.includes(line)));
    for (const line of differ.slice(0, 5)) watch.violation(`a stale or repeated frame changed the volume: ${line}`);
  }
}
