/** What a session has at the bricks, to be claimed again from a new primary: open inodes and file locks. */
import type { Gfid } from '../base/ids.js';
import type { Attr } from '../fops/fields.js';
import type { Args, OpName } from '../fops/ops.js';
import { FileLocks } from '../replica/file-locks.js';
import type { HeldLock } from '../wire/messages.js';

const OWN = '';

export class HeldState {
  readonly #opens = new Map<Gfid, number>();
  readonly #locks = new FileLocks();

  /** `opens`: what a session that is taken over has open, once for each open. */
  constructor(opens: readonly Gfid[]) {
    for (const gfid of opens) this.#open(gfid, 1);
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
    const count = (this.#opens.get(gfid) ?? 0) + change;
    if (count > 0) this.#opens.set(gfid, count);
    else this.#opens.delete(gfid);
  }
}
