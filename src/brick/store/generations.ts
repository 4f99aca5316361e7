/**
 * A bounded cache of two generations: what is used moves to the young one; when that is full it becomes the old one, and what
 * was old is forgotten. Holds between `limit` and twice `limit` recently used entries, at the price of a map lookup.
 */
export class Generations<K, V> {
  #young = new Map<K, V>();
  #old = new Map<K, V>();
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get(key: K): V | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) {
      this.#old.delete(key);
      this.set(key, old);
    }
    return old;
  }

  set(key: K, value: V): void {
    this.#young.set(key, value);
    if (this.#young.size >= this.#limit) {
      this.#old = this.#young;
      this.#young = new Map();
    }
  }

  delete(key: K): void {
    // An entry may be in both: set does not look at the old generation.
    this.#young.delete(key);
    this.#old.delete(key);
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
  }
}
