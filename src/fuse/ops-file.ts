import { Errno, FsError, LostError } from '../base/errno.js';
import type { Gfid } from '../base/ids.js';
import {
  DATA_BYTES_MAX,
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  SEEK_DATA,
  SEEK_HOLE,
} from '../fops/ops.js';
import {
  CopyFileRangeIn,
  CopyFileRangeOut,
  CreateIn,
  FallocateIn,
  FsyncIn,
  LseekIn,
  LseekOut,
  OpenIn,
  OutHeader,
  ReadIn,
  WriteIn,
  WriteOut,
} from './abi.js';
import {
  FOPEN_DIRECT_IO,
  FOPEN_KEEP_CACHE,
  FOPEN_PARALLEL_DIRECT_WRITES,
  FSYNC_FDATASYNC,
  O_APPEND,
  O_DIRECT,
  O_DSYNC,
  O_EXCL,
  O_TRUNC,
  OPEN_KILL_SUIDGID,
  WRITE_CACHE,
  WRITE_KILL_SUIDGID,
} from './abi-constants.js';
import { write64, type Message, type Request } from './message.js';
import { operation } from './operation.js';
import { COPIED_BYTES_MAX } from './payloads.js';
import type { Session } from './session.js';

const MODE_BITS = 0o7777;
/** Most bytes of one copy, so that its count fits the reply (the kernel's own limit for one read or write). */
const COPY_BYTES_MAX = 0x7fff_f000;

/**
 * Without KEEP_CACHE (see page-versions.ts) the kernel drops the file's pages at open. O_DIRECT opens leave the page cache out and may write in parallel; with the
 * cache in between, every write would hold the inode's lock.
 */
function replyFlags(session: Session, openFlags: number): number {
  return (openFlags & O_DIRECT) === 0 && !session.directIo ? 0 : FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
}

/** Undoes an open that nobody will ever close, because its caller died before it was told. */
function closer(session: Session, gfid: Gfid): () => void {
  return () => {
    session.fops
      .release({ gfid }, session.lateNumber())
      .catch((error: unknown) => session.log.warn('an abandoned open was not released', { gfid, error }));
  };
}

export const open = operation('OPEN', { body: OpenIn, changes: true }, (session, request, message) => {
  const flags = message.u32(OpenIn.at.flags);
  const gfid = session.gfid;
  const args = {
    gfid,
    truncate: (flags & O_TRUNC) !== 0,
    killPriv: (message.u32(OpenIn.at.open_flags) & OPEN_KILL_SUIDGID) !== 0,
  };
  session.settle(request, session.fops.open(args, request.mutation(0)), ({ attr }) => {
    const how = replyFlags(session, flags);
    const keep = how === 0 && session.keepsPages(attr) ? FOPEN_KEEP_CACHE : 0;
    session.opened(request, gfid, how | keep, closer(session, gfid));
    if (args.truncate) session.pages.answered(gfid, request.pid);
  });
});

export const create = operation('CREATE', { body: CreateIn, names: 1, changes: true }, (session, request, message) => {
  const flags = message.u32(CreateIn.at.flags);
  const args = {
    parent: session.gfid,
    name: message.name0,
    mode: message.u32(CreateIn.at.mode) & MODE_BITS,
    exclusive: (flags & O_EXCL) !== 0,
    truncate: (flags & O_TRUNC) !== 0,
    uid: request.uid,
    gid: request.gid,
  };
  session.settle(request, session.fops.create(args, request.mutation(0)), (r) => {
    const how = replyFlags(session, flags);
    if (how === 0) session.keepsPages(r.attr);
    session.created(request, args, r.attr, how, closer(session, r.attr.gfid));
  });
});

export const tmpfile = operation('TMPFILE', { body: CreateIn, changes: true }, (session, request, message) => {
  const flags = message.u32(CreateIn.at.flags);
  const mode = message.u32(CreateIn.at.mode) & MODE_BITS;
  const args = { parent: session.gfid, mode, uid: request.uid, gid: request.gid };
  session.settle(request, session.fops.tmpfile(args, request.mutation(0)), (r) => {
    const how = replyFlags(session, flags);
    if (how === 0) session.keepsPages(r.attr);
    session.created(request, { parent: args.parent, name: '' }, r.attr, how, closer(session, r.attr.gfid));
  });
});

export const read = operation('READ', { body: ReadIn }, (session, request, message) => {
  const offset = message.u64(ReadIn.at.offset);
  const size = Math.min(message.u32(ReadIn.at.size), DATA_BYTES_MAX);
  const { gfid } = session;
  session.settle(request, session.fops.read({ gfid, offset, size }), (r) => {
    if (r.data.byteLength < size) session.pages.endedAt(gfid, offset + r.data.byteLength);
    session.sendRead(request, r.data);
  });
});

/** Carries out one write. The data stays where it is until the operation is over, whether or not somebody still waits for it. */
function writeData(session: Session, request: Request, message: Message, data: Uint8Array, done: () => void): void {
  const flags = message.u32(WriteIn.at.flags);
  const writeFlags = message.u32(WriteIn.at.write_flags);
  // Pages written back for a mapping say nothing of how the file was opened by whom.
  const fromPages = (writeFlags & WRITE_CACHE) !== 0;
  const args = {
    gfid: session.gfid,
    offset: message.u64(WriteIn.at.offset),
    append: !fromPages && (flags & O_APPEND) !== 0,
    sync: !fromPages && (flags & O_DSYNC) !== 0,
    killPriv: (writeFlags & WRITE_KILL_SUIDGID) !== 0,
    data,
  };
  const size = data.byteLength;
  const asking = session.pages.begin(args.gfid, request.pid);
  if (asking !== undefined) session.pages.written(asking, args.append ? Infinity : args.offset + size);
  session.fops.write(args, request.mutation(0)).then(
    () => {
      done();
      session.outView.setUint32(OutHeader.bytes + WriteOut.at.size, size, true);
      session.outView.setUint32(OutHeader.bytes + WriteOut.at.padding, 0, true);
      session.send(request, WriteOut.bytes);
      if (asking !== undefined) session.pages.end(asking);
    },
    (error: unknown) => {
      if (error instanceof LostError && error.over !== undefined) void error.over.then(done);
      else done();
      session.fail(request, error);
      if (asking !== undefined) session.pages.end(asking);
    },
  );
}

