/**
 * Runs a program of the build that starts clusters of its own (`npm run test:faults`, `test:migration`). Whatever ends it, nothing is left: the program ends its
 * cluster when this script is gone, this script cleans up when the program is gone, and the next start when both were killed.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { removeLeftovers, startOf } from './leftovers.mjs';
import { assertNode, build, ensureModules, ensurePackages, packageList } from './setup.mjs';
import { progress, PROJECT_ROOT, run, script } from './steps.mjs';

const RUN_MINUTES_MAX = 24 * 60;
const OWNER = 'owner.json';

/** What earlier runs left, whose script is gone. */
async function removeAbandoned(prefix) {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(prefix))) {
    let owner;
    try {
      owner = JSON.parse(readFileSync(join(tmpdir(), name, OWNER), 'utf8'));
    } catch {
      // It is just being made, or removed, or was left half removed.
      owner = undefined;
    }
    if (owner === undefined || startOf(owner.pid) === owner.start) continue;
    progress(`removing what the run ${name} left`);
    await removeLeftovers(name, join(tmpdir(), name));
  }
}

/** `parts` is the program's path below dist/; it gets the words of this command line. `prefix` begins the names of the runs. */
export async function scratchRun(prefix, ...parts) {
  const runId = `${prefix}${randomBytes(3).toString('hex')}`;
  const scratch = join(tmpdir(), runId);
  await script(async () => {
    assertNode();
    await ensurePackages([...new Set([...packageList('run'), ...packageList('test')])]);
    await ensureModules();
    await build();
    await removeAbandoned(prefix);
    mkdirSync(scratch, { mode: 0o755 });
    writeFileSync(join(scratch, OWNER), JSON.stringify({ pid: process.pid, start: startOf(process.pid) }));
    const env = { ...process.env, TMPDIR: scratch, GLUON_TEST_RUN: runId };
    const words = [process.execPath, '--enable-source-maps', join(PROJECT_ROOT, 'dist', ...parts), ...process.argv.slice(2)];
    const { status } = await run(words, { env, show: true, holdInput: true, timeoutMs: RUN_MINUTES_MAX * 60_000 });
    const left = await removeLeftovers(runId, scratch);
    for (const thing of left) process.stdout.write(`left behind: ${thing}\n`);
    return left.length > 0 ? 1 : (status ?? 1);
  }, () => removeLeftovers(runId, scratch));
}
