/**
 * Real clusters for end-to-end tests: real gluonds, bricks and mounts in network namespaces of their own. Everything a cluster starts
 * carries its mark in the environment and keeps its files below one directory, so that `close` can prove that nothing is left.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { run, type RunOptions, type RunResult } from './exec.js';
import { look, LOOK_MS } from './look.js';
import { onHost, TestNetwork, type NodeNetwork } from './network.js';
import { BUILD_ROOT, PACKAGE_ROOT, SUPPORT_SOURCE } from './paths.js';
import { isAlive, killAndWait, processesMarked, signal, type Process } from './processes.js';
import { sleep, waitFor } from './wait.js';

const GLUON = join(PACKAGE_ROOT, 'bin', 'gluon');
const GLUOND = join(PACKAGE_ROOT, 'bin', 'gluond');

const START_MS = 30_000;
const COMMAND_MS = 90_000;
const MOUNT_MS = 60_000;
const STOP_MS = 20_000;
const LOOPS_MS = 60_000;
export const HEAL_MS = 120_000;

export interface Node {
  index: number;
  network: NodeNetwork;
  directory: string;
  /** Parent of the brick: a place to look at or to replace. */
  brickPath: string;
  stateDirectory: string;
  mountPoint: string;
  /** More of the environment of what is started on this node. */
  environment: Record<string, string>;
  daemon: ChildProcess | undefined;
}

export interface ClusterOptions {
  nodes?: number;
  volume?: string;
  /** `key=value` options set before the start. */
  options?: Record<string, string>;
  /** Gives a node's brick directory another place (a loop image, say); the path's parent must exist. */
  brickPath?: (node: Node, mark: string) => string | Promise<string>;
  /** Hosts that only mount: no daemon, no brick. */
  clients?: number;
}

export class Cluster {
  readonly nodes: Node[] = [];
  /** Hosts without a daemon. */
  readonly clients: Node[] = [];
  readonly volume: string;
  /** Where the bricks of the volume are: on the nodes, unless one was replaced by one elsewhere. */
  brickHosts: readonly Node[] = this.nodes;
  private closed = false;

  private constructor(
    readonly root: string,
    readonly mark: string,
    private readonly network: TestNetwork,
    volume: string,
  ) {
    this.volume = volume;
  }

  // --- life

  /** Namespaces and directories; nothing runs yet. */
  static async prepare(options: ClusterOptions = {}): Promise<Cluster> {
    const run = process.env['GLUON_TEST_RUN'] ?? 'gluontest';
    const prefix = `${run}-${randomBytes(3).toString('hex')}`;
    const root = mkdtempSync(join(tmpdir(), 'gc-'));
    const nodes = options.nodes ?? 3;
    const network = await TestNetwork.make(prefix, nodes + (options.clients ?? 0));
    const cluster = new Cluster(root, `GLUON_TEST_CLUSTER=${prefix}`, network, options.volume ?? 'vms');
    for (const [index, nodeNetwork] of network.nodes.entries()) {
      const isClient = index >= nodes;
      const directory = join(root, isClient ? `c${index - nodes + 1}` : `n${index + 1}`);
      const node: Node = {
        index,
        network: nodeNetwork,
        directory,
        brickPath: join(directory, 'brick'),
        stateDirectory: join(directory, 'state'),
        mountPoint: join(directory, 'mnt'),
        environment: {},
        daemon: undefined,
      };
      mkdirSync(node.mountPoint, { recursive: true });
      mkdirSync(node.stateDirectory, { recursive: true });
      if (!isClient && options.brickPath !== undefined) node.brickPath = await options.brickPath(node, cluster.mark);
      (isClient ? cluster.clients : cluster.nodes).push(node);
    }
    return cluster;
  }

  /** Daemons up, peers probed, volume created and started. On failure everything is taken down again. */
  static async start(options: ClusterOptions = {}): Promise<Cluster> {
    const cluster = await Cluster.prepare(options);
    try {
      await Promise.all(cluster.nodes.map((node) => cluster.startDaemon(node)));
      await cluster.probeAll();
      await cluster.createVolume(options.options ?? {});
      return cluster;
    } catch (error) {
      const logs = cluster.logTails();
      await cluster.close().catch(() => undefined);
      throw new Error(`the cluster did not start: ${String(error)}\n${logs}`, { cause: error });
    }
  }

