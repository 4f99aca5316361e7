/** Reads up to this size may be made on the thread that serves. */
const READ_BYTES_MAX = 64 << 10;
/** A disk that takes longer, on the average of its last reads, would hold up everybody else. */
const READ_MS_MAX = 2;
const AVERAGED = 8;
const PAUSE_MS = 1000;

/**
 * Which reads wait for the disk on the thread that serves, instead of in the thread pool: changing threads twice costs as much as a fast disk takes
 * for a small read. Only a read that is alone, because several at once are what the pool and the disk are good at; and only while the
 * disk is fast.
 */
export class LoneReads {
  /** Reads in the pool. */
  #elsewhere = 0;
  #thisTurn = 0;
  #averageMs = 0;
  #pausedUntil = 0;
  readonly #turnEnded = (): void => {
    this.#thisTurn = 0;
  };

  /** Asked once for every read that has to wait for the disk. */
  allows(bytes: number): boolean {
    if (this.#thisTurn++ === 0) setImmediate(this.#turnEnded);
    return this.#thisTurn === 1 && this.#elsewhere === 0 && bytes <= READ_BYTES_MAX && performance.now() >= this.#pausedUntil;
  }

  /** A read that was allowed has taken so long. */
  took(ms: number): void {
    this.#averageMs += (ms - this.#averageMs) / AVERAGED;
    if (this.#averageMs <= READ_MS_MAX) return;
    this.#averageMs = 0;
    this.#pausedUntil = performance.now() + PAUSE_MS;
  }

  poolBegan(): void {
    this.#elsewhere++;
  }

  poolEnded(): void {
    this.#elsewhere--;
  }
}
