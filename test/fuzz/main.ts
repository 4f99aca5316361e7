/** `npm run fuzz -- [--inputs N] [--seed S] [--only TARGET,…]`: throws inputs and prints what came of it. Exit status 1 on a violation. */
import { parseArgs } from 'node:util';
import { fuzz, TARGETS } from './run.js';

const INPUTS = 1_000_000;

const { values } = parseArgs({ options: { inputs: { type: 'string' }, seed: { type: 'string' }, only: { type: 'string' } } });
const seed = Number(values.seed ?? 1);
const inputs = Number(values.inputs ?? INPUTS);
const only = values.only?.split(',') ?? [];
const unknown = only.filter((name) => !TARGETS.some((target) => target.name === name));
if (!Number.isInteger(seed) || !Number.isInteger(inputs) || inputs < 1 || unknown.length > 0) {
  console.error(`usage: npm run fuzz -- [--inputs N] [--seed S] [--only ${TARGETS.map(({ name }) => name).join('|')},…]`);
  process.exit(2);
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));

const row = (cells: (string | number)[]): string => `${String(cells[0]).padEnd(32)}${cells.slice(1).map((cell) => String(cell).padStart(13)).join('')}`;
console.log(row([`seed ${seed}`, 'inputs', 'refused', 'carried out', 'memory MiB', 'inputs/s']));
const { figures, violations } = await fuzz(inputs, seed, only, (f) => console.log(row([f.target, f.inputs, f.refused, f.carriedOut, f.memoryMiB, Math.round(f.inputs / f.seconds)])));
const sum = (of: 'inputs' | 'refused' | 'carriedOut'): number => figures.reduce((total, f) => total + f[of], 0);
console.log(row(['in all', sum('inputs'), sum('refused'), sum('carriedOut'), Math.max(...figures.map((f) => f.memoryMiB))]));
console.log(`${violations.length} violations`);
for (const violation of violations) console.log(violation);
process.exit(violations.length === 0 ? 0 : 1);
