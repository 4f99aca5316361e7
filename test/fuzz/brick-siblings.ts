/**
 * Frames of a sibling brick that knows the secret and means no good, thrown at a brick that follows it; and of one that is not the primary, of which
 * nothing may be carried out.
 */
import { ROOT_GFID } from '../../src/base/ids.js';
import { encodeFrame } from '../../src/wire/codec.js';
import { MESSAGES, type Message } from '../../src/wire/messages.js';
import { PEER_OPS } from '../../src/wire/peer-ops.js';
import { SeededRandom } from '../sim/world.js';
import { Arena } from './arena.js';
import { LoneBrick, SELF, SIBLING, THIRD } from './lone-brick.js';
import type { PipeChannel } from './pipe-channel.js';
import { Mutator, putTogether, takeApart, type Parts } from './mutate.js';
import type { Recording } from './recording.js';
import { describe, turn, Watch, within, type Figures } from './watch.js';

const MEMORY_MIB_MAX = 700;
const BATCH = 200;
const CHECK_EVERY = 10_000;
const ANSWER_MS = 5_000;
const REPLICATE = MESSAGES.replicate.code;
const CALL = MESSAGES.call.code;
const SEAL = PEER_OPS.seal.code;

const FOLLOWS = { epoch: 7, primary: SIBLING, inSync: [SIBLING, SELF, THIRD], catchingUp: [] };
const EPOCH_MAX = Number.MAX_SAFE_INTEGER - 1_000_000;

const PLACES = { replicateEpoch: 1, replicateSequence: 2, replicateCommitted: 3, replicateNewGfid: 8, replicateOperation: 11, callId: 1, callEpoch: 2, callOperation: 3, callFirst: 4 };

export class SiblingAttack {
  readonly watch = new Watch('sibling → brick', MEMORY_MIB_MAX);
  readonly #arena = new Arena(1);
  #brick: LoneBrick;
  readonly #random: SeededRandom;
  readonly #mutator: Mutator;
  readonly #frames: Buffer[];
  readonly #parts: Parts[];
  readonly #past: Buffer[] = [];
  #caller: PipeChannel | undefined;
  #sequence = 1;
  #thrown = 0;
  #id = 1;
  #waiting: ((message: Message) => void) | undefined;

  constructor(recording: Recording, seed: number) {
    this.#random = new SeededRandom(seed);
    this.#mutator = new Mutator(this.#random);
    this.#frames = recording.primaryToMember;
    this.#parts = this.#frames.map(takeApart);
    this.#brick = new LoneBrick(this.#arena.brick(0), FOLLOWS);
    this.#arena.layTraps();
  }

  async run(inputs: number): Promise<Figures> {
    const { watch } = this;
    try {
      while (watch.inputs < inputs && watch.violations.length === 0) {
        for (let i = 0; i < BATCH && watch.violations.length === 0; i++) this.#throwOne();
        await turn();
        watch.sampleMemory();
        if (watch.inputs % CHECK_EVERY < BATCH) await this.#check();
      }
      await this.#check();
      await this.#othersChangeNothing();
      for (const line of this.#arena.escaped()) watch.violation(`changed outside the brick: ${line}`);
    } catch (error) {
      watch.violation(describe(error));
    } finally {
      await this.#brick.close();
      this.#arena.close();
    }
    return watch.end();
  }

  get #epoch(): number {
    return this.#brick.replica.view.epoch;
  }

