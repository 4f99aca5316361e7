/**
 * A store in memory with the semantics of a journalling file system that lost power: `crash()` goes back to what was synced. For the simulator.
 */
import { createHash } from 'node:crypto';
import { Errno, FsError } from '../../src/base/errno.js';
import { ROOT_GFID, type Gfid, type Name } from '../../src/base/ids.js';
import type { Time } from '../../src/base/time.js';
import type { Attr, DirEntry, InodeState } from '../../src/fops/fields.js';
import {
  isDirectory, isRegular, REGION_BYTES, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, SEEK_DATA,
  type Args, type Result,
} from '../../src/fops/ops.js';
import { BLOCK_BYTES, DIGEST_BYTES, type BrickMeta, type Child, type JournalDisk, type Stamp, type Store, type StoreOp } from '../../src/replica/store.js';

interface Inode {
  attr: Attr;
  data: Buffer;
  target: string | undefined;
  xattrs: Map<string, Uint8Array>;
  children: Map<Name, Gfid>;
  place: { parent: Gfid; name: Name } | undefined;
}

const ZERO: Time = { sec: 0, nsec: 0 };

function fail(errno: number, op: string): never {
  throw new FsError(errno, op);
}

function newInode(gfid: Gfid, mode: number, uid: number, gid: number, time: Time): Inode {
  const attr: Attr = { gfid, mode, nlink: isDirectory(mode) ? 2 : 0, uid, gid, rdev: 0, size: 0, blocks: 0, atime: time, mtime: time, ctime: time };
  return { attr, data: Buffer.alloc(0), target: undefined, xattrs: new Map(), children: new Map(), place: undefined };
}

function cloneInode(inode: Inode): Inode {
  return { ...inode, attr: { ...inode.attr }, data: Buffer.from(inode.data), xattrs: new Map(inode.xattrs), children: new Map(inode.children) };
}

export class MemoryStore implements Store {
  #inodes = new Map<Gfid, Inode>();
  #durable = new Map<Gfid, Inode>();
  #aside = new Map<Gfid, Inode>();
  /** Called before every change with a label; may throw an FsError, or a crash. */
  onChange: (label: string) => void = () => undefined;

  constructor() {
    this.#inodes.set(ROOT_GFID, newInode(ROOT_GFID, S_IFDIR | 0o755, 0, 0, ZERO));
    this.#persist();
  }

  /** Power is lost: what was not synced is gone. */
  crash(): void {
    this.#inodes = new Map([...this.#durable].map(([gfid, inode]) => [gfid, cloneInode(inode)]));
    this.#aside = new Map();
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

  #persist(): void {
    this.#durable = new Map([...this.#inodes].map(([gfid, inode]) => [gfid, cloneInode(inode)]));
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

  statfs(): Result<'statfs'> {
    return { blockSize: 4096, blocks: 1e6, blocksFree: 1e6, blocksAvailable: 1e6, files: 1e6, filesFree: 1e6, nameMax: 255 };
  }

  getxattr(gfid: Gfid, name: string): Uint8Array {
    return this.#get(gfid).xattrs.get(name) ?? fail(Errno.ENODATA, 'getxattr');
  }

  listxattr(gfid: Gfid): string[] {
    return [...this.#get(gfid).xattrs.keys()].toSorted();
  }

  lseek(gfid: Gfid, offset: number, whence: number): number {
    const { size } = this.#get(gfid).attr;
    if (offset >= size) fail(Errno.ENXIO, 'lseek');
    return whence === SEEK_DATA ? offset : size;
  }

  read(gfid: Gfid, offset: number, size: number): Uint8Array {
    return Buffer.from(this.#get(gfid).data.subarray(offset, offset + size));
  }

  apply<K extends StoreOp>(op: K, args: Args<K>, stamp: Stamp): Result<K> {
    this.onChange(op);
    return this.#apply(op, args, stamp) as Result<K>;
  }

  #apply(op: StoreOp, args: unknown, stamp: Stamp): unknown {
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

  async fsync(gfid: Gfid): Promise<void> {
    this.#get(gfid);
    this.onChange('fsync');
    this.#persist();
  }

  async sync(): Promise<void> {
    this.onChange('sync');
    this.#persist();
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

  digests(gfid: Gfid, region: number): Uint8Array {
    const { data } = this.#get(gfid);
    const parts: Buffer[] = [];
    for (let at = region * REGION_BYTES; at < Math.min(data.length, (region + 1) * REGION_BYTES); at += BLOCK_BYTES) {
      const block = data.subarray(at, at + BLOCK_BYTES);
      parts.push(block.every((byte) => byte === 0) ? Buffer.alloc(DIGEST_BYTES) : createHash('md5').update(block).digest());
    }
    return Buffer.concat(parts);
  }

  dataRanges(gfid: Gfid, region: number): [number, number][] {
    const { size } = this.#get(gfid).attr;
    const start = region * REGION_BYTES;
    return size <= start ? [] : [[start, Math.min(size - start, REGION_BYTES)]];
  }

  place(parent: Gfid, name: Name, child: Child | undefined, target?: string): boolean {
    this.onChange('place');
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
    this.onChange('putInode');
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
    this.onChange('patch');
    const inode = this.#get(gfid);
    if (inode.data.length < offset + data.byteLength) this.#resize(gfid, offset + data.byteLength);
    Buffer.from(data).copy(inode.data, offset);
  }

  punch(gfid: Gfid, offset: number, length: number): void {
    this.onChange('punch');
    this.#get(gfid).data.fill(0, offset, offset + length);
  }

  forget(gfid: Gfid): void {
    const inode = this.#inodes.get(gfid);
    if (inode !== undefined && !isDirectory(inode.attr.mode) && inode.attr.nlink === 0) this.#inodes.delete(gfid);
  }

  clearAside(): void {
    this.#aside.clear();
  }

  dropCaches(): void {}

  close(): void {}
}

export class MemoryJournalDisk implements JournalDisk {
  #meta: BrickMeta;
  #sessions: Uint8Array = new Uint8Array();
  readonly #generations = new Map<number, Buffer>([[0, Buffer.alloc(0)]]);

  constructor(meta: BrickMeta) {
    this.#meta = meta;
  }

  writeMeta(meta: BrickMeta): void {
    this.#meta = { ...meta };
  }

  readMeta(): BrickMeta {
    return { ...this.#meta };
  }

  writeSessions(table: Uint8Array): void {
    this.#sessions = Buffer.from(table);
  }

  readSessions(): Uint8Array {
    return this.#sessions;
  }

  generations(): number[] {
    return [...this.#generations.keys()].toSorted((a, b) => a - b);
  }

  append(generation: number, record: Uint8Array): void {
    this.#generations.set(generation, Buffer.concat([this.#generations.get(generation) ?? Buffer.alloc(0), record]));
  }

  readGeneration(generation: number): Uint8Array {
    return this.#generations.get(generation) ?? Buffer.alloc(0);
  }

  replaceGeneration(generation: number, records: Uint8Array): void {
    this.#generations.set(generation, Buffer.from(records));
  }

  dropGeneration(generation: number): void {
    this.#generations.delete(generation);
  }
}
