/** Requests for file locks that wait, and whether a new one may. */
import type { Gfid } from '../base/ids.js';
import type { FileLocks, LockRequest } from './file-locks.js';

export interface LockWaiter<M = unknown> {
  request: LockRequest;
  mutation: M;
}

/** Locks of one session, at most: one client cannot take the memory of the others. Our own clients keep to less. */
export const LOCKS_PER_SESSION_MAX = 16_384;
/** Requests of one session that wait, at most. */
const WAITING_PER_SESSION_MAX = 4_096;
/** A circle of more owners than this is not looked for: whoever is in it waits until somebody gives up, as in Linux after ten. */
const CIRCLE_MAX = 64;
const LOCK_POSIX = 0;

function ownerKey(lock: { session: string; owner: string }): string {
  return `${lock.session}/${lock.owner}`;
}

export class LockWaiters {
  readonly #locks: FileLocks;
  readonly #waiting = new Map<Gfid, LockWaiter[]>();
  readonly #byOwner = new Map<string, Set<LockWaiter>>();
  /** By session. */
  readonly #counts = new Map<string, number>();

  constructor(locks: FileLocks) {
    this.#locks = locks;
  }

  examine(request: LockRequest): 'grant' | 'conflict' | 'deadlock' | 'limit' {
    const held = this.#locks.conflict(request);
    if (held === undefined) return this.#locks.countOf(request.session) >= LOCKS_PER_SESSION_MAX && this.#locks.growth(request) > 0 ? 'limit' : 'grant';
    if (request.kind === LOCK_POSIX && this.#closesCircle(request)) return 'deadlock';
    return 'conflict';
  }

  /** False when so many of the session wait already. */
  add(waiter: LockWaiter): boolean {
    const { session } = waiter.request;
    const count = this.#counts.get(session) ?? 0;
    if (count >= WAITING_PER_SESSION_MAX) return false;
    this.#counts.set(session, count + 1);
    const owner = ownerKey(waiter.request);
    const ofOwner = this.#byOwner.get(owner);
    if (ofOwner === undefined) this.#byOwner.set(owner, new Set([waiter]));
    else ofOwner.add(waiter);
    const list = this.#waiting.get(waiter.request.gfid);
    if (list === undefined) this.#waiting.set(waiter.request.gfid, [waiter]);
    else list.push(waiter);
    return true;
  }

  any(gfid: Gfid): boolean {
    return this.#waiting.has(gfid);
  }

  /** All waiters of an inode, in order; they are no longer waiting. */
  take(gfid: Gfid): LockWaiter[] {
    const list = this.#waiting.get(gfid) ?? [];
    this.#waiting.delete(gfid);
    for (const waiter of list) this.#left(waiter);
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
      for (const waiter of list.filter(matches)) {
        removed.push(waiter);
        this.#left(waiter);
      }
      if (rest.length === 0) this.#waiting.delete(gfid);
      else this.#waiting.set(gfid, rest);
    }
    return removed;
  }

  #left(waiter: LockWaiter): void {
    const { session } = waiter.request;
    const count = (this.#counts.get(session) ?? 1) - 1;
    if (count === 0) this.#counts.delete(session);
    else this.#counts.set(session, count);
    const owner = ownerKey(waiter.request);
    const ofOwner = this.#byOwner.get(owner);
    ofOwner?.delete(waiter);
    if (ofOwner?.size === 0) this.#byOwner.delete(owner);
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
      if (seen.size >= CIRCLE_MAX) return false;
      seen.add(owner);
      for (const waiter of this.#byOwner.get(owner) ?? []) pending.push(...this.#blockersOf(waiter.request));
    }
    return false;
  }

  #blockersOf(request: LockRequest): string[] {
    const held = this.#locks.conflict(request);
    return held === undefined ? [] : [ownerKey(held)];
  }
}