  #seal(id: number): Message {
    const epoch = this.#epoch;
    return { kind: 'call', id, epoch, op: 'seal', args: { view: { epoch, primary: SIBLING, inSync: [SIBLING, SELF, THIRD], catchingUp: [] } } };
  }

  /** A connection of the sibling that this brick follows now. */
  #connected(): PipeChannel {
    if (this.#caller !== undefined && !this.#caller.closed) return this.#caller;
    // Nothing follows the last epoch: gluond would have to be asked, and there is none.
    if (this.#epoch > EPOCH_MAX) {
      // The promise of that epoch would outlive the restart, as it must.
      const { journal } = this.#brick.open;
      journal.writeMeta({ ...journal.readMeta(), sealedEpoch: 0 });
      void this.#brick.close();
      this.#brick = new LoneBrick(this.#arena.brick(0), FOLLOWS);
    }
    const caller = (this.#caller = this.#brick.connect('brick', SIBLING, (message) => this.#answered(message)));
    // Where an input made another brick primary, this one takes the role back.
    if (this.#brick.replica.view.primary !== SIBLING) this.#brick.replica.setView({ epoch: this.#epoch + 1, primary: SIBLING, inSync: [SIBLING, SELF, THIRD], catchingUp: [] });
    caller.deliver(encodeFrame(this.#seal(this.#id++)));
    return caller;
  }

  #answered(message: Message): void {
    const { watch } = this;
    if (message.kind === 'answer' || message.kind === 'applied') {
      if (message.errno === 0) watch.carriedOut++;
      else watch.refused++;
    }
    this.#waiting?.(message);
  }

  #throwOne(): void {
    const { watch } = this;
    const frame = this.#next();
    const channel = this.#connected();
    watch.input(frame);
    try {
      if (!channel.deliver(frame)) watch.refused++;
      // A copy that failed once is left alone until it is sealed anew.
      if (this.#random.chance(0.03)) channel.close('a new connection');
    } catch (error) {
      watch.violation(`crash: ${describe(error)}`);
    }
  }

  #next(): Buffer {
    const random = this.#random;
    if (this.#past.length > 100 && random.chance(0.04)) return random.pick(this.#past);
    if (random.chance(0.1)) return this.#mutator.bytes(random.pick(this.#frames), random.pick(this.#frames));
    const parts = this.#current(random.pick(this.#parts));
    const first = parts.items[0] === REPLICATE ? PLACES.replicateOperation + 1 : parts.items[0] === CALL ? PLACES.callFirst : 1;
    const frame = putTogether(this.#mutator.parts(parts, random.chance(0.04) ? 0 : random.chance(0.1) ? first - 1 : first));
    this.#past[this.#thrown++ % 500] = frame;
    return frame;
  }

  /** As the primary of this brick would say it, most of the time. */
  #current({ items, payload }: Parts): Parts {
    const random = this.#random;
    const fresh = structuredClone(items);
    if (fresh[0] === REPLICATE) {
      const sequence = this.#sequence++;
      fresh[PLACES.replicateEpoch] = random.chance(0.05) ? random.pick([0, Math.max(0, this.#epoch - 1), 2 ** 52, Number.MAX_SAFE_INTEGER]) : this.#epoch;
      fresh[PLACES.replicateSequence] = random.chance(0.05) ? random.pick([0, 1, 2 ** 40]) : sequence;
      fresh[PLACES.replicateCommitted] = random.chance(0.05) ? random.next() : Math.max(0, sequence - 3);
      const newGfid = fresh[PLACES.replicateNewGfid] as string;
      if (newGfid !== '' && random.chance(0.9)) this.#mutator.learn((fresh[PLACES.replicateNewGfid] = Buffer.from(random.bytes(16)).toString('hex')));
      else if (random.chance(0.1)) fresh[PLACES.replicateNewGfid] = random.pick(['', '..', '../../canary/secret', 'x'.repeat(32), ROOT_GFID, this.#mutator.gfid()]);
    } else if (fresh[0] === CALL) {
      fresh[PLACES.callId] = this.#id++;
      fresh[PLACES.callEpoch] = this.#epoch;
      if (fresh[PLACES.callOperation] === SEAL) fresh[PLACES.callFirst] = [Math.min(Number.MAX_SAFE_INTEGER, this.#epoch + (random.chance(0.1) ? 1 : 0)), SIBLING, [SIBLING, SELF, THIRD], []];
    }
    return { items: fresh, payload };
  }

  /** The brick still follows: it is sealed, applies a change, and says what it has. */
  async #check(): Promise<void> {
    this.#caller?.close('a new connection');
    const { watch } = this;
    const answer = async (message: Message): Promise<Message> => {
      const channel = this.#connected();
      const answered = new Promise<Message>((resolve) => (this.#waiting = (got) => ('id' in got && 'id' in message && got.id !== message.id) || resolve(got)));
      channel.deliver(encodeFrame(message));
      const got = await answered;
      this.#waiting = undefined;
      return got;
    };
    const work = async (): Promise<void> => {
      const sealed = await answer(this.#seal(this.#id++));
      if (sealed.kind !== 'answer' || sealed.errno !== 0) watch.violation(`a seal of the primary was refused: ${JSON.stringify(sealed)}`);
      const root = await answer({ kind: 'call', id: this.#id++, epoch: this.#epoch, op: 'describe', args: { gfid: ROOT_GFID } });
      if (root.kind !== 'answer' || root.errno !== 0) watch.violation(`the root could not be described: ${JSON.stringify(root)}`);
    };
    if (!(await within(ANSWER_MS, work()))) watch.violation(`the brick gave its primary no answer within ${ANSWER_MS} ms`);
  }

  /** A brick that is not the primary, and one that never sealed, changes nothing. */
  async #othersChangeNothing(): Promise<void> {
    const { watch } = this;
    this.#connected();
    this.#brick.open.store.flushTimes(Number.MAX_SAFE_INTEGER);
    for (let i = 0; i < 20; i++) await turn();
    const before = this.#arena.tree(0);
    for (const brick of [THIRD, SIBLING]) {
      const caller = this.#brick.connect('brick', brick, () => undefined);
      for (const parts of this.#parts) {
        const { items, payload } = this.#current(parts);
        if (items[0] === CALL && items[PLACES.callOperation] === SEAL) continue;
        const frame = putTogether({ items, payload });
        watch.input(frame, 'of another brick');
        caller.deliver(frame);
      }
    }
    for (let i = 0; i < 20; i++) await turn();
    const after = this.#arena.tree(0);
    const differ = after.filter((line) => !before.includes(line)).concat(before.filter((line) => !after.includes(line)));
    for (const line of differ.slice(0, 5)) watch.violation(`a brick that is not the primary changed the volume: ${line}`);
  }
}
