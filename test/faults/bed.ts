/**
 * Where faults are injected: three nodes and a client host, each with a network of its own on one bridge. A node also has mounts of its own
 * and two disks:
 *
 *   n1, n2, n3   gluond, etcd, brick, mount      state on an XFS image, the brick on another
 *   c1           mount
 *
 * What a node sees as /proc/sys/kernel/random/boot_id is a file, so that a node whose power was cut notices that it booted anew.
 */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Cluster, compareTrees, type Node } from '../support/cluster.js';
import { run } from '../support/exec.js';
import { isAlive, killAndWait, signal } from '../support/processes.js';
import { sleep, waitFor } from '../support/wait.js';
import { NodeDisk } from './disk.js';

const BRICK_DISK_MIB = 512;
const SYSTEM_DISK_MIB = 384;
const BRICK_START_MS = 60_000;
const EQUAL_MS = 60_000;

export interface Disks {
  brick: NodeDisk;
  /** Where gluond and etcd keep their state. */
  system: NodeDisk;
}

export class Bed {
  private constructor(
    readonly cluster: Cluster,
    private readonly disks: Map<Node, Disks>,
  ) {}

  /** Mounted everywhere. */
  static async start(options: Record<string, string>, { volume = 'vms', clients = 1 } = {}): Promise<Bed> {
    const disks = new Map<Node, Disks>();
    const brickPath = async (node: Node, mark: string): Promise<string> => {
      node.network.mountsOf = await holdMounts(mark);
      await newBootId(node);
      const made = { brick: new NodeDisk(node.network, node.directory, 'disk', BRICK_DISK_MIB), system: new NodeDisk(node.network, node.directory, 'sys', SYSTEM_DISK_MIB) };
      disks.set(node, made);
      for (const disk of [made.brick, made.system]) {
        await disk.format();
        await disk.mount();
      }
      node.stateDirectory = join(made.system.at, 'state');
      return join(made.brick.at, 'brick');
    };
    const cluster = await Cluster.mounted({ brickPath, clients, options, volume });
    const bed = new Bed(cluster, disks);
    try {
      for (const client of cluster.clients) await cluster.mount(client);
      await cluster.waitUntilHealed();
    } catch (error) {
      await cluster.close().catch(() => undefined);
      throw error;
    }
    return bed;
  }

  close(): Promise<void> {
    return this.cluster.close();
  }

  get client(): Node {
    const [client] = this.cluster.clients;
    if (client === undefined) throw new Error('the bed has no client host');
    return client;
  }

  get hosts(): Node[] {
    return [...this.cluster.nodes, ...this.cluster.clients];
  }

  disksOf(node: Node): Disks {
    const disks = this.disks.get(node);
    if (disks === undefined) throw new Error(`${nameOf(node)} has no disks`);
    return disks;
  }

  // --- processes

  brickPid(node: Node): number {
    const found = this.findBrick(node);
    if (found === undefined) throw new Error(`the brick of ${nameOf(node)} does not run`);
    return found;
  }

  private findBrick(node: Node): number | undefined {
    return this.cluster.processesOf(node).find(({ command }) => command.includes('--brick') && command.includes(node.brickPath))?.pid;
  }

  gluondPid(node: Node): number {
    const pid = node.daemon?.pid;
    if (pid === undefined || !isAlive(pid)) throw new Error(`gluond of ${nameOf(node)} does not run`);
    return pid;
  }

  etcdPid(node: Node): number {
    const found = this.cluster.processesOf(node).find(({ command }) => /(^|\/)etcd$/.test(command[0] ?? ''));
    if (found === undefined) throw new Error(`etcd of ${nameOf(node)} does not run`);
    return found.pid;
  }

  mountPids(node: Node): { supervisor: number; worker: number } {
    const worker = this.cluster.mountWorker(node);
    const supervisor = this.cluster.mountProcesses(node.mountPoint).find(({ pid }) => pid === worker)?.parent;
    if (supervisor === undefined) throw new Error(`the mount of ${nameOf(node)} has no supervisor`);
    return { supervisor, worker };
  }

  /** All processes of the node end at once, programs on its mount included. */
  async killNode(node: Node): Promise<void> {
    await this.cluster.killNode(node);
  }

