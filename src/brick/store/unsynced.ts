import type { Gfid } from '../../base/ids.js';

/** More changed inodes than this are no longer told apart. */
const CHANGED_MAX = 50_000;

/**
 * What changed beside data since it was last made durable. Every change has a number; a sync that began after it settles it, one
 * that ran while it happened does not.
 */
export class Unsynced {
  #number = 0;
  /** Changes up to this one concern inodes that were forgotten. */
  #forgotten = 0;
  #settled = 0;
  /** Inodes whose names, owner, mode or xattrs changed, by their last change, oldest first. */
  readonly #changed = new Map<Gfid, number>();
  /** Directories that moved: they lead to inodes that did not change themselves. */
  readonly #moved = new Map<Gfid, number>();
  #namesNumber = 0;

  changed(gfid: Gfid): void {
    this.#changed.delete(gfid);
    this.#changed.set(gfid, ++this.#number);
    if (this.#changed.size <= CHANGED_MAX) return;
    this.#forgotten = this.#number;
    this.#changed.clear();
  }

  namesChanged(): void {
    this.#namesNumber = ++this.#number;
  }

  moved(directory: Gfid): void {
    this.#moved.delete(directory);
    this.#moved.set(directory, ++this.#number);
  }

  /** Passed back when a sync that begins now has ended well. */
  begin(): number {
    return this.#number;
  }

  /** fdatasync would leave out something. */
  isDirty(gfid: Gfid): boolean {
    return this.#forgotten > this.#settled || this.#changed.has(gfid);
  }

  namesDirty(): boolean {
    return this.#namesNumber > this.#settled;
  }

  movedDirectories(): Gfid[] {
    return this.#moved.size === 0 ? [] : [...this.#moved.keys()];
  }

  settled(gfid: Gfid, begun: number): void {
    if ((this.#changed.get(gfid) ?? Infinity) <= begun) this.#changed.delete(gfid);
    if ((this.#moved.get(gfid) ?? Infinity) <= begun) this.#moved.delete(gfid);
  }

  /** The whole filesystem was synced. */
  allSettled(begun: number): void {
    this.#settled = Math.max(this.#settled, begun);
    for (const map of [this.#changed, this.#moved]) {
      for (const [gfid, number] of map) {
        if (number > begun) break;
        map.delete(gfid);
      }
    }
  }
}
