/**
 * Which files have checksums, and where: `.gluon/sums/ab/<gfid>`, four bytes (little endian) for each block, in order. What lies beyond the end
 * counts as 0, which is the checksum of zeros. A file without such a file is read without a check, until the scrubber has made it (under
 * `<gfid>.new`, so that half of it is never taken for the whole). A file that is empty gets it with its first change.
 */
import { Errno, FsError } from '../../base/errno.js';
import { isGfid, type Gfid } from '../../base/ids.js';
import { RENAME_NOREPLACE } from '../../fops/ops.js';
import { DiskStat, O_CREAT, O_EXCL, O_RDONLY, O_RDWR } from '../disk.js';
import { check } from './check.js';
import { blocksIn, SUM_BYTES } from './checksum.js';
import { Descriptors, type Descriptor } from './descriptors.js';
import { Generations } from './generations.js';
import type { Inode } from './inode.js';
import { HANDLE_DIRECTORIES, handleDirectoryName, SUMS_NAME } from './layout.js';
import type { Tree } from './tree.js';

const DIRECTORY_MODE = 0o700;
const FILE_MODE = 0o600;
const OPEN_MAX = 512;
const WITHOUT_MAX = 60_000;
const FRESH = '.new';

/** The checksums of one file while they are made for the first time. */
export interface Build {
  readonly gfid: Gfid;
  readonly fd: number;
  /** Blocks before this one are done. */
  next: number;
}

export class SumFiles {
  readonly #tree: Tree;
  readonly #fds: number[] = [];
  readonly #open: Descriptors;
  readonly #without = new Generations<Gfid, true>(WITHOUT_MAX);
  readonly #stat = new DiskStat();
  #build: Build | undefined;

  /** Makes the directories where they are missing. */
  constructor(tree: Tree) {
    this.#tree = tree;
    const { disk, privateFd } = tree;
    this.#open = new Descriptors(disk, OPEN_MAX);
    const all = this.#directory(privateFd, SUMS_NAME);
    for (let i = 0; i < HANDLE_DIRECTORIES; i++) this.#fds.push(this.#directory(all, handleDirectoryName(i)));
    disk.close(all);
  }