  /** A started cluster with the volume mounted on every node. */
  static async mounted(options: ClusterOptions = {}): Promise<Cluster> {
    const cluster = await Cluster.start(options);
    try {
      await Promise.all(cluster.nodes.map((node) => cluster.mount(node)));
      return cluster;
    } catch (error) {
      const logs = cluster.logTails();
      await cluster.close().catch(() => undefined);
      throw new Error(`the volume was not mounted: ${String(error)}\n${logs}`, { cause: error });
    }
  }

  /** Ends everything the cluster started and removes its files; then nothing of it may be left. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await Promise.all([...this.nodes, ...this.clients].map((node) => this.unmountAtAnyRate(node)));
    // SIGTERM would leave bricks and etcd running: a restart of gluond must not interrupt I/O.
    for (const node of this.nodes) if (node.daemon?.pid !== undefined) signal(node.daemon.pid, 'SIGINT');
    const quiet = (): boolean => this.processes().length === 0;
    try {
      await waitFor('every gluond to end after SIGINT', STOP_MS, () => this.nodes.every((node) => !isAlive(node.daemon?.pid ?? 0)));
      for (const found of this.processes()) signal(found.pid, 'SIGTERM');
      await waitFor('every process of the cluster to end after SIGTERM', STOP_MS, quiet);
    } catch {
      // Again and again: one that was just being started is not on the first list.
      await waitFor('every process of the cluster to end after SIGKILL', 20_000, () => {
        const left = this.processes();
        for (const found of left) signal(found.pid, 'SIGKILL');
        if (left.length > 0) throw new Error(JSON.stringify(left));
        return true;
      });
    }
    await this.unmountBelowRoot();
    await this.detachLoops();
    await this.network.remove();
    if (process.env['GLUON_TEST_KEEP'] === undefined) rmSync(this.root, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    await this.assertNothingLeft();
  }

  /** Throws when a process, mount, loop device or network namespace of this cluster is left. */
  async assertNothingLeft(): Promise<void> {
    const left = [
      ...this.processes().map((p) => `process ${p.pid}: ${p.command.join(' ').slice(0, 200)}`),
      ...this.mountsBelowRoot().map((path) => `mount ${path}`),
      ...(await this.loops()).map((device) => `loop device ${device}`),
      ...TestNetwork.namespaces(this.network.prefix).map((name) => `network namespace ${name}`),
    ];
    if (left.length > 0) throw new Error(`left behind by the cluster:\n${left.join('\n')}`);
  }

  // --- daemons

  node(index: number): Node {
    const node = this.nodes[index];
    if (node === undefined) throw new Error(`the cluster has no node ${index}`);
    return node;
  }

  /** What marks the processes of a node, and more of their environment. */
  environment(node: Node): Record<string, string> {
    const [name, value] = this.mark.split('=') as [string, string];
    const build = relative(PACKAGE_ROOT, BUILD_ROOT);
    return { [name]: value, GLUON_STATE_DIR: node.stateDirectory, GLUON_BUILD: build, ...node.environment };
  }

  /** Starts gluond without waiting for it. */
  spawnDaemon(node: Node, extra: string[] = []): void {
    const log = openSync(join(node.directory, 'gluond.out'), 'a');
    const args = ['--state-dir', node.stateDirectory, '--name', node.network.address, '--listen', node.network.address, ...extra];
    const [command, ...rest] = onHost(node.network, [process.execPath, GLUOND, ...args]);
    node.daemon = spawn(command ?? '', rest, { stdio: ['ignore', log, log], detached: true, env: { ...process.env, ...this.environment(node) } });
    node.daemon.on('error', () => undefined);
    closeSync(log);
  }

  async startDaemon(node: Node): Promise<void> {
    this.spawnDaemon(node);
    const state = await waitFor(`gluond of node ${node.index + 1} to answer`, START_MS, async () => {
      if (node.daemon?.exitCode !== null) return 'ended';
      await this.look(node, ['pool', 'list'], 'text');
      return 'answers';
    });
    if (state === 'ended') throw new Error(`gluond of node ${node.index + 1} ended with status ${node.daemon?.exitCode}: ${this.logTail(node)}`);
  }

  /** kill -9 of the management daemon alone; its bricks and mounts go on. */
  async killDaemon(node: Node): Promise<void> {
    if (node.daemon?.pid !== undefined) await killAndWait(node.daemon.pid);
  }

