/** What the gluonds of one pool do for each other: the calls, and how they are found. Arguments and results are JSON on the wire. */
import type { ReplicaStatusMessage } from '../wire/brick-control.js';
import type { BrickDiskMessage } from '../wire/management.js';
import type { BrickId } from '../fops/view.js';
import type { NodeId } from './records.js';

export interface BrickPlace {
  path: string;
  volume: string;
  brick: BrickId;
}

/** What a node knows of one of its bricks. */
export interface BrickReport {
  brick: BrickId;
  attached: boolean;
  pid: number;
  port: number;
  reason: string;
  status?: ReplicaStatusMessage;
  disk?: BrickDiskMessage;
}

export interface NodeCalls {
  /** Makes the directory a brick, or says (Refused) why not. `incomplete`: of a volume that is in use, to be filled. */
  prepareBrick: { args: BrickPlace & { force: boolean; incomplete?: boolean }; result: { created: boolean } };
  /** Undoes prepareBrick of a volume that did not come to be. */
  unprepareBrick: { args: BrickPlace & { created: boolean }; result: Record<string, never> };
  /** Refused when the directory is not that brick. */
  checkBrick: { args: BrickPlace; result: Record<string, never> };
  reportBricks: { args: { volume: string; disk: boolean; status: boolean }; result: { bricks: BrickReport[] } };
  /** See ViewKeeperOptions.fence. */
  fence: { args: { brick: BrickId; epoch: number }; result: Record<string, never> };
  /** Passes `fence` on to another node, for one that may not reach it. */
  fenceFor: { args: { node: NodeId; brick: BrickId; epoch: number }; result: Record<string, never> };
  order: { args: { brick: BrickId; order: string }; result: { attached: boolean } };
  startNow: { args: { volume: string }; result: Record<string, never> };
  /** The node is no longer of the pool. */
  leave: { args: { pool: string }; result: Record<string, never> };
}

export type NodeCall = keyof NodeCalls;

export interface NodeService {
  /** Also to this node itself. Rejects with Refused (its answer) or LostError (none in time). */
  call<K extends NodeCall>(
    node: NodeId,
    call: K,
    args: NodeCalls[K]['args'],
    timeoutMs?: number,
  ): Promise<NodeCalls[K]['result']>;
}

/** Names and addresses of hosts. */
export interface HostLookup {
  /** Numeric addresses; empty when the name is unknown. Bounded. */
  resolve(host: string): Promise<string[]>;
  /** One of this machine's own addresses. */
  isLocal(address: string): boolean;
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}
