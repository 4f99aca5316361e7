/**
 * Paths for people: what `heal info` calls an inode. A file's handle does not tell its names, so the names that clients looked up lately are remembered, and
 * a short search does the rest.
 */
import { FsError } from '../base/errno.js';
import { ROOT_GFID, type Gfid, type Name } from '../base/ids.js';
import { S_IFDIR } from '../fops/ops.js';
import { parseKey, type Key } from './keys.js';
import type { Store } from './store.js';

const NAMES_MAX = 20_000;
const PATHS_MAX = 1000;
const SEARCH_ENTRIES_MAX = 10_000;
const DEPTH_MAX = 10_000;

interface Place {
  parent: Gfid;
  name: Name;
}

export class Paths {
  readonly #store: Store;
  readonly #places = new Map<Gfid, Place>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** A client looked this name up, or made it. */
  note(gfid: Gfid, parent: Gfid, name: Name): void {
    if (this.#places.size >= NAMES_MAX && !this.#places.has(gfid)) this.#places.delete(this.#places.keys().next().value as Gfid);
    this.#places.set(gfid, { parent, name });
  }

  /** Paths from the volume's root of what the keys are about, as byte strings; `<gfid:…>` where no name is found. At most 1,000. */
  of(keys: Iterable<Key>): string[] {
    const inodes = new Set<Gfid>();
    const paths = new Set<string>();
    for (const key of keys) {
      const parsed = parseKey(key);
      if (parsed?.kind === 'name') paths.add(this.#join(parsed));
      else if (parsed !== undefined) inodes.add(parsed.gfid);
      if (paths.size + inodes.size >= PATHS_MAX) break;
    }
    const unknown = [...inodes].filter((gfid) => this.#place(gfid) === undefined && gfid !== ROOT_GFID);
    if (unknown.length > 0) this.#search(new Set(unknown));
    for (const gfid of inodes) {
      const place = this.#place(gfid);
      // An inode that is gone is no entry any more; the names it had are.
      if (place === undefined && gfid !== ROOT_GFID && this.#store.describe(gfid) === undefined) continue;
      paths.add(gfid === ROOT_GFID ? '/' : place === undefined ? `<gfid:${gfid}>` : this.#join(place));
    }
    return [...paths].slice(0, PATHS_MAX);
  }

  #place(gfid: Gfid): Place | undefined {
    const directory = this.#store.directoryPlace(gfid);
    if (directory !== undefined) return directory;
    const noted = this.#places.get(gfid);
    if (noted === undefined) return undefined;
    try {
      if (this.#store.child(noted.parent, noted.name)?.gfid === gfid) return noted;
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
    }
    this.#places.delete(gfid);
    return undefined;
  }

  #join(place: Place): string {
    const names = [place.name];
    let at = place.parent;
    while (at !== ROOT_GFID) {
      const above = this.#store.directoryPlace(at);
      if (above === undefined || names.length > DEPTH_MAX) return `<gfid:${at}>/${names.toReversed().join('/')}`;
      names.push(above.name);
      at = above.parent;
    }
    return `/${names.toReversed().join('/')}`;
  }

  /** Looks through directories from the root, breadth first, for a bounded number of names. */
  #search(wanted: Set<Gfid>): void {
    const queue: Gfid[] = [ROOT_GFID];
    let budget = SEARCH_ENTRIES_MAX;
    for (let i = 0; i < queue.length && wanted.size > 0 && budget > 0; i++) {
      const directory = queue[i] as Gfid;
      let after: Name | '' = '';
      for (let end = false; !end && budget > 0; ) {
        let page;
        try {
          page = this.#store.readdir(directory, after, Math.min(1000, budget), false);
        } catch (error) {
          if (error instanceof FsError) break;
          throw error;
        }
        for (const entry of page.entries) {
          budget--;
          if (wanted.delete(entry.gfid)) this.note(entry.gfid, directory, entry.name);
          if (entry.type === S_IFDIR) queue.push(entry.gfid);
          after = entry.name;
        }
        end = page.end || page.entries.length === 0;
      }
    }
  }
}