  /** Everything of this node that runs, as if the machine lost power: daemon, bricks, etcd, mounts. */
  async killNode(node: Node): Promise<void> {
    // Again and again: one that was just being started is not on the first list.
    await waitFor(`all processes of node ${node.index + 1} to be gone`, 20_000, () => {
      const left = this.processesOf(node);
      for (const found of left) signal(found.pid, 'SIGKILL');
      return left.length === 0;
    });
  }

  /** Cuts the host's link, or joins it again. What runs on it goes on. */
  setLink(host: Node, up: boolean): Promise<void> {
    return this.network.setLink(host.index, up);
  }

  // --- commands

  /** Runs the CLI on a node. Rejects unless the status is accepted. */
  gluon(node: Node, words: string[], options: RunOptions = {}): Promise<RunResult> {
    const sock = ['--state-dir', node.stateDirectory];
    const [command, ...rest] = onHost(node.network, [process.execPath, GLUON, '--mode=script', ...sock, ...words]);
    return run(command ?? '', rest, { boundMs: COMMAND_MS, ...options, env: { ...this.environment(node), ...options.env } });
  }

  /** What a command prints that is asked again and again. */
  private async look(node: Node, words: string[], form: 'text' | 'xml' | 'json'): Promise<string> {
    if (node.network.mountsOf === undefined) return look(join(node.stateDirectory, 'gluond.sock'), words, form);
    const { stdout } = await this.gluon(node, form === 'text' ? words : [...words, `--${form}`], { boundMs: LOOK_MS });
    return stdout;
  }

  /** Runs any command in the node's network. */
  on(node: Node, command: string[], options: RunOptions = {}): Promise<RunResult> {
    const [first, ...rest] = onHost(node.network, command);
    return run(first ?? '', rest, { ...options, env: { ...this.environment(node), ...options.env } });
  }

  async probeAll(): Promise<void> {
    const first = this.node(0);
    for (const node of this.nodes.slice(1)) await this.gluon(first, ['peer', 'probe', node.network.address]);
    const seesAll = (node: Node): Promise<unknown> =>
      waitFor(`node ${node.index + 1} to see ${this.nodes.length - 1} connected peers`, START_MS, async () => {
        const stdout = await this.look(node, ['peer', 'status'], 'text');
        return stdout.split('(Connected)').length - 1 === this.nodes.length - 1;
      });
    await Promise.all(this.nodes.map(seesAll));
  }

  brickName(node: Node): string {
    return `${node.network.address}:${node.brickPath}`;
  }

  async createVolume(options: Record<string, string> = {}): Promise<void> {
    const first = this.node(0);
    const count = this.nodes.length > 1 ? ['replica', String(this.nodes.length)] : [];
    await this.gluon(first, ['volume', 'create', this.volume, ...count, ...this.nodes.map((node) => this.brickName(node)), 'force']);
    for (const [key, value] of Object.entries(options)) await this.gluon(first, ['volume', 'set', this.volume, key, value]);
    await this.gluon(first, ['volume', 'start', this.volume]);
  }

  // --- mounts

  async mount(node: Node, at = node.mountPoint, options: string[] = []): Promise<void> {
    mkdirSync(at, { recursive: true });
    const servers = this.nodes.includes(node) ? [node.network.address] : this.nodes.map((server) => server.network.address);
    const extra = [`log-file=${join(node.directory, 'mount.log')}`, ...options];
    if (servers.length > 1) extra.push(`backup-volfile-servers=${servers.slice(1).join(':')}`);
    const words = [join(PACKAGE_ROOT, 'deploy', 'mount.gluon'), `${servers[0]}:${this.volume}`, at, '-o', extra.join(',')];
    await this.on(node, words, { boundMs: MOUNT_MS });
    await waitFor(`${at} to be a mount`, 5000, () => this.mountsBelowRoot(node).includes(at));
  }

  async unmount(node: Node, at = node.mountPoint): Promise<void> {
    await this.on(node, ['umount', at], { boundMs: 30_000 });
    await waitFor(`the processes of the mount ${at} to end`, STOP_MS, () => this.mountProcesses(at).length === 0);
  }

