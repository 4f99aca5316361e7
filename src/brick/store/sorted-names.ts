import type { Name } from '../../base/ids.js';

/** A chunk is cut in two when it grows beyond this. */
const CHUNK_NAMES_MAX = 512;

/** First index in `sorted` whose value is not below `name`. */
function lowerBound(sorted: readonly Name[], name: Name): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as Name) < name) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Names of one directory in byte order, in chunks: adding or removing one of 100,000 moves a few hundred, not all, so that
 * emptying a large directory is not quadratic. Byte strings compare in byte order.
 */
export class SortedNames {
  #chunks: Name[][] = [];
  #count = 0;

  constructor(names: Name[]) {
    names.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
    for (let at = 0; at < names.length; at += CHUNK_NAMES_MAX / 2) {
      this.#chunks.push(names.slice(at, at + CHUNK_NAMES_MAX / 2));
    }
    this.#count = names.length;
  }

  get count(): number {
    return this.#count;
  }

  add(name: Name): void {
    const chunks = this.#chunks;
    if (chunks.length === 0) {
      chunks.push([name]);
      this.#count = 1;
      return;
    }
    const index = Math.min(this.#chunkOf(name), chunks.length - 1);
    const chunk = chunks[index] as Name[];
    const at = lowerBound(chunk, name);
    if (chunk[at] === name) return;
    chunk.splice(at, 0, name);
    this.#count++;
    if (chunk.length > CHUNK_NAMES_MAX) chunks.splice(index + 1, 0, chunk.splice(CHUNK_NAMES_MAX / 2));
  }

  remove(name: Name): void {
    const index = this.#chunkOf(name);
    const chunk = this.#chunks[index];
    if (chunk === undefined) return;
    const at = lowerBound(chunk, name);
    if (chunk[at] !== name) return;
    chunk.splice(at, 1);
    this.#count--;
    if (chunk.length === 0) this.#chunks.splice(index, 1);
  }

  /** Calls back with the names after `after` in order ('' for all), until `visit` says false. */
  walk(after: Name | '', visit: (name: Name) => boolean): void {
    let index = after === '' ? 0 : this.#chunkOf(after);
    let at = 0;
    const first = this.#chunks[index];
    if (first !== undefined && after !== '') {
      at = lowerBound(first, after);
      if (first[at] === after) at++;
    }
    for (; index < this.#chunks.length; index++) {
      const chunk = this.#chunks[index] as Name[];
      for (; at < chunk.length; at++) if (!visit(chunk[at] as Name)) return;
      at = 0;
    }
  }

  /** The first chunk whose last name is not below `name`: the only one that can hold it. */
  #chunkOf(name: Name): number {
    const chunks = this.#chunks;
    let low = 0;
    let high = chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const chunk = chunks[middle] as Name[];
      if ((chunk[chunk.length - 1] as Name) < name) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
