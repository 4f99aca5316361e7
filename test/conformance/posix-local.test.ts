/** The POSIX suite over a plain directory: what the suite claims is what Linux does. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { posixOver } from './posix/all.js';

test('the POSIX suite holds on a local filesystem', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'gluon-posix-'));
  try {
    await posixOver(t, { directories: [directory, directory], fuse: false });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