  #directory(parent: number, name: string): number {
    const { disk } = this.#tree;
    const made = disk.mkdirAt(parent, name, DIRECTORY_MODE);
    if (made !== -Errno.EEXIST) check(made, 'make sums');
    return check(disk.openDirectory(parent, name), 'open sums');
  }

  close(): void {
    this.endBuild();
    this.#open.clear();
    for (const fd of this.#fds) this.#tree.disk.close(fd);
    this.#fds.length = 0;
  }

  get building(): Build | undefined {
    return this.#build;
  }

  #dir(gfid: Gfid): number {
    return this.#fds[Number.parseInt(gfid.slice(0, 2), 16)] as number;
  }

  /** Descriptor of the checksums, undefined where the file has none. `changing`: an empty file gets them now. */
  of(inode: Inode, changing: boolean): Descriptor | undefined {
    const { gfid } = inode;
    const open = this.#open.get(gfid);
    if (open !== undefined) return open;
    if (this.#fds.length === 0) return undefined;
    if (this.#without.get(gfid) === undefined) {
      const found = this.#openPresent(inode);
      if (found !== undefined) return found;
      this.#without.set(gfid, true);
    }
    return changing && inode.size === 0 ? this.#create(gfid) : undefined;
  }

  #openPresent(inode: Inode): Descriptor | undefined {
    const { disk } = this.#tree;
    const { gfid } = inode;
    let fd = disk.openFile(this.#dir(gfid), gfid, O_RDWR, 0);
    if (fd === -Errno.EROFS) fd = disk.openFile(this.#dir(gfid), gfid, O_RDONLY, 0);
    if (fd === -Errno.ENOENT) return undefined;
    check(fd, 'open sums');
    // A crash came between cutting the file and its checksums, or this is what another file of that identity left.
    const end = blocksIn(inode.size) * SUM_BYTES;
    if (disk.stat(fd, this.#stat) === 0 && this.#stat.size > end) disk.truncate(fd, end);
    return this.#open.add(gfid, fd, true);
  }

  /** A disk that cannot hold them leaves the file without. */
  #create(gfid: Gfid): Descriptor | undefined {
    const fd = this.#tree.disk.openFile(this.#dir(gfid), gfid, O_CREAT | O_EXCL | O_RDWR, FILE_MODE);
    if (fd < 0) return undefined;
    this.#without.delete(gfid);
    return this.#open.add(gfid, fd, true);
  }

  /** The file is removed, or its checksums cannot be kept: it has none from now on. */
  remove(gfid: Gfid): void {
    if (this.#build?.gfid === gfid) this.endBuild();
    if (this.#without.get(gfid) !== undefined) return;
    this.#open.drop(gfid);
    this.#tree.disk.unlinkAt(this.#dir(gfid), gfid);
    this.#without.set(gfid, true);
  }

  // --- making them

  /** Checksums of a file that has none begin; undefined where the disk cannot hold them. */
  beginBuild(gfid: Gfid): Build | undefined {
    this.endBuild();
    const { disk } = this.#tree;
    disk.unlinkAt(this.#dir(gfid), gfid + FRESH);
    const fd = disk.openFile(this.#dir(gfid), gfid + FRESH, O_CREAT | O_EXCL | O_RDWR, FILE_MODE);
    if (fd < 0) return undefined;
    this.#build = { gfid, fd, next: 0 };
    return this.#build;
  }

  /** They are whole: from now on the file is checked. */
  finishBuild(build: Build): void {
    const { disk } = this.#tree;
    const { gfid } = build;
    const dir = this.#dir(gfid);
    if (disk.renameAt(dir, gfid + FRESH, dir, gfid, 0) < 0) return this.endBuild();
    this.#build = undefined;
    this.#without.delete(gfid);
    this.#open.add(gfid, build.fd, true);
  }

  /** What was begun and is not finished goes. */
  endBuild(): void {
    const build = this.#build;
    if (build === undefined) return;
    this.#build = undefined;
    this.#tree.disk.close(build.fd);
    this.#tree.disk.unlinkAt(this.#dir(build.gfid), build.gfid + FRESH);
  }

  pin(descriptor: Descriptor): void {
    this.#open.pin(descriptor);
  }

  unpin(descriptor: Descriptor): void {
    this.#open.unpin(descriptor);
  }

  /** Removes the checksums of files that are gone; one directory of 256 with each step. */
  *sweep(): Generator<void> {
    const { disk, handles } = this.#tree;
    for (const fd of [...this.#fds]) {
      if (this.#fds.length === 0) return;
      const names = disk.list(fd);
      if (typeof names === 'number') throw new FsError(-names, 'list sums');
      for (const name of names) {
        const known = isGfid(name) && disk.statAt(handles.fd(name), name, this.#stat) === 0;
        if (!known && name !== (this.#build?.gfid ?? '') + FRESH) disk.unlinkAt(fd, name);
      }
      yield;
    }
  }
}

const OLD = /^sums(-\d+)?$/;

/**
 * Removes checksums that are not kept any more, also what an earlier removal left; a directory of files with each step. `current`: also those that
 * were in use until now.
 */
export function* removeSums(tree: Tree, current: boolean): Generator<void> {
  const { disk, privateFd } = tree;
  const names = disk.list(privateFd);
  if (typeof names === 'number') throw new FsError(-names, 'list .gluon');
  for (const name of names.filter((one) => OLD.test(one) && (current || one !== SUMS_NAME))) {
    let aside = name;
    // Out of the way of checksums that may be made anew at once.
    for (let i = 0; aside === SUMS_NAME; i++) {
      const result = disk.renameAt(privateFd, SUMS_NAME, privateFd, `${SUMS_NAME}-${i}`, RENAME_NOREPLACE);
      if (result === -Errno.EEXIST) continue;
      check(result, 'remove sums');
      aside = `${SUMS_NAME}-${i}`;
    }
    const all = check(disk.openDirectory(privateFd, aside), 'remove sums');
    try {
      yield* removeDirectories(tree, all);
    } finally {
      disk.close(all);
    }
    disk.rmdirAt(privateFd, aside);
  }
}

function* removeDirectories(tree: Tree, all: number): Generator<void> {
  const { disk } = tree;
  const names = disk.list(all);
  for (const name of typeof names === 'number' ? [] : names) {
    const fd = disk.openDirectory(all, name);
    if (fd < 0) continue;
    const files = disk.list(fd);
    for (const file of typeof files === 'number' ? [] : files) disk.unlinkAt(fd, file);
    disk.close(fd);
    disk.rmdirAt(all, name);
    yield;
  }
}
