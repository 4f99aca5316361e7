/** The outside of probe, join, detach and leave: etcd, certificates and the files of this node. */
import { credentials } from '@grpc/grpc-js';
import { Errno, FsError, LostError } from '../base/errno.js';
import { hostOf } from '../cluster/hosts.js';
import type { Candidate, JoinOffer, PoolBackend } from '../cluster/peers.js';
import { encode, keys, POOL_KEY, type PeerRecord, type PoolRecord } from '../cluster/records.js';
import type { SwitchableStore } from '../cluster/switchable-store.js';
import type { ClusterStore } from '../env/cluster-store.js';
import type { Log } from '../env/log.js';
import { EtcdClient, type EtcdMember as EtcdMemberInfo } from './etcd-client.js';
import { freePorts, type EtcdMember } from './etcd-member.js';
import { EtcdStore } from './etcd-store.js';
import { localAddressTo } from './host-lookup.js';
import type { NodeFile, StateDirectory } from './node-files.js';
import { makeNodeCertificate } from './pki.js';
import { PeerClient, strangerCredentials } from './peer-client.js';
import { formatHostPort } from './target.js';
import type { TlsMaterial } from './tls-listener.js';

export interface PoolBackendOptions {
  directory: StateDirectory;
  store: SwitchableStore;
  member: EtcdMember;
  log: Log;
  node: string;
  listenHost: string;
  resolve(host: string): Promise<string[]>;
  material(): TlsMaterial;
  setMaterial(material: TlsMaterial): void;
  nodeFile(): NodeFile;
  writeNode(node: NodeFile): void;
}

const HELLO_MS = 5_000;
const JOIN_MS = 40_000;
const READY_MS = 20_000;
const COMMIT_CHUNK = 100;
/** etcd's name for the role that may do everything, and for the user that must have it. */
const ROOT = 'root';
const WILDCARDS = new Set(['0.0.0.0', '::', '']);

export class EtcdPoolBackend implements PoolBackend {
  readonly #options: PoolBackendOptions;
  #client: EtcdClient | undefined;

  constructor(options: PoolBackendOptions) {
    this.#options = options;
  }

  /** A store over these members, the own one first. */
  openStore(addresses: readonly string[]): EtcdStore {
    const client = new EtcdClient(this.#ordered(addresses), () => this.#credentials(), () => this.#options.member.clientAddress());
    this.#client = client;
    return new EtcdStore(client, this.#options.log.child({ part: 'store' }));
  }

  /** The members changed. */
  setAddresses(addresses: readonly string[]): void {
    this.#client?.setEndpoints(this.#ordered(addresses));
  }

  hello(address: string): Promise<Candidate> {
    return this.#ask(address, 'hello', {}, HELLO_MS);
  }

  reserve(address: string, token: string): Promise<{ clientPort: number; peerPort: number }> {
    return this.#ask(address, 'reserve', { token, host: hostOf(address) }, HELLO_MS);
  }

  async join(address: string, offer: JoinOffer): Promise<void> {
    await this.#ask(address, 'join', offer, JOIN_MS);
  }

  makeCertificate(pool: PoolRecord, node: string, hosts: string[]): Promise<{ certificate: string; key: string }> {
    return makeNodeCertificate({ certificate: pool.caCertificate, key: pool.caKey }, node, hosts);
  }

  localAddress(remoteHost: string): Promise<string> {
    const { listenHost } = this.#options;
    return WILDCARDS.has(listenHost) ? localAddressTo(remoteHost) : Promise.resolve(listenHost);
  }

  async share(record: PeerRecord, host: string): Promise<PeerRecord> {
    const { store, member, directory, node, log } = this.#options;
    if (this.#options.nodeFile().store === 'etcd') return record;
    let shared = record;
    await store.switchTo(async (present) => {
      const entries = await present.list('');
      const pool = entries.find((entry) => entry.key === POOL_KEY);
      if (pool === undefined) throw new FsError(Errno.EIO, 'probe', 'the store of this node has no pool');
      const { caCertificate, caKey, id } = JSON.parse(pool.value) as PoolRecord;
      const pair = await makeNodeCertificate({ certificate: caCertificate, key: caKey }, node, [host, record.hostname]);
      const material = { authority: caCertificate, ...pair };
      directory.writeTls(caCertificate, pair);
      this.#options.setMaterial(material);
      const [clientPort = 0, peerPort = 0] = await freePorts(host, 2);
      const peer = formatHostPort({ host, port: peerPort });
      await member.stop();
      member.configure({
        name: node,
        host,
        clientPort,
        peerPort,
        initialCluster: `${node}=https://${peer}`,
        initialState: 'new',
        pool: id,
      });
      member.start();
      const address = member.clientAddress();
      const etcd = this.openStore([address]);
      try {
        await member.waitReady(async () => (await etcd.list('pool')).length >= 0, READY_MS);
        const port = record.address.slice(record.address.lastIndexOf(':') + 1);
        shared = {
          ...record,
          address: formatHostPort({ host, port: Number(port) }),
          etcdClient: address,
          etcdPeer: peer,
        };
        await copy(etcd, [
          ...entries.filter((entry) => entry.key !== keys.peer(node)),
          { key: keys.peer(node), value: encode(shared) },
        ]);
        await this.#beginAuthentication();
      } catch (error) {
        await etcd.close();
        await member.remove();
        throw error;
      }
      this.#options.writeNode({ ...this.#options.nodeFile(), store: 'etcd', storeAddresses: [address] });
      await present.close();
      log.info('the state of the pool moved into etcd', { address });
      return etcd;
    });
    return shared;
  }

  async members(): Promise<{ id: string; node: string; peerUrl: string; clientUrl: string; learner: boolean }[]> {
    return (await this.#etcd().members()).map((member) => ({
      id: member.ID,
      node: member.name,
      peerUrl: member.peerURLs[0] ?? '',
      clientUrl: member.clientURLs[0] ?? '',
      learner: member.isLearner,
    }));
  }

  async addLearner(peerUrl: string): Promise<{ id: string; initialCluster: (name: string) => string }> {
    const request = { peerURLs: [peerUrl], isLearner: true };
    const { member, members } = await this.#etcd().call<{ member: EtcdMemberInfo; members: EtcdMemberInfo[] }>(
      'Cluster',
      'MemberAdd',
      request,
      HELLO_MS,
    );
    // The new member has no name yet: it is the one that will read this.
    return {
      id: member.ID,
      initialCluster: (name) =>
        members.map((one) => `${one.ID === member.ID ? name : one.name}=${one.peerURLs[0] ?? ''}`).join(','),
    };
  }