  private async unmountAtAnyRate(node: Node): Promise<void> {
    for (const path of this.mountsBelowRoot(node, 'fuse.')) {
      const polite = await this.on(node, ['umount', path], { accept: 'any', boundMs: 10_000 }).catch(() => undefined);
      if (polite?.status !== 0) await this.on(node, ['umount', '-l', path], { accept: 'any', boundMs: 10_000 }).catch(() => undefined);
    }
  }

  /** Mounts that the tests themselves see, or those that one host sees below its directory. */
  mountsBelowRoot(node?: Node, type = ''): string[] {
    const below = node === undefined ? this.root : node.directory;
    const table = `/proc/${node?.network.mountsOf ?? 'self'}/mounts`;
    if (!existsSync(table)) return [];
    return readFileSync(table, 'utf8')
      .split('\n')
      .map((line) => line.split(' '))
      .filter((words) => words[2]?.startsWith(type) === true)
      .map((words) => (words[1] ?? '').replaceAll('\\040', ' '))
      .filter((path) => path.startsWith(`${below}/`));
  }

  private async unmountBelowRoot(): Promise<void> {
    for (const path of this.mountsBelowRoot().reverse()) await run('umount', ['-l', path], { accept: 'any', boundMs: 10_000 });
  }

  private async loops(): Promise<string[]> {
    const { stdout } = await run('losetup', ['-l', '-n', '-O', 'NAME,BACK-FILE']);
    return stdout
      .split('\n')
      .filter((line) => line.includes(`${this.root}/`))
      .map((line) => line.trim().split(/\s+/)[0] ?? '');
  }

  private async detachLoops(): Promise<void> {
    for (const device of await this.loops()) await run('losetup', ['-d', device], { accept: 'any' });
    // The last user of a disk writes out what is dirty before it goes.
    await waitFor('the loop devices of the cluster to go', LOOPS_MS, async () => (await this.loops()).length === 0);
  }

  // --- processes

  /** All processes of the cluster. */
  processes(): Process[] {
    return processesMarked(this.mark);
  }

  processesOf(node: Node): Process[] {
    return processesMarked(`GLUON_STATE_DIR=${node.stateDirectory}`);
  }

  /** Supervisor and worker of a mount, whatever their command lines look like besides the mount point. */
  mountProcesses(at: string): Process[] {
    const path = new RegExp(`${at.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}(?![\\w/.-])`);
    return this.processes().filter((p) => p.command.some((part) => path.test(part)));
  }

  /** The process that serves the mount's requests: the child of the supervisor. */
  mountWorker(node: Node, at = node.mountPoint): number {
    const all = this.mountProcesses(at);
    const worker = all.find((p) => all.some((other) => other.pid === p.parent));
    if (worker === undefined) throw new Error(`no worker of the mount ${at} among ${JSON.stringify(all)}`);
    return worker.pid;
  }

  /** Process id of the node's brick as `volume status` tells it; undefined while it is down. */
  async brickPid(node: Node, asked: Node = node): Promise<number | undefined> {
    const stdout = await this.look(asked, ['volume', 'status', this.volume], 'xml');
    for (const [, body = ''] of stdout.matchAll(/<node>(.*?)<\/node>/gs)) {
      const field = (name: string): string => new RegExp(`<${name}>([^<]*)</${name}>`).exec(body)?.[1] ?? '';
      if (field('hostname') !== node.network.address || field('path') !== node.brickPath) continue;
      const pid = Number(field('pid'));
      return field('status') === '1' && pid > 0 && isAlive(pid) ? pid : undefined;
    }
    return undefined;
  }

  waitForBrick(node: Node, boundMs = START_MS): Promise<number> {
    return waitFor(`the brick of node ${node.index + 1} to be online`, boundMs, () => this.brickPid(node));
  }

  /** kill -9 of the node's brick; gluond restarts it by itself. Resolves with the process id that is gone. */
  async killBrick(node: Node): Promise<number> {
    const pid = await this.brickPid(node);
    if (pid === undefined) throw new Error(`the brick of node ${node.index + 1} does not run`);
    await killAndWait(pid);
    return pid;
  }

  /** Node whose brick is the primary of the volume. */
  async primary(): Promise<Node> {
    const heal = await this.healInfo();
    const index = heal.findIndex((brick) => brick.role === 'primary');
    if (index < 0) throw new Error(`no brick is primary: ${JSON.stringify(heal)}`);
    return this.brickHosts[index] as Node;
  }

