/** Mounts for tests of the kernel's side: the mount command and its supervisor as processes, the volume a local directory. */
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './exec.js';
import { BUILD_ROOT } from './paths.js';
import { processesMarked, type Process } from './processes.js';
import { waitFor } from './wait.js';

export interface LocalMount {
  /** The mount point. Only child processes may touch it. */
  readonly directory: string;
  /** The tree behind it. */
  readonly brick: string;
  readonly log: string;
  /** Arguments of Node for the mount command in the foreground. */
  readonly command: string[];
  processes(): Process[];
  worker(): Process | undefined;
  supervisor(): Process | undefined;
  isMounted(): boolean;
  /** Runs the mount command again, at the same place. */
  mountAgain(): Promise<void>;
  /** Unmounts whatever is left and removes all files. */
  remove(): Promise<void>;
}

function isMounted(directory: string): boolean {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .some((line) => line.split(' ')[1] === directory);
}

export async function mountLocal(options = ''): Promise<LocalMount> {
  const base = mkdtempSync(join(tmpdir(), 'gluon-mount-'));
  chmodSync(base, 0o755);
  const directory = join(base, 'mnt');
  const brick = join(base, 'brick');
  const log = join(base, 'log');
  const mark = `GLUON_TEST_DIRECTORY=${brick}`;
  await run('mkdir', [directory, brick]);
  const support = join(BUILD_ROOT, 'test', 'support');
  const all = [`log-file=${log}`, ...(options === '' ? [] : [options])].join(',');
  const args = [
    join(support, 'mount-main.js'),
    join(support, 'mount-local-worker.js'),
    'localhost:test',
    directory,
    all,
    '--daemon',
  ];
  const mountAgain = async (): Promise<void> => {
    await run(process.execPath, args, { env: { GLUON_TEST_DIRECTORY: brick }, boundMs: 30_000 });
  };
  const processes = (): Process[] => processesMarked(mark);
  const mount: LocalMount = {
    directory,
    brick,
    log,
    command: args.slice(0, -1),
    processes,
    worker: () => processes().find((p) => p.command.join(' ').includes('gluon mount worker')),
    supervisor: () => processes().find((p) => p.command.some((word) => word.endsWith('mount-supervisor.sh'))),
    mountAgain,
    isMounted: () => isMounted(directory),
    remove: async () => {
      if (isMounted(directory)) await run('umount', ['-l', directory], { accept: 'any', boundMs: 10_000 });
      await waitFor('the processes of a mount to end', 10_000, () => processes().length === 0);
      rmSync(base, { recursive: true, force: true });
    },
  };
  try {
    await mountAgain();
  } catch (error) {
    await mount.remove();
    throw error;
  }
  return mount;
}
