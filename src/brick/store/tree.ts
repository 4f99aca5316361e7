/**
 * The directory on the disk, by identity: what every operation of the store is made of.
 *
 *   gfid ──handle──▶ inode                   non-directories: one component below a descriptor that is always open
 *   gfid ──handle text──▶ parent gfid, name  directories: walked upwards until a directory is open, then down again
 *   (parent, name) ──entry──▶ xattr gfid     checked against the handle
 *
 * An entry without a gfid was put there by another program: it is invisible to the volume (adopting it would make this brick
 * differ from its siblings), and moved to .gluon/foreign when the volume needs its name. An entry whose gfid has no handle is
 * the trace of a crash, and is repaired when it is found. An entry whose handle is another inode is a copy that somebody made
 * together with its xattrs: it is foreign.
 */
import { Errno, FsError } from '../../base/errno.js';
import { isGfid, ROOT_GFID, type Gfid, type Name } from '../../base/ids.js';
import { S_IFDIR, S_IFLNK, S_IFMT } from '../../fops/ops.js';
import { DiskStat, O_RDONLY, O_RDWR, type Disk } from '../disk.js';
import { check, checkName } from './check.js';
import { ctimeBytes, ctimeFrom } from './ctime.js';
import { Descriptors, type Descriptor } from './descriptors.js';
import { Generations } from './generations.js';
import { Handles, type Place } from './handles.js';
import { Inode } from './inode.js';
import { ASIDE, PRIVATE_NAME, XATTR_CTIME } from './layout.js';
import { Listings } from './listings.js';
import { Orphans } from './orphans.js';
import type { SortedNames } from './sorted-names.js';
import type { Sums } from './sums.js';

export interface TreeLimits {
  /** Inodes and names remembered: between this and twice this. */
  inodes: number;
  directoryDescriptors: number;
  fileDescriptors: number;
  /** Names in the listings that are kept sorted. */
  listedNames: number;
  /** Inodes whose times wait to be written. */
  pendingTimes: number;
}

export const TREE_LIMITS: TreeLimits = {
  inodes: 60_000,
  directoryDescriptors: 512,
  fileDescriptors: 512,
  listedNames: 300_000,
  pendingTimes: 20_000,
};

/** Ancestors that are kept open when a directory is found from far up. */
const ANCESTORS_KEPT = 16;
/** A directory deeper than this is a loop in the handles. */
const DEPTH_MAX = 1 << 20;
/** Deleting a file of this size is not done on the thread that serves. */
const SLOW_DELETE_BYTES = 64 << 20;
/** Inodes whose times are written at once when too many wait: some hundred microseconds. */
const FLUSH_BATCH = 256;

export class Tree {
  readonly disk: Disk;
  readonly rootFd: number;
  readonly privateFd: number;
  readonly asideFd: number;
  readonly foreignFd: number;
  readonly handles: Handles;
  readonly orphans: Orphans;
  /** Checksums of files, while the volume keeps them. */
  sums: Sums | undefined = undefined;
  readonly #limits: TreeLimits;

  readonly #inodes: Generations<Gfid, Inode>;
  readonly #entries: Generations<string, Gfid>;
  readonly #directories: Descriptors;
  readonly #files: Descriptors;
  readonly #listings: Listings;
  readonly #pending = new Map<Gfid, Inode>();
  readonly #stat = new DiskStat();
  #foreignCount = 0;

  /** Takes over the descriptors, which `close` closes. */
  constructor(disk: Disk, rootFd: number, privateFd: number, limits: TreeLimits = TREE_LIMITS) {
    this.disk = disk;
    this.rootFd = rootFd;
    this.privateFd = privateFd;
    this.#limits = limits;
    this.#inodes = new Generations(limits.inodes);
    this.#entries = new Generations(limits.inodes);
    this.#directories = new Descriptors(disk, limits.directoryDescriptors);
    this.#files = new Descriptors(disk, limits.fileDescriptors);
    this.#listings = new Listings(limits.listedNames);
    this.asideFd = check(disk.openDirectory(privateFd, 'aside'), 'open aside');
    this.foreignFd = check(disk.openDirectory(privateFd, 'foreign'), 'open foreign');
    this.handles = new Handles(disk, privateFd);
    this.orphans = new Orphans(disk, this.handles, privateFd);
  }

