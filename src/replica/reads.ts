/**
 * Reads at the primary: answered from its copy when no change under way stands against them, and only under a live serving lease that is looked
 * at again when the reply leaves: a process that was stopped and wakes up must not answer.
 */
import { Errno, FsError, LostError } from '../base/errno.js';
import type { Gfid } from '../base/ids.js';
import type { Channel } from '../env/channel.js';
import { OPS, SEEK_DATA, type Args, type OpName, type Result } from '../fops/ops.js';
import type { Message, MessageOf } from '../wire/messages.js';
import { definiteErrno } from './copy.js';
import { Mode, onBehalf, rangeLock, readLock, type Lock } from './inode-locks.js';
import { addRegionKeys, type Key } from './keys.js';
import { fileLockLock } from './plan.js';
import type { Leases } from './leases.js';
import type { Primary } from './primary.js';
import type { Session } from './sessions.js';
import { DamagedError } from './soundness.js';
import type { Store } from './store.js';

type ReadRequest = MessageOf<'request'>;

const READ_BYTES_MAX = 1 << 20;
const LISTING_MAX = 1024;
/** A disk that damages the same bytes again and again does not keep a reader forever. */
const REPAIRS_MAX = 16;
/** A read that this disk failed and nobody else can answer is tried again after this. */
const REFUSED_MS = 200;

export function isRead(op: OpName): boolean {
  return !OPS[op].mutation;
}

function locksOf(store: Store, message: ReadRequest): Lock[] {
  const { op, args } = message;
  switch (op) {
    case 'lookup': {
      const { parent, name } = args as Args<'lookup'>;
      const child = store.child(parent, name);
      return child === undefined ? [readLock(parent)] : [readLock(parent), readLock(child.gfid)];
    }
    case 'read': {
      const { gfid, offset, size } = args as Args<'read'>;
      return [rangeLock(gfid, Mode.DataRead, offset, offset + size)];
    }
    case 'getLock':
      return [fileLockLock((args as Args<'getLock'>).gfid)];
    case 'statfs':
      return [];
    default:
      return [readLock((args as { gfid: Gfid }).gfid)];
  }
}

function compute(primary: Primary, session: Session, message: ReadRequest): unknown {
  const { store, fileLocks } = primary.host.copy;
  const { op, args } = message;
  switch (op) {
    case 'lookup': {
      const { parent, name } = args as Args<'lookup'>;
      const attr = store.lookup(parent, name);
      primary.paths.note(attr.gfid, parent, name);
      return { attr };
    }
    case 'getattr':
      return { attr: store.getattr((args as Args<'getattr'>).gfid) };
    case 'readlink':
      return { target: store.readlink((args as Args<'readlink'>).gfid) };
    case 'readdir': {
      const { gfid, after, limit, attributes } = args as Args<'readdir'>;
      const listing = store.readdir(gfid, after, Math.min(limit, LISTING_MAX), attributes);
      // Attributes that a change under way may alter are left out: the client asks for them alone.
      for (const entry of attributes ? listing.entries : []) if (!primary.locks.free({ ...readLock(entry.gfid), of: session.id })) entry.attr = undefined;
      return listing;
    }
    case 'statfs': {
      // What a majority of the bricks can give away: one that has less leaves the set when it is needed.
      const space = store.statfs();
      const spare = Math.min(space.blocks, Math.floor(primary.spareBytes / space.blockSize));
      const blocksAvailable = primary.spareBytes === Infinity ? space.blocksAvailable : spare;
      return { ...space, blocksAvailable, blocksFree: Math.max(space.blocksFree, blocksAvailable) };
    }
    case 'getxattr': {
      const { gfid, name } = args as Args<'getxattr'>;
      return { value: store.getxattr(gfid, name) };
    }
    case 'listxattr':
      return { names: store.listxattr((args as Args<'listxattr'>).gfid) };
    case 'lseek': {
      const { gfid, offset, whence } = args as Args<'lseek'>;
      if (whence !== SEEK_DATA && whence !== SEEK_DATA + 1) throw new FsError(Errno.EINVAL, op);
      return { offset: store.lseek(gfid, offset, whence) };
    }
    case 'getLock': {
      const request = args as Args<'getLock'>;
      if (request.kind > 1 || request.type > 2 || request.start > request.end) throw new FsError(Errno.EINVAL, op);
      const held = fileLocks.conflict({ ...request, session: session.id, pid: 0 });
      return held === undefined ? { type: 2, start: request.start, end: request.end, pid: 0 } : { type: held.type, start: held.start, end: held.end, pid: held.pid };
    }
    case 'read': {
      const { gfid, offset, size } = args as Args<'read'>;
      if (size > READ_BYTES_MAX) throw new FsError(Errno.EINVAL, op, `more than ${READ_BYTES_MAX} bytes`);
      return store.read(gfid, offset, size);
    }
    default:
      throw new FsError(Errno.EPROTO, op, 'not a read');
  }
}

