/**
 * Numbers of leases. A process that serves again in the same epoch must not give those of the one before it: what a client says of an old lease, or sends under it, may still be
 * on its way. They begin with the time, in microseconds, so they are others than those of every process before.
 */
import type { Clock } from '../env/clock.js';

export class LeaseNumbers {
  #last = 0;

  next(clock: Clock): number {
    if (this.#last === 0) {
      const { sec, nsec } = clock.wall();
      this.#last = sec * 1e6 + Math.floor(nsec / 1000);
    }
    return ++this.#last;
  }
}
