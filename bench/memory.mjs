/**
 * `npm run bench -- --memory`: resident memory of every brick and mount worker of the quickstart after 100,000 files were made and seen on
 * every mount, and again after the kernel forgot them. The bound is 300 MiB each.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { markedProcesses } from '../scripts/lib/processes.mjs';
import { quickstartUp } from '../scripts/quickstart.mjs';
import { must, progress, run, sleep } from '../scripts/lib/steps.mjs';
import { dropCaches } from './rows.mjs';
import { alignedTable } from './table.mjs';

const FILES = 100_000;
const DIRECTORIES = 100;
const LIMIT_MIB = 300;
/** A process gives memory back some time after it was freed. */
const SETTLE_MS = 15_000;
const STEP_TIMEOUT_MS = 1_200_000;

const MAKE = `
import os, sys
root, directories, files = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for d in range(directories):
    path = f"{root}/d{d:03d}"
    os.mkdir(path)
    for f in range(files // directories):
        os.close(os.open(f"{path}/f{f:05d}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
`;
const STIR = `
import os, sys
path = sys.argv[1] + f"/stir-{os.getpid()}"
for _ in range(2000):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    os.stat(path)
    os.unlink(path)
`;
const SEE = `
import os, sys
seen = 0
for path, _, names in os.walk(sys.argv[1]):
    for name in names:
        os.stat(os.path.join(path, name))
        seen += 1
print(seen)
`;

function statusMib(pid, field) {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return match === null ? 0 : Number(match[1]) / 1024;
}

/** What a process of the quickstart is, or undefined when it is not measured. */
function roleOf({ words }, mounts) {
  const text = words.join(' ');
  const node = /\/node(\d+)\//.exec(text)?.[1] ?? '?';
  if (words[0].endsWith('/sh')) return undefined;
  if (text.startsWith('gluon mount worker') || /mount-worker/.test(text)) return `mount worker ${node}`;
  if (/\bbrick\b/.test(words.slice(1, 4).join(' '))) return `brick ${node}`;
  if (/gluond/.test(text)) return `gluond ${node}`;
  if (/etcd/.test(words[0])) return `etcd ${node}`;
  return undefined;
}

/** Exit status 1 when a brick or mount worker is above the bound. */
export async function measureMemory(options) {
  const { directory, mounts } = await quickstartUp(options.quickstart);
  const samples = [];
  const sample = (when) => {
    for (const found of markedProcesses('GLUON_QUICKSTART', directory)) {
      const role = roleOf(found, mounts);
      if (role === undefined) continue;
      samples.push({ when, role, pid: found.pid, rssMib: statusMib(found.pid, 'VmRSS'), peakMib: statusMib(found.pid, 'VmHWM') });
    }
  };
  const root = join(mounts[0], `bench-memory-${process.pid}`);
  sample('before');
  mkdirSync(root);
  try {
    progress(`making ${FILES} files on ${mounts[0]}`);
    const begin = Date.now();
    await must(['/usr/bin/python3', '-c', MAKE, root, String(DIRECTORIES), String(FILES)], { timeoutMs: STEP_TIMEOUT_MS });
    progress(`made, ${Math.round(FILES / ((Date.now() - begin) / 1000))} a second`);
    for (const mount of mounts) {
      const { stdout } = await must(['/usr/bin/python3', '-c', SEE, join(mount, root.slice(mounts[0].length + 1))], { timeoutMs: STEP_TIMEOUT_MS });
      progress(`${mount}: ${stdout.trim()} files seen`);
    }
    sample('seen');
    await dropCaches();
    progress('the kernel forgot them; a little work on every mount, so that garbage is collected');
    for (const mount of mounts) await must(['/usr/bin/python3', '-c', STIR, mount], { timeoutMs: STEP_TIMEOUT_MS });
    await sleep(SETTLE_MS);
    sample('forgotten');
  } finally {
    progress('removing the files');
    await run(['rm', '-rf', root], { timeoutMs: STEP_TIMEOUT_MS });
  }
  await sleep(2_000);
  sample('removed');
  const stages = [...new Set(samples.map(({ when }) => when))];
  const roles = [...new Set(samples.map(({ role }) => role))].sort((left, right) => left.localeCompare(right));
  const cell = (role, when) => samples.find((s) => s.role === role && s.when === when)?.rssMib.toFixed(0) ?? '-';
  const peak = (role) => Math.max(...samples.filter((s) => s.role === role).map(({ peakMib }) => peakMib));
  process.stdout.write(`\n${alignedTable([['RSS, MiB', ...stages, 'peak'], ...roles.map((role) => [role, ...stages.map((when) => cell(role, when)), peak(role).toFixed(0)])])}\n`);
  const above = roles.filter((role) => /^(brick|mount)/.test(role) && samples.some((s) => s.role === role && s.rssMib > LIMIT_MIB));
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify({ files: FILES, limitMib: LIMIT_MIB, samples, above }, undefined, 2)}\n`);
  if (above.length > 0) process.stderr.write(`above ${LIMIT_MIB} MiB: ${above.join(', ')}\n`);
  return above.length > 0 ? 1 : 0;
}
