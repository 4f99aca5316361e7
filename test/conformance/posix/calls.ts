/**
 * System calls as the test programs make them, by koffi: nothing of Node's own file layer is in between. Paths and data are byte strings (one character a byte).
 */
import { closeSync, opendirSync, type Dir } from 'node:fs';
import koffi from 'koffi';
import { contentPattern } from './pattern.js';

const libc = koffi.load('libc.so.6');

export class CallError extends Error {
  constructor(readonly errno: number) {
    super(`errno ${errno}`);
  }
}

type Native = (...args: unknown[]) => number | bigint;

/** Declares a libc function whose negative result means errno. */
function native(declaration: string): (...args: unknown[]) => number {
  const fn = libc.func(declaration) as unknown as Native;
  return (...args) => {
    const result = Number(fn(...args));
    if (result < 0) throw new CallError(koffi.errno());
    return result;
  };
}

/** The system calls as they are; a failure is thrown as CallError. */
export const c = {
  open: native('int open(void *, int, unsigned int)'),
  read: native('int64_t read(int, void *, size_t)'),
  pread: native('int64_t pread(int, void *, size_t, int64_t)'),
  write: native('int64_t write(int, void *, size_t)'),
  pwrite: native('int64_t pwrite(int, void *, size_t, int64_t)'),
  lseek: native('int64_t lseek(int, int64_t, int)'),
  ftruncate: native('int ftruncate(int, int64_t)'),
  truncate: native('int truncate(void *, int64_t)'),
  fallocate: native('int fallocate(int, int, int64_t, int64_t)'),
  fsync: native('int fsync(int)'),
  fdatasync: native('int fdatasync(int)'),
  statx: native('int statx(int, void *, int, unsigned int, void *)'),
  mkdir: native('int mkdir(void *, unsigned int)'),
  rmdir: native('int rmdir(void *)'),
  unlink: native('int unlink(void *)'),
  renameat2: native('int renameat2(int, void *, int, void *, unsigned int)'),
  linkat: native('int linkat(int, void *, int, void *, int)'),
  symlink: native('int symlink(void *, void *)'),
  readlink: native('int64_t readlink(void *, void *, size_t)'),
  mknod: native('int mknod(void *, unsigned int, uint64_t)'),
  chmod: native('int chmod(void *, unsigned int)'),
  lchown: native('int lchown(void *, unsigned int, unsigned int)'),
  utimensat: native('int utimensat(int, void *, void *, int)'),
  lsetxattr: native('int lsetxattr(void *, void *, void *, size_t, int)'),
  lgetxattr: native('int64_t lgetxattr(void *, void *, void *, size_t)'),
  llistxattr: native('int64_t llistxattr(void *, void *, size_t)'),
  lremovexattr: native('int lremovexattr(void *, void *)'),
  fcntl: native('int fcntl(int, int, void *)'),
  fcntlNumber: native('int fcntl(int, int, uint64_t)'),
  flock: native('int flock(int, int)'),
  copyFileRange: native('int64_t copy_file_range(int, void *, int, void *, size_t, unsigned int)'),
  dup: native('int dup(int)'),
  statfs: native('int statfs(void *, void *)'),
  msync: native('int msync(void *, size_t, int)'),
  munmap: native('int munmap(void *, size_t)'),
};
const mmap = libc.func('void *mmap(void *, size_t, int, int, int, int64_t)');

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_EMPTY_PATH = 0x1000;
const AT_SYMLINK_FOLLOW = 0x400;
const STATX_BASIC_STATS = 0x7ff;
const PAGE = 4096;

function text(value: string): Buffer {
  return Buffer.from(`${value}\0`, 'latin1');
}

function bytes(value: string): Buffer {
  return Buffer.from(value, 'latin1');
}

export interface StatAnswer {
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  ino: string;
  size: number;
  blocks: number;
  major: number;
  minor: number;
  /** Nanoseconds since the epoch, in decimal. */
  atime: string;
  mtime: string;
  ctime: string;
}

function statOf(fd: number, path: string, flags: number): StatAnswer {
  const b = Buffer.alloc(256);
  c.statx(fd, text(path), flags, STATX_BASIC_STATS, b);
  const time = (at: number): string => (b.readBigInt64LE(at) * 1_000_000_000n + BigInt(b.readUInt32LE(at + 8))).toString();
  return {
    nlink: b.readUInt32LE(16), uid: b.readUInt32LE(20), gid: b.readUInt32LE(24), mode: b.readUInt16LE(28),
    ino: b.readBigUInt64LE(32).toString(), size: Number(b.readBigUInt64LE(40)), blocks: Number(b.readBigUInt64LE(48)),
    atime: time(64), ctime: time(96), mtime: time(112), major: b.readUInt32LE(128), minor: b.readUInt32LE(132),
  };
}

