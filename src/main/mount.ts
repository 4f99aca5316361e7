/**
 * `gluon mount HOST:VOLUME[/DIR] DIRECTORY [-o OPTIONS] [--daemon]`: mounts, starts the supervisor, waits until the volume is served.
 * In the foreground (the default) it stays until the mount is gone, and unmounts when it is told to end.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { openSync, realpathSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { makeDirectories } from '../platform/make-directories.js';
import { STATE_BYTES } from '../fuse/kept-state.js';
import {
  MountUsageError,
  parseMountOptions,
  parseMountSource,
  type MountOptions,
  type MountSource,
} from '../fuse/mount-options.js';
import { findMount, mountFuse, runCommand, unmount } from '../platform/fuse-mount.js';
import { createSharedMemory } from '../platform/shared-memory.js';
import { Descriptor, type MountConfig, type Report } from './mount-config.js';
import { supervisorScript } from './mount-supervisor.js';

/** mount(8): 1 wrong usage, 32 the mount failed. */
export const MountStatus = { done: 0, usage: 1, failed: 32 } as const;

export interface MountCommand {
  source: string;
  directory: string;
  /** As given with -o, joined by commas. */
  options: string;
  /** Unknown options are told and left out, instead of refused. */
  sloppy?: boolean;
  /** Only check the arguments. */
  fake?: boolean;
  /** Return when the volume is served, instead of when it is unmounted. */
  daemon: boolean;
  /** The module that serves; the real one unless a test brings its own. */
  worker?: string;
  /** For people. */
  say: (line: string) => void;
}

const READY_MS_MAX = 60_000;
const READ_BYTES_MAX = 1 << 20;
const LOG_DIRECTORY = '/var/log/gluon';

class MountFailure extends Error {}

/** Carries the command out; the result is the exit status. */
export async function runMount(command: MountCommand): Promise<number> {
  try {
    const source = parseMountSource(command.source);
    const options = parseMountOptions(command.options, command.sloppy === true);
    for (const note of options.notes) command.say(`note: ${note}`);
    if (command.fake === true) return MountStatus.done;
    if (options.remount) return await remount(command.directory, options);
    return await mountAndServe(command, source, options);
  } catch (error) {
    if (error instanceof MountUsageError) {
      command.say(error.message);
      return MountStatus.usage;
    }
    command.say(
      `mounting ${command.source} on ${command.directory} failed: ${error instanceof Error ? error.message : String(error)}`,
    );
    return MountStatus.failed;
  }
}

/** The directory as the mount table has it. Takes away a dead mount that lies on it, which no program can use. */
async function mountPoint(path: string): Promise<string> {
  const name = path.endsWith('/') && path.length > 1 ? path.slice(0, -1) : path;
  let problem = '';
  try {
    const directory = realpathSync(name);
    if (statSync(directory).isDirectory()) return directory;
    throw new MountFailure(`${name} is not a directory`);
  } catch (error) {
    if (error instanceof MountFailure) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTCONN' && code !== 'ECONNABORTED')
      throw new MountFailure(code === 'ENOENT' ? `${name} does not exist: make the directory first` : String(error));
    problem = code;
  }
  const removed = await runCommand('umount', ['-i', '-l', name]);
  if (removed.status !== 0)
    throw new MountFailure(`a dead mount (${problem}) lies on ${name} and cannot be taken away: ${removed.output}`);
  return realpathSync(name);
}

function defaultLogFile(directory: string): string {
  makeDirectories(LOG_DIRECTORY, 0o755);
  return `${LOG_DIRECTORY}/mount-${directory.slice(1).replaceAll('/', '-') || 'root'}.log`;
}

async function mountAndServe(command: MountCommand, source: MountSource, options: MountOptions): Promise<number> {
  if (process.getuid?.() !== 0) throw new MountFailure('only root can mount');
  const directory = await mountPoint(command.directory);
  const present = findMount(directory);
  if (present !== undefined && present.source === source.text) throw new MountFailure('it is mounted there already');
  const kernelOptions = ['allow_other', 'default_permissions', `max_read=${READ_BYTES_MAX}`, ...options.kernel];
  const config: MountConfig = {
    source: {
      ...source,
      servers: [...source.servers, ...options.backupServers].map(({ host, port }) => ({
        host,
        port: port === 0 ? options.serverPort : port,
      })),
    },
    directory,
    logFile: options.logFile ?? (command.daemon ? defaultLogFile(directory) : undefined),
    logLevel: options.logLevel,
    directIo: options.directIo,
  };
  const log = config.logFile === undefined ? 2 : openSync(config.logFile, 'a', 0o600);
  const state = createSharedMemory('gluon-mount', STATE_BYTES);
  const fuse = await mountFuse(source.text, directory, options.subtype, kernelOptions);
  const worker = command.worker ?? fileURLToPath(new URL('./mount-worker-main.js', import.meta.url));
  const supervisor = spawn(
    '/bin/sh',
    [supervisorScript(), process.execPath, ...process.execArgv, worker, JSON.stringify(config)],
    {
      detached: true,
      stdio: ['ignore', log, log, fuse.main, fuse.drain, state, 'pipe'],
    },
  );
  try {
    await served(supervisor);
  } catch (error) {
    await unmount(directory, true);
    // The supervisor leads a group of its own; a worker that cannot even start would be started for ever.
    if (supervisor.pid !== undefined && supervisor.exitCode === null) process.kill(-supervisor.pid, 'SIGKILL');
    throw error;
  }
  if (command.daemon) {
    supervisor.unref();
    return MountStatus.done;
  }
  command.say(`${source.text} is mounted on ${directory}`);
  return untilUnmounted(supervisor, directory);
}

