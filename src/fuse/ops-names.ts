import { Errno } from '../base/errno.js';
import type { Gfid, Name } from '../base/ids.js';
import type { Attr } from '../fops/fields.js';
import { RENAME_EXCHANGE, RENAME_NOREPLACE, S_IFMT, S_IFREG } from '../fops/ops.js';
import { LinkIn, MkdirIn, MknodIn, Rename2In, RenameIn } from './abi.js';
import type { Message, Request } from './message.js';
import { operation } from './operation.js';
import type { Session } from './session.js';

/** The kernel has already taken the umask off (DONT_MASK is not negotiated). */
const MODE_BITS = 0o7777;
const TARGET_BYTES_MAX = 4095;

/** Answers with the inode that the operation gave this name. */
function settleEntry(session: Session, request: Request, place: { parent: Gfid; name: Name }, made: Promise<{ attr: Attr }>): void {
  session.settle(request, made, ({ attr }) => session.entry(request, place.parent, place.name, attr));
}

export const symlink = operation('SYMLINK', { strings: 2, names: 1, changes: true }, (session, request, message) => {
  const target = message.name1;
  if (target.length === 0) return session.failWith(request, Errno.ENOENT);
  if (target.length > TARGET_BYTES_MAX) return session.failWith(request, Errno.ENAMETOOLONG);
  const args = { parent: session.gfid, name: message.name0, target, uid: request.uid, gid: request.gid };
  settleEntry(session, request, args, session.fops.symlink(args, request.mutation(0)));
});

export const mknod = operation('MKNOD', { body: MknodIn, names: 1, changes: true }, (session, request, message) => {
  const mode = message.u32(MknodIn.at.mode) & (S_IFMT | MODE_BITS);
  const args = {
    parent: session.gfid,
    name: message.name0,
    mode: (mode & S_IFMT) === 0 ? mode | S_IFREG : mode,
    rdev: message.u32(MknodIn.at.rdev),
    uid: request.uid,
    gid: request.gid,
  };
  settleEntry(session, request, args, session.fops.mknod(args, request.mutation(0)));
});

export const mkdir = operation('MKDIR', { body: MkdirIn, names: 1, changes: true }, (session, request, message) => {
  const mode = message.u32(MkdirIn.at.mode) & MODE_BITS;
  const args = { parent: session.gfid, name: message.name0, mode, uid: request.uid, gid: request.gid };
  settleEntry(session, request, args, session.fops.mkdir(args, request.mutation(0)));
});

export const unlink = operation('UNLINK', { names: 1, changes: true }, (session, request, message) => {
  const args = { parent: session.gfid, name: message.name0 };
  session.settle(request, session.fops.unlink(args, request.mutation(0)), () => session.ok(request));
});

export const rmdir = operation('RMDIR', { names: 1, changes: true }, (session, request, message) => {
  const args = { parent: session.gfid, name: message.name0 };
  session.settle(request, session.fops.rmdir(args, request.mutation(0)), () => session.ok(request));
});

function move(session: Session, request: Request, message: Message, newDirectory: number, flags: number): void {
  const newParent = session.nodes.gfid(newDirectory);
  if (newParent === undefined) return session.failWith(request, Errno.ESTALE);
  const args = { parent: session.gfid, name: message.name0, newParent, newName: message.name1, flags };
  session.settle(request, session.fops.rename(args, request.mutation(0)), () => session.ok(request));
}

export const rename = operation('RENAME', { body: RenameIn, names: 2, changes: true }, (session, request, message) => {
  move(session, request, message, message.u64(RenameIn.at.newdir), 0);
});

/** WHITEOUT, which only overlayfs asks for, is not there. */
export const rename2 = operation('RENAME2', { body: Rename2In, names: 2, changes: true }, (session, request, message) => {
  const flags = message.u32(Rename2In.at.flags);
  if (flags !== 0 && flags !== RENAME_NOREPLACE && flags !== RENAME_EXCHANGE)
    return session.failWith(request, Errno.EINVAL);
  move(session, request, message, message.u64(Rename2In.at.newdir), flags);
});

export const link = operation('LINK', { body: LinkIn, names: 1, changes: true }, (session, request, message) => {
  const gfid = session.nodes.gfid(message.u64(LinkIn.at.oldnodeid));
  if (gfid === undefined) return session.failWith(request, Errno.ESTALE);
  const args = { gfid, newParent: session.gfid, newName: message.name0 };
  settleEntry(session, request, { parent: args.newParent, name: args.newName }, session.fops.link(args, request.mutation(0)));
});
