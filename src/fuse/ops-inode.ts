import { OutHeader, ForgetIn, ForgetOne, BatchForgetIn, GetattrIn, InterruptIn, SetattrIn, StatfsOut } from './abi.js';
import {
  FATTR_ATIME,
  FATTR_ATIME_NOW,
  FATTR_FH,
  FATTR_GID,
  FATTR_KILL_SUIDGID,
  FATTR_MODE,
  FATTR_MTIME,
  FATTR_MTIME_NOW,
  FATTR_SIZE,
  FATTR_UID,
} from './abi-constants.js';
import type { Args } from '../fops/ops.js';
import type { Time } from '../base/time.js';
import { readU64, uniqueNumber, write64, type Message } from './message.js';
import { operation } from './operation.js';
import type { Asking } from './page-versions.js';
import type { Session } from './session.js';

const PERMISSION_BITS = 0o7777;

export const lookup = operation('LOOKUP', { names: 1 }, (session, request, message) => {
  const args = { parent: session.gfid, name: message.name0 };
  session.settle(request, session.fops.lookup(args), (r) => session.entry(request, args.parent, args.name, r.attr));
});

export const forget = operation(
  'FORGET',
  { body: ForgetIn, anywhere: true, silent: true },
  (session, request, message) => {
    session.forget(request.nodeid, message.u64(ForgetIn.at.nlookup));
  },
);

export const batchForget = operation(
  'BATCH_FORGET',
  { body: BatchForgetIn, anywhere: true, silent: true },
  (session, _request, message) => {
    const announced = message.u32(BatchForgetIn.at.count);
    let at = message.rest;
    for (let i = 0; i < announced && at + ForgetOne.bytes <= message.end; i++, at += ForgetOne.bytes) {
      session.forget(
        readU64(message.view, at + ForgetOne.at.nodeid),
        readU64(message.view, at + ForgetOne.at.nlookup),
      );
    }
  },
);

/** After the answer was sent, which was asked for before. */
function endWith(session: Session, asking: Asking, work: Promise<unknown>): void {
  const end = (): void => session.pages.end(asking);
  work.then(end, end);
}

export const getattr = operation('GETATTR', { body: GetattrIn }, (session, request) => {
  const { gfid, pages } = session;
  const asking = pages.begin(gfid, request.pid);
  const asked = session.fops.getattr({ gfid });
  session.settle(request, asked, (r) => session.attr(request, r.attr, asking));
  if (asking !== undefined) endWith(session, asking, asked);
});

function timeAt(message: Message, sec: number, nsec: number): Time {
  return { sec: message.i64(sec), nsec: message.u32(nsec) };
}

export const setattr = operation('SETATTR', { body: SetattrIn, changes: true }, (session, request, message) => {
  const at = SetattrIn.at;
  const valid = message.u32(at.valid);
  if ((valid & FATTR_FH) !== 0) session.needIntact(message.u64(at.fh));
  const args: Args<'setattr'> = {
    gfid: session.gfid,
    atimeNow: (valid & FATTR_ATIME_NOW) !== 0,
    mtimeNow: (valid & FATTR_MTIME_NOW) !== 0,
    // A change of owner takes setuid and setgid away, whoever makes it; the kernel leaves that to us (HANDLE_KILLPRIV_V2).
    killPriv: (valid & (FATTR_KILL_SUIDGID | FATTR_UID | FATTR_GID)) !== 0,
  };
  if ((valid & FATTR_MODE) !== 0) args.mode = message.u32(at.mode) & PERMISSION_BITS;
  if ((valid & FATTR_UID) !== 0) args.uid = message.u32(at.uid);
  if ((valid & FATTR_GID) !== 0) args.gid = message.u32(at.gid);
  if ((valid & FATTR_SIZE) !== 0) args.size = message.u64(at.size);
  if ((valid & FATTR_ATIME) !== 0 && !args.atimeNow) args.atime = timeAt(message, at.atime, at.atimensec);
  if ((valid & FATTR_MTIME) !== 0 && !args.mtimeNow) args.mtime = timeAt(message, at.mtime, at.mtimensec);
  const asking = session.pages.begin(args.gfid, request.pid);
  const changed = session.fops.setattr(args, request.mutation(0));
  session.settle(request, changed, (r) => session.attrSet(request, r.attr));
  if (asking !== undefined) endWith(session, asking, changed);
});

export const readlink = operation('READLINK', {}, (session, request) => {
  session.settle(request, session.fops.readlink({ gfid: session.gfid }), ({ target }) => {
    session.send(request, session.out.write(target, OutHeader.bytes, 'latin1'));
  });
});

export const statfs = operation('STATFS', { anywhere: true }, (session, request) => {
  session.settle(request, session.fops.statfs({}), (r) => {
    const view = session.outView;
    const base = OutHeader.bytes;
    const at = StatfsOut.at;
    session.out.fill(0, base, base + StatfsOut.bytes);
    write64(view, base + at.blocks, r.blocks);
    write64(view, base + at.bfree, r.blocksFree);
    write64(view, base + at.bavail, r.blocksAvailable);
    write64(view, base + at.files, r.files);
    write64(view, base + at.ffree, r.filesFree);
    view.setUint32(base + at.bsize, r.blockSize, true);
    view.setUint32(base + at.frsize, r.blockSize, true);
    view.setUint32(base + at.namelen, r.nameMax, true);
    session.send(request, StatfsOut.bytes);
  });
});

/** Never answered itself: the request that it interrupts is. */
export const interrupt = operation(
  'INTERRUPT',
  { body: InterruptIn, anywhere: true, silent: true },
  (session, _request, message) => {
    const at = message.body + InterruptIn.at.unique;
    session.interrupt(uniqueNumber(message.view.getUint32(at, true), message.view.getUint32(at + 4, true)));
  },
);
