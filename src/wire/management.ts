/**
 * The messages of management.proto as they appear in TypeScript (64-bit numbers as number, enums by name, bytes as Buffer).
 * Requests as read have every field; absent messages are null.
 */
export interface Result {
  opRet: number;
  opErrno: number;
  message: string;
}

export interface NodeMessage {
  id: string;
  name: string;
  version: string;
  stateDirectory: string;
  pool: string;
}

export interface PeerMessage {
  id: string;
  hostname: string;
  otherNames: string[];
  connected: boolean;
  local: boolean;
  stateText: string;
  address: string;
  storeRole: string;
}

export type VolumeStateName = 'CREATED' | 'STARTED' | 'STOPPED';
export type BrickRoleName = 'UNKNOWN' | 'PRIMARY' | 'IN_SYNC' | 'CATCHING_UP' | 'ABSENT' | 'BRICK_STOPPED';

export interface OptionMessage {
  key: string;
  value: string;
}

export interface BrickMessage {
  id: string;
  host: string;
  path: string;
  node: string;
}

export interface VolumeMessage {
  id: string;
  name: string;
  state: VolumeStateName;
  replicaCount: number;
  bricks: BrickMessage[];
  options: OptionMessage[];
}

export interface BrickDiskMessage {
  fileSystem: string;
  device: string;
  mountOptions: string;
  inodeSize: number;
  bytesFree: number;
  bytesTotal: number;
  blockBytes: number;
  inodesTotal: number;
  inodesFree: number;
}

export interface ClientMessage {
  remote: string;
  session: string;
  bytesRead: number;
  bytesWritten: number;
  opens: number;
  locks: number;
}

export interface BrickStatusMessage {
  brick: BrickMessage;
  online: boolean;
  port: number;
  pid: number;
  role: BrickRoleName;
  disk: BrickDiskMessage | null;
  clients: ClientMessage[];
  detail: string;
  serving: boolean;
}

export interface VolumeStatusMessage {
  id: string;
  name: string;
  state: VolumeStateName;
  epoch: number;
  bricks: BrickStatusMessage[];
}

export interface HealProgressMessage {
  state: string;
  keysLeft: number;
  bytesLeft: number;
  bytesDone: number;
  secondsLeft: number;
  paths: Uint8Array[];
}

export interface HealBrickMessage {
  brick: BrickMessage;
  connected: boolean;
  role: BrickRoleName;
  progress: HealProgressMessage | null;
  detail: string;
}

export interface ScrubMessage {
  state: string;
  beganSec: number;
  endedSec: number;
  durationSec: number;
  files: number;
  bytes: number;
  filesNow: number;
  bytesNow: number;
  corrupted: number;
  torn: number;
  repaired: number;
  damaged: number;
  lost: number;
  unchecked: number;
  unreadable: number;
  damagedFiles: string[];
}

export interface ScrubBrickMessage {
  brick: BrickMessage;
  scrub: ScrubMessage | null;
  detail: string;
}

export interface OptionInForceMessage extends OptionMessage {
  isDefault: boolean;
}

export interface OptionHelpMessage {
  key: string;
  defaultValue: string;
  description: string;
  type: string;
  values: string[];
}

export interface BrickSpecMessage {
  id: string;
  node: string;
  host: string;
  path: string;
  port: number;
  socket: string;
}

export interface VolumeSpecMessage {
  id: string;
  name: string;
  secret: string;
  started: boolean;
  bricks: BrickSpecMessage[];
  options: Record<string, string>;
}

export interface WatchVolumeEventMessage {
  result: Result | null;
  spec: VolumeSpecMessage | null;
  view: ViewMessage | null;
  node: string;
}

export interface ViewMessage {
  epoch: number;
  primary: string;
  inSync: string[];
  catchingUp: string[];
}