/** Seconds and nanoseconds; null leaves the time, 'now' takes the present. */
export type TimeArgument = [number, number] | 'now' | null;

function timespec(into: Buffer, at: number, time: TimeArgument): void {
  const [sec, nsec] = time === null ? [0, 0x3ffffffe] : time === 'now' ? [0, 0x3fffffff] : time;
  into.writeBigInt64LE(BigInt(sec), at);
  into.writeBigInt64LE(BigInt(nsec), at + 8);
}

export interface LockAnswer {
  type: number;
  start: number;
  length: number;
  pid: number;
}

/** struct flock of 64-bit Linux: i16 type, i16 whence, i64 start, i64 length, i32 pid. */
function lockCall(fd: number, command: number, type: number, start: number, length: number): LockAnswer {
  const b = Buffer.alloc(32);
  b.writeInt16LE(type, 0);
  b.writeBigInt64LE(BigInt(start), 8);
  b.writeBigInt64LE(BigInt(length), 16);
  c.fcntl(fd, command, b);
  return { type: b.readInt16LE(0), start: Number(b.readBigInt64LE(8)), length: Number(b.readBigInt64LE(16)), pid: b.readInt32LE(24) };
}

export function aligned(size: number): Buffer {
  const whole = Buffer.allocUnsafeSlow(size + PAGE);
  const address = Number(koffi.address(whole));
  const skip = (PAGE - (address % PAGE)) % PAGE;
  return whole.subarray(skip, skip + size);
}

const directories = new Map<number, Dir>();
const descriptors = new Set<number>();

function opened(fd: number): number {
  descriptors.add(fd);
  return fd;
}
let directoryCount = 0;

