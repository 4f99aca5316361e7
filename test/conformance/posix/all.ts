/** All POSIX tests, and the runner that makes them subtests over a subject. */
import type { TestContext } from 'node:test';
import { run } from '../../support/exec.js';
import type { Agent } from './client.js';
import { DATA_TESTS } from './data.js';
import { FILE_TESTS } from './files.js';
import { LOCK_TESTS } from './locks.js';
import { PosixFixture, type PosixSubject, type PosixTests } from './suite.js';
import { TREE_TESTS } from './trees.js';

export const POSIX: Record<string, PosixTests> = { files: FILE_TESTS, trees: TREE_TESTS, data: DATA_TESTS, locks: LOCK_TESTS };

const TEST_MS_MAX = 120_000;

/** Runs the whole suite over one subject, each test in a directory of its own. `only` narrows it to tests that contain the text. */
export async function posixOver(t: TestContext, subject: PosixSubject, only = process.env['GLUON_POSIX_ONLY'] ?? ''): Promise<void> {
  let count = 0;
  const idle: Agent[] = [];
  for (const [group, tests] of Object.entries(POSIX)) {
    for (const [claim, body] of Object.entries(tests)) {
      if (!`${group}: ${claim}`.includes(only)) continue;
      const name = `posix-${++count}`;
      await t.test(`${group}: ${claim}`, { timeout: TEST_MS_MAX }, async () => {
        await run('mkdir', [`${subject.directories[0]}/${name}`], { boundMs: 30_000 });
        const fixture = new PosixFixture(subject, name, idle);
        try {
          await body(fixture);
        } finally {
          await fixture.end();
        }
      });
    }
  }
  for (const agent of idle) await agent.kill();
}
