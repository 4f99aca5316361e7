/** `npm run sim -- --seed N` replays one run; `--seeds N --start S` runs a range and prints what it did. Exit status 1 on a violation. */
import { parseArgs } from 'node:util';
import { silentLog, type Log, type LogFields } from '../../src/env/log.js';
import { runSeed } from './run-seed.js';

function consoleLog(fields: LogFields): Log {
  const write = (level: string) => (message: string, more?: LogFields) => console.log(level, message, JSON.stringify({ ...fields, ...more }));
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error'), child: (more) => consoleLog({ ...fields, ...more }) };
}

const { values } = parseArgs({ options: { seed: { type: 'string' }, seeds: { type: 'string' }, start: { type: 'string' }, verbose: { type: 'boolean' } } });
const start = Number(values.seed ?? values.start ?? 1);
const count = values.seed === undefined ? Number(values.seeds ?? 100) : 1;
const began = Date.now();
let operations = 0;
let faults = 0;
const failing: number[] = [];
for (let seed = start; seed < start + count; seed++) {
  const outcome = await runSeed(seed, values.verbose === true ? consoleLog({}) : silentLog);
  operations += outcome.operations;
  faults += outcome.faults;
  if (outcome.violations.length > 0) {
    failing.push(seed);
    console.log(`seed ${seed}: ${outcome.violations.slice(0, 3).join('\n  ')}`);
  }
}
const seconds = (Date.now() - began) / 1000;
console.log(`${count} seeds, ${operations} operations, ${faults} faults, ${failing.length} violations, ${(count / seconds).toFixed(1)} seeds a second`);
if (failing.length > 0) {
  console.log(`failing seeds: ${failing.slice(0, 50).join(' ')}`);
  process.exitCode = 1;
}
