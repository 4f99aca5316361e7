import type { Time } from '../base/time.js';

/** Ends a timer; harmless when it already fired. */
export type Cancel = () => void;

export interface Clock {
  /** Monotonic milliseconds since an arbitrary point, with a fraction. Goes on while the process is stopped. */
  now(): number;
  /** Wall clock. May jump; never used for ordering or leases. */
  wall(): Time;
  /** Calls back once after at least `ms`. */
  after(ms: number, callback: () => void): Cancel;
}

export interface Random {
  bytes(count: number): Uint8Array;
  /** Uniform integer 0 <= n < below. */
  below(below: number): number;
}
