/** The cluster store in memory: for tests and for simulated clusters. One `MemoryCluster` is shared by the stores of its nodes. */
import { Errno, LostError } from '../base/errno.js';
import type { ClusterStore, Compare, Entry, WatchEvent, Write } from '../env/cluster-store.js';

interface Watcher {
  prefix: string;
  callback: (event: WatchEvent) => void;
}

/** What etcd's quorum is to a real pool. */
export class MemoryCluster {
  readonly entries = new Map<string, Entry>();
  readonly #watchers = new Set<Watcher>();
  #revision = 0;

  list(prefix: string): Entry[] {
    const found = [...this.entries.values()].filter((entry) => entry.key.startsWith(prefix));
    return found.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  commit(compares: readonly Compare[], writes: readonly Write[]): boolean {
    if (compares.some(({ key, revision }) => (this.entries.get(key)?.revision ?? 0) !== revision)) return false;
    this.#revision += 1;
    const events: WatchEvent[] = [];
    for (const write of writes) {
      if ('value' in write) {
        const entry: Entry = { key: write.key, value: write.value, revision: this.#revision };
        this.entries.set(write.key, entry);
        events.push({ kind: 'put', entry });
      } else if (this.entries.delete(write.key)) {
        events.push({ kind: 'remove', key: write.key });
      }
    }
    for (const watcher of this.#watchers) {
      for (const event of events) {
        const key = event.kind === 'put' ? event.entry.key : event.kind === 'remove' ? event.key : '';
        if (key.startsWith(watcher.prefix))
          queueMicrotask(() => this.#watchers.has(watcher) && watcher.callback(event));
      }
    }
    return true;
  }

  watch(watcher: Watcher, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#watchers.add(watcher);
    signal.addEventListener('abort', () => this.#watchers.delete(watcher));
    const entries = this.list(watcher.prefix);
    queueMicrotask(() => this.#watchers.has(watcher) && watcher.callback({ kind: 'reset', entries }));
  }
}

/** One node's way to the cluster. `reachable = false` is a node without quorum. */
export class MemoryStore implements ClusterStore {
  reachable = true;
  readonly #cluster: MemoryCluster;
  readonly #closed = new AbortController();

  constructor(cluster = new MemoryCluster()) {
    this.#cluster = cluster;
  }

  async get(key: string): Promise<Entry | undefined> {
    await this.#pass();
    return this.#cluster.entries.get(key);
  }

  async list(prefix: string): Promise<Entry[]> {
    await this.#pass();
    return this.#cluster.list(prefix);
  }

  async commit(compares: Compare[], writes: Write[]): Promise<boolean> {
    await this.#pass();
    return this.#cluster.commit(compares, writes);
  }

  watch(prefix: string, callback: (event: WatchEvent) => void, signal: AbortSignal): void {
    this.#cluster.watch({ prefix, callback }, AbortSignal.any([signal, this.#closed.signal]));
  }

  close(): Promise<void> {
    this.#closed.abort();
    return Promise.resolve();
  }

  async #pass(): Promise<void> {
    await Promise.resolve();
    if (!this.reachable) throw new LostError('the cluster store cannot be reached', Errno.ETIMEDOUT);
  }
}
