/**
 * `npm run sim -- --seed N` replays one run, with `--verbose` and what every process logs; `--seeds N --start S` runs a range and prints what it did: seeds,
 * operations, faults by kind, violations. `--faults KIND,KIND` has only those, `--budget SECONDS` begins no seed after that time. `--planted NAME` does it with that bug of planted-bugs.ts in the code. Exit status 1 on a violation.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import type { Log, LogFields } from '../../src/env/log.js';
import { FAULT_KINDS } from './faults.js';
import { plantedBug, runPlanted } from './plant.js';
import { runSeed, type Outcome } from './run-seed.js';
import { runRange } from './seed-range.js';

const VIOLATIONS_SHOWN = 3;
const FAILING_SHOWN = 50;

function consoleLog(fields: LogFields): Log {
  const write = (level: string) => (message: string, more?: LogFields) => console.log(level, message, JSON.stringify({ ...fields, ...more }));
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error'), child: (more) => consoleLog({ ...fields, ...more }) };
}

function show({ seed, violations }: Outcome): void {
  if (violations.length > 0) console.log(`seed ${seed}: ${violations.slice(0, VIOLATIONS_SHOWN).join('\n  ')}`);
}

function table(faults: Record<string, number>): string {
  return Object.entries(faults).toSorted(([, a], [, b]) => b - a).map(([kind, times]) => `  ${String(times).padStart(8)}  ${kind}`).join('\n');
}

const string = { type: 'string' } as const;
const { values } = parseArgs({ options: { seed: string, seeds: string, start: string, threads: string, failures: string, planted: string, faults: string, budget: string, verbose: { type: 'boolean' } } });
const kinds = values.faults?.split(',');
const unknown = kinds?.find((kind) => !FAULT_KINDS.includes(kind));
if (unknown !== undefined) throw new Error(`no fault is called '${unknown}'; there are: ${FAULT_KINDS.join()}`);
if (values.planted !== undefined) {
  const words = Object.entries(values).flatMap(([key, value]) => (key === 'planted' ? [] : typeof value === 'string' ? [`--${key}`, value] : [`--${key}`]));
  const { status, output } = await runPlanted(plantedBug(values.planted), words);
  console.log(output);
  process.exitCode = status ?? 1;
} else if (values.seed !== undefined) {
  const outcome = await runSeed(Number(values.seed), { log: values.verbose === true ? consoleLog({}) : undefined, kinds });
  show(outcome);
  console.log(`${outcome.operations} operations in ${(outcome.virtualMs / 1000).toFixed(1)} s of virtual time, digest ${outcome.digest.toString(16)}; faults:\n${table(outcome.faults)}`);
  console.log(`${outcome.violations.length} violation(s)`);
  process.exitCode = outcome.violations.length > 0 ? 1 : 0;
} else {
  const began = performance.now();
  const summary = await runRange({
    start: Number(values.start ?? 1), count: Number(values.seeds ?? 100), threads: Number(values.threads ?? availableParallelism()),
    failuresMax: Number(values.failures ?? FAILING_SHOWN), kinds, onOutcome: show,
    untilMs: values.budget === undefined ? Infinity : performance.now() + Number(values.budget) * 1000,
  });
  const seconds = (performance.now() - began) / 1000;
  const faults = Object.values(summary.faults).reduce((sum, times) => sum + times, 0);
  console.log(`faults:\n${table(summary.faults)}\nother ways than through the primary:\n${table(summary.ways)}`);
  console.log(`${summary.seeds} seeds, ${summary.operations} operations, ${faults} faults, ${summary.failed.length} seeds with violations, ${(summary.seeds / seconds).toFixed(1)} seeds a second`);
  if (summary.failed.length > 0) {
    console.log(`failing seeds: ${summary.failed.map(({ seed }) => seed).toSorted((a, b) => a - b).slice(0, FAILING_SHOWN).join(' ')}`);
    process.exitCode = 1;
  }
}
