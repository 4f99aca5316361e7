/**
 * Lock leases: requests for file locks that this client answers itself (see replica/lock-leases.ts).
 *
 *   lockLease ──▶ on ──recallLocks, or not used for a moment──▶ what was given here is sent and answered ──▶ yielded
 *
 * To give a lock up no lease is needed: nothing can stand against it, and before the primary refuses a lock because of another it asks the session that has it. Nor is one
 * needed for a lock where another program of this session, or the same, has one that is as strong: QEMU that opens an image anew takes its locks once more before it gives
 * up those it has.
 *
 * What is given here is kept where a process that takes the session over finds it (`kept`), before anybody hears of it, and sent a moment later, all that came together in one
 * request. A request that something stands against, or that comes while the primary decides on another one of the same inode, is the primary's to decide; what was given before
 * goes first.
 */
import type { Cancel } from '../env/clock.js';
import type { Gfid } from '../base/ids.js';
import { LOCK_END_MAX, type Args, type Result } from '../fops/ops.js';
import { heldLock, type HeldLock } from '../fops/held-lock.js';
import { FileLocks, LOCK_NONE } from '../replica/file-locks.js';
import type { MessageOf } from '../wire/messages.js';
import type { HeldState } from './held-state.js';

/** Sessions under which locks are looked at. */
const OTHER = 'other';
const OWN = '';
/** QEMU gives and takes its image locks within a few milliseconds. */
const SEND_MS = 20;
/** The same for what was given up without a lease: somebody else may wait for it. */
const LET_GO_MS = 2;
/** A lease that was not used for so long is given back. */
const USED_MS = 100;
/** Given here and not answered, at most. */
const GIVEN_MAX = 128;

/** Locks that were given and removed in this order, on one inode. */
export interface GivenLocks {
  /** Of the request that tells them. */
  number: number;
  locks: HeldLock[];
}

export interface LocalLocksHost {
  now(): number;
  after(ms: number, callback: () => void): Cancel;
  held(): HeldState;
  /** For a request that will be sent. */
  number(): number;
  /** It will not. */
  numberOver(number: number): void;
  send(given: GivenLocks): void;
  /** False where no primary hears it now. */
  yielded(gfid: Gfid, lease: number): boolean;
  kept(given: readonly GivenLocks[]): void;
}

interface Lease {
  number: number;
  others: FileLocks;
  usedAt: number;
}

interface UnderWay {
  /** Sent and not answered. */
  sent: GivenLocks[];
  /** The primary decides so many. */
  asked: number;
}

export class LocalLocks {
  readonly #host: LocalLocksHost;
  /** What other sessions had when the lease began. They get no more while it lasts. */
  readonly #leases = new Map<Gfid, Lease>();
  readonly #unsent = new Map<Gfid, GivenLocks>();
  readonly #underWay = new Map<Gfid, UnderWay>();
  /** Leases to give back, by their numbers. */
  readonly #owed = new Map<number, Gfid>();
  /** What is not sent is sent then at the latest; Infinity while there is nothing. */
  #flushAt = Infinity;
  #notedAt = 0;
  /** Something of it was given up without a lease. */
  #awaited = false;
  #count = 0;
  /** Locks that were given or taken back here, ever. */
  given = 0;

  constructor(host: LocalLocksHost) {
    this.#host = host;
  }

