/** Several gluonds on this machine, each on a loopback address and in a state directory of its own: for tests of the management plane. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { run, type RunResult } from './exec.js';
import { look } from './look.js';
import { BUILD_ROOT, PACKAGE_ROOT } from './paths.js';
import { isAlive, killAndWait, signal } from './processes.js';
import { waitFor } from './wait.js';

const ENVIRONMENT = { GLUON_BUILD: basename(BUILD_ROOT) };

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

interface PidFile {
  pid: number;
}

export class Daemon {
  process: ChildProcess | undefined;

  constructor(
    readonly root: string,
    readonly address: string,
    readonly port: number,
  ) {}

  get stateDirectory(): string {
    return join(this.root, this.address);
  }

  /** As `peer probe` takes it. */
  get place(): string {
    return `${this.address}:${this.port}`;
  }

  brickPath(name: string): string {
    return join(this.root, 'bricks', `${name}-${this.address}`);
  }

  async start(...extra: string[]): Promise<void> {
    mkdirSync(this.stateDirectory, { recursive: true });
    const log = openSync(join(this.stateDirectory, 'gluond.log'), 'a');
    const args = ['--listen', this.place, '--state-dir', this.stateDirectory, '--name', this.address, ...extra];
    const child = spawn(process.execPath, [join(PACKAGE_ROOT, 'bin', 'gluond'), ...args], {
      stdio: ['ignore', log, log],
      env: { ...process.env, ...ENVIRONMENT },
    });
    closeSync(log);
    this.process = child;
    await waitFor(`gluond on ${this.place}`, 15_000, async () => {
      if (child.exitCode !== null) throw new Error(`gluond ended: ${this.log()}`);
      await this.look('text', 'pool', 'list');
      return true;
    });
  }

  /** A crash of gluond alone. */
  async kill(): Promise<void> {
    if (this.process?.pid !== undefined) await killAndWait(this.process.pid);
  }

  /** Everything that serves on this node ends at once, as when its power fails. */
  async killAll(): Promise<void> {
    const pids = [this.process?.pid, this.etcdPid(), ...this.brickPids()].filter(
      (pid) => pid !== undefined && pid > 0 && isAlive(pid),
    ) as number[];
    for (const pid of pids) signal(pid, 'SIGKILL');
    await waitFor(`the processes of ${this.address} to end`, 5_000, () => pids.every((pid) => !isAlive(pid)));
  }

  etcdPid(): number {
    return this.#pid(join(this.stateDirectory, 'etcd', 'etcd.pid'));
  }

  brickPids(): number[] {
    let names: string[] = [];
    try {
      names = readdirSync(join(this.stateDirectory, 'run'));
    } catch {
      // Never started.
    }
    return names
      .filter((name) => name.endsWith('.pid'))
      .map((name) => this.#pid(join(this.stateDirectory, 'run', name)));
  }

  /** One more on this state directory: it should not stay. */
  gluond(...words: string[]): Promise<RunResult> {
    const args = [join(PACKAGE_ROOT, 'bin', 'gluond'), '--state-dir', this.stateDirectory, ...words];
    return run(process.execPath, args, { env: ENVIRONMENT, accept: 'any', boundMs: 20_000 });
  }

  /** Any exit status. */
  gluon(...words: string[]): Promise<RunResult> {
    const args = [join(PACKAGE_ROOT, 'bin', 'gluon'), '--mode=script', '--state-dir', this.stateDirectory, ...words];
    return run(process.execPath, args, { env: ENVIRONMENT, accept: 'any', boundMs: 90_000 });
  }

  /** Must succeed. */
  async must(...words: string[]): Promise<string> {
    const result = await this.gluon(...words);
    if (result.status !== 0)
      throw new Error(`gluon ${words.join(' ')}: ${result.stderr}${result.stdout}\n${this.log()}`);
    return result.stdout;
  }

  /** What a command prints that is asked again and again: not in a process of its own. Rejects when the command fails. */
  look(form: 'text' | 'json', ...words: string[]): Promise<string> {
    return look(join(this.stateDirectory, 'gluond.sock'), words, form);
  }

  async json<T>(...words: string[]): Promise<T> {
    return JSON.parse(await this.look('json', ...words)) as T;
  }

  log(): string {
    try {
      return readFileSync(join(this.stateDirectory, 'gluond.log'), 'utf8').slice(-3000);
    } catch {
      return '';
    }
  }

  #pid(path: string): number {
    try {
      return (JSON.parse(readFileSync(path, 'utf8')) as PidFile).pid;
    } catch {
      return 0;
    }
  }
}

export class Daemons {
  readonly root = mkdtempSync(join(tmpdir(), 'gd-'));
  readonly all: Daemon[] = [];

  /** Not started yet. */
  static async prepare(count: number): Promise<Daemons> {
    const daemons = new Daemons();
    const port = await freePort();
    for (let i = 1; i <= count; i++) daemons.all.push(new Daemon(daemons.root, `127.0.0.${i}`, port));
    mkdirSync(join(daemons.root, 'bricks'));
    return daemons;
  }

  daemon(index: number): Daemon {
    const daemon = this.all[index];
    if (daemon === undefined) throw new Error(`there is no daemon ${index}`);
    return daemon;
  }

  bricks(name: string, daemons = this.all): string[] {
    return daemons.map((daemon) => `${daemon.address}:${daemon.brickPath(name)}`);
  }

  async close(): Promise<void> {
    for (const daemon of this.all)
      if (daemon.process?.pid !== undefined && isAlive(daemon.process.pid)) signal(daemon.process.pid, 'SIGINT');
    const running = (): number[] =>
      this.all
        .flatMap((daemon) => [daemon.process?.pid ?? 0, daemon.etcdPid(), ...daemon.brickPids()])
        .filter((pid) => pid > 0 && isAlive(pid));
    try {
      await waitFor('every daemon to end after SIGINT', 25_000, () => running().length === 0);
    } catch {
      for (const pid of running()) signal(pid, 'SIGKILL');
      await waitFor('every daemon to end after SIGKILL', 5_000, () => running().length === 0);
    }
    rmSync(this.root, { recursive: true, force: true });
  }
}
