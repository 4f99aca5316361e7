/**
 * libc through koffi: the system calls that node:fs lacks, or that it makes slow by exceptions and strings.
 *
 * Names go to C in NUL-terminated buffers that this module owns, byte for byte. Sizes are those of a 64-bit Linux, and
 * structures are read where their layout does not depend on the processor (statx instead of stat). Every call here is
 * finished when it returns, so that the buffers can be used again by the next one.
 */
import { close as closeInThreadPool, fdatasync, fsync, read as readInThreadPool } from 'node:fs';
import koffi, { type KoffiFunc } from 'koffi';
import { Errno } from '../base/errno.js';
import { LargeBuffers } from '../base/large-buffers.js';
import type { Time } from '../base/time.js';
import { LoneReads } from './lone-reads.js';
import type { Disk, DiskDone, DiskSpace, DiskStat } from '../brick/disk.js';

const libc = koffi.load('libc.so.6');

/** Declares a function of libc. */
export function libcFunction(declaration: string): KoffiFunc<(...args: unknown[]) => number> {
  return libc.func(declaration) as KoffiFunc<(...args: unknown[]) => number>;
}

/** The error number of the last call that failed, as a negative result. */
export function failure(): number {
  return -koffi.errno();
}

// openat is variadic in C; on 64-bit Linux a fixed last argument is passed the same way.
const openat = libc.func('int openat(int, void *, int, unsigned int)');
const close = libc.func('int close(int)');
const statx = libc.func('int statx(int, void *, int, unsigned int, void *)');
const mkdirat = libc.func('int mkdirat(int, void *, unsigned int)');
const mknodat = libc.func('int mknodat(int, void *, unsigned int, uint64_t)');
const symlinkat = libc.func('int symlinkat(void *, int, void *)');
const linkat = libc.func('int linkat(int, void *, int, void *, int)');
const unlinkat = libc.func('int unlinkat(int, void *, int)');
const renameat2 = libc.func('int renameat2(int, void *, int, void *, unsigned int)');
const readlinkat = libc.func('int64_t readlinkat(int, void *, void *, size_t)');
const fchmod = libc.func('int fchmod(int, unsigned int)');
const fchmodat = libc.func('int fchmodat(int, void *, unsigned int, int)');
const fchown = libc.func('int fchown(int, unsigned int, unsigned int)');
const fchownat = libc.func('int fchownat(int, void *, unsigned int, unsigned int, int)');
const futimens = libc.func('int futimens(int, void *)');
const utimensat = libc.func('int utimensat(int, void *, void *, int)');
const fgetxattr = libc.func('int64_t fgetxattr(int, void *, void *, size_t)');
const lgetxattr = libc.func('int64_t lgetxattr(void *, void *, void *, size_t)');
const fsetxattr = libc.func('int fsetxattr(int, void *, void *, size_t, int)');
const lsetxattr = libc.func('int lsetxattr(void *, void *, void *, size_t, int)');
const flistxattr = libc.func('int64_t flistxattr(int, void *, size_t)');
const llistxattr = libc.func('int64_t llistxattr(void *, void *, size_t)');
const fremovexattr = libc.func('int fremovexattr(int, void *)');
const lremovexattr = libc.func('int lremovexattr(void *, void *)');
const pread = libc.func('int64_t pread(int, void *, size_t, int64_t)');
const preadv2 = libc.func('int64_t preadv2(int, void *, int, int64_t, int)');
const pwritev2 = libc.func('int64_t pwritev2(int, void *, int, int64_t, int)');
const syncFileRange = libc.func('int sync_file_range(int, int64_t, int64_t, unsigned int)');
const pwrite = libc.func('int64_t pwrite(int, void *, size_t, int64_t)');
const write = libc.func('int64_t write(int, void *, size_t)');
const ftruncate = libc.func('int ftruncate(int, int64_t)');
const fallocate = libc.func('int fallocate(int, int, int64_t, int64_t)');
const lseek = libc.func('int64_t lseek(int, int64_t, int)');
const copyFileRange = libc.func('int64_t copy_file_range(int, void *, int, void *, size_t, unsigned int)');
const posixFadvise = libc.func('int posix_fadvise(int, int64_t, int64_t, int)');
const ioctl = libc.func('int ioctl(int, unsigned long, void *)');
const fsyncNow = libc.func('int fsync(int)');
const syncfs = libc.func('int syncfs(int)');
const fstatfs = libc.func('int fstatfs(int, void *)');
const flock = libc.func('int flock(int, int)');
const getdents64 = libc.func('int64_t getdents64(int, void *, size_t)');
const umask = libc.func('unsigned int umask(unsigned int)');
const mallopt = libc.func('int mallopt(int, int)');

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_REMOVEDIR = 0x200;
const AT_EMPTY_PATH = 0x1000;
const STATX_BASIC_STATS = 0x7ff;
const O_NONBLOCK = 0o4000;
const O_APPEND = 0o2000;
const O_CREAT = 0o100;
const O_WRONLY = 1;
// These two differ between processors.
const O_DIRECTORY = process.arch === 'arm64' ? 0o40000 : 0o200000;
const O_NOFOLLOW = process.arch === 'arm64' ? 0o100000 : 0o400000;
const O_NOATIME = 0o1000000;
const O_CLOEXEC = 0o2000000;
const RWF_NOWAIT = 8;
const RWF_DONTCACHE = 0x80;
const SYNC_FILE_RANGE_WRITE = 2;
/** Where RWF_DONTCACHE is not known (before Linux 6.14), a stream is written out in pieces of this size. */
const STREAM_PIECE_BYTES = 8 << 20;
/** A write that waits this long for the disk's queue, on the average of the last ones, would hold up everybody else: plain writes for a while. */
const STREAM_MS_MAX = 8;
const STREAM_AVERAGED = 16;
const STREAM_PAUSE_MS = 1000;
const POSIX_FADV_RANDOM = 1;
const POSIX_FADV_DONTNEED = 4;
const LOCK_EX = 2;
const LOCK_NB = 4;
const FICLONERANGE = 0x4020940d;
const NAME_BUFFER_BYTES = 8192;
const LINK_TARGET_BYTES = 8192;
const XATTR_VALUE_BYTES = 65_536;
const LISTING_BYTES = 1 << 18;
const TWO_32 = 2 ** 32;
const PAUSE_MS = 10;
const pauseCell = new Int32Array(new SharedArrayBuffer(4));

