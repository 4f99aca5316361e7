/**
 * The linearizable store of cluster state: small keys and values with compare-and-set and watches.
 * EtcdStore, LevelStore (pool of one node) and an in-memory one for simulation implement it.
 */
export interface Entry {
  key: string;
  value: string;
  /** Changes with every change of this key; 0 means absent. Only compared for equality. */
  revision: number;
}

export type Compare = { key: string; revision: number };
export type Write = { key: string; value: string } | { key: string; remove: true };

/**
 * 'now' is for what counts from the moment it is taken: it goes by way of another machine where there is one, and a member that could not take it at
 * once refuses it instead of keeping it for a leader to come.
 */
export type CommitMode = 'waits' | 'now';

export type WatchEvent = { kind: 'put'; entry: Entry } | { kind: 'remove'; key: string } | { kind: 'reset'; entries: Entry[] };

export interface ClusterStore {
  get(key: string, signal?: AbortSignal): Promise<Entry | undefined>;
  /** All keys with this prefix, in key order. */
  list(prefix: string, signal?: AbortSignal): Promise<Entry[]>;
  /**
   * Applies all writes atomically if every compared key has the given revision (0: absent). False when a comparison failed.
   * Rejects with LostError when the outcome is unknown (no quorum, time out). Mode: 'waits' unless told otherwise.
   */
  commit(compares: Compare[], writes: Write[], mode?: CommitMode): Promise<boolean>;
  /** Calls back with 'reset' and the present entries first, after every reconnection too, then with each change in order. Ends with the signal. */
  watch(prefix: string, callback: (event: WatchEvent) => void, signal: AbortSignal): void;
  close(): Promise<void>;
}
