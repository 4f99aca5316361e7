/** Requests for file locks that wait, and whether a new one may. */
import type { Gfid } from '../base/ids.js';
import type { FileLocks, LockRequest } from './file-locks.js';

export interface LockWaiter<M = unknown> {
  request: LockRequest;
  mutation: M;
}

/** Locks of one session, at most: one client cannot take the memory of the others. */
const LOCKS_PER_SESSION_MAX = 100_000;
const LOCK_POSIX = 0;

function ownerKey(lock: { session: string; owner: string }): string {
  return `${lock.session}/${lock.owner}`;
}

export class LockWaiters {
  readonly #locks: FileLocks;
  readonly #waiting = new Map<Gfid, LockWaiter[]>();

  constructor(locks: FileLocks) {
    this.#locks = locks;
  }

  examine(request: LockRequest): 'grant' | 'conflict' | 'deadlock' | 'limit' {
    const held = this.#locks.conflict(request);
    if (held === undefined) return this.#locks.count >= LOCKS_PER_SESSION_MAX && this.#locks.countOf(request.session) >= LOCKS_PER_SESSION_MAX ? 'limit' : 'grant';
    if (request.kind === LOCK_POSIX && this.#closesCircle(request)) return 'deadlock';
    return 'conflict';
  }

  add(waiter: LockWaiter): void {
    const list = this.#waiting.get(waiter.request.gfid);
    if (list === undefined) this.#waiting.set(waiter.request.gfid, [waiter]);
    else list.push(waiter);
  }

  /** All waiters of an inode, in order; they are no longer waiting. */
  take(gfid: Gfid): LockWaiter[] {
    const list = this.#waiting.get(gfid) ?? [];
    this.#waiting.delete(gfid);
    return list;
  }

  cancel(session: string, gfid: Gfid, owner: string): LockWaiter[] {
    return this.#remove((waiter) => waiter.request.session === session && waiter.request.gfid === gfid && waiter.request.owner === owner);
  }

  cancelSession(session: string): LockWaiter[] {
    return this.#remove((waiter) => waiter.request.session === session);
  }

  #remove(matches: (waiter: LockWaiter) => boolean): LockWaiter[] {
    const removed: LockWaiter[] = [];
    for (const [gfid, list] of this.#waiting) {
      const rest = list.filter((waiter) => !matches(waiter));
      if (rest.length === list.length) continue;
      removed.push(...list.filter(matches));
      if (rest.length === 0) this.#waiting.delete(gfid);
      else this.#waiting.set(gfid, rest);
    }
    return removed;
  }

  /** Does the owner of a lock in the way wait, directly or through others, for the requester? */
  #closesCircle(request: LockRequest): boolean {
    const start = ownerKey(request);
    const seen = new Set<string>();
    const pending = this.#blockersOf(request);
    while (pending.length > 0) {
      const owner = pending.pop() as string;
      if (owner === start) return true;
      if (seen.has(owner)) continue;
      seen.add(owner);
      for (const list of this.#waiting.values()) {
        for (const waiter of list) if (ownerKey(waiter.request) === owner) pending.push(...this.#blockersOf(waiter.request));
      }
    }
    return false;
  }

  #blockersOf(request: LockRequest): string[] {
    const held = this.#locks.conflict(request);
    return held === undefined ? [] : [ownerKey(held)];
  }
}