function nameBuffer(): Buffer {
  return Buffer.allocUnsafeSlow(NAME_BUFFER_BYTES);
}

const nameA = nameBuffer();
const nameB = nameBuffer();
const pathA = nameBuffer();
const xattrName = nameBuffer();
const linkTarget = Buffer.allocUnsafeSlow(LINK_TARGET_BYTES);
const xattrValue = Buffer.allocUnsafeSlow(XATTR_VALUE_BYTES);
const listing = Buffer.allocUnsafeSlow(LISTING_BYTES);
const statBuffer = Buffer.allocUnsafeSlow(256);
const statWords = new Uint32Array(statBuffer.buffer, statBuffer.byteOffset, 64);
const statHalves = new Uint16Array(statBuffer.buffer, statBuffer.byteOffset, 128);
const spaceBuffer = Buffer.allocUnsafeSlow(256);
const timesBuffer = Buffer.allocUnsafeSlow(32);
const offsetsBuffer = Buffer.allocUnsafeSlow(16);
const cloneBuffer = Buffer.allocUnsafeSlow(32);
const iovecBuffer = Buffer.allocUnsafeSlow(16);
const iovec = new BigUint64Array(iovecBuffer.buffer, iovecBuffer.byteOffset, 2);
const empty = Buffer.alloc(1);

/** Writes a byte string with its NUL; false when it does not fit. */
function put(buffer: Buffer, text: string): boolean {
  if (text.length >= NAME_BUFFER_BYTES) return false;
  const end = buffer.write(text, 0, 'latin1');
  buffer[end] = 0;
  return true;
}

/** `/proc/self/fd/<dir>/<entry>`: the only way to the xattrs of what cannot be opened. */
function putEntryPath(dir: number, entry: string): boolean {
  return put(pathA, `/proc/self/fd/${dir}/${entry}`);
}

function outcome(result: number): number {
  return result < 0 ? -koffi.errno() : result;
}

function word64(index: number): number {
  return (statWords[index] as number) + (statWords[index + 1] as number) * TWO_32;
}

function signed64(index: number): number {
  return (statWords[index] as number) + ((statWords[index + 1] as number) | 0) * TWO_32;
}

