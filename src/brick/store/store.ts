/** `Store` over a directory. See DESIGN.md beside this folder. */
import { Errno, FsError } from '../../base/errno.js';
import type { Gfid, Name } from '../../base/ids.js';
import type { Attr, DirEntry, InodeState } from '../../fops/fields.js';
import { ROOT_GFID } from '../../base/ids.js';
import { RENAME_EXCHANGE, S_IFDIR, type Args, type Result } from '../../fops/ops.js';
import type { Child, Stamp, Store, StoreOp } from '../../replica/store.js';
import { DiskStat } from '../disk.js';
import { Attributes } from './attributes.js';
import { Data } from './data.js';
import type { Inode } from './inode.js';
import { SCRUB_NAME } from './layout.js';
import { readFile, replaceFile } from './meta.js';
import { Namespace } from './namespace.js';
import { Resync } from './resync.js';
import { check, checkName } from './check.js';
import { removeSums } from './sum-files.js';
import { SumScrub } from './sum-scrub.js';
import { Sums, type SumsHost } from './sums.js';
import type { Tree } from './tree.js';
import { OverlappingSyncs } from './overlapping-syncs.js';
import { Unsynced } from './unsynced.js';
import { Xattrs } from './xattrs.js';

const SCRUB_BYTES_MAX = 65_536;
const READDIR_ENTRIES_MAX = 4096;
/** More directories that moved than this are made durable by a sync of the filesystem. */
const MOVED_SYNCED_MAX = 16;
/** Disks whose fsync of a file also makes everything durable that happened to names before it: their journal is one sequence. */
const ORDERED_DISKS = new Set([0xef53, 0x58465342]);

type Handlers = { [K in StoreOp]: (args: Args<K>, stamp: Stamp) => Result<K> };

/** The most frequent of all errors, made once: taking a stack trace costs more than the lookup. */
const NO_SUCH_NAME = new FsError(Errno.ENOENT, 'lookup');

export class DirectoryStore implements Store {
  readonly #tree: Tree;
  readonly #data: Data;
  readonly #xattrs: Xattrs;
  readonly #resync: Resync;
  readonly #handlers: Handlers;
  readonly #stat = new DiskStat();
  readonly #ordered: boolean;
  readonly #syncs = new OverlappingSyncs();
  readonly #unsynced = new Unsynced();
  #closed = false;

