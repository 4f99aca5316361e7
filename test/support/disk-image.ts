/** Small disks for bricks: ext4 in a file, mounted through a loop device. */
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { run } from './exec.js';
import type { Node } from './cluster.js';

/** Makes and mounts a disk for the node below its directory; resolves with the path for the brick on it. The cluster's end unmounts it. */
export async function diskFor(node: Node, sizeMiB: number): Promise<string> {
  const image = join(node.directory, 'disk.img');
  const at = join(node.directory, 'disk');
  writeFileSync(image, '');
  truncateSync(image, sizeMiB << 20);
  mkdirSync(at);
  await run('mke2fs', ['-q', '-F', '-t', 'ext4', '-m', '0', image]);
  await run('mount', ['-o', 'loop', image, at]);
  return join(at, 'brick');
}

/** Takes the disk away under whoever uses it. */
export async function pullDisk(brickPath: string): Promise<void> {
  await run('umount', ['-l', dirname(brickPath)]);
}

export async function putDiskBack(node: Node): Promise<void> {
  await run('mount', ['-o', 'loop', join(node.directory, 'disk.img'), join(node.directory, 'disk')]);
}
