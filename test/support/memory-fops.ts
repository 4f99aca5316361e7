/**
 * Fops in memory: the ordinary behaviour of every operation, without replicas and without a disk. For tests of what stands on Fops.
 * `numbers` records the request number of every mutation, and a repeated number gets the first answer, as a brick does it.
 */
import { Errno, FsError } from '../../src/base/errno.js';
import { ROOT_GFID, type Gfid, type Name } from '../../src/base/ids.js';
import type { Time } from '../../src/base/time.js';
import type { Attr } from '../../src/fops/fields.js';
import { heldLock, type HeldLock } from '../../src/fops/held-lock.js';
import {
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  isDirectory,
  isSymlink,
  OPS,
  OP_NAMES,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  SEEK_HOLE,
  XATTR_CREATE,
  XATTR_REPLACE,
  type Args,
  type Fops,
  type OpName,
  type Result,
} from '../../src/fops/ops.js';

interface Inode {
  attr: Attr;
  data: Buffer;
  target: string;
  children: Map<Name, Gfid>;
  xattrs: Map<string, Uint8Array>;
  opens: number;
}

interface Waiter {
  args: Args<'setLock'>;
  resolve: (result: Result<'setLock'>) => void;
  reject: (error: Error) => void;
}

type Table = { [K in OpName]: (args: Args<K>) => Result<K> | Promise<Result<K>> };

const UNLOCK = 2;

function now(): Time {
  const wall = BigInt(Date.now()) * 1_000_000n + (process.hrtime.bigint() % 1_000_000n);
  return { sec: Number(wall / 1_000_000_000n), nsec: Number(wall % 1_000_000_000n) };
}

export class MemoryVolume {
  readonly inodes = new Map<Gfid, Inode>();
  readonly numbers: number[] = [];
  readonly locks: HeldLock[] = [];
  readonly waiters: Waiter[] = [];
  /** Called before each operation; a promise holds the operation back. */
  before: ((op: OpName, args: object) => Promise<void> | undefined) | undefined;
  readonly #answers = new Map<number, Promise<unknown>>();
  #next = 0x10;

  constructor() {
    this.#make(ROOT_GFID, S_IFDIR | 0o755, 0, 0, 0);
  }

  /** One client's view of the volume. */
  fops(): Fops {
    const fops: Partial<Record<OpName, unknown>> = {};
    for (const op of OP_NAMES) {
      fops[op] = (args: object, requestNumber?: number) => this.#call(op, args, requestNumber);
    }
    return fops as Fops;
  }

  #call(op: OpName, args: object, requestNumber: number | undefined): Promise<unknown> {
    const run = async (): Promise<unknown> => {
      await this.before?.(op, args);
      return (this.#table[op] as (a: object) => unknown)(args);
    };
    if (!OPS[op].mutation || requestNumber === undefined) return run();
    this.numbers.push(requestNumber);
    const known = this.#answers.get(requestNumber);
    if (known !== undefined) return known;
    const answer = run();
    this.#answers.set(requestNumber, answer);
    return answer;
  }

