/** Mounting and unmounting: /dev/fuse, mount(8) without helpers, and what /proc and /sys say of a mount. Nothing here touches the mount itself. */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import koffi from 'koffi';
import { errnoName } from '../base/errno.js';
import { libcFunction } from './libc.js';

const open = libcFunction('int open(const char *, int, int)');
const ioctl = libcFunction('int ioctl(int, unsigned long, void *)');

const FUSE_DEV_IOC_CLONE = 0x8004e500;
const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const COMMAND_MS_MAX = 20_000;

export interface CommandResult {
  status: number;
  output: string;
}

/** Runs a command with a bound; its output (both streams) is for people. */
export function runCommand(command: string, args: string[], descriptors: number[] = []): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe', ...descriptors],
      timeout: COMMAND_MS_MAX,
      killSignal: 'SIGKILL',
    });
    let output = '';
    const collect = (chunk: Buffer): void => {
      output += chunk.toString('utf8');
    };
    child.stdout?.on('data', collect);
    child.stderr?.on('data', collect);
    child.on('error', (error) => resolve({ status: 127, output: error.message }));
    child.on('close', (code, signal) =>
      resolve({ status: code ?? 128, output: signal === null ? output.trim() : `${command} was ended by ${signal}` }),
    );
  });
}

/** The two descriptors of one connection (see fuse-device.ts). */
export interface FuseDescriptors {
  main: number;
  drain: number;
}

/** Mounts and returns the connection, on which nobody answers yet: every access waits. Rejects with what mount(8) said. */
export async function mountFuse(
  source: string,
  directory: string,
  type: string,
  options: string[],
): Promise<FuseDescriptors> {
  const main = openSync('/dev/fuse', 'r+');
  const all = ['fd=3', 'rootmode=40000', 'user_id=0', 'group_id=0', ...options];
  const result = await runCommand(
    'mount',
    ['-i', '-t', `fuse.${type}`, '-o', all.join(','), source, directory],
    [main],
  );
  if (result.status !== 0) {
    closeSync(main);
    throw new Error(result.output === '' ? `mount ended with status ${result.status}` : result.output);
  }
  // A program that inherits it keeps a connection alive which nobody serves any more: `umount` then waits for ever for an answer from itself.
  const drain = open('/dev/fuse', O_RDWR | O_NONBLOCK | O_CLOEXEC, 0) as number;
  const wanted = new Uint32Array([main]);
  if (drain < 0 || (ioctl(drain, FUSE_DEV_IOC_CLONE, wanted) as number) < 0) {
    const reason = errnoName(koffi.errno());
    await unmount(directory, true);
    throw new Error(`/dev/fuse cannot be cloned: ${reason}`);
  }
  return { main, drain };
}

/** `lazy` takes the mount out of sight at once and ends it with its last user. */
export function unmount(directory: string, lazy: boolean): Promise<CommandResult> {
  return runCommand('umount', ['-i', ...(lazy ? ['-l'] : []), directory]);
}

export interface MountEntry {
  /** major:minor, as in /sys/class/bdi. */
  device: string;
  directory: string;
  type: string;
  source: string;
}

function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
}

/** The mounts of this process's namespace, the last one of a directory being the one in sight. Paths are byte strings. */
export function listMounts(): MountEntry[] {
  const mounts: MountEntry[] = [];
  for (const line of readFileSync('/proc/self/mountinfo', 'latin1').split('\n')) {
    const [left, right] = line.split(' - ');
    if (left === undefined || right === undefined) continue;
    const fields = left.split(' ');
    const [type = '', source = ''] = right.split(' ');
    mounts.push({
      device: fields[2] ?? '',
      directory: unescape(fields[4] ?? ''),
      type: unescape(type),
      source: unescape(source),
    });
  }
  return mounts;
}

/** The mount in sight at a directory, or undefined. */
export function findMount(directory: string): MountEntry | undefined {
  const bytes = Buffer.from(directory, 'utf8').toString('latin1');
  return listMounts().findLast((m) => m.directory === bytes);
}

/** Lets the kernel read ahead further than its default of 128 KiB. False when it does not allow that. */
export function setReadahead(device: string, kib: number): boolean {
  try {
    writeFileSync(`/sys/class/bdi/${device}/read_ahead_kb`, `${kib}\n`);
    return true;
  } catch {
    return false;
  }
}
