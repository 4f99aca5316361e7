/**
 * The members of the pool: probe, detach, and who is connected.
 *
 *   probe   look at the candidate ─▶ share the store (first time) ─▶ etcd learner ─▶ the candidate joins ─▶ record ─▶ voter
 *
 * Each step is undone when a later one fails, so that a probe of a sick node costs nothing.
 */
import { Errno, LostError } from '../base/errno.js';
import type { ClusterStore } from '../env/cluster-store.js';
import type { Log } from '../env/log.js';
import { majority } from '../replica/view.js';
import { hostOf, type Hosts } from './hosts.js';
import type { Liveness } from './liveness.js';
import type { NodeService } from './node-service.js';
import { encode, keys, type NodeId, type PeerRecord, type PoolRecord } from './records.js';
import { Refused } from './refused.js';
import type { ClusterState } from './state.js';

/** What a gluond says of itself to one that is not of its pool. */
export interface Candidate {
  id: NodeId;
  name: string;
  version: string;
  pool: string;
  /** Members of its pool, itself included. */
  peers: number;
  volumes: number;
  needsToken: boolean;
}

/** Everything a node needs to become a member. */
export interface JoinOffer {
  pool: PoolRecord;
  peer: PeerRecord;
  /** PEM, made by the pool's authority for this node. */
  certificate: string;
  key: string;
  token: string;
  /** Client addresses of the store's members. */
  storeAddresses: string[];
  /** How its own etcd member begins; '' for a node without one. */
  initialCluster: string;
}

/** The outside of a probe. */
export interface PoolBackend {
  hello(address: string): Promise<Candidate>;
  /** Ports for the candidate's own member, free there. */
  reserve(address: string, token: string): Promise<{ clientPort: number; peerPort: number }>;
  join(address: string, offer: JoinOffer): Promise<void>;
  makeCertificate(pool: PoolRecord, node: NodeId, hosts: string[]): Promise<{ certificate: string; key: string }>;
  /** This node's address as the other one reaches it. */
  localAddress(remoteHost: string): Promise<string>;
  /** Moves the store of a pool of one into etcd on this address; nothing happens when it is there. Returns the record of this node. */
  share(record: PeerRecord, host: string): Promise<PeerRecord>;
  members(): Promise<{ id: string; node: NodeId; peerUrl: string; clientUrl: string; learner: boolean }[]>;
  addLearner(peerUrl: string): Promise<{ id: string; initialCluster: (name: NodeId) => string }>;
  /** False while it has not caught up. */
  promote(member: string): Promise<boolean>;
  removeMember(member: string): Promise<void>;
  /** From now on the store answers this node, or does not. */
  allow(node: NodeId): Promise<void>;
  disallow(node: NodeId): Promise<void>;
  sleep(ms: number): Promise<void>;
}

export interface PeersOptions {
  node: NodeId;
  state: ClusterState;
  store: ClusterStore;
  liveness: Liveness;
  hosts: Hosts;
  nodes: NodeService;
  backend: PoolBackend;
  log: Log;
}

/** etcd members at most; further nodes are clients of them. */
export const MEMBERS_MAX = 5;
const PROMOTE_TRIES = 120;
const PROMOTE_PAUSE_MS = 250;
const LEAVE_MS = 5_000;

export class Peers {
  readonly #options: PeersOptions;
  /** One probe or detach at a time on this node; etcd refuses a second learner anyway. */
  #busy = false;

  constructor(options: PeersOptions) {
    this.#options = options;
  }

  /** `address` is host:port, `host` as the operator wrote it. Resolves with a note, '' for none. */
  async probe(host: string, port: number, token: string): Promise<{ note: string; id: NodeId }> {
    return this.#alone(() => this.#probe(host, port, token));
  }

  async detach(host: string, port: number | undefined, force: boolean): Promise<void> {
    return this.#alone(() => this.#detach(host, port, force));
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.#busy)
      throw new Refused('another probe or detach is running on this node: try again when it is done', Errno.EAGAIN);
    this.#busy = true;
    try {
      return await work();
    } finally {
      this.#busy = false;
    }
  }

