/** What the load wrote down (load.py), as operations with a beginning, an end and an outcome. */
import { readFileSync } from 'node:fs';

export interface Operation {
  client: number;
  op: string;
  args: number[];
  /** Nanoseconds of one clock for all clients. */
  begin: number;
  /** Infinity: it was never answered. */
  end: number;
  /** `ok`, an errno's name, or undefined while it was never answered. */
  outcome: string | undefined;
  result: number;
}

/** How busy the machine itself was. */
export interface MachineSample {
  at: number;
  lateMs: number;
  slowness: number;
}

export interface History {
  client: number;
  operations: Operation[];
  machine: MachineSample[];
}

type Line = [kind: string, ...words: (string | number)[]];

export function parseHistory(client: number, text: string): History {
  const history: History = { client, operations: [], machine: [] };
  const open = new Map<number, Operation>();
  for (const line of text.split('\n')) {
    // The last line of a program that was killed may be a part of one.
    if (!line.endsWith(']')) continue;
    const [kind, ...words] = JSON.parse(line) as Line;
    if (kind === 'c') {
      const [at, lateMs, slowness] = words as number[];
      history.machine.push({ at: at ?? 0, lateMs: lateMs ?? 0, slowness: slowness ?? 1 });
    } else if (kind === 'b') {
      const [id, begin, op, ...args] = words as [number, number, string, ...number[]];
      const operation: Operation = { client, op, args, begin, end: Infinity, outcome: undefined, result: 0 };
      open.set(id, operation);
      history.operations.push(operation);
    } else {
      const [id, end, outcome, result] = words as [number, number, string, number | undefined];
      const operation = open.get(id);
      if (operation === undefined) throw new Error(`the history of client ${client} ends what it never began: ${line}`);
      Object.assign(operation, { end, outcome, result: result ?? 0 });
    }
  }
  return history;
}

export function readHistory(client: number, path: string): History {
  return parseHistory(client, readFileSync(path, 'utf8'));
}

/** Now, in the nanoseconds of the histories. */
export function nanoseconds(): number {
  return Number(process.hrtime.bigint());
}

export interface Stall {
  ms: number;
  what: string;
  begin: number;
  end: number;
}

/** The longest that an operation of these clients took of the time between `from` and `to`, in milliseconds; unanswered ones count too. */
export function longestStall(histories: readonly History[], from: number, to: number): Stall {
  let longest: Stall = { ms: 0, what: '', begin: from, end: to };
  for (const { client, operations } of histories) {
    for (const { op, begin, end } of operations) {
      if (begin > to || end < from) continue;
      const ms = (Math.min(end, to) - Math.max(begin, from)) / 1e6;
      if (ms > longest.ms) longest = { ms, begin: Math.max(begin, from), end: Math.min(end, to), what: `client ${client}: ${op}, begun ${((begin - from) / 1e9).toFixed(2)} s after the fault` };
    }
  }
  return longest;
}

/** The latest wake-up of the machine in that time, and how many threads had to share a processor. */
export function machineNoise(histories: readonly History[], from: number, to: number): { lateMs: number; slowness: number } {
  const samples = histories.flatMap((history) => history.machine).filter(({ at }) => at >= from && at <= to);
  if (samples.length === 0) return { lateMs: 0, slowness: 1 };
  const total = samples.reduce((sum, sample) => sum + Math.min(sample.slowness, 20), 0);
  return { lateMs: Math.max(...samples.map((sample) => sample.lateMs)), slowness: Math.max(1, total / samples.length) };
}
