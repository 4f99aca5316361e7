/**
 * What the commands show, as plain values: filled from the management service, turned into text, XML and JSON by the renderers.
 * Strings that name files are byte strings (`Name`); every other string is ordinary text. Nothing here is safe to print as it is.
 */
import type { Name } from '../base/ids.js';

export interface Peer {
  /** 32 hex digits, or with dashes: shown with dashes. */
  id: string;
  hostname: string;
  otherNames: string[];
  connected: boolean;
  /** The node that answered. */
  local: boolean;
  /** Why a peer is not plainly "Peer in Cluster", '' if it is. */
  stateText: string;
  /** Where its gluond listens, HOST:PORT. */
  address: string;
  /** Its place in the cluster store: voter, learner, client, embedded. */
  storeRole: string;
}

export type VolumeState = 'Created' | 'Started' | 'Stopped';

export interface Brick {
  id: string;
  host: string;
  /** Absolute. */
  path: string;
  /** Peer id of the node that holds it. */
  node: string;
}

export interface OptionValue {
  key: string;
  value: string;
}

export interface Volume {
  id: string;
  name: string;
  state: VolumeState;
  replicaCount: number;
  bricks: Brick[];
  /** Only what was set by somebody. */
  options: OptionValue[];
}

export type BrickRole = 'primary' | 'in sync' | 'catching up' | 'absent' | 'stopped' | 'unknown';

export interface BrickDisk {
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

export interface Client {
  /** Host and port. */
  remote: string;
  session: string;
  bytesRead: number;
  bytesWritten: number;
  opens: number;
  locks: number;
}

export interface BrickStatus extends Brick {
  online: boolean;
  /** 0 while unknown. */
  port: number;
  pid: number;
  role: BrickRole;
  disk: BrickDisk | undefined;
  clients: Client[];
  /** Why it is not online or not in sync, '' if there is nothing to say. */
  detail: string;
}

export interface VolumeStatus {
  id: string;
  name: string;
  started: boolean;
  /** Of the view, 0 while unknown. */
  epoch: number;
  bricks: BrickStatus[];
}

export interface HealEntry {
  /** From the volume's root, with a leading slash; '' where only the identity is known. */
  path: Name;
  /** 32 hex digits or ''. */
  gfid: string;
}

/** One brick in `volume heal NAME info`. */
export interface HealBrick extends Brick {
  connected: boolean;
  role: BrickRole;
  /** What is listed of the entries that differ on some other brick and that this brick has right; the list may be cut. */
  entries: HealEntry[];
  /** How many there are. Undefined: the brick does not answer. */
  entryCount: number | undefined;
  /** Bytes this brick still has to get, and has got in this heal. */
  bytesLeft: number;
  bytesDone: number;
  /** Why what it lacks is not known, '' if there is nothing to say. */
  detail: string;
  /** Until it is in sync, if that can be told. */
  secondsLeft: number | undefined;
}

export interface VolumeHeal {
  name: string;
  bricks: HealBrick[];
}

/** See management.proto, Scrub. */
export interface ScrubReport {
  state: string;
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

export interface ScrubBrick extends Brick {
  /** Undefined: the brick does not answer. */
  report: ScrubReport | undefined;
  detail: string;
}

/** `volume bitrot NAME scrub status`. */
export interface VolumeScrub {
  name: string;
  /** The options features.scrub, scrub-throttle and scrub-freq. */
  scrub: string;
  throttle: string;
  frequency: string;
  bricks: ScrubBrick[];
}

export interface OptionHelp {
  key: string;
  defaultValue: string;
  description: string;
  type: string;
  /** Of an enumeration; empty otherwise. */
  values: string[];
}

/** Everything that one node knows of its pool. */
export interface PoolState {
  id: string;
  version: string;
  peers: Peer[];
  volumes: Volume[];
  /** Of the volumes whose bricks could be asked. */
  statuses: VolumeStatus[];
}