export const write = operation('WRITE', { body: WriteIn, changes: true }, (session, request, message) => {
  session.needIntact(message.u64(WriteIn.at.fh));
  const size = message.u32(WriteIn.at.size);
  const from = message.rest;
  if (from + size > message.end || size > DATA_BYTES_MAX)
    throw new FsError(Errno.EIO, 'write', 'a request with less data than it says');
  if (size <= COPIED_BYTES_MAX) {
    const copy = session.payloads.copy(message.bytes, from, from + size);
    const data = copy.length === size ? copy : copy.subarray(0, size);
    return writeData(session, request, message, data, () => session.payloads.give(copy));
  }
  const data = message.bytes.subarray(from, from + size);
  const buffer = session.keepBuffer();
  writeData(session, request, message, data, () => session.recycle(buffer));
});

function syncInode(session: Session, request: Request, message: Message): Promise<unknown> {
  const dataOnly = (message.u32(FsyncIn.at.fsync_flags) & FSYNC_FDATASYNC) !== 0;
  return session.fops.fsync({ gfid: session.gfid, dataOnly }, request.mutation(0));
}

export const fsync = operation('FSYNC', { body: FsyncIn }, (session, request, message) => {
  const fh = message.u64(FsyncIn.at.fh);
  session.needIntact(fh);
  // Looked at when it ends: it may be doubted meanwhile, and who is told of the loss by the volume is not told again.
  let doubted = false;
  const synced = syncInode(session, request, message).finally(() => (doubted = session.handles.takeDoubt(fh)));
  session.settle(request, synced, () => (doubted ? session.failWith(request, Errno.EIO) : session.ok(request)));
});

export const fsyncdir = operation('FSYNCDIR', { body: FsyncIn }, (session, request, message) => {
  session.settle(request, syncInode(session, request, message), () => session.ok(request));
});

const FALLOCATE_MODES = new Set([
  0,
  FALLOC_KEEP_SIZE,
  FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  FALLOC_ZERO_RANGE | FALLOC_KEEP_SIZE,
]);

export const fallocate = operation('FALLOCATE', { body: FallocateIn, changes: true }, (session, request, message) => {
  session.needIntact(message.u64(FallocateIn.at.fh));
  const mode = message.u32(FallocateIn.at.mode);
  if (!FALLOCATE_MODES.has(mode)) return session.failWith(request, Errno.EOPNOTSUPP);
  const args = {
    gfid: session.gfid,
    offset: message.u64(FallocateIn.at.offset),
    length: message.u64(FallocateIn.at.length),
    mode,
  };
  session.settle(request, session.fops.fallocate(args, request.mutation(0)), () => {
    session.ok(request);
    session.pages.answered(args.gfid, request.pid);
  });
});

export const lseek = operation('LSEEK', { body: LseekIn }, (session, request, message) => {
  const whence = message.u32(LseekIn.at.whence);
  if (whence !== SEEK_DATA && whence !== SEEK_HOLE) return session.failWith(request, Errno.EINVAL);
  const args = { gfid: session.gfid, offset: message.u64(LseekIn.at.offset), whence };
  session.settle(request, session.fops.lseek(args), (r) => {
    write64(session.outView, OutHeader.bytes + LseekOut.at.offset, r.offset);
    session.send(request, LseekOut.bytes);
  });
});

function copyRange(
  session: Session,
  request: Request,
  message: Message,
  lengthMax: number,
  reply: (copied: number) => void,
): void {
  const at = CopyFileRangeIn.at;
  session.needIntact(message.u64(at.fh_out));
  const target = session.nodes.gfid(message.u64(at.nodeid_out));
  if (target === undefined) return session.failWith(request, Errno.ESTALE);
  const args = {
    source: session.gfid,
    sourceOffset: message.u64(at.off_in),
    target,
    targetOffset: message.u64(at.off_out),
    length: Math.min(message.u64(at.len), lengthMax),
  };
  session.settle(request, session.fops.copyFileRange(args, request.mutation(0)), (r) => {
    reply(r.copied);
    session.pages.answered(target, request.pid);
  });
}

export const copyFileRange = operation('COPY_FILE_RANGE', { body: CopyFileRangeIn, changes: true }, (session, request, message) => {
  copyRange(session, request, message, COPY_BYTES_MAX, (copied) => {
    session.outView.setUint32(OutHeader.bytes + WriteOut.at.size, copied, true);
    session.outView.setUint32(OutHeader.bytes + WriteOut.at.padding, 0, true);
    session.send(request, WriteOut.bytes);
  });
});

export const copyFileRange64 = operation(
  'COPY_FILE_RANGE_64',
  { body: CopyFileRangeIn, changes: true },
  (session, request, message) => {
    copyRange(session, request, message, COPY_BYTES_MAX, (copied) => {
      write64(session.outView, OutHeader.bytes + CopyFileRangeOut.at.bytes_copied, copied);
      session.send(request, CopyFileRangeOut.bytes);
    });
  },
);
