/** Frames of those who do not know the secret, thrown at a brick: handshakes that were overheard, changed ones, and anything else. Nobody gets in. */
import { randomBytes } from 'node:crypto';
import { MESSAGES } from '../../src/wire/messages.js';
import { SeededRandom } from '../sim/world.js';
import { Arena } from './arena.js';
import { LoneBrick, SELF } from './lone-brick.js';
import { Mutator, putTogether, takeApart, type Parts } from './mutate.js';
import { PipeChannel } from './pipe-channel.js';
import type { Recording } from './recording.js';
import { describe, turn, Watch, type Figures } from './watch.js';

const MEMORY_MIB_MAX = 400;
const BATCH = 200;
const HELLO = MESSAGES.hello.code;
const PROVE = MESSAGES.prove.code;

export class StrangerAttack {
  readonly watch = new Watch('strangers → brick', MEMORY_MIB_MAX);
  readonly #arena = new Arena(1);
  readonly #brick: LoneBrick;
  readonly #random: SeededRandom;
  readonly #mutator: Mutator;
  readonly #frames: Buffer[];
  readonly #handshake: Parts[];

  constructor(recording: Recording, seed: number) {
    this.#random = new SeededRandom(seed);
    this.#mutator = new Mutator(this.#random);
    this.#handshake = recording.handshake.map(takeApart);
    this.#frames = [...recording.handshake, ...recording.clientToBrick, ...recording.primaryToMember];
    this.#brick = new LoneBrick(this.#arena.brick(0), { epoch: 7, primary: SELF, inSync: [SELF], catchingUp: [] });
  }

  async run(inputs: number): Promise<Figures> {
    const { watch } = this;
    const before = this.#arena.tree(0);
    try {
      while (watch.inputs < inputs && watch.violations.length === 0) {
        for (let i = 0; i < BATCH && watch.violations.length === 0; i++) this.#connection();
        await turn();
        watch.sampleMemory();
      }
      // They who know it still do.
      const channel = this.#brick.connect('client', 'a'.repeat(32), () => undefined);
      if (channel.closed) watch.violation('an honest client is not let in');
      if (this.#arena.tree(0).join('\n') !== before.join('\n')) watch.violation('a stranger changed the volume');
      for (const line of this.#arena.escaped()) watch.violation(`changed outside the brick: ${line}`);
    } catch (error) {
      watch.violation(describe(error));
    } finally {
      await this.#brick.close();
      this.#arena.close();
    }
    return watch.end();
  }

  #connection(): void {
    const { watch } = this;
    const random = this.#random;
    const channel = new PipeChannel((message) => {
      if (message.kind === 'welcome') watch.violation('a stranger was let in');
      if (message.kind === 'challenge') watch.carriedOut++;
    });
    this.#brick.server.accept(channel);
    if (random.chance(0.6)) this.#deliver(channel, putTogether(this.#greeting()));
    for (let n = random.below(4); n > 0 && !channel.closed; n--) this.#deliver(channel, this.#next());
    if (!channel.closed) channel.close('the stranger goes away');
  }

  #deliver(channel: PipeChannel, frame: Buffer): void {
    this.watch.input(frame);
    try {
      channel.deliver(frame);
      if (channel.closed) this.watch.refused++;
    } catch (error) {
      this.watch.violation(`crash: ${describe(error)}`);
    }
  }

  /** A hello as it was said once, word for word or with a nonce of its own. */
  #greeting(): Parts {
    const { items, payload } = this.#random.pick(this.#handshake.filter((parts) => parts.items[0] === HELLO));
    const fresh = [...items];
    if (this.#random.chance(0.5)) fresh[5] = randomBytes(32);
    return { items: fresh, payload };
  }

  #next(): Buffer {
    const random = this.#random;
    switch (random.below(5)) {
      case 0:
        return this.#mutator.bytes(random.pick(this.#frames), random.pick(this.#frames));
      case 1:
        return random.pick(this.#frames);
      case 2:
        return putTogether({ items: [PROVE, random.chance(0.5) ? Buffer.alloc(32) : randomBytes(random.pick([0, 31, 32, 33]))], payload: Buffer.alloc(0) });
      case 3:
        return putTogether(random.pick(this.#handshake));
      default:
        return putTogether(this.#mutator.parts(random.pick(this.#handshake), random.below(2)));
    }
  }
}
