import { Errno } from '../base/errno.js';
import type { Gfid, Name } from '../base/ids.js';
import type { DirEntry } from '../fops/fields.js';
import { S_IFDIR } from '../fops/ops.js';
import { Dirent, EntryOut, OpenIn, OutHeader, ReadIn, ReleaseIn } from './abi.js';
import { UNKNOWN_INO } from './abi-constants.js';
import { COOKIE_DOT, COOKIE_DOTS, type Chunk, type DirectoryHandle } from './directories.js';
import { BODY_BYTES_MAX, encodeIno } from './encode.js';
import { write64, type Request } from './message.js';
import { operation } from './operation.js';
import type { Session } from './session.js';

/** Names fetched at once for a plain listing. */
const NAMES_PER_FETCH = 1024;
/** Room that one entry takes in a listing with attributes, for a short name. */
const PLUS_BYTES_TYPICAL = EntryOut.bytes + Dirent.bytes + 16;

function alignedTo8(bytes: number): number {
  return (bytes + 7) & ~7;
}

/** Fills one reply with entries; they end where the room does. */
class Listing {
  #at = OutHeader.bytes;
  readonly #session: Session;
  readonly #directory: Gfid;
  readonly #end: number;
  readonly #plus: boolean;
  readonly #thread: number;

  constructor(session: Session, thread: number, scan: Scan) {
    this.#session = session;
    this.#thread = thread;
    this.#directory = scan.handle.gfid;
    this.#end = OutHeader.bytes + Math.min(scan.size, BODY_BYTES_MAX);
    this.#plus = scan.plus;
  }

  get bytes(): number {
    return this.#at - OutHeader.bytes;
  }

