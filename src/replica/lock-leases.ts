/**
 * Lock leases: the client that asked for a file lock last answers its own programs' next ones on that inode itself, for as long as they come one after the other.
 *
 *   free ──a lock of its session is set, every brick knows──▶ held ──somebody else asks──▶ recalled ──yielded──▶ free
 *                                                               └── not used for a moment: yielded, unless ──────▶
 *                                                                   only its session has locks there
 *
 * QEMU takes and gives back its image locks one byte at a time, some thirty calls in a row, and twice so while a guest that migrates stands still.
 *
 * The lease is a lock on the inode's locks that its own session does not feel (inode-locks.ts): whoever else asks waits, and so calls it in. The client tells what it gave
 * (`granted`) a moment later, or when it is called in, and yields when all of that is answered. So whoever comes later finds it in the table. A client that does not yield is
 * waited for until it is silent, and then revoked: what it gave and did not tell goes with its session.
 *
 * A lease is also offered, unasked, to the one session that has an inode open on which another one just gave locks up: the destination of a migration, which is about to take them.
 *
 * Every in-sync brick knows that a lease was given, before it is (`leased` in the change that set the lock, or `lockLeaseGiven`), and learns when it is over. A new primary takes such leases over:
 * it decides about no lock of the inode before that client has claimed what it holds, what it gave included, or is revoked.
 */
import type { Cancel } from '../env/clock.js';
import type { Gfid } from '../base/ids.js';
import { heldLock, type HeldLock } from '../fops/held-lock.js';
import type { Args } from '../fops/ops.js';
import { LOCK_NONE } from './file-locks.js';
import type { Lock, Ticket } from './inode-locks.js';
import type { LeaseNumbers } from './lease-numbers.js';
import { fileLockLock } from './plan.js';
import type { Primary } from './primary.js';
import type { Session } from './sessions.js';

const LEASES_MAX = 4096;
/** Locks that the client is told of, at most: an inode with more is not worth a lease. */
const LOCKS_MAX = 256;
const LOOK_MS = 100;
/** Files that one session gives up within this time go to the same successor. */
const TOGETHER_MS = 50;

interface LockLease {
  readonly lease: number;
  readonly gfid: Gfid;
  readonly session: string;
  readonly ticket: Ticket;
  recalled: boolean;
  cancel: Cancel;
}

export class LockLeases {
  readonly #primary: Primary;
  readonly #byGfid = new Map<Gfid, LockLease>();
  /** Leases that the bricks are told of with a change that is under way. */
  readonly #announced = new Map<Gfid, { lease: number; session: string }>();
  readonly #numbers: LeaseNumbers;
  /** The session to which a lease on the inode was offered last. Another offer to it would hold up who goes on using the file. */
  readonly #offered = new Map<Gfid, string>();
  #latest = { from: '', to: '', until: 0 };

  constructor(primary: Primary, numbers: LeaseNumbers) {
    this.#primary = primary;
    this.#numbers = numbers;
  }

  // ---------------------------------------------------------------- giving

