/**
 * The structures of the kernel's FUSE interface (include/uapi/linux/fuse.h, 7.31 to 7.45), under the kernel's own names.
 * Requests are `InHeader · body · names and data`, replies `OutHeader · body · data`, all little endian on the machines we run on.
 */
import { assert } from '../base/assert.js';
import { struct } from './abi-struct.js';

assert(
  new Uint8Array(new Uint32Array([1]).buffer)[0] === 1,
  'the kernel interface is coded for little endian machines',
);

/** `unique` names the request; bit 63 marks one that was sent again after NOTIFY_RESEND. `total_extlen` counts 8-byte units at the end. */
export const InHeader = struct('InHeader', 40, {
  len: 'u32',
  opcode: 'u32',
  unique: 'u64',
  nodeid: 'u64',
  uid: 'u32',
  gid: 'u32',
  pid: 'u32',
  total_extlen: 'u16',
  padding: 'u16',
});
/** `error` is 0 or a negative errno; in a notification `unique` is 0 and `error` the notify code. */
export const OutHeader = struct('OutHeader', 16, { len: 'u32', error: 'i32', unique: 'u64' });

export const Attr = struct('Attr', 88, {
  ino: 'u64',
  size: 'u64',
  blocks: 'u64',
  atime: 'i64',
  mtime: 'i64',
  ctime: 'i64',
  atimensec: 'u32',
  mtimensec: 'u32',
  ctimensec: 'u32',
  mode: 'u32',
  nlink: 'u32',
  uid: 'u32',
  gid: 'u32',
  rdev: 'u32',
  blksize: 'u32',
  flags: 'u32',
});
export const EntryOut = struct('EntryOut', 128, {
  nodeid: 'u64',
  generation: 'u64',
  entry_valid: 'u64',
  attr_valid: 'u64',
  entry_valid_nsec: 'u32',
  attr_valid_nsec: 'u32',
  attr: Attr,
});
export const AttrOut = struct('AttrOut', 104, { attr_valid: 'u64', attr_valid_nsec: 'u32', dummy: 'u32', attr: Attr });

export const InitIn = struct('InitIn', 64, {
  major: 'u32',
  minor: 'u32',
  max_readahead: 'u32',
  flags: 'u32',
  flags2: 'u32',
  unused0: 'u32',
  unused1: 'u32',
  unused2: 'u32',
  unused3: 'u32',
  unused4: 'u32',
  unused5: 'u32',
  unused6: 'u32',
  unused7: 'u32',
  unused8: 'u32',
  unused9: 'u32',
  unused10: 'u32',
});
export const InitOut = struct('InitOut', 64, {
  major: 'u32',
  minor: 'u32',
  max_readahead: 'u32',
  flags: 'u32',
  max_background: 'u16',
  congestion_threshold: 'u16',
  max_write: 'u32',
  time_gran: 'u32',
  max_pages: 'u16',
  map_alignment: 'u16',
  flags2: 'u32',
  max_stack_depth: 'u32',
  request_timeout: 'u16',
  unused0: 'u16',
  unused1: 'u32',
  unused2: 'u32',
  unused3: 'u32',
  unused4: 'u32',
  unused5: 'u32',
});

export const ForgetIn = struct('ForgetIn', 8, { nlookup: 'u64' });
export const ForgetOne = struct('ForgetOne', 16, { nodeid: 'u64', nlookup: 'u64' });
export const BatchForgetIn = struct('BatchForgetIn', 8, { count: 'u32', dummy: 'u32' });
export const GetattrIn = struct('GetattrIn', 16, { getattr_flags: 'u32', dummy: 'u32', fh: 'u64' });
export const SetattrIn = struct('SetattrIn', 88, {
  valid: 'u32',
  padding: 'u32',
  fh: 'u64',
  size: 'u64',
  lock_owner: 'u64',
  atime: 'i64',
  mtime: 'i64',
  ctime: 'i64',
  atimensec: 'u32',
  mtimensec: 'u32',
  ctimensec: 'u32',
  mode: 'u32',
  unused4: 'u32',
  uid: 'u32',
  gid: 'u32',
  unused5: 'u32',
});
export const MknodIn = struct('MknodIn', 16, { mode: 'u32', rdev: 'u32', umask: 'u32', padding: 'u32' });
export const MkdirIn = struct('MkdirIn', 8, { mode: 'u32', umask: 'u32' });
export const RenameIn = struct('RenameIn', 8, { newdir: 'u64' });
export const Rename2In = struct('Rename2In', 16, { newdir: 'u64', flags: 'u32', padding: 'u32' });
export const LinkIn = struct('LinkIn', 8, { oldnodeid: 'u64' });

