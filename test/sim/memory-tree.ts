/**
 * A volume's tree in memory: what a brick's directory holds, and what every change does to it. The simulator's store keeps two of them, what the
 * page cache shows and what the disk has.
 */
import { createHash } from 'node:crypto';
import { Errno, FsError } from '../../src/base/errno.js';
import { ROOT_GFID, type Gfid, type Name } from '../../src/base/ids.js';
import type { Time } from '../../src/base/time.js';
import type { Attr, DirEntry, InodeState } from '../../src/fops/fields.js';
import { isDirectory, isRegular, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, type Args } from '../../src/fops/ops.js';
import type { Child, Stamp, StoreOp } from '../../src/replica/store.js';

interface Inode {
  attr: Attr;
  data: Buffer;
  target: string | undefined;
  xattrs: Map<string, Uint8Array>;
  children: Map<Name, Gfid>;
  place: { parent: Gfid; name: Name } | undefined;
}

const ZERO: Time = { sec: 0, nsec: 0 };

export function fail(errno: number, op: string): never {
  throw new FsError(errno, op);
}

function newInode(gfid: Gfid, mode: number, uid: number, gid: number, time: Time): Inode {
  const attr: Attr = { gfid, mode, nlink: isDirectory(mode) ? 2 : 0, uid, gid, rdev: 0, size: 0, blocks: 0, atime: time, mtime: time, ctime: time };
  return { attr, data: Buffer.alloc(0), target: undefined, xattrs: new Map(), children: new Map(), place: undefined };
}

function cloneInode(inode: Inode): Inode {
  return { ...inode, attr: { ...inode.attr }, data: Buffer.from(inode.data), xattrs: new Map(inode.xattrs), children: new Map(inode.children) };
}

function cloneAll(inodes: ReadonlyMap<Gfid, Inode>): Map<Gfid, Inode> {
  return new Map([...inodes].map(([gfid, inode]) => [gfid, cloneInode(inode)]));
}

export class MemoryTree {
  #inodes = new Map<Gfid, Inode>([[ROOT_GFID, newInode(ROOT_GFID, S_IFDIR | 0o755, 0, 0, ZERO)]]);
  #aside = new Map<Gfid, Inode>();

  clone(): MemoryTree {
    const other = new MemoryTree();
    other.#inodes = cloneAll(this.#inodes);
    other.#aside = cloneAll(this.#aside);
    return other;
  }

  /** Everything, for comparing replicas. */
  dump(): string {
    const lines: string[] = [];
    const walk = (gfid: Gfid, path: string): void => {
      const inode = this.#get(gfid);
      const { mode, nlink, uid, gid, size, mtime, ctime } = inode.attr;
      const digest = createHash('sha1').update(inode.data).digest('hex');
      lines.push([path, gfid, mode, nlink, uid, gid, size, mtime.sec, mtime.nsec, ctime.sec, ctime.nsec, digest, inode.target ?? '', JSON.stringify([...inode.xattrs].toSorted())].join(' '));
      for (const [name, child] of [...inode.children].toSorted(([a], [b]) => (a < b ? -1 : 1))) walk(child, `${path}/${name}`);
    };
    walk(ROOT_GFID, '');
    return lines.join('\n');
  }

