/** The messages of brick-control.proto in TypeScript, and their conversion to what the rest of gluon works with. */
import { FsError, Errno } from '../base/errno.js';
import type { BrickSpec, VolumeSpec } from '../fops/volume.js';
import type { View } from '../fops/view.js';
import type { ClientMessage, ScrubMessage, ViewMessage, VolumeSpecMessage } from './management.js';

export interface ViewChangeMessage {
  kind: string;
  brick?: string;
  successor?: string;
  without?: string[];
}

export interface HealStatusMessage {
  brick: string;
  state: string;
  keysLeft: number;
  bytesLeft: number;
  bytesDone: number;
  paths: Uint8Array[];
  secondsLeft: number;
}

export interface ReplicaStatusMessage {
  brick: string;
  view: ViewMessage | null;
  role: string;
  serving: boolean;
  heals: HealStatusMessage[];
  clients: ClientMessage[];
  scrub: ScrubMessage | null;
}

/** One of these, named in `message`. */
export interface FromBrickMessage {
  message?: 'hello' | 'state' | 'heartbeat' | 'change' | 'status';
  hello?: { volume: string; brick: string; pid: number; startTime: string; version: string } | null;
  state?: { state: string; reason: string; port: number; socket: string } | null;
  heartbeat?: { leaseId: number } | null;
  change?: { id: number; epoch: number; change: ViewChangeMessage | null } | null;
  status?: { id: number; status: ReplicaStatusMessage | null } | null;
}

export interface ConfigMessage {
  spec: VolumeSpecMessage | null;
  brick: string;
  node: string;
  listenHost: string;
  port: number;
  socket: string;
}

export interface ToBrickMessage {
  message?: 'config' | 'view' | 'lease' | 'changed' | 'query' | 'order' | 'refused';
  config?: ConfigMessage | null;
  view?: ViewMessage | null;
  lease?: { untilMonotonicUs: number; id: number } | null;
  changed?: { id: number; view: ViewMessage | null; lost: string } | null;
  query?: { id: number } | null;
  order?: { order: string } | null;
  refused?: string | null;
}

export function specFromMessage(message: VolumeSpecMessage): VolumeSpec {
  return {
    id: message.id,
    name: message.name,
    secret: message.secret,
    started: message.started,
    bricks: message.bricks.map((brick): BrickSpec => ({
      ...brick,
      socket: brick.socket === '' ? undefined : brick.socket,
    })),
    options: { ...message.options },
  };
}

export function specToMessage(spec: VolumeSpec): VolumeSpecMessage {
  return { ...spec, bricks: spec.bricks.map((brick) => ({ ...brick, socket: brick.socket ?? '' })) };
}

export function viewFromMessage(message: ViewMessage): View {
  return { epoch: message.epoch, primary: message.primary, inSync: message.inSync, catchingUp: message.catchingUp };
}

/** EINVAL where a message lacks a part that it must have. */
export function required<T>(part: T | null | undefined, what: string): T {
  if (part === null || part === undefined) throw new FsError(Errno.EINVAL, 'management', `a message lacks its ${what}`);
  return part;
}