  async secondary(): Promise<Node> {
    const primary = await this.primary();
    return this.node((primary.index + 1) % this.nodes.length);
  }

  // --- heal and comparison

  /** One entry for each brick, in the order of `brickHosts`. */
  async healInfo(asked: Node = this.node(0)): Promise<{ role: string; connected: boolean; entryCount: number | undefined }[]> {
    const stdout = await this.look(asked, ['volume', 'heal', this.volume, 'info'], 'json');
    const bricks = findBricks(JSON.parse(stdout));
    return this.brickHosts.map((node) => {
      const found = bricks.find((brick) => brick.host === node.network.address && brick.path === node.brickPath);
      if (found === undefined) throw new Error(`heal info does not tell of ${this.brickName(node)}: ${stdout.slice(0, 1000)}`);
      return found;
    });
  }

  /** Waits until every brick is in sync and nothing is left to heal. */
  async waitUntilHealed(boundMs = HEAL_MS): Promise<void> {
    await waitFor('all bricks to be in sync with nothing left to heal', boundMs, async () => {
      const bricks = await this.healInfo();
      const done = bricks.every((b) => b.connected && b.entryCount === 0 && (b.role === 'primary' || b.role === 'in sync'));
      if (!done) throw new Error(JSON.stringify(bricks));
      return true;
    }, 250);
  }

  /** The brick directories compared by plain tools: content, attributes, times, links, xattrs, identities. */
  assertBricksEqual(): Promise<void> {
    return bricksBecomeEqual(this.brickHosts.map((node) => node.brickPath));
  }

  /** After faults: healed, then equal on all bricks. */
  async assertHealedAndEqual(boundMs = HEAL_MS): Promise<void> {
    await this.waitUntilHealed(boundMs);
    await this.assertBricksEqual();
  }

  // --- when something went wrong

  private logTail(node: Node, file = 'gluond.out'): string {
    const path = join(node.directory, file);
    return existsSync(path) ? readFileSync(path, 'utf8').slice(-3000) : '(no log)';
  }

  /** The ends of all logs, for the error of a failed test. */
  logTails(): string {
    return this.nodes.map((node) => `--- node ${node.index + 1}\n${this.logTail(node)}\n${this.logTail(node, 'mount.log')}`).join('\n');
  }
}

interface HealBrickFacts {
  host: string;
  path: string;
  role: string;
  connected: boolean;
  entryCount: number | undefined;
}

/** Objects of the JSON answer that describe a brick, wherever they are nested. */
function findBricks(value: unknown): HealBrickFacts[] {
  if (typeof value !== 'object' || value === null) return [];
  const { host, path, state, connected, entries, bytesLeft } = value as Record<string, unknown>;
  if (typeof state !== 'string' || typeof path !== 'string') return Object.values(value).flatMap(findBricks);
  const left = typeof entries === 'number' && typeof bytesLeft === 'number' ? entries + bytesLeft : undefined;
  return [{ host: String(host), path, role: state, connected: connected === true, entryCount: left }];
}

/** Compares trees with the plain tool; status 0 when they are equal, its lines tell the differences. */
export function compareTrees(options: string[], trees: string[], boundMs = 600_000): Promise<RunResult> {
  return run('python3', [join(SUPPORT_SOURCE, 'compare-trees.py'), ...options, ...trees], { accept: 'any', boundMs });
}

/** Bricks write times to their disks a little later than data; they are on disk with every checkpoint. */
const TIMES_MS_MAX = 45_000;

/** Waits, as long as the times of idle files may take, until the brick directories are equal. */
export async function bricksBecomeEqual(paths: string[]): Promise<void> {
  const end = performance.now() + TIMES_MS_MAX;
  for (;;) {
    const result = await compareTrees(['--bricks'], paths);
    if (result.status === 0) return;
    if (performance.now() > end) throw new Error(`the bricks differ:\n${result.stdout}${result.stderr}`);
    await sleep(1000);
  }
}

/** Runs `body` with a cluster, and ends the cluster whatever happens; the logs' ends are part of a failure. */
export async function withCluster(make: () => Promise<Cluster>, body: (cluster: Cluster) => Promise<void>): Promise<void> {
  const cluster = await make();
  try {
    await body(cluster);
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : String(error)}\n${cluster.logTails()}`, { cause: error });
  } finally {
    await cluster.close();
  }
}
