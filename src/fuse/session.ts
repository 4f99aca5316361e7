/**
 * One mount: takes the kernel's requests, carries them out by Fops, answers.
 *
 *   device ──▶ receive: check header, body, names, inode ──▶ operation's handler ──▶ fops ──▶ answer (ok, entry, attr, data, fail) ──▶ device
 *
 * A request is answered exactly once. What the kernel was told (inodes, handles, lock owners) is in `KeptState`, which outlives the worker; a
 * new session over the same state asks the kernel to send again what the old one had not answered.
 */
import { Errno, errnoName, FsError, LostError } from '../base/errno.js';
import type { Gfid, Name } from '../base/ids.js';
import type { Clock } from '../env/clock.js';
import type { Log } from '../env/log.js';
import type { Attr } from '../fops/fields.js';
import type { Fops } from '../fops/ops.js';
import { AttrOut, CreateOut, EntryOut, InHeader, OpenOut, OutHeader } from './abi.js';
import { ERRNO_MAX, Notify } from './abi-constants.js';
import { milliseconds, NOT_VALID, type CachePolicy, type Validity } from './caching.js';
import type { DeviceEnd, FuseDevice, RequestBuffer } from './device.js';
import type { DirectoryTable } from './directories.js';
import { BODY_BYTES_MAX, encodeAttrOut, encodeEntryOut } from './encode.js';
import type { HandleTable } from './handles.js';
import { Interrupts, type Processes } from './interrupts.js';
import type { KeptState } from './kept-state.js';
import type { LockOwners } from './lock-owners.js';
import { Message, nameErrno, Request, write64 } from './message.js';
import type { NodeTable } from './nodes.js';
import { OPERATIONS } from './operations.js';
import type { Operation } from './operation.js';
import { PageDrops } from './page-drops.js';
import { PageVersions, type Asking } from './page-versions.js';
import { PayloadPool } from './payloads.js';

export interface SessionEnv {
  readonly device: FuseDevice;
  readonly fops: Fops;
  readonly log: Log;
  readonly clock: Clock;
  readonly state: KeptState;
  readonly policy: CachePolicy;
  readonly processes: Processes;
  /** Leaves the page cache out for every open file. */
  readonly directIo?: boolean;
  /**
   * Requests of a predecessor that come again are refused with EIO: one of them kills every worker that tries it, and the mount would
   * never answer again.
   */
  readonly refuseResent?: boolean;
  /** Takes back a mutation that was not sent yet, by its number. */
  readonly withdraw?: (requestNumber: number) => void;
  /** Memory of data that was read and that the kernel has now. */
  readonly giveBack?: (data: Uint8Array) => void;
  /** Called once, when the kernel has agreed on the protocol. */
  readonly onInit?: () => void;
}

export class Session {
  readonly fops: Fops;
  readonly log: Log;
  readonly clock: Clock;
  readonly state: KeptState;
  readonly policy: CachePolicy;
  readonly #giveBack: ((data: Uint8Array) => void) | undefined;
  readonly nodes: NodeTable;
  readonly handles: HandleTable;
  readonly owners: LockOwners;
  readonly directories: DirectoryTable;
  readonly payloads = new PayloadPool();
  readonly pages: PageVersions;
  readonly onInit: () => void;
  readonly directIo: boolean;
  /** The reply under construction; bodies start at `OutHeader.bytes`. */
  readonly out = Buffer.alloc(OutHeader.bytes + BODY_BYTES_MAX);
  readonly outView = new DataView(this.out.buffer, this.out.byteOffset, this.out.byteLength);
  readonly #device: FuseDevice;
  readonly #drops: PageDrops;
  readonly #message = new Message();
  readonly #outstanding = new Map<number, Request>();
  readonly #interrupts: Interrupts;
  readonly #refuseResent: boolean;
  #buffer: RequestBuffer | undefined;
  #kept = false;
  /** The inode of the request in hand. */
  #gfid: Gfid = '';

