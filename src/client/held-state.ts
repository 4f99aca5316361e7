/**
 * What a session has at the bricks, to be claimed again from a new primary: open inodes and file locks.
 *
 * An inode is open by asking (counted by the primary) or locally, under a lease, without asking. Of the latter the primary is told which inodes they
 * are before the lease goes; it keeps what was told until the inode is closed here altogether.
 */
import { Errno, FsError } from '../base/errno.js';
import type { Gfid } from '../base/ids.js';
import type { Attr } from '../fops/fields.js';
import { heldLock, type HeldLock } from '../fops/held-lock.js';
import type { Args, OpName } from '../fops/ops.js';
import { FileLocks, LOCK_NONE, LOCK_READ, LOCK_WRITE, type FileLock } from '../replica/file-locks.js';
import { OPENS_MAX } from '../wire/messages.js';

/** Under which this session's own locks are kept here. */
const OWN = '';

/** One `reclaim` must be able to tell all of it. */
const LOCKS_MAX = 12_000;

const NUMBERS_KEPT = 1024;

export class HeldState {
  readonly #opens = new Map<Gfid, number>();
  readonly #local = new Map<Gfid, number>();
  /** Request numbers of the latest opens: one that is repeated counts once. */
  readonly #numbers = new Set<number>();
  /** What the primary was told of local opens. */
  readonly #told = new Set<Gfid>();
  readonly #locks = new FileLocks();
  readonly #closed: (gfid: Gfid) => void;
  #openCount = 0;

  /**
   * `opens`: what a session that is taken over has open, once for each open; which of them were local is not known, so they are held both ways.
   * `closed` is called when an inode that was told is not open any more.
   */
  constructor(opens: readonly Gfid[], closed: (gfid: Gfid) => void) {
    this.#closed = closed;
    for (const gfid of opens) {
      this.#open(gfid, 1);
      this.#told.add(gfid);
    }
  }

  /** The same request number again counts once; 0 is no number. */
  openLocally(gfid: Gfid, requestNumber: number): void {
    if (this.#numbers.has(requestNumber)) return;
    this.#noteNumber(requestNumber);
    this.#local.set(gfid, (this.#local.get(gfid) ?? 0) + 1);
    this.#openCount++;
  }

  /** Closes one local open; false when there is none. */
  closeLocally(gfid: Gfid): boolean {
    const count = this.#local.get(gfid);
    if (count === undefined) return false;
    if (count > 1) this.#local.set(gfid, count - 1);
    else this.#local.delete(gfid);
    this.#openCount--;
    this.#checkClosed(gfid);
    return true;
  }

  /** Which of these inodes, or of all, are open locally and were not told; now they are. */
  tell(gfids: Iterable<Gfid> = this.#local.keys()): Gfid[] {
    const untold: Gfid[] = [];
    for (const gfid of gfids) if (this.#local.has(gfid) && !this.#told.has(gfid)) untold.push(gfid);
    for (const gfid of untold) this.#told.add(gfid);
    return untold;
  }

  /** Everything that is told, and now also what was not. */
  tellAll(): Gfid[] {
    this.tell();
    return [...this.#told];
  }

  #noteNumber(requestNumber: number): void {
    if (requestNumber === 0) return;
    this.#numbers.add(requestNumber);
    if (this.#numbers.size > NUMBERS_KEPT) this.#numbers.delete(this.#numbers.values().next().value as number);
  }

  #checkClosed(gfid: Gfid): void {
    if (this.#told.size > 0 && !this.#local.has(gfid) && !this.#opens.has(gfid) && this.#told.delete(gfid)) this.#closed(gfid);
  }

  /** Why one more cannot be held, if so: ENFILE, ENOLCK. */
  refusal(op: OpName, args: unknown): FsError | undefined {
    if ((op === 'open' || op === 'create' || op === 'tmpfile') && this.#openCount >= OPENS_MAX) return new FsError(Errno.ENFILE, op, `${OPENS_MAX} files are open on this mount`);
    if (op === 'setLock' && this.#locks.count >= LOCKS_MAX && this.#locks.growth({ ...heldLock(args as Args<'setLock'>), session: OWN }) > 0) return new FsError(Errno.ENOLCK, op, `${LOCKS_MAX} locks are held on this mount`);
    return undefined;
  }

  /** A lock of another program of this session stands against it. */
  standsAgainst(lock: HeldLock): boolean {
    return this.#locks.conflict({ ...lock, session: OWN }) !== undefined;
  }

  /**
   * Other sessions are kept out already by what this one has: one lock as strong as this covers its range, and no lock of another program of this
   * session stands against it.
   */
  covers(lock: HeldLock): boolean {
    const { gfid, kind, type, start, end } = lock;
    const strong = (held: FileLock): boolean => held.kind === kind && held.start <= start && held.end >= end && (held.type === LOCK_WRITE || type === LOCK_READ);
    return this.#locks.on(gfid).some(strong) && !this.standsAgainst(lock);
  }

  /** A program of this session has a lock on the inode. */
  holdsLocks(gfid: Gfid): boolean {
    return this.#locks.on(gfid).length > 0;
  }

  /** A mutation is about to be sent: what is given up is not claimed any more, since another may have it before this client hears that it went. */
  asked(op: OpName, args: unknown): void {
    if (op === 'dropLocks' || (op === 'setLock' && (args as Args<'setLock'>).type === LOCK_NONE)) this.settled(op, args, undefined, 0);
  }

  /** A lock was given or taken back without asking, or is known to be held. */
  gave(lock: HeldLock): void {
    this.#locks.set({ ...lock, session: OWN });
  }

  /** A mutation succeeded. */
  settled(op: OpName, args: unknown, result: unknown, requestNumber: number): void {
    switch (op) {
      case 'open':
      case 'create':
      case 'tmpfile':
        this.#open((result as { attr: Attr }).attr.gfid, 1);
        this.#noteNumber(requestNumber);
        break;
      case 'release':
        this.#open((args as Args<'release'>).gfid, -1);
        break;
      case 'setLock':
        this.gave(heldLock(args as Args<'setLock'>));
        break;
      case 'dropLocks': {
        const { gfid, owner, kind } = args as Args<'dropLocks'>;
        this.#locks.dropOwner(gfid, OWN, owner, kind);
        break;
      }
      default:
        break;
    }
  }

  opens(): Gfid[] {
    const all: Gfid[] = [];
    for (const [gfid, count] of this.#opens) for (let i = 0; i < count; i++) all.push(gfid);
    return all;
  }

  locks(): HeldLock[] {
    return this.#locks.export().map(heldLock);
  }

  #open(gfid: Gfid, change: number): void {
    const before = this.#opens.get(gfid) ?? 0;
    const count = Math.max(0, before + change);
    this.#openCount += count - before;
    if (count > 0) this.#opens.set(gfid, count);
    else this.#opens.delete(gfid);
    if (change < 0) this.#checkClosed(gfid);
  }
}