  async #probe(host: string, port: number, token: string): Promise<{ note: string; id: NodeId }> {
    const { node, state, hosts, liveness, log } = this.#options;
    const known = await hosts.find(host, port);
    if (known?.id === node) return { note: 'this is the local node: it needs no probe', id: node };
    if (known !== undefined && liveness.alive(known.id)) {
      await this.#addName(known, host);
      return { note: `host ${host} is in the pool already`, id: known.id };
    }
    const numeric = (await hosts.lookup.resolve(host))[0] ?? host;
    const address = numeric.includes(':') ? `[${numeric}]:${port}` : `${numeric}:${port}`;
    const candidate = await this.#hello(host, address);
    if (candidate.id === node) return { note: 'this is the local node: it needs no probe', id: node };
    const member = state.peer(candidate.id)?.value;
    if (member !== undefined && candidate.pool === state.pool?.id) {
      await this.#addName(member, host);
      return { note: `host ${host} is in the pool already`, id: member.id };
    }
    if (candidate.peers > 1)
      throw new Refused(`${host} is in another pool (of ${candidate.peers} nodes): detach it there first`);
    if (candidate.volumes > 0)
      throw new Refused(`${host} has ${candidate.volumes} volumes of its own: delete them there first`);
    if (candidate.needsToken && token === '')
      throw new Refused(`${host} only joins with its join token: give it with --join-token`, Errno.EACCES);
    await this.#checkQuorum();
    log.info('probe', { host, address, id: candidate.id });
    await this.#admit(host, address, numeric, candidate, token);
    log.info('a node joined the pool', { host, id: candidate.id });
    return { note: '', id: candidate.id };
  }

  async #hello(host: string, address: string): Promise<Candidate> {
    try {
      return await this.#options.backend.hello(address);
    } catch (error) {
      if (!(error instanceof LostError)) throw error;
      throw new Refused(
        `no gluond answers on ${host} (${address}): is it running there, and does a firewall let it through? (${error.message})`,
        Errno.ENOTCONN,
      );
    }
  }

  async #checkQuorum(): Promise<void> {
    try {
      await this.#options.store.get('pool');
    } catch (error) {
      if (!(error instanceof LostError)) throw error;
      throw new Refused(
        `the pool has no quorum: more than half of the nodes that keep its state must be up (${error.message})`,
        Errno.EAGAIN,
      );
    }
  }

  async #admit(host: string, address: string, numeric: string, candidate: Candidate, token: string): Promise<void> {
    const { node, state, store, backend } = this.#options;
    const pool = state.pool;
    const self = state.peer(node)?.value;
    if (pool === undefined || self === undefined)
      throw new LostError('the state of the pool is not known yet: try again');
    const ports = await backend.reserve(address, token);
    await backend.share(self, await backend.localAddress(numeric));
    const voters = await backend.members();
    const place = (port: number): string => (numeric.includes(':') ? `[${numeric}]:${port}` : `${numeric}:${port}`);
    const withMember = voters.length < MEMBERS_MAX;
    const peer: PeerRecord = {
      id: candidate.id,
      hostname: host,
      otherNames: [],
      address,
      etcdClient: withMember ? place(ports.clientPort) : '',
      etcdPeer: withMember ? place(ports.peerPort) : '',
    };
    const undo: (() => Promise<void>)[] = [];
    try {
      let initialCluster = '';
      let memberId = '';
      if (withMember) {
        const added = await backend.addLearner(`https://${peer.etcdPeer}`);
        memberId = added.id;
        undo.push(() => backend.removeMember(added.id));
        initialCluster = added.initialCluster(candidate.id);
      }
      await backend.allow(candidate.id);
      undo.push(() => backend.disallow(candidate.id));
      const { certificate, key } = await backend.makeCertificate(pool, candidate.id, [
        hostOf(address),
        candidate.name,
        host,
      ]);
      const storeAddresses = voters.map((member) => member.clientUrl.replace(/^https:\/\//, ''));
      if (
        !(await store.commit(
          [{ key: keys.peer(peer.id), revision: state.peer(peer.id)?.revision ?? 0 }],
          [{ key: keys.peer(peer.id), value: encode(peer) }],
        ))
      ) {
        throw new Refused(`${host} is being probed by another node too: look at 'gluon pool list'`, Errno.EAGAIN);
      }
      undo.push(() => store.commit([], [{ key: keys.peer(peer.id), remove: true }]).then(() => undefined));
      await backend.join(address, { pool, peer, certificate, key, token, storeAddresses, initialCluster });
      undo.push(() => this.#options.nodes.call(peer.id, 'leave', { pool: pool.id }, LEAVE_MS).then(() => undefined));
      if (memberId !== '') await this.#promote(host, memberId);
    } catch (error) {
      this.#options.log.warn('the probe is undone', { host, error });
      for (const step of undo.toReversed())
        await step().catch((failure: unknown) =>
          this.#options.log.warn('a step of the probe could not be undone', { host, error: failure }),
        );
      throw error;
    }
  }

  async #promote(host: string, member: string): Promise<void> {
    for (let attempt = 0; attempt < PROMOTE_TRIES; attempt++) {
      if (await this.#options.backend.promote(member)) return;
      await this.#options.backend.sleep(PROMOTE_PAUSE_MS);
    }
    throw new Refused(
      `${host} did not catch up with the state of the pool within ${(PROMOTE_TRIES * PROMOTE_PAUSE_MS) / 1000} s: is the network between the nodes open on all ports?`,
      Errno.ETIMEDOUT,
    );
  }

  async #addName(peer: PeerRecord, host: string): Promise<void> {
    if (peer.hostname === host || peer.otherNames.includes(host) || hostOf(peer.address) === host) return;
    const present = this.#options.state.peer(peer.id);
    if (present === undefined) return;
    await this.#options.store.commit(
      [present],
      [{ key: present.key, value: encode({ ...present.value, otherNames: [...present.value.otherNames, host] }) }],
    );
  }

  async #detach(host: string, port: number | undefined, force: boolean): Promise<void> {
    const { node, state, store, hosts, liveness, nodes, backend, log } = this.#options;
    const peer = state.peers().find((one) => one.id === host) ?? (await hosts.find(host, port));
    if (peer === undefined) throw new Refused(`host '${host}' is not in the pool: see 'gluon pool list'`, Errno.ENOENT);
    if (peer.id === node) throw new Refused(`${host} is the local node: detach it from another node of the pool`);
    const holding = state.everyVolume().filter((volume) => volume.bricks.some((brick) => brick.node === peer.id));
    if (holding.length > 0)
      throw new Refused(
        `${host} holds bricks of ${holding.map((volume) => volume.name).join(', ')}: delete the volume first`,
        Errno.EBUSY,
      );
    if (!liveness.alive(peer.id) && !force)
      throw new Refused(`${host} is not connected: add 'force' to remove it all the same`, Errno.ENOTCONN);
    await this.#checkQuorum();
    const members = await backend.members();
    const member = members.find((one) => one.node === peer.id || one.peerUrl === `https://${peer.etcdPeer}`);
    if (member !== undefined) {
      const left = members.filter((one) => one !== member && !one.learner);
      const alive = left.filter((one) => liveness.alive(one.node));
      if (alive.length < majority(left.length)) {
        throw new Refused(
          `without ${host} the pool would have no quorum: only ${alive.length} of the other ${left.length} nodes that keep its state are connected`,
          Errno.EBUSY,
        );
      }
      await backend.removeMember(member.id);
    }
    const pool = state.pool?.id ?? '';
    await nodes
      .call(peer.id, 'leave', { pool }, LEAVE_MS)
      .catch((error: unknown) => log.warn('the detached node could not be told', { host, error }));
    const present = await store.get(keys.peer(peer.id));
    if (present !== undefined)
      await store.commit(
        [present],
        [
          { key: present.key, remove: true },
          { key: keys.node(peer.id), remove: true },
        ],
      );
    await backend.disallow(peer.id);
    log.info('a node was detached', { host, id: peer.id });
  }
}
