import { Errno, FsError, LostError } from '../base/errno.js';
import type { Gfid } from '../base/ids.js';
import { LOCK_END_MAX, type Args } from '../fops/ops.js';
import { FlushIn, LkIn, LkOut, FileLock, OutHeader, ReleaseIn } from './abi.js';
import { F_UNLCK, LK_FLOCK } from './abi-constants.js';
import { LOCK_KIND_FLOCK, LOCK_KIND_POSIX, ownerToken, type OwnerRecord } from './lock-owners.js';
import { write64, type Message, type Request } from './message.js';
import { operation } from './operation.js';
import type { Session } from './session.js';

/** What the kernel writes for the end of a lock that reaches to the end of the file: 2^63 - 1. */
const KERNEL_END_LOW = 0xffff_ffff;
const KERNEL_END_HIGH = 0x7fff_ffff;

interface LockRequest {
  readonly gfid: Gfid;
  readonly nodeid: number;
  readonly fh: number;
  readonly ownerLow: number;
  readonly ownerHigh: number;
  readonly owner: string;
  readonly kind: number;
  readonly type: number;
  readonly start: number;
  readonly end: number;
  readonly pid: number;
}

function readLock(session: Session, request: Request, message: Message): LockRequest {
  const lk = LkIn.at.lk;
  const ownerLow = message.u32(LkIn.at.owner);
  const ownerHigh = message.u32(LkIn.at.owner + 4);
  const type = message.u32(lk + FileLock.at.type);
  if (type > F_UNLCK) throw new FsError(Errno.EINVAL, 'lock', `type ${type}`);
  return {
    gfid: session.gfid,
    nodeid: request.nodeid,
    fh: message.u64(LkIn.at.fh),
    ownerLow,
    ownerHigh,
    owner: ownerToken(ownerLow, ownerHigh),
    kind: (message.u32(LkIn.at.lk_flags) & LK_FLOCK) === 0 ? LOCK_KIND_POSIX : LOCK_KIND_FLOCK,
    type,
    start: message.u64(lk + FileLock.at.start),
    end: message.lockEnd(lk + FileLock.at.end),
    pid: message.u32(lk + FileLock.at.pid),
  };
}

/** Runs `go` when no drop of this inode's locks is under way: now, or later. */
function afterDrops(session: Session, nodeid: number, go: () => void): void {
  const inode = session.owners.find(nodeid);
  if (inode === undefined || inode.drops === 0) go();
  else inode.waiting.push(go);
}

export const getlk = operation('GETLK', { body: LkIn }, (session, request, message) => {
  const lock = readLock(session, request, message);
  const { gfid, owner, kind, type, start, end } = lock;
  afterDrops(session, lock.nodeid, () => {
    session.settle(request, session.fops.getLock({ gfid, owner, kind, type, start, end }), (r) => {
      const at = OutHeader.bytes + LkOut.at.lk;
      const view = session.outView;
      write64(view, at + FileLock.at.start, r.start);
      if (r.end >= LOCK_END_MAX) {
        view.setUint32(at + FileLock.at.end, KERNEL_END_LOW, true);
        view.setUint32(at + FileLock.at.end + 4, KERNEL_END_HIGH, true);
      } else write64(view, at + FileLock.at.end, r.end);
      view.setUint32(at + FileLock.at.type, r.type, true);
      view.setUint32(at + FileLock.at.pid, r.pid, true);
      session.send(request, LkOut.bytes);
    });
  });
});

/** Sends one SETLK or SETLKW; a refusal that may only be due to a close on this machine is tried once more when that close is through. */
function sendLock(
  session: Session,
  request: Request,
  lock: LockRequest,
  wait: boolean,
  number: number,
  again: boolean,
): void {
  if (request.answered) return session.owners.endRequest(lock.nodeid);
  if (session.handles.isLost(lock.fh)) {
    session.owners.endRequest(lock.nodeid);
    return session.failWith(request, Errno.EIO);
  }
  if (request.interrupted && wait) {
    session.owners.endRequest(lock.nodeid);
    return session.failWith(request, Errno.EINTR);
  }
  const { gfid, owner, kind, type, start, end, pid } = lock;
  const args: Args<'setLock'> = { gfid, owner, kind, type, start, end, pid, wait };
  const dropsBefore = session.owners.at(lock.nodeid).dropCount;
  request.cancel = wait ? (): void => cancelWait(session, gfid, owner) : undefined;
  session.fops.setLock(args, number).then(
    () => {
      finishLock(session, lock);
      if (request.answered) withoutOwner(session, lock);
      session.ok(request);
    },
    (error: unknown) => {
      const inode = session.owners.at(lock.nodeid);
      const conflict = error instanceof FsError && error.errno === Errno.EAGAIN;
      if (conflict && !wait && !again && (inode.drops > 0 || inode.dropCount !== dropsBefore)) {
        return afterDrops(session, lock.nodeid, () =>
          sendLock(session, request, lock, wait, session.lateNumber(), true),
        );
      }
      session.owners.endRequest(lock.nodeid);
      session.fail(request, error);
      if (error instanceof LostError) void error.over?.then(() => withoutOwner(session, lock));
    },
  );
}

