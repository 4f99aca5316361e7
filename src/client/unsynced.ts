/**
 * What this client changed and nobody synced since. When all bricks lose their power at once, of what was acknowledged only what was synced must be left; an fsync
 * that comes later would find nothing to write and succeed. So the primary counts such losses (`reclaimed`), and the fsync of what was changed before one, and
 * synced after it, is told that the data may be gone: once, as with a disk that could not write (EIO), then the file counts as it is.
 *
 * The bricks write all that they have to their disks every 30 s, and say so (`pong`): then what was changed before is forgotten. A worker that takes a mount over knows nothing of the
 * changes of the one before it.
 */
import type { Gfid } from '../base/ids.js';
import type { Attr } from '../fops/fields.js';
import type { Args, OpName } from '../fops/ops.js';

/** The first that is told may have begun before the change, and so may the second, where this client had not heard of the first. */
const SYNCED_AFTER = 3;
const INODES_MAX = 65_536;

interface Change {
  /** Losses that had happened when the first of the changes was answered. */
  losses: number;
  /** Number of the last change. */
  last: number;
  /** How many times the bricks had told that all is on their disks. */
  synced: number;
}

export class Unsynced {
  /** The inode that changed last is the last one. */
  readonly #changes = new Map<Gfid, Change>();
  #losses: number | undefined;
  #number = 0;
  #epoch = 0;
  #synced = 0;
  /** Some were forgotten for want of room, and the bricks have not told of them since: `#synced` at the last one. */
  #lost: number | undefined;

  /** What the primary says. The inodes that are concerned by a loss that this client did not know of; 'all' where it does not know which. */
  learn(losses: number): ReadonlySet<Gfid> | 'all' {
    const before = this.#losses;
    this.#losses = Math.max(before ?? 0, losses);
    if (before === undefined || losses <= before) return new Set();
    return this.#lost === undefined ? new Set(this.#changes.keys()) : 'all';
  }

  /** The primary of this epoch has said so many times that all is on the disks. What is there by now is forgotten. */
  heard(epoch: number, synced: number): void {
    if (epoch === this.#epoch && synced === this.#synced) return;
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      for (const change of this.#changes.values()) change.synced = synced;
      if (this.#lost !== undefined) this.#lost = synced;
    }
    this.#synced = synced;
    if (this.#lost !== undefined && synced >= this.#lost + SYNCED_AFTER) this.#lost = undefined;
    for (const [gfid, change] of this.#changes) {
      if (synced < change.synced + SYNCED_AFTER) return;
      this.#changes.delete(gfid);
    }
  }

  /** A change was answered with success, in this order. `moved`: the inode that was renamed, where it is known. */
  changed(op: OpName, args: unknown, result: unknown, moved?: Gfid): void {
    for (const gfid of [...changedInodes(op, args, result), ...(moved === undefined ? [] : [moved])]) {
      const known = this.#changes.get(gfid);
      this.#changes.delete(gfid);
      this.#changes.set(gfid, { losses: known?.losses ?? this.#losses ?? 0, last: ++this.#number, synced: this.#synced });
    }
    if (this.#changes.size > INODES_MAX) this.#dropOldest();
  }

  /** An fsync is asked for: it is about the changes up to this number. */
  mark(): number {
    return this.#number;
  }

  /** An fsync that began at `mark` was answered with success. False when what it was about may be gone. */
  synced(gfid: Gfid, mark: number): boolean {
    const change = this.#changes.get(gfid);
    if (change === undefined) return true;
    const { losses } = change;
    if (change.last <= mark) this.#changes.delete(gfid);
    else change.losses = this.#losses ?? 0;
    return losses === (this.#losses ?? 0);
  }

  #dropOldest(): void {
    const [oldest] = this.#changes.keys();
    if (oldest !== undefined) this.#changes.delete(oldest);
    this.#lost = this.#synced;
  }
}

/** What an fsync must come for before a change is durable: inodes, and directories whose names changed. */
function changedInodes(op: OpName, args: unknown, result: unknown): Gfid[] {
  const { gfid, parent, newParent, target, sync, truncate } = args as Partial<Args<'write'> & Args<'rename'> & Args<'copyFileRange'> & Args<'create'>>;
  const { attr, created } = (result ?? {}) as { attr?: Attr; created?: boolean };
  const made = attr?.gfid;
  switch (op) {
    case 'write':
      return sync === true || gfid === undefined ? [] : [gfid];
    case 'setattr':
    case 'setxattr':
    case 'removexattr':
    case 'fallocate':
      return gfid === undefined ? [] : [gfid];
    case 'copyFileRange':
      return target === undefined ? [] : [target];
    case 'create':
      if (created === false) return truncate === true && made !== undefined ? [made] : [];
      return [parent, made].filter((one) => one !== undefined);
    case 'open':
      return truncate === true && gfid !== undefined ? [gfid] : [];
    case 'mkdir':
    case 'mknod':
    case 'symlink':
    case 'link':
    case 'unlink':
    case 'rmdir':
    case 'rename':
      return [parent, newParent, made].filter((one) => one !== undefined);
    default:
      return [];
  }
}
