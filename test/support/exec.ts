/** Child processes of tests: every run has a bound, and a failure shows the command, its status and the end of its output. */
import { spawn, type ChildProcess } from 'node:child_process';

export interface RunOptions {
  cwd?: string;
  env?: Record<string, string>;
  input?: string | Buffer;
  /** Default two minutes. The process group is killed when the time is over. */
  boundMs?: number;
  /** Exit statuses that are no failure; default only 0. */
  accept?: number[] | 'any';
}

export interface RunResult {
  status: number;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

const OUTPUT_BYTES_MAX = 64 << 20;

/** Ends the process and what it started. Harmless when it is gone. */
export function killGroup(child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // The group is gone already.
  }
}

export interface Running {
  child: ChildProcess;
  done: Promise<RunResult>;
}

function tail(text: string): string {
  return text.length > 4000 ? `…${text.slice(-4000)}` : text;
}

/** Starts a command in its own process group. `done` rejects when the status is not accepted or the time is over. */
export function start(command: string, args: string[], options: RunOptions = {}): Running {
  const boundMs = options.boundMs ?? 120_000;
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...process.env, LC_ALL: 'C.UTF-8', ...options.env },
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    detached: true,
  });
  const done = new Promise<RunResult>((resolve, reject) => {
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let size = 0;
    const collect = (into: Buffer[]) => (chunk: Buffer) => {
      size += chunk.length;
      if (size <= OUTPUT_BYTES_MAX) into.push(chunk);
    };
    child.stdout?.on('data', collect(out));
    child.stderr?.on('data', collect(err));
    let expired = false;
    const timer = setTimeout(() => {
      expired = true;
      killGroup(child);
    }, boundMs);
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(new Error(`cannot start ${command}: ${error.message}`));
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const result: RunResult = {
        status: code ?? -1,
        signal,
        stdout: Buffer.concat(out).toString('utf8'),
        stderr: Buffer.concat(err).toString('utf8'),
      };
      const accepted = options.accept === 'any' || (options.accept ?? [0]).includes(result.status);
      if (!expired && accepted) return resolve(result);
      const why = expired ? `did not end within ${boundMs} ms` : `ended with status ${code ?? 'none'}${signal === null ? '' : ` (${signal})`}`;
      reject(new Error(`${[command, ...args].join(' ').slice(0, 2000)} ${why}\n${tail(result.stdout)}${tail(result.stderr)}`));
    });
    if (options.input !== undefined) {
      child.stdin?.on('error', () => undefined);
      child.stdin?.end(options.input);
    }
  });
  done.catch(() => undefined);
  return { child, done };
}

export function run(command: string, args: string[], options: RunOptions = {}): Promise<RunResult> {
  return start(command, args, options).done;
}

/** Runs a bash script with `set -euo pipefail`; arguments are $1, $2, ... */
export function shell(script: string, args: string[] = [], options: RunOptions = {}): Promise<RunResult> {
  return run('bash', ['-euo', 'pipefail', '-c', script, 'script', ...args], options);
}
