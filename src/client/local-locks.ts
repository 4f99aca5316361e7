/**
 * Lock leases: requests for file locks that this client answers itself (see replica/lock-leases.ts).
 *
 *   lockLease ──▶ on ──recallLocks──▶ what was given here is being answered ──▶ yielded
 *
 * What is given here has been handed to the operating system, for the primary, before anybody hears of it. A request that something stands against, that may wait, or that
 * comes while the primary decides on another one of the same inode is the primary's to decide.
 */
import type { Gfid } from '../base/ids.js';
import type { Args, Result } from '../fops/ops.js';
import { FileLocks, LOCK_NONE } from '../replica/file-locks.js';
import type { MessageOf } from '../wire/messages.js';

const OTHER = 'other';

interface UnderWay {
  /** Given here and not answered. */
  given: number;
  /** The primary decides. */
  asked: number;
}

export class LocalLocks {
  /** What other sessions had when the lease began. They get no more while it lasts. */
  readonly #leases = new Map<Gfid, FileLocks>();
  readonly #underWay = new Map<Gfid, UnderWay>();
  readonly #owed = new Set<Gfid>();
  readonly #yielded: (gfid: Gfid) => void;
  /** Locks that were given here, ever. */
  given = 0;

  constructor(yielded: (gfid: Gfid) => void) {
    this.#yielded = yielded;
  }

  begin({ gfid, others: locks }: MessageOf<'lockLease'>): void {
    const others = new FileLocks();
    for (const lock of locks) others.set({ ...lock, gfid, session: OTHER });
    this.#leases.set(gfid, others);
  }

  recall(gfid: Gfid): void {
    this.#leases.delete(gfid);
    this.#owed.add(gfid);
    this.#yield(gfid);
  }

  /** There was a time in which others may have been given locks. What was asked back is owed still. */
  lapsed(): void {
    this.#leases.clear();
  }

  /** No lease of before counts any more, and a primary that wants one back says so again. */
  clear(): void {
    this.#leases.clear();
    this.#owed.clear();
  }

  /** True when the lock may be given here: nothing of this session's own (`own`) or of others stands against it. */
  mayGive(args: Args<'setLock'>, own: FileLocks, session: string): boolean {
    const { gfid, kind, type, start, end } = args;
    const others = this.#leases.get(gfid);
    if (others === undefined || kind > 1 || type > LOCK_NONE || start > end || (this.#underWay.get(gfid)?.asked ?? 0) > 0) return false;
    const request = { ...args, session };
    return own.conflict(request) === undefined && others.conflict(request) === undefined;
  }

  /** That nothing stands against it; undefined where something may, or the primary has to be asked. */
  look(args: Args<'getLock'>, own: FileLocks, session: string): Result<'getLock'> | undefined {
    const { start, end } = args;
    return this.mayGive({ ...args, pid: 0, wait: false }, own, session) ? { type: LOCK_NONE, start, end, pid: 0 } : undefined;
  }

  began(gfid: Gfid, given: boolean): void {
    let count = this.#underWay.get(gfid);
    if (count === undefined) this.#underWay.set(gfid, (count = { given: 0, asked: 0 }));
    if (given) {
      count.given++;
      this.given++;
    } else count.asked++;
  }

  /** It was answered, or is not waited for any more. */
  ended(gfid: Gfid, given: boolean): void {
    const count = this.#underWay.get(gfid);
    if (count === undefined) return;
    if (given) count.given--;
    else count.asked--;
    if (count.given + count.asked === 0) this.#underWay.delete(gfid);
    if (given) this.#yield(gfid);
  }

  #yield(gfid: Gfid): void {
    if (!this.#owed.has(gfid) || (this.#underWay.get(gfid)?.given ?? 0) > 0) return;
    this.#owed.delete(gfid);
    this.#yielded(gfid);
  }
}