  constructor(tree: Tree) {
    this.#tree = tree;
    const space = tree.disk.space(tree.rootFd);
    this.#ordered = typeof space !== 'number' && ORDERED_DISKS.has(space.type);
    const data = new Data(tree);
    const attributes = new Attributes(tree, data);
    const names = new Namespace(tree);
    const xattrs = new Xattrs(tree);
    this.#data = data;
    this.#xattrs = xattrs;
    this.#resync = new Resync(tree, names, data, attributes, xattrs);
    this.#handlers = {
      setattr: (args, stamp) => this.#inodeOp(args.gfid, attributes.setattr(args, stamp)),
      symlink: (args, stamp) => this.#namesOp(stamp.gfid, names.symlink(args, stamp)),
      mknod: (args, stamp) => this.#namesOp(stamp.gfid, names.mknod(args, stamp)),
      mkdir: (args, stamp) => this.#namesOp('', names.mkdir(args, stamp)),
      unlink: (args, stamp) => this.#namesOp('', names.unlink(args, stamp)),
      rmdir: (args, stamp) => this.#namesOp('', names.rmdir(args, stamp)),
      rename: (args, stamp) => {
        const moved = tree.child(args.parent, args.name, 'rename');
        const result = this.#namesOp(moved?.gfid ?? '', names.rename(args, stamp));
        // Also what an exchange moved the other way.
        const other = args.flags === RENAME_EXCHANGE ? tree.child(args.parent, args.name, 'rename') : undefined;
        for (const inode of [moved, other]) if (inode?.isDirectory === true) this.#unsynced.moved(inode.gfid);
        return result;
      },
      link: (args, stamp) => this.#namesOp(args.gfid, names.link(args, stamp)),
      create: (args, stamp) =>
        this.#namesOp(
          stamp.gfid,
          names.create(args, stamp, (inode) => attributes.setattr(truncation(inode.gfid), stamp)),
        ),
      tmpfile: (args, stamp) => this.#namesOp('', names.tmpfile(args, stamp)),
      write: (args, stamp) => data.write(args, stamp),
      setxattr: (args, stamp) => this.#inodeOp(args.gfid, xattrs.set(args, stamp)),
      removexattr: (args, stamp) => this.#inodeOp(args.gfid, xattrs.remove(args, stamp)),
      fallocate: (args, stamp) => data.fallocate(args, stamp),
      copyFileRange: (args, stamp) => data.copyFileRange(args, stamp),
    };
  }

  #namesOp<R>(gfid: Gfid | '', result: R): R {
    this.#unsynced.namesChanged();
    return gfid === '' ? result : this.#inodeOp(gfid, result);
  }

  #inodeOp<R>(gfid: Gfid, result: R): R {
    this.#unsynced.changed(gfid);
    return result;
  }

  // --- reads

  lookup(parent: Gfid, name: Name): Attr {
    const inode = this.#tree.child(parent, name, 'lookup');
    if (inode === undefined) throw NO_SUCH_NAME;
    return this.#tree.refresh(inode).attr();
  }

  size(gfid: Gfid): number | undefined {
    const inode = this.#tree.find(gfid);
    return inode?.isRegular === true ? inode.size : undefined;
  }

  getattr(gfid: Gfid): Attr {
    const tree = this.#tree;
    return tree.refresh(tree.inode(gfid, 'getattr')).attr();
  }

  readlink(gfid: Gfid): string {
    const inode = this.#tree.inode(gfid, 'readlink');
    if (!inode.isSymlink) throw new FsError(Errno.EINVAL, 'readlink');
    return this.#target(inode);
  }

  #target(inode: Inode): string {
    if (inode.target !== undefined) return inode.target;
    const tree = this.#tree;
    const target = tree.disk.readlinkAt(tree.handles.fd(inode.gfid), inode.gfid);
    if (typeof target === 'number') throw new FsError(-target, 'readlink');
    inode.target = target;
    // Reading a link changes its atime on most disks; the volume's does not change by reading.
    tree.touched(inode);
    return target;
  }

  readdir(gfid: Gfid, after: Name | '', limit: number, attributes: boolean): { entries: DirEntry[]; end: boolean } {
    const tree = this.#tree;
    if (after !== '') checkName(after, 'readdir');
    const directory = tree.inode(gfid, 'readdir');
    if (!directory.isDirectory) throw new FsError(Errno.ENOTDIR, 'readdir');
    const most = Math.max(1, Math.min(limit, READDIR_ENTRIES_MAX));
    const entries: DirEntry[] = [];
    let end = true;
    tree.listing(gfid, 'readdir').walk(after, (name) => {
      if (entries.length === most) {
        end = false;
        return false;
      }
      const inode = tree.child(gfid, name, 'readdir');
      if (inode === undefined) return true;
      const entry: DirEntry = { name, gfid: inode.gfid, type: inode.type };
      if (attributes) entry.attr = tree.refresh(inode).attr();
      entries.push(entry);
      return true;
    });
    return { entries, end };
  }

  statfs(): Result<'statfs'> {
    const space = this.#tree.disk.space(this.#tree.rootFd);
    if (typeof space === 'number') throw new FsError(-space, 'statfs');
    const { blockSize, blocks, blocksFree, blocksAvailable, files, filesFree, nameMax } = space;
    return { blockSize, blocks, blocksFree, blocksAvailable, files, filesFree, nameMax: Math.min(nameMax, 255) };
  }

  getxattr(gfid: Gfid, name: string): Uint8Array {
    return this.#xattrs.get(gfid, name);
  }

  listxattr(gfid: Gfid): string[] {
    return this.#xattrs.list(gfid);
  }

  lseek(gfid: Gfid, offset: number, whence: number): number {
    return this.#data.lseek(gfid, offset, whence);
  }

  read(gfid: Gfid, offset: number, size: number): Uint8Array | Promise<Uint8Array> {
    return this.#data.read(gfid, offset, size);
  }

  // --- mutations

  apply<K extends StoreOp>(op: K, args: Args<K>, stamp: Stamp): Result<K> {
    return this.#handlers[op](args, stamp);
  }

  purge(gfid: Gfid): void {
    if (!this.#tree.orphans.has(gfid)) return;
    const inode = this.#tree.find(gfid);
    if (inode === undefined) this.#tree.orphans.unmark(gfid);
    else if (inode.nlink === 0) this.#resync.remove(inode);
  }

  orphans(): Gfid[] {
    return this.#tree.orphans.all();
  }

  // --- durability

  async fsync(gfid: Gfid, dataOnly: boolean): Promise<void> {
    const tree = this.#tree;
    const unsynced = this.#unsynced;
    const inode = tree.inode(gfid, 'fsync');
    const syncable = inode.isRegular || inode.isDirectory;
    if (!syncable || (!this.#ordered && unsynced.namesDirty())) return this.sync();
    // Only where directories moved since the last sync: their own journal entries are not those of the inode.
    const moved = unsynced.movedDirectories();
    if (moved.length > MOVED_SYNCED_MAX) return this.sync();
    for (const directory of moved) await this.#syncDirectory(directory);
    const begun = unsynced.begin();
    const whole = !dataOnly || unsynced.isDirty(gfid);
    if (whole) check(tree.writeTimes(inode), 'fsync');
    check(await this.#syncOne(inode, !whole), 'fsync');
    if (whole) unsynced.settled(gfid, begun);
  }

  async #syncDirectory(gfid: Gfid): Promise<void> {
    const begun = this.#unsynced.begin();
    const inode = this.#tree.find(gfid);
    if (inode !== undefined) check(await this.#syncOne(inode, false), 'fsync');
    this.#unsynced.settled(gfid, begun);
  }

  #syncOne(inode: Inode, dataOnly: boolean): Promise<number> {
    const tree = this.#tree;
    const descriptor = inode.isDirectory ? tree.directoryDescriptor(inode.gfid) : tree.file(inode, false, 'fsync');
    if (descriptor !== undefined) tree.pin(descriptor);
    const fd = descriptor?.fd ?? tree.rootFd;
    return this.#syncs.run(fd, (done) => {
      tree.disk.syncInPool(fd, dataOnly, (result) => {
        if (descriptor !== undefined) tree.unpin(descriptor);
        done(result);
      });
    });
  }

  async sync(): Promise<void> {
    const tree = this.#tree;
    tree.flushTimes(Number.MAX_SAFE_INTEGER);
    const begun = this.#unsynced.begin();
    const result = await this.#syncs.run(tree.rootFd, (done) => tree.disk.syncFilesystemInPool(tree.rootFd, done));
    check(result, 'sync');
    this.#unsynced.allSettled(begun);
  }

  /**
   * Writes the times of up to `limit` inodes to the disk, oldest first, and returns how many still wait. The brick calls it when it
   * has nothing else to do: until then a crash leaves the disk's own times.
   */
  flushTimes(limit: number): number {
    return this.#tree.flushTimes(limit);
  }

  // --- resync

  child(parent: Gfid, name: Name): Child | undefined {
    return this.#resync.child(parent, name);
  }

  directoryPlace(gfid: Gfid): { parent: Gfid; name: Name } | undefined {
    return this.#tree.directoryPlace(gfid);
  }

  describe(gfid: Gfid): InodeState | undefined {
    return this.#resync.describe(gfid, (inode) => this.#target(inode));
  }

  digests(gfid: Gfid, region: number, target = false): Uint8Array | Promise<Uint8Array> {
    return this.#data.digests(gfid, region, target);
  }

  fineDigests(gfid: Gfid, region: number, blocks: number, target = false): Uint8Array | Promise<Uint8Array> {
    return this.#data.fineDigests(gfid, region, blocks, target);
  }

  dataRanges(gfid: Gfid, region: number): [number, number][] {
    return this.#data.dataRanges(gfid, region);
  }

  place(parent: Gfid, name: Name, child: Child | undefined, target?: string): boolean {
    if (child?.type === S_IFDIR) this.#unsynced.moved(child.gfid);
    return this.#namesOp(child?.gfid ?? '', this.#resync.place(parent, name, child, target));
  }

  putInode(state: InodeState): boolean {
    return this.#inodeOp(state.attr.gfid, this.#resync.putInode(state));
  }

  patch(gfid: Gfid, offset: number, data: Uint8Array): void {
    this.#data.patch(gfid, offset, data);
  }

  punch(gfid: Gfid, offset: number, length: number): void {
    this.#data.punch(gfid, offset, length);
  }

  forget(gfid: Gfid): void {
    this.#resync.forget(gfid);
  }

  asides(): Gfid[] {
    return this.#resync.asides();
  }

  clearAside(): void {
    this.#unsynced.namesChanged();
    this.#resync.clearAside();
  }

  // --- checksums

  /** What `saveScrub` kept; undefined where there is nothing to read. */
  savedScrub(): unknown {
    const bytes = readFile(this.#tree.disk, this.#tree.privateFd, SCRUB_NAME, SCRUB_BYTES_MAX);
    if (typeof bytes === 'number') return undefined;
    try {
      return JSON.parse(Buffer.from(bytes).toString('utf8')) as unknown;
    } catch {
      return undefined;
    }
  }

  saveScrub(record: object): void {
    const bytes = Buffer.from(`${JSON.stringify(record, undefined, 2)}\n`);
    replaceFile(this.#tree.disk, this.#tree.privateFd, SCRUB_NAME, bytes, 'write scrub.json');
  }

  /** Undefined while the volume keeps none. */
  get sums(): Sums | undefined {
    return this.#tree.sums;
  }

  /** From now on every change of bytes keeps its checksums, and every read is compared with those that there are. */
  keepSums(host: Omit<SumsHost, 'patch'>): Sums {
    const patch = (gfid: Gfid, offset: number, data: Uint8Array): void => this.#data.patch(gfid, offset, data);
    this.#tree.sums ??= new Sums(this.#tree, { ...host, patch });
    return this.#tree.sums;
  }

  scrubSteps(sums: Sums): SumScrub {
    return new SumScrub(this.#tree, sums);
  }

  /** No checksums from now on; those on the disk are removed, some with each step. */
  *dropSums(): Generator<void> {
    this.#tree.sums?.close();
    this.#tree.sums = undefined;
    yield* removeSums(this.#tree, true);
  }

  /** Removes what is left of checksums that were dropped, some with each step. */
  sweepSums(): Generator<void> {
    return removeSums(this.#tree, false);
  }

  /**
   * Gfids whose inode changed on the disk at or after `sec`, by the disk's own ctime: what may differ after all bricks lost power at
   * once. Reads every inode of the brick.
   */
  *changedSince(sec: number): Generator<Gfid> {
    const tree = this.#tree;
    for (const gfid of tree.handles.all()) {
      const inode = tree.find(gfid);
      if (inode !== undefined && tree.statInode(inode, this.#stat) === 0 && this.#stat.ctimeSec >= sec) yield gfid;
    }
    if (tree.disk.stat(tree.rootFd, this.#stat) === 0 && this.#stat.ctimeSec >= sec) yield ROOT_GFID;
  }

  /** Identities of everything that has a handle, but for the root. Reads the whole brick. */
  handles(): Generator<Gfid> {
    return this.#tree.handles.all();
  }

  dropCaches(): void {
    this.#tree.dropCaches();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#tree.close();
  }
}

function truncation(gfid: Gfid): Args<'setattr'> {
  return { gfid, size: 0, atimeNow: false, mtimeNow: true, killPriv: false };
}