/** A lock was given to a program that was killed meanwhile: where all that it had was dropped before, nothing will ever drop this one. */
function withoutOwner(session: Session, { gfid, nodeid, owner, kind, type }: LockRequest): void {
  if (type === F_UNLCK) return;
  afterDrops(session, nodeid, () => {
    const recorded = session.owners.find(nodeid)?.records.some((record) => record.owner === owner && record.kind === kind) === true;
    if (recorded) return;
    session.fops
      .dropLocks({ gfid, owner, kind }, session.lateNumber())
      .catch((error: unknown) => session.log.warn('the lock of a program that was killed could not be dropped', { gfid, error }));
  });
}

function cancelWait(session: Session, gfid: Gfid, owner: string): void {
  session.fops
    .cancelLock({ gfid, owner })
    .catch((error: unknown) => session.log.warn('a lock wait could not be cancelled', { gfid, error }));
}

/** An owner that unlocked the whole file needs no drop at close, unless another request of its file is under way. */
function finishLock(session: Session, lock: LockRequest): void {
  const inode = session.owners.at(lock.nodeid);
  if (lock.type === F_UNLCK && lock.start === 0 && lock.end >= LOCK_END_MAX && inode.pending === 1) {
    const gone = inode.records.filter((r) => r.owner === lock.owner && r.kind === lock.kind);
    session.owners.erase(lock.nodeid, gone);
  }
  session.owners.endRequest(lock.nodeid);
}

function setLock(session: Session, request: Request, message: Message, wait: boolean): void {
  const lock = readLock(session, request, message);
  // Recorded before it is sent: a lock that was granted to a worker that died must be known to its successor.
  if (lock.type !== F_UNLCK && !session.owners.record(lock.nodeid, lock.fh, lock.ownerLow, lock.ownerHigh, lock.kind)) {
    return session.failWith(request, Errno.ENOLCK);
  }
  session.owners.beginRequest(lock.nodeid);
  if (session.owners.at(lock.nodeid).drops === 0)
    return sendLock(session, request, lock, wait, request.mutation(0), false);
  afterDrops(session, lock.nodeid, () => sendLock(session, request, lock, wait, session.lateNumber(), false));
}

export const setlk = operation('SETLK', { body: LkIn, changes: true }, (session, request, message) =>
  setLock(session, request, message, false),
);
export const setlkw = operation('SETLKW', { body: LkIn, changes: true }, (session, request, message) =>
  setLock(session, request, message, true),
);

/** Drops the locks of these owners; resolves when all are gone, or go without anybody waiting for it (see the client's `lasting` requests). */
async function dropLocks(
  session: Session,
  request: Request,
  nodeid: number,
  gfid: Gfid,
  records: OwnerRecord[],
  firstNumber: number,
): Promise<void> {
  session.owners.beginDrop(nodeid);
  const owners = new Map(records.map((r) => [`${r.kind}${r.owner}`, r]));
  const drops = [...owners.values()].map(({ owner, kind }, i) =>
    session.fops.dropLocks({ gfid, owner, kind }, request.mutation(firstNumber + i)),
  );
  for (const result of await Promise.allSettled(drops)) {
    if (result.status === 'rejected')
      session.log.warn('locks of a closed file are dropped when the volume can be reached again', { gfid, error: result.reason as unknown });
  }
  session.owners.erase(nodeid, records);
  session.owners.endDrop(nodeid);
}

/** A process closed a descriptor: its POSIX locks on the file go, whichever handle took them, before close returns. */
export const flush = operation('FLUSH', { body: FlushIn }, (session, request, message) => {
  const inode = session.owners.find(request.nodeid);
  const owner = ownerToken(message.u32(FlushIn.at.lock_owner), message.u32(FlushIn.at.lock_owner + 4));
  const records = inode?.records.filter((r) => r.owner === owner && r.kind === LOCK_KIND_POSIX) ?? [];
  if (records.length === 0) return session.ok(request);
  session.settle(request, dropLocks(session, request, request.nodeid, session.gfid, records, 0), () =>
    session.ok(request),
  );
});

/** The last descriptor of an open file is closed: the locks taken through it go, then the open itself. */
export const release = operation('RELEASE', { body: ReleaseIn, anywhere: true }, (session, request, message) => {
  const fh = message.u64(ReleaseIn.at.fh);
  const gfid = session.handles.gfid(fh);
  if (gfid === undefined) return session.ok(request);
  const records = session.owners.find(request.nodeid)?.records.filter((r) => r.fh === fh) ?? [];
  if (session.handles.isLost(fh)) {
    session.owners.erase(request.nodeid, records);
    session.handles.remove(fh);
    return session.ok(request);
  }
  const locksGone =
    records.length === 0 ? Promise.resolve() : dropLocks(session, request, request.nodeid, gfid, records, 1);
  const closed = session.fops.release({ gfid }, request.mutation(0)).catch((error: unknown) => {
    session.log.warn('a closed file could not be released', { gfid, error });
  });
  session.settle(request, Promise.all([locksGone, closed]), () => {
    session.handles.remove(fh);
    session.ok(request);
  });
});
