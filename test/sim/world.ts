/** Virtual time and a seeded source of chance: the outside of a simulated cluster, but for its network and disks. */
import type { Cancel, Clock, Random } from '../../src/env/clock.js';
import type { Time } from '../../src/base/time.js';

interface Event {
  at: number;
  order: number;
  run: (() => void) | undefined;
}

const STOPPED_CHECK_MS = 10;
/** Turns of Node's event loop cost more than most events. */
const EVENTS_PER_TURN = 64;

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

  /** From `least` to just below `most`, small values more often. */
  skewed(least: number, most: number): number {
    const share = this.next() / 0x1_0000_0000;
    return least + (most - least) * share * share * share;
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
  #digest = 0x811c_9dc5;
  #events = 0;
  /** Whose code runs in this event. */
  running: Party | undefined;
  /** A process threw what nothing caught: in reality it would end. */
  onFailure: (party: Party | undefined, error: unknown) => void = (_, error) => {
    throw error;
  };

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
  }

  get now(): number {
    return this.#now;
  }

  /** Runs code of a process. */
  as(party: Party, run: () => void): void {
    this.running = party;
    try {
      run();
    } catch (error) {
      this.onFailure(party, error);
    }
  }

  at(delayMs: number, run: () => void): Cancel {
    const event: Event = { at: this.#now + Math.max(0, delayMs), order: this.#order++, run };
    this.#push(event);
    return () => {
      event.run = undefined;
    };
  }

  /** Takes part in the digest of what happened: two runs with the same digest went the same way. */
  note(text: string): void {
    let hash = this.#digest;
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193);
    this.#digest = Math.imul(hash ^ Math.round(this.#now * 1000), 0x0100_0193);
  }

  /** Events that happened. */
  get events(): number {
    return this.#events;
  }

  get digest(): number {
    return this.#digest >>> 0;
  }

  /**
   * A node's clock; timers of a process that ended do not fire, those of one that is stopped wait. Its wall clock may be wrong, its monotonic clock
   * begins anywhere and may be a little fast or slow.
   */
  clock(alive: () => boolean, party: Party, wallErrorMs: () => number = () => 0, skew = { offset_ms: 0, rate: 1 }): Clock {
    const after = (ms: number, callback: () => void): Cancel => {
      let cancel: Cancel;
      const fire = (): void => {
        if (!alive()) return;
        if (party.stopped) cancel = this.at(STOPPED_CHECK_MS, fire);
        else this.as(party, callback);
      };
      cancel = this.at(ms / skew.rate, fire);
      return () => cancel();
    };
    return {
      now: () => skew.offset_ms + this.#now * skew.rate,
      wall: (): Time => {
        const ms = this.#now + wallErrorMs();
        return { sec: 1_700_000_000 + Math.floor(ms / 1000), nsec: Math.floor((((ms % 1000) + 1000) % 1000) * 1e6) };
      },
      after,
    };
  }

  /** Runs events until `done` says so; false when time is up or nothing is left to happen. */
  async run(done: () => boolean, untilMs: number): Promise<boolean> {
    for (;;) {
      await (++this.#events % EVENTS_PER_TURN === 0 ? turn() : settleMicrotasks());
      if (done()) return true;
      const event = this.#pop();
      if (event === undefined) return false;
      if (event.at > untilMs) {
        this.#push(event);
        this.#now = Math.max(this.#now, untilMs);
        return false;
      }
      this.#now = event.at;
      this.running = undefined;
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

/** Lets every promise that can go on do so: a tick comes when no microtask is left. */
function settleMicrotasks(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}

/** Lets Node tell of rejections that nobody handles, too. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A process or host that messages go between, as far as faults see it. */
export interface Party {
  name: string;
  /** Stopped (SIGSTOP): what arrives waits until it goes on. */
  stopped: boolean;
}
