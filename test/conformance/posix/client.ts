/** The test's end of agent.ts. */
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { errnoName } from '../../../src/base/errno.js';
import { BUILD_ROOT } from '../../support/paths.js';
import { sleep, within } from '../../support/wait.js';
import type { CallName, Calls } from './calls.js';

const CALL_MS = 60_000;

export class PosixError extends Error {
  readonly code: string;
  constructor(
    readonly errno: number,
    call: string,
  ) {
    super(`${call}: ${errnoName(errno)}`);
    this.code = errnoName(errno);
  }
}

type Answer = { id: number; result?: unknown; errno?: number; broken?: string; took_us?: number };
type Waiting = { call: string; resolve: (value: unknown) => void; reject: (error: Error) => void };

type Remote = { [K in CallName]: (...args: Parameters<Calls[K]>) => Promise<ReturnType<Calls[K]>> };

/** A process in a directory of a mount: `agent.sys.open('a', flags)` is the system call made there. */
export class Agent {
  readonly sys: Remote;
  /** How long the last call took that succeeded, measured by the process that made it. */
  took_us = 0;
  private readonly waiting = new Map<number, Waiting>();
  private next = 0;
  private readonly child: ChildProcess;
  private ended = false;
  private changed = false;

  constructor(readonly directory: string) {
    const script = join(BUILD_ROOT, 'test', 'conformance', 'posix', 'agent.js');
    this.child = spawn(process.execPath, [script, directory], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.child.stdin?.on('error', () => undefined);
    this.child.on('error', () => this.end());
    this.child.on('exit', () => this.end());
    if (this.child.stdout !== null) createInterface({ input: this.child.stdout }).on('line', (line) => this.receive(line));
    this.sys = new Proxy({} as Remote, { get: (_, call) => (...args: unknown[]) => this.call(String(call), args) });
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  private call(call: string, args: unknown[]): Promise<unknown> {
    if (this.ended) return Promise.reject(new Error(`${call}: the agent has ended`));
    if (call === 'become') this.changed = true;
    const id = ++this.next;
    const answer = new Promise<unknown>((resolve, reject) => this.waiting.set(id, { call, resolve, reject }));
    this.child.stdin?.write(`${JSON.stringify({ id, call, args })}\n`);
    return within(`the system call ${call}(${JSON.stringify(args).slice(0, 200)})`, CALL_MS, answer);
  }

  private receive(line: string): void {
    const answer = JSON.parse(line) as Answer;
    const waiting = this.waiting.get(answer.id);
    this.waiting.delete(answer.id);
    this.took_us = answer.took_us ?? 0;
    if (answer.errno !== undefined) waiting?.reject(new PosixError(answer.errno, waiting.call));
    else if (answer.broken !== undefined) waiting?.reject(new Error(`${waiting.call}: ${answer.broken}`));
    else waiting?.resolve(answer.result);
  }

  private end(): void {
    this.ended = true;
    for (const { call, reject } of this.waiting.values()) reject(new Error(`${call}: the agent ended`));
    this.waiting.clear();
  }

  /** True when it can serve another test: it lives, waits in no call, and is still root. */
  get reusable(): boolean {
    return !this.ended && this.waiting.size === 0 && !this.changed;
  }

  /** Begins anew in another directory; the calls that follow are made there. */
  async startOver(directory: string): Promise<void> {
    await this.sys.startOver(directory);
  }

  /** SIGKILL; resolves when the process is gone: within the bound even when it waits for a lock. */
  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => this.child.once('exit', () => resolve()));
    this.child.kill('SIGKILL');
    await within(`the agent in ${this.directory} to end after SIGKILL`, 20_000, gone);
  }
}

/** 'done', 'CODE', or 'waiting' when there is no answer within a short time. */
export async function stateOf(work: Promise<unknown>, ms = 300): Promise<string> {
  const outcome = work.then(
    () => 'done',
    (error: Error) => (error instanceof PosixError ? error.code : `broken: ${error.message}`),
  );
  return Promise.race([outcome, sleep(ms, 'waiting')]);
}
