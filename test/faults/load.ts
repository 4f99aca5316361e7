/** The load of a round: load.py on two hosts and fio with verification on one, all of them recorded outside of the volume. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Cluster, Node } from '../support/cluster.js';
import { killGroup, type RunResult } from '../support/exec.js';
import { onHost } from '../support/network.js';
import { PACKAGE_ROOT } from '../support/paths.js';
import { isAlive } from '../support/processes.js';
import { sleep, waitFor } from '../support/wait.js';
import { readHistory, type History } from './history.js';
import type { Look } from './judge.js';

const PROGRAM = join(PACKAGE_ROOT, 'test', 'faults', 'load.py');
const PREPARE = 'mkdir "$1" "$1/names" && truncate -s 98304 "$1/blocks" && : > "$1/log" && sync "$1/blocks" "$1/log" "$1/names" "$1" "$1/.."';
const LOOK_MS = 60_000;
const FIO_MS = 300_000;

interface Worker {
  client: number;
  host: Node;
  history: string;
  process: ChildProcess;
}

export class Load {
  private readonly workers: Worker[] = [];
  private readonly fio: Promise<void>;
  private stopping = false;
  fioPasses = 0;
  fioErrors: string[] = [];

  private constructor(
    private readonly cluster: Cluster,
    /** Below each mount point. */
    private readonly directory: string,
    private readonly histories: string,
    hosts: readonly Node[],
    seed: number,
    withFio: boolean,
  ) {
    for (const [index, host] of hosts.entries()) this.workers.push(this.work(index + 1, host, seed + index * 100));
    const [first] = hosts;
    this.fio = withFio && first !== undefined ? this.verifyForever(first, seed) : Promise.resolve();
  }

  /** The first host's client is number 1. */
  static async start(cluster: Cluster, directory: string, hosts: readonly Node[], seed: number, withFio: boolean): Promise<Load> {
    const histories = join(cluster.root, 'histories', directory);
    mkdirSync(histories, { recursive: true });
    const [first] = hosts;
    if (first === undefined) throw new Error('a load needs a host');
    await cluster.on(first, ['bash', '-ec', PREPARE, 'prepare', join(first.mountPoint, directory)]);
    return new Load(cluster, directory, histories, hosts, seed, withFio);
  }

  private work(client: number, host: Node, seed: number): Worker {
    const history = join(this.histories, `client-${client}`);
    const output = openSync(join(this.histories, `client-${client}.out`), 'a');
    const [command = '', ...rest] = onHost(host.network, ['python3', PROGRAM, 'work', String(client), join(host.mountPoint, this.directory), history, String(seed)]);
    // The clock of a host may be another one than the machine's; that of the history is not.
    const env = { ...process.env, ...this.cluster.environment(host), LD_PRELOAD: '' };
    const process_ = spawn(command, rest, { stdio: ['pipe', output, output], detached: true, env });
    process_.on('error', () => undefined);
    process_.stdin?.on('error', () => undefined);
    closeSync(output);
    return { client, host, history, process: process_ };
  }

  private async verifyForever(host: Node, seed: number): Promise<void> {
    const words = ['fio', '--name=verified', `--directory=${join(host.mountPoint, this.directory)}`, '--rw=randwrite', '--bs=4k', '--size=1m', '--fsync=16'];
    words.push('--verify=crc32c', '--verify_fatal=1', '--verify_state_save=0', '--ioengine=psync', '--thinktime=2000', '--output-format=terse');
    for (; !this.stopping; this.fioPasses++) {
      // Cut short it says nothing: the round is over, or its host is dead.
      const result: RunResult = await this.cluster.on(host, [...words, `--randseed=${seed + this.fioPasses}`], { accept: 'any', boundMs: FIO_MS });
      if (result.status !== 0) {
        this.fioErrors.push(`fio ended with status ${result.status}: ${`${result.stdout}${result.stderr}`.replaceAll(/\s+/g, ' ').slice(-300)}`);
        return;
      }
      await sleep(100);
    }
  }

  /** Every client has written its history this much further. */
  async progress(boundMs: number, but: readonly Node[] = []): Promise<void> {
    const size = ({ history }: Worker): number => statSync(history, { throwIfNoEntry: false })?.size ?? 0;
    const waited = this.workers.filter(({ host }) => !but.includes(host));
    const goals = waited.map((worker) => size(worker) + 20_000);
    await waitFor('all clients to make progress', boundMs, () => waited.every((worker, i) => size(worker) >= (goals[i] ?? 0)), 50);
  }

  clientsOn(host: Node): number[] {
    return this.workers.filter((worker) => worker.host === host).map(({ client }) => client);
  }

  /** Every program ends after the operation it is at. Resolves with what did not end in time, and was killed. */
  async stop(boundMs: number): Promise<string[]> {
    this.stopping = true;
    for (const worker of this.workers) worker.process.stdin?.end();
    const running = (): Worker[] => this.workers.filter((worker) => isAlive(worker.process.pid ?? 0));
    await waitFor('the clients to end', boundMs, () => running().length === 0).catch(() => undefined);
    const stuck = running();
    for (const worker of stuck) killGroup(worker.process);
    let fioEnded = false;
    this.fio.then(
      () => (fioEnded = true),
      (error: unknown) => {
        fioEnded = true;
        this.fioErrors.push(String(error));
      },
    );
    await waitFor('fio to end', boundMs, () => fioEnded).catch(() => this.fioErrors.push('fio did not end'));
    return stuck.map(({ client }) => `client ${client} hangs in an operation`);
  }

  read(): History[] {
    return this.workers.map(({ client, history }) => readHistory(client, history));
  }

  /** What the programs themselves said: nothing, unless they broke. */
  complaints(): string[] {
    return this.workers.map(({ client }) => readFileSync(join(this.histories, `client-${client}.out`), 'utf8')).filter((text) => text !== '');
  }

  /** What a host's mount shows of this round. */
  async look(host: Node): Promise<Look> {
    const { stdout } = await this.cluster.on(host, ['python3', PROGRAM, 'look', join(host.mountPoint, this.directory)], { boundMs: LOOK_MS });
    return JSON.parse(stdout) as Look;
  }
}
