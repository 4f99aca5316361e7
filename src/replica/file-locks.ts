/**
 * POSIX/OFD (kind 0) and flock (kind 1) locks of a volume: a table that every in-sync brick keeps. Owners are (session, owner) pairs; locks of
 * one owner never conflict, a new lock of an owner replaces what it holds in the range, as fcntl(2) says. The two kinds do not see each other.
 */
import type { Gfid } from '../base/ids.js';
import type { HeldLock } from '../fops/held-lock.js';

export const LOCK_READ = 0;
export const LOCK_WRITE = 1;
export const LOCK_NONE = 2;

export interface LockRequest extends HeldLock {
  session: string;
}

/** In the table of its inode. */
export type FileLock = Omit<LockRequest, 'gfid'>;

function sameOwner(a: FileLock, b: FileLock): boolean {
  return a.session === b.session && a.owner === b.owner;
}

function overlaps(a: FileLock, b: FileLock): boolean {
  return a.start <= b.end && b.start <= a.end;
}

export class FileLocks {
  readonly #byInode = new Map<Gfid, FileLock[]>();
  readonly #counts = new Map<string, number>();
  #count = 0;

  /** Locks held in all. */
  get count(): number {
    return this.#count;
  }

  /** The first lock that stands against the request. */
  conflict(request: LockRequest): FileLock | undefined {
    return this.#conflict(request, () => true);
  }

  /** The first lock of another session that stands against the request. */
  conflictElsewhere(request: LockRequest): FileLock | undefined {
    return this.#conflict(request, (held) => held.session !== request.session);
  }

  #conflict(request: LockRequest, counts: (held: FileLock) => boolean): FileLock | undefined {
    if (request.type === LOCK_NONE) return undefined;
    return this.#byInode.get(request.gfid)?.find(
      (held) =>
        counts(held) &&
        held.kind === request.kind &&
        overlaps(held, request) &&
        !sameOwner(held, request) &&
        (held.type === LOCK_WRITE || request.type === LOCK_WRITE),
    );
  }

  /** Sets or removes the range for its owner; the caller has checked for conflicts. */
  set(request: LockRequest): void {
    this.#replace(request.gfid, this.#after(request), request.session);
  }

  /** By how many locks the table grows when it is set: a range that is removed may leave two. */
  growth(request: LockRequest): number {
    return this.#after(request).length - this.on(request.gfid).length;
  }

  /** The locks of the inode when it is set. */
  #after(request: LockRequest): FileLock[] {
    const after: FileLock[] = [];
    const merged: FileLock = {
      session: request.session, owner: request.owner, kind: request.kind, type: request.type,
      start: request.start, end: request.end, pid: request.pid,
    };
    for (const held of this.on(request.gfid)) {
      if (held.kind !== request.kind || !sameOwner(held, request)) {
        after.push(held);
        continue;
      }
      const touches = held.start <= request.end + 1 && request.start <= held.end + 1;
      if (held.type === request.type && touches) {
        merged.start = Math.min(merged.start, held.start);
        merged.end = Math.max(merged.end, held.end);
        continue;
      }
      if (!overlaps(held, request)) {
        after.push(held);
        continue;
      }
      if (held.start < request.start) after.push({ ...held, end: request.start - 1 });
      if (held.end > request.end) after.push({ ...held, start: request.end + 1 });
    }
    if (request.type !== LOCK_NONE) after.push(merged);
    return after;
  }

  on(gfid: Gfid): readonly FileLock[] {
    return this.#byInode.get(gfid) ?? [];
  }

  /** Drops every lock of one owner on one inode. True when there was one. */
  dropOwner(gfid: Gfid, session: string, owner: string, kind: number): boolean {
    return this.#filter(gfid, session, (held) => held.session !== session || held.owner !== owner || held.kind !== kind);
  }

  /** Drops every lock of a session; answers the inodes that had one. */
  dropSession(session: string): Gfid[] {
    const touched: Gfid[] = [];
    for (const gfid of [...this.#byInode.keys()]) if (this.#filter(gfid, session, (held) => held.session !== session)) touched.push(gfid);
    return touched;
  }

  /** Drops the locks of all other sessions. */
  keepOnly(wanted: (session: string) => boolean): void {
    for (const session of [...this.#counts.keys()]) if (!wanted(session)) this.dropSession(session);
  }

  /** Inodes on which the session has a lock. */
  inodesOf(session: string): Gfid[] {
    return [...this.#byInode].filter(([, locks]) => locks.some((held) => held.session === session)).map(([gfid]) => gfid);
  }

  countOf(session: string): number {
    return this.#counts.get(session) ?? 0;
  }

  /** The whole table, for a brick that joins. */
  export(): LockRequest[] {
    const all: LockRequest[] = [];
    for (const [gfid, locks] of this.#byInode) for (const held of locks) all.push({ gfid, ...held });
    return all;
  }

  import(locks: readonly LockRequest[]): void {
    this.#byInode.clear();
    this.#counts.clear();
    this.#count = 0;
    for (const lock of locks) this.set(lock);
  }

  #filter(gfid: Gfid, session: string, keep: (held: FileLock) => boolean): boolean {
    const before = this.#byInode.get(gfid);
    if (before === undefined) return false;
    const after = before.filter(keep);
    this.#replace(gfid, after, session);
    return after.length !== before.length;
  }

  /** `session` is whose locks differ. */
  #replace(gfid: Gfid, locks: FileLock[], session: string): void {
    const change = locks.length - (this.#byInode.get(gfid)?.length ?? 0);
    const count = this.countOf(session) + change;
    this.#count += change;
    if (count === 0) this.#counts.delete(session);
    else this.#counts.set(session, count);
    if (locks.length === 0) this.#byInode.delete(gfid);
    else this.#byInode.set(gfid, locks);
  }
}