  close(): void {
    this.flushTimes(Number.MAX_SAFE_INTEGER);
    this.sums?.close();
    this.#directories.clear();
    this.#files.clear();
    this.handles.close();
    this.orphans.close();
    this.disk.close(this.asideFd);
    this.disk.close(this.foreignFd);
    this.disk.close(this.privateFd);
    this.disk.close(this.rootFd);
  }

  dropCaches(): void {
    this.flushTimes(Number.MAX_SAFE_INTEGER);
    this.#inodes.clear();
    this.#entries.clear();
    this.#directories.clear();
    this.#files.clear();
    this.#listings.clear();
  }

  // --- directories

  /** Place of a directory that is known to the store; undefined for the root and what is not in the tree. */
  directoryPlace(gfid: Gfid): Place | undefined {
    if (gfid === ROOT_GFID || this.findDirectory(gfid) === undefined) return undefined;
    const place = this.handles.text(gfid, '');
    return place === undefined || place.parent === ASIDE ? undefined : place;
  }

  /** ESTALE when the directory is unknown, ENOTDIR when it is something else. */
  directoryFd(gfid: Gfid, op: string): number {
    if (gfid === ROOT_GFID) return this.rootFd;
    const cached = this.#directories.get(gfid);
    if (cached !== undefined) return cached.fd;
    const fd = this.findDirectory(gfid);
    if (fd !== undefined) return fd;
    const there = this.disk.statAt(this.handles.fd(gfid), gfid, this.#stat);
    if (there === 0 && (this.#stat.mode & S_IFMT) !== S_IFLNK) throw new FsError(Errno.ENOTDIR, op);
    if (there === 0 && this.handles.gfidAt(this.handles.fd(gfid), gfid) === gfid) throw new FsError(Errno.ENOTDIR, op);
    throw new FsError(Errno.ESTALE, op);
  }

  /** As `directoryFd`; undefined when there is no such directory. */
  findDirectory(gfid: Gfid): number | undefined {
    if (gfid === ROOT_GFID) return this.rootFd;
    const cached = this.#directories.get(gfid);
    if (cached !== undefined) return cached.fd;
    const chain: { gfid: Gfid; place: Place }[] = [];
    let at = gfid;
    let fd: number | undefined;
    while (fd === undefined) {
      const place = this.handles.text(at, '');
      if (place === undefined || chain.length > DEPTH_MAX) return undefined;
      chain.push({ gfid: at, place });
      at = place.parent;
      fd = at === ROOT_GFID ? this.rootFd : at === ASIDE ? this.asideFd : this.#directories.get(at)?.fd;
    }
    return this.#descend(fd, chain);
  }

  #descend(from: number, chain: { gfid: Gfid; place: Place }[]): number | undefined {
    let fd = from;
    let own = false;
    for (let i = chain.length - 1; i >= 0; i--) {
      const step = chain[i] as { gfid: Gfid; place: Place };
      let next = this.#openVerified(fd, step.place.name, step.gfid);
      if (next === undefined) next = this.#finishMove(step.gfid);
      if (own) this.disk.close(fd);
      if (next === undefined) return undefined;
      fd = next;
      own = i >= ANCESTORS_KEPT;
      if (!own) this.#directories.add(step.gfid, fd, false);
    }
    return fd;
  }

  #openVerified(dir: number, name: Name, gfid: Gfid): number | undefined {
    let fd = this.disk.openDirectory(dir, name);
    if (fd === -Errno.EMFILE || fd === -Errno.ENFILE) {
      this.#files.halve();
      fd = this.disk.openDirectory(dir, name);
    }
    if (fd === -Errno.ENOENT || fd === -Errno.ENOTDIR || fd === -Errno.ELOOP) return undefined;
    check(fd, 'open directory');
    if (this.handles.gfidOf(fd) === gfid) return fd;
    this.disk.close(fd);
    return undefined;
  }

  /** A crash came between moving a directory and its handle: it is where `.next` says. */
  #finishMove(gfid: Gfid): number | undefined {
    const next = this.handles.text(gfid, '.next');
    if (next === undefined) return undefined;
    const parent = next.parent === ASIDE ? this.asideFd : this.findDirectory(next.parent);
    if (parent === undefined) return undefined;
    const fd = this.#openVerified(parent, next.name, gfid);
    if (fd !== undefined) this.handles.settleText(gfid);
    return fd;
  }

