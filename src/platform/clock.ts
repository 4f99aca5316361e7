/** The real clock and the real source of randomness. */
import { randomBytes, randomInt } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { Time } from '../base/time.js';
import type { Cancel, Clock, Random } from '../env/clock.js';

/** Longest delay that a Node timer takes without firing at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;
/** The interpolated wall clock follows the system's when they differ by more than this: the system's was set. */
const WALL_DRIFT_MS_MAX = 2;

/**
 * `now` is CLOCK_MONOTONIC, which goes on while the process is stopped. `wall` has nanoseconds: the system's milliseconds,
 * continued with the monotonic clock between them, so that two stamps of one brick do not run backwards within a millisecond.
 */
export class RealClock implements Clock {
  #wallOffset_ms = Date.now() - performance.now();

  now(): number {
    return performance.now();
  }

  wall(): Time {
    const monotonic_ms = performance.now();
    const system_ms = Date.now();
    let wall_ms = this.#wallOffset_ms + monotonic_ms;
    // Date.now() cuts off the fraction: the true time lies within [system, system + 1).
    if (wall_ms < system_ms - WALL_DRIFT_MS_MAX || wall_ms > system_ms + 1 + WALL_DRIFT_MS_MAX) {
      this.#wallOffset_ms = system_ms - monotonic_ms;
      wall_ms = system_ms;
    }
    const sec = Math.floor(wall_ms / 1000);
    return { sec, nsec: Math.min(999_999_999, Math.floor((wall_ms - sec * 1000) * 1e6)) };
  }

  after(ms: number, callback: () => void): Cancel {
    const due_ms = this.now() + ms;
    let timer: NodeJS.Timeout;
    const arm = (): void => {
      const left_ms = due_ms - this.now();
      // A Node timer may fire a fraction early, and one that is too long fires at once: both are armed again.
      timer = setTimeout(fire, Math.min(TIMER_MS_MAX, Math.max(0, Math.ceil(left_ms))));
    };
    const fire = (): void => {
      if (this.now() < due_ms) arm();
      else callback();
    };
    arm();
    return () => clearTimeout(timer);
  }
}

/** Cryptographically strong: identities and nonces come from here. */
export class RealRandom implements Random {
  bytes(count: number): Uint8Array {
    return randomBytes(count);
  }

  below(below: number): number {
    return randomInt(below);
  }
}
