/**
 * Reporter for node:test: one line per test file when it ends, every failure in full as it happens, and counts for the summary
 * (written to the file named by GLUON_TEST_COUNTS).
 */
import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';

/** Tests that take this long are told when they end: progress for who waits. */
const SLOW_TEST_MS = 1_000;
const STDERR_LINES_SHOWN = 30;
const STILL_RUNNING_MS = 20_000;

function fileName(path) {
  return path === undefined ? '?' : relative(process.cwd(), path).replace(/^dist[^/]*\//, '').replace(/(?:\.js)$/, '.ts');
}

function failureText(data) {
  const error = data.details.error;
  const cause = error?.cause ?? error;
  const text = cause?.stack ?? cause?.message ?? String(cause);
  const indented = String(text).split('\n').slice(0, 40).join('\n      ');
  return `  FAIL ${fileName(data.file)}: ${data.name}\n      ${indented}\n`;
}

export default async function* reporter(source) {
  const files = new Map();
  const counts = { passed: 0, failed: 0, skipped: 0, failures: [], complete: false };
  const of = (file) => {
    if (!files.has(file)) files.set(file, { passed: 0, failed: 0, skipped: 0, stderr: [] });
    return files.get(file);
  };
  // What takes long says that it still runs: who waits sees where.
  const open = new Map();
  const beat = setInterval(() => {
    const now = Date.now();
    const long = [...open.values()].filter((test) => now - test.begin > STILL_RUNNING_MS).at(-1);
    if (long !== undefined) process.stdout.write(`  ...    ${fileName(long.file)}: ${long.name} (${Math.round((now - long.begin) / 1000)} s)\n`);
  }, STILL_RUNNING_MS);
  beat.unref();
  // Written as we go: what ran is counted even when the runner has to be killed.
  const save = () => process.env.GLUON_TEST_COUNTS !== undefined && writeFileSync(process.env.GLUON_TEST_COUNTS, JSON.stringify(counts));
  for await (const { type, data } of source) {
    const isSuite = data?.details?.type === 'suite';
    // A test file itself is reported as a test of nesting 0 whose name is its path.
    const isFile = data?.nesting === 0 && data.name !== undefined && data.file !== undefined && data.name.endsWith('.js') && data.file.endsWith(data.name.replace(/^.*\//, ''));
    const key = `${data?.file}\0${data?.nesting}\0${data?.name}`;
    if (type === 'test:dequeue' || type === 'test:start') open.set(key, { file: data.file, name: data.name, begin: open.get(key)?.begin ?? Date.now() });
    if (type === 'test:pass' || type === 'test:fail' || type === 'test:complete') open.delete(key);
    if (type === 'test:start' && data.file !== undefined) of(data.file);
    if (type === 'test:pass' && !isSuite && !isFile) {
      const kind = data.skip !== undefined || data.todo !== undefined ? 'skipped' : 'passed';
      counts[kind]++;
      of(data.file)[kind]++;
      if (counts[kind] % 20 === 0) save();
      if (data.details.duration_ms > SLOW_TEST_MS) yield `  ok     ${fileName(data.file)}: ${data.name} (${(data.details.duration_ms / 1000).toFixed(1)} s)\n`;
    }
    if (type === 'test:fail') {
      const because = data.details?.error?.failureType;
      // Suites and files fail because something in them failed: that was told already.
      if (because === 'subtestsFailed') continue;
      counts.failed++;
      of(data.file).failed++;
      counts.failures.push(`${fileName(data.file)}: ${data.name}`);
      save();
      yield failureText(data);
      // A file that ends before its tests could tell anything has only its stderr to say why.
      if (isFile) for (const line of of(data.file).stderr) yield `      ${line}\n`;
    }
    if (type === 'test:stderr') {
      const { stderr } = of(data.file);
      stderr.push(...data.message.trimEnd().split('\n'));
      if (stderr.length > STDERR_LINES_SHOWN) stderr.splice(0, stderr.length - STDERR_LINES_SHOWN);
    }
    if (type === 'test:stderr' && process.env.GLUON_TEST_OUTPUT !== undefined) yield data.message;
    if (type === 'test:stdout' && process.env.GLUON_TEST_OUTPUT !== undefined) yield data.message;
  }
  for (const [file, seen] of files) {
    const verdict = seen.failed > 0 ? 'FAILED' : 'ok';
    yield `  ${verdict.padEnd(6)} ${fileName(file)}: ${seen.passed} passed${seen.failed > 0 ? `, ${seen.failed} failed` : ''}${seen.skipped > 0 ? `, ${seen.skipped} skipped` : ''}\n`;
  }
  counts.complete = true;
  save();
}