  /** `.` and `..`: without attributes, and without a lookup. */
  putDot(name: Name, cookie: number): boolean {
    const head = this.#plus ? EntryOut.bytes : 0;
    if (!this.#fits(head, name)) return false;
    this.#session.out.fill(0, this.#at, this.#at + head);
    write64(this.#session.outView, this.#at + head + Dirent.at.ino, UNKNOWN_INO);
    this.#putName(head, name, cookie, S_IFDIR);
    return true;
  }

  put(entry: DirEntry, cookie: number): boolean {
    const head = this.#plus ? EntryOut.bytes : 0;
    if (!this.#fits(head, entry.name)) return false;
    if (this.#plus) {
      // An entry without attributes is changing, or vanished while it was listed: it is named, and looked up by whoever wants it.
      const attr = this.#session.policy.known(entry.gfid) ?? entry.attr;
      if (attr === undefined) this.#session.out.fill(0, this.#at, this.#at + head);
      else if (!this.#session.putEntry(this.#at, this.#directory, entry.name, attr, this.#thread)) return false;
    }
    encodeIno(this.#session.outView, this.#at + head + Dirent.at.ino, entry.gfid);
    this.#putName(head, entry.name, cookie, entry.type);
    return true;
  }

  #fits(head: number, name: Name): boolean {
    return this.#at + alignedTo8(head + Dirent.bytes + name.length) <= this.#end;
  }

  #putName(head: number, name: Name, cookie: number, type: number): void {
    const at = this.#at + head;
    const view = this.#session.outView;
    write64(view, at + Dirent.at.off, cookie);
    view.setUint32(at + Dirent.at.namelen, name.length, true);
    view.setUint32(at + Dirent.at.type, type >>> 12, true);
    const end = at + Dirent.bytes + this.#session.out.write(name, at + Dirent.bytes, 'latin1');
    this.#at += alignedTo8(head + Dirent.bytes + name.length);
    this.#session.out.fill(0, end, this.#at);
  }
}

/** One READDIR or READDIRPLUS under way. */
interface Scan {
  readonly handle: DirectoryHandle;
  readonly cookie: number;
  readonly size: number;
  readonly plus: boolean;
}

/** Answers from `chunk`, whose name number `from` is the one behind the cookie. */
function answer(session: Session, request: Request, scan: Scan, chunk: Chunk, from: number): void {
  if (request.answered) return;
  const listing = new Listing(session, request.pid, scan);
  let cookie = scan.cookie;
  let last: Name | '' = '';
  let room = true;
  if (cookie < COOKIE_DOT && (room = listing.putDot('.', COOKIE_DOT))) cookie = COOKIE_DOT;
  if (room && cookie < COOKIE_DOTS && (room = listing.putDot('..', COOKIE_DOTS))) cookie = COOKIE_DOTS;
  const entries = chunk.entries as DirEntry[];
  for (let i = from; room && i < entries.length; i++) {
    const entry = entries[i] as DirEntry;
    if (!(room = listing.put(entry, cookie + 1))) break;
    cookie++;
    last = entry.name;
  }
  if (last !== '') scan.handle.endedAt(cookie, last);
  session.send(request, listing.bytes);
}

/** Fetches names behind `after`, leaving out the first `skip`, then answers. */
function fetch(session: Session, request: Request, scan: Scan, after: Name | '', skip: number): void {
  const { prefetchAttributes } = session.policy;
  const whatFits = scan.plus && skip === 0 && !prefetchAttributes;
  const limit = whatFits ? Math.max(1, Math.floor(scan.size / PLUS_BYTES_TYPICAL)) : NAMES_PER_FETCH;
  const listed = session.fops.readdir({
    gfid: scan.handle.gfid,
    after,
    limit,
    attributes: scan.plus || prefetchAttributes,
  });
  session.settle(request, listed, ({ entries, end }) => {
    const last = entries.at(-1);
    if (skip >= entries.length && skip > 0 && !end && last !== undefined) {
      return fetch(session, request, scan, last.name, skip - entries.length);
    }
    const first = Math.max(0, scan.cookie - COOKIE_DOTS);
    const rest = skip > 0 ? entries.slice(skip) : entries;
    const before = skip > 0 ? (entries[Math.min(skip, entries.length) - 1]?.name ?? after) : after;
    const chunk: Chunk = { first, after: before, entries: rest, count: rest.length, end };
    answer(session, request, scan, chunk, 0);
    // Attributes grow old at once, so only names are kept; the policy knows which attributes still hold.
    const names = entries.some((e) => e.attr !== undefined)
      ? rest.map((e) => ({ name: e.name, gfid: e.gfid, type: e.type }))
      : rest;
    scan.handle.keep({ ...chunk, entries: names });
  });
}

function list(session: Session, request: Request, fh: number, cookie: number, size: number, plus: boolean): void {
  const handle = session.directories.get(fh);
  if (handle === undefined) return session.failWith(request, Errno.EBADF);
  if (cookie === 0) handle.rewind();
  const scan: Scan = { handle, cookie, size, plus };
  const position = handle.position(Math.max(cookie, COOKIE_DOTS));
  const { chunk, from } = position;
  if (chunk?.entries === undefined) return fetch(session, request, scan, position.after, position.skip);
  const next = chunk.entries[from];
  if (!plus || next === undefined || session.policy.known(next.gfid) !== undefined) return answer(session, request, scan, chunk, from);
  fetch(session, request, scan, from > 0 ? (chunk.entries[from - 1] as DirEntry).name : chunk.after, 0);
}

export const opendir = operation('OPENDIR', { body: OpenIn }, (session, request) => {
  const handle = session.directories.add(session.gfid);
  if (handle === undefined) return session.failWith(request, Errno.ENFILE);
  session.sendOpen(request, handle.fh, 0, () => session.directories.remove(handle.fh));
});

export const readdir = operation('READDIR', { body: ReadIn }, (session, request, message) => {
  list(session, request, message.u64(ReadIn.at.fh), message.u64(ReadIn.at.offset), message.u32(ReadIn.at.size), false);
});

export const readdirplus = operation('READDIRPLUS', { body: ReadIn }, (session, request, message) => {
  list(session, request, message.u64(ReadIn.at.fh), message.u64(ReadIn.at.offset), message.u32(ReadIn.at.size), true);
});

export const releasedir = operation('RELEASEDIR', { body: ReleaseIn, anywhere: true }, (session, request, message) => {
  session.directories.remove(message.u64(ReleaseIn.at.fh));
  session.ok(request);
});
