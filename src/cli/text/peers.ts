import type { Peer } from '../model.js';
import { dashed, printable } from '../printable.js';

export function peerState(peer: Peer): string {
  return peer.stateText === '' ? 'Peer in Cluster' : peer.stateText;
}

/** `peer status`: the other nodes of the pool. */
export function peerStatusText(peers: Peer[]): string[] {
  const others = peers.filter((peer) => !peer.local);
  const lines = [`Number of Peers: ${others.length}`];
  for (const peer of others) {
    lines.push('', `Hostname: ${printable(peer.hostname)}`, `Uuid: ${dashed(peer.id)}`);
    lines.push(`State: ${printable(peerState(peer))} (${peer.connected ? 'Connected' : 'Disconnected'})`);
    if (peer.otherNames.length > 0) lines.push('Other names:', ...peer.otherNames.map(printable));
  }
  return lines;
}

/** `pool list`: every node, the local one last and as `localhost`. */
export function poolListText(peers: Peer[]): string[] {
  const lines = ['UUID\t\t\t\t\tHostname\tState'];
  for (const peer of localLast(peers)) {
    const state = peer.connected || peer.local ? 'Connected' : 'Disconnected';
    lines.push(`${dashed(peer.id)}\t${peer.local ? 'localhost' : printable(peer.hostname)}\t${state}`);
  }
  return lines;
}

export function localLast(peers: Peer[]): Peer[] {
  return [...peers.filter((peer) => !peer.local), ...peers.filter((peer) => peer.local)];
}
