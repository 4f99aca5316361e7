/** The file that `get-state` writes: sections of `name: value` lines, with the names that GlusterFS uses. */
import type { Brick, Peer, PoolState, Volume, VolumeStatus } from './model.js';
import { brickName, dashed, printable } from './printable.js';
import { peerState } from './text/peers.js';
import { typeText } from './text/volumes.js';

function peerLines(peers: Peer[]): string[] {
  return peers.flatMap((peer, index) => {
    const name = `Peer${index + 1}`;
    return [
      `${name}.primary_hostname: ${printable(peer.hostname)}`,
      `${name}.uuid: ${dashed(peer.id)}`,
      `${name}.state: ${printable(peerState(peer))}`,
      `${name}.connected: ${peer.connected ? 'Connected' : 'Disconnected'}`,
      `${name}.othernames: ${peer.otherNames.map(printable).join(',')}`,
    ];
  });
}

function brickLines(name: string, brick: Brick, status: VolumeStatus | undefined): string[] {
  const running = status?.bricks.find((candidate) => candidate.host === brick.host && candidate.path === brick.path);
  const lines = [
    `${name}.path: ${brickName(brick)}`,
    `${name}.hostname: ${printable(brick.host)}`,
    `${name}.directory: ${printable(brick.path)}`,
    `${name}.peer: ${dashed(brick.node)}`,
  ];
  if (running === undefined) return lines;
  lines.push(
    `${name}.port: ${running.online ? running.port : 'N/A'}`,
    `${name}.rdma_port: ${running.online ? '0' : 'N/A'}`,
  );
  lines.push(`${name}.status: ${running.online ? 'Started' : 'Stopped'}`, `${name}.copy: ${running.role}`);
  if (running.disk !== undefined)
    lines.push(
      `${name}.spacefree: ${running.disk.bytesFree}Bytes`,
      `${name}.spacetotal: ${running.disk.bytesTotal}Bytes`,
    );
  return lines;
}

function volumeLines(volume: Volume, index: number, state: PoolState): string[] {
  const name = `Volume${index + 1}`;
  const status = state.statuses.find((candidate) => candidate.name === volume.name);
  return [
    `${name}.name: ${printable(volume.name)}`,
    `${name}.id: ${dashed(volume.id)}`,
    `${name}.type: ${typeText(volume)}`,
    `${name}.transport_type: tcp`,
    `${name}.status: ${volume.state}`,
    `${name}.brickcount: ${volume.bricks.length}`,
    ...volume.bricks.flatMap((brick, at) => brickLines(`${name}.Brick${at + 1}`, brick, status)),
    `${name}.snap_count: 0`,
    `${name}.replica_count: ${volume.replicaCount}`,
    `${name}.arbiter_count: 0`,
    ...volume.options.map((option) => `${name}.options.${printable(option.key)}: ${printable(option.value)}`),
  ];
}

export function stateReport(state: PoolState): string {
  const lines = [
    '[Global]',
    `MYUUID: ${dashed(state.id)}`,
    `version: ${printable(state.version)}`,
    '',
    '[Peers]',
    ...peerLines(state.peers.filter((peer) => !peer.local)),
    '',
    '[Volumes]',
    ...state.volumes.flatMap((volume, index) => volumeLines(volume, index, state)),
    '',
  ];
  return `${lines.join('\n')}\n`;
}