/** Resolves when the worker reports that it serves; rejects with what it reports instead. */
function served(supervisor: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    const pipe = (supervisor.stdio as readonly unknown[])[Descriptor.report] as NodeJS.ReadableStream & {
      destroy(): void;
    };
    const timer = setTimeout(
      () => finish(new MountFailure(`the volume was not served within ${READY_MS_MAX / 1000} s; see the log`)),
      READY_MS_MAX,
    );
    let text = '';
    const finish = (error?: Error): void => {
      clearTimeout(timer);
      pipe.destroy();
      if (error === undefined) resolve();
      else reject(error);
    };
    pipe.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
      if (!text.includes('\n')) return;
      const report = JSON.parse(text.slice(0, text.indexOf('\n'))) as Report;
      finish('failed' in report ? new MountFailure(report.failed) : undefined);
    });
    pipe.on('error', () => undefined);
    supervisor.on('error', (error) => finish(error));
    supervisor.on('exit', () => finish(new MountFailure('the worker ended before the volume was served; see the log')));
  });
}

/** New flags for a mount that is there; what else it was mounted with stays. */
async function remount(directory: string, options: MountOptions): Promise<number> {
  const result = await runCommand('mount', ['-i', '-o', ['remount', ...options.kernel].join(','), directory]);
  if (result.status !== 0) throw new MountFailure(result.output);
  return MountStatus.done;
}

/** Stays in the foreground; SIGINT and SIGTERM unmount. */
function untilUnmounted(supervisor: ChildProcess, directory: string): Promise<number> {
  const end = (): void =>
    void unmount(directory, false).then((result) => (result.status === 0 ? result : unmount(directory, true)));
  process.on('SIGINT', end).on('SIGTERM', end);
  return new Promise((resolve) =>
    supervisor.on('exit', (code) => resolve(code === 0 ? MountStatus.done : MountStatus.failed)),
  );
}

const USAGE = `usage: gluon mount HOST[,HOST2...]:VOLUME[/DIRECTORY] DIRECTORY [-o OPTIONS] [--daemon]

  -o, --options OPTIONS  comma-separated:
        ro                            refuse every change
        log-file=PATH log-level=LEVEL  where and how much to log (debug, info, warning, error)
        backup-volfile-servers=A:B    further servers to ask for the volume
        server-port=PORT              where gluond listens on the servers
        subtype=NAME                  the mount shows as fuse.NAME (default glusterfs, which libvirt takes for shared storage)
        direct-io-mode=enable         leave the page cache out for every file
        noatime, nosuid, nodev, noexec, ... go to the kernel; _netdev, nofail, x-*, ... are left to fstab's readers
      --daemon           return as soon as the volume is served, instead of staying in the foreground
      --sloppy           leave unknown options out instead of refusing them
      --fake             only check the arguments`;

/** The program `gluon mount`; resolves with the exit status. */
export async function main(given: string[]): Promise<number> {
  const say = (line: string): void => console.error(line.startsWith('usage') ? line : `gluon mount: ${line}`);
  try {
    const { values, positionals } = parseArgs({
      args: given,
      allowPositionals: true,
      options: {
        options: { type: 'string', short: 'o', multiple: true },
        daemon: { type: 'boolean' },
        sloppy: { type: 'boolean' },
        fake: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help === true) {
      console.log(USAGE);
      return MountStatus.done;
    }
    const [source, directory, ...rest] = positionals;
    if (source === undefined || directory === undefined || rest.length > 0)
      throw new MountUsageError('give one volume and one directory');
    const { daemon = false, sloppy = false, fake = false } = values;
    return await runMount({ source, directory, options: (values.options ?? []).join(','), daemon, sloppy, fake, say });
  } catch (error) {
    say(error instanceof Error ? error.message : String(error));
    say(USAGE);
    return MountStatus.usage;
  }
}
