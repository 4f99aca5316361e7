/** What a session has at the bricks, to be claimed again from a new primary: open inodes and file locks. */
import { Errno, FsError } from '../base/errno.js';
import type { Gfid } from '../base/ids.js';
import type { Attr } from '../fops/fields.js';
import type { Args, OpName } from '../fops/ops.js';
import { FileLocks, LOCK_NONE } from '../replica/file-locks.js';
import type { HeldLock } from '../wire/messages.js';

const OWN = '';

/** One `reclaim` must be able to tell all of it. */
const OPENS_MAX = 65_536;
const LOCKS_MAX = 12_000;

export class HeldState {
  readonly #opens = new Map<Gfid, number>();
  readonly #locks = new FileLocks();
  #openCount = 0;

  /** `opens`: what a session that is taken over has open, once for each open. */
  constructor(opens: readonly Gfid[]) {
    for (const gfid of opens) this.#open(gfid, 1);
  }

  /** Why one more cannot be held, if so: ENFILE, ENOLCK. */
  refusal(op: OpName, args: unknown): FsError | undefined {
    if ((op === 'open' || op === 'create' || op === 'tmpfile') && this.#openCount >= OPENS_MAX) return new FsError(Errno.ENFILE, op, `${OPENS_MAX} files are open on this mount`);
    if (op === 'setLock' && (args as Args<'setLock'>).type !== LOCK_NONE && this.#locks.count >= LOCKS_MAX) return new FsError(Errno.ENOLCK, op, `${LOCKS_MAX} locks are held on this mount`);
    return undefined;
  }

  /** A mutation succeeded. */
  settled(op: OpName, args: unknown, result: unknown): void {
    switch (op) {
      case 'open':
      case 'create':
      case 'tmpfile':
        this.#open((result as { attr: Attr }).attr.gfid, 1);
        break;
      case 'release':
        this.#open((args as Args<'release'>).gfid, -1);
        break;
      case 'setLock': {
        const { gfid, owner, kind, type, start, end, pid } = args as Args<'setLock'>;
        this.#locks.set({ gfid, owner, kind, type, start, end, pid, session: OWN });
        break;
      }
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
    return this.#locks.export().map(({ gfid, owner, kind, type, start, end, pid }) => ({ gfid, owner, kind, type, start, end, pid }));
  }

  #open(gfid: Gfid, change: number): void {
    const before = this.#opens.get(gfid) ?? 0;
    const count = Math.max(0, before + change);
    this.#openCount += count - before;
    if (count > 0) this.#opens.set(gfid, count);
    else this.#opens.delete(gfid);
  }
}
