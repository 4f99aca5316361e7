/** Requests for file locks at the primary: granted in order, waiting ones looked at again when a lock goes. */
import { Errno } from '../base/errno.js';
import type { Gfid } from '../base/ids.js';
import type { Args } from '../fops/ops.js';
import type { HeldLock } from '../fops/held-lock.js';
import { LOCK_NONE, type LockRequest } from './file-locks.js';
import { LOCKS_PER_SESSION_MAX, LockWaiters, type LockWaiter } from './lock-waiters.js';
import type { Mutation } from './mutation.js';
import type { Primary } from './primary.js';
import type { Session } from './sessions.js';

export class LockRequests {
  readonly #primary: Primary;
  readonly #waiters: LockWaiters;
  /** Requests that may wait, from when they come until they are answered. */
  readonly #undecided = new Map<string, Set<Mutation>>();

  constructor(primary: Primary) {
    this.#primary = primary;
    this.#waiters = new LockWaiters(primary.host.copy.fileLocks);
  }

  /** What may be done now: the lock be set (undefined), or an errno answered, or the request waits. */
  verdict(mutation: Mutation, args: Args<'setLock'>): number | 'waits' | undefined {
    if (args.granted !== undefined) return this.#verdictOnGiven(mutation, args.granted);
    const request = { ...args, session: mutation.sessionId };
    const { clients, mutations } = this.#primary;
    if (args.wait && mutation.cancelled === true) return Errno.EINTR;
    if (mutation.requestNumber > 0 && args.type !== LOCK_NONE && clients.graceHolds(() => mutations.plan(mutation))) return 'waits';
    const holder = this.silentHolder(request);
    if (holder !== undefined) {
      void clients.revoke([holder]).then(() => mutations.plan(mutation));
      return 'waits';
    }
    switch (this.#waiters.examine(request)) {
      case 'grant':
        return undefined;
      case 'deadlock':
        return this.#asksHolder(mutation, request) ? 'waits' : Errno.EDEADLK;
      case 'limit':
        return Errno.ENOLCK;
      case 'conflict':
        if (!args.wait) return this.#asksHolder(mutation, request) ? 'waits' : Errno.EAGAIN;
        return this.#waiters.add({ request, mutation }) ? 'waits' : Errno.ENOLCK;
    }
  }

  /** The session that stands against the request is asked what it gave up; then the request is looked at again. False where it was asked before. */
  #asksHolder(mutation: Mutation, request: LockRequest): boolean {
    mutation.askedOf ??= new Set();
    return this.asksHolder(request, mutation.askedOf, () => this.#primary.mutations.plan(mutation));
  }

  /** `asked`: sessions that were asked on behalf of this request. */
  asksHolder(request: LockRequest, asked: Set<string>, again: () => void): boolean {
    const { host, lockHolders } = this.#primary;
    const held = host.copy.fileLocks.conflictElsewhere(request);
    if (held === undefined || asked.has(held.session)) return false;
    asked.add(held.session);
    lockHolders.ask(held.session, request.gfid, () => {
      if (!this.#primary.stopped) again();
    });
    return true;
  }

  /**
   * What a client gave under a lease stands against nobody's claim, so it need not wait for them, and must not: what the client asks for later would overtake it. What stands against
   * each other within a session was the client's to decide.
   */
  #verdictOnGiven(mutation: Mutation, given: readonly HeldLock[]): 'waits' | undefined {
    const { clients, mutations, host } = this.#primary;
    const { fileLocks } = host.copy;
    const session = mutation.sessionId;
    // A client of ours gives none beyond its own limit, which is lower.
    if (fileLocks.countOf(session) > LOCKS_PER_SESSION_MAX && given.some((lock) => fileLocks.growth({ ...lock, session }) > 0)) {
      void clients.revoke([session]);
      return 'waits';
    }
    const against = given.map((lock) => host.copy.fileLocks.conflictElsewhere({ ...lock, session: mutation.sessionId })).filter((held) => held !== undefined);
    if (against.length === 0) return undefined;
    const silent = against.filter(({ session }) => clients.isSilent(session));
    // With nobody silent in the way it goes itself: its programs believe that they have it.
    if (silent.length === 0) void clients.revoke([mutation.sessionId]);
    else void clients.revoke(silent.map(({ session }) => session)).then(() => mutations.plan(mutation));
    return 'waits';
  }

  /** The request may come to wait. */
  began(mutation: Mutation): void {
    const undecided = this.#undecided.get(mutation.sessionId);
    if (undecided === undefined) this.#undecided.set(mutation.sessionId, new Set([mutation]));
    else undecided.add(mutation);
  }

  ended(mutation: Mutation): void {
    const undecided = this.#undecided.get(mutation.sessionId);
    if (undecided?.delete(mutation) === true && undecided.size === 0) this.#undecided.delete(mutation.sessionId);
  }

  anybodyWaits(gfid: Gfid): boolean {
    return this.#waiters.any(gfid);
  }

  /** The session that stands against the request and is silent. */
  silentHolder(request: LockRequest): string | undefined {
    const held = this.#primary.host.copy.fileLocks.conflict(request);
    return held !== undefined && this.#primary.clients.isSilent(held.session) ? held.session : undefined;
  }

  /** A lock on this inode went: all that wait for one ask again. */
  wake(gfid: Gfid): void {
    this.#primary.lockLeases.othersLetGo(gfid);
    for (const waiter of this.#waiters.take(gfid)) this.#primary.mutations.plan((waiter as LockWaiter<Mutation>).mutation);
  }

  /** The client gives up waiting, also where the request has not come to that yet. */
  cancel(session: Session, gfid: Gfid, owner: string): void {
    for (const mutation of this.#undecided.get(session.id) ?? []) {
      const args = mutation.args as Args<'setLock'>;
      if (args.gfid === gfid && args.owner === owner) mutation.cancelled = true;
    }
    for (const waiter of this.#waiters.cancel(session.id, gfid, owner)) this.#primary.mutations.finish((waiter as LockWaiter<Mutation>).mutation, Errno.EINTR, undefined);
  }

  /** Drops the session's locks here, and what waits for it; answers the inodes that had one. */
  dropSession(session: string): Gfid[] {
    this.#waiters.cancelSession(session);
    this.#undecided.delete(session);
    return this.#primary.host.copy.fileLocks.dropSession(session);
  }

  /** A lock that the client says it holds, or gave up without having had an answer. False when another has taken it. */
  reclaim(session: Session, lock: HeldLock): boolean {
    const { fileLocks } = this.#primary.host.copy;
    const claim = { ...lock, session: session.id };
    if (fileLocks.conflictElsewhere(claim) !== undefined) return false;
    // Here at once, before any request that waits for it; the members get it as soon as changes are let through.
    fileLocks.set(claim);
    const args = { ...lock, wait: false };
    this.#primary.mutations.plan({ session, sessionId: session.id, id: 0, requestNumber: 0, acknowledged: 0, op: 'setLock', args, begun: session.lastSeen });
    return true;
  }
}
