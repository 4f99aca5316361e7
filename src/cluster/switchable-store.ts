/**
 * A cluster store whose implementation can be changed while it is used: the first probe moves a pool of one node into etcd, a
 * detached node returns to a store of its own. Watches are begun anew on the new one.
 */
import type { ClusterStore, CommitMode, Compare, Entry, WatchEvent, Write } from '../env/cluster-store.js';

interface Watching {
  prefix: string;
  callback: (event: WatchEvent) => void;
  signal: AbortSignal;
  /** Ends it on the present implementation. */
  stop: AbortController;
}

export class SwitchableStore implements ClusterStore {
  #store: ClusterStore;
  readonly #watching = new Set<Watching>();
  /** Resolved unless the implementation is being changed. */
  #gate: Promise<void> = Promise.resolve();

  constructor(store: ClusterStore) {
    this.#store = store;
  }

  /**
   * From now on what `prepare` resolves with is used; commits wait for it. When it rejects, nothing changed. The old one is left to the caller.
   */
  async switchTo(prepare: (present: ClusterStore) => Promise<ClusterStore>): Promise<void> {
    const before = this.#gate;
    let open!: () => void;
    this.#gate = new Promise((resolve) => (open = resolve));
    await before;
    try {
      this.#store = await prepare(this.#store);
    } finally {
      open();
    }
    this.#beginAll();
  }

  #beginAll(): void {
    for (const watching of this.#watching) {
      watching.stop.abort();
      watching.stop = new AbortController();
      this.#begin(watching);
    }
  }

  get(key: string, signal?: AbortSignal): Promise<Entry | undefined> {
    return this.#store.get(key, signal);
  }

  list(prefix: string, signal?: AbortSignal): Promise<Entry[]> {
    return this.#store.list(prefix, signal);
  }

  async commit(compares: Compare[], writes: Write[], mode?: CommitMode): Promise<boolean> {
    await this.#gate;
    return this.#store.commit(compares, writes, mode);
  }

  watch(prefix: string, callback: (event: WatchEvent) => void, signal: AbortSignal): void {
    const watching = { prefix, callback, signal, stop: new AbortController() };
    this.#watching.add(watching);
    signal.addEventListener('abort', () => this.#watching.delete(watching));
    this.#begin(watching);
  }

  close(): Promise<void> {
    for (const watching of this.#watching) watching.stop.abort();
    this.#watching.clear();
    return this.#store.close();
  }

  #begin(watching: Watching): void {
    const { stop } = watching;
    const callback = (event: WatchEvent): void => {
      if (!stop.signal.aborted) watching.callback(event);
    };
    this.#store.watch(watching.prefix, callback, AbortSignal.any([watching.signal, stop.signal]));
  }
}