  async promote(member: string): Promise<boolean> {
    try {
      await this.#etcd().call('Cluster', 'MemberPromote', { ID: member });
      return true;
    } catch (error) {
      if (error instanceof LostError || error instanceof FsError) {
        const now = (await this.#etcd().members()).find((one) => one.ID === member);
        return now !== undefined && !now.isLearner;
      }
      throw error;
    }
  }

  async removeMember(member: string): Promise<void> {
    try {
      await this.#etcd().call('Cluster', 'MemberRemove', { ID: member }, HELLO_MS);
    } catch (error) {
      const left = await this.#etcd().members();
      if (left.some((one) => one.ID === member)) throw error;
    }
  }

  async allow(node: string): Promise<void> {
    await this.#once('UserAdd', { name: node, options: { noPassword: true } });
    await this.#once('UserGrantRole', { user: node, role: ROOT });
  }

  async disallow(node: string): Promise<void> {
    await this.#once('UserDelete', { name: node });
  }

  /** etcd takes the common name of a certificate as the user: a node whose user is removed is refused, although its certificate is still good. */
  async #beginAuthentication(): Promise<void> {
    await this.#once('RoleAdd', { name: ROOT });
    await this.allow(ROOT);
    await this.allow(this.#options.node);
    await this.#once('AuthEnable', {});
  }

  /** A change of users; that it was made before is no error. */
  async #once(method: string, request: object): Promise<void> {
    try {
      await this.#etcd().retry('Auth', method, request, HELLO_MS);
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      this.#options.log.debug('a change of etcd users was not needed', { method, reason: error.message });
    }
  }

  /** This node becomes a member of the pool that was offered. */
  async accept(offer: JoinOffer): Promise<void> {
    const { directory, store, member, node, log } = this.#options;
    await store.switchTo(async (present) => {
      directory.writeTls(offer.pool.caCertificate, offer);
      this.#options.setMaterial({
        authority: offer.pool.caCertificate,
        certificate: offer.certificate,
        key: offer.key,
      });
      await member.stop();
      if (offer.initialCluster !== '') {
        const [clientPort, peerPort] = [offer.peer.etcdClient, offer.peer.etcdPeer].map((address) =>
          Number(address.slice(address.lastIndexOf(':') + 1)),
        );
        const host = hostOf(offer.peer.etcdClient);
        member.configure({
          name: node,
          host,
          clientPort: clientPort ?? 0,
          peerPort: peerPort ?? 0,
          initialCluster: offer.initialCluster,
          initialState: 'existing',
          pool: offer.pool.id,
        });
        member.start();
      }
      this.#options.writeNode({ id: node, store: 'etcd', storeAddresses: offer.storeAddresses, pool: offer.pool.id });
      const etcd = this.openStore(offer.storeAddresses);
      await member.waitReady(async () => (await etcd.get(POOL_KEY)) !== undefined, READY_MS);
      await present.close();
      log.info('this node joined a pool', { pool: offer.pool.id });
      return etcd;
    });
  }

  close(): void {
    this.#client = undefined;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  #etcd(): EtcdClient {
    if (this.#client === undefined) throw new LostError('this node is not connected to etcd');
    return this.#client;
  }

  #credentials(): ReturnType<typeof credentials.createSsl> {
    const { authority, key, certificate } = this.#options.material();
    return credentials.createSsl(Buffer.from(authority), Buffer.from(key), Buffer.from(certificate));
  }

  #ordered(addresses: readonly string[]): string[] {
    const own = this.#options.member.clientAddress();
    return [...new Set(addresses)].sort((a, b) => Number(b === own) - Number(a === own) || (a < b ? -1 : 1));
  }

  async #ask<R>(address: string, method: string, args: object, timeoutMs: number): Promise<R> {
    const client = new PeerClient(address, strangerCredentials(this.#options.material()));
    try {
      return await client.call<R>(method, args, timeoutMs);
    } finally {
      client.close();
    }
  }
}

async function copy(target: ClusterStore, entries: readonly { key: string; value: string }[]): Promise<void> {
  for (let i = 0; i < entries.length; i += COMMIT_CHUNK) {
    await target.commit(
      [],
      entries.slice(i, i + COMMIT_CHUNK).map(({ key, value }) => ({ key, value })),
    );
  }
}
