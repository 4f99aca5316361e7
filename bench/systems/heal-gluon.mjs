/** gluon for the heal benchmark: one node with three bricks and a mount, in a network namespace and a folder of its own. */
import { spawn } from 'node:child_process';
import { mkdirSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { endAll, markedProcesses, mounts } from '../../scripts/lib/processes.mjs';
import { must, PROJECT_ROOT, run, waitFor } from '../../scripts/lib/steps.mjs';
import { BenchNetwork } from './network.mjs';

const VOLUME = 'heal';
const MARK = 'GLUON_BENCH_HEAL';
const ADDRESS = '127.0.0.1';
/** A checkpoint of the whole set comes every 30 s. */
export const SETTLE_MS = 65_000;

export class HealGluon {
  name = 'gluon';

  constructor(directory) {
    this.directory = join(directory, 'heal-gluon');
    this.mountPoint = join(this.directory, 'mount');
    this.state = join(this.directory, 'state');
  }

  environment() {
    return { ...process.env, [MARK]: this.directory };
  }

  async gluon(...words) {
    const { stdout } = await must(this.network.inside(process.execPath, join(PROJECT_ROOT, 'bin', 'gluon'), '--mode=script', '--state-dir', this.state, ...words), {
      env: this.environment(),
      timeoutMs: 120_000,
    });
    return stdout;
  }

  brick(number) {
    return join(this.directory, `brick${number}`);
  }

  get #away() {
    return `${ADDRESS}:${this.brick(3)}`;
  }

  async up() {
    await this.#removeLeftovers();
    rmSync(this.directory, { recursive: true, force: true });
    for (const path of [this.state, this.mountPoint]) mkdirSync(path, { recursive: true });
    this.network = await BenchNetwork.make(this.environment());
    const log = openSync(join(this.directory, 'gluond.log'), 'a');
    const [command, ...words] = this.network.inside(process.execPath, join(PROJECT_ROOT, 'bin', 'gluond'), '--state-dir', this.state, '--name', ADDRESS, '--listen', ADDRESS);
    spawn(command, words, { stdio: ['ignore', log, log], env: this.environment(), detached: true }).unref();
    await waitFor('gluond to answer', 30_000, () => this.gluon('pool', 'list').then(() => true, () => false));
    await this.gluon('volume', 'create', VOLUME, 'replica', '3', ...[1, 2, 3].map((number) => `${ADDRESS}:${this.brick(number)}`), 'force');
    await this.gluon('volume', 'start', VOLUME);
    await must(this.network.inside(join(PROJECT_ROOT, 'deploy', 'mount.gluon'), `${ADDRESS}:${VOLUME}`, this.mountPoint, '-o', `log-file=${join(this.directory, 'mount.log')}`), {
      env: this.environment(),
      timeoutMs: 60_000,
    });
    return this.mountPoint;
  }

  takeBrickAway() {
    return this.gluon('volume', 'reset-brick', VOLUME, this.#away, 'start');
  }

  /** With its data, as it was. */
  bringBrickBack() {
    return this.gluon('volume', 'reset-brick', VOLUME, this.#away, this.#away, 'commit', 'force');
  }

  /** From this process: starting another costs what the measured ones need. */
  async inSync() {
    const { look } = await import('../../dist/test/support/look.js');
    const answer = JSON.parse(await look(join(this.state, 'gluond.sock'), ['volume', 'heal', VOLUME, 'info', 'summary'], 'json', 30_000));
    return answer.result.bricks.every(({ state }) => state === 'primary' || state === 'in sync');
  }

  async #removeLeftovers() {
    for (const { path } of mounts(({ path }) => path === this.mountPoint)) await run(['umount', '-l', path], { timeoutMs: 10_000 });
    await endAll(() => markedProcesses(MARK, this.directory), 5_000);
  }

  async down() {
    await run(['umount', this.mountPoint], { timeoutMs: 30_000 });
    await this.#removeLeftovers();
    this.network?.close();
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 3 });
  }
}
