/**
 * The `--json` form: `{"ok": true, "command": "volume info", "result": {...}}`, `{"ok": false, "command": …, "error": {"message", "errno"}}`.
 * Keys are only ever added. Names of files that are not plain printable UTF-8 carry their bytes besides, in hex, as `…Hex`.
 */
import { nameBytes, type Name } from '../base/ids.js';
import type { Json } from './answer.js';
import type {
  Brick,
  BrickStatus,
  HealBrick,
  OptionHelp,
  OptionValue,
  Peer,
  Volume,
  ScrubBrick,
  VolumeHeal,
  VolumeScrub,
  VolumeStatus,
} from './model.js';
import { brickName, dashed, printable, printablePath } from './printable.js';
import { healTotals } from './text/heal.js';
import { peerState } from './text/peers.js';
import { typeText } from './text/volumes.js';

type JsonObject = { [key: string]: Json };

function pathFields(path: Name): JsonObject {
  const shown = printablePath(path);
  return nameBytes(path).equals(Buffer.from(shown, 'utf8'))
    ? { path: shown }
    : { path: shown, pathHex: nameBytes(path).toString('hex') };
}

function brickFields(brick: Brick): JsonObject {
  return {
    name: brickName(brick),
    host: printable(brick.host),
    path: printable(brick.path),
    id: dashed(brick.id),
    node: dashed(brick.node),
  };
}

export function peersJson(peers: Peer[]): Json {
  return {
    peers: peers.map((peer) => ({
      id: dashed(peer.id),
      hostname: printable(peer.hostname),
      otherNames: peer.otherNames.map(printable),
      local: peer.local,
      connected: peer.connected || peer.local,
      state: printable(peerState(peer)),
      address: printable(peer.address),
      storeRole: printable(peer.storeRole),
    })),
  };
}

export function volumesJson(volumes: Volume[]): Json {
  return {
    volumes: volumes.map((volume) => ({
      name: printable(volume.name),
      id: dashed(volume.id),
      type: typeText(volume),
      status: volume.state,
      replicaCount: volume.replicaCount,
      transport: 'tcp',
      bricks: volume.bricks.map(brickFields),
      options: Object.fromEntries(volume.options.map((option) => [printable(option.key), printable(option.value)])),
    })),
  };
}

function brickStatusJson(brick: BrickStatus, clients: boolean): Json {
  const { disk } = brick;
  const out: JsonObject = {
    ...brickFields(brick),
    online: brick.online,
    port: brick.online ? brick.port : null,
    pid: brick.online ? brick.pid : null,
    state: brick.role,
    primary: brick.role === 'primary',
    inSync: brick.role === 'primary' || brick.role === 'in sync',
    detail: printable(brick.detail),
  };
  if (disk !== undefined) {
    out['disk'] = {
      ...disk,
      fileSystem: printable(disk.fileSystem),
      device: printable(disk.device),
      mountOptions: printable(disk.mountOptions),
    };
  }
  if (clients) {
    out['clients'] = brick.clients.map((client) => ({
      ...client,
      remote: printable(client.remote),
      session: printable(client.session),
    }));
  }
  return out;
}

export function statusJson(statuses: VolumeStatus[], clients: boolean): Json {
  return {
    volumes: statuses.map((status) => ({
      name: printable(status.name),
      id: dashed(status.id),
      started: status.started,
      epoch: status.epoch,
      bricks: status.bricks.map((brick) => brickStatusJson(brick, clients)),
      tasks: [],
    })),
  };
}

function healBrickJson(heal: VolumeHeal, brick: HealBrick, listed: boolean): Json {
  const totals = healTotals(heal, brick);
  const numberOrNull = (text: string): Json => (text === '-' ? null : Number(text));
  return {
    ...brickFields(brick),
    connected: brick.connected,
    state: brick.role,
    entries: numberOrNull(totals.total),
    healPending: numberOrNull(totals.pending),
    healing: numberOrNull(totals.healing),
    splitBrain: numberOrNull(totals.splitBrain),
    bytesLeft: brick.bytesLeft,
    bytesDone: brick.bytesDone,
    secondsLeft: brick.secondsLeft === undefined ? null : Math.ceil(brick.secondsLeft),
    detail: printable(brick.detail),
    ...(listed
      ? {
          files: brick.entries.map((entry) => ({
            ...(entry.path === '' ? { path: null } : pathFields(entry.path)),
            gfid: dashed(entry.gfid),
          })),
        }
      : {}),
  };
}

export function healJson(heal: VolumeHeal, listed: boolean): Json {
  return { volume: printable(heal.name), bricks: heal.bricks.map((brick) => healBrickJson(heal, brick, listed)) };
}

function scrubBrickJson(brick: ScrubBrick): Json {
  const { report } = brick;
  return {
    ...brickFields(brick),
    detail: printable(brick.detail),
    scrub: report === undefined ? null : { ...report, state: printable(report.state), damagedFiles: report.damagedFiles.map(dashed) },
  };
}

export function scrubJson(scrub: VolumeScrub): Json {
  return {
    volume: printable(scrub.name),
    scrub: printable(scrub.scrub),
    throttle: printable(scrub.throttle),
    frequency: printable(scrub.frequency),
    bricks: scrub.bricks.map(scrubBrickJson),
  };
}

export function optionsJson(options: OptionValue[]): Json {
  return { options: Object.fromEntries(options.map((option) => [printable(option.key), printable(option.value)])) };
}

export function optionsHelpJson(options: OptionHelp[]): Json {
  return {
    options: options.map((option) => ({
      name: printable(option.key),
      defaultValue: printable(option.defaultValue),
      description: printable(option.description),
      type: printable(option.type),
      values: option.values.map(printable),
    })),
  };
}