  /** Remembers a directory's descriptor. */
  keepDirectory(gfid: Gfid, fd: number): void {
    this.#directories.add(gfid, fd, false);
  }

  // --- inodes

  /** ESTALE when it is unknown. */
  inode(gfid: Gfid, op: string): Inode {
    const inode = this.find(gfid);
    if (inode === undefined) throw new FsError(Errno.ESTALE, op);
    return inode;
  }

  find(gfid: Gfid): Inode | undefined {
    const known = this.#inodes.get(gfid);
    if (known !== undefined) return known;
    const waiting = this.#pending.get(gfid);
    const inode = waiting ?? this.#load(gfid);
    if (inode !== undefined) this.#inodes.set(gfid, inode);
    return inode;
  }

  #load(gfid: Gfid): Inode | undefined {
    const stat = this.#stat;
    if (gfid !== ROOT_GFID && this.#directories.get(gfid) === undefined) {
      const dir = this.handles.fd(gfid);
      const result = this.disk.statAt(dir, gfid, stat);
      if (result === -Errno.ENOENT) return undefined;
      check(result, 'stat');
      if ((stat.mode & S_IFMT) !== S_IFLNK || this.handles.gfidAt(dir, gfid) === gfid) {
        return new Inode(gfid, stat, ctimeFrom(this.disk.getXattrAt(dir, gfid, XATTR_CTIME)));
      }
    }
    const fd = this.findDirectory(gfid);
    if (fd === undefined) return undefined;
    check(this.disk.stat(fd, stat), 'stat');
    return this.#directoryInode(gfid, fd);
  }

  #directoryInode(gfid: Gfid, fd: number): Inode {
    const inode = new Inode(gfid, this.#stat, ctimeFrom(this.disk.getXattr(fd, XATTR_CTIME)));
    // The root's link count holds .gluon; disks that do not count subdirectories say 1.
    if (gfid === ROOT_GFID && inode.nlink > 2) inode.nlink--;
    return inode;
  }

  /** Takes in an inode that was just made. `ctime` as on the disk: absent. */
  adopt(inode: Inode): void {
    this.#inodes.set(inode.gfid, inode);
  }

  /** Everything about the inode in memory goes: it is removed. */
  dismiss(inode: Inode): void {
    const { gfid } = inode;
    this.#inodes.delete(gfid);
    this.#pending.delete(gfid);
    inode.pending = false;
    if (inode.isDirectory) {
      this.#directories.drop(gfid);
      this.forgetListing(gfid);
      return;
    }
    if (inode.isRegular) this.sums?.removed(gfid);
    this.#files.drop(gfid, inode.size >= SLOW_DELETE_BYTES);
  }

  /** Brings what the disk changes by itself up to date. */
  refresh(inode: Inode): Inode {
    if (!inode.volatile) return inode;
    const stat = this.#stat;
    check(this.statInode(inode, stat), 'stat');
    if (inode.isDirectory) {
      inode.nlink = inode.gfid === ROOT_GFID && stat.nlink > 2 ? stat.nlink - 1 : stat.nlink;
      inode.volatile = false;
    } else inode.blocks = stat.blocks;
    return inode;
  }

  statInode(inode: Inode, stat: DiskStat): number {
    if (inode.isDirectory) return this.disk.stat(this.directoryFd(inode.gfid, 'stat'), stat);
    const open = this.#files.get(inode.gfid);
    return open !== undefined
      ? this.disk.stat(open.fd, stat)
      : this.disk.statAt(this.handles.fd(inode.gfid), inode.gfid, stat);
  }

  // --- names

  entryKnown(parent: Gfid, name: Name, gfid: Gfid): void {
    this.#entries.set(parent + name, gfid);
  }

  entryGone(parent: Gfid, name: Name): void {
    this.#entries.delete(parent + name);
  }

  /** The inode with that name, undefined when the volume has none. ESTALE and ENOTDIR speak of the parent. */
  child(parent: Gfid, name: Name, op: string): Inode | undefined {
    const gfid = this.#entries.get(parent + name);
    if (gfid !== undefined) {
      const known = this.find(gfid);
      if (known !== undefined) return known;
      this.entryGone(parent, name);
    }
    checkName(name, op);
    const dir = this.directoryFd(parent, op);
    if (name === PRIVATE_NAME && parent === ROOT_GFID) return undefined;
    const inode = this.#readEntry(parent, dir, name, op);
    if (inode !== undefined) this.entryKnown(parent, name, inode.gfid);
    return inode;
  }

  #readEntry(parent: Gfid, dir: number, name: Name, op: string): Inode | undefined {
    const stat = this.#stat;
    const result = this.disk.statAt(dir, name, stat);
    if (result === -Errno.ENOENT) return undefined;
    check(result, op);
    const gfid = this.handles.gfidAt(dir, name);
    if (gfid === undefined || !isGfid(gfid)) return undefined;
    const number = stat.inode;
    if ((stat.mode & S_IFMT) === S_IFDIR) return this.#readDirectoryEntry(parent, name, gfid, number);
    const known = this.find(gfid);
    if (known !== undefined) return known.number === number ? known : undefined;
    check(this.disk.linkAt(dir, name, this.handles.fd(gfid), gfid), 'repair handle');
    return this.find(gfid);
  }

  #readDirectoryEntry(parent: Gfid, name: Name, gfid: Gfid, number: number): Inode | undefined {
    let known = this.find(gfid);
    if (known === undefined) {
      // No handle, or one that leads nowhere.
      this.handles.writeText(gfid, { parent, name }, '', 'repair handle');
      known = this.find(gfid);
    }
    return known?.number === number ? known : undefined;
  }

  /** Names of the directory in byte order, without the private one; some may be foreign. */
  listing(gfid: Gfid, op: string): SortedNames {
    const known = this.#listings.get(gfid);
    if (known !== undefined) return known;
    const names = this.disk.list(this.directoryFd(gfid, op));
    if (typeof names === 'number') throw new FsError(-names, op);
    return this.#listings.put(gfid, gfid === ROOT_GFID ? names.filter((name) => name !== PRIVATE_NAME) : names);
  }

  forgetListing(gfid: Gfid): void {
    this.#listings.forget(gfid);
  }

  nameAdded(parent: Gfid, name: Name, gfid: Gfid): void {
    this.entryKnown(parent, name, gfid);
    this.#listings.added(parent, name);
  }

  nameRemoved(parent: Gfid, name: Name): void {
    this.entryGone(parent, name);
    this.#listings.removed(parent, name);
  }

  /** Moves an entry that is not the volume's out of the way. */
  expelForeign(dir: number, name: Name, op: string): void {
    for (;;) {
      const result = this.disk.renameAt(dir, name, this.foreignFd, String(this.#foreignCount++), 1);
      if (result === -Errno.EEXIST) continue;
      check(result, op);
      return;
    }
  }

  // --- descriptors of files

  /** An open descriptor of a regular file; EISDIR, ELOOP or EINVAL for what is none. */
  file(inode: Inode, write: boolean, op: string): Descriptor {
    const open = this.#files.get(inode.gfid);
    if (open !== undefined && (open.writable || !write)) return open;
    if (!inode.isRegular) throw new FsError(inode.isDirectory ? Errno.EISDIR : Errno.EINVAL, op);
    const dir = this.handles.fd(inode.gfid);
    let fd = this.disk.openFile(dir, inode.gfid, O_RDWR, 0);
    if (fd === -Errno.EMFILE || fd === -Errno.ENFILE) {
      this.#files.halve();
      this.#directories.halve();
      fd = this.disk.openFile(dir, inode.gfid, O_RDWR, 0);
    }
    // A disk that became read-only, or a program that is run from the brick directory, can still be read.
    const readOnly = !write && (fd === -Errno.EROFS || fd === -Errno.ETXTBSY || fd === -Errno.EPERM);
    if (readOnly) fd = this.disk.openFile(dir, inode.gfid, O_RDONLY, 0);
    if (fd === -Errno.ENOENT) throw new FsError(Errno.ESTALE, op);
    return this.#files.add(inode.gfid, check(fd, op), !readOnly);
  }

  keepFile(gfid: Gfid, fd: number): void {
    this.#files.add(gfid, fd, true);
  }

  /** Before the last name of a large file goes: its blocks are to be freed by the thread pool, when this descriptor closes. */
  holdLarge(inode: Inode): void {
    if (!inode.isRegular || inode.size < SLOW_DELETE_BYTES || this.#files.get(inode.gfid) !== undefined) return;
    const fd = this.disk.openFile(this.handles.fd(inode.gfid), inode.gfid, O_RDONLY, 0);
    if (fd >= 0) this.#files.add(inode.gfid, fd, false);
  }

  pin(descriptor: Descriptor): void {
    this.#files.pin(descriptor);
  }

  unpin(descriptor: Descriptor): void {
    this.#files.unpin(descriptor);
  }

  /** The descriptor to sync for a directory, pinned. */
  directoryDescriptor(gfid: Gfid): Descriptor | undefined {
    if (gfid === ROOT_GFID) return undefined;
    this.directoryFd(gfid, 'fsync');
    return this.#directories.get(gfid);
  }

  // --- times

  /** The times in memory are newer than the disk's. */
  touched(inode: Inode): void {
    if (inode.pending) return;
    inode.pending = true;
    this.#pending.set(inode.gfid, inode);
    // In batches: finding the oldest entry of a map passes over those that were removed before it.
    if (this.#pending.size > this.#limits.pendingTimes) this.flushTimes(FLUSH_BATCH);
  }

  /** Writes up to `limit` inodes' times, oldest first; returns how many are left. A disk that refuses keeps its own times. */
  flushTimes(limit: number): number {
    let left = limit;
    for (const inode of this.#pending.values()) {
      if (left-- <= 0) break;
      this.writeTimes(inode);
    }
    return this.#pending.size;
  }

  get pendingTimes(): number {
    return this.#pending.size;
  }

  /** Writes the inode's times if they wait; a negative error number when that failed. */
  writeTimes(inode: Inode): number {
    if (!inode.pending) return 0;
    inode.pending = false;
    this.#pending.delete(inode.gfid);
    const { disk } = this;
    const stored = inode.ctime.sec === inode.mtime.sec && inode.ctime.nsec === inode.mtime.nsec;
    const keepXattr = inode.ctimeStored || !stored;
    let result: number;
    if (inode.isDirectory) {
      const fd = this.findDirectory(inode.gfid);
      if (fd === undefined) return -Errno.ESTALE;
      result = disk.setTimes(fd, inode.atime, inode.mtime);
      if (result === 0 && keepXattr) result = disk.setXattr(fd, XATTR_CTIME, ctimeBytes(inode.ctime), 0);
    } else {
      const dir = this.handles.fd(inode.gfid);
      result = disk.setTimesAt(dir, inode.gfid, inode.atime, inode.mtime);
      if (result === 0 && keepXattr) result = disk.setXattrAt(dir, inode.gfid, XATTR_CTIME, ctimeBytes(inode.ctime), 0);
    }
    if (keepXattr && result === 0) inode.ctimeStored = true;
    return result;
  }
}
