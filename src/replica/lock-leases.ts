/**
 * Lock leases: the client that asked for a file lock last answers its own programs' next ones on that inode itself.
 *
 *   free ──a lock of its session was set──▶ held ──somebody else asks for a lock there──▶ recalled ──yielded, or nothing heard for long──▶ free
 *
 * QEMU takes and gives back its image locks one byte at a time, some thirty calls in a row, and twice so while a guest that migrates stands still.
 *
 * The lease is a lock on the inode's locks that its own session does not feel (inode-locks.ts): whoever else asks waits, and so calls it in. The client tells what it gave
 * (`granted`) a moment later, or when it is called in, and yields when all of that is answered. So whoever comes later finds it in the table.
 *
 * A client that does not yield is not waited for longer than `network.ping-timeout`, nor long after its connection ended. Should it say later that it gave a lock which
 * somebody else has by then, its session is revoked: its program relies on what it lost.
 *
 * A new primary knows no lease, and need not: it makes no change before every client that may trust an old one has claimed its locks, those it gave itself among them, or has
 * lost the right to give any (see OLD_LEASES in primary.ts).
 */
import type { Gfid } from '../base/ids.js';
import type { Cancel } from '../env/clock.js';
import type { HeldLock } from '../fops/held-lock.js';
import type { Lock, Ticket } from './inode-locks.js';
import { fileLockLock } from './plan.js';
import type { Primary } from './primary.js';
import type { Session } from './sessions.js';

const LEASES_MAX = 16_384;
/** Locks that the client is told of, at most: an inode with more is not worth a lease. */
const LOCKS_MAX = 256;
const LOOK_MS = 100;
/** A look that is so late shows that this process stood still: it could not hear anybody. */
const DEAF_MS = 1000;
/** A client whose connection ended is back sooner, or does not come. */
const GONE_MS = 2000;

interface LockLease {
  readonly gfid: Gfid;
  readonly session: Session;
  readonly lock: Lock;
  ticket: Ticket | undefined;
  recalled: boolean;
  lookedAt: number;
  cancel: Cancel;
}

export class LockLeases {
  readonly #primary: Primary;
  readonly #byGfid = new Map<Gfid, LockLease>();
  /** Who had to give a lease back, where nobody has one since. */
  readonly #before = new Map<Gfid, Session>();

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  /** A lock of this session was set or removed, and every brick has it. */
  answered(session: Session, gfid: Gfid): void {
    const { serving, gate, leases, locks, host, lockRequests, clients } = this.#primary;
    this.#before.delete(gfid);
    if (!serving || gate.closed || session.channel === undefined || !leases.eligible(session) || !host.copy.sessions.has(session.id)) return;
    const present = this.#byGfid.get(gfid);
    // Its time was over for a while: it believes that it has none.
    if (present?.session === session && !present.recalled) this.#tell(session, gfid);
    if (present !== undefined || this.#byGfid.size >= LEASES_MAX || lockRequests.anybodyWaits(gfid) || clients.mayClaim) return;
    if (host.copy.fileLocks.on(gfid).length > LOCKS_MAX) return;
    const lock: Lock = { ...fileLockLock(gfid), of: session.id, overtakes: true, wanted: () => this.#wanted(lease) };
    if (!locks.free(lock)) return;
    const lease: LockLease = { gfid, session, lock, ticket: undefined, recalled: false, lookedAt: 0, cancel: () => undefined };
    lease.ticket = locks.acquire([lock], () => undefined);
    this.#byGfid.set(gfid, lease);
    this.#tell(session, gfid);
  }

  /** Somebody asked who has locks there, and changed nothing: who had to give the lease back for it gets it again. */
  lookedAt(gfid: Gfid): void {
    const before = this.#before.get(gfid);
    if (before !== undefined) this.answered(before, gfid);
  }

  #tell(session: Session, gfid: Gfid): void {
    const held = this.#primary.host.copy.fileLocks.on(gfid);
    const told = (own: boolean): HeldLock[] =>
      held.filter((each) => (each.session === session.id) === own).map(({ owner, kind, type, start, end, pid }) => ({ gfid, owner, kind, type, start, end, pid }));
    session.channel?.send({ kind: 'lockLease', gfid, own: told(true), others: told(false) });
  }

  /** Another one gives locks on this inode itself, and was told of all that there are. */
  isAnothers(gfid: Gfid, session: string): boolean {
    const lease = this.#byGfid.get(gfid);
    return lease !== undefined && lease.session.id !== session;
  }

  #wanted(lease: LockLease): void {
    if (lease.recalled) return;
    lease.recalled = true;
    lease.session.channel?.send({ kind: 'recallLocks', gfid: lease.gfid });
    lease.lookedAt = this.#primary.host.clock.now();
    this.#look(lease);
  }

  #look(lease: LockLease): void {
    const { clock } = this.#primary.host;
    lease.cancel = clock.after(LOOK_MS, () => {
      const now = clock.now();
      const deaf = now - lease.lookedAt > DEAF_MS;
      lease.lookedAt = now;
      if (!deaf && this.#isOver(lease, now)) {
        this.#primary.log.info('a client did not give a lock lease back', { gfid: lease.gfid, session: lease.session.id });
        this.#free(lease);
      } else this.#look(lease);
    });
  }

  #isOver({ session }: LockLease, now: number): boolean {
    const silentMs = now - session.lastSeen;
    return silentMs >= this.#primary.host.pingTimeoutMs() || (session.channel === undefined && silentMs >= GONE_MS);
  }

  /** What the client gave is in the table. */
  yielded(session: Session, gfid: Gfid): void {
    const lease = this.#byGfid.get(gfid);
    if (lease?.session !== session) return;
    if (this.#before.size >= LEASES_MAX) this.#before.clear();
    this.#before.set(gfid, session);
    this.#free(lease);
  }

  /** It has a new connection: what it was asked for on the old one may be lost. */
  again(session: Session): void {
    for (const lease of this.#byGfid.values()) if (lease.session === session && lease.recalled) session.channel?.send({ kind: 'recallLocks', gfid: lease.gfid });
  }

  endOf(session: string): void {
    for (const lease of [...this.#byGfid.values()]) if (lease.session.id === session) this.#free(lease);
  }

  stop(): void {
    for (const lease of this.#byGfid.values()) lease.cancel();
    this.#byGfid.clear();
    this.#before.clear();
  }

  #free(lease: LockLease): void {
    lease.cancel();
    this.#byGfid.delete(lease.gfid);
    if (lease.ticket !== undefined) this.#primary.locks.release(lease.ticket);
  }
}
