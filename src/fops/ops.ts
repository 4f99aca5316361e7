/**
 * The vocabulary of file operations: one table that feeds the interface `Fops`, the wire codec, the brick's dispatch and
 * the simulator. Sizes and offsets are bytes. A failure is an FsError with the errno that Linux documents for the system
 * call, or a LostError where the outcome is unknown.
 */
import { HELD_LOCK, heldLocks } from './held-lock.js';
import { f, optional, type Fields, type Values } from './fields.js';

export interface OpSpec<A extends Fields = Fields, R extends Fields = Fields> {
  readonly code: number;
  readonly args: A;
  readonly result: R;
  /** Changes the volume: goes through the primary's order, is replicated, carries a request number. */
  readonly mutation: boolean;
}

function read<A extends Fields, R extends Fields>(code: number, args: A, result: R) {
  return { code, args, result, mutation: false as const };
}

function mutation<A extends Fields, R extends Fields>(code: number, args: A, result: R) {
  return { code, args, result, mutation: true as const };
}

const owner = { uid: f.u32, gid: f.u32 };

export const OPS = {
  /** ENOENT where the name does not exist. `name` '..' is never sent. */
  lookup: read(1, { parent: f.gfid, name: f.name }, { attr: f.attr }),
  getattr: read(2, { gfid: f.gfid }, { attr: f.attr }),
  /**
   * Changes what is given and leaves the rest. `atimeNow`/`mtimeNow` take the primary's time. `size` truncates or extends.
   * `killPriv` clears setuid and (group-executable) setgid, and security.capability. ctime always becomes now.
   */
  setattr: mutation(
    3,
    {
      gfid: f.gfid,
      mode: optional(f.u32),
      uid: optional(f.u32),
      gid: optional(f.u32),
      size: optional(f.size),
      atime: optional(f.time),
      mtime: optional(f.time),
      atimeNow: f.flag,
      mtimeNow: f.flag,
      killPriv: f.flag,
    },
    { attr: f.attr },
  ),
  readlink: read(4, { gfid: f.gfid }, { target: f.target }),
  symlink: mutation(5, { parent: f.gfid, name: f.name, target: f.target, ...owner }, { attr: f.attr }),
  /** Regular files, FIFOs, sockets and devices; `mode` has type and permission bits after the umask. */
  mknod: mutation(6, { parent: f.gfid, name: f.name, mode: f.u32, rdev: f.u32, ...owner }, { attr: f.attr }),
  mkdir: mutation(7, { parent: f.gfid, name: f.name, mode: f.u32, ...owner }, { attr: f.attr }),
  unlink: mutation(8, { parent: f.gfid, name: f.name }, {}),
  rmdir: mutation(9, { parent: f.gfid, name: f.name }, {}),
  /** `flags`: 0, RENAME_NOREPLACE (1) or RENAME_EXCHANGE (2). */
  rename: mutation(10, { parent: f.gfid, name: f.name, newParent: f.gfid, newName: f.name, flags: f.u32 }, {}),
  link: mutation(11, { gfid: f.gfid, newParent: f.gfid, newName: f.name }, { attr: f.attr }),
  /**
   * Takes part in keeping an unlinked file alive: the primary counts opens per session until `release`.
   * `truncate` is O_TRUNC. ESTALE where the inode is gone.
   */
  open: mutation(12, { gfid: f.gfid, truncate: f.flag, killPriv: f.flag }, { attr: f.attr }),
  /** Creates and opens; EEXIST where the name exists and `exclusive`, otherwise opens what exists (`created` false). */
  create: mutation(
    13,
    { parent: f.gfid, name: f.name, mode: f.u32, exclusive: f.flag, truncate: f.flag, ...owner },
    { attr: f.attr, created: f.flag },
  ),
  /** An unnamed open file (O_TMPFILE); `link` gives it a name. */
  tmpfile: mutation(14, { parent: f.gfid, mode: f.u32, ...owner }, { attr: f.attr }),
  release: mutation(15, { gfid: f.gfid }, {}),
  /** Up to 1 MiB; shorter only at end of file. */
  read: read(16, { gfid: f.gfid, offset: f.size, size: f.u32 }, { data: f.data }),
  /** All or nothing. `append` writes at end of file; `offset` in the result is where the data went. `sync` is O_DSYNC: durable on return. */
  write: mutation(
    17,
    { gfid: f.gfid, offset: f.size, append: f.flag, sync: f.flag, killPriv: f.flag, data: f.data },
    { offset: f.size, attr: optional(f.attr) },
  ),
  /** Everything acknowledged for this inode before the call is on stable storage on return, with the names that lead to it. */
  fsync: mutation(18, { gfid: f.gfid, dataOnly: f.flag }, {}),
  /**
   * Names in byte order after `after` ('' from the start), at most `limit`; without `.` and `..`. Names that exist during the whole
   * scan appear exactly once, also across a failover. `attributes` asks for attrs (readdirplus).
   */
  readdir: read(19, { gfid: f.gfid, after: f.nameOrNone, limit: f.u32, attributes: f.flag }, { entries: f.entries, end: f.flag }),
  statfs: read(
    20,
    {},
    { blockSize: f.size, blocks: f.size, blocksFree: f.size, blocksAvailable: f.size, files: f.size, filesFree: f.size, nameMax: f.u32 },
  ),
  /** `flags`: 0, XATTR_CREATE (1), XATTR_REPLACE (2). */
  setxattr: mutation(21, { gfid: f.gfid, name: f.xattrName, value: f.bytes, flags: f.u32 }, {}),
  /** ENODATA where it does not exist. */
  getxattr: read(22, { gfid: f.gfid, name: f.xattrName }, { value: f.bytes }),
  listxattr: read(23, { gfid: f.gfid }, { names: f.xattrNames }),
  removexattr: mutation(24, { gfid: f.gfid, name: f.xattrName }, {}),
  /** `mode`: FALLOC_FL bits KEEP_SIZE (1), PUNCH_HOLE (2), ZERO_RANGE (16). */
  fallocate: mutation(25, { gfid: f.gfid, offset: f.size, length: f.size, mode: f.u32 }, { attr: f.attr }),
  /** `whence`: SEEK_DATA (3) or SEEK_HOLE (4). ENXIO past the end. */
  lseek: read(26, { gfid: f.gfid, offset: f.size, whence: f.u32 }, { offset: f.size }),
  /** Copies on the brick, by reflink where the disk can. May copy less than asked; 0 at end of source. */
  copyFileRange: mutation(
    27,
    { source: f.gfid, sourceOffset: f.size, target: f.gfid, targetOffset: f.size, length: f.size },
    { copied: f.size, attr: f.attr },
  ),
  /**
   * Byte range lock. `kind`: 0 POSIX/OFD, 1 flock. `type`: 0 read, 1 write, 2 unlock. `end` is inclusive; 2^53 - 1 means end of file.
   * `owner` is unique within the session. EAGAIN on conflict unless `wait`, EDEADLK where waiting would close a cycle, EINTR
   * when `cancelLock` ended the wait, ENOLCK at the limit. `granted`: what
   * the client gave and removed itself on the inode, in this order, under a lock lease, and its programs go by (then the rest counts for nothing).
   * `leased`: from the primary to the other bricks, see replica/lock-leases.ts.
   */
  setLock: mutation(28, { ...HELD_LOCK, wait: f.flag, granted: optional(heldLocks), leased: optional(f.size) }, {}),
  /** The first conflicting lock; `type` 2 (unlock) where there is none. */
  getLock: read(
    29,
    { gfid: f.gfid, owner: f.token, kind: f.u32, type: f.u32, start: f.size, end: f.size },
    { type: f.u32, start: f.size, end: f.size, pid: f.u32 },
  ),
  /** Drops all locks of one owner on one inode (close, release). */
  dropLocks: mutation(30, { gfid: f.gfid, owner: f.token, kind: f.u32 }, {}),
  /** Ends this session's waiting `setLock` of that owner with EINTR, if it waits still. */
  cancelLock: read(31, { gfid: f.gfid, owner: f.token }, {}),
} satisfies Record<string, OpSpec>;

