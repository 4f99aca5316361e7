/** Processes as the kernel shows them in /proc: found by a mark in their environment, never by name. */
import type { ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { waitFor } from './wait.js';

export interface Process {
  pid: number;
  parent: number;
  command: string[];
}

/** Undefined for a process that is gone or waits for its parent to reap it. */
function statusOf(pid: number): { parent: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const [state = '', parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' || state === 'X' ? undefined : { parent: Number(parent) };
  } catch {
    return undefined;
  }
}

function describe(pid: number): Process | undefined {
  const status = statusOf(pid);
  if (status === undefined) return undefined;
  try {
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
    return command.length === 0 ? undefined : { pid, parent: status.parent, command };
  } catch {
    return undefined;
  }
}

/** Processes whose environment holds this NAME=value, without zombies and without this process. */
export function processesMarked(mark: string): Process[] {
  const found: Process[] = [];
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    try {
      if (!`\0${readFileSync(`/proc/${pid}/environ`, 'utf8')}`.includes(`\0${mark}\0`)) continue;
    } catch {
      continue;
    }
    const known = describe(pid);
    if (known !== undefined) found.push(known);
  }
  return found;
}

/** By its state alone: in the middle of an exec, which is when spawn() returns, a process has no command line for a moment. */
export function isAlive(pid: number): boolean {
  return statusOf(pid) !== undefined;
}

/** Resident memory in MiB; 0 when the process is gone. */
export function residentMiB(pid: number): number {
  try {
    return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

export function openFiles(pid: number): string[] {
  const dir = `/proc/${pid}/fd`;
  const out: string[] = [];
  for (const fd of readdirSync(dir)) {
    try {
      out.push(readlinkSync(`${dir}/${fd}`));
    } catch {
      // It was closed meanwhile.
    }
  }
  return out;
}

/** Harmless when the process is gone. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It ended already.
  }
}

export async function killAndWait(pid: number, boundMs = 5000): Promise<void> {
  signal(pid, 'SIGKILL');
  await waitFor(`process ${pid} to be gone after SIGKILL`, boundMs, () => !isAlive(pid), 20);
}

/** A child of this process. Its files are closed when this resolves; /proc shows a process as gone a moment before they are. */
export async function killChild(child: ChildProcess, boundMs = 20_000): Promise<void> {
  child.kill('SIGKILL');
  await waitFor(`process ${child.pid} to be reaped after SIGKILL`, boundMs, () => child.pid === undefined || child.exitCode !== null || child.signalCode !== null, 5);
}
