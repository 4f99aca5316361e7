/**
 * Extended attributes. Clients see user.*, trusted.*, security.* and the POSIX ACLs, stored as such on the disk; what gluon keeps
 * for itself under trusted.gluon.* does not exist for them and cannot be set.
 */
import { Errno, FsError, InodeLimitError } from '../../base/errno.js';
import type { Gfid } from '../../base/ids.js';
import type { Args, Result } from '../../fops/ops.js';
import type { Stamp } from '../../replica/store.js';
import { DiskStat } from '../disk.js';
import type { Inode } from './inode.js';
import { XATTR_PREFIX } from './layout.js';
import { check } from './check.js';
import type { Tree } from './tree.js';

const PASSED_PREFIXES = ['user.', 'trusted.', 'security.'];
/** Bytes of the values of one inode, which travel in one message when it is made equal. */
const VALUES_BYTES_MAX = 1 << 20;
const VALUE_BYTES_MAX = 65_536;
/** Bytes of the names of one inode, each with one more: the kernel lists no more than 64 KiB, and a message no more than 4096 names. */
const NAMES_BYTES_MAX = 28 << 10;
/** A disk with so much left has room for any one xattr. */
const ROOM_BYTES = 1 << 20;
const ACL_NAMES = new Set(['system.posix_acl_access', 'system.posix_acl_default']);

function isPrivate(name: string): boolean {
  return name.startsWith(XATTR_PREFIX);
}

function isPassed(name: string): boolean {
  return (
    ACL_NAMES.has(name) || PASSED_PREFIXES.some((prefix) => name.startsWith(prefix) && name.length > prefix.length)
  );
}

export class Xattrs {
  readonly #tree: Tree;
  readonly #stat = new DiskStat();

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  get(gfid: Gfid, name: string): Uint8Array {
    const inode = this.#tree.inode(gfid, 'getxattr');
    if (isPrivate(name)) throw new FsError(Errno.ENODATA, 'getxattr');
    if (!isPassed(name)) throw new FsError(Errno.EOPNOTSUPP, 'getxattr');
    const value = this.#read(inode, name);
    if (typeof value === 'number') throw new FsError(-value, 'getxattr');
    return value;
  }

  #read(inode: Inode, name: string): Uint8Array | number {
    const { disk } = this.#tree;
    if (inode.isDirectory) return disk.getXattr(this.#tree.directoryFd(inode.gfid, 'getxattr'), name);
    return disk.getXattrAt(this.#tree.handles.fd(inode.gfid), inode.gfid, name);
  }

  /** Sorted, without the private ones. */
  list(gfid: Gfid): string[] {
    const inode = this.#tree.inode(gfid, 'listxattr');
    const { disk } = this.#tree;
    const names = inode.isDirectory
      ? disk.listXattrs(this.#tree.directoryFd(gfid, 'listxattr'))
      : disk.listXattrsAt(this.#tree.handles.fd(gfid), gfid);
    if (typeof names === 'number') throw new FsError(-names, 'listxattr');
    return names.filter((name) => isPassed(name) && !isPrivate(name)).toSorted();
  }

  set(args: Args<'setxattr'>, stamp: Stamp): Result<'setxattr'> {
    const inode = this.#tree.inode(args.gfid, 'setxattr');
    this.#checkWritable(args.name, 'setxattr');
    if (args.flags > 3) throw new FsError(Errno.EINVAL, 'setxattr', 'unknown flags');
    if (!this.#hasRoom(inode, args)) throw new InodeLimitError(Errno.ENOSPC, 'setxattr', 'the inode has as many xattrs as one may have');
    const done = this.write(inode, args.name, args.value, args.flags);
    if (done === -Errno.ENOSPC && this.#diskHasRoom()) throw new InodeLimitError(Errno.ENOSPC, 'setxattr', 'the inode has no room for more xattrs');
    check(done, 'setxattr');
    this.#changed(inode, args.name, stamp);
    return {};
  }

  /** Disks like XFS have room for more xattrs of one inode than bricks can tell each other. */
  #hasRoom(inode: Inode, { name, value }: Args<'setxattr'>): boolean {
    const others = this.list(inode.gfid).filter((other) => other !== name);
    if (others.reduce((sum, other) => sum + other.length + 1, name.length + 1) > NAMES_BYTES_MAX) return false;
    // Their lengths have to be asked for where they are many.
    if ((others.length + 1) * VALUE_BYTES_MAX <= VALUES_BYTES_MAX) return true;
    let bytes = value.byteLength;
    for (const other of others) {
      const known = this.#read(inode, other);
      if (typeof known !== 'number') bytes += known.byteLength;
    }
    return bytes <= VALUES_BYTES_MAX;
  }

  /** Some disks have room for so many xattrs of one inode (ext4: one block) and then say ENOSPC, as a full disk does. */
  #diskHasRoom(): boolean {
    const space = this.#tree.disk.space(this.#tree.rootFd);
    return typeof space !== 'number' && space.blocksFree * space.blockSize >= ROOM_BYTES;
  }

  /** A negative error number when the disk refuses. */
  write(inode: Inode, name: string, value: Uint8Array, flags: number): number {
    const { disk } = this.#tree;
    if (inode.isDirectory) return disk.setXattr(this.#tree.directoryFd(inode.gfid, 'setxattr'), name, value, flags);
    return disk.setXattrAt(this.#tree.handles.fd(inode.gfid), inode.gfid, name, value, flags);
  }

  remove(args: Args<'removexattr'>, stamp: Stamp): Result<'removexattr'> {
    const inode = this.#tree.inode(args.gfid, 'removexattr');
    this.#checkWritable(args.name, 'removexattr');
    check(this.erase(inode, args.name), 'removexattr');
    this.#changed(inode, args.name, stamp);
    return {};
  }

  erase(inode: Inode, name: string): number {
    const { disk } = this.#tree;
    if (inode.isDirectory) return disk.removeXattr(this.#tree.directoryFd(inode.gfid, 'removexattr'), name);
    return disk.removeXattrAt(this.#tree.handles.fd(inode.gfid), inode.gfid, name);
  }

  #checkWritable(name: string, op: string): void {
    if (isPrivate(name)) throw new FsError(Errno.EPERM, op, `${XATTR_PREFIX}* is reserved`);
    if (!isPassed(name)) throw new FsError(Errno.EOPNOTSUPP, op);
  }

  #changed(inode: Inode, name: string, stamp: Stamp): void {
    if (ACL_NAMES.has(name)) this.reloadMode(inode);
    inode.ctime = stamp.time;
    this.#tree.touched(inode);
  }

  /** An access ACL is the other face of the permission bits. */
  reloadMode(inode: Inode): void {
    check(this.#tree.statInode(inode, this.#stat), 'stat');
    inode.mode = this.#stat.mode;
  }

  all(inode: Inode): [string, Uint8Array][] {
    const out: [string, Uint8Array][] = [];
    for (const name of this.list(inode.gfid)) {
      const value = this.#read(inode, name);
      if (typeof value !== 'number') out.push([name, value]);
    }
    return out;
  }
}
