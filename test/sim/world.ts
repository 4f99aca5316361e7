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

  /** A node's clock; timers of a process that ended do not fire. */
  clock(alive: () => boolean): Clock {
    return {
      now: () => this.#now,
      wall: (): Time => ({ sec: 1_700_000_000 + Math.floor(this.#now / 1000), nsec: Math.floor((this.#now % 1000) * 1e6) }),
      after: (ms, callback) => this.at(ms, () => alive() && callback()),
    };
  }

  /** Runs events until `done` says so; false when time is up or nothing is left to happen. */
  async run(done: () => boolean, untilMs: number): Promise<boolean> {
    for (;;) {
      await settleMicrotasks();
      if (done()) return true;
      const event = this.#pop();
      if (event === undefined || event.at > untilMs) return false;
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

class SimChannel<M> implements Channel<M> {
  readonly remote: string;
  closed = false;
  readonly queuedBytes = 0;
  onMessage: (message: M) => void = () => undefined;
  onClose: (reason: string) => void = () => undefined;
  other: SimChannel<M> | undefined;
  readonly #world: World;
  readonly #delayMs: () => number;
  #lastAt = 0;

  constructor(world: World, remote: string, delayMs: () => number) {
    this.#world = world;
    this.remote = remote;
    this.#delayMs = delayMs;
  }

  send(message: M): void {
    if (this.closed) return;
    const { other } = this;
    // In order: never before what was sent earlier.
    const at = Math.max(this.#world.now + this.#delayMs(), this.#lastAt);
    this.#lastAt = at;
    this.#world.at(at - this.#world.now, () => {
      if (other !== undefined && !other.closed) other.onMessage(message);
    });
  }

  close(reason: string): void {
    if (this.closed) return;
    this.closed = true;
    this.onClose(reason);
    const { other } = this;
    this.#world.at(Math.max(this.#delayMs(), this.#lastAt - this.#world.now), () => other?.close('closed by the other end'));
  }

  /** The process at this end is gone: the other end hears of it, this end hears nothing. */
  vanish(): void {
    this.closed = true;
    this.onClose = () => undefined;
    const { other } = this;
    this.#world.at(this.#delayMs(), () => other?.close('connection reset'));
  }
}

export interface Link<M> {
  caller: Channel<M> & { vanish(): void };
  callee: Channel<M> & { vanish(): void };
}

export function makeLink<M>(world: World, callerName: string, calleeName: string): Link<M> {
  const delay = (): number => 0.02 + world.random.below(100) / 500;
  const caller = new SimChannel<M>(world, calleeName, delay);
  const callee = new SimChannel<M>(world, callerName, delay);
  caller.other = callee;
  callee.other = caller;
  return { caller, callee };
}
