/** Processes that outlive the gluond that started them: found again by a file with pid and start time. */
import { spawn } from 'node:child_process';
import { openSync, closeSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { makeDirectories } from './make-directories.js';
import { Errno, FsError } from '../base/errno.js';
import { processStartTime } from './brick-control.js';

export interface ProcessIdentity {
  pid: number;
  /** See processStartTime: tells a reused pid apart. */
  startTime: string;
}

export interface SpawnOptions {
  program: string;
  args: string[];
  /** What it prints is appended here. */
  logFile: string;
  pidFile: string;
  environment?: Record<string, string>;
}

/** A zombie has ended: it does nothing any more. */
function ended(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
    return state === 'Z' || state === 'X';
  } catch {
    return true;
  }
}

export function isRunning(identity: ProcessIdentity): boolean {
  return !ended(identity.pid) && processStartTime(identity.pid) === identity.startTime;
}

/** The process named in the file if it runs. */
export function readPidFile(path: string): ProcessIdentity | undefined {
  try {
    const identity = JSON.parse(readFileSync(path, 'utf8')) as ProcessIdentity;
    return isRunning(identity) ? identity : undefined;
  } catch {
    return undefined;
  }
}

/** Starts a process in a session of its own. `onExit` is called when it ends while this gluond lives. */
export function spawnDetached(options: SpawnOptions, onExit: (how: string) => void): ProcessIdentity {
  makeDirectories(dirname(options.pidFile), 0o700);
  makeDirectories(dirname(options.logFile), 0o700);
  const log = openSync(options.logFile, 'a', 0o600);
  try {
    const child = spawn(options.program, options.args, {
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...process.env, ...options.environment },
    });
    child.on('error', (error) => onExit(`could not be started: ${error.message}`));
    child.on('exit', (code, signal) => onExit(signal === null ? `exit status ${code ?? 0}` : `signal ${signal}`));
    child.unref();
    if (child.pid === undefined) throw new FsError(Errno.EIO, 'spawn', `${options.program} could not be started`);
    const identity = { pid: child.pid, startTime: processStartTime(child.pid) };
    writeFileSync(`${options.pidFile}.new`, JSON.stringify(identity), { mode: 0o600 });
    renameSync(`${options.pidFile}.new`, options.pidFile);
    return identity;
  } finally {
    closeSync(log);
  }
}

export function removePidFile(path: string): void {
  rmSync(path, { force: true });
}

/** False when the process is gone. */
export function sendSignal(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isRunning(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch {
    return false;
  }
}

/** True when it ended within the time. */
export async function waitForEnd(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  const until = performance.now() + timeoutMs;
  while (isRunning(identity)) {
    if (performance.now() >= until) return false;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return true;
}