  /** Number of the lease that this session may get with a lock that is about to be set; undefined for none. */
  announce(session: Session, gfid: Gfid): number | undefined {
    if (!this.#mayHave(session, gfid)) return undefined;
    const lease = this.#numbers.next(this.#primary.host.clock);
    this.#announced.set(gfid, { lease, session: session.id });
    return lease;
  }

  #mayHave(session: Session, gfid: Gfid): boolean {
    const { serving, gate, leases, host, lockRequests, clients } = this.#primary;
    if (!serving || !host.lockLeases() || gate.closed || session.channel === undefined || !leases.eligible(session) || !host.copy.sessions.has(session.id) || clients.isSilent(session.id)) return false;
    if (this.#byGfid.has(gfid) || this.#byGfid.size >= LEASES_MAX || lockRequests.anybodyWaits(gfid) || clients.mayClaim) return false;
    return host.copy.fileLocks.on(gfid).length <= LOCKS_MAX;
  }

  /** The lock with which this lease was announced could not be set. */
  withdraw({ gfid, leased }: Args<'setLock'>): void {
    if (leased === undefined || this.#announced.get(gfid)?.lease !== leased) return;
    this.#announced.delete(gfid);
    // One that was announced before it, and not given because of it.
    const told = this.#primary.host.copy.lockLeases.get(gfid);
    if (told !== undefined) this.#tellOver(gfid, told.lease);
  }

  /** A lock of this session was set or removed, and every brick has it and knows of this lease. A lock after it may have announced another one. */
  answered(session: Session, gfid: Gfid, leased: number): void {
    const announced = this.#announced.get(gfid);
    if (announced?.lease !== leased) return;
    this.#announced.delete(gfid);
    const lock = this.#lockOf(gfid, session.id);
    if (announced.session !== session.id || !this.#mayHave(session, gfid) || !this.#primary.locks.free(lock)) {
      this.#tellOver(gfid, announced.lease);
      return;
    }
    this.#hold(announced.lease, gfid, session.id, lock);
    session.channel?.send({ kind: 'lockLease', gfid, lease: announced.lease, own: this.#locksOn(gfid, session.id, true), others: this.#locksOn(gfid, session.id, false) });
  }

  // ---------------------------------------------------------------- offering

  /** These locks are in the table of every brick: where they were given up without asking, the lease goes to who is likely to take them. */
  offer(from: Session, { gfid, granted }: Args<'setLock'>): void {
    if (granted?.at(-1)?.type !== LOCK_NONE) return;
    const to = this.#successor(from, gfid);
    if (to === undefined || this.#offered.get(gfid) === to.id || this.#announced.has(gfid)) return;
    if (!this.#mayHave(to, gfid) || !this.#primary.locks.free(this.#lockOf(gfid, to.id))) return;
    const { host, followers } = this.#primary;
    if (this.#offered.size >= LEASES_MAX) this.#offered.clear();
    this.#offered.set(gfid, to.id);
    this.#latest = { from: from.id, to: to.id, until: host.clock.now() + TOGETHER_MS };
    const lease = this.#numbers.next(host.clock);
    this.#announced.set(gfid, { lease, session: to.id });
    host.copy.lockLeaseGiven(gfid, lease, to.id);
    void followers.everywhere('lockLeaseGiven', () => ({ gfid, lease, session: to.id })).then((known) => {
      if (known && this.#announced.get(gfid)?.lease === lease) this.answered(to, gfid, lease);
      else if (!this.#primary.stopped) this.#tellOver(gfid, lease);
    });
  }

  /** The only other session that has the inode open; or who was offered what this one gave up a moment ago, and may have opened this as well without asking. */
  #successor(from: Session, gfid: Gfid): Session | undefined {
    const { host, leases } = this.#primary;
    const { from: before, to, until } = this.#latest;
    const latest = before === from.id && host.clock.now() < until ? host.sessions.get(to) : undefined;
    if (latest !== undefined && (latest.opens.has(gfid) || leases.mayHold(gfid, latest))) return latest;
    const others = host.sessions.whoOpened(gfid).filter((session) => session !== from);
    return others.length === 1 ? others[0] : undefined;
  }

  #locksOn(gfid: Gfid, session: string, own: boolean): HeldLock[] {
    const held = this.#primary.host.copy.fileLocks.on(gfid);
    return held.filter((each) => (each.session === session) === own).map((each) => heldLock({ ...each, gfid }));
  }

  /** A lock on this inode went: less stands against what its client gives. */
  othersLetGo(gfid: Gfid): void {
    const lease = this.#byGfid.get(gfid);
    if (lease === undefined || lease.recalled) return;
    const { session } = lease;
    this.#primary.host.sessions.get(session)?.channel?.send({ kind: 'othersLocks', gfid, lease: lease.lease, others: this.#locksOn(gfid, session, false) });
  }

  #lockOf(gfid: Gfid, session: string): Lock {
    return { ...fileLockLock(gfid), of: session, overtakes: true, wanted: () => this.#wanted(gfid) };
  }

  #hold(lease: number, gfid: Gfid, session: string, lock = this.#lockOf(gfid, session)): void {
    const ticket = this.#primary.locks.acquire([lock], () => undefined);
    this.#byGfid.set(gfid, { lease, gfid, session, ticket, recalled: false, cancel: () => undefined });
  }

  /** This brick serves from now on: leases that the primary before it gave. */
  adopt(): void {
    const { copy } = this.#primary.host;
    for (const [gfid, { lease, session }] of copy.lockLeases) {
      if (copy.sessions.has(session)) this.#hold(lease, gfid, session);
      else copy.lockLeases.delete(gfid);
    }
  }

  // ---------------------------------------------------------------- taking back

  #wanted(gfid: Gfid): void {
    const lease = this.#byGfid.get(gfid);
    if (lease === undefined || lease.recalled) return;
    lease.recalled = true;
    this.#recall(lease);
    this.#look(lease);
  }

  #recall({ gfid, lease, session }: LockLease): void {
    this.#primary.host.sessions.get(session)?.channel?.send({ kind: 'recallLocks', gfid, lease });
  }

  #look(lease: LockLease): void {
    const { clock } = this.#primary.host;
    lease.cancel = clock.after(LOOK_MS, () => {
      if (this.#primary.clients.isSilent(lease.session)) void this.#primary.clients.revoke([lease.session]);
      this.#look(lease);
    });
  }

  /** What the client gave is in the table. */
  yielded(session: Session, gfid: Gfid, number: number): void {
    const lease = this.#byGfid.get(gfid);
    // One that an earlier primary gave is over when the client has claimed its locks.
    if (lease?.lease === number && lease.session === session.id && session.countedBy === this.#primary) this.#free(lease);
  }

  /** It has a new connection: what it was asked for on the old one may be lost. */
  again(session: Session): void {
    for (const lease of this.#byGfid.values()) if (lease.session === session.id && lease.recalled) this.#recall(lease);
  }

  /** The session is over, or has just claimed all that it holds from this primary. */
  endOf(session: string): void {
    for (const [gfid, announced] of this.#announced) if (announced.session === session) this.#announced.delete(gfid);
    for (const lease of [...this.#byGfid.values()]) if (lease.session === session) this.#free(lease);
  }

  stop(): void {
    for (const lease of this.#byGfid.values()) lease.cancel();
    this.#byGfid.clear();
    this.#announced.clear();
    this.#offered.clear();
  }

  #free(lease: LockLease): void {
    lease.cancel();
    this.#byGfid.delete(lease.gfid);
    this.#tellOver(lease.gfid, lease.lease);
    this.#primary.locks.release(lease.ticket);
  }

  /** Bricks that do not hear of it wait for a client in vain, once, should they become primary. */
  #tellOver(gfid: Gfid, lease: number): void {
    const { host, followers } = this.#primary;
    host.copy.lockLeaseOver(gfid, lease);
    void followers.everywhere('lockLeaseOver', () => ({ gfid, lease }));
  }
}
