/**
 * Bricks that are slow without being dead (a sick disk, a process that is stopped by turns): what everybody waits for them is added up, and who costs too
 * much leaves the set.
 *
 *   a member   the time in which a change or an fsync is done everywhere but there
 *   itself     the time by which this process is late: a disk call or the machine holds it up
 *
 * The sum is a bucket that leaks, so a hiccup now and then costs nobody the place. One wait that is long enough ends at once. A brick that left because it is slow
 * returns after a while, and after a longer one each time that it is slow again.
 */
import type { BrickId } from '../fops/view.js';
import type { Follower } from './followers.js';
import type { Primary } from './primary.js';

const TICK_MS = 100;
/** Shorter waits are nobody's fault. */
const GRACE_MS = 300;
/** Of the ping timeout: held up by one for so long in all, or in one wait. */
const SUM_FRACTION = 0.4;
const ALONE_FRACTION = 0.4;
/** When nobody acknowledges, it is rather this brick or the whole machine that is slow, and there is more patience. */
const ALL_FRACTION = 0.8;
const CALL_FRACTION = 0.75;
/** A second without fault makes up for so much of one with. */
const LEAK = 0.2;
const AWAY_MS_MIN = 5000;
const AWAY_MS_MAX = 600_000;
/** After so many times the absence without fault, the next absence is as the first. */
const FORGIVEN = 10;

/** An fsync that is under way at several bricks. */
export interface Wait {
  since: number;
  ownDone: boolean;
  readonly pending: Set<Follower>;
}

interface Mark {
  at: number;
  sequence: number;
}

export class Slowness {
  readonly #primary: Primary;
  readonly #waits = new Set<Wait>();
  readonly #blame = new Map<BrickId, number>();
  readonly #away = new Map<BrickId, { until: number; ms: number }>();
  /** What had been sent at each tick, as long as it is not acknowledged by all. */
  #marks: Mark[] = [];
  #ownBlame = 0;
  #lastTick = 0;

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  start(): void {
    this.#lastTick = this.#primary.host.clock.now();
    this.#arm();
  }

  #arm(): void {
    this.#primary.host.clock.after(TICK_MS, () => {
      if (this.#primary.stopped) return;
      this.#tick();
      this.#arm();
    });
  }

  /** Milliseconds for which this brick is not let in again; 0 for one that was not slow. */
  awayMs(brick: BrickId): number {
    return Math.max(0, (this.#away.get(brick)?.until ?? 0) - this.#primary.host.clock.now());
  }

  /** How long one answer may take. */
  get waitMsMax(): number {
    return this.#primary.host.pingTimeoutMs() * CALL_FRACTION;
  }

  begin(pending: Iterable<Follower>): Wait {
    const wait = { since: this.#primary.host.clock.now(), ownDone: false, pending: new Set(pending) };
    this.#waits.add(wait);
    return wait;
  }

  end(wait: Wait): void {
    this.#waits.delete(wait);
  }

  #tick(): void {
    const { host, followers, stream } = this.#primary;
    const now = host.clock.now();
    const elapsed = now - this.#lastTick;
    this.#lastTick = now;
    // What came in while this process stood still was not read yet: nobody else is to blame for it.
    if (elapsed > TICK_MS + GRACE_MS) {
      this.#blameSelf(elapsed);
      this.#marks = [];
      return;
    }
    this.#ownBlame = Math.max(0, this.#ownBlame - elapsed * LEAK);
    const ready = followers.ready();
    const allWait = ready.every((follower) => this.#streamWaitMs(follower, now) > 0);
    const limitMs = host.pingTimeoutMs() * (allWait ? ALL_FRACTION : ALONE_FRACTION);
    for (const follower of ready) this.#judge(follower, ready, now, elapsed, limitMs);
    const slowest = Math.min(stream.sequence, ...ready.map((follower) => follower.acknowledged));
    this.#marks = this.#marks.filter((mark) => mark.sequence > slowest);
    if (stream.sequence > slowest) this.#marks.push({ at: now, sequence: stream.sequence });
  }

  #judge(follower: Follower, ready: readonly Follower[], now: number, elapsed: number, limitMs: number): void {
    const waitedMs = this.#streamWaitMs(follower, now);
    if (waitedMs > limitMs) {
      // As good as dead: it may return as soon as it answers.
      follower.link?.close(`no answer for ${Math.round(waitedMs)} ms`);
      return;
    }
    const others = ready.every((other) => other === follower || other.acknowledged > follower.acknowledged);
    const alone = Math.max(others ? this.#streamWaitMs(follower, now) : 0, this.#syncWaitMs(follower, now));
    const before = this.#blame.get(follower.brick) ?? 0;
    const blame = alone > GRACE_MS ? before + elapsed : Math.max(0, before - elapsed * LEAK);
    if (blame > this.#primary.host.pingTimeoutMs() * SUM_FRACTION) this.#expel(follower, `it held the others up for ${Math.round(blame)} ms lately`);
    else if (blame === 0) this.#blame.delete(follower.brick);
    else this.#blame.set(follower.brick, blame);
  }

  #streamWaitMs(follower: Follower, now: number): number {
    const mark = this.#marks.find((one) => one.sequence > follower.acknowledged);
    return mark === undefined ? 0 : now - mark.at;
  }

  /** Of an fsync that is done everywhere else. */
  #syncWaitMs(follower: Follower, now: number): number {
    let longest = 0;
    for (const wait of this.#waits) {
      if (!wait.pending.has(follower) || wait.pending.size > 1 || !wait.ownDone) continue;
      longest = Math.max(longest, now - wait.since);
    }
    return longest;
  }

  #expel(follower: Follower, reason: string): void {
    this.#blame.delete(follower.brick);
    const before = this.#away.get(follower.brick);
    const now = this.#primary.host.clock.now();
    const again = before !== undefined && now < before.until + before.ms * FORGIVEN;
    const ms = again ? Math.min(AWAY_MS_MAX, before.ms * 2) : AWAY_MS_MIN;
    this.#away.set(follower.brick, { until: now + ms, ms });
    this.#primary.log.warn('a brick is too slow: it leaves for a while', { brick: follower.brick, reason, awayMs: ms });
    follower.link?.close(`too slow: ${reason}`);
  }

  /** A brick that is late all the time is no good primary: another takes over, where there is one. */
  #blameSelf(elapsed: number): void {
    const { host, followers, refusals } = this.#primary;
    const limitMs = host.pingTimeoutMs() * SUM_FRACTION;
    // One long stop is not a habit: whoever stopped this process may have stopped all others.
    this.#ownBlame += Math.min(elapsed, limitMs / 2);
    if (this.#ownBlame <= limitMs || followers.ready().length === 0) return;
    this.#ownBlame = 0;
    host.stayAway(AWAY_MS_MIN);
    void refusals.stepDown('it is too slow');
  }
}