  /** After killNode: daemon, brick and mount are there again. */
  async startNode(node: Node): Promise<void> {
    await this.startNodes([node]);
  }

  /** Daemons first: a mount is served when a majority of them is there. */
  async startNodes(nodes: readonly Node[]): Promise<void> {
    await Promise.all(nodes.map((node) => this.cluster.startDaemon(node)));
    await Promise.all(nodes.map((node) => this.mountAgain(node)));
  }

  /** The mount of a host whose processes ended. */
  async mountAgain(host: Node): Promise<void> {
    await this.cluster.on(host, ['umount', '-l', host.mountPoint], { accept: 'any' });
    await this.cluster.mount(host);
  }

  /** The node as after a power failure: nothing runs, what was not synced is gone, the kernel is another one. */
  async cutPower(node: Node): Promise<void> {
    const { brick, system } = this.disksOf(node);
    // In this order: a disk without power answers EIO, and nobody is left to be told that when a machine loses power.
    await this.killNode(node);
    await Promise.all([brick.cutPower(), system.cutPower()]);
    await this.cluster.on(node, ['umount', '-l', node.mountPoint], { accept: 'any' });
    await Promise.all([brick.unmount(), system.unmount()]);
    await newBootId(node);
  }

  async restorePower(node: Node): Promise<void> {
    await this.restorePowerOfAll([node]);
  }

  async restorePowerOfAll(nodes: readonly Node[]): Promise<void> {
    for (const node of nodes) {
      const { brick, system } = this.disksOf(node);
      await Promise.all([brick.mount(), system.mount()]);
    }
    await this.startNodes(nodes);
  }

  /** Ends the brick while its gluond cannot start it again, does the work, and lets gluond go on. */
  async withoutBrick(node: Node, work: () => Promise<void>): Promise<void> {
    const gluond = this.gluondPid(node);
    signal(gluond, 'SIGSTOP');
    try {
      // One whose disk is gone already may have ended by itself.
      const pid = this.findBrick(node);
      if (pid !== undefined) await killAndWait(pid);
      await work();
    } finally {
      signal(gluond, 'SIGCONT');
    }
  }

  async waitForBrick(node: Node): Promise<void> {
    await this.cluster.waitForBrick(node, BRICK_START_MS);
  }

  // --- comparison

  /** What plain tools find different between the brick directories; empty when nothing. Times of idle files reach the disks a little later. */
  async brickDifferences(): Promise<string> {
    const paths = this.cluster.brickHosts.map(({ network, brickPath }) => `/proc/${network.mountsOf ?? 'self'}/root${brickPath}`);
    const end = performance.now() + EQUAL_MS;
    for (;;) {
      const { status, stdout, stderr } = await compareTrees(['--bricks', '--max', '10'], paths);
      if (status === 0) return '';
      if (performance.now() > end) return `${stdout}${stderr}`;
      await sleep(1000);
    }
  }
}

export function nameOf(node: Node): string {
  return node.network.namespace.replace(/^.*-/, '').replace('n4', 'c1');
}

/** A process that does nothing but hold mounts of its own. It carries the cluster's mark, and ends with it. */
async function holdMounts(mark: string): Promise<number> {
  const [name, value] = mark.split('=') as [string, string];
  const child = spawn('unshare', ['--mount', '--propagation', 'private', 'sleep', 'infinity'], { stdio: 'ignore', detached: true, env: { ...process.env, [name]: value } });
  child.unref();
  const { pid } = child;
  if (pid === undefined) throw new Error('unshare cannot be started');
  await waitFor('the mounts of a node', 5000, () => readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith('sleep') && readlinkSync(`/proc/${pid}/ns/mnt`) !== readlinkSync('/proc/self/ns/mnt'), 10);
  return pid;
}

async function newBootId(node: Node): Promise<void> {
  const path = join(node.directory, 'boot-id');
  writeFileSync(path, `${randomUUID()}\n`);
  const kernel = '/proc/sys/kernel/random/boot_id';
  const mounted = readFileSync(`/proc/${node.network.mountsOf}/mounts`, 'utf8').includes(` ${kernel} `);
  if (!mounted) await run('nsenter', [`--mount=/proc/${node.network.mountsOf}/ns/mnt`, '--', 'mount', '--bind', path, kernel]);
}
