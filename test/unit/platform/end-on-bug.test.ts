import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { BUG_STATUS } from '../../../src/platform/end-on-bug.js';
import { run } from '../../support/exec.js';
import { BUILD_ROOT } from '../../support/paths.js';

const SCRIPT = join(BUILD_ROOT, 'test', 'support', 'end-with-bug.js');

function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1) ?? '';
}

async function withDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'gluon-bug-'));
  try {
    await body(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

for (const [kind, message] of [
  ['assertion', 'what never is'],
  ['rejection', 'nobody caught this'],
  ['no error', 'a text'],
] as const) {
  test(`a bug (${kind}) ends the process with one clear last line`, async () => {
    await withDirectory(async (directory) => {
      const log = join(directory, 'log');
      const filed = await run(process.execPath, [SCRIPT, kind, log], { accept: 'any', boundMs: 20_000 });
      assert.equal(filed.status, BUG_STATUS);
      const line = JSON.parse(lastLine(readFileSync(log, 'utf8'))) as Record<string, unknown>;
      assert.equal(line['level'], 'error');
      assert.equal(line['message'], 'a bug: the process ends');
      assert.ok(JSON.stringify(line['error']).includes(message), JSON.stringify(line));
      assert.match(lastLine(filed.stderr), new RegExp(`^a test: a bug: .*${message}`));
      const plain = await run(process.execPath, [SCRIPT, kind], { accept: 'any', boundMs: 20_000 });
      assert.equal(plain.status, BUG_STATUS);
      assert.equal((JSON.parse(lastLine(plain.stderr)) as Record<string, unknown>)['message'], 'a bug: the process ends');
    });
  });
}

test('a process ends at once, also while a thread of it hangs in a disk call', async () => {
  await withDirectory(async (directory) => {
    const fifo = join(directory, 'fifo');
    await run('mkfifo', [fifo]);
    const ended = await run(process.execPath, [SCRIPT, 'assertion', '', fifo], { accept: 'any', boundMs: 20_000 });
    assert.equal(ended.status, BUG_STATUS);
  });
});

test('a log that cannot be written does not keep a process alive', async () => {
  const ended = await run(process.execPath, [SCRIPT, 'rejection', '/dev/full'], { accept: 'any', boundMs: 20_000 });
  assert.equal(ended.status, BUG_STATUS);
});
