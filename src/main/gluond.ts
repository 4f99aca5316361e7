/**
 * `gluond`: the daemon of one node. Wires the cluster's state machines to etcd or level, to gRPC and to processes.
 *
 *   SIGTERM, or a crash   gluond ends; bricks and the etcd member go on serving and are found again (systemctl restart interrupts no I/O)
 *   SIGINT, --stop-bricks, `SystemStop`   bricks are stopped in order, then etcd, then gluond
 *   SIGHUP                the log file is opened anew
 *
 * Exit status: 0 ended on request, 1 wrong arguments or it could not start, 70 a bug.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, rmSync } from 'node:fs';
import { status, Server, ServerCredentials, type sendUnaryData, type ServerUnaryCall } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { Errno, FsError, LostError } from '../base/errno.js';
import { O_CREAT, O_RDWR } from '../brick/disk.js';
import { BrickPlaces } from '../cluster/brick-places.js';
import { BrickKeeper } from '../cluster/bricks.js';
import { fenceByAnyWay } from '../cluster/fence.js';
import { Hosts, hostOf } from '../cluster/hosts.js';
import { Liveness } from '../cluster/liveness.js';
import type { BrickReport, NodeCall, NodeCalls, NodeService } from '../cluster/node-service.js';
import { Peers, type Candidate, type JoinOffer } from '../cluster/peers.js';
import { encode, keys, POOL_KEY, type PeerRecord } from '../cluster/records.js';
import { Refused } from '../cluster/refused.js';
import { Reports } from '../cluster/reports.js';
import { ClusterState } from '../cluster/state.js';
import { SwitchableStore } from '../cluster/switchable-store.js';
import { ViewKeeper } from '../cluster/views.js';
import { Volumes } from '../cluster/volumes.js';
import type { ClusterStore } from '../env/cluster-store.js';
import type { Log } from '../env/log.js';
import { endOnBug } from '../platform/end-on-bug.js';
import { checkBrick, diskOf, prepareBrick, unprepareBrick } from '../platform/brick-directory.js';
import { brickControlService } from '../platform/brick-control-server.js';
import { LinuxBrickProcesses } from '../platform/brick-processes.js';
import { RealClock, RealRandom } from '../platform/clock.js';
import { EtcdMember, freePorts } from '../platform/etcd-member.js';
import { SystemHostLookup } from '../platform/host-lookup.js';
import { checkOffer } from '../platform/join-offer.js';
import { LevelStore } from '../platform/level-store.js';
import { LibcDisk } from '../platform/libc.js';
import { descriptorSink, fileSink, JsonLog } from '../platform/log.js';
import { ManagementService, type Caller } from '../platform/management-service.js';
import { StateDirectory, SOCKET_PATH_BYTES_MAX, type NodeFile } from '../platform/node-files.js';
import { VERSION } from '../platform/package-root.js';
import { memberCredentials, PeerClient } from '../platform/peer-client.js';
import { makeAuthority, makeNodeCertificate } from '../platform/pki.js';
import { EtcdPoolBackend } from '../platform/pool-backend.js';
import { packageDefinition, serviceDefinition } from '../platform/proto.js';
import { formatHostPort } from '../platform/target.js';
import { TlsListener, type TlsMaterial } from '../platform/tls-listener.js';
import { parseArguments, USAGE, type Arguments } from './gluond-arguments.js';

const WILDCARDS = new Set(['0.0.0.0', '::']);
const TTL_MS_MIN = 2_000;
const TTL_MS_MAX = 8_000;
const TTL_PING_FRACTION = 0.65;
const PING_TIMEOUT_S = 10;
const CALL_MS = 5_000;
const CALL_BYTES_MAX = 16 << 20;
/** Calls at once on one connection. */
const CALLS_MAX = 256;
/** A connection over TCP without a call under way is closed after so long; its other end connects again when it needs to. */
const IDLE_MS = 60_000;

