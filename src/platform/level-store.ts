/**
 * The cluster store of a pool of one node: a `level` database in the state directory. There is no other writer, so reads are
 * answered from memory; a commit is one synced batch.
 */
import { Level } from 'level';
import { Errno, LostError } from '../base/errno.js';
import type { ClusterStore, Compare, Entry, WatchEvent, Write } from '../env/cluster-store.js';
import { MemoryCluster } from '../cluster/memory-store.js';

export class LevelStore implements ClusterStore {
  readonly #database: Level<string, string>;
  readonly #cluster = new MemoryCluster();
  readonly #closed = new AbortController();
  /** Commits one after the other: the comparison and the batch are one step. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(database: Level<string, string>) {
    this.#database = database;
  }

  /** Creates the database when there is none. Fails when another process has it open. */
  static async open(directory: string): Promise<LevelStore> {
    const database = new Level<string, string>(directory);
    await database.open();
    const store = new LevelStore(database);
    for await (const [key, value] of database.iterator()) store.#cluster.commit([], [{ key, value }]);
    return store;
  }

  get(key: string): Promise<Entry | undefined> {
    return Promise.resolve(this.#cluster.entries.get(key));
  }

  list(prefix: string): Promise<Entry[]> {
    return Promise.resolve(this.#cluster.list(prefix));
  }

  commit(compares: Compare[], writes: Write[]): Promise<boolean> {
    const done = this.#turn.then(() => this.#commit(compares, writes));
    this.#turn = done.catch(() => undefined);
    return done;
  }

  watch(prefix: string, callback: (event: WatchEvent) => void, signal: AbortSignal): void {
    this.#cluster.watch({ prefix, callback }, AbortSignal.any([signal, this.#closed.signal]));
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.#turn;
    await this.#database.close();
  }

  async #commit(compares: Compare[], writes: Write[]): Promise<boolean> {
    if (this.#closed.signal.aborted) throw new LostError('the cluster store was closed', Errno.ECANCELED);
    if (compares.some(({ key, revision }) => (this.#cluster.entries.get(key)?.revision ?? 0) !== revision))
      return false;
    const batch = writes.map((write) =>
      'value' in write
        ? { type: 'put' as const, key: write.key, value: write.value }
        : { type: 'del' as const, key: write.key },
    );
    // What is worth a read after a power cut is synced; a sign of life is not.
    const sync = writes.some((write) => !write.key.startsWith('nodes/'));
    try {
      await this.#database.batch(batch, { sync });
    } catch (error) {
      throw new LostError('the cluster store could not be written', Errno.EIO, { cause: error });
    }
    return this.#cluster.commit([], writes);
  }
}
