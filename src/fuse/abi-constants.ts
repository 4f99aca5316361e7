/** Numbers of the kernel's FUSE interface, under its own names without the FUSE_ prefix. */

export const Opcode = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  NOTIFY_REPLY: 41,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SETUPMAPPING: 48,
  REMOVEMAPPING: 49,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
  COPY_FILE_RANGE_64: 53,
} as const;

export const Notify = { INVAL_INODE: 2, RESEND: 7 } as const;

export const KERNEL_MAJOR = 7;
/** The newest minor version that the codec was written for. */
export const KERNEL_MINOR_MAX = 45;
/** Linux 5.4: the oldest whose structures all have the sizes of abi.ts. */
export const KERNEL_MINOR_MIN = 31;

export const ROOT_NODEID = 1;
/** Inode number of a directory entry whose inode number is not known. */
export const UNKNOWN_INO = 0xffff_ffff;
/** Most bytes of a reply's error number; the kernel refuses larger ones. */
export const ERRNO_MAX = 511;

/** INIT flags by bit number; bits 32 and up travel in flags2. */
export const InitFlag = {
  ASYNC_READ: 0,
  POSIX_LOCKS: 1,
  ATOMIC_O_TRUNC: 3,
  BIG_WRITES: 5,
  FLOCK_LOCKS: 10,
  AUTO_INVAL_DATA: 12,
  DO_READDIRPLUS: 13,
  READDIRPLUS_AUTO: 14,
  ASYNC_DIO: 15,
  PARALLEL_DIROPS: 18,
  ABORT_ERROR: 21,
  MAX_PAGES: 22,
  CACHE_SYMLINKS: 23,
  HANDLE_KILLPRIV_V2: 28,
  INIT_EXT: 30,
  HAS_EXPIRE_ONLY: 35,
  DIRECT_IO_ALLOW_MMAP: 36,
  NO_EXPORT_SUPPORT: 38,
  HAS_RESEND: 39,
} as const;

export const FOPEN_DIRECT_IO = 1;
export const FOPEN_KEEP_CACHE = 2;
export const FOPEN_PARALLEL_DIRECT_WRITES = 64;

export const FATTR_MODE = 1;
export const FATTR_UID = 2;
export const FATTR_GID = 4;
export const FATTR_SIZE = 8;
export const FATTR_ATIME = 16;
export const FATTR_MTIME = 32;
export const FATTR_FH = 64;
export const FATTR_ATIME_NOW = 128;
export const FATTR_MTIME_NOW = 256;
export const FATTR_KILL_SUIDGID = 2048;

export const OPEN_KILL_SUIDGID = 1;
export const WRITE_CACHE = 1;
export const WRITE_KILL_SUIDGID = 4;
export const FSYNC_FDATASYNC = 1;
export const LK_FLOCK = 1;

export const O_ACCMODE = 0o3;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;
export const O_APPEND = 0o2000;
/** Also set in O_SYNC. */
export const O_DSYNC = 0o10000;
export const O_DIRECT = 0o40000;

export const F_RDLCK = 0;
export const F_WRLCK = 1;
export const F_UNLCK = 2;
