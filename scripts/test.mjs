#!/usr/bin/env node
/**
 * `npm test [-- FILTER…]`: everything from a fresh Debian 12 with only Node 20 and root to a summary line. Installs what is missing, builds,
 * runs test/unit, test/sim, test/fuzz, test/conformance, test/coherence and test/e2e (those whose path contains a FILTER), and checks that nothing was left behind.
 *
 * Tests find in their environment: TMPDIR (a short path, removed at the end), GLUON_TEST_RUN (marks every process of this run),
 * GLUON_TEST_SHORT (set unless `--full`: long tests take their short form).
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { removeLeftovers } from './lib/leftovers.mjs';
import { assertNode, build, ensureModules, ensurePackages, packageList } from './lib/setup.mjs';
import { progress, PROJECT_ROOT, run, script } from './lib/steps.mjs';

const words = process.argv.slice(2);
const full = words.includes('--full');
const filters = words.filter((word) => !word.startsWith('--'));

/** They measure pauses, run guests, use what there is once on a machine, or make mount namespaces (which hold the mounts of others). */
const ALONE = /e2e\/(?:faults|migration|quickstart|real-input\/guest)\.test\.ts$/;

/** Programs that do to the volume what others of the short form do too. */
const FULL_ONLY = /e2e\/real-input\/(?:compile|fio|npm)\.test\.ts$/;

/** Kinds in the order they run: what is quick and near the code first. Minutes bound the kinds of a line together. */
const KINDS = [
  { kinds: ['unit', 'sim', 'fuzz'], concurrency: 2, minutes: 8, fullMinutes: 40 },
  { kinds: ['conformance', 'coherence'], concurrency: 3, minutes: 8, fullMinutes: 45 },
  // Daemons, mounts and programs of three files at a time: much of their time is waiting.
  { kinds: ['e2e'], concurrency: 3, minutes: 12, fullMinutes: 120, without: ALONE },
  { kinds: ['e2e'], concurrency: 1, minutes: 8, fullMinutes: 90, only: ALONE },
];

/** The whole short run, installation included, ends within this. */
const SHORT_MINUTES_MAX = 19;
const begin = Date.now();

const runId = `gluontest${randomBytes(3).toString('hex')}`;
const scratch = join('/tmp', runId);

function testFiles(kind) {
  const root = join(PROJECT_ROOT, 'test', kind);
  if (!existsSync(root)) return [];
  return readdirSync(root, { recursive: true })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join('test', kind, name))
    .filter((path) => (filters.length === 0 ? full || !FULL_ONLY.test(path) : filters.some((filter) => path.includes(filter))))
    .sort();
}

async function runKinds({ kinds, concurrency, minutes, fullMinutes, only, without }) {
  const kind = kinds.join(', ');
  const sources = kinds.flatMap(testFiles).filter((path) => (only?.test(path) ?? true) && without?.test(path) !== true);
  if (sources.length === 0) return undefined;
  const remaining = Math.max(1, SHORT_MINUTES_MAX - (Date.now() - begin) / 60_000);
  const limit = full ? fullMinutes : Math.min(minutes, remaining);
  progress(`${kind}: ${sources.length} file(s), at most ${limit.toFixed(1)} min`);
  const countsPath = join(scratch, `counts-${kinds[0]}-${sources.length}.json`);
  rmSync(countsPath, { force: true });
  const env = { ...process.env, TMPDIR: scratch, GLUON_TEST_RUN: runId, GLUON_TEST_COUNTS: countsPath };
  delete env.GLUON_TEST_SHORT;
  if (!full) env.GLUON_TEST_SHORT = '1';
  // Of the tests only: the programs that they start should not read a map with every module.
  const options = ['--enable-source-maps', '--test', `--test-reporter=${join(PROJECT_ROOT, 'scripts', 'lib', 'reporter.mjs')}`, `--test-timeout=${Math.floor(limit * 60_000)}`];
  if (concurrency !== undefined) options.push(`--test-concurrency=${concurrency}`);
  const compiled = sources.map((path) => join('dist', path.replace(/\.ts$/, '.js')));
  const result = await run([process.execPath, ...options, ...compiled], { env, show: true, timeoutMs: Math.floor(limit * 60_000) });
  const counts = existsSync(countsPath) ? JSON.parse(readFileSync(countsPath, 'utf8')) : { passed: 0, failed: 0, skipped: 0, failures: [] };
  if (result.timedOut || counts.complete !== true || (result.status !== 0 && counts.failed === 0)) {
    counts.failed++;
    counts.failures.push(`${kind}: ${result.timedOut ? `ran longer than ${limit.toFixed(1)} min` : `the test runner ended with ${result.signal ?? `status ${result.status}`} before it was done`}`);
  }
  return counts;
}

const cleanUp = () => removeLeftovers(runId, scratch);

async function main() {
  assertNode();
  await ensurePackages([...new Set([...packageList('run'), ...packageList('test')])]);
  await ensureModules();
  progress('building');
  await build();
  // Tests run programs as other users too: they must be able to pass.
  mkdirSync(scratch, { mode: 0o755 });
  const total = { passed: 0, failed: 0, skipped: 0, failures: [] };
  for (const kinds of KINDS) {
    const counts = await runKinds(kinds);
    if (counts === undefined) continue;
    total.passed += counts.passed;
    total.failed += counts.failed;
    total.skipped += counts.skipped;
    total.failures.push(...counts.failures);
  }
  const left = await cleanUp();
  for (const thing of left) total.failures.push(`left behind: ${thing}`);
  if (total.failures.length > 0) process.stdout.write(`\nfailed:\n${total.failures.map((name) => `  ${name}`).join('\n')}\n`);
  if (total.passed === 0 && total.failed === 0) total.failures.push('no test matched');
  const seconds = Math.round((Date.now() - begin) / 1000);
  const verdict = total.failures.length === 0 ? 'PASS' : 'FAIL';
  process.stdout.write(`\n${verdict}: ${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped, ${left.length} left behind, in ${seconds} s\n`);
  return verdict === 'PASS' ? 0 : 1;
}

await script(main, cleanUp);