class Gluond {
  readonly #args: Arguments;
  readonly #log: Log;
  readonly #clock = new RealClock();
  readonly #random = new RealRandom();
  readonly #directory: StateDirectory;
  readonly #lookup = new SystemHostLookup();
  readonly #ended = new AbortController();
  readonly #clients = new Map<string, PeerClient>();
  #nodeFile!: NodeFile;
  #material!: TlsMaterial;
  #store!: SwitchableStore;
  #state!: ClusterState;
  #member!: EtcdMember;
  #backend!: EtcdPoolBackend;
  #liveness!: Liveness;
  #views!: ViewKeeper;
  #bricks!: BrickKeeper;
  #volumes!: Volumes;
  #places!: BrickPlaces;
  #peers!: Peers;
  #reports!: Reports;
  #listener!: TlsListener;
  #servers: Server[] = [];
  #stopping = false;

  constructor(args: Arguments, log: Log) {
    this.#args = args;
    this.#log = log;
    this.#directory = new StateDirectory(args.stateDirectory);
  }

  async start(): Promise<void> {
    this.#directory.create();
    this.#lock();
    const found = this.#directory.readNode();
    this.#nodeFile = found ?? { id: randomBytes(16).toString('hex'), store: 'embedded', storeAddresses: [], pool: '' };
    const tls = '/tls';
    const files = {
      caFile: this.#directory.in(tls, 'ca.pem'),
      certificateFile: this.#directory.in(tls, 'node.pem'),
      keyFile: this.#directory.in(tls, 'node.key'),
    };
    this.#member = new EtcdMember(
      { directory: this.#directory.in('etcd'), logFile: this.#directory.in('log', 'etcd.log'), ...files },
      this.#log,
    );
    const embedded = this.#nodeFile.store === 'embedded' ? await this.#openEmbedded() : undefined;
    const material = this.#directory.readTls();
    if (material === undefined)
      throw new FsError(
        Errno.EIO,
        'gluond',
        `${this.#directory.in('tls')} is incomplete: restore it, or begin with an empty state directory`,
      );
    this.#material = material;
    this.#state = new ClusterState(this.#log);
    // The store is set when the backend exists; nothing uses it before.
    this.#store = new SwitchableStore(embedded ?? closedStore());
    this.#backend = new EtcdPoolBackend({
      directory: this.#directory,
      store: this.#store,
      member: this.#member,
      log: this.#log,
      node: this.#nodeFile.id,
      listenHost: this.#args.listen.host,
      resolve: (host) => this.#lookup.resolve(host),
      material: () => this.#material,
      setMaterial: (next) => this.#setMaterial(next),
      nodeFile: () => this.#nodeFile,
      writeNode: (file) => this.#writeNode(file),
    });
    if (embedded === undefined) {
      if (this.#member.config !== undefined) this.#member.start();
      await this.#store.switchTo(() => Promise.resolve(this.#backend.openStore(this.#nodeFile.storeAddresses)));
    }
    this.#compose();
    this.#state.start(this.#store, this.#ended.signal);
    await this.#serve();
    this.#state.onChange((changed) => {
      if (changed.has('peers')) this.#peersChanged();
    });
    void this.#begin();
  }

  /** gluond ends. With `everything` the bricks and etcd end before. */
  async stop(everything: boolean, reason: string): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#log.info('gluond ends', { reason, everything });
    if (everything) await this.#bricks.stopAll();
    this.#views.stop();
    this.#bricks.stop();
    this.#liveness.stop();
    this.#ended.abort();
    this.#listener.close();
    for (const server of this.#servers) server.forceShutdown();
    for (const client of this.#clients.values()) client.close();
    await this.#store.close().catch((error: unknown) => this.#log.warn('the store could not be closed', { error }));
    if (everything) await this.#member.stop();
    else this.#member.leaveRunning();
    rmSync(this.#directory.socket, { force: true });
  }

  // --- composition

  #compose(): void {
    const { id: node } = this.#nodeFile;
    const common = { node, state: this.#state, store: this.#store, clock: this.#clock, log: this.#log };
    const nodes: NodeService = { call: (target, call, args, timeoutMs) => this.#call(target, call, args, timeoutMs) };
    const hosts = new Hosts(node, this.#state, this.#lookup, WILDCARDS.has(this.#args.listen.host));
    const pathOf = (id: string): string =>
      this.#state.bricksOf(node).find(({ brick }) => brick.id === id)?.brick.path ?? '';
    const processes = new LinuxBrickProcesses(this.#directory, pathOf, this.#args.logLevel);
    this.#liveness = new Liveness({
      ...common,
      incarnation: randomBytes(8).toString('hex'),
      ttlMs: () => this.#ttlMs(),
      views: () => this.#state.viewsOn(node),
      firstWrites: () => this.#bricks.staleRecords(),
    });
    this.#volumes = new Volumes({ ...common, liveness: this.#liveness, hosts, nodes, random: this.#random });
    this.#places = new BrickPlaces({ ...common, liveness: this.#liveness, hosts, nodes, views: () => this.#views, random: this.#random });
    this.#bricks = new BrickKeeper({
      ...common,
      liveness: this.#liveness,
      views: () => this.#views,
      processes,
      listenHost: this.#args.listen.host,
      socketOf: (brick) => this.#brickSocket(brick),
      specOf: (volume) => this.#volumes.spec(volume),
    });
    this.#views = new ViewKeeper({
      ...common,
      liveness: this.#liveness,
      fence: (target, brick, epoch) => fenceByAnyWay(nodes, this.#others(target), target, brick, epoch),
    });
    this.#peers = new Peers({ ...common, liveness: this.#liveness, hosts, nodes, backend: this.#backend });
    this.#reports = new Reports({ node, state: this.#state, liveness: this.#liveness, nodes });
  }

  /** What needs the state of the pool: begins when it is known. */
  async #begin(): Promise<void> {
    await this.#state.ready;
    if (this.#stopping) return;
    this.#liveness.start();
    this.#views.start();
    this.#bricks.start();
    await this.#volumes
      .cleanUp()
      .catch((error: unknown) => this.#log.warn('incomplete volumes could not be removed', { error }));
    this.#log.info('ready', {
      node: this.#nodeFile.id,
      pool: this.#state.pool?.id,
      peers: this.#state.peers().length,
      volumes: this.#state.volumes().length,
    });
  }

  async #serve(): Promise<void> {
    const limits = { 'grpc.max_receive_message_length': CALL_BYTES_MAX, 'grpc.max_concurrent_streams': CALLS_MAX };
    const tcp = new Server({ ...limits, 'grpc.max_connection_idle_ms': IDLE_MS });
    const local = new Server(limits);
    this.#servers = [tcp, local];
    this.#listener = new TlsListener(tcp, this.#material, this.#log);
    const reflection = new ReflectionService(packageDefinition('management.proto'));
    for (const server of this.#servers) {
      const service = new ManagementService({
        state: this.#state,
        volumes: this.#volumes,
        places: this.#places,
        peers: this.#peers,
        reports: this.#reports,
        nodes: { call: (target, call, args, timeoutMs) => this.#call(target, call, args, timeoutMs) },
        log: this.#log,
        node: () => this.#describe(),
        socketOf: (brick) => this.#bricks.socketOf(brick.id),
        stop: (daemon) => this.#stopOnRequest(daemon),
        caller: (peer) => (server === local ? { trusted: true, address: '', here: true } : this.#caller(peer)),
      });
      server.addService(
        serviceDefinition('management.proto', 'gluon.management.v1.Management'),
        service.implementation(),
      );
      reflection.addToServer(server);
    }
    local.addService(
      serviceDefinition('brick-control.proto', 'gluon.brick.v1.BrickControl'),
      brickControlService(() => this.#bricks, this.#state.ready, this.#log),
    );
    tcp.addService(serviceDefinition('peering.proto', 'gluon.peering.v1.Peering'), {
      Call: (call: ServerUnaryCall<{ method: string; body: string }, object>, callback: sendUnaryData<object>) =>
        this.#peering(call, callback),
    });
    rmSync(this.#directory.socket, { force: true });
    await new Promise<void>((resolve, reject) => {
      local.bindAsync(`unix:${this.#directory.socket}`, ServerCredentials.createInsecure(), (error) =>
        error === null ? resolve() : reject(error),
      );
    });
    chmodSync(this.#directory.socket, 0o600);
    const bound = await this.#listener.listen(this.#args.listen);
    this.#log.info('listening', {
      address: formatHostPort(bound),
      socket: this.#directory.socket,
      version: VERSION,
      pid: process.pid,
    });
  }

  // --- identity and files

  #lock(): void {
    const disk = new LibcDisk();
    const root = disk.openRoot(this.#directory.path);
    const fd = root < 0 ? root : disk.openFile(root, 'gluond.lock', O_CREAT | O_RDWR, 0o600);
    if (fd < 0) throw new FsError(-fd, 'gluond', `${this.#directory.path} cannot be used`);
    if (disk.lock(fd) < 0)
      throw new FsError(
        Errno.EBUSY,
        'gluond',
        `another gluond uses ${this.#directory.path}: stop it, or choose another --state-dir`,
      );
  }

  /** The store of a pool of one; made with its pool when there is none. */
  async #openEmbedded(): Promise<LevelStore> {
    const store = await LevelStore.open(this.#directory.in('store'));
    const { id } = this.#nodeFile;
    const { listen, name } = this.#args;
    if ((await store.get(POOL_KEY)) === undefined || this.#directory.readTls() === undefined) {
      const pool = randomBytes(16).toString('hex');
      const authority = await makeAuthority(pool);
      const hosts = [name, ...(WILDCARDS.has(listen.host) ? [] : [listen.host])];
      this.#directory.writeTls(authority.certificate, await makeNodeCertificate(authority, id, hosts));
      await store.commit(
        [],
        [{ key: POOL_KEY, value: encode({ id: pool, caCertificate: authority.certificate, caKey: authority.key }) }],
      );
      this.#writeNode({ id, store: 'embedded', storeAddresses: [], pool });
    }
    // A pool of one is wherever it listens now.
    const host = WILDCARDS.has(listen.host) ? '127.0.0.1' : listen.host;
    const peer: PeerRecord = {
      id,
      hostname: name,
      otherNames: [],
      address: formatHostPort({ host, port: listen.port }),
      etcdClient: '',
      etcdPeer: '',
    };
    await store.commit([], [{ key: keys.peer(id), value: encode(peer) }]);
    return store;
  }

  #writeNode(file: NodeFile): void {
    this.#directory.writeNode(file);
    this.#nodeFile = file;
  }

  #setMaterial(material: TlsMaterial): void {
    this.#material = material;
    this.#listener.setMaterial(material);
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  #describe(): { id: string; name: string; version: string; stateDirectory: string; pool: string } {
    return {
      id: this.#nodeFile.id,
      name: this.#args.name,
      version: VERSION,
      stateDirectory: this.#directory.path,
      pool: this.#nodeFile.pool,
    };
  }

  #brickSocket(brick: string): string {
    const path = this.#directory.in('run', `${brick.slice(0, 16)}.sock`);
    return Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX ? '' : path;
  }

  /** Two thirds of the shortest network.ping-timeout: the rest is for the beat that was just sent, and for the new view. */
  #ttlMs(): number {
    const seconds = this.#state
      .volumes()
      .map((volume) => Number(volume.options['network.ping-timeout'] ?? PING_TIMEOUT_S));
    const ms = Math.min(PING_TIMEOUT_S, ...seconds) * 1000 * TTL_PING_FRACTION;
    return Math.min(TTL_MS_MAX, Math.max(TTL_MS_MIN, ms));
  }

  #peersChanged(): void {
    const peers = this.#state.peers();
    const { id } = this.#nodeFile;
    if (!peers.some((peer) => peer.id === id)) return;
    this.#listener.keepOnly((node) => peers.some((peer) => peer.id === node));
    for (const [node, client] of this.#clients) {
      if (peers.some((peer) => peer.id === node && peer.address === client.address)) continue;
      client.close();
      this.#clients.delete(node);
    }
    if (this.#nodeFile.store !== 'etcd') return;
    const addresses = peers.map((peer) => peer.etcdClient).filter((address) => address !== '');
    if (addresses.length === 0) return;
    this.#backend.setAddresses(addresses);
    if (addresses.toSorted().join() !== this.#nodeFile.storeAddresses.toSorted().join())
      this.#writeNode({ ...this.#nodeFile, storeAddresses: addresses });
  }

  // --- calls between nodes

  /** The nodes of the pool besides this one and `node`. */
  #others(node: string): string[] {
    const ids = this.#state.peers().map((peer) => peer.id);
    return ids.filter((id) => id !== node && id !== this.#nodeFile.id);
  }

  #caller(peer: string): Caller {
    const node = this.#listener.identity(peer);
    const address = hostOf(peer).replace(/^::ffff:/, '');
    const self = this.#state.peer(this.#nodeFile.id)?.value;
    const here =
      address !== '' && (this.#lookup.isLocal(address) || (self !== undefined && hostOf(self.address) === address));
    return { trusted: node !== '' && this.#state.peer(node) !== undefined, address, here };
  }

  async #call<K extends NodeCall>(
    target: string,
    call: K,
    args: NodeCalls[K]['args'],
    timeoutMs = CALL_MS,
  ): Promise<NodeCalls[K]['result']> {
    if (target === this.#nodeFile.id) return this.#perform(call, args);
    const peer = this.#state.peer(target)?.value;
    if (peer === undefined) throw new LostError(`node ${target} is not in the pool`);
    let client = this.#clients.get(target);
    if (client === undefined || client.address !== peer.address) {
      client?.close();
      client = new PeerClient(peer.address, memberCredentials(this.#material, target));
      this.#clients.set(target, client);
    }
    return client.call<NodeCalls[K]['result']>(call, args, timeoutMs);
  }

  #peering(call: ServerUnaryCall<{ method: string; body: string }, object>, callback: sendUnaryData<object>): void {
    const { method, body } = call.request;
    const caller = this.#caller(call.getPeer());
    const open = method === 'hello' || method === 'reserve' || method === 'join';
    if (!open && !caller.trusted) {
      callback({ code: status.PERMISSION_DENIED, details: 'the caller is not a member of this pool' });
      return;
    }
    const work = async (): Promise<object> => {
      const args = JSON.parse(body) as never;
      return open ? this.#stranger(method, args) : this.#perform(method as NodeCall, args);
    };
    work().then(
      (result) => callback(null, { errno: 0, message: '', body: JSON.stringify(result) }),
      (error: unknown) => {
        const known = error instanceof Refused || error instanceof FsError || error instanceof LostError;
        if (!known) this.#log.error('a call of another node failed', { method, error });
        callback(null, {
          errno: known ? error.errno : Errno.EIO,
          message: error instanceof Error ? error.message : String(error),
          body: '',
        });
      },
    );
  }

  /** Calls of a node that is in no pool with this one. */
  async #stranger(method: string, args: { token?: string; host?: string } & Partial<JoinOffer>): Promise<object> {
    await this.#state.ready;
    if (method === 'hello') return this.#candidate();
    const candidate = this.#candidate();
    if (candidate.peers > 1 || candidate.volumes > 0 || this.#nodeFile.store !== 'embedded')
      throw new Refused('this node is in a pool already', Errno.EBUSY);
    if (this.#args.joinToken !== '' && args.token !== this.#args.joinToken)
      throw new Refused('the join token is not the one this node was started with', Errno.EACCES);
    if (method === 'reserve') {
      const [clientPort = 0, peerPort = 0] = await freePorts(args.host ?? this.#args.listen.host, 2);
      return { clientPort, peerPort };
    }
    await this.#backend.accept(checkOffer(args));
    this.#liveness.beatNow();
    return {};
  }

  #candidate(): Candidate {
    return {
      id: this.#nodeFile.id,
      name: this.#args.name,
      version: VERSION,
      pool: this.#nodeFile.pool,
      peers: this.#state.peers().length,
      volumes: this.#state.everyVolume().length,
      needsToken: this.#args.joinToken !== '',
    };
  }

  /** What this node does for its pool. */
  async #perform<K extends NodeCall>(call: K, args: NodeCalls[K]['args']): Promise<NodeCalls[K]['result']> {
    const given = args as never;
    const handlers: {
      [C in NodeCall]: (args: NodeCalls[C]['args']) => NodeCalls[C]['result'] | Promise<NodeCalls[C]['result']>;
    } = {
      prepareBrick,
      unprepareBrick: (place) => {
        unprepareBrick(place);
        return {};
      },
      checkBrick: (place) => {
        checkBrick(place);
        return {};
      },
      reportBricks: (wish) => this.#reportBricks(wish),
      fence: async ({ brick, epoch }) => {
        await this.#bricks.fence(brick, epoch);
        return {};
      },
      fenceFor: ({ node, brick, epoch }) => this.#call(node, 'fence', { brick, epoch }),
      order: ({ brick, order }) => ({ attached: this.#bricks.order(brick, order) }),
      startNow: ({ volume }) => {
        this.#bricks.startNow(volume);
        return {};
      },
      leave: async ({ pool }) => {
        if (pool === this.#nodeFile.pool) setImmediate(() => void this.#leave());
        return {};
      },
    };
    if (!Object.hasOwn(handlers, call))
      throw new Refused(`this gluond (version ${VERSION}) does not know the call ${call}`, Errno.EOPNOTSUPP);
    return (handlers[call] as (given: never) => NodeCalls[K]['result'] | Promise<NodeCalls[K]['result']>)(given);
  }

  async #reportBricks({
    volume,
    disk,
    status: withStatus,
  }: {
    volume: string;
    disk: boolean;
    status: boolean;
  }): Promise<{ bricks: BrickReport[] }> {
    const own = this.#state.bricksOf(this.#nodeFile.id).filter((one) => one.volume.id === volume);
    const bricks = await Promise.all(
      own.map(async ({ brick }): Promise<BrickReport> => {
        const record = this.#state.brickProcess(brick.id)?.value;
        const replica = withStatus ? await this.#bricks.status(brick.id) : undefined;
        const found = disk ? diskOf(brick.path) : undefined;
        return {
          brick: brick.id,
          attached: this.#bricks.attached(brick.id),
          pid: record?.state === 'up' ? record.pid : 0,
          port: record?.port ?? 0,
          reason: this.#bricks.reasonOf(brick.id),
          ...(replica === undefined ? {} : { status: replica }),
          ...(found === undefined ? {} : { disk: found }),
        };
      }),
    );
    return { bricks };
  }

  /** Back to a pool of one. The identity of the node stays. */
  async #leave(): Promise<void> {
    this.#log.info('this node was detached from its pool', { pool: this.#nodeFile.pool });
    try {
      await this.#store.switchTo(async (present) => {
        await present.close();
        await this.#member.remove();
        rmSync(this.#directory.in('store'), { recursive: true, force: true });
        rmSync(this.#directory.in('tls'), { recursive: true, force: true });
        const store = await this.#openEmbedded();
        const material = this.#directory.readTls();
        if (material !== undefined) this.#setMaterial(material);
        return store;
      });
      this.#liveness.beatNow();
    } catch (error) {
      this.#log.error('this node could not return to a pool of its own: restart gluond', { error });
    }
  }

  async #stopOnRequest(daemon: boolean): Promise<number> {
    const stopped = await this.#bricks.stopAll();
    if (daemon) setTimeout(() => void this.stop(true, 'asked to').then(() => process.exit(0)), 100);
    return stopped;
  }
}

/** Stands where the store will be until it was opened. */
function closedStore(): ClusterStore {
  const lost = (): Promise<never> => Promise.reject(new LostError('the store is not open yet'));
  return { get: lost, list: lost, commit: lost, watch: () => undefined, close: () => Promise.resolve() };
}

/** Runs until a signal ends it. A number is the exit status of a start that failed. */
export async function main(argv: string[]): Promise<number | undefined> {
  let args: Arguments;
  try {
    args = parseArguments(argv);
  } catch (error) {
    process.stderr.write(`gluond: ${error instanceof Error ? error.message : String(error)}\n${USAGE}\n`);
    return 1;
  }
  const file = args.logFile === undefined ? undefined : fileSink(args.logFile);
  const log = new JsonLog(file?.sink ?? descriptorSink(2), args.logLevel, { daemon: args.name });
  endOnBug('gluond', log, { logIsFile: file !== undefined });
  try {
    const daemon = new Gluond(args, log);
    await daemon.start();
    const end = (everything: boolean, reason: string): void =>
      void daemon.stop(everything, reason).then(() => process.exit(0));
    process.on('SIGTERM', () => end(args.stopBricks, 'SIGTERM'));
    process.on('SIGINT', () => end(true, 'SIGINT'));
    process.on('SIGHUP', () => file?.reopen());
    return undefined;
  } catch (error) {
    log.error('gluond cannot start', { error });
    process.stderr.write(`gluond: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}
