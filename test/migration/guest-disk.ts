/** The guest's disk: an ext4 root file system whose init is the worker, as a raw image or as a qcow2 overlay of one. */
import { mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Node } from '../support/cluster.js';
import { run } from '../support/exec.js';
import { PACKAGE_ROOT } from '../support/paths.js';
import type { Stage } from './stage.js';

export const IMAGE_MIB = 48;

export interface DiskKind {
  format: 'raw' | 'qcow2';
  cache: 'none' | 'writeback' | 'writethrough' | 'directsync';
  aio: 'threads' | 'native' | 'io_uring';
}

export interface GuestDisk extends DiskKind {
  path: string;
}

/** Compiles the worker and writes the image; `work` is made and removed. */
export async function makeGuestImage(path: string, work: string): Promise<void> {
  for (const folder of ['dev', 'proc', 'data']) mkdirSync(join(work, folder), { recursive: true });
  try {
    await run('gcc', ['-O2', '-Wall', '-Wextra', '-static', '-pthread', '-o', join(work, 'init'), join(PACKAGE_ROOT, 'test', 'migration', 'worker.c')]);
    writeFileSync(path, '');
    truncateSync(path, IMAGE_MIB << 20);
    await run('mke2fs', ['-q', '-F', '-t', 'ext4', '-d', work, path]);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** A fresh disk in a folder of its own, as Nova places it: `<uuid>/disk`. */
export async function makeDisk(stage: Stage, node: Node, folder: string, kind: DiskKind, parent = stage.instances): Promise<GuestDisk> {
  const path = join(parent, folder, 'disk');
  await stage.on(node, ['mkdir', '-p', join(parent, folder)]);
  if (kind.format === 'raw') await stage.on(node, ['cp', '--sparse=always', stage.rootImage, path]);
  else {
    const base = parent === stage.instances ? stage.basePath : stage.rootImage;
    await stage.on(node, ['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', path]);
  }
  return { ...kind, path };
}

/** What is wrong with the disk of a guest that ended: the image's own structure, and the file system in it. Empty when nothing. */
export async function diskProblems(stage: Stage, node: Node, disk: GuestDisk): Promise<string[]> {
  const problems: string[] = [];
  const told = (what: string, { status, stdout, stderr }: { status: number; stdout: string; stderr: string }): void => {
    if (status !== 0) problems.push(`${what} of ${disk.path} on node ${node.index + 1}: status ${status}: ${`${stdout}${stderr}`.trim().slice(-600)}`);
  };
  if (disk.format === 'qcow2') {
    const check = await stage.on(node, ['qemu-img', 'check', '-f', 'qcow2', disk.path], { accept: 'any' });
    // 3: clusters that are lost to the image and harm nobody, which a QEMU that was killed may leave.
    if (check.status !== 3) told('qemu-img check', check);
  }
  const copy = join(node.directory, 'checked.raw');
  await stage.on(node, ['qemu-img', 'convert', '-f', disk.format, '-O', 'raw', disk.path, copy]);
  told('e2fsck', await run('e2fsck', ['-f', '-n', copy], { accept: 'any' }));
  rmSync(copy, { force: true });
  return problems;
}
