import { Errno } from '../base/errno.js';
import { Opcode } from './abi-constants.js';
import type { Operation } from './operation.js';
import * as connection from './ops-connection.js';
import * as directory from './ops-directory.js';
import * as file from './ops-file.js';
import * as inode from './ops-inode.js';
import * as lock from './ops-lock.js';
import * as names from './ops-names.js';
import * as xattr from './ops-xattr.js';

/**
 * Opcode → operation. What is refused with ENOSYS is refused for good:
 *
 *   ACCESS   default_permissions: the kernel checks the mode itself
 *   STATX    the kernel falls back to GETATTR; a birth time is not kept
 *   POLL     the kernel takes files for always ready
 *   BMAP     there is no device below
 *   SYNCFS   only sent to virtiofs
 */
const TABLE: Readonly<Record<number, Operation>> = {
  [Opcode.LOOKUP]: inode.lookup,
  [Opcode.FORGET]: inode.forget,
  [Opcode.GETATTR]: inode.getattr,
  [Opcode.SETATTR]: inode.setattr,
  [Opcode.READLINK]: inode.readlink,
  [Opcode.SYMLINK]: names.symlink,
  [Opcode.MKNOD]: names.mknod,
  [Opcode.MKDIR]: names.mkdir,
  [Opcode.UNLINK]: names.unlink,
  [Opcode.RMDIR]: names.rmdir,
  [Opcode.RENAME]: names.rename,
  [Opcode.LINK]: names.link,
  [Opcode.OPEN]: file.open,
  [Opcode.READ]: file.read,
  [Opcode.WRITE]: file.write,
  [Opcode.STATFS]: inode.statfs,
  [Opcode.RELEASE]: lock.release,
  [Opcode.FSYNC]: file.fsync,
  [Opcode.SETXATTR]: xattr.setxattr,
  [Opcode.GETXATTR]: xattr.getxattr,
  [Opcode.LISTXATTR]: xattr.listxattr,
  [Opcode.REMOVEXATTR]: xattr.removexattr,
  [Opcode.FLUSH]: lock.flush,
  [Opcode.INIT]: connection.init,
  [Opcode.OPENDIR]: directory.opendir,
  [Opcode.READDIR]: directory.readdir,
  [Opcode.RELEASEDIR]: directory.releasedir,
  [Opcode.FSYNCDIR]: file.fsyncdir,
  [Opcode.GETLK]: lock.getlk,
  [Opcode.SETLK]: lock.setlk,
  [Opcode.SETLKW]: lock.setlkw,
  [Opcode.ACCESS]: connection.refusal('ACCESS', Errno.ENOSYS),
  [Opcode.CREATE]: file.create,
  [Opcode.INTERRUPT]: inode.interrupt,
  [Opcode.BMAP]: connection.refusal('BMAP', Errno.ENOSYS),
  [Opcode.DESTROY]: connection.destroy,
  [Opcode.IOCTL]: connection.refusal('IOCTL', Errno.ENOTTY),
  [Opcode.POLL]: connection.refusal('POLL', Errno.ENOSYS),
  [Opcode.NOTIFY_REPLY]: connection.notifyReply,
  [Opcode.BATCH_FORGET]: inode.batchForget,
  [Opcode.FALLOCATE]: file.fallocate,
  [Opcode.READDIRPLUS]: directory.readdirplus,
  [Opcode.RENAME2]: names.rename2,
  [Opcode.LSEEK]: file.lseek,
  [Opcode.COPY_FILE_RANGE]: file.copyFileRange,
  [Opcode.SYNCFS]: connection.refusal('SYNCFS', Errno.ENOSYS),
  [Opcode.TMPFILE]: file.tmpfile,
  [Opcode.STATX]: connection.refusal('STATX', Errno.ENOSYS),
  [Opcode.COPY_FILE_RANGE_64]: file.copyFileRange64,
};

const OPCODE_MAX = 63;

/** The table as an array, for the hot path. */
export const OPERATIONS: readonly (Operation | undefined)[] = Array.from(
  { length: OPCODE_MAX + 1 },
  (_, opcode) => TABLE[opcode],
);
