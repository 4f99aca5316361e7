/**
 * What the cluster store holds. Values are JSON.
 *
 *   pool                      the pool's identity and its certificate authority
 *   peers/<node>              members of the pool
 *   nodes/<node>              sign of life, written every second by the node's gluond
 *   volumes/<name>            definition, state and options of a volume
 *   views/<volume id>         view of the replica set
 *   bricks/<brick>            the brick's process, as its gluond sees it
 */
import type { Entry } from '../env/cluster-store.js';
import type { BrickId, View } from '../fops/view.js';

export type NodeId = string;

export interface PoolRecord {
  id: string;
  /** PEM. */
  caCertificate: string;
  caKey: string;
}

export interface PeerRecord {
  id: NodeId;
  /** The name it was probed by. */
  hostname: string;
  otherNames: string[];
  /** Of its gluond, HOST:PORT with a numeric host. */
  address: string;
  /** Of its etcd member, HOST:PORT; '' where it has none. */
  etcdClient: string;
  etcdPeer: string;
}

export interface NodeRecord {
  /** Of this gluond process: a new one begins a new count. */
  incarnation: string;
  beat: number;
  /** The node's bricks serve for less than this after the beat was sent. */
  ttlMs: number;
}

export type VolumeState = 'created' | 'started' | 'stopped';

export interface BrickRecord {
  id: BrickId;
  node: NodeId;
  host: string;
  path: string;
  /** `reset-brick start` was given: it does not run until `commit`. */
  resetting?: boolean;
}

export interface VolumeRecord {
  id: string;
  name: string;
  secret: string;
  state: VolumeState;
  replicaCount: number;
  bricks: BrickRecord[];
  options: Record<string, string>;
  /** The node that prepares the bricks: the volume is not listed yet. '' when it is complete. */
  preparing: NodeId | '';
}

export interface BrickProcessRecord {
  node: NodeId;
  volume: string;
  /** up: it serves. down: its gluond vouches that it does not serve (gone, or its serving lease ran out). */
  state: 'up' | 'down';
  pid: number;
  port: number;
  /** Why it is down. */
  reason: string;
}

export const POOL_KEY = 'pool';
export const keys = {
  peer: (node: NodeId): string => `peers/${node}`,
  node: (node: NodeId): string => `nodes/${node}`,
  volume: (name: string): string => `volumes/${name}`,
  view: (volume: string): string => `views/${volume}`,
  brick: (brick: BrickId): string => `bricks/${brick}`,
};

/** A record with the revision it was read at: 0 when there is none. */
export interface Held<T> {
  key: string;
  revision: number;
  value: T;
}

export function held<T>(entry: Entry): Held<T> {
  return { key: entry.key, revision: entry.revision, value: JSON.parse(entry.value) as T };
}

export function encode(
  record: PoolRecord | PeerRecord | NodeRecord | VolumeRecord | BrickProcessRecord | View,
): string {
  return JSON.stringify(record);
}
