/**
 * Linux error numbers and the two errors that file operations end with.
 *
 * FsError   a definite answer of the filesystem: comparable across replicas, goes to the caller as it is.
 * LostError the outcome is unknown (connection lost, time out): only the layer that can find out absorbs it.
 * Everything else (AssertionError, TypeError, ...) is a bug.
 */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EMLINK: 31,
  EPIPE: 32,
  ERANGE: 34,
  EDEADLK: 35,
  ENAMETOOLONG: 36,
  ENOLCK: 37,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  EPROTO: 71,
  EOVERFLOW: 75,
  EOPNOTSUPP: 95,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENOTCONN: 107,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTUNREACH: 113,
  ESTALE: 116,
  EDQUOT: 122,
  ECANCELED: 125,
} as const;

export type ErrnoName = keyof typeof Errno;

const NAMES = new Map<number, ErrnoName>(Object.entries(Errno).map(([name, value]) => [value, name as ErrnoName]));

/** The symbolic name of an error number, `E<number>` when it is not in the table. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `E${errno}`;
}

/** A definite answer of the filesystem. `errno` is positive. */
export class FsError extends Error {
  readonly errno: number;
  readonly op: string;

  constructor(errno: number, op: string, detail = '', options?: ErrorOptions) {
    super(`${op}: ${errnoName(errno)}${detail === '' ? '' : `: ${detail}`}`, options);
    this.name = 'FsError';
    this.errno = errno;
    this.op = op;
  }

  get code(): string {
    return errnoName(this.errno);
  }
}

/** A limit of one inode (its xattrs, say) that the disk answers with the errno of a full disk: the disk is well. */
export class InodeLimitError extends FsError {}

/** The outcome of a request is unknown: it may have happened, or may happen still. */
export class LostError extends Error {
  readonly errno: number;
  /** Where it is asked for still: resolves when it is not any more. What the request carries is in use until then. */
  readonly over: Promise<void> | undefined;

  constructor(detail: string, errno: number = Errno.ENOTCONN, options?: ErrorOptions & { over?: Promise<void> }) {
    super(detail, options);
    this.name = 'LostError';
    this.errno = errno;
    this.over = options?.over;
  }
}

/** The errno that an unknown error is answered with at an edge. Never ENOSYS: the kernel would stop sending the operation. */
export function errnoOf(error: unknown): number {
  if (error instanceof FsError || error instanceof LostError) return error.errno;
  return Errno.EIO;
}
