import { Errno } from '../base/errno.js';
import { GetxattrIn, GetxattrOut, OutHeader, SetxattrIn } from './abi.js';
import type { Request } from './message.js';
import { operation } from './operation.js';
import type { Session } from './session.js';

const NAME_BYTES_MAX = 255;
const VALUE_BYTES_MAX = 65_536;
const ROOT_UID = 0;

/** The errno for an attribute name that no file can have; 0 for a good one. POSIX ACLs (`system.`) are not kept. */
function xattrNameErrno(name: string): number {
  if (name.length === 0 || name.length > NAME_BYTES_MAX) return Errno.ERANGE;
  return name.startsWith('system.') ? Errno.EOPNOTSUPP : 0;
}

/** Answers with the size when the caller asked for it (room 0), with ERANGE when its room is too small, else with the value. */
function answerValue(session: Session, request: Request, value: Uint8Array, room: number): void {
  if (room === 0) {
    session.outView.setUint32(OutHeader.bytes + GetxattrOut.at.size, value.byteLength, true);
    session.outView.setUint32(OutHeader.bytes + GetxattrOut.at.padding, 0, true);
    session.send(request, GetxattrOut.bytes);
  } else if (value.byteLength > room) session.failWith(request, Errno.ERANGE);
  else session.sendData(request, value);
}

export const setxattr = operation('SETXATTR', { body: SetxattrIn, strings: 1, changes: true }, (session, request, message) => {
  const size = message.u32(SetxattrIn.at.size);
  const errno = xattrNameErrno(message.name0);
  if (errno !== 0) return session.failWith(request, errno);
  if (size > VALUE_BYTES_MAX) return session.failWith(request, Errno.E2BIG);
  if (message.rest + size > message.end) return session.failWith(request, Errno.EIO);
  const value = Buffer.from(message.bytes.subarray(message.rest, message.rest + size));
  const args = { gfid: session.gfid, name: message.name0, value, flags: message.u32(SetxattrIn.at.flags) };
  session.settle(request, session.fops.setxattr(args, request.mutation(0)), () => session.ok(request));
});

export const getxattr = operation('GETXATTR', { body: GetxattrIn, strings: 1 }, (session, request, message) => {
  const room = message.u32(GetxattrIn.at.size);
  const errno = xattrNameErrno(message.name0);
  if (errno !== 0) return session.failWith(request, errno);
  const found = session.fops.getxattr({ gfid: session.gfid, name: message.name0 });
  session.settle(request, found, (r) => answerValue(session, request, r.value, room));
});

/** Only root sees the `trusted.` names. */
export const listxattr = operation('LISTXATTR', { body: GetxattrIn }, (session, request, message) => {
  const room = message.u32(GetxattrIn.at.size);
  session.settle(request, session.fops.listxattr({ gfid: session.gfid }), ({ names }) => {
    const visible = request.uid === ROOT_UID ? names : names.filter((name) => !name.startsWith('trusted.'));
    answerValue(session, request, Buffer.from(visible.map((name) => `${name}\0`).join(''), 'latin1'), room);
  });
});

export const removexattr = operation('REMOVEXATTR', { strings: 1, changes: true }, (session, request, message) => {
  const errno = xattrNameErrno(message.name0);
  if (errno !== 0) return session.failWith(request, errno);
  const args = { gfid: session.gfid, name: message.name0 };
  session.settle(request, session.fops.removexattr(args, request.mutation(0)), () => session.ok(request));
});