  begin({ gfid, lease, own, others }: MessageOf<'lockLease'>): void {
    // A process before this one may have asked for some of them.
    for (const lock of [...own, ...locksOf(this.#notAnswered(gfid))]) this.#host.held().gave(lock);
    this.#leases.set(gfid, { number: lease, others: tableOf(gfid, others), usedAt: this.#host.now() });
  }

  othersLetGo({ gfid, lease, others }: MessageOf<'othersLocks'>): void {
    const known = this.#leases.get(gfid);
    if (known?.number === lease) known.others = tableOf(gfid, others);
  }

  /** The lease is over here; it is given back when what was given is known. */
  recall(gfid: Gfid, number: number): void {
    if (this.#leases.get(gfid)?.number === number) this.#leases.delete(gfid);
    this.#owed.set(number, gfid);
    this.flush(gfid);
    this.#yield(gfid);
  }

  /** No lease of before counts any more. */
  end(): void {
    for (const [gfid, { number }] of this.#leases) this.#owed.set(number, gfid);
    this.#leases.clear();
  }

  /** A primary hears this client, and what was given before was sent to it. */
  ready(): void {
    for (const [number, gfid] of [...this.#owed]) this.recall(gfid, number);
  }

  /** Gives back what was not used for a moment: a client that falls silent should have none. */
  tick(): void {
    const since = this.#host.now() - USED_MS;
    for (const [gfid, lease] of [...this.#leases]) if (lease.usedAt < since) this.recall(gfid, lease.number);
  }

  /**
   * What this session gave up and no brick has confirmed, for a primary that has just begun. Not where it asked for a lock since: that may have been given, and the answer be on its way; both come again
   * in their order.
   */
  givenUp(): HeldLock[] {
    return locksOf(this.#allNotAnswered()).filter(({ type, gfid }) => type === LOCK_NONE && !this.#decides(gfid));
  }

  /** The session is over, and everything with it. */
  drop(): void {
    this.#leases.clear();
    this.#owed.clear();
    for (const { number } of this.#unsent.values()) this.#host.numberOver(number);
    this.#unsent.clear();
    this.#underWay.clear();
    this.#count = 0;
    this.#host.kept([]);
  }

  /** The lease under which nothing stands against the request; undefined where something does, or there is none. */
  #leaseFor(lock: HeldLock): Lease | undefined {
    const { gfid, kind, type, start, end } = lock;
    const lease = this.#leases.get(gfid);
    if (lease === undefined || kind > 1 || type > LOCK_NONE || start > end || this.#decides(gfid)) return undefined;
    return this.#host.held().standsAgainst(lock) || lease.others.conflict({ ...lock, session: OWN }) !== undefined ? undefined : lease;
  }

  /** Gives the lock, or takes it back; false when that is for the primary. */
  give(args: Args<'setLock'>): boolean {
    const lock = heldLock(args);
    if (this.#count >= GIVEN_MAX) return false;
    const lease = this.#leaseFor(lock);
    if (lease === undefined && !this.#mayGoUnasked(lock)) return false;
    if (lease !== undefined) lease.usedAt = this.#host.now();
    this.given++;
    this.#note(lock);
    return true;
  }

  /**
   * Nothing stands against giving a lock up, so no lease is needed. The primary asks who has a lock before it refuses another one because of it. Nor against a lock where this
   * session has one as strong: what was given before reaches the table before it, and in between nobody else gets one that stands against both. But who waits for what was
   * given here must not wait for ever.
   */
  #mayGoUnasked(lock: HeldLock): boolean {
    const { gfid, kind, type, start, end } = lock;
    return type <= LOCK_NONE && kind <= 1 && start <= end && !this.#decides(gfid) && (type === LOCK_NONE || (!this.#owes(gfid) && this.#host.held().covers(lock)));
  }

  /** Somebody waits until all that was given on this inode is told. */
  #owes(gfid: Gfid): boolean {
    for (const of of this.#owed.values()) if (of === gfid) return true;
    return false;
  }

  /** It is in force, kept, and sent soon. */
  #note(lock: HeldLock): void {
    const { gfid } = lock;
    let unsent = this.#unsent.get(gfid);
    if (unsent === undefined) {
      unsent = { number: this.#host.number(), locks: [] };
      this.#unsent.set(gfid, unsent);
    }
    this.#count -= unsent.locks.length;
    unsent.locks = [...unsent.locks.filter((before) => !covers(lock, before)), lock];
    this.#count += unsent.locks.length;
    this.#host.held().gave(lock);
    this.#keep();
    const now = this.#host.now();
    this.#notedAt = now;
    if (!this.#leases.has(gfid)) this.#awaited = true;
    if (this.#flushAt < Infinity) return;
    this.#flushAt = now + SEND_MS;
    this.#host.after(LET_GO_MS, () => this.#flushWhenDue());
  }

  /** Where somebody may wait for it, when nothing more came for a moment: sending it in the middle would hold up what follows. */
  #flushWhenDue(): void {
    const now = this.#host.now();
    const due = this.#awaited ? Math.min(this.#flushAt, this.#notedAt + LET_GO_MS) : this.#flushAt;
    if (now < due) {
      this.#host.after(due - now, () => this.#flushWhenDue());
      return;
    }
    this.#flushAt = Infinity;
    this.#awaited = false;
    this.flushAll();
  }

  /** Removes all of an owner's locks, as `give` does. */
  giveUp({ gfid, owner, kind }: Args<'dropLocks'>): boolean {
    return this.give({ gfid, owner, kind, type: LOCK_NONE, start: 0, end: LOCK_END_MAX, pid: 0, wait: false });
  }

  /** That nothing stands against it; undefined where something may, or the primary has to be asked. */
  look(args: Args<'getLock'>): Result<'getLock'> | undefined {
    const { start, end } = args;
    return this.#leaseFor({ ...args, pid: 0 }) !== undefined ? { type: LOCK_NONE, start, end, pid: 0 } : undefined;
  }

  /** What was given on this inode is sent now. */
  flush(gfid: Gfid): void {
    const unsent = this.#unsent.get(gfid);
    if (unsent === undefined) return;
    this.#unsent.delete(gfid);
    this.#wayOf(gfid).sent.push(unsent);
    this.#host.send(unsent);
  }

  /** The file that was used last goes first: a guest's disk before the image that is behind it, for which who takes the disk over is known then (replica/lock-leases.ts). */
  flushAll(): void {
    for (const gfid of [...this.#unsent.keys()].reverse()) this.flush(gfid);
  }

  /** What a process before this one gave, and had no answer to. */
  resume(given: readonly GivenLocks[]): void {
    for (const each of given) {
      const [first] = each.locks;
      if (first === undefined) continue;
      for (const lock of each.locks) this.#host.held().gave(lock);
      this.#count += each.locks.length;
      this.#wayOf(first.gfid).sent.push(each);
      this.#host.send(each);
    }
  }

  /** The primary has been asked about a lock on this inode, and has not answered. */
  #decides(gfid: Gfid): boolean {
    return (this.#underWay.get(gfid)?.asked ?? 0) > 0;
  }

  /** The primary is asked about a lock on this inode. */
  asks(gfid: Gfid): void {
    this.#wayOf(gfid).asked++;
  }

  /** It was answered, or is not waited for any more: what was asked, or (with its number) what was given. */
  ended(gfid: Gfid, number: number): void {
    const count = this.#underWay.get(gfid);
    if (count === undefined) return;
    if (number === 0) count.asked--;
    else {
      for (const given of count.sent) if (given.number === number) this.#count -= given.locks.length;
      count.sent = count.sent.filter((given) => given.number !== number);
      this.#keep();
    }
    if (count.sent.length + count.asked === 0) this.#underWay.delete(gfid);
    this.#yield(gfid);
  }

  /**
   * What a request tells a primary that has just heard what this session holds: everything up to now, at once. Step by step it would remove locks that were given again later, and
   * somebody else could get them in between.
   */
  upToNow(gfid: Gfid, number: number): HeldLock[] {
    const given = this.#notAnswered(gfid);
    const all = locksOf(given.slice(Math.max(0, given.findIndex((each) => each.number === number))));
    return all.filter((lock, i) => !all.slice(i + 1).some((later) => covers(later, lock)));
  }

  #wayOf(gfid: Gfid): UnderWay {
    let way = this.#underWay.get(gfid);
    if (way === undefined) this.#underWay.set(gfid, (way = { sent: [], asked: 0 }));
    return way;
  }

  #keep(): void {
    this.#host.kept(this.#allNotAnswered());
  }

  /** What was given on this inode and no brick has confirmed, in order. */
  #notAnswered(gfid: Gfid): GivenLocks[] {
    const unsent = this.#unsent.get(gfid);
    return [...(this.#underWay.get(gfid)?.sent ?? []), ...(unsent === undefined ? [] : [unsent])];
  }

  #allNotAnswered(): GivenLocks[] {
    return [...[...this.#underWay.values()].flatMap(({ sent }) => sent), ...this.#unsent.values()];
  }

  #yield(gfid: Gfid): void {
    if (this.#owed.size === 0 || this.#notAnswered(gfid).length > 0) return;
    for (const [number, of] of [...this.#owed]) if (of === gfid && this.#host.yielded(gfid, number)) this.#owed.delete(number);
  }
}

function tableOf(gfid: Gfid, others: readonly HeldLock[]): FileLocks {
  const table = new FileLocks();
  for (const lock of others) table.set({ ...lock, gfid, session: OTHER });
  return table;
}

function locksOf(given: readonly GivenLocks[]): HeldLock[] {
  return given.flatMap(({ locks }) => locks);
}

/** Nothing is left of `before` after it. */
function covers(lock: HeldLock, before: HeldLock): boolean {
  return lock.owner === before.owner && lock.kind === before.kind && lock.start <= before.start && lock.end >= before.end;
}
