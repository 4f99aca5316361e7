/** A disk of a node: XFS in a file, mounted through a loop device where only the node sees it. Its power can be cut. */
import { existsSync, mkdirSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../support/exec.js';
import { onHost, type NodeNetwork } from '../support/network.js';
import { waitFor } from '../support/wait.js';

const UNMOUNT_MS = 15_000;

export class NodeDisk {
  readonly at: string;

  constructor(
    private readonly host: NodeNetwork,
    private readonly directory: string,
    readonly name: string,
    private readonly sizeMiB: number,
  ) {
    this.at = join(directory, name);
  }

  get image(): string {
    return join(this.directory, `${this.name}.img`);
  }

  /** A new, empty file system. */
  async format(): Promise<void> {
    mkdirSync(this.at, { recursive: true });
    writeFileSync(this.image, '');
    truncateSync(this.image, this.sizeMiB << 20);
    await run('mkfs.xfs', ['-q', '-f', this.image]);
  }

  async on(words: string[]): Promise<string> {
    const [command = '', ...rest] = onHost(this.host, words);
    return (await run(command, rest, { boundMs: 60_000 })).stdout;
  }

  async mount(...options: string[]): Promise<void> {
    await this.on(['mount', '-o', ['loop', ...options].join(','), this.image, this.at]);
  }

  /** Whoever used it must have ended, or be about to. */
  async unmount(): Promise<void> {
    await waitFor(`${this.at} to be unmounted`, UNMOUNT_MS, async () => {
      await this.on(['umount', this.at]);
      return true;
    });
  }

  /** Nobody may have a file open for writing, or be about to close the last one. */
  async remount(how: 'ro' | 'rw'): Promise<void> {
    await waitFor(`${this.at} to be mounted ${how}`, UNMOUNT_MS, async () => {
      await this.on(['mount', '-o', `remount,${how}`, this.at]);
      return true;
    });
  }

  /** From now on nothing reaches the disk, and what was not synced is gone with the next mount. */
  async cutPower(): Promise<void> {
    await this.on(['xfs_io', '-x', '-c', 'shutdown', this.at]);
  }

  /** Not a byte is free afterwards. */
  async fill(): Promise<void> {
    const script = 'a=$(df --output=avail -B1 "$1" | tail -1); fallocate -l "$a" "$1/filler" 2>/dev/null; dd if=/dev/zero of="$1/filler-2" bs=4k conv=fsync 2>/dev/null; sync -f "$1"';
    await this.on(['sh', '-c', `${script}; true`, 'fill', this.at]);
  }

  async free(): Promise<void> {
    await this.on(['rm', '-f', join(this.at, 'filler'), join(this.at, 'filler-2')]);
  }

  /** A copy of the disk as it is at one instant. */
  async snapshot(): Promise<void> {
    await this.on(['xfs_freeze', '-f', this.at]);
    try {
      await copySparse(this.image, this.snapshotPath);
    } finally {
      await this.on(['xfs_freeze', '-u', this.at]);
    }
  }

  /** The disk must be unmounted. */
  restoreSnapshot(): Promise<void> {
    return copySparse(this.snapshotPath, this.image);
  }

  /** Another disk may be made in its place. It must be unmounted, as for `putBack`. */
  putAside(): void {
    renameSync(this.image, this.asidePath);
  }

  putBack(): void {
    renameSync(this.asidePath, this.image);
  }

  forgetSnapshot(): void {
    if (existsSync(this.snapshotPath)) rmSync(this.snapshotPath);
  }

  private get asidePath(): string {
    return `${this.image}.aside`;
  }

  private get snapshotPath(): string {
    return `${this.image}.old`;
  }
}

async function copySparse(from: string, to: string): Promise<void> {
  await run('cp', ['--reflink=auto', '--sparse=always', from, to]);
}