export const calls = {
  open: (path: string, flags: number, mode = 0o644) => opened(c.open(text(path), flags, mode)),
  close: (fd: number) => {
    descriptors.delete(fd);
    closeSync(fd);
  },
  dup: (fd: number) => opened(c.dup(fd)),
  read: (fd: number, size: number) => {
    const b = Buffer.alloc(size);
    return b.toString('latin1', 0, c.read(fd, b, size));
  },
  pread: (fd: number, size: number, offset: number) => {
    const b = Buffer.alloc(size);
    return b.toString('latin1', 0, c.pread(fd, b, size, offset));
  },
  write: (fd: number, data: string) => c.write(fd, bytes(data), data.length),
  pwrite: (fd: number, data: string, offset: number) => c.pwrite(fd, bytes(data), data.length, offset),
  /** Writes of one pattern, aligned for O_DIRECT. */
  fill: (fd: number, offset: number, size: number, seed: number) => {
    const b = aligned(size);
    contentPattern(b, offset, seed);
    return c.pwrite(fd, b, size, offset);
  },
  /** First offset at which the file does not hold the pattern, -1 where it does. */
  check: (fd: number, offset: number, size: number, seed: number) => {
    const [b, wanted] = [aligned(size), Buffer.alloc(size)];
    const got = c.pread(fd, b, size, offset);
    contentPattern(wanted, offset, seed);
    for (let i = 0; i < size; i++) if (i >= got || b[i] !== wanted[i]) return offset + i;
    return -1;
  },
  lseek: (fd: number, offset: number, whence: number) => c.lseek(fd, offset, whence),
  ftruncate: (fd: number, size: number) => c.ftruncate(fd, size),
  truncate: (path: string, size: number) => c.truncate(text(path), size),
  fallocate: (fd: number, mode: number, offset: number, length: number) => c.fallocate(fd, mode, offset, length),
  fsync: (fd: number) => c.fsync(fd),
  fdatasync: (fd: number) => c.fdatasync(fd),
  fstat: (fd: number) => statOf(fd, '', AT_EMPTY_PATH),
  lstat: (path: string) => statOf(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW),
  stat: (path: string) => statOf(AT_FDCWD, path, 0),
  mkdir: (path: string, mode = 0o755) => c.mkdir(text(path), mode),
  rmdir: (path: string) => c.rmdir(text(path)),
  unlink: (path: string) => c.unlink(text(path)),
  rename: (from: string, to: string, flags = 0) => c.renameat2(AT_FDCWD, text(from), AT_FDCWD, text(to), flags),
  link: (from: string, to: string) => c.linkat(AT_FDCWD, text(from), AT_FDCWD, text(to), 0),
  linkOpen: (fd: number, to: string) => c.linkat(AT_FDCWD, text(`/proc/self/fd/${fd}`), AT_FDCWD, text(to), AT_SYMLINK_FOLLOW),
  symlink: (target: string, path: string) => c.symlink(text(target), text(path)),
  readlink: (path: string) => {
    const b = Buffer.alloc(8192);
    return b.toString('latin1', 0, c.readlink(text(path), b, b.length));
  },
  mknod: (path: string, mode: number, device = 0) => c.mknod(text(path), mode, device),
  chmod: (path: string, mode: number) => c.chmod(text(path), mode),
  lchown: (path: string, uid: number, gid: number) => c.lchown(text(path), uid, gid),
  utimens: (path: string, atime: TimeArgument, mtime: TimeArgument) => {
    const b = Buffer.alloc(32);
    timespec(b, 0, atime);
    timespec(b, 16, mtime);
    return c.utimensat(AT_FDCWD, text(path), b, AT_SYMLINK_NOFOLLOW);
  },
  setxattr: (path: string, name: string, value: string, flags = 0) => c.lsetxattr(text(path), text(name), bytes(value), value.length, flags),
  getxattr: (path: string, name: string) => {
    const b = Buffer.alloc(65_536);
    return b.toString('latin1', 0, c.lgetxattr(text(path), text(name), b, b.length));
  },
  listxattr: (path: string) => {
    const b = Buffer.alloc(65_536);
    return b.toString('latin1', 0, c.llistxattr(text(path), b, b.length)).split('\0').slice(0, -1).sort();
  },
  removexattr: (path: string, name: string) => c.lremovexattr(text(path), text(name)),
  fcntlLock: lockCall,
  fcntl: (fd: number, command: number, value: number) => c.fcntlNumber(fd, command, value),
  flock: (fd: number, operation: number) => c.flock(fd, operation),
  copyFileRange: (from: number, fromAt: number, to: number, toAt: number, length: number) => {
    const [a, b] = [Buffer.alloc(8), Buffer.alloc(8)];
    a.writeBigInt64LE(BigInt(fromAt));
    b.writeBigInt64LE(BigInt(toAt));
    return c.copyFileRange(from, a, to, b, length, 0);
  },
  /** Writes through a shared mapping and msync. */
  mapWrite: (fd: number, offset: number, data: string) => {
    const page = offset - (offset % PAGE);
    const size = offset - page + data.length;
    const map = mmap(null, size, 3, 1, fd, page) as unknown;
    if (koffi.address(map as never) === 0xffff_ffff_ffff_ffffn) throw new CallError(koffi.errno());
    const b = Buffer.from(koffi.view(map as never, size) as ArrayBuffer);
    bytes(data).copy(b, offset - page);
    try {
      c.msync(map, size, 4);
    } finally {
      c.munmap(map, size);
    }
    return data.length;
  },
  /** Reads through a shared mapping that is made now. */
  mapRead: (fd: number, offset: number, length: number) => {
    const page = offset - (offset % PAGE);
    const size = offset - page + length;
    const map = mmap(null, size, 1, 1, fd, page) as unknown;
    if (koffi.address(map as never) === 0xffff_ffff_ffff_ffffn) throw new CallError(koffi.errno());
    try {
      return Buffer.from(koffi.view(map as never, size) as ArrayBuffer).toString('latin1', offset - page);
    } finally {
      c.munmap(map, size);
    }
  },
  readdir: (path: string) => {
    const dir = opendirSync(path, { encoding: 'latin1' as BufferEncoding });
    const names: string[] = [];
    for (let entry = dir.readSync(); entry !== null; entry = dir.readSync()) names.push(entry.name);
    dir.closeSync();
    return names.sort();
  },
  dirOpen: (path: string) => {
    directories.set(++directoryCount, opendirSync(path, { encoding: 'latin1' as BufferEncoding, bufferSize: 8 }));
    return directoryCount;
  },
  /** Up to `count` further names; fewer at the end. */
  dirNext: (id: number, count: number) => {
    const names: string[] = [];
    while (names.length < count) {
      const entry = directories.get(id)?.readSync() ?? null;
      if (entry === null) break;
      names.push(entry.name);
    }
    return names;
  },
  dirClose: (id: number) => {
    directories.get(id)?.closeSync();
    directories.delete(id);
  },
  umask: (mask: number) => process.umask(mask),
  /** As a process that has just begun in that directory: nothing of what was opened is open. */
  startOver: (directory: string) => {
    for (const fd of descriptors) closeSync(fd);
    descriptors.clear();
    for (const opened of directories.values()) opened.closeSync();
    directories.clear();
    process.umask(0);
    process.chdir(directory);
  },
  /** Goes on as another user until called with 0, 0. */
  become: (uid: number, gid: number) => {
    process.seteuid?.(0);
    process.setegid?.(gid);
    process.setgroups?.([gid]);
    process.seteuid?.(uid);
  },
  statfs: (path: string) => {
    const b = Buffer.alloc(256);
    c.statfs(text(path), b);
    const at = (i: number): number => Number(b.readBigInt64LE(i * 8));
    return { type: at(0), blockSize: at(1), blocks: at(2), blocksFree: at(3), blocksAvailable: at(4), files: at(5), filesFree: at(6), nameMax: at(8) };
  },
};

export type Calls = typeof calls;
export type CallName = keyof Calls;
