/**
 * Virtual time, a seeded source of chance, and a network with latency, cuts and loss of connections: the outside of a simulated cluster.
 */
import type { Cancel, Clock, Random } from '../../src/env/clock.js';
import type { Channel } from '../../src/env/channel.js';
import type { Time } from '../../src/base/time.js';

interface Event {
  at: number;
  order: number;
  run: (() => void) | undefined;
}

/** xorshift128: small, fast, the same everywhere. */
export class SeededRandom implements Random {
  #a: number;
  #b = 0x9e3779b9;
  #c = 0x243f6a88;
  #d = 0xb7e15162;

  constructor(seed: number) {
    this.#a = seed | 0 || 1;
    for (let i = 0; i < 20; i++) this.next();
  }

  next(): number {
    let t = this.#d;
    const s = this.#a;
    this.#d = this.#c;
    this.#c = this.#b;
    this.#b = s;
    t ^= t << 11;
    t ^= t >>> 8;
    this.#a = t ^ s ^ (s >>> 19);
    return this.#a >>> 0;
  }

  below(below: number): number {
    return this.next() % below;
  }

  chance(probability: number): boolean {
    return this.next() / 0x1_0000_0000 < probability;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  bytes(count: number): Uint8Array {
    return Buffer.from(Array.from({ length: count }, () => this.below(256)));
  }
}

export class World {
  readonly random: SeededRandom;
  #now = 0;
  #order = 0;
  #heap: Event[] = [];

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
  }

  get now(): number {
    return this.#now;
  }

  at(delayMs: number, run: () => void): Cancel {
    const event: Event = { at: this.#now + Math.max(0, delayMs), order: this.#order++, run };
    this.#push(event);
    return () => {
      event.run = undefined;
    };
  }

  /** Directions in which nothing gets through, as `from>to`; `*` for any. */
  readonly cuts = new Set<string>();

  isCut(from: string, to: string): boolean {
    return this.cuts.size > 0 && (this.cuts.has(`${from}>${to}`) || this.cuts.has(`${from}>*`) || this.cuts.has(`*>${to}`));
  }

  /** A node's clock; timers of a process that ended do not fire, those of one that is stopped wait. Its wall clock may be wrong. */
  clock(alive: () => boolean, party: Party, wallErrorMs: () => number = () => 0): Clock {
    const fire = (callback: () => void): void => {
      if (!alive()) return;
      if (party.stopped) this.at(CUT_CHECK_MS, () => fire(callback));
      else callback();
    };
    return {
      now: () => this.#now,
      wall: (): Time => {
        const ms = this.#now + wallErrorMs();
        return { sec: 1_700_000_000 + Math.floor(ms / 1000), nsec: Math.floor((((ms % 1000) + 1000) % 1000) * 1e6) };
      },
      after: (ms, callback) => this.at(ms, () => fire(callback)),
    };
  }

  /** Runs events until `done` says so; false when time is up or nothing is left to happen. */
  async run(done: () => boolean, untilMs: number): Promise<boolean> {
    for (;;) {
      await settleMicrotasks();
      if (done()) return true;
      const event = this.#pop();
      if (event === undefined) return false;
      if (event.at > untilMs) {
        this.#push(event);
        this.#now = untilMs;
        return false;
      }
      this.#now = event.at;
      const { run } = event;
      event.run = undefined;
      run?.();
    }
  }

  #push(event: Event): void {
    const heap = this.#heap;
    heap.push(event);
    let i = heap.length - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (before(heap[parent] as Event, event)) break;
      heap[i] = heap[parent] as Event;
      i = parent;
    }
    heap[i] = event;
  }

  #pop(): Event | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Event, heap[child] as Event)) child++;
      if (before(last, heap[child] as Event)) break;
      heap[i] = heap[child] as Event;
      i = child;
    }
    heap[i] = last;
    return top;
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** Lets every promise that can go on do so. Native microtasks run between two of these turns. */
function settleMicrotasks(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A process or host that messages go between, as far as faults see it. */
export interface Party {
  name: string;
  /** Stopped (SIGSTOP): what arrives waits until it goes on. */
  stopped: boolean;
}

const CUT_CHECK_MS = 10;
/** A connection that gets nothing through for so long is reset, as TCP_USER_TIMEOUT does. */
const RESET_MS = 6000;

type Item<M> = { at: number; message: M } | { at: number; end: string };

class SimChannel<M> implements Channel<M> {
  readonly remote: string;
  closed = false;
  readonly queuedBytes = 0;
  onMessage: (message: M) => void = () => undefined;
  onClose: (reason: string) => void = () => undefined;
  other: SimChannel<M> | undefined;
  readonly owner: Party;
  readonly #world: World;
  readonly #queue: Item<M>[] = [];
  #armed = false;
  #waitingSince = 0;

  constructor(world: World, owner: Party, remote: Party) {
    this.#world = world;
    this.owner = owner;
    this.remote = remote.name;
  }

  send(message: M): void {
    if (!this.closed) this.#enqueue({ at: this.#world.now + this.#delayMs(), message });
  }

  close(reason: string): void {
    if (this.closed) return;
    this.closed = true;
    this.onClose(reason);
    this.#enqueue({ at: this.#world.now + this.#delayMs(), end: 'closed by the other end' });
  }

  /** The process at this end is gone: the other end hears of it, this end hears nothing. */
  vanish(): void {
    this.closed = true;
    this.onClose = () => undefined;
    this.#enqueue({ at: this.#world.now + this.#delayMs(), end: 'connection reset' });
  }

  #delayMs(): number {
    return 0.02 + this.#world.random.below(100) / 500;
  }

  #enqueue(item: Item<M>): void {
    this.#queue.push(item);
    this.#arm(item.at - this.#world.now);
  }

  #arm(delayMs: number): void {
    if (this.#armed) return;
    this.#armed = true;
    this.#world.at(delayMs, () => {
      this.#armed = false;
      this.#pump();
    });
  }

  /** Delivers in order what is due; nothing gets past a cut, nothing is handled by a process that is stopped. */
  #pump(): void {
    const other = this.other as SimChannel<M>;
    while (this.#queue.length > 0) {
      const item = this.#queue[0] as Item<M>;
      if (item.at > this.#world.now) return this.#arm(item.at - this.#world.now);
      if (this.#world.isCut(this.owner.name, other.owner.name) || other.owner.stopped) {
        if (this.#waitingSince === 0) this.#waitingSince = this.#world.now;
        if (!other.owner.stopped && this.#world.now - this.#waitingSince > RESET_MS) this.#reset();
        return this.#arm(CUT_CHECK_MS);
      }
      this.#waitingSince = 0;
      this.#queue.shift();
      if (other.closed) continue;
      if ('end' in item) other.close(item.end);
      else other.onMessage(item.message);
    }
  }

  #reset(): void {
    this.#queue.length = 0;
    this.close('nothing got through');
  }
}

export interface Link<M> {
  caller: Channel<M> & { vanish(): void };
  callee: Channel<M> & { vanish(): void };
}

export function makeLink<M>(world: World, callerParty: Party, calleeParty: Party): Link<M> {
  const caller = new SimChannel<M>(world, callerParty, calleeParty);
  const callee = new SimChannel<M>(world, calleeParty, callerParty);
  caller.other = callee;
  callee.other = caller;
  return { caller, callee };
}
