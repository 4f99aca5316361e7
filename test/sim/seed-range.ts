/** Runs a range of seeds in several threads. */
import { fileURLToPath } from 'node:url';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { runSeed, type Outcome } from './run-seed.js';

export interface Summary {
  seeds: number;
  operations: number;
  virtualMs: number;
  faults: Record<string, number>;
  ways: Record<string, number>;
  failed: Outcome[];
}

export interface RangeOptions {
  start: number;
  count: number;
  threads: number;
  /** See RunOptions. */
  kinds?: readonly string[] | undefined;
  /** No more seeds are begun after so many failed. */
  failuresMax?: number;
  /** No more seeds are begun after so long. */
  untilMs?: number;
  onOutcome?: (outcome: Outcome) => void;
}

/** Errors are made by the thousand; a single seed is replayed with whole stacks. */
const STACK_FRAMES = 1;

/** Seeds are independent of each other and of the number of threads. */
export async function runRange(options: RangeOptions): Promise<Summary> {
  const { start, count, threads, failuresMax = Infinity, untilMs = Infinity } = options;
  const summary: Summary = { seeds: 0, operations: 0, virtualMs: 0, faults: {}, ways: {}, failed: [] };
  let next = start;
  const worker = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const thread = new Worker(fileURLToPath(import.meta.url), { execArgv: ['--enable-source-maps'], workerData: options.kinds });
      const feed = (): void => {
        const stop = next >= start + count || summary.failed.length >= failuresMax || performance.now() > untilMs;
        thread.postMessage(stop ? undefined : next++);
      };
      thread.on('message', (outcome: Outcome) => {
        add(summary, outcome);
        options.onOutcome?.(outcome);
        feed();
      });
      thread.on('error', reject);
      thread.on('exit', () => resolve());
      feed();
    });
  await Promise.all(Array.from({ length: Math.min(threads, count) }, worker));
  return summary;
}

function add(summary: Summary, outcome: Outcome): void {
  summary.seeds++;
  summary.operations += outcome.operations;
  summary.virtualMs += outcome.virtualMs;
  for (const [kind, times] of Object.entries(outcome.faults)) summary.faults[kind] = (summary.faults[kind] ?? 0) + times;
  for (const [way, times] of Object.entries(outcome.ways)) summary.ways[way] = (summary.ways[way] ?? 0) + times;
  if (outcome.violations.length > 0) summary.failed.push(outcome);
}

if (!isMainThread && parentPort !== null) {
  const port = parentPort;
  Error.stackTraceLimit = STACK_FRAMES;
  port.on('message', (seed: number | undefined) => {
    if (seed === undefined) port.close();
    else void runSeed(seed, { kinds: workerData as string[] | undefined }).then((outcome) => port.postMessage(outcome));
  });
}
