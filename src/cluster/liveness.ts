/**
 * Signs of life. Every gluond writes its node's record once a second; `ttlMs` rides in it.
 *
 *   holder    the bricks of this node may serve until  (moment the beat that was taken was *sent*) + ttl - margin
 *   observer  a node is dead when its record did not change for ttl after it was *seen*
 *
 * The observer's time begins after the holder's, both clocks are only measured in lengths, and whoever acts on a death compares the
 * revision of the record in the same commit: so a node that is acted against has stopped serving before. What it sent before and the store takes afterwards
 * gives it nothing: a beat compares the views that the node's bricks serve by, and the view has changed.
 *
 * A node that is heard but hears nothing must fall silent. So after a beat without an answer the next one goes out only when the store has answered a question.
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
/** After the store could not be written for a while, everybody gets the chance to beat before anybody is called dead. */
const SETTLE_MS = 1_500;
/**
 * A beat that takes longer says that the store is slow: for everybody. It is not waited for: what was asked of a leader that died is never answered, while the
 * next leader takes a new beat at once.
 */
const SLOW_MS = 1_000;

interface Seen {
  revision: number;
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
  #beat = 0;
  /** Beats go out without a question: the newest one was answered, or none was sent. */
  #hears = true;
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
    this.#go();
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
    this.#go();
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
      this.#seen.set(peer.id, {
        revision,
        confirmed: seen !== undefined,
        at: clock.now(),
        ttlMs: record?.value.ttlMs ?? this.#options.ttlMs(),
      });
    }
    for (const id of this.#seen.keys()) if (!present.has(id)) this.#seen.delete(id);
  }

  #go(): void {
    if (this.#hears) void this.#beatOnce();
    else void this.#ask();
  }

  /** A beat goes out when the store answers; until then it is asked again and again. */
  async #ask(): Promise<void> {
    const { store, node, log } = this.#options;
    const beat = this.#beat;
    const due = (): boolean => beat === this.#beat && !this.#hears && !this.#stopped;
    this.#next(beat, SLOW_MS);
    try {
      await store.get(keys.node(node));
      if (!due()) return;
      this.#hears = true;
      this.#next(beat, 0);
    } catch (error) {
      if (!(error instanceof LostError || error instanceof FsError)) log.error('asking the cluster store failed', { error });
      if (due()) this.#next(beat, RETRY_MS);
    }
  }

  async #beatOnce(): Promise<void> {
    const { clock, log, node, state, store, incarnation } = this.#options;
    const ttlMs = this.#options.ttlMs();
    const beat = ++this.#beat;
    const sentAt = clock.now();
    const peer = state.peer(node);
    if (peer === undefined) {
      this.#next(beat, RETRY_MS);
      return;
    }
    const promisedMs = this.#promised(ttlMs, sentAt);
    const first = !this.#introduced;
    const writes: Write[] = first ? this.#options.firstWrites() : [];
    this.#pending.set(beat, sentAt);
    this.#hears = false;
    this.#next(beat, SLOW_MS);
    try {
      const done = await store.commit(
        [{ key: peer.key, revision: peer.revision }, ...this.#options.views()],
        [...writes, { key: keys.node(node), value: encode({ incarnation, beat, ttlMs: promisedMs }) }],
        'now',
      );
      if (done) {
        this.#introduced = true;
        this.#taken(beat, sentAt, ttlMs);
      } else if (this.#pending.delete(beat)) {
        this.#hears = true;
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

  /** The store has this beat. */
  #taken(beat: number, sentAt: number, ttlMs: number): void {
    const now = this.#options.clock.now();
    this.#leaseUntil = Math.max(this.#leaseUntil, sentAt + ttlMs * (1 - MARGIN_FRACTION));
    if (!this.#pending.has(beat)) return;
    this.#hears = true;
    for (const number of this.#pending.keys()) if (number <= beat) this.#pending.delete(number);
    if (this.#healthySince === undefined || now - sentAt > SLOW_MS) this.#healthySince = now;
    this.#next(beat, Math.max(0, ttlMs / BEATS_PER_TTL - (now - sentAt)));
  }

  /** The next beat, in so many milliseconds, unless a newer one than `beat` is under way. */
  #next(beat: number, ms: number): void {
    if (this.#stopped || beat < this.#beat) return;
    this.#timer();
    this.#timer = this.#options.clock.after(ms, () => this.#go());
  }
}
