/** Which node of the pool a host name means. */
import { Errno } from '../base/errno.js';
import { isLoopback, type HostLookup } from './node-service.js';
import type { NodeId, PeerRecord } from './records.js';
import { Refused } from './refused.js';
import type { ClusterState } from './state.js';

/** The host of HOST:PORT or [IPv6]:PORT. */
export function hostOf(address: string): string {
  return address.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
}

function isNamed(peer: PeerRecord, host: string): boolean {
  return peer.hostname === host || peer.otherNames.includes(host) || hostOf(peer.address) === host;
}

export class Hosts {
  constructor(
    readonly self: NodeId,
    readonly state: ClusterState,
    readonly lookup: HostLookup,
    /** This node's gluond listens on every address of the machine. */
    readonly listensEverywhere: boolean,
  ) {}

  /** The peer with this name or address (the port counts where it is given); undefined when there is none. Refused when the name is unknown. */
  async find(host: string, port?: number): Promise<PeerRecord | undefined> {
    const peers = this.state.peers().filter((peer) => port === undefined || peer.address.endsWith(`:${port}`));
    const named = peers.find((peer) => isNamed(peer, host));
    if (named !== undefined) return named;
    const addresses = await this.lookup.resolve(host);
    if (addresses.length === 0)
      throw new Refused(`host '${host}' cannot be resolved: check its spelling, DNS or /etc/hosts`, Errno.ENOENT);
    const known = peers.find((peer) => addresses.includes(hostOf(peer.address)));
    if (known !== undefined) return known;
    const self = peers.find((peer) => peer.id === this.self);
    // Its bricks listen where gluond does; another gluond may listen on another address of this machine.
    if (self === undefined || !this.listensEverywhere) return undefined;
    // This machine may have more addresses than the one it is registered with; loopback ones mean it only where no other node could be meant.
    const alone = this.state.peers().length <= 1;
    const local = addresses.some((address) => this.lookup.isLocal(address) && (alone || !isLoopback(address)));
    return local ? self : undefined;
  }

  /** The node that holds a brick at this host. */
  async nodeOfBrick(host: string): Promise<PeerRecord> {
    const peer = await this.find(host);
    // Nodes that share one machine are registered with loopback addresses: those name them, `localhost` does not.
    const alone = this.state.peers().length <= 1;
    if (peer !== undefined && (alone || isNamed(peer, host))) return peer;
    if (isLoopback(host) || (await this.lookup.resolve(host)).some(isLoopback)) {
      throw new Refused(
        `'${host}' means another machine on every node of the pool: name the node by its host name or address`,
      );
    }
    if (peer !== undefined) return peer;
    throw new Refused(`host '${host}' is not in the pool: probe it first with 'gluon peer probe ${host}'`);
  }
}
