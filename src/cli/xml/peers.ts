import type { Peer } from '../model.js';
import { dashed, printable } from '../printable.js';
import { peerState } from '../text/peers.js';
import { element, type XmlNode } from './tree.js';

function peerNode(peer: Peer, hostname: string): XmlNode {
  return element(
    'peer',
    element('uuid', dashed(peer.id)),
    element('hostname', hostname),
    element('hostnames', ...[hostname, ...peer.otherNames.map(printable)].map((name) => element('hostname', name))),
    element('connected', peer.connected || peer.local ? 1 : 0),
    // GlusterFS's number for "Peer in Cluster"; 0 stands for every other state.
    element('state', peer.stateText === '' ? 3 : 0),
    element('stateStr', printable(peerState(peer))),
  );
}

export function peerStatusXml(peers: Peer[]): XmlNode {
  return element(
    'peerStatus',
    ...peers.filter((peer) => !peer.local).map((peer) => peerNode(peer, printable(peer.hostname))),
  );
}

export function poolListXml(peers: Peer[]): XmlNode {
  return element(
    'peerStatus',
    ...peers.map((peer) => peerNode(peer, peer.local ? 'localhost' : printable(peer.hostname))),
  );
}
