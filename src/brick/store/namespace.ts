/**
 * Mutations of names. Every one is a sequence of system calls that a crash may cut anywhere; the order makes the rest harmless:
 *
 *   create   name · owner · gfid · handle     without gfid it is foreign, without handle it is repaired when it is found
 *   mkdir    handle · name · owner · gfid     a handle that leads nowhere is unknown
 *   unnamed  orphan mark · handle · owner · gfid    without gfid it is removed at the next start
 *   remove   (handle | orphan mark) · name    the name still leads to the inode, and to its handle again
 *   move     .next · rename · handle          a directory is where its handle or `.next` says
 *
 * What fails in the middle is undone before the error is thrown.
 */
import { Errno, FsError } from '../../base/errno.js';
import { ROOT_GFID, type Gfid, type Name } from '../../base/ids.js';
import type { Attr } from '../../fops/fields.js';
import {
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  S_IFBLK,
  S_IFCHR,
} from '../../fops/ops.js';
import type { Args, Result } from '../../fops/ops.js';
import type { Stamp } from '../../replica/store.js';
import { DiskStat, O_CREAT, O_EXCL, O_RDWR } from '../disk.js';
import { Inode } from './inode.js';
import { XATTR_GFID } from './layout.js';
import { check, checkName, checkNewName } from './check.js';
import { gfidBytes } from './handles.js';
import type { Tree } from './tree.js';

/** Names of one inode, the same on every disk: ext4 has the fewest (65,000), and the handle takes one. */
export const LINK_MAX = 64_999;
const S_ISUID = 0o4000;
const S_ISGID = 0o2000;
const MODE_BITS = 0o7777;
const SPECIAL = new Set([S_IFREG, S_IFIFO, S_IFSOCK, S_IFBLK, S_IFCHR]);

interface NewInode {
  mode: number;
  rdev: number;
  target: string;
  uid: number;
  gid: number;
}

export class Namespace {
  readonly #tree: Tree;
  readonly #stat = new DiskStat();

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  // --- creating

  symlink(args: Args<'symlink'>, stamp: Stamp): Result<'symlink'> {
    const { target, uid, gid } = args;
    return {
      attr: this.#make(args.parent, args.name, { mode: S_IFLNK | 0o777, rdev: 0, target, uid, gid }, stamp, 'symlink'),
    };
  }

