/**
 * How fast bricks are made equal while clients are at work.
 *
 * Every piece of work has a cost, in milliseconds of this brick's time; `share` is the cost that is spent per millisecond. It follows what the
 * clients feel: while the 99th percentile of their changes, and how late this process gets to what is due, is within LIMIT_FACTOR of what changes took when
 * nothing was healed, the share grows by a step, otherwise it is halved. It grows too when more is lacking than a moment ago: a heal that does not keep up would never end.
 * While no client asks for anything there is no limit.
 */
import type { Clock } from '../env/clock.js';

/** Three times is promised: the rest is for what the control is late by. */
const LIMIT_FACTOR = 1.4;
/** Below that, differences are the machine's own. */
const LIMIT_MS_MIN = 4;
const CALM_MS_DEFAULT = 4;
const CALM_SAMPLES = 1000;
const CALM_SAMPLES_MIN = 50;
const WINDOW_MS = 250;
const WINDOW_SAMPLES_MIN = 20;
const WINDOW_SAMPLES_MAX = 4000;
const PROGRESS_MS = 1000;
const IDLE_MS = 200;
const SHARE_MIN = 0.25;
const SHARE_MAX = 4;
const SHARE_FIRST = 0.3;
const SHARE_STEP = 0.03;
const SHARE_CUT = 0.5;
const SHARE_PUSH = 1.5;
/** Unused time that may be made up for. */
const BURST_MS = 20;
const REST_MS_MIN = 1;
const REST_MS_MAX = 500;

/** One name or inode; a mebibyte that is compared; a mebibyte that is sent. */
export const KEY_COST_MS = 0.5;
export const COMPARE_COST_MS = 2.5;
export const SEND_COST_MS = 4;

export class HealPace {
  readonly #clock: Clock;
  readonly #enabled: () => boolean;
  readonly #calm: number[] = [];
  #calmNext = 0;
  #calmP99: number | undefined;
  #window: number[] = [];
  #windowSince = 0;
  /** The longest in the window: a request that comes while this process is busy waits as long, before anybody measures it. */
  #late_ms = 0;
  #progressSince = 0;
  #leftBefore = Infinity;
  #growing = false;
  #share = SHARE_FIRST;
  #askedAt = -Infinity;
  #heals = 0;
  /** When all that was done until now is paid for. */
  #paid = 0;

  constructor(clock: Clock, enabled: () => boolean) {
    this.#clock = clock;
    this.#enabled = enabled;
  }

  /** A client asked for something, at this moment. */
  asked(now: number): void {
    this.#askedAt = now;
  }

  /** A change of a client took so long. */
  answered(ms: number): void {
    if (this.#heals === 0) {
      this.#calm[this.#calmNext] = ms;
      this.#calmNext = (this.#calmNext + 1) % CALM_SAMPLES;
      this.#calmP99 = undefined;
    } else if (this.#window.length < WINDOW_SAMPLES_MAX) this.#window.push(ms);
  }

  /** Cost per time; Infinity while there is no limit. */
  get share(): number {
    return this.#unlimited() ? Infinity : this.#share;
  }

  /** A heal begins; it ends with the returned function. */
  begin(): () => void {
    if (this.#heals++ === 0) {
      const now = this.#clock.now();
      this.#share = SHARE_FIRST;
      this.#beginWindow(now);
      this.#progressSince = now;
      this.#leftBefore = Infinity;
      this.#growing = false;
    }
    let over = false;
    return () => {
      if (!over) this.#heals--;
      over = true;
    };
  }

  /** Rests after work of this cost, with so many keys left. Resolves at once where nobody is disturbed. */
  async rest(cost_ms: number, left: number): Promise<void> {
    const now = this.#clock.now();
    this.#follow(now, left);
    if (this.#unlimited()) return;
    this.#paid = Math.max(this.#paid, now - BURST_MS) + cost_ms / this.#share;
    const rest_ms = Math.min(this.#paid - now, REST_MS_MAX);
    if (rest_ms < REST_MS_MIN) return;
    await new Promise<void>((resolve) => void this.#clock.after(rest_ms, resolve));
    this.#late_ms = Math.max(this.#late_ms, this.#clock.now() - now - rest_ms);
  }

  #unlimited(): boolean {
    return !this.#enabled() || this.#clock.now() - this.#askedAt > IDLE_MS;
  }

  #follow(now: number, left: number): void {
    if (now - this.#progressSince >= PROGRESS_MS) {
      this.#growing = left > this.#leftBefore;
      if (this.#growing) this.#share = Math.min(SHARE_MAX, this.#share * SHARE_PUSH);
      this.#leftBefore = left;
      this.#progressSince = now;
    }
    if (now - this.#windowSince < WINDOW_MS || this.#window.length < WINDOW_SAMPLES_MIN) return;
    if (Math.max(this.#late_ms, percentile99(this.#window)) <= this.#limit()) this.#share = Math.min(SHARE_MAX, this.#share + SHARE_STEP);
    else if (!this.#growing) this.#share = Math.max(SHARE_MIN, this.#share * SHARE_CUT);
    this.#beginWindow(now);
  }

  #beginWindow(now: number): void {
    this.#window = [];
    this.#windowSince = now;
    this.#late_ms = 0;
  }

  #limit(): number {
    this.#calmP99 ??= this.#calm.length < CALM_SAMPLES_MIN ? CALM_MS_DEFAULT : percentile99(this.#calm);
    return Math.max(LIMIT_MS_MIN, this.#calmP99 * LIMIT_FACTOR);
  }
}

function percentile99(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) * 0.99)] ?? 0;
}
