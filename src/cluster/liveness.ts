/**
 * Signs of life. Every gluond writes its node's record once a second; `ttlMs` rides in it.
 *
 *   holder    the bricks of this node may serve until  (moment the beat that was taken was *sent*) + ttl - margin
 *   observer  a node is dead when it has given no sign of life for ttl after the last one was *seen*
 *
 * The observer's time begins after the holder's, both clocks are only measured in lengths, and whoever acts on a death compares the
 * revision of the record in the same commit: so a node that is acted against has stopped serving before. What it sent before and the store takes afterwards
 * gives it nothing: a beat compares the views that the node's bricks serve by, and the view has changed.
 *
 * A node that is heard but hears nothing goes on sending. So beats that name the same answer (`answered`) are one sign of life: for the holder it was given
 * when the first of them was sent, for an observer when the first of them is seen.
 */
import { FsError, LostError } from '../base/errno.js';
import type { Cancel, Clock } from '../env/clock.js';
import type { ClusterStore, Compare, Write } from '../env/cluster-store.js';
import type { Log } from '../env/log.js';
import { encode, keys, type NodeId } from './records.js';
import type { ClusterState } from './state.js';

/** Clocks of two machines may differ in rate, and a message needs its time: the bricks stop this much earlier. */
const MARGIN_FRACTION = 0.08;
const BEATS_PER_TTL = 5;
const RETRY_MS = 250;
/** Before the first answer. */
const NO_BEAT = 0;
/** After the store could not be written for a while, everybody gets the chance to beat before anybody is called dead. */
const SETTLE_MS = 1_500;
/**
 * A beat that takes longer says that the store is slow: for everybody. The next one goes out all the same: what was asked of a leader that died is
 * never answered, while the next leader takes a new beat at once.
 */
const SLOW_MS = 1_000;

interface Seen {
  revision: number;
  incarnation: string;
  /** The newest answer that was named. */
  answered: number;
  /** It changed since this gluond looks: it is no remainder of a node that died before. */
  confirmed: boolean;
  at: number;
  ttlMs: number;
}

export interface LivenessOptions {
  node: NodeId;
  incarnation: string;
  state: ClusterState;
  store: ClusterStore;
  clock: Clock;
  log: Log;
  ttlMs(): number;
  /** The views that this node's bricks serve by, as this gluond knows them. */
  views(): Compare[];
  /** Written together with the first beat: what is no longer true since this gluond's predecessor. */
  firstWrites(): Write[];
}

export class Liveness {
  readonly #options: LivenessOptions;
  readonly #seen = new Map<NodeId, Seen>();
  #beat = NO_BEAT;
  /** The newest beat that was taken. */
  #answered = NO_BEAT;
  /** The first beat that names this answer, and when it was sent. */
  #sign = { answered: -1, sentAt: 0 };
  /** What the record says: the longest time to live that a beat may still be taken for, and when one was last sent with it. */
  #promise = { ttlMs: 0, sentAt: 0 };
  /** A beat with the first writes was taken. */
  #introduced = false;
  #leaseUntil = 0;
  #healthySince: number | undefined;
  /** Beats without an answer, newer than the newest that was taken: when each was sent. */
  readonly #pending = new Map<number, number>();
  #timer: Cancel = () => undefined;
  #stopped = true;
  #detach: () => void = () => undefined;

  constructor(options: LivenessOptions) {
    this.#options = options;
  }