  #make(gfid: Gfid, mode: number, rdev: number, uid: number, gid: number): Inode {
    const time = now();
    const attr: Attr = {
      gfid,
      mode,
      nlink: isDirectory(mode) ? 2 : 1,
      uid,
      gid,
      rdev,
      size: 0,
      blocks: 0,
      atime: time,
      mtime: time,
      ctime: time,
    };
    const inode: Inode = { attr, data: Buffer.alloc(0), target: '', children: new Map(), xattrs: new Map(), opens: 0 };
    this.inodes.set(gfid, inode);
    return inode;
  }

  #new(mode: number, rdev: number, uid: number, gid: number): Inode {
    return this.#make((this.#next++).toString(16).padStart(32, '0'), mode, rdev, uid, gid);
  }

  #inode(gfid: Gfid): Inode {
    const inode = this.inodes.get(gfid);
    if (inode === undefined) throw new FsError(Errno.ESTALE, 'memory', gfid);
    return inode;
  }

  #directory(gfid: Gfid): Inode {
    const inode = this.#inode(gfid);
    if (!isDirectory(inode.attr.mode)) throw new FsError(Errno.ENOTDIR, 'memory');
    return inode;
  }

  #child(parent: Gfid, name: Name): Inode {
    const gfid = this.#directory(parent).children.get(name);
    if (gfid === undefined) throw new FsError(Errno.ENOENT, 'memory', name);
    return this.#inode(gfid);
  }

  #touch(inode: Inode): void {
    inode.attr.mtime = inode.attr.ctime = now();
  }

  #enter(parent: Gfid, name: Name, inode: Inode): Attr {
    const directory = this.#directory(parent);
    if (directory.children.has(name)) throw new FsError(Errno.EEXIST, 'memory', name);
    directory.children.set(name, inode.attr.gfid);
    if (isDirectory(inode.attr.mode)) directory.attr.nlink++;
    this.#touch(directory);
    return { ...inode.attr };
  }

  #create(parent: Gfid, name: Name, mode: number, rdev: number, uid: number, gid: number, target = ''): Inode {
    if (this.#directory(parent).children.has(name)) throw new FsError(Errno.EEXIST, 'memory', name);
    const inode = this.#new(mode, rdev, uid, gid);
    inode.target = target;
    if (target !== '') inode.attr.size = target.length;
    this.#enter(parent, name, inode);
    return inode;
  }

  #leave(parent: Gfid, name: Name): void {
    const directory = this.#directory(parent);
    const inode = this.#child(parent, name);
    directory.children.delete(name);
    if (isDirectory(inode.attr.mode)) {
      directory.attr.nlink--;
      inode.attr.nlink = 0;
    } else inode.attr.nlink--;
    inode.attr.ctime = now();
    this.#touch(directory);
    this.#reap(inode);
  }

  #reap(inode: Inode): void {
    if (inode.attr.nlink === 0 && inode.opens === 0) this.inodes.delete(inode.attr.gfid);
  }

  #resize(inode: Inode, size: number): void {
    const data = Buffer.alloc(size);
    inode.data.copy(data, 0, 0, size);
    inode.data = data;
    inode.attr.size = size;
    inode.attr.blocks = Math.ceil(size / 512);
    this.#touch(inode);
  }

  #killPriv(inode: Inode): void {
    if (isDirectory(inode.attr.mode)) return;
    inode.attr.mode &= ~0o4000;
    if ((inode.attr.mode & 0o010) !== 0) inode.attr.mode &= ~0o2000;
    inode.xattrs.delete('security.capability');
  }

  #conflict(args: Omit<HeldLock, 'pid'>): HeldLock | undefined {
    return this.locks.find(
      (l) =>
        l.gfid === args.gfid &&
        l.kind === args.kind &&
        l.owner !== args.owner &&
        l.start <= args.end &&
        args.start <= l.end &&
        (l.type === 1 || args.type === 1),
    );
  }

  #replaceRange(args: Args<'setLock'>): void {
    const own = this.locks.filter((l) => l.gfid === args.gfid && l.kind === args.kind && l.owner === args.owner);
    for (const lock of own) {
      if (lock.end < args.start || lock.start > args.end) continue;
      this.locks.splice(this.locks.indexOf(lock), 1);
      if (lock.start < args.start) this.locks.push({ ...lock, end: args.start - 1 });
      if (lock.end > args.end) this.locks.push({ ...lock, start: args.end + 1 });
    }
    if (args.type !== UNLOCK) this.locks.push(heldLock(args));
  }

  #wake(): void {
    for (const waiter of [...this.waiters]) {
      if (this.#conflict(waiter.args) !== undefined) continue;
      this.waiters.splice(this.waiters.indexOf(waiter), 1);
      this.#replaceRange(waiter.args);
      waiter.resolve({});
    }
  }

  readonly #table: Table = {
    lookup: ({ parent, name }) => ({ attr: { ...this.#child(parent, name).attr } }),
    getattr: ({ gfid }) => ({ attr: { ...this.#inode(gfid).attr } }),
    setattr: (args) => {
      const inode = this.#inode(args.gfid);
      if (args.killPriv) this.#killPriv(inode);
      if (args.size !== undefined) {
        if (isDirectory(inode.attr.mode)) throw new FsError(Errno.EISDIR, 'memory');
        this.#resize(inode, args.size);
      }
      if (args.mode !== undefined) inode.attr.mode = (inode.attr.mode & S_IFMT) | args.mode;
      if (args.uid !== undefined) inode.attr.uid = args.uid;
      if (args.gid !== undefined) inode.attr.gid = args.gid;
      const time = now();
      if (args.atime !== undefined || args.atimeNow) inode.attr.atime = args.atime ?? time;
      if (args.mtime !== undefined || args.mtimeNow) inode.attr.mtime = args.mtime ?? time;
      inode.attr.ctime = time;
      return { attr: { ...inode.attr } };
    },
    readlink: ({ gfid }) => {
      const inode = this.#inode(gfid);
      if (!isSymlink(inode.attr.mode)) throw new FsError(Errno.EINVAL, 'memory');
      return { target: inode.target };
    },
    symlink: ({ parent, name, target, uid, gid }) => ({
      attr: { ...this.#create(parent, name, S_IFLNK | 0o777, 0, uid, gid, target).attr },
    }),
    mknod: ({ parent, name, mode, rdev, uid, gid }) => ({
      attr: { ...this.#create(parent, name, mode, rdev, uid, gid).attr },
    }),
    mkdir: ({ parent, name, mode, uid, gid }) => ({
      attr: { ...this.#create(parent, name, S_IFDIR | mode, 0, uid, gid).attr },
    }),
    unlink: ({ parent, name }) => {
      if (isDirectory(this.#child(parent, name).attr.mode)) throw new FsError(Errno.EISDIR, 'memory');
      this.#leave(parent, name);
      return {};
    },
    rmdir: ({ parent, name }) => {
      const inode = this.#child(parent, name);
      if (!isDirectory(inode.attr.mode)) throw new FsError(Errno.ENOTDIR, 'memory');
      if (inode.children.size > 0) throw new FsError(Errno.ENOTEMPTY, 'memory');
      this.#leave(parent, name);
      return {};
    },
    rename: ({ parent, name, newParent, newName, flags }) => {
      const inode = this.#child(parent, name);
      const target = this.#directory(newParent).children.get(newName);
      if (flags === RENAME_NOREPLACE && target !== undefined) throw new FsError(Errno.EEXIST, 'memory');
      if (flags === RENAME_EXCHANGE) {
        if (target === undefined) throw new FsError(Errno.ENOENT, 'memory');
        this.#directory(parent).children.set(name, target);
        this.#directory(newParent).children.set(newName, inode.attr.gfid);
        return {};
      }
      if (target === inode.attr.gfid) return {};
      if (target !== undefined) this.#leave(newParent, newName);
      this.#directory(parent).children.delete(name);
      this.#directory(newParent).children.set(newName, inode.attr.gfid);
      if (isDirectory(inode.attr.mode)) {
        this.#directory(parent).attr.nlink--;
        this.#directory(newParent).attr.nlink++;
      }
      this.#touch(this.#directory(parent));
      this.#touch(this.#directory(newParent));
      inode.attr.ctime = now();
      return {};
    },
    link: ({ gfid, newParent, newName }) => {
      const inode = this.#inode(gfid);
      this.#enter(newParent, newName, inode);
      inode.attr.nlink++;
      inode.attr.ctime = now();
      return { attr: { ...inode.attr } };
    },
    open: ({ gfid, truncate, killPriv }) => {
      const inode = this.#inode(gfid);
      inode.opens++;
      if (killPriv) this.#killPriv(inode);
      if (truncate) this.#resize(inode, 0);
      return { attr: { ...inode.attr } };
    },
    create: ({ parent, name, mode, exclusive, truncate, uid, gid }) => {
      const existing = this.#directory(parent).children.get(name);
      if (existing !== undefined && exclusive) throw new FsError(Errno.EEXIST, 'memory');
      const inode =
        existing === undefined ? this.#create(parent, name, S_IFREG | mode, 0, uid, gid) : this.#inode(existing);
      inode.opens++;
      if (existing !== undefined && truncate) this.#resize(inode, 0);
      return { attr: { ...inode.attr }, created: existing === undefined };
    },
    tmpfile: ({ mode, uid, gid }) => {
      const inode = this.#new(S_IFREG | mode, 0, uid, gid);
      inode.attr.nlink = 0;
      inode.opens = 1;
      return { attr: { ...inode.attr } };
    },
    release: ({ gfid }) => {
      const inode = this.#inode(gfid);
      inode.opens--;
      this.#reap(inode);
      return {};
    },
    read: ({ gfid, offset, size }) => ({ data: this.#inode(gfid).data.subarray(offset, offset + size) }),
    write: ({ gfid, offset, append, killPriv, data }) => {
      const inode = this.#inode(gfid);
      const at = append ? inode.attr.size : offset;
      if (killPriv) this.#killPriv(inode);
      if (at + data.byteLength > inode.attr.size) this.#resize(inode, at + data.byteLength);
      inode.data.set(data, at);
      this.#touch(inode);
      return { offset: at, attr: { ...inode.attr } };
    },
    fsync: () => ({}),
    readdir: ({ gfid, after, limit, attributes }) => {
      const names = [...this.#directory(gfid).children.keys()]
        .filter((name) => name > after)
        .sort((a, b) => (a < b ? -1 : 1));
      const entries = names.slice(0, limit).map((name) => {
        const { attr } = this.#child(gfid, name);
        return { name, gfid: attr.gfid, type: attr.mode & S_IFMT, attr: attributes ? { ...attr } : undefined };
      });
      return { entries, end: names.length <= limit };
    },
    statfs: () => ({
      blockSize: 4096,
      blocks: 1 << 20,
      blocksFree: 1 << 19,
      blocksAvailable: 1 << 19,
      files: 1 << 20,
      filesFree: 1 << 19,
      nameMax: 255,
    }),
    setxattr: ({ gfid, name, value, flags }) => {
      const { xattrs } = this.#inode(gfid);
      if (flags === XATTR_CREATE && xattrs.has(name)) throw new FsError(Errno.EEXIST, 'memory');
      if (flags === XATTR_REPLACE && !xattrs.has(name)) throw new FsError(Errno.ENODATA, 'memory');
      xattrs.set(name, Buffer.from(value));
      return {};
    },
    getxattr: ({ gfid, name }) => {
      const value = this.#inode(gfid).xattrs.get(name);
      if (value === undefined) throw new FsError(Errno.ENODATA, 'memory');
      return { value };
    },
    listxattr: ({ gfid }) => ({ names: [...this.#inode(gfid).xattrs.keys()] }),
    removexattr: ({ gfid, name }) => {
      if (!this.#inode(gfid).xattrs.delete(name)) throw new FsError(Errno.ENODATA, 'memory');
      return {};
    },
    fallocate: ({ gfid, offset, length, mode }) => {
      const inode = this.#inode(gfid);
      const keepSize = (mode & FALLOC_KEEP_SIZE) !== 0;
      if (!keepSize && offset + length > inode.attr.size) this.#resize(inode, offset + length);
      if ((mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE)) !== 0)
        inode.data.fill(0, Math.min(offset, inode.attr.size), Math.min(offset + length, inode.attr.size));
      this.#touch(inode);
      return { attr: { ...inode.attr } };
    },
    lseek: ({ gfid, offset, whence }) => {
      const { size } = this.#inode(gfid).attr;
      if (offset >= size) throw new FsError(Errno.ENXIO, 'memory');
      return { offset: whence === SEEK_HOLE ? size : offset };
    },
    copyFileRange: ({ source, sourceOffset, target, targetOffset, length }) => {
      const from = Buffer.from(this.#inode(source).data.subarray(sourceOffset, sourceOffset + length));
      const to = this.#inode(target);
      if (targetOffset + from.length > to.attr.size) this.#resize(to, targetOffset + from.length);
      to.data.set(from, targetOffset);
      return { copied: from.length, attr: { ...to.attr } };
    },
    setLock: (args) => {
      if (args.type === UNLOCK || this.#conflict(args) === undefined) {
        this.#replaceRange(args);
        this.#wake();
        return {};
      }
      if (!args.wait) throw new FsError(Errno.EAGAIN, 'memory');
      return new Promise((resolve, reject) => this.waiters.push({ args, resolve, reject }));
    },
    getLock: (args) => {
      const lock = this.#conflict(args);
      return lock === undefined
        ? { type: UNLOCK, start: 0, end: 0, pid: 0 }
        : { type: lock.type, start: lock.start, end: lock.end, pid: lock.pid };
    },
    dropLocks: ({ gfid, owner, kind }) => {
      for (const lock of this.locks.filter((l) => l.gfid === gfid && l.owner === owner && l.kind === kind))
        this.locks.splice(this.locks.indexOf(lock), 1);
      this.#wake();
      return {};
    },
    cancelLock: ({ gfid, owner }) => {
      for (const waiter of this.waiters.filter((w) => w.args.gfid === gfid && w.args.owner === owner)) {
        this.waiters.splice(this.waiters.indexOf(waiter), 1);
        waiter.reject(new FsError(Errno.EINTR, 'memory'));
      }
      return {};
    },
  };
}
