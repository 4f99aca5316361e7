/** The answers of the management service, and the model of the command line that they become. */
import type {
  Brick,
  BrickRole,
  BrickStatus,
  HealBrick,
  HealEntry,
  OptionHelp,
  OptionValue,
  Peer,
  PoolState,
  Volume,
  VolumeHeal,
  VolumeScrub,
  VolumeState,
  VolumeStatus,
} from '../cli/model.js';
import { nameFromBytes } from '../base/ids.js';
import type * as wire from '../wire/management.js';

export interface Answered {
  result: wire.Result | null;
}
export interface ChangeMessage extends Answered {
  id: string;
  warnings: string[];
}
export type PingMessage = Answered & wire.NodeMessage;
export type PeerListMessage = Answered & { peers: Peer[] };
export type VolumeInfoMessage = Answered & { volumes: wire.VolumeMessage[] };
export type VolumeListMessage = Answered & { names: string[] };
export type VolumeStatusMessage = Answered & wire.VolumeStatusMessage;
export type VolumeGetMessage = Answered & { options: OptionValue[] };
export type OptionHelpMessage = Answered & { options: OptionHelp[] };
export type HealInfoMessage = Answered & { name: string; bricks: wire.HealBrickMessage[] };
export type ScrubStatusMessage = Answered & {
  name: string;
  scrub: string;
  throttle: string;
  frequency: string;
  bricks: wire.ScrubBrickMessage[];
};
export type StateMessage = Answered & {
  node: wire.NodeMessage | null;
  peers: Peer[];
  volumes: wire.VolumeMessage[];
  statuses: wire.VolumeStatusMessage[];
};
export type SystemStopMessage = Answered & { bricksStopped: number };

const STATES: Record<wire.VolumeStateName, VolumeState> = {
  CREATED: 'Created',
  STARTED: 'Started',
  STOPPED: 'Stopped',
};
const ROLES: Record<wire.BrickRoleName, BrickRole> = {
  UNKNOWN: 'unknown',
  PRIMARY: 'primary',
  IN_SYNC: 'in sync',
  CATCHING_UP: 'catching up',
  ABSENT: 'absent',
  BRICK_STOPPED: 'stopped',
};
const NO_BRICK: Brick = { id: '', host: '', path: '', node: '' };

/** The brick without fields that a newer gluond may add; an absent message is null on the wire. */
function brick(message: wire.BrickMessage | null): Brick {
  const { id, host, path, node } = message ?? NO_BRICK;
  return { id, host, path, node };
}

export function volume(message: wire.VolumeMessage): Volume {
  const { id, name, replicaCount, options } = message;
  return {
    id,
    name,
    state: STATES[message.state] ?? 'Created',
    replicaCount,
    bricks: message.bricks.map(brick),
    options,
  };
}

function brickStatus(message: wire.BrickStatusMessage): BrickStatus {
  const recovering = message.role === 'PRIMARY' && !message.serving && message.detail === '';
  return {
    ...brick(message.brick),
    online: message.online,
    port: message.port,
    pid: message.pid,
    role: ROLES[message.role] ?? 'unknown',
    disk: message.disk ?? undefined,
    clients: message.clients,
    detail: recovering ? 'takes over, does not serve yet' : message.detail,
  };
}

export function volumeStatus(message: wire.VolumeStatusMessage): VolumeStatus {
  const { id, name, epoch } = message;
  return { id, name, epoch, started: message.state === 'STARTED', bricks: message.bricks.map(brickStatus) };
}

export function poolState(message: StateMessage): PoolState {
  return {
    id: message.node?.id ?? '',
    version: message.node?.version ?? '',
    peers: message.peers,
    volumes: message.volumes.map(volume),
    statuses: message.statuses.map(volumeStatus),
  };
}

export function volumeScrub(message: ScrubStatusMessage): VolumeScrub {
  const { name, scrub, throttle, frequency } = message;
  const bricks = message.bricks.map((each) => ({ ...brick(each.brick), report: each.scrub ?? undefined, detail: each.detail }));
  return { name, scrub, throttle, frequency, bricks };
}

/** gluond lists at most this many paths of a brick; beyond, only the number of keys tells how many there are. */
const PATHS_MAX = 1000;

const ONLY_GFID = /^<gfid:([0-9a-f]{32})>$/;

/** An inode whose path the primary does not know comes as `<gfid:…>`. */
function entryOf(path: string): HealEntry {
  const gfid = ONLY_GFID.exec(path)?.[1];
  if (gfid !== undefined) return { path: '', gfid };
  return { path: path.startsWith('/') ? path : `/${path}`, gfid: '' };
}

/** What any brick lacks, each once. */
function pathsLacking(bricks: wire.HealBrickMessage[]): string[] {
  const paths = new Set<string>();
  for (const { progress } of bricks) {
    for (const bytes of progress?.paths ?? []) {
      paths.add(nameFromBytes(bytes));
    }
  }
  return [...paths].toSorted();
}

function isLagging(message: wire.HealBrickMessage): boolean {
  const { progress } = message;
  return (
    progress !== null &&
    (progress.keysLeft > 0 || progress.paths.length > 0 || progress.state === 'walking' || message.connected)
  );
}

/**
 * As in GlusterFS, what differs is listed at the bricks that have it right, so it is seen also while the brick that lacks it is down.
 * The number is never 0 while a brick that answers is not in sync, because scripts wait for 0 before they take the next brick away.
 */
export function volumeHeal(message: HealInfoMessage): VolumeHeal {
  const lagging = message.bricks.filter((each) => each.role !== 'PRIMARY' && each.role !== 'IN_SYNC');
  const paths = pathsLacking(message.bricks);
  const keys = Math.max(0, ...message.bricks.map((each) => each.progress?.keysLeft ?? 0));
  const count = Math.max(paths.length, paths.length >= PATHS_MAX ? keys : 0, lagging.some(isLagging) ? 1 : 0);
  // Only the primary knows what the others lack.
  const answered = message.bricks.some((each) => each.role === 'PRIMARY' && each.connected);
  return {
    name: message.name,
    bricks: message.bricks.map((each) => healBrick(each, paths, answered ? count : undefined)),
  };
}

function healBrick(message: wire.HealBrickMessage, paths: string[], count: number | undefined): HealBrick {
  const { progress, connected } = message;
  const whole = message.role === 'PRIMARY' || message.role === 'IN_SYNC';
  return {
    ...brick(message.brick),
    connected,
    role: ROLES[message.role] ?? 'unknown',
    entries: whole ? paths.map(entryOf) : [],
    entryCount: !connected || count === undefined ? undefined : whole ? count : 0,
    detail: message.detail,
    bytesLeft: progress?.bytesLeft ?? 0,
    bytesDone: progress?.bytesDone ?? 0,
    secondsLeft: progress === null || progress.secondsLeft < 0 ? undefined : progress.secondsLeft,
  };
}