export type OpName = keyof typeof OPS;
export type Args<K extends OpName> = Values<(typeof OPS)[K]['args']>;
export type Result<K extends OpName> = Values<(typeof OPS)[K]['result']>;

/**
 * File operations on one volume. Implemented by the client (over bricks), by a single store, and by the simulator's clients.
 *
 * `requestNumber` makes a mutation exactly-once across a crash of the caller: a caller that repeats a mutation with the number it
 * used before gets the first answer. Numbers are positive, grow with time, and are either given for every mutation of a session or
 * for none (then the implementation numbers them itself).
 */
export type Fops = { [K in OpName]: (args: Args<K>, requestNumber?: number) => Promise<Result<K>> };

export type MutationName = { [K in OpName]: (typeof OPS)[K]['mutation'] extends true ? K : never }[OpName];

export const OP_NAMES = Object.keys(OPS) as OpName[];

const BY_CODE = new Map<number, OpName>(OP_NAMES.map((name) => [OPS[name].code, name]));

export function opByCode(code: unknown): OpName | undefined {
  return typeof code === 'number' ? BY_CODE.get(code) : undefined;
}

export const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
export const S_IFIFO = 0o010000;
export const S_IFCHR = 0o020000;
export const S_IFBLK = 0o060000;
export const S_IFSOCK = 0o140000;

export function isDirectory(mode: number): boolean {
  return (mode & S_IFMT) === S_IFDIR;
}
export function isRegular(mode: number): boolean {
  return (mode & S_IFMT) === S_IFREG;
}
export function isSymlink(mode: number): boolean {
  return (mode & S_IFMT) === S_IFLNK;
}

/** Largest data of one read or write. */
export const DATA_BYTES_MAX = 1 << 20;
/** Unit of the change journal's data keys. */
export const REGION_BYTES = 1 << 20;

export const FALLOC_KEEP_SIZE = 1;
export const FALLOC_PUNCH_HOLE = 2;
export const FALLOC_ZERO_RANGE = 16;
export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
export const XATTR_CREATE = 1;
export const XATTR_REPLACE = 2;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;
/** Inclusive end of a lock that reaches to the end of the file. */
export const LOCK_END_MAX = Number.MAX_SAFE_INTEGER;