export const OpenIn = struct('OpenIn', 8, { flags: 'u32', open_flags: 'u32' });
export const OpenOut = struct('OpenOut', 16, { fh: 'u64', open_flags: 'u32', backing_id: 'u32' });
export const CreateIn = struct('CreateIn', 16, { flags: 'u32', mode: 'u32', umask: 'u32', open_flags: 'u32' });
export const CreateOut = struct('CreateOut', 144, { entry: EntryOut, open: OpenOut });
export const ReleaseIn = struct('ReleaseIn', 24, { fh: 'u64', flags: 'u32', release_flags: 'u32', lock_owner: 'u64' });
export const FlushIn = struct('FlushIn', 24, { fh: 'u64', unused: 'u32', padding: 'u32', lock_owner: 'u64' });
export const FsyncIn = struct('FsyncIn', 16, { fh: 'u64', fsync_flags: 'u32', padding: 'u32' });

export const ReadIn = struct('ReadIn', 40, {
  fh: 'u64',
  offset: 'u64',
  size: 'u32',
  read_flags: 'u32',
  lock_owner: 'u64',
  flags: 'u32',
  padding: 'u32',
});
export const WriteIn = struct('WriteIn', 40, {
  fh: 'u64',
  offset: 'u64',
  size: 'u32',
  write_flags: 'u32',
  lock_owner: 'u64',
  flags: 'u32',
  padding: 'u32',
});
export const WriteOut = struct('WriteOut', 8, { size: 'u32', padding: 'u32' });
export const FallocateIn = struct('FallocateIn', 32, {
  fh: 'u64',
  offset: 'u64',
  length: 'u64',
  mode: 'u32',
  padding: 'u32',
});
export const LseekIn = struct('LseekIn', 24, { fh: 'u64', offset: 'u64', whence: 'u32', padding: 'u32' });
export const LseekOut = struct('LseekOut', 8, { offset: 'u64' });
export const CopyFileRangeIn = struct('CopyFileRangeIn', 56, {
  fh_in: 'u64',
  off_in: 'u64',
  nodeid_out: 'u64',
  fh_out: 'u64',
  off_out: 'u64',
  len: 'u64',
  flags: 'u64',
});
export const CopyFileRangeOut = struct('CopyFileRangeOut', 8, { bytes_copied: 'u64' });

export const Dirent = struct('Dirent', 24, { ino: 'u64', off: 'u64', namelen: 'u32', type: 'u32' });
export const Direntplus = struct('Direntplus', 152, { entry: EntryOut, dirent: Dirent });

/** Without SETXATTR_EXT, which is not negotiated. */
export const SetxattrIn = struct('SetxattrIn', 8, { size: 'u32', flags: 'u32' });
export const GetxattrIn = struct('GetxattrIn', 8, { size: 'u32', padding: 'u32' });
export const GetxattrOut = struct('GetxattrOut', 8, { size: 'u32', padding: 'u32' });

export const FileLock = struct('FileLock', 24, { start: 'u64', end: 'u64', type: 'u32', pid: 'u32' });
export const LkIn = struct('LkIn', 48, { fh: 'u64', owner: 'u64', lk: FileLock, lk_flags: 'u32', padding: 'u32' });
export const LkOut = struct('LkOut', 24, { lk: FileLock });
export const InterruptIn = struct('InterruptIn', 8, { unique: 'u64' });
export const AccessIn = struct('AccessIn', 8, { mask: 'u32', padding: 'u32' });

export const StatfsOut = struct('StatfsOut', 80, {
  blocks: 'u64',
  bfree: 'u64',
  bavail: 'u64',
  files: 'u64',
  ffree: 'u64',
  bsize: 'u32',
  namelen: 'u32',
  frsize: 'u32',
  padding: 'u32',
  spare0: 'u32',
  spare1: 'u32',
  spare2: 'u32',
  spare3: 'u32',
  spare4: 'u32',
  spare5: 'u32',
});
export const IoctlIn = struct('IoctlIn', 32, {
  fh: 'u64',
  flags: 'u32',
  cmd: 'u32',
  arg: 'u64',
  in_size: 'u32',
  out_size: 'u32',
});
export const PollIn = struct('PollIn', 24, { fh: 'u64', kh: 'u64', flags: 'u32', events: 'u32' });

/** `len` <= 0 means to the end; `off` < 0 drops attributes only. */
export const NotifyInvalInodeOut = struct('NotifyInvalInodeOut', 24, { ino: 'u64', off: 'i64', len: 'i64' });
/** Followed by the name and a NUL. */
