/** Starts `gluon brick` processes that outlive gluond, and finds them again. */
import { join } from 'node:path';
import type { BrickProcesses } from '../cluster/bricks.js';
import type { BrickId } from '../fops/view.js';
import { PACKAGE_ROOT } from './package-root.js';
import { isRunning, readPidFile, sendSignal, spawnDetached, type ProcessIdentity } from './processes.js';
import type { StateDirectory } from './node-files.js';

export interface BrickProgram {
  program: string;
  args: string[];
}

/** As installed: bin/gluon finds the compiled program. */
export const BRICK_PROGRAM: BrickProgram = {
  program: process.execPath,
  args: [join(PACKAGE_ROOT, 'bin', 'gluon'), 'brick'],
};

/** Cold reads and fsyncs of a brick wait in the thread pool: with Node's four, one slow fsync would hold up every read. */
const POOL_THREADS = '16';

export class LinuxBrickProcesses implements BrickProcesses {
  readonly #directory: StateDirectory;
  readonly #program: BrickProgram;
  readonly #logLevel: string;
  readonly #pathOf: (brick: BrickId) => string;
  readonly #known = new Map<BrickId, ProcessIdentity>();

  constructor(
    directory: StateDirectory,
    pathOf: (brick: BrickId) => string,
    logLevel: string,
    program = BRICK_PROGRAM,
  ) {
    this.#directory = directory;
    this.#pathOf = pathOf;
    this.#logLevel = logLevel;
    this.#program = program;
  }

  spawn(volume: string, brick: BrickId, onExit: (how: string) => void): void {
    const logFile = this.#directory.in('log', `brick-${brick}.log`);
    const args = [
      '--control',
      this.#directory.socket,
      '--volume',
      volume,
      '--brick',
      brick,
      '--path',
      this.#pathOf(brick),
      '--log-level',
      this.#logLevel,
    ];
    const identity = spawnDetached(
      {
        program: this.#program.program,
        args: [...this.#program.args, ...args],
        logFile,
        pidFile: this.#pidFile(brick),
        environment: { UV_THREADPOOL_SIZE: process.env['UV_THREADPOOL_SIZE'] ?? POOL_THREADS },
      },
      (how) => {
        if (this.#known.get(brick) === identity) this.#known.delete(brick);
        onExit(how);
      },
    );
    this.#known.set(brick, identity);
  }

  running(brick: BrickId): boolean {
    return this.#find(brick) !== undefined;
  }

  pid(brick: BrickId): number {
    return this.#find(brick)?.pid ?? 0;
  }

  signal(brick: BrickId, signal: 'SIGTERM' | 'SIGKILL'): void {
    const identity = this.#find(brick);
    if (identity !== undefined) sendSignal(identity, signal);
  }

  #find(brick: BrickId): ProcessIdentity | undefined {
    const known = this.#known.get(brick);
    if (known !== undefined && isRunning(known)) return known;
    const found = readPidFile(this.#pidFile(brick));
    if (found !== undefined) this.#known.set(brick, found);
    else this.#known.delete(brick);
    return found;
  }

  #pidFile(brick: BrickId): string {
    return this.#directory.in('run', `${brick}.pid`);
  }
}
