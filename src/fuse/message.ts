import { Errno, FsError } from '../base/errno.js';
import { nameProblem, type Name } from '../base/ids.js';
import { LOCK_END_MAX } from '../fops/ops.js';
import { InHeader } from './abi.js';

const TWO_TO_32 = 0x1_0000_0000;
const RESEND_BIT = 0x8000_0000;

/** Reads a u64 as a number; EOVERFLOW above 2^53 - 1, which no size, offset or handle of ours reaches. */
export function readU64(view: DataView, at: number): number {
  const high = view.getUint32(at + 4, true);
  if (high > 0x1f_ffff) throw new FsError(Errno.EOVERFLOW, 'fuse', 'a 64-bit number beyond 2^53');
  return high * TWO_TO_32 + view.getUint32(at, true);
}

/** Writes a number (whole, also negative) as 64 bits. */
export function write64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % TWO_TO_32, true);
  view.setUint32(at + 4, Math.floor(value / TWO_TO_32), true);
}

/**
 * One request under the reader's finger: the session has one of these and points it at each request in turn. The session checks before a
 * handler runs that the fixed body and the names are there; whatever reads further is checked here.
 */
export class Message {
  bytes: Buffer = Buffer.alloc(0);
  view: DataView = new DataView(new ArrayBuffer(0));
  /** Start of the body. */
  body = 0;
  /** End of the request, without the extension records. */
  end = 0;
  /** Start of what follows the fixed body and the names. */
  rest = 0;
  name0: Name = '';
  name1: Name = '';

  /** Points at a request whose header was checked. */
  aim(bytes: Buffer, view: DataView, end: number): void {
    this.bytes = bytes;
    this.view = view;
    this.body = InHeader.bytes;
    this.rest = this.body;
    this.end = end;
    this.name0 = '';
    this.name1 = '';
  }

  u32(at: number): number {
    return this.view.getUint32(this.body + at, true);
  }

  u64(at: number): number {
    return readU64(this.view, this.body + at);
  }

  /** A signed 64-bit number of seconds. */
  i64(at: number): number {
    return this.view.getInt32(this.body + at + 4, true) * TWO_TO_32 + this.view.getUint32(this.body + at, true);
  }

  /** An offset that may stand for the end of the file (2^63 - 1). */
  lockEnd(at: number): number {
    const high = this.view.getUint32(this.body + at + 4, true);
    return high > 0x1f_ffff ? LOCK_END_MAX : high * TWO_TO_32 + this.view.getUint32(this.body + at, true);
  }

  /** Takes a fixed body of `bytes`; false when the request is too short for it. */
  takeBody(bytes: number): boolean {
    if (this.end - this.rest < bytes) return false;
    this.rest += bytes;
    return true;
  }

  /** Takes a NUL-terminated byte string; undefined when there is no NUL before the end. */
  takeString(): string | undefined {
    const nul = this.bytes.indexOf(0, this.rest);
    if (nul < 0 || nul >= this.end) return undefined;
    const text = this.bytes.toString('latin1', this.rest, nul);
    this.rest = nul + 1;
    return text;
  }
}

/** The errno for a name that no file can have; 0 for a good one. */
export function nameErrno(name: Name): number {
  const problem = nameProblem(name);
  if (problem === undefined) return 0;
  return problem === 'too long' ? Errno.ENAMETOOLONG : Errno.EINVAL;
}

/**
 * One request from arrival to answer. The mutations that it causes are numbered from its `unique`, which stays the same when the kernel sends
 * it again to a new worker: so a mutation is carried out once, whichever worker asks for it.
 */
export class Request {
  readonly channel: number;
  readonly opcode: number;
  readonly uniqueLow: number;
  /** With the resend bit, as the kernel wants it back. */
  readonly uniqueHigh: number;
  readonly nodeid: number;
  readonly uid: number;
  readonly gid: number;
  /** The thread that asked. */
  readonly pid: number;
  answered = false;
  interrupted = false;
  /** Ends a wait that an interrupt may end. */
  cancel: (() => void) | undefined;

  constructor(view: DataView, channel: number) {
    this.channel = channel;
    this.opcode = view.getUint32(InHeader.at.opcode, true);
    this.uniqueLow = view.getUint32(InHeader.at.unique, true);
    this.uniqueHigh = view.getUint32(InHeader.at.unique + 4, true);
    // Node numbers are ours and small; a larger one is unknown, whatever it is.
    this.nodeid = view.getUint32(InHeader.at.nodeid + 4, true) === 0 ? view.getUint32(InHeader.at.nodeid, true) : -1;
    this.uid = view.getUint32(InHeader.at.uid, true);
    this.gid = view.getUint32(InHeader.at.gid, true);
    this.pid = view.getUint32(InHeader.at.pid, true);
  }

  /** `unique` without the resend bit. */
  get unique(): number {
    return uniqueNumber(this.uniqueLow, this.uniqueHigh);
  }

  get resent(): boolean {
    return this.uniqueHigh >= RESEND_BIT;
  }

  /** The number of this request's k-th mutation. */
  mutation(k: number): number {
    return this.unique * MUTATIONS_PER_UNIQUE + k;
  }
}

/**
 * Numbers of mutations: those of a request are `unique * 256 + 0..127`, so they are the same when the request comes again; uniques are even,
 * and what lies between belongs to mutations that begin late (see lateNumber). At 100,000 requests a second 2^53 lasts five years.
 */
export const MUTATIONS_PER_UNIQUE = 256;
const OWN_NUMBERS = 128;

export function uniqueNumber(low: number, high: number): number {
  return (high & 0x7fff_ffff) * TWO_TO_32 + low;
}

/**
 * A number for a mutation that begins when its request is no longer the newest: a lock tried again, an open undone because its caller died. The
 * bricks may have been told that lower numbers never come, so it is taken above the newest request's own (the highest `unique` seen so far), and above
 * the `last` of its kind.
 */
export function lateNumber(last: number, newest: number): number {
  return Math.max(last + 1, newest * MUTATIONS_PER_UNIQUE + OWN_NUMBERS);
}
