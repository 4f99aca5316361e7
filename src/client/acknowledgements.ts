/**
 * Up to which request number a client never asks again: the bricks need not keep the answers.
 *
 * Numbers that the caller gives may begin a little out of order, so the mark stays a distance behind the lowest that is under way. Numbers of
 * the client's own begin in order, and it stays right below.
 */

/** A number never begins when one that is larger by this has begun. */
const DISORDER = 16_384;
const REFRESH = 64;

export class Acknowledgements {
  readonly #underWay = new Set<number>();
  readonly #holdUntil: number;
  #highest = 0;
  #upTo = 0;
  #age = 0;
  #disorder = 0;

  /** Nothing is acknowledged before `holdUntil` (monotonic milliseconds). */
  constructor(holdUntil: number) {
    this.#holdUntil = holdUntil;
  }

  /** `given`: by the caller. */
  began(number: number, given: boolean): void {
    if (given) this.#disorder = DISORDER;
    this.#underWay.add(number);
    if (number > this.#highest) this.#highest = number;
  }

  settled(number: number): void {
    this.#underWay.delete(number);
  }

  upTo(now: number): number {
    if (now < this.#holdUntil) return 0;
    if (this.#age++ % REFRESH === 0) {
      let settled = this.#highest;
      for (const number of this.#underWay) if (number <= settled) settled = number - 1;
      this.#upTo = Math.max(this.#upTo, settled - this.#disorder, 0);
    }
    return this.#upTo;
  }
}
