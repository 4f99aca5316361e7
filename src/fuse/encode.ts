/** Bodies of replies, written behind the OutHeader. */
import type { Gfid } from '../base/ids.js';
import type { Attr as FileAttr } from '../fops/fields.js';
import { Attr, AttrOut, EntryOut } from './abi.js';
import { write64 } from './message.js';
import type { Validity } from './caching.js';

/** Room for the largest reply body that is encoded: an xattr list, or a listing (which stops where the room ends). */
export const BODY_BYTES_MAX = 131_072;

/** Advised to programs as the unit of I/O; larger ones would also change the kernel's block size of the inode. */
const BLOCK_BYTES = 4096;

/** The inode number that programs see: a pure function of the identity, so it is the same on every node and after every restart. */
export function inoHigh(gfid: Gfid): number {
  return parseInt(gfid.slice(16, 24), 16) & 0x7fff_ffff;
}

export function inoLow(gfid: Gfid): number {
  return parseInt(gfid.slice(24, 32), 16);
}

export function encodeIno(view: DataView, at: number, gfid: Gfid): void {
  view.setUint32(at, inoLow(gfid), true);
  view.setUint32(at + 4, inoHigh(gfid), true);
}

export function encodeAttr(view: DataView, at: number, attr: FileAttr): void {
  const a = Attr.at;
  encodeIno(view, at + a.ino, attr.gfid);
  write64(view, at + a.size, attr.size);
  write64(view, at + a.blocks, attr.blocks);
  write64(view, at + a.atime, attr.atime.sec);
  write64(view, at + a.mtime, attr.mtime.sec);
  write64(view, at + a.ctime, attr.ctime.sec);
  view.setUint32(at + a.atimensec, attr.atime.nsec, true);
  view.setUint32(at + a.mtimensec, attr.mtime.nsec, true);
  view.setUint32(at + a.ctimensec, attr.ctime.nsec, true);
  view.setUint32(at + a.mode, attr.mode, true);
  view.setUint32(at + a.nlink, attr.nlink, true);
  view.setUint32(at + a.uid, attr.uid, true);
  view.setUint32(at + a.gid, attr.gid, true);
  view.setUint32(at + a.rdev, attr.rdev, true);
  view.setUint32(at + a.blksize, BLOCK_BYTES, true);
  view.setUint32(at + a.flags, 0, true);
}

export function encodeAttrOut(view: DataView, at: number, attr: FileAttr, valid: Validity): void {
  write64(view, at + AttrOut.at.attr_valid, valid.sec);
  view.setUint32(at + AttrOut.at.attr_valid_nsec, valid.nsec, true);
  view.setUint32(at + AttrOut.at.dummy, 0, true);
  encodeAttr(view, at + AttrOut.at.attr, attr);
}

export function encodeEntryOut(
  view: DataView,
  at: number,
  nodeid: number,
  generation: number,
  attr: FileAttr,
  entryValid: Validity,
  attrValid: Validity,
): void {
  write64(view, at + EntryOut.at.nodeid, nodeid);
  write64(view, at + EntryOut.at.generation, generation);
  write64(view, at + EntryOut.at.entry_valid, entryValid.sec);
  write64(view, at + EntryOut.at.attr_valid, attrValid.sec);
  view.setUint32(at + EntryOut.at.entry_valid_nsec, entryValid.nsec, true);
  view.setUint32(at + EntryOut.at.attr_valid_nsec, attrValid.nsec, true);
  encodeAttr(view, at + EntryOut.at.attr, attr);
}