/** Kernel encoding of a device number as `struct stat` of user space has it for small numbers: what FUSE sends as `rdev`. */
function deviceNumber(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

/** glibc's `dev_t` of the 32-bit device number. */
function wideDevice(rdev: number): bigint {
  const major = (rdev >>> 8) & 0xfff;
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
  return (BigInt(major & 0xfff) << 8n) | BigInt(minor & 0xff) | (BigInt(minor & 0xfff00) << 12n);
}

function readStat(result: number, out: DiskStat): number {
  if (result < 0) return -koffi.errno();
  out.nlink = statWords[4] as number;
  out.uid = statWords[5] as number;
  out.gid = statWords[6] as number;
  out.mode = statHalves[14] as number;
  out.inode = word64(8);
  out.size = word64(10);
  out.blocks = word64(12);
  out.atimeSec = signed64(16);
  out.atimeNsec = statWords[18] as number;
  out.ctimeSec = signed64(24);
  out.ctimeNsec = statWords[26] as number;
  out.mtimeSec = signed64(28);
  out.mtimeNsec = statWords[30] as number;
  out.rdev = deviceNumber(statWords[32] as number, statWords[33] as number);
  out.device = (statWords[34] as number) * TWO_32 + (statWords[35] as number);
  return 0;
}

function putTime(at: number, time: Time): void {
  timesBuffer.writeInt32LE(Math.floor(time.sec / TWO_32), at + 4);
  timesBuffer.writeUInt32LE(time.sec >>> 0, at);
  timesBuffer.writeUInt32LE(time.nsec, at + 8);
  timesBuffer.writeUInt32LE(0, at + 12);
}

function putSize(buffer: Buffer, at: number, value: number): void {
  buffer.writeUInt32LE(value >>> 0, at);
  buffer.writeUInt32LE(Math.floor(value / TWO_32), at + 4);
}

function getSize(buffer: Buffer, at: number): number {
  return buffer.readUInt32LE(at) + buffer.readUInt32LE(at + 4) * TWO_32;
}

function xattrResult(size: number): Uint8Array | number {
  if (size < 0) return -koffi.errno();
  return new Uint8Array(xattrValue.subarray(0, size));
}

function xattrNames(size: number): string[] | number {
  if (size < 0) return -koffi.errno();
  if (size === 0) return [];
  return xattrValue.toString('latin1', 0, size - 1).split('\0');
}

/** The error number of an error of node:fs. */
function nodeErrno(error: NodeJS.ErrnoException): number {
  return error.errno === undefined ? -Errno.EIO : -Math.abs(error.errno);
}

/**
 * Lets modes be exactly what is asked for, and keeps freed buffers of a megabyte in the heap: mapping them anew for every read
 * costs ten times the read itself.
 */
function prepareProcess(): void {
  umask(0);
  const M_TRIM_THRESHOLD = -1;
  const M_MMAP_THRESHOLD = -3;
  mallopt(M_MMAP_THRESHOLD, 8 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
}

/** The real disk. */
export class LibcDisk implements Disk {
  /** Calls of `closeInPool` that were not yet seen to have ended. */
  #closing = 0;

  readonly #buffers: LargeBuffers;
  readonly #lone = new LoneReads();
  #uncached = true;
  /** What one call of `writeStream` takes. */
  #streamMs = 0;
  #streamFrom = 0;

  /** Large reads go into `buffers`; whoever is done with the data may give it back there. */
  constructor(buffers: LargeBuffers = new LargeBuffers()) {
    this.#buffers = buffers;
    prepareProcess();
  }

  takeBuffer(bytes: number): Buffer {
    return this.#buffers.take(bytes);
  }

  giveBuffer(data: Uint8Array): void {
    this.#buffers.give(data);
  }

  openRoot(path: string): number {
    const bytes = Buffer.from(`${path}\0`, 'utf8');
    return outcome(openat(AT_FDCWD, bytes, O_DIRECTORY | O_CLOEXEC | O_NOATIME, 0));
  }

  statPath(path: string, out: DiskStat): number {
    const bytes = Buffer.from(`${path}\0`, 'utf8');
    return readStat(statx(AT_FDCWD, bytes, 0, STATX_BASIC_STATS, statBuffer), out);
  }

  openFile(dir: number, name: string, flags: number, mode: number): number {
    if (!put(nameA, name)) return -Errno.ENAMETOOLONG;
    return outcome(openat(dir, nameA, flags | O_NOFOLLOW | O_NONBLOCK | O_NOATIME | O_CLOEXEC, mode));
  }

  openDirectory(dir: number, name: string): number {
    if (!put(nameA, name)) return -Errno.ENAMETOOLONG;
    return outcome(openat(dir, nameA, O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC, 0));
  }

  close(fd: number): void {
    close(fd);
  }

  closeInPool(fd: number): void {
    this.#closing++;
    closeInThreadPool(fd, () => {
      this.#closing--;
    });
  }

  pauseForSpace(): boolean {
    if (this.#closing === 0) return false;
    Atomics.wait(pauseCell, 0, 0, PAUSE_MS);
    return true;
  }

  stat(fd: number, out: DiskStat): number {
    empty[0] = 0;
    return readStat(statx(fd, empty, AT_EMPTY_PATH, STATX_BASIC_STATS, statBuffer), out);
  }

  statAt(dir: number, name: string, out: DiskStat): number {
    if (!put(nameA, name)) return -Errno.ENAMETOOLONG;
    return readStat(statx(dir, nameA, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, statBuffer), out);
  }

  list(fd: number): string[] | number {
    const names: string[] = [];
    if (lseek(fd, 0, 0) < 0) return -koffi.errno();
    for (;;) {
      const size = getdents64(fd, listing, LISTING_BYTES) as number;
      if (size < 0) return -koffi.errno();
      if (size === 0) return names;
      // struct linux_dirent64: u64 inode, i64 offset, u16 length, u8 type, name with NUL.
      for (let at = 0; at < size;) {
        const length = listing.readUInt16LE(at + 16);
        const start = at + 19;
        const name = listing.toString('latin1', start, listing.indexOf(0, start));
        if (name !== '.' && name !== '..') names.push(name);
        at += length;
      }
    }
  }

  readlinkAt(dir: number, name: string): string | number {
    if (!put(nameA, name)) return -Errno.ENAMETOOLONG;
    const size = readlinkat(dir, nameA, linkTarget, LINK_TARGET_BYTES) as number;
    return size < 0 ? -koffi.errno() : linkTarget.toString('latin1', 0, size);
  }

  mkdirAt(dir: number, name: string, mode: number): number {
    if (!put(nameA, name)) return -Errno.ENAMETOOLONG;
    return outcome(mkdirat(dir, nameA, mode));
  }

  mknodAt(dir: number, name: string, mode: number, rdev: number): number {
    if (!put(nameA, name)) return -Errno.ENAMETOOLONG;
    return outcome(mknodat(dir, nameA, mode, wideDevice(rdev)));
  }

  symlinkAt(target: string, dir: number, name: string): number {
    if (!put(nameA, name) || !put(nameB, target)) return -Errno.ENAMETOOLONG;
    return outcome(symlinkat(nameB, dir, nameA));
  }

  linkAt(dir: number, name: string, newDir: number, newName: string): number {
    if (!put(nameA, name) || !put(nameB, newName)) return -Errno.ENAMETOOLONG;
    return outcome(linkat(dir, nameA, newDir, nameB, 0));
  }

  unlinkAt(dir: number, name: string): number {
    if (!put(nameA, name)) return -Errno.ENAMETOOLONG;
    return outcome(unlinkat(dir, nameA, 0));
  }

  rmdirAt(dir: number, name: string): number {
    if (!put(nameA, name)) return -Errno.ENAMETOOLONG;
    return outcome(unlinkat(dir, nameA, AT_REMOVEDIR));
  }

  renameAt(dir: number, name: string, newDir: number, newName: string, flags: number): number {
    if (!put(nameA, name) || !put(nameB, newName)) return -Errno.ENAMETOOLONG;
    return outcome(renameat2(dir, nameA, newDir, nameB, flags));
  }

  chmod(fd: number, mode: number): number {
    return outcome(fchmod(fd, mode));
  }

  chmodAt(dir: number, name: string, mode: number): number {
    if (!put(nameA, name)) return -Errno.ENAMETOOLONG;
    return outcome(fchmodat(dir, nameA, mode, 0));
  }

  chown(fd: number, uid: number, gid: number): number {
    return outcome(fchown(fd, uid, gid));
  }

  chownAt(dir: number, name: string, uid: number, gid: number): number {
    if (!put(nameA, name)) return -Errno.ENAMETOOLONG;
    return outcome(fchownat(dir, nameA, uid, gid, AT_SYMLINK_NOFOLLOW));
  }

  setTimes(fd: number, atime: Time, mtime: Time): number {
    putTime(0, atime);
    putTime(16, mtime);
    return outcome(futimens(fd, timesBuffer));
  }

  setTimesAt(dir: number, name: string, atime: Time, mtime: Time): number {
    if (!put(nameA, name)) return -Errno.ENAMETOOLONG;
    putTime(0, atime);
    putTime(16, mtime);
    return outcome(utimensat(dir, nameA, timesBuffer, AT_SYMLINK_NOFOLLOW));
  }

  getXattr(fd: number, name: string): Uint8Array | number {
    if (!put(xattrName, name)) return -Errno.ERANGE;
    return xattrResult(fgetxattr(fd, xattrName, xattrValue, XATTR_VALUE_BYTES));
  }

  getXattrAt(dir: number, entry: string, name: string): Uint8Array | number {
    if (!put(xattrName, name) || !putEntryPath(dir, entry)) return -Errno.ERANGE;
    return xattrResult(lgetxattr(pathA, xattrName, xattrValue, XATTR_VALUE_BYTES));
  }

  setXattr(fd: number, name: string, value: Uint8Array, flags: number): number {
    if (!put(xattrName, name)) return -Errno.ERANGE;
    return outcome(fsetxattr(fd, xattrName, value.byteLength === 0 ? empty : value, value.byteLength, flags));
  }

  setXattrAt(dir: number, entry: string, name: string, value: Uint8Array, flags: number): number {
    if (!put(xattrName, name) || !putEntryPath(dir, entry)) return -Errno.ERANGE;
    return outcome(lsetxattr(pathA, xattrName, value.byteLength === 0 ? empty : value, value.byteLength, flags));
  }

  listXattrs(fd: number): string[] | number {
    return xattrNames(flistxattr(fd, xattrValue, XATTR_VALUE_BYTES));
  }

  listXattrsAt(dir: number, entry: string): string[] | number {
    if (!putEntryPath(dir, entry)) return -Errno.ERANGE;
    return xattrNames(llistxattr(pathA, xattrValue, XATTR_VALUE_BYTES));
  }

  removeXattr(fd: number, name: string): number {
    if (!put(xattrName, name)) return -Errno.ERANGE;
    return outcome(fremovexattr(fd, xattrName));
  }

  removeXattrAt(dir: number, entry: string, name: string): number {
    if (!put(xattrName, name) || !putEntryPath(dir, entry)) return -Errno.ERANGE;
    return outcome(lremovexattr(pathA, xattrName));
  }

  read(fd: number, target: Uint8Array, size: number, offset: number): number {
    return outcome(pread(fd, target, size, offset));
  }

  readCached(fd: number, target: Uint8Array, size: number, offset: number): number {
    iovec[0] = koffi.address(target) as bigint;
    iovec[1] = BigInt(size);
    return outcome(preadv2(fd, iovecBuffer, 1, offset, RWF_NOWAIT));
  }

  readAlone(fd: number, target: Uint8Array, at: number, size: number, offset: number): number {
    if (!this.#lone.allows(size)) return -Errno.EAGAIN;
    const begun = performance.now();
    const result = outcome(pread(fd, at === 0 ? target : target.subarray(at), size, offset));
    this.#lone.took(performance.now() - begun);
    return result;
  }

  readInPool(fd: number, target: Uint8Array, at: number, size: number, offset: number, whenDone: DiskDone): void {
    let read = 0;
    this.#lone.poolBegan();
    const done = (result: number): void => {
      this.#lone.poolEnded();
      whenDone(result);
    };
    const next = (): void => {
      readInThreadPool(fd, target, at + read, size - read, offset + read, (error, count) => {
        if (error !== null) return done(nodeErrno(error));
        read += count;
        if (count === 0 || read === size) done(read);
        else next();
      });
    };
    next();
  }

  readNothingAhead(fd: number): void {
    posixFadvise(fd, 0, 0, POSIX_FADV_RANDOM);
  }

  dropCached(fd: number, offset: number, length: number): void {
    posixFadvise(fd, offset, length, POSIX_FADV_DONTNEED);
  }

  write(fd: number, data: Uint8Array, size: number, offset: number): number {
    return outcome(pwrite(fd, data, size, offset));
  }

  writeStream(fd: number, data: Uint8Array, size: number, offset: number): number {
    const begun = performance.now();
    if (begun < this.#streamFrom) return this.write(fd, data, size, offset);
    const result = this.#uncached ? this.#writeUncached(fd, data, size, offset) : this.#writePiece(fd, data, size, offset);
    const took = performance.now() - begun;
    this.#streamMs += (took - this.#streamMs) / STREAM_AVERAGED;
    if (this.#streamMs > STREAM_MS_MAX) {
      this.#streamMs = 0;
      this.#streamFrom = begun + took + STREAM_PAUSE_MS;
    }
    return result;
  }

  #writeUncached(fd: number, data: Uint8Array, size: number, offset: number): number {
    iovec[0] = koffi.address(data);
    iovec[1] = BigInt(size);
    const result = outcome(pwritev2(fd, iovecBuffer, 1, offset, RWF_DONTCACHE));
    if (result !== -Errno.EOPNOTSUPP) return result;
    this.#uncached = false;
    return this.#writePiece(fd, data, size, offset);
  }

  #writePiece(fd: number, data: Uint8Array, size: number, offset: number): number {
    const result = outcome(pwrite(fd, data, size, offset));
    const end = offset + Math.max(0, result);
    const piece = end - (end % STREAM_PIECE_BYTES);
    if (piece > offset) syncFileRange(fd, Math.max(0, piece - STREAM_PIECE_BYTES), STREAM_PIECE_BYTES, SYNC_FILE_RANGE_WRITE);
    return result;
  }

  openAppend(dir: number, name: string): number {
    if (!put(nameA, name)) return -Errno.ENAMETOOLONG;
    return outcome(openat(dir, nameA, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600));
  }

  append(fd: number, data: Uint8Array): number {
    return outcome(write(fd, data, data.byteLength));
  }

  truncate(fd: number, size: number): number {
    return outcome(ftruncate(fd, size));
  }

  allocate(fd: number, mode: number, offset: number, length: number): number {
    return outcome(fallocate(fd, mode, offset, length));
  }

  seek(fd: number, offset: number, whence: number): number {
    return outcome(lseek(fd, offset, whence));
  }

  copyRange(source: number, sourceOffset: number, target: number, targetOffset: number, length: number): number {
    putSize(offsetsBuffer, 0, sourceOffset);
    putSize(offsetsBuffer, 8, targetOffset);
    return outcome(copyFileRange(source, offsetsBuffer.subarray(0, 8), target, offsetsBuffer.subarray(8), length, 0));
  }

  cloneRange(source: number, sourceOffset: number, target: number, targetOffset: number, length: number): number {
    // struct file_clone_range: i64 source fd, u64 source offset, u64 length, u64 target offset.
    putSize(cloneBuffer, 0, source);
    putSize(cloneBuffer, 8, sourceOffset);
    putSize(cloneBuffer, 16, length);
    putSize(cloneBuffer, 24, targetOffset);
    return outcome(ioctl(target, FICLONERANGE, cloneBuffer));
  }

  sync(fd: number): number {
    return outcome(fsyncNow(fd));
  }

  syncInPool(fd: number, dataOnly: boolean, done: DiskDone): void {
    (dataOnly ? fdatasync : fsync)(fd, (error) => done(error === null ? 0 : nodeErrno(error)));
  }

  syncFilesystemInPool(fd: number, done: DiskDone): void {
    // koffi puts the pool thread's errno back for the duration of this callback.
    syncfs.async(fd, (error: unknown, result: number) => done(error !== null ? -Errno.EIO : outcome(result)));
  }

  space(fd: number): DiskSpace | number {
    const result = fstatfs(fd, spaceBuffer);
    if (result < 0) return -koffi.errno();
    return {
      type: getSize(spaceBuffer, 0),
      blockSize: getSize(spaceBuffer, 72) || getSize(spaceBuffer, 8),
      blocks: getSize(spaceBuffer, 16),
      blocksFree: getSize(spaceBuffer, 24),
      blocksAvailable: getSize(spaceBuffer, 32),
      files: getSize(spaceBuffer, 40),
      filesFree: getSize(spaceBuffer, 48),
      nameMax: getSize(spaceBuffer, 64),
    };
  }

  lock(fd: number): number {
    return outcome(flock(fd, LOCK_EX | LOCK_NB));
  }
}