  #get(gfid: Gfid): Inode {
    return this.#inodes.get(gfid) ?? fail(Errno.ESTALE, 'inode');
  }

  #dir(gfid: Gfid): Inode {
    const inode = this.#get(gfid);
    if (!isDirectory(inode.attr.mode)) fail(Errno.ENOTDIR, 'inode');
    return inode;
  }

  lookup(parent: Gfid, name: Name): Attr {
    const child = this.#dir(parent).children.get(name) ?? fail(Errno.ENOENT, 'lookup');
    return { ...this.#get(child).attr };
  }

  getattr(gfid: Gfid): Attr {
    return { ...this.#get(gfid).attr };
  }

  readlink(gfid: Gfid): string {
    return this.#get(gfid).target ?? fail(Errno.EINVAL, 'readlink');
  }

  readdir(gfid: Gfid, after: Name | '', limit: number, attributes: boolean): { entries: DirEntry[]; end: boolean } {
    const names = [...this.#dir(gfid).children.keys()].filter((name) => name > after).toSorted();
    const entries = names.slice(0, limit).map((name): DirEntry => {
      const attr = this.lookup(gfid, name);
      return { name, gfid: attr.gfid, type: attr.mode & S_IFMT, attr: attributes ? attr : undefined };
    });
    return { entries, end: names.length <= limit };
  }

  getxattr(gfid: Gfid, name: string): Uint8Array {
    return this.#get(gfid).xattrs.get(name) ?? fail(Errno.ENODATA, 'getxattr');
  }

  listxattr(gfid: Gfid): string[] {
    return [...this.#get(gfid).xattrs.keys()].toSorted();
  }

  read(gfid: Gfid, offset: number, size: number): Uint8Array {
    return Buffer.from(this.#get(gfid).data.subarray(offset, offset + size));
  }

  apply(op: StoreOp, args: unknown, stamp: Stamp): unknown {
    const { time } = stamp;
    switch (op) {
      case 'setattr': {
        const a = args as Args<'setattr'>;
        const { attr } = this.#get(a.gfid);
        if (a.size !== undefined) this.#resize(a.gfid, a.size);
        if (a.mode !== undefined) attr.mode = (attr.mode & S_IFMT) | (a.mode & 0o7777);
        if (a.uid !== undefined) attr.uid = a.uid;
        if (a.gid !== undefined) attr.gid = a.gid;
        if (a.mtime !== undefined) attr.mtime = a.mtime;
        if (a.mtimeNow || a.size !== undefined) attr.mtime = time;
        attr.ctime = time;
        return { attr: { ...attr } };
      }
      case 'create':
      case 'mknod':
      case 'mkdir':
      case 'symlink': {
        const a = args as Args<'create'> & { target?: string };
        const type = op === 'mkdir' ? S_IFDIR : op === 'symlink' ? S_IFLNK : S_IFREG;
        const attr = this.#make(a.parent, a.name, type | ((a.mode ?? 0o777) & 0o7777), a.uid, a.gid, stamp, a.target);
        return op === 'create' ? { attr, created: true } : { attr };
      }
      case 'tmpfile': {
        const a = args as Args<'tmpfile'>;
        const inode = newInode(stamp.gfid, S_IFREG | (a.mode & 0o7777), a.uid, a.gid, time);
        this.#inodes.set(stamp.gfid, inode);
        return { attr: { ...inode.attr } };
      }
      case 'unlink':
      case 'rmdir': {
        const a = args as Args<'unlink'>;
        const parent = this.#dir(a.parent);
        const gfid = parent.children.get(a.name) ?? fail(Errno.ENOENT, op);
        const inode = this.#get(gfid);
        if (op === 'unlink' && isDirectory(inode.attr.mode)) fail(Errno.EISDIR, op);
        if (op === 'rmdir' && !isDirectory(inode.attr.mode)) fail(Errno.ENOTDIR, op);
        if (op === 'rmdir' && inode.children.size > 0) fail(Errno.ENOTEMPTY, op);
        parent.children.delete(a.name);
        this.#touchParent(a.parent, time);
        this.#unlinked(gfid, stamp, a.parent);
        return {};
      }
      case 'rename':
        return this.#rename(args as Args<'rename'>, stamp);
      case 'link': {
        const a = args as Args<'link'>;
        const inode = this.#get(a.gfid);
        const parent = this.#dir(a.newParent);
        if (isDirectory(inode.attr.mode)) fail(Errno.EPERM, op);
        if (parent.children.has(a.newName)) fail(Errno.EEXIST, op);
        parent.children.set(a.newName, a.gfid);
        inode.attr.nlink++;
        inode.attr.ctime = time;
        this.#touchParent(a.newParent, time);
        return { attr: { ...inode.attr } };
      }
      case 'write': {
        const a = args as Args<'write'>;
        const inode = this.#get(a.gfid);
        if (!isRegular(inode.attr.mode)) fail(Errno.EINVAL, op);
        if (inode.data.length < a.offset + a.data.byteLength) this.#resize(a.gfid, a.offset + a.data.byteLength);
        Buffer.from(a.data).copy(inode.data, a.offset);
        inode.attr.mtime = inode.attr.ctime = time;
        return { offset: a.offset, attr: { ...inode.attr } };
      }
      case 'setxattr': {
        const a = args as Args<'setxattr'>;
        const inode = this.#get(a.gfid);
        inode.xattrs.set(a.name, Buffer.from(a.value));
        inode.attr.ctime = time;
        return {};
      }
      case 'removexattr': {
        const a = args as Args<'removexattr'>;
        const inode = this.#get(a.gfid);
        if (!inode.xattrs.delete(a.name)) fail(Errno.ENODATA, op);
        inode.attr.ctime = time;
        return {};
      }
      default:
        return fail(Errno.EOPNOTSUPP, op);
    }
  }

  #make(parent: Gfid, name: Name, mode: number, uid: number, gid: number, stamp: Stamp, target: string | undefined): Attr {
    const dir = this.#dir(parent);
    if (dir.children.has(name)) fail(Errno.EEXIST, 'make');
    const inode = newInode(stamp.gfid, mode, uid, gid, stamp.time);
    inode.target = target;
    if (isDirectory(mode)) {
      inode.place = { parent, name };
      dir.attr.nlink++;
    } else inode.attr.nlink = 1;
    this.#inodes.set(stamp.gfid, inode);
    dir.children.set(name, stamp.gfid);
    this.#touchParent(parent, stamp.time);
    return { ...inode.attr };
  }

  #rename(a: Args<'rename'>, stamp: Stamp): unknown {
    const from = this.#dir(a.parent);
    const to = this.#dir(a.newParent);
    const gfid = from.children.get(a.name) ?? fail(Errno.ENOENT, 'rename');
    const inode = this.#get(gfid);
    const targetGfid = to.children.get(a.newName);
    if (a.flags !== 0) fail(Errno.EINVAL, 'rename');
    if (targetGfid === gfid) return {};
    for (let at: Gfid | undefined = a.newParent; at !== undefined; at = this.#get(at).place?.parent) if (at === gfid) fail(Errno.EINVAL, 'rename');
    if (targetGfid !== undefined) {
      const target = this.#get(targetGfid);
      if (isDirectory(target.attr.mode) && !isDirectory(inode.attr.mode)) fail(Errno.EISDIR, 'rename');
      if (!isDirectory(target.attr.mode) && isDirectory(inode.attr.mode)) fail(Errno.ENOTDIR, 'rename');
      if (target.children.size > 0) fail(Errno.ENOTEMPTY, 'rename');
    }
    from.children.delete(a.name);
    to.children.set(a.newName, gfid);
    if (isDirectory(inode.attr.mode)) {
      inode.place = { parent: a.newParent, name: a.newName };
      from.attr.nlink--;
      to.attr.nlink++;
    }
    inode.attr.ctime = stamp.time;
    this.#touchParent(a.parent, stamp.time);
    this.#touchParent(a.newParent, stamp.time);
    if (targetGfid !== undefined) this.#unlinked(targetGfid, stamp, a.newParent);
    return {};
  }

  #unlinked(gfid: Gfid, stamp: Stamp, parent: Gfid): void {
    const inode = this.#get(gfid);
    if (isDirectory(inode.attr.mode)) {
      this.#inodes.delete(gfid);
      this.#get(parent).attr.nlink--;
      return;
    }
    inode.attr.nlink--;
    inode.attr.ctime = stamp.time;
    if (inode.attr.nlink === 0 && stamp.purge) this.#inodes.delete(gfid);
  }

  #touchParent(gfid: Gfid, time: Time): void {
    const { attr } = this.#get(gfid);
    attr.mtime = attr.ctime = time;
  }

  /** Size and times of a write, zeros in place of its bytes: what a disk has that knows of the write and not its data. */
  grow(gfid: Gfid, size: number, time: Time | undefined): void {
    const { attr, data } = this.#get(gfid);
    if (data.length < size) this.#resize(gfid, size);
    if (time !== undefined) attr.mtime = attr.ctime = time;
  }

  /** The bytes of a file as they are, not a copy; undefined for anything else. */
  bytes(gfid: Gfid): Buffer | undefined {
    const inode = this.#inodes.get(gfid);
    return inode !== undefined && isRegular(inode.attr.mode) ? inode.data : undefined;
  }

  /** The directories that lead to the inode, and the inode. */
  lineage(gfid: Gfid): Set<Gfid> {
    const found = new Set([gfid]);
    const up = (from: Gfid): void => {
      for (let at: Gfid | undefined = from; at !== undefined && !found.has(at); at = this.#inodes.get(at)?.place?.parent) found.add(at);
    };
    for (const [parent, inode] of this.#inodes) if ([...inode.children.values()].includes(gfid)) up(parent);
    const place = this.#inodes.get(gfid)?.place;
    if (place !== undefined) up(place.parent);
    return found;
  }

  #resize(gfid: Gfid, size: number): void {
    const inode = this.#get(gfid);
    const data = Buffer.alloc(size);
    inode.data.copy(data);
    inode.data = data;
    inode.attr.size = size;
  }

  purge(gfid: Gfid): void {
    const inode = this.#inodes.get(gfid);
    if (inode !== undefined && inode.attr.nlink === 0) this.#inodes.delete(gfid);
  }

  orphans(): Gfid[] {
    return [...this.#inodes].filter(([, inode]) => inode.attr.nlink === 0).map(([gfid]) => gfid);
  }

  child(parent: Gfid, name: Name): Child | undefined {
    const gfid = this.#dir(parent).children.get(name);
    return gfid === undefined ? undefined : { gfid, type: this.#get(gfid).attr.mode & S_IFMT };
  }

  directoryPlace(gfid: Gfid): { parent: Gfid; name: Name } | undefined {
    return this.#inodes.get(gfid)?.place;
  }

  describe(gfid: Gfid): InodeState | undefined {
    const inode = this.#inodes.get(gfid);
    return inode === undefined ? undefined : { attr: { ...inode.attr }, target: inode.target, xattrs: [...inode.xattrs].toSorted(([a], [b]) => (a < b ? -1 : 1)) };
  }

  place(parent: Gfid, name: Name, child: Child | undefined, target?: string): boolean {
    const dir = this.#inodes.get(parent) ?? fail(Errno.ENOENT, 'place');
    const before = dir.children.get(name);
    if (before === child?.gfid) return false;
    if (before !== undefined) this.#takeAway(parent, name, before);
    if (child === undefined) return false;
    let inode = this.#inodes.get(child.gfid) ?? this.#aside.get(child.gfid);
    const created = inode === undefined;
    if (inode === undefined) {
      inode = newInode(child.gfid, child.type | 0o600, 0, 0, ZERO);
      inode.target = target;
    }
    this.#aside.delete(child.gfid);
    this.#inodes.set(child.gfid, inode);
    if (child.type === S_IFDIR) {
      if (inode.place !== undefined && this.#inodes.get(inode.place.parent)?.children.get(inode.place.name) === child.gfid) {
        this.#get(inode.place.parent).children.delete(inode.place.name);
        this.#get(inode.place.parent).attr.nlink--;
      }
      inode.place = { parent, name };
      dir.attr.nlink++;
    } else inode.attr.nlink++;
    dir.children.set(name, child.gfid);
    return created;
  }

  #takeAway(parent: Gfid, name: Name, gfid: Gfid): void {
    const inode = this.#get(gfid);
    this.#get(parent).children.delete(name);
    if (!isDirectory(inode.attr.mode)) {
      inode.attr.nlink--;
      return;
    }
    this.#get(parent).attr.nlink--;
    inode.place = undefined;
    this.#inodes.delete(gfid);
    this.#aside.set(gfid, inode);
  }

  putInode(state: InodeState): boolean {
    const { gfid, mode } = state.attr;
    let inode = this.#inodes.get(gfid) ?? this.#aside.get(gfid);
    const created = inode === undefined;
    if (inode === undefined) {
      if (isDirectory(mode)) fail(Errno.ENOENT, 'putInode');
      inode = newInode(gfid, mode, 0, 0, ZERO);
      this.#inodes.set(gfid, inode);
    }
    const { nlink } = inode.attr;
    if (isRegular(mode) && inode.data.length !== state.attr.size) {
      const data = Buffer.alloc(state.attr.size);
      inode.data.copy(data);
      inode.data = data;
    }
    inode.attr = { ...state.attr, nlink };
    inode.target = state.target;
    inode.xattrs = new Map(state.xattrs);
    return created;
  }

  patch(gfid: Gfid, offset: number, data: Uint8Array): void {
    const inode = this.#get(gfid);
    if (inode.data.length < offset + data.byteLength) this.#resize(gfid, offset + data.byteLength);
    Buffer.from(data).copy(inode.data, offset);
  }

  punch(gfid: Gfid, offset: number, length: number): void {
    const { data } = this.#get(gfid);
    // Behind the end there is nothing to remove, as on a disk.
    data.fill(0, Math.min(offset, data.length), Math.min(offset + length, data.length));
  }

  forget(gfid: Gfid): void {
    const inode = this.#inodes.get(gfid);
    if (inode !== undefined && !isDirectory(inode.attr.mode) && inode.attr.nlink === 0) this.#inodes.delete(gfid);
  }

  asides(): Gfid[] {
    return [...this.#aside.keys()];
  }

  clearAside(): void {
    this.#aside.clear();
  }
}
