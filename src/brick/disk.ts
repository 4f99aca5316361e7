/**
 * The system calls that the store needs, as an interface: implemented over libc by platform/.
 *
 * A failure is a negative error number, not an exception: most of these calls are on the path of every operation, and an answer
 * such as ENOENT is as ordinary as any other. Names are byte strings (one character per byte), sizes and offsets are bytes.
 * Nothing here follows a symbolic link in the last component.
 */
import type { Time } from '../base/time.js';

/** What statx says; filled in place so that a call allocates nothing. */
export class DiskStat {
  mode = 0;
  nlink = 0;
  uid = 0;
  gid = 0;
  rdev = 0;
  size = 0;
  blocks = 0;
  inode = 0;
  /** Device number of the filesystem that holds the inode. */
  device = 0;
  atimeSec = 0;
  atimeNsec = 0;
  mtimeSec = 0;
  mtimeNsec = 0;
  ctimeSec = 0;
  ctimeNsec = 0;
}

export interface DiskSpace {
  /** `f_type` of statfs. */
  type: number;
  blockSize: number;
  blocks: number;
  blocksFree: number;
  blocksAvailable: number;
  files: number;
  filesFree: number;
  nameMax: number;
}

/** Called once with the result of a call that ran in the thread pool: a count, or a negative error number. */
export type DiskDone = (result: number) => void;

export const O_RDONLY = 0;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;

export interface Disk {
  /** Opens a directory by path, for the root of the brick alone. */
  openRoot(path: string): number;
  /** What is at a path, following symbolic links, for the check that the brick is still there. */
  statPath(path: string, out: DiskStat): number;

  /** Never a controlling terminal, never blocks on a FIFO, does not change atime. */
  openFile(dir: number, name: string, flags: number, mode: number): number;
  openDirectory(dir: number, name: string): number;
  close(fd: number): void;
  /** Closes the last reference to a large deleted file: freeing its blocks takes long. */
  closeInPool(fd: number): void;
  /** Waits 10 ms when space is being freed by `closeInPool`; false, at once, when none is. */
  pauseForSpace(): boolean;

  stat(fd: number, out: DiskStat): number;
  statAt(dir: number, name: string, out: DiskStat): number;

  /** Names of a directory without `.` and `..`, in no particular order. */
  list(fd: number): string[] | number;
  readlinkAt(dir: number, name: string): string | number;

  mkdirAt(dir: number, name: string, mode: number): number;
  mknodAt(dir: number, name: string, mode: number, rdev: number): number;
  symlinkAt(target: string, dir: number, name: string): number;
  linkAt(dir: number, name: string, newDir: number, newName: string): number;
  unlinkAt(dir: number, name: string): number;
  rmdirAt(dir: number, name: string): number;
  renameAt(dir: number, name: string, newDir: number, newName: string, flags: number): number;

  chmod(fd: number, mode: number): number;
  /** Not for symbolic links: they have no mode, and this call would follow them. */
  chmodAt(dir: number, name: string, mode: number): number;
  chown(fd: number, uid: number, gid: number): number;
  chownAt(dir: number, name: string, uid: number, gid: number): number;
  setTimes(fd: number, atime: Time, mtime: Time): number;
  setTimesAt(dir: number, name: string, atime: Time, mtime: Time): number;

  getXattr(fd: number, name: string): Uint8Array | number;
  getXattrAt(dir: number, entry: string, name: string): Uint8Array | number;
  setXattr(fd: number, name: string, value: Uint8Array, flags: number): number;
  setXattrAt(dir: number, entry: string, name: string, value: Uint8Array, flags: number): number;
  listXattrs(fd: number): string[] | number;
  listXattrsAt(dir: number, entry: string): string[] | number;
  removeXattr(fd: number, name: string): number;
  removeXattrAt(dir: number, entry: string, name: string): number;

  /** May read less than asked, 0 at end of file. */
  read(fd: number, target: Uint8Array, size: number, offset: number): number;
  /** Memory for data that is read; its content is whatever was there before. */
  takeBuffer(bytes: number): Buffer;
  /** Nobody looks at what was read into that memory any more. */
  giveBuffer(data: Uint8Array): void;
  /** As `read`, from the page cache alone: EAGAIN or a short count where it would have to wait for the disk. */
  readCached(fd: number, target: Uint8Array, size: number, offset: number): number;
  /** Fills `target` from `at` on where waiting for the disk now is quicker than a change of threads; EAGAIN where it is not. */
  readAlone(fd: number, target: Uint8Array, at: number, size: number, offset: number): number;
  /** Fills `target` from `at` on in the thread pool; ends early only at end of file or with an error. */
  readInPool(fd: number, target: Uint8Array, at: number, size: number, offset: number, done: DiskDone): void;
  /** What is read through this descriptor is read alone. */
  readNothingAhead(fd: number): void;
  /** The range is read from the disk the next time, unless it waits to be written. */
  dropCached(fd: number, offset: number, length: number): void;
  write(fd: number, data: Uint8Array, size: number, offset: number): number;
  /**
   * As `write`, for a part of a long stream: it begins its way to the disk at once, so that a later sync finds little to do, and leaves the page
   * cache when it is there, where the kernel can do that.
   */
  writeStream(fd: number, data: Uint8Array, size: number, offset: number): number;
  /** Appends to a file opened by `openAppend`. */
  openAppend(dir: number, name: string): number;
  append(fd: number, data: Uint8Array): number;
  truncate(fd: number, size: number): number;
  allocate(fd: number, mode: number, offset: number, length: number): number;
  seek(fd: number, offset: number, whence: number): number;
  /** copy_file_range(2). */
  copyRange(source: number, sourceOffset: number, target: number, targetOffset: number, length: number): number;
  /** Shares the extents of a range; EOPNOTSUPP or EINVAL where the disk or the alignment does not allow it. */
  cloneRange(source: number, sourceOffset: number, target: number, targetOffset: number, length: number): number;

  /** fsync, synchronously: for small files of the brick's own. */
  sync(fd: number): number;
  syncInPool(fd: number, dataOnly: boolean, done: DiskDone): void;
  /** syncfs of the filesystem that holds `fd`. */
  syncFilesystemInPool(fd: number, done: DiskDone): void;
  space(fd: number): DiskSpace | number;
  /** Takes an exclusive lock that ends with the descriptor; EAGAIN where another process holds it. */
  lock(fd: number): number;
}