/** Leases on what the answer speaks of. No change of it is under way: the answer would have waited. One that is withheld is nobody's: then there is none at all. */
function grantLeases(primary: Primary, session: Session, message: ReadRequest, errno: number, result: unknown): boolean {
  const { leases } = primary;
  if (!leases.eligible(session)) return false;
  const spokenOf = inodesSpokenOf(leases, message, errno, result);
  if (spokenOf.length === 0 || leases.withheld(spokenOf[0] as Gfid) || leases.withheld(spokenOf[1] ?? '')) return false;
  for (const gfid of spokenOf) leases.grant(gfid, session);
  return true;
}

/** Entries of a listing that get no lease lose their attributes: the client asks for them alone. */
function inodesSpokenOf(leases: Leases, { op, args }: ReadRequest, errno: number, result: unknown): Gfid[] {
  if (op === 'lookup') {
    const { parent } = args as Args<'lookup'>;
    if (errno === Errno.ENOENT) return [parent];
    return errno === 0 ? [parent, (result as Result<'lookup'>).attr.gfid] : [];
  }
  if (op === 'getxattr' && errno === Errno.ENODATA) return [(args as Args<'getxattr'>).gfid];
  if (errno !== 0) return [];
  if (op === 'readdir') {
    const { gfid, attributes } = args as Args<'readdir'>;
    const listed = [gfid];
    for (const entry of attributes ? (result as Result<'readdir'>).entries : []) {
      if (leases.withheld(entry.gfid)) entry.attr = undefined;
      if (entry.attr !== undefined) listed.push(entry.gfid);
    }
    return listed;
  }
  return op === 'getattr' || op === 'readlink' || op === 'getxattr' || op === 'listxattr' ? [(args as Args<'getattr'>).gfid] : [];
}

function reply(primary: Primary, session: Session, channel: Channel<Message>, message: ReadRequest, errno: number, result: unknown): void {
  if (primary.stopped || !primary.host.leaseLive()) {
    channel.send({ kind: 'redirect', id: message.id, view: primary.view });
    return;
  }
  const lease = grantLeases(primary, session, message, errno, result);
  if (message.op === 'read' && errno === 0) session.bytesRead += (result as { data: Uint8Array }).data.byteLength;
  channel.send({ kind: 'reply', id: message.id, errno, lease, op: message.op, result: errno === 0 ? result : undefined } as Message);
}

/** Bytes that do not match their checksums are replaced by another brick's, then the request is looked at again. */
function answerDamaged(primary: Primary, session: Session, channel: Channel<Message>, message: ReadRequest, { range }: DamagedError, repairs: number): void {
  const fail = (): void => reply(primary, session, channel, message, Errno.EIO, undefined);
  if (repairs >= REPAIRS_MAX) return fail();
  primary.mender.mend(range, true).then(
    (mended) => (mended ? answerRead(primary, session, channel, message, repairs + 1) : fail()),
    (error: unknown) => {
      if (!(error instanceof LostError)) throw error;
      fail();
    },
  );
}

/** This disk could not be read: a brick whose disk can takes over, and the client asks that one. While there is none, it is tried again here. */
async function answerElsewhere(primary: Primary, session: Session, channel: Channel<Message>, message: ReadRequest, repairs: number): Promise<void> {
  const keys: Key[] = [];
  if (message.op === 'read') addRegionKeys(keys, message.args.gfid, message.args.offset, message.args.offset + message.args.size);
  await primary.refusals.cannotRead(keys);
  if (!primary.stopped) await primary.sleep(REFUSED_MS);
  if (!primary.stopped) answerRead(primary, session, channel, message, repairs);
}

function failed(primary: Primary, session: Session, channel: Channel<Message>, message: ReadRequest, error: unknown, repairs: number): void {
  if (error instanceof DamagedError) return answerDamaged(primary, session, channel, message, error, repairs);
  const errno = definiteErrno(error);
  if (errno === Errno.EIO && primary.view.inSync.length > 1) void answerElsewhere(primary, session, channel, message, repairs);
  else reply(primary, session, channel, message, errno, undefined);
}

export function answerRead(primary: Primary, session: Session, channel: Channel<Message>, message: ReadRequest, repairs = 0): void {
  let result: unknown;
  try {
    const locks = locksOf(primary.host.copy.store, message);
    onBehalf(session.id, locks);
    if (!primary.locks.free(...locks)) {
      const ticket = primary.locks.acquire(locks, () => {
        primary.locks.release(ticket);
        if (!primary.stopped) answerRead(primary, session, channel, message, repairs);
      });
      return;
    }
    result = compute(primary, session, message);
    if (result instanceof Promise) {
      // The range stays locked while the disk is read, so that no write gets in between.
      const ticket = primary.locks.acquire(locks, () => undefined);
      (result as Promise<Uint8Array>).then(
        (data) => {
          primary.locks.release(ticket);
          reply(primary, session, channel, message, 0, { data });
        },
        (error: unknown) => {
          primary.locks.release(ticket);
          failed(primary, session, channel, message, error, repairs);
        },
      );
      return;
    }
    if (message.op === 'read') result = { data: result };
  } catch (error) {
    failed(primary, session, channel, message, error, repairs);
    return;
  }
  reply(primary, session, channel, message, 0, result);
}
