import type { Gfid, Name } from '../../base/ids.js';
import { SortedNames } from './sorted-names.js';

/** The sorted names of recently listed directories, kept up to date, within a bound on the names of all. */
export class Listings {
  readonly #limit: number;
  readonly #known = new Map<Gfid, SortedNames>();
  #names = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get(gfid: Gfid): SortedNames | undefined {
    const known = this.#known.get(gfid);
    if (known !== undefined) {
      this.#known.delete(gfid);
      this.#known.set(gfid, known);
    }
    return known;
  }

  /** Remembers a directory's names; the least recently used make room. */
  put(gfid: Gfid, names: Name[]): SortedNames {
    this.forget(gfid);
    const listing = new SortedNames(names);
    this.#known.set(gfid, listing);
    this.#names += listing.count;
    for (const oldest of this.#known.keys()) {
      if (this.#names <= this.#limit || this.#known.size === 1) break;
      this.forget(oldest);
    }
    return listing;
  }

  added(parent: Gfid, name: Name): void {
    const listing = this.#known.get(parent);
    if (listing === undefined) return;
    this.#names -= listing.count;
    listing.add(name);
    this.#names += listing.count;
  }

  removed(parent: Gfid, name: Name): void {
    const listing = this.#known.get(parent);
    if (listing === undefined) return;
    this.#names -= listing.count;
    listing.remove(name);
    this.#names += listing.count;
  }

  forget(gfid: Gfid): void {
    const listing = this.#known.get(gfid);
    if (listing === undefined) return;
    this.#names -= listing.count;
    this.#known.delete(gfid);
  }

  clear(): void {
    this.#known.clear();
    this.#names = 0;
  }
}
