/**
 * Three compute nodes of a cloud: each with a network and mounts of its own, and with the volume `vm-instances` at the same path, as Nova has it.
 *
 *   n1, n2, n3    gluond, etcd, brick, mount; `<root>/instances` is the mount, on each node its own
 */
import { chmodSync, existsSync, mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { Bed } from '../faults/bed.js';
import type { Node } from '../support/cluster.js';
import type { RunOptions, RunResult } from '../support/exec.js';
import { guestKernel, type GuestKernel } from '../support/guest-image.js';
import { makeGuestImage } from './guest-disk.js';
import { Libvirt } from './libvirt.js';

export const VOLUME = 'vm-instances';
export const BASE = '_base/5eb7c1a0f1d3c1d9e3a0b8f6c2d4e6f8a0b2c4d6';

export class Stage {
  readonly instances: string;
  /** Below those that the kernel gives to outgoing connections. */
  private ports = 21_000;
  private daemons: [Libvirt, Libvirt] | undefined;
  private readonly folders: string[] = [];

  private constructor(
    readonly bed: Bed,
    readonly kernel: GuestKernel,
  ) {
    this.instances = join(bed.cluster.root, 'instances');
  }

  static async start(pingTimeoutS: number): Promise<Stage> {
    const kernel = await guestKernel();
    const bed = await Bed.start({ 'network.ping-timeout': String(pingTimeoutS) }, { volume: VOLUME, clients: 0 });
    const stage = new Stage(bed, kernel);
    try {
      // QEMU runs as another user there.
      chmodSync(bed.cluster.root, 0o755);
      mkdirSync(stage.instances);
      mkdirSync(stage.local);
      for (const node of bed.cluster.nodes) await stage.bindInstances(node);
      await makeGuestImage(stage.rootImage, join(bed.cluster.root, 'guest'));
      await stage.on(stage.node(0), ['mkdir', '-p', join(stage.instances, '_base')]);
      await stage.on(stage.node(0), ['cp', '--sparse=always', stage.rootImage, stage.basePath]);
    } catch (error) {
      await stage.close().catch(() => undefined);
      throw error;
    }
    return stage;
  }

  /** Guests have ended. A mount that is bound elsewhere would not end. */
  async close(): Promise<void> {
    for (const daemon of this.daemons ?? []) await daemon.stop();
    for (const node of this.nodes) await this.on(node, ['umount', '-l', this.instances], { accept: 'any', boundMs: 10_000 });
    await this.bed.close();
    for (const folder of this.folders.reverse()) rmdirSync(folder);
  }

  /** On the first two nodes; they start when they are first wanted. */
  async libvirts(): Promise<[Libvirt, Libvirt]> {
    if (this.daemons === undefined) {
      const starts = await Promise.allSettled([Libvirt.start(this, this.node(0)), Libvirt.start(this, this.node(1))]);
      const [first, second] = starts.map((start) => (start.status === 'fulfilled' ? start.value : undefined));
      if (first === undefined || second === undefined) {
        await Promise.all([first?.stop(), second?.stop()]);
        throw starts.find((start) => start.status === 'rejected')?.reason;
      }
      this.daemons = [first, second];
    }
    return this.daemons;
  }

  /** Makes a folder of the machine that only a node's own mounts fill; it goes with the stage. */
  madeFolder(path: string): void {
    if (existsSync(path)) return;
    mkdirSync(path);
    this.folders.push(path);
  }

  get nodes(): Node[] {
    return this.bed.cluster.nodes;
  }

  node(index: number): Node {
    return this.bed.cluster.node(index);
  }

  /** The image that every disk begins as, outside of the volume. */
  get rootImage(): string {
    return join(this.bed.cluster.root, 'root.raw');
  }

  /** The shared, read-only backing file of qcow2 disks. */
  get basePath(): string {
    return join(this.instances, BASE);
  }

  /** A folder of the machine that all nodes share: what gluon is compared with. */
  get local(): string {
    return join(this.bed.cluster.root, 'local');
  }

  /** A port for a migration that nobody used before. */
  nextPort(): number {
    return this.ports++;
  }

  on(node: Node, command: string[], options: RunOptions = {}): Promise<RunResult> {
    return this.bed.cluster.on(node, command, options);
  }

  /** The node's mount at the path that all nodes share; again after its mount was made anew. */
  async bindInstances(node: Node): Promise<void> {
    await this.on(node, ['umount', '-l', this.instances], { accept: 'any' });
    await this.on(node, ['mount', '--bind', node.mountPoint, this.instances]);
  }
}
