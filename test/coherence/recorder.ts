/** Writes down what a program asked and was told, with the instants of CLOCK_MONOTONIC, which is one clock for all processes of a machine. */
import type { Operation } from '../support/linearizability.js';
import type { Job, Outcome } from './jobs.js';

const LATE_FACTOR = 6;

/** Nanoseconds. */
export function instant(): number {
  return Number(process.hrtime.bigint());
}

/** Chance by a seed. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** A whole number from 0 to below `sides`. */
  roll(sides: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % sides;
  }
}

export class Recorder {
  readonly dice: Dice;
  readonly client: string;
  readonly outcome: Outcome = { operations: [], count: 0, latencies_us: [], won: [], refused: '' };
  readonly #end: number;
  readonly #latestEnd: number;
  readonly #operationsMin: number;
  readonly #operationsMax: number;
  #values = 0;

  constructor(job: Job) {
    this.dice = new Dice(job.seed);
    this.client = job.client;
    this.#operationsMin = job.operationsMin;
    this.#operationsMax = job.operationsMax;
    this.#end = performance.now() + job.seconds * 1000;
    this.#latestEnd = performance.now() + job.seconds * LATE_FACTOR * 1000;
  }

  get over(): boolean {
    const [now, count] = [performance.now(), this.outcome.operations.length];
    return (now >= this.#end && (count >= this.#operationsMin || now >= this.#latestEnd)) || count >= this.#operationsMax;
  }

  /** A value that nobody writes twice. */
  value(): string {
    return `${this.client}${++this.#values}`;
  }

  /** One operation; `ask` returns its output. */
  note<I, O>(input: I, ask: () => O): O {
    const operation: Operation<I, O> = { client: this.client, input, output: undefined, call: instant(), return: Infinity };
    operation.output = ask();
    operation.return = instant();
    this.outcome.operations.push(operation);
    return operation.output;
  }

  /** One step of a storm. */
  time(step: () => void): void {
    const begin = instant();
    step();
    this.outcome.latencies_us.push(Math.round((instant() - begin) / 1000));
    this.outcome.count++;
  }
}