  mknod(args: Args<'mknod'>, stamp: Stamp): Result<'mknod'> {
    const type = args.mode & S_IFMT;
    const mode = type === 0 ? args.mode | S_IFREG : args.mode;
    if (!SPECIAL.has(mode & S_IFMT))
      throw new FsError(type === S_IFDIR ? Errno.EPERM : Errno.EINVAL, 'mknod', 'not a type that mknod makes');
    const rdev = type === S_IFBLK || type === S_IFCHR ? args.rdev : 0;
    return {
      attr: this.#make(
        args.parent,
        args.name,
        { mode, rdev, target: '', uid: args.uid, gid: args.gid },
        stamp,
        'mknod',
      ),
    };
  }

  create(args: Args<'create'>, stamp: Stamp, truncate: (inode: Inode) => void): Result<'create'> {
    const existing = this.#tree.child(args.parent, args.name, 'create');
    if (existing !== undefined) {
      if (args.exclusive) throw new FsError(Errno.EEXIST, 'create');
      if (existing.isDirectory) throw new FsError(Errno.EISDIR, 'create');
      if (args.truncate && existing.isRegular) truncate(existing);
      return { attr: this.#tree.refresh(existing).attr(), created: false };
    }
    const mode = S_IFREG | (args.mode & MODE_BITS);
    const attr = this.#make(
      args.parent,
      args.name,
      { mode, rdev: 0, target: '', uid: args.uid, gid: args.gid },
      stamp,
      'create',
    );
    return { attr, created: true };
  }

  mkdir(args: Args<'mkdir'>, stamp: Stamp): Result<'mkdir'> {
    const tree = this.#tree;
    const parent = this.#newNameIn(args.parent, args.name, 'mkdir');
    const gid = (parent.mode & S_ISGID) !== 0 ? parent.gid : args.gid;
    const mode = S_IFDIR | (args.mode & MODE_BITS) | (parent.mode & S_ISGID);
    const inode = this.makeDirectory(parent.gfid, args.name, stamp.gfid, mode, args.uid, gid, 'mkdir');
    inode.atime = inode.mtime = inode.ctime = stamp.time;
    tree.touched(inode);
    this.#entryChanged(parent, stamp, true);
    return { attr: inode.attr() };
  }

  /** Makes the directory on the disk; its times are the disk's. */
  makeDirectory(parent: Gfid, name: Name, gfid: Gfid, mode: number, uid: number, gid: number, op: string): Inode {
    const tree = this.#tree;
    const { disk } = tree;
    const dir = tree.directoryFd(parent, op);
    tree.handles.writeText(gfid, { parent, name }, '', op);
    let made = false;
    let fd = -1;
    try {
      this.#claim(dir, name, op, () => disk.mkdirAt(dir, name, mode & MODE_BITS));
      made = true;
      fd = check(disk.openDirectory(dir, name), op);
      const stat = this.#stat;
      check(disk.stat(fd, stat), op);
      // A default ACL of the parent decides on the permissions, otherwise they are what was asked for.
      const bits = (stat.mode & 0o777) | (mode & 0o7000);
      if (stat.uid !== uid || stat.gid !== gid) check(disk.chown(fd, uid, gid), op);
      if ((stat.mode & MODE_BITS) !== bits) check(disk.chmod(fd, bits), op);
      check(disk.setXattr(fd, XATTR_GFID, gfidBytes(gfid), 0), op);
      stat.mode = S_IFDIR | bits;
      stat.uid = uid;
      stat.gid = gid;
    } catch (error) {
      if (fd >= 0) disk.close(fd);
      if (made) disk.rmdirAt(dir, name);
      tree.handles.remove(gfid);
      this.#undone(parent);
      throw error;
    }
    const inode = new Inode(gfid, this.#stat, undefined);
    tree.keepDirectory(gfid, fd);
    tree.adopt(inode);
    tree.nameAdded(parent, name, gfid);
    return inode;
  }

  #make(parentGfid: Gfid, name: Name, what: NewInode, stamp: Stamp, op: string): Attr {
    const parent = this.#newNameIn(parentGfid, name, op);
    if ((parent.mode & S_ISGID) !== 0) what.gid = parent.gid;
    const inode = this.makeInode(parent.gfid, name, stamp.gfid, what, op);
    inode.atime = inode.mtime = inode.ctime = stamp.time;
    this.#tree.touched(inode);
    this.#entryChanged(parent, stamp, false);
    return inode.attr();
  }

  /** Makes anything but a directory; its times are the disk's. */
  makeInode(parent: Gfid, name: Name, gfid: Gfid, what: NewInode, op: string): Inode {
    const tree = this.#tree;
    const dir = tree.directoryFd(parent, op);
    let inode: Inode;
    try {
      inode = this.#makeAt(dir, name, gfid, what, op);
    } catch (error) {
      this.#undone(parent);
      throw error;
    }
    inode.nlink = 1;
    tree.adopt(inode);
    tree.nameAdded(parent, name, gfid);
    return inode;
  }

  /** Makes an inode that has no name but its handle. */
  makeUnnamed(gfid: Gfid, what: NewInode, op: string): Inode {
    const tree = this.#tree;
    tree.orphans.mark(gfid, op);
    let inode: Inode;
    try {
      inode = this.#makeAt(tree.handles.fd(gfid), gfid, gfid, what, op);
    } catch (error) {
      tree.orphans.unmark(gfid);
      throw error;
    }
    inode.nlink = 0;
    tree.adopt(inode);
    return inode;
  }

  #makeAt(dir: number, name: Name, gfid: Gfid, what: NewInode, op: string): Inode {
    const tree = this.#tree;
    const { disk } = tree;
    const stat = this.#stat;
    const handle = tree.handles.fd(gfid);
    const type = what.mode & S_IFMT;
    const bits = what.mode & MODE_BITS;
    let fd = -1;
    this.#claim(dir, name, op, () => {
      if (type === S_IFREG) return (fd = disk.openFile(dir, name, O_CREAT | O_EXCL | O_RDWR, bits));
      if (type === S_IFLNK) return disk.symlinkAt(what.target, dir, name);
      return disk.mknodAt(dir, name, what.mode, what.rdev);
    });
    try {
      check(fd >= 0 ? disk.stat(fd, stat) : disk.statAt(dir, name, stat), op);
      if (stat.uid !== what.uid || stat.gid !== what.gid) {
        check(disk.chownAt(dir, name, what.uid, what.gid), op);
        // The kernel takes the set-id bits away from what changes its owner.
        if ((bits & (S_ISUID | S_ISGID)) !== 0) check(disk.chmodAt(dir, name, stat.mode & MODE_BITS), op);
        stat.uid = what.uid;
        stat.gid = what.gid;
      }
      const value = gfidBytes(gfid);
      check(fd >= 0 ? disk.setXattr(fd, XATTR_GFID, value, 0) : disk.setXattrAt(dir, name, XATTR_GFID, value, 0), op);
      if (handle !== dir) check(disk.linkAt(dir, name, handle, gfid), op);
    } catch (error) {
      if (fd >= 0) disk.close(fd);
      disk.unlinkAt(dir, name);
      throw error;
    }
    if (fd >= 0) tree.keepFile(gfid, fd);
    const inode = new Inode(gfid, stat, undefined);
    if (type === S_IFLNK) inode.target = what.target;
    return inode;
  }

  /** Makes a name that the volume does not have; what another program put there goes out of the way. */
  #claim(dir: number, name: Name, op: string, make: () => number): void {
    let result = make();
    if (result === -Errno.EEXIST) {
      this.#tree.expelForeign(dir, name, op);
      result = make();
    }
    check(result, op);
  }

  tmpfile(args: Args<'tmpfile'>, stamp: Stamp): Result<'tmpfile'> {
    const tree = this.#tree;
    const parent = this.#directory(args.parent, 'tmpfile');
    const gid = (parent.mode & S_ISGID) !== 0 ? parent.gid : args.gid;
    const inode = this.makeUnnamed(
      stamp.gfid,
      { mode: S_IFREG | (args.mode & MODE_BITS), rdev: 0, target: '', uid: args.uid, gid },
      'tmpfile',
    );
    inode.atime = inode.mtime = inode.ctime = stamp.time;
    tree.touched(inode);
    return { attr: inode.attr() };
  }

  link(args: Args<'link'>, stamp: Stamp): Result<'link'> {
    const tree = this.#tree;
    const inode = tree.inode(args.gfid, 'link');
    if (inode.isDirectory) throw new FsError(Errno.EPERM, 'link', 'is a directory');
    const parent = this.#newNameIn(args.newParent, args.newName, 'link');
    if (inode.nlink >= LINK_MAX) throw new FsError(Errno.EMLINK, 'link');
    this.addName(inode, parent.gfid, args.newName, 'link');
    inode.ctime = stamp.time;
    tree.touched(inode);
    this.#entryChanged(parent, stamp, false);
    return { attr: tree.refresh(inode).attr() };
  }

  /** Gives a non-directory another name. */
  addName(inode: Inode, parent: Gfid, name: Name, op: string): void {
    const tree = this.#tree;
    const dir = tree.directoryFd(parent, op);
    this.#claim(dir, name, op, () => tree.disk.linkAt(tree.handles.fd(inode.gfid), inode.gfid, dir, name));
    inode.nlink++;
    tree.orphans.unmark(inode.gfid);
    tree.nameAdded(parent, name, inode.gfid);
  }

  // --- removing

  unlink(args: Args<'unlink'>, stamp: Stamp): Result<'unlink'> {
    const parent = this.#directory(args.parent, 'unlink');
    const inode = this.#existing(parent.gfid, args.name, 'unlink');
    if (inode.isDirectory) throw new FsError(Errno.EISDIR, 'unlink');
    this.removeName(inode, parent.gfid, args.name, stamp.purge, 'unlink');
    if (inode.nlink > 0 || !stamp.purge) {
      inode.ctime = stamp.time;
      this.#tree.touched(inode);
    }
    this.#entryChanged(parent, stamp, false);
    return {};
  }

  /** Takes a name from a non-directory; the last one takes the inode with it (`purge`), or leaves an orphan. */
  removeName(inode: Inode, parent: Gfid, name: Name, purge: boolean, op: string): void {
    const tree = this.#tree;
    const dir = tree.directoryFd(parent, op);
    this.#losingName(inode, purge, op);
    const result = tree.disk.unlinkAt(dir, name);
    if (result < 0) {
      this.#keptName(inode, purge, dir, name);
      check(result, op);
    }
    tree.nameRemoved(parent, name);
    this.#lostName(inode, purge);
  }

  /** Before a non-directory loses a name. */
  #losingName(inode: Inode, purge: boolean, op: string): void {
    if (inode.nlink !== 1) return;
    const tree = this.#tree;
    if (!purge) {
      tree.orphans.mark(inode.gfid, op);
      return;
    }
    tree.holdLarge(inode);
    const result = tree.handles.remove(inode.gfid);
    if (result !== -Errno.ENOENT) check(result, op);
  }

  /** The name was not removed after all. */
  #keptName(inode: Inode, purge: boolean, dir: number, name: Name): void {
    if (inode.nlink !== 1) return;
    const tree = this.#tree;
    // Should this fail too, the handle is repaired when the name is looked up.
    if (purge) tree.disk.linkAt(dir, name, tree.handles.fd(inode.gfid), inode.gfid);
    else tree.orphans.unmark(inode.gfid);
  }

  /** What was tried in the directory and taken back changed its times on the disk. */
  #undone(parent: Gfid): void {
    const directory = this.#tree.find(parent);
    if (directory !== undefined) this.#tree.touched(directory);
  }

  #lostName(inode: Inode, purge: boolean): void {
    inode.nlink--;
    if (inode.nlink === 0 && purge) this.#tree.dismiss(inode);
  }

  rmdir(args: Args<'rmdir'>, stamp: Stamp): Result<'rmdir'> {
    const tree = this.#tree;
    const parent = this.#directory(args.parent, 'rmdir');
    const inode = this.#existing(parent.gfid, args.name, 'rmdir');
    if (!inode.isDirectory) throw new FsError(Errno.ENOTDIR, 'rmdir');
    const dir = tree.directoryFd(parent.gfid, 'rmdir');
    this.#emptied(inode, 'rmdir', () => tree.disk.rmdirAt(dir, args.name));
    tree.nameRemoved(parent.gfid, args.name);
    this.directoryGone(inode);
    this.#entryChanged(parent, stamp, true);
    return {};
  }

  /** A directory was removed from the tree: its handle goes. */
  directoryGone(inode: Inode): void {
    const tree = this.#tree;
    tree.dismiss(inode);
    // A handle that stays leads nowhere.
    tree.handles.remove(inode.gfid);
  }

  /** Does what needs an empty directory; entries that are not the volume's do not count. */
  #emptied(inode: Inode, op: string, remove: () => number): void {
    const tree = this.#tree;
    let result = remove();
    if (result === -Errno.ENOTEMPTY || result === -Errno.EEXIST) {
      const names = tree.disk.list(tree.directoryFd(inode.gfid, op));
      if (typeof names === 'number') throw new FsError(-names, op);
      for (const name of names)
        if (tree.child(inode.gfid, name, op) !== undefined) throw new FsError(Errno.ENOTEMPTY, op);
      for (const name of names) tree.expelForeign(tree.directoryFd(inode.gfid, op), name, op);
      tree.forgetListing(inode.gfid);
      result = remove();
    }
    check(result, op);
  }

  // --- renaming

  rename(args: Args<'rename'>, stamp: Stamp): Result<'rename'> {
    const { flags } = args;
    if (flags !== 0 && flags !== RENAME_NOREPLACE && flags !== RENAME_EXCHANGE)
      throw new FsError(Errno.EINVAL, 'rename', 'unknown flags');
    const tree = this.#tree;
    const from = this.#directory(args.parent, 'rename');
    const to = this.#directory(args.newParent, 'rename');
    const source = this.#existing(from.gfid, args.name, 'rename');
    checkNewName(to.gfid, args.newName, 'rename');
    const target = tree.child(to.gfid, args.newName, 'rename');
    if (target === undefined && flags === RENAME_EXCHANGE) throw new FsError(Errno.ENOENT, 'rename');
    if (target !== undefined && flags === RENAME_NOREPLACE) throw new FsError(Errno.EEXIST, 'rename');
    if (source.isDirectory && this.isWithin(to.gfid, source.gfid))
      throw new FsError(Errno.EINVAL, 'rename', 'into its own subtree');
    if (target !== undefined && target.isDirectory && this.isWithin(from.gfid, target.gfid)) {
      throw new FsError(flags === RENAME_EXCHANGE ? Errno.EINVAL : Errno.ENOTEMPTY, 'rename');
    }
    if (target?.gfid === source.gfid) return {};
    if (flags === RENAME_EXCHANGE) this.#exchange(args, source, target as Inode);
    else this.#replace(args, source, target, stamp.purge);
    source.ctime = stamp.time;
    tree.touched(source);
    if (
      target !== undefined &&
      (target.nlink > 0 || !stamp.purge) &&
      (!target.isDirectory || flags === RENAME_EXCHANGE)
    ) {
      target.ctime = stamp.time;
      tree.touched(target);
    }
    const directories = source.isDirectory || target?.isDirectory === true;
    this.#entryChanged(from, stamp, directories);
    if (to.gfid !== from.gfid) this.#entryChanged(to, stamp, directories);
    return {};
  }

  /** True when `gfid` is `ancestor` or below it. */
  isWithin(gfid: Gfid, ancestor: Gfid): boolean {
    if (ancestor === ROOT_GFID) return true;
    for (
      let at: Gfid | undefined = gfid;
      at !== undefined && at !== ROOT_GFID;
      at = this.#tree.directoryPlace(at)?.parent
    ) {
      if (at === ancestor) return true;
    }
    return false;
  }

  #exchange(args: Args<'rename'>, source: Inode, target: Inode): void {
    const tree = this.#tree;
    const fromDir = tree.directoryFd(args.parent, 'rename');
    const toDir = tree.directoryFd(args.newParent, 'rename');
    if (source.isDirectory)
      tree.handles.writeText(source.gfid, { parent: args.newParent, name: args.newName }, '.next', 'rename');
    if (target.isDirectory)
      tree.handles.writeText(target.gfid, { parent: args.parent, name: args.name }, '.next', 'rename');
    check(tree.disk.renameAt(fromDir, args.name, toDir, args.newName, RENAME_EXCHANGE), 'rename');
    if (source.isDirectory) tree.handles.settleText(source.gfid);
    if (target.isDirectory) tree.handles.settleText(target.gfid);
    tree.entryKnown(args.parent, args.name, target.gfid);
    tree.entryKnown(args.newParent, args.newName, source.gfid);
  }

  #replace(args: Args<'rename'>, source: Inode, target: Inode | undefined, purge: boolean): void {
    const tree = this.#tree;
    if (target !== undefined && source.isDirectory !== target.isDirectory) {
      throw new FsError(target.isDirectory ? Errno.EISDIR : Errno.ENOTDIR, 'rename');
    }
    const toDir = tree.directoryFd(args.newParent, 'rename');
    if (source.isDirectory)
      tree.handles.writeText(source.gfid, { parent: args.newParent, name: args.newName }, '.next', 'rename');
    if (target === undefined) {
      this.#claim(toDir, args.newName, 'rename', () => this.#moveOnDisk(args, RENAME_NOREPLACE));
    } else if (target.isDirectory) {
      this.#emptied(target, 'rename', () => this.#moveOnDisk(args, 0));
    } else {
      this.#losingName(target, purge, 'rename');
      const result = this.#moveOnDisk(args, 0);
      if (result < 0) {
        this.#keptName(target, purge, toDir, args.newName);
        check(result, 'rename');
      }
    }
    if (source.isDirectory) tree.handles.settleText(source.gfid);
    if (target !== undefined) {
      if (target.isDirectory) this.directoryGone(target);
      else this.#lostName(target, purge);
    }
    tree.nameRemoved(args.parent, args.name);
    tree.nameAdded(args.newParent, args.newName, source.gfid);
  }

  #moveOnDisk(args: Args<'rename'>, flags: number): number {
    const tree = this.#tree;
    const fromDir = tree.directoryFd(args.parent, 'rename');
    return tree.disk.renameAt(fromDir, args.name, tree.directoryFd(args.newParent, 'rename'), args.newName, flags);
  }

  // --- common

  #directory(gfid: Gfid, op: string): Inode {
    const inode = this.#tree.inode(gfid, op);
    if (!inode.isDirectory) throw new FsError(Errno.ENOTDIR, op);
    return inode;
  }

  #existing(parent: Gfid, name: Name, op: string): Inode {
    checkName(name, op);
    const inode = this.#tree.child(parent, name, op);
    if (inode === undefined) throw new FsError(Errno.ENOENT, op);
    return inode;
  }

  /** The directory, when it can take the name. */
  #newNameIn(parentGfid: Gfid, name: Name, op: string): Inode {
    const parent = this.#directory(parentGfid, op);
    checkNewName(parentGfid, name, op);
    if (this.#tree.child(parentGfid, name, op) !== undefined) throw new FsError(Errno.EEXIST, op);
    return parent;
  }

  #entryChanged(parent: Inode, stamp: Stamp, subdirectories: boolean): void {
    parent.mtime = stamp.time;
    parent.ctime = stamp.time;
    if (subdirectories) parent.volatile = true;
    this.#tree.touched(parent);
  }
}
