/** Starts programs of the suite on the mounts, all at one instant, and gathers what they tell. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { BUILD_ROOT } from '../support/paths.js';
import { within } from '../support/wait.js';
import type { Job, Outcome } from './jobs.js';

const READY_MS = 20_000;
/** How much longer than its time a program may take: its last operations, and the way of its answer. */
const LATE_MS = 30_000;

const NO_ANSWER = '{"broken":"it ended without an answer"}';

class Actor {
  readonly job: Job;
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #waiting: ((line: string) => void)[] = [];
  #ended = false;

  constructor(job: Job) {
    this.job = job;
    const script = join(BUILD_ROOT, 'test', 'coherence', 'actor.js');
    this.#child = spawn(process.execPath, [script, JSON.stringify(job)], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.on('error', () => undefined);
    this.#child.stdin?.on('error', () => undefined);
    this.#lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    this.#lines.on('line', (line) => this.#waiting.shift()?.(line));
    this.#lines.on('close', () => {
      this.#ended = true;
      for (const waiting of this.#waiting.splice(0)) waiting(NO_ANSWER);
    });
  }

  line(): Promise<string> {
    return this.#ended ? Promise.resolve(NO_ANSWER) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  go(): void {
    this.#child.stdin?.write('go\n');
  }

  /** SIGKILL; resolves when it is gone. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await within(`program ${this.job.client} to end after SIGKILL`, 20_000, gone);
  }
}

/** The outcomes, in the order of the jobs. Rejects when one of them met an error that its program does not expect. `meanwhile` runs while they work. */
export async function runActors(jobs: readonly Job[], meanwhile: () => Promise<void> = () => Promise.resolve()): Promise<Outcome[]> {
  const actors = jobs.map((job) => new Actor(job));
  try {
    await within('the programs to be ready', READY_MS, Promise.all(actors.map((actor) => actor.line())));
    const answers = Promise.all(actors.map((actor) => actor.line()));
    for (const actor of actors) actor.go();
    const besides = meanwhile();
    const longest_ms = Math.max(...jobs.map((job) => job.seconds)) * 6000 + LATE_MS;
    const lines = await within(`the programs to end (${jobs[0]?.work.kind})`, longest_ms, answers);
    await besides;
    return lines.map((line, i) => {
      const outcome = JSON.parse(line) as Outcome & { broken?: string };
      if (outcome.broken !== undefined) throw new Error(`program ${jobs[i]?.client} (${JSON.stringify(jobs[i]?.work)}): ${outcome.broken}`);
      return outcome;
    });
  } finally {
    await Promise.all(actors.map((actor) => actor.end()));
  }
}
