/** What a run of the tests left behind: found by the run's id, which is in the environment of its processes and in every path and name of its own. */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { endAll, markedProcesses, mounts } from './processes.mjs';
import { run as runIn } from './steps.mjs';

/** The checkout itself may be gone by now. */
const run = (words, options) => runIn(words, { cwd: '/', ...options });

/** When a process began, in ticks since the boot; '' when there is none. A pid alone may be used again. */
export function startOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return '';
  }
}

async function loops(runId) {
  if (!existsSync('/sbin/losetup') && !existsSync('/usr/sbin/losetup')) return [];
  const { stdout } = await run(['losetup', '-l', '-n', '-O', 'NAME,BACK-FILE']);
  return stdout.split('\n').filter((line) => line.includes(runId)).map((line) => line.trim().split(/\s+/)[0]);
}

function namespaces(runId) {
  return existsSync('/run/netns') ? readdirSync('/run/netns').filter((name) => name.includes(runId)) : [];
}

/** Ends and removes it, `scratch` too; resolves with what there was, one sentence each. */
export async function removeLeftovers(runId, scratch) {
  const processes = () => markedProcesses('GLUON_TEST_RUN', runId);
  const mounted = () => mounts(({ source, path }) => path.includes(runId) || source.includes(runId));
  const told = [
    ...processes().map(({ pid, command }) => `process ${pid}: ${command.slice(0, 160)}`),
    ...mounted().map(({ path }) => `mount ${path}`),
  ];
  for (const { path } of mounted()) await run(['umount', '-l', path], { timeoutMs: 10_000 });
  await endAll(processes, 2_000);
  // A mount worker that was killed may have been replaced once more.
  for (const { path } of mounted()) await run(['umount', '-l', path], { timeoutMs: 10_000 });
  for (const device of await loops(runId)) {
    told.push(`loop device ${device}`);
    await run(['losetup', '-d', device], { timeoutMs: 10_000 });
  }
  for (const name of namespaces(runId)) {
    told.push(`network namespace ${name}`);
    await run(['ip', 'netns', 'delete', name], { timeoutMs: 10_000 });
  }
  rmSync(scratch, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  return told;
}
