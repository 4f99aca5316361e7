/** What this node knows of the cluster store: a mirror that one watch keeps up to date. Decisions compare the revisions in it. */
import type { ClusterStore, Compare, Entry, WatchEvent } from '../env/cluster-store.js';
import type { Log } from '../env/log.js';
import type { BrickId, View } from '../fops/view.js';
import {
  held,
  keys,
  POOL_KEY,
  type BrickProcessRecord,
  type BrickRecord,
  type Held,
  type NodeId,
  type NodeRecord,
  type PeerRecord,
  type PoolRecord,
  type VolumeRecord,
} from './records.js';

export type StateChange = 'pool' | 'peers' | 'nodes' | 'volumes' | 'views' | 'bricks';
const TABLES: readonly StateChange[] = ['pool', 'peers', 'nodes', 'volumes', 'views', 'bricks'];

export type StateListener = (changed: ReadonlySet<StateChange>) => void;

export class ClusterState {
  readonly #tables = new Map<StateChange, Map<string, Held<unknown>>>(TABLES.map((table) => [table, new Map()]));
  readonly #listeners = new Set<StateListener>();
  readonly #log: Log;
  #ready!: () => void;
  /** Resolves when the first contents are known. */
  readonly ready = new Promise<void>((resolve) => (this.#ready = resolve));

  constructor(log: Log) {
    this.#log = log;
  }

  start(store: ClusterStore, signal: AbortSignal): void {
    store.watch('', (event) => this.#apply(event), signal);
  }

  /** Called after every change, in the same turn. Ends with the returned function. */
  onChange(listener: StateListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get pool(): PoolRecord | undefined {
    return (this.#tables.get('pool')?.get(POOL_KEY) as Held<PoolRecord> | undefined)?.value;
  }

  peers(): PeerRecord[] {
    return this.#all<PeerRecord>('peers');
  }

  peer(id: NodeId): Held<PeerRecord> | undefined {
    return this.#one('peers', id);
  }

  node(id: NodeId): Held<NodeRecord> | undefined {
    return this.#one('nodes', id);
  }

  /** Those that are complete, by name. */
  volumes(): VolumeRecord[] {
    const all = this.#all<VolumeRecord>('volumes').filter((volume) => volume.preparing === '');
    return all.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  volume(name: string): Held<VolumeRecord> | undefined {
    return this.#one('volumes', name);
  }

  /** Also those that are being prepared. */
  everyVolume(): VolumeRecord[] {
    return this.#all<VolumeRecord>('volumes');
  }

  volumeById(id: string): VolumeRecord | undefined {
    return this.#all<VolumeRecord>('volumes').find((volume) => volume.id === id);
  }

  view(volume: string): Held<View> | undefined {
    return this.#one('views', volume);
  }

  /** Of the volumes that have a brick on this node: what must not have changed where something rests on these views. Revision 0: there is none yet. */
  viewsOn(node: NodeId): Compare[] {
    const volumes = new Set(this.bricksOf(node).map(({ volume }) => volume.id));
    return [...volumes].map((volume) => ({ key: keys.view(volume), revision: this.view(volume)?.revision ?? 0 }));
  }

  brickProcess(brick: BrickId): Held<BrickProcessRecord> | undefined {
    return this.#one('bricks', brick);
  }

  bricksOf(node: NodeId): { volume: VolumeRecord; brick: BrickRecord }[] {
    const volumes = this.#all<VolumeRecord>('volumes');
    return volumes.flatMap((volume) =>
      volume.bricks.filter((brick) => brick.node === node).map((brick) => ({ volume, brick })),
    );
  }

  #all<T>(table: StateChange): T[] {
    return [...(this.#tables.get(table)?.values() ?? [])].map((entry) => (entry as Held<T>).value);
  }

  #one<T>(table: StateChange, id: string): Held<T> | undefined {
    return this.#tables.get(table)?.get(`${table}/${id}`) as Held<T> | undefined;
  }

  #apply(event: WatchEvent): void {
    const changed = new Set<StateChange>();
    if (event.kind === 'reset') {
      for (const table of TABLES) {
        this.#tables.get(table)?.clear();
        changed.add(table);
      }
      for (const entry of event.entries) this.#put(entry, changed);
    } else if (event.kind === 'put') {
      this.#put(event.entry, changed);
    } else {
      const table = this.#tableOf(event.key);
      if (table !== undefined && this.#tables.get(table)?.delete(event.key) === true) changed.add(table);
    }
    this.#ready();
    if (changed.size === 0) return;
    for (const listener of this.#listeners) {
      try {
        listener(changed);
      } catch (error) {
        this.#log.error('a listener of the cluster state failed', { error });
      }
    }
  }

  #put(entry: Entry, changed: Set<StateChange>): void {
    const table = this.#tableOf(entry.key);
    if (table === undefined) return;
    const entries = this.#tables.get(table);
    // A reconnected watch repeats what is known; an older state is never taken over a newer one within one watch.
    entries?.set(entry.key, held(entry));
    changed.add(table);
  }

  #tableOf(key: string): StateChange | undefined {
    const name = key.split('/', 1)[0];
    return TABLES.find((table) => table === name);
  }
}