  constructor(env: SessionEnv) {
    this.#device = env.device;
    this.fops = env.fops;
    this.log = env.log;
    this.clock = env.clock;
    this.pages = new PageVersions(() => env.clock.now(), () => env.policy.leases());
    this.#drops = new PageDrops(env.device);
    this.state = env.state;
    this.policy = env.policy;
    this.#giveBack = env.giveBack;
    this.directIo = env.directIo ?? false;
    this.#refuseResent = env.refuseResent ?? false;
    this.onInit = env.onInit ?? ((): void => undefined);
    this.nodes = env.state.nodes;
    this.handles = env.state.handles;
    this.owners = env.state.owners;
    this.directories = env.state.directories;
    for (const gfid of new Set(this.handles.opens())) this.pages.openedBefore(gfid);
    this.#interrupts = new Interrupts(env.clock, env.processes, (request) => {
      this.failWith(request, Errno.EINTR);
      env.withdraw?.(request.mutation(0));
    });
  }

  /** Requests that were read and not answered. */
  get outstanding(): number {
    return this.#outstanding.size;
  }

  /** Serves until unmounted. */
  async run(): Promise<DeviceEnd> {
    if (this.state.agreed.minor > 0) this.#resume();
    try {
      return await this.#device.run((buffer, length, channel) => this.receive(buffer, length, channel));
    } finally {
      this.#interrupts.close();
    }
  }

  /**
   * Takes over from a worker that died. The kernel sends its unanswered requests again, in no particular order; they are carried out in the
   * order they were first sent, because a client may tell the bricks that it needs no results from before the oldest request it has under way.
   */
  #resume(): void {
    const errno = this.#device.notifyNow(resendNotification());
    if (errno !== 0) {
      this.log.warn(
        'the kernel cannot send requests again (before Linux 6.9): those that were under way when the worker died hang until they are killed',
        {
          errno: errnoName(errno),
        },
      );
    }
    const pending: { buffer: RequestBuffer; length: number; channel: number; unique: number }[] = [];
    this.#device.drainCopies((buffer, length, channel) => {
      const unique = length >= InHeader.bytes ? new Request(buffer.view, channel).unique : 0;
      pending.push({ buffer, length, channel, unique });
    });
    pending.sort((a, b) => a.unique - b.unique);
    this.log.info('took the mount over', {
      requests: pending.length,
      inodes: this.nodes.size,
      handles: this.handles.size,
    });
    for (const { buffer, length, channel } of pending) this.receive(buffer, length, channel);
  }

  /** One request. True when the buffer is kept (see RequestSink). Nothing that the kernel sends makes it throw. */
  receive(buffer: RequestBuffer, length: number, channel: number): boolean {
    if (length < InHeader.bytes) {
      this.log.warn('a request without a whole header was ignored', { bytes: length });
      return false;
    }
    const request = new Request(buffer.view, channel);
    if (request.unique > this.state.newestUnique) this.state.newestUnique = request.unique;
    const operation = OPERATIONS[request.opcode];
    if (request.resent && operation?.changes === true && request.unique <= this.state.revokedUpTo) {
      this.log.warn('a change that was asked for before the session was revoked failed', { operation: operation.label });
      this.failWith(request, Errno.EIO);
      return false;
    }
    if (request.resent && this.#refuseResent && operation?.silent !== true) {
      this.log.error('a request that may have killed the last workers was refused', { opcode: request.opcode });
      this.failWith(request, Errno.EIO);
      return false;
    }
    if (operation === undefined) {
      this.log.debug('an operation that is not implemented', { opcode: request.opcode });
      this.failWith(request, Errno.ENOSYS);
      return false;
    }
    this.#buffer = buffer;
    this.#kept = false;
    const refused = this.#parse(operation, request, buffer, length);
    if (refused !== 0) {
      if (operation.silent !== true) this.failWith(request, refused);
      return false;
    }
    try {
      operation.handle(this, request, this.#message);
    } catch (error) {
      if (operation.silent === true)
        this.log.warn('a malformed request was ignored', { operation: operation.label, error });
      else this.fail(request, error);
    }
    if (!request.answered && operation.silent !== true) this.#outstanding.set(request.unique, request);
    return this.#kept;
  }

  /** Checks everything that can be checked before the handler; 0, or the errno to refuse with. */
  #parse(operation: Operation, request: Request, buffer: RequestBuffer, length: number): number {
    const view = buffer.view;
    const end = length - 8 * view.getUint16(InHeader.at.total_extlen, true);
    const message = this.#message;
    message.aim(buffer.bytes, view, end);
    if (
      view.getUint32(InHeader.at.len, true) !== length ||
      end < InHeader.bytes ||
      !message.takeBody(operation.bodyBytes)
    ) {
      this.log.warn('a malformed request was refused', { operation: operation.label, bytes: length });
      return Errno.EIO;
    }
    if (operation.strings > 0 && !this.#takeStrings(operation)) {
      this.log.warn('a request without its names was refused', { operation: operation.label, bytes: length });
      return Errno.EIO;
    }
    if (operation.names > 0) {
      const errno = nameErrno(message.name0) || (operation.names > 1 ? nameErrno(message.name1) : 0);
      if (errno !== 0) return errno;
    }
    if (operation.anywhere === true) return 0;
    const gfid = this.nodes.gfid(request.nodeid);
    if (gfid === undefined) return Errno.ESTALE;
    this.#gfid = gfid;
    return 0;
  }

  #takeStrings(operation: Operation): boolean {
    const first = this.#message.takeString();
    if (first === undefined) return false;
    this.#message.name0 = first;
    if (operation.strings === 1) return true;
    const second = this.#message.takeString();
    if (second === undefined) return false;
    this.#message.name1 = second;
    return true;
  }

  /** The inode that the request in hand is about. Only valid until the handler returns or waits. */
  get gfid(): Gfid {
    return this.#gfid;
  }

  /** The number of a mutation that begins after later requests may have begun theirs. */
  lateNumber(): number {
    return this.state.lateNumber();
  }

  /** Keeps the buffer of the request in hand until `recycle`. */
  keepBuffer(): RequestBuffer {
    this.#kept = true;
    return this.#buffer as RequestBuffer;
  }

  recycle(buffer: RequestBuffer): void {
    this.#device.recycle(buffer);
  }

  /** Goes on with `done` when the operation succeeded and fails the request otherwise. `done` also runs when nobody waits any more. */
  settle<T>(request: Request, operation: Promise<T>, done: (result: T) => void): void {
    operation.then(done).catch((error: unknown) => this.fail(request, error));
  }

  /** An INTERRUPT arrived for the request with this number. */
  interrupt(unique: number): void {
    const request = this.#outstanding.get(unique);
    if (request !== undefined) this.#interrupts.interrupt(request);
  }

  // --- answers

  ok(request: Request): void {
    this.send(request, 0);
  }

  /** Sends the reply whose body of `bytes` is in `out`. Returns false when nobody waits for it. */
  send(request: Request, bytes: number): boolean {
    if (!this.#close(request)) return false;
    this.#head(request, bytes, 0);
    return this.#check(request, this.#device.reply(request.channel, this.out, OutHeader.bytes + bytes));
  }

  sendData(request: Request, data: Uint8Array): void {
    if (!this.#close(request)) return;
    this.#head(request, data.byteLength, 0);
    this.#check(request, this.#device.replyData(request.channel, this.out, OutHeader.bytes, data));
  }

  /** Answers a READ with data that is nobody else's: its memory is given back. */
  sendRead(request: Request, data: Uint8Array): void {
    this.sendData(request, data);
    this.#giveBack?.(data);
  }

  /** Answers a GETATTR; `asking` where the kernel may have pages of the file. */
  attr(request: Request, attr: Attr, asking: Asking | undefined): void {
    const drop = this.pages.deceives(attr) || (asking !== undefined && this.pages.mayBeIgnored(asking));
    if (!drop) return this.#attr(request, attr, this.policy.attributes(attr));
    // No page is held back by this answer, so the kernel can drop them all while it waits. What was true before the wait may be told, but not kept.
    const guard = this.#leased(attr) ? this.pages.guard(attr.gfid) : undefined;
    this.settle(request, this.#drops.drop(request.nodeid), () => {
      this.#attr(request, attr, NOT_VALID);
      if (guard !== undefined && this.#leased(attr)) this.pages.guarded(attr.gfid, guard);
    });
  }

  #leased(attr: Attr): boolean {
    return milliseconds(this.policy.attributes(attr)) > 0;
  }

  #attr(request: Request, attr: Attr, valid: Validity): void {
    this.pages.told(attr, milliseconds(valid));
    encodeAttrOut(this.outView, OutHeader.bytes, attr, valid);
    this.send(request, AttrOut.bytes);
  }

  /** The file is opened through the page cache: true when the kernel may keep the pages that it has. */
  keepsPages(attr: Attr): boolean {
    return this.pages.opened(attr, this.#leased(attr));
  }

  /** Answers a SETATTR. */
  attrSet(request: Request, attr: Attr): void {
    const instead = this.pages.disbelieved(attr);
    if (instead === undefined) return this.#attr(request, attr, this.policy.attributes(attr));
    encodeAttrOut(this.outView, OutHeader.bytes, instead, NOT_VALID);
    this.send(request, AttrOut.bytes);
  }

  forget(nodeid: number, lookups: number): void {
    const gone = this.nodes.forget(nodeid, lookups);
    if (gone !== undefined) this.pages.forget(gone);
  }

  /** Answers with the inode that has this name, and counts the lookup. */
  entry(request: Request, parent: Gfid, name: Name, attr: Attr): void {
    if (request.answered) return;
    if (!this.putEntry(OutHeader.bytes, parent, name, attr, request.pid)) return this.failWith(request, Errno.ENFILE);
    if (!this.send(request, EntryOut.bytes)) this.#unlook(attr.gfid);
  }

  /** Throws EIO for a file that was open when the session was revoked: it has to be opened anew. */
  needIntact(fh: number): void {
    if (this.handles.isLost(fh)) throw new FsError(Errno.EIO, 'fuse', 'the file was open when the session was revoked');
  }

  /** True when the request was there when the session was revoked: what it opened is not open any more, and it fails. */
  #lostOpen(request: Request): boolean {
    if (request.unique > this.state.revokedUpTo) return false;
    this.failWith(request, Errno.EIO);
    return true;
  }

  /** Answers with the inode that was made at this place ('' for one without a name) and its new handle; `close` undoes the open when nobody waits for it. */
  created(request: Request, place: { parent: Gfid; name: Name }, attr: Attr, openFlags: number, close: () => void): void {
    if (this.#lostOpen(request)) return;
    if (request.answered) return close();
    const fh = this.handles.add(attr.gfid);
    if (fh === 0 || !this.putEntry(OutHeader.bytes, place.parent, place.name, attr, request.pid)) {
      this.handles.remove(fh);
      close();
      return this.failWith(request, Errno.ENFILE);
    }
    this.#putOpen(OutHeader.bytes + CreateOut.at.open, fh, openFlags);
    if (this.send(request, CreateOut.bytes)) return;
    this.#unlook(attr.gfid);
    this.handles.remove(fh);
    close();
  }

  opened(request: Request, gfid: Gfid, openFlags: number, close: () => void): void {
    if (this.#lostOpen(request)) return;
    if (request.answered) return close();
    const fh = this.handles.add(gfid);
    if (fh === 0) {
      close();
      return this.failWith(request, Errno.ENFILE);
    }
    this.sendOpen(request, fh, openFlags, () => {
      this.handles.remove(fh);
      close();
    });
  }

  sendOpen(request: Request, fh: number, openFlags: number, undo: () => void): void {
    this.#putOpen(OutHeader.bytes, fh, openFlags);
    if (!this.send(request, OpenOut.bytes)) undo();
  }

  /** Encodes the inode that has this name, for the thread that asked, and counts the lookup; false when the node table is full. */
  putEntry(at: number, parent: Gfid, name: Name, attr: Attr, thread: number): boolean {
    const nodeid = this.nodes.look(attr.gfid);
    if (nodeid < 0) return false;
    const generation = this.nodes.generation(nodeid);
    const nameValid = this.policy.entry(parent, name, attr);
    // Before it believes pages that may be old, the kernel must ask for the attributes again.
    const asks = this.pages.mustAsk(attr.gfid) || this.pages.deceives(attr);
    const valid = asks ? NOT_VALID : this.policy.attributes(attr);
    if (!asks) this.pages.told(attr, milliseconds(valid));
    this.pages.answered(attr.gfid, thread);
    encodeEntryOut(this.outView, at, nodeid, generation, attr, nameValid, valid);
    return true;
  }

  failWith(request: Request, errno: number): void {
    if (!this.#close(request)) return;
    this.#head(request, 0, -Math.min(errno, ERRNO_MAX));
    this.#check(request, this.#device.reply(request.channel, this.out, OutHeader.bytes));
  }

  /** Answers with the error. A definite answer goes through; anything else becomes EIO and is logged, never ENOSYS (the kernel would stop asking). */
  fail(request: Request, error: unknown): void {
    this.failWith(request, this.#errnoOf(request, error));
  }

  #errnoOf(request: Request, error: unknown): number {
    if (error instanceof FsError && error.errno > 0) {
      if (error.errno === Errno.ENOSYS) return Errno.EOPNOTSUPP;
      // A stopped volume must not look like a mount that nobody serves: that is taken away by whoever mounts next.
      return error.errno === Errno.ENOTCONN ? Errno.EIO : error.errno;
    }
    const operation = OPERATIONS[request.opcode]?.label ?? request.opcode;
    if (error instanceof LostError)
      this.log.warn('the outcome of an operation is unknown', { operation, reason: error.message });
    else this.log.error('an operation failed for a reason that no program can be told', { operation, error });
    return Errno.EIO;
  }

  #putOpen(at: number, fh: number, openFlags: number): void {
    write64(this.outView, at + OpenOut.at.fh, fh);
    this.outView.setUint32(at + OpenOut.at.open_flags, openFlags, true);
    this.outView.setUint32(at + OpenOut.at.backing_id, 0, true);
  }

  #unlook(gfid: Gfid): void {
    const nodeid = this.nodes.nodeid(gfid);
    if (nodeid !== undefined) this.forget(nodeid, 1);
  }

  /** True when the request was still open; it is closed now. */
  #close(request: Request): boolean {
    if (request.answered) return false;
    request.answered = true;
    this.#outstanding.delete(request.unique);
    return true;
  }

  #head(request: Request, bodyBytes: number, error: number): void {
    const view = this.outView;
    view.setUint32(OutHeader.at.len, OutHeader.bytes + bodyBytes, true);
    view.setInt32(OutHeader.at.error, error, true);
    view.setUint32(OutHeader.at.unique, request.uniqueLow, true);
    view.setUint32(OutHeader.at.unique + 4, request.uniqueHigh, true);
  }

  /** False when the reply did not reach anybody. A reply that the kernel refuses is a bug; its caller gets EIO instead of waiting for ever. */
  #check(request: Request, errno: number): boolean {
    if (errno === 0) return true;
    if (errno === Errno.ENOENT) return false;
    this.log.error('the kernel refused a reply', {
      operation: OPERATIONS[request.opcode]?.label,
      errno: errnoName(errno),
    });
    this.#head(request, 0, -Errno.EIO);
    this.#device.reply(request.channel, this.out, OutHeader.bytes);
    return false;
  }
}

function resendNotification(): Buffer {
  const message = Buffer.alloc(OutHeader.bytes);
  message.writeUInt32LE(OutHeader.bytes, OutHeader.at.len);
  message.writeInt32LE(Notify.RESEND, OutHeader.at.error);
  return message;
}