  start(): void {
    this.#stopped = false;
    this.#detach = this.#options.state.onChange((changed) => {
      if (changed.has('nodes') || changed.has('peers')) this.#look();
    });
    this.#look();
    void this.#run();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer();
    this.#detach();
    this.#leaseUntil = 0;
  }

  /** The next beat goes out at once: the store was changed, or the time to live. */
  beatNow(): void {
    if (this.#stopped) return;
    this.#timer();
    void this.#run();
  }

  /** Clock time until which bricks of this node may be allowed to serve. */
  get leaseUntil(): number {
    return this.#leaseUntil;
  }

  /** True while commits succeed. */
  get healthy(): boolean {
    return this.#healthySince !== undefined;
  }

  /** It gave a sign of life in time, as far as this node can see. */
  alive(node: NodeId): boolean {
    if (node === this.#options.node) return !this.#stopped;
    const seen = this.#seen.get(node);
    return seen !== undefined && this.#options.clock.now() - seen.at < seen.ttlMs;
  }

  /** As `alive`, but from what was seen since this gluond started. */
  confirmed(node: NodeId): boolean {
    if (node === this.#options.node) return this.#options.clock.now() < this.#leaseUntil;
    return this.alive(node) && this.#seen.get(node)?.confirmed === true;
  }

  /** Certain enough to act, if the record has still this revision: what `dead` returns is to be compared in the same commit. */
  dead(node: NodeId): { key: string; revision: number } | undefined {
    const now = this.#options.clock.now();
    if (node === this.#options.node || !this.#settled(now)) return undefined;
    const seen = this.#seen.get(node);
    if (seen === undefined || now - seen.at < seen.ttlMs) return undefined;
    return { key: keys.node(node), revision: seen.revision };
  }

  /** The store has taken beats without delay for a while: whoever lives has beaten since. */
  #settled(now: number): boolean {
    if (this.#healthySince === undefined || now - this.#healthySince < SETTLE_MS) return false;
    const [oldest = now] = this.#pending.values();
    return now - oldest < SLOW_MS;
  }

  #look(): void {
    const { state, clock, node: self } = this.#options;
    const present = new Set<NodeId>();
    for (const peer of state.peers()) {
      if (peer.id === self) continue;
      present.add(peer.id);
      const record = state.node(peer.id);
      const revision = record?.revision ?? 0;
      const seen = this.#seen.get(peer.id);
      if (seen?.revision === revision) continue;
      const { incarnation = '', answered, ttlMs = this.#options.ttlMs() } = record?.value ?? {};
      if (seen?.incarnation === incarnation && answered !== undefined && answered <= seen.answered) {
        // A sign of life that was seen before. With a longer time to live it is good for longer.
        this.#seen.set(peer.id, { ...seen, revision, ttlMs: Math.max(seen.ttlMs, ttlMs) });
        continue;
      }
      this.#seen.set(peer.id, { revision, incarnation, answered: answered ?? NO_BEAT, confirmed: seen !== undefined, at: clock.now(), ttlMs });
    }
    for (const id of this.#seen.keys()) if (!present.has(id)) this.#seen.delete(id);
  }

  async #run(): Promise<void> {
    const { clock, log, node, state, store, incarnation } = this.#options;
    const ttlMs = this.#options.ttlMs();
    const beat = ++this.#beat;
    const sentAt = clock.now();
    const peer = state.peer(node);
    if (peer === undefined) {
      this.#next(beat, RETRY_MS);
      return;
    }
    const answered = this.#answered;
    if (this.#sign.answered !== answered) this.#sign = { answered, sentAt };
    const from = this.#sign.sentAt;
    const promisedMs = this.#promised(ttlMs, sentAt);
    const first = !this.#introduced;
    const writes: Write[] = first ? this.#options.firstWrites() : [];
    this.#pending.set(beat, sentAt);
    this.#next(beat, SLOW_MS);
    try {
      const done = await store.commit(
        [{ key: peer.key, revision: peer.revision }, ...this.#options.views()],
        [...writes, { key: keys.node(node), value: encode({ incarnation, beat, answered, ttlMs: promisedMs }) }],
        'now',
      );
      if (done) {
        this.#introduced = true;
        this.#taken(beat, sentAt, from, ttlMs);
      } else if (this.#pending.delete(beat)) {
        // A view changed meanwhile, or this node's record (or it was detached): the watch tells.
        this.#next(beat, RETRY_MS);
      }
    } catch (error) {
      if (!(error instanceof LostError || error instanceof FsError)) log.error('a sign of life failed', { error });
      // A newer one was taken: nobody needs this one.
      if (!this.#pending.delete(beat)) return;
      if (this.#healthySince !== undefined)
        log.warn('the cluster store does not answer', { reason: error instanceof Error ? error.message : String(error) });
      this.#healthySince = undefined;
      this.#next(beat, RETRY_MS);
    }
  }

  /** A shorter time to live is told to the others only when nothing can be taken any more that was sent for the longer one. */
  #promised(ttlMs: number, sentAt: number): number {
    if (ttlMs >= this.#promise.ttlMs || sentAt >= this.#promise.sentAt + this.#promise.ttlMs) this.#promise = { ttlMs, sentAt };
    return this.#promise.ttlMs;
  }

  /** The store has this beat, which is part of a sign of life that was given at `from`. */
  #taken(beat: number, sentAt: number, from: number, ttlMs: number): void {
    const now = this.#options.clock.now();
    this.#leaseUntil = Math.max(this.#leaseUntil, from + ttlMs * (1 - MARGIN_FRACTION));
    this.#answered = Math.max(this.#answered, beat);
    if (!this.#pending.has(beat)) return;
    for (const number of this.#pending.keys()) if (number <= beat) this.#pending.delete(number);
    if (this.#healthySince === undefined || now - sentAt > SLOW_MS) this.#healthySince = now;
    // The next one names this answer: it is a sign of life of its own.
    this.#next(beat, from < sentAt ? 0 : Math.max(0, ttlMs / BEATS_PER_TTL - (now - sentAt)));
  }

  /** The next beat, in so many milliseconds, unless a newer one than `beat` is under way. */
  #next(beat: number, ms: number): void {
    if (this.#stopped || beat < this.#beat) return;
    this.#timer();
    this.#timer = this.#options.clock.after(ms, () => void this.#run());
  }
}
