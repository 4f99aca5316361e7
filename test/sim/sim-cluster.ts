/** A replica set in one process: bricks, the authority over its views, clients, and the network between them. */
import type { Gfid } from '../../src/base/ids.js';
import { VolumeClient } from '../../src/client/client.js';
import type { GivenLocks } from '../../src/client/local-locks.js';
import type { LocalCopy } from '../../src/client/local-reads.js';
import { silentLog, type Log } from '../../src/env/log.js';
import type { Args, OpName, Result } from '../../src/fops/ops.js';
import type { BrickId, View } from '../../src/fops/view.js';
import type { VolumeSpec } from '../../src/fops/volume.js';
import { Standing } from '../../src/replica/standing.js';
import { isWhole } from '../../src/replica/store.js';
import { majority } from '../../src/replica/view.js';
import { SimAuthority } from './sim-authority.js';
import { SimBrick } from './sim-brick.js';
import { SimNetwork, type Host } from './sim-network.js';
import { SeededRandom, type World } from './world.js';

const VOLUME = 'feedfacefeedfacefeedfacefeedface';
const PING_TIMEOUT_S = 10;

export type { SimBrick } from './sim-brick.js';

export interface ClusterOptions {
  log?: Log;
  pingTimeoutS?: number;
  encodes?: boolean;
}

export class SimCluster {
  readonly world: World;
  readonly log: Log;
  readonly network: SimNetwork;
  readonly bricks: SimBrick[];
  readonly brickIds: BrickId[];
  readonly clients = new Set<SimClient>();
  readonly authority: SimAuthority;
  readonly spec: VolumeSpec;
  readonly secret = '5e'.repeat(32);
  readonly pingTimeoutMs: number;
  /** Faults that took effect, by kind. */
  readonly faults = new Map<string, number>();
  /** Reads that clients tried at the brick of their node. */
  localReads = 0;
  /** Writes of a client to a file before it gets an exclusive lease. */
  directAfter: number;
  /** Also those that are gone. */
  readonly allClients: SimClient[] = [];
  clientsMade = 0;

  constructor(world: World, count: number, options: ClusterOptions = {}) {
    this.world = world;
    this.log = options.log ?? silentLog;
    this.network = new SimNetwork(world);
    this.directAfter = world.random.pick([0, 1, 1, 2, 3]);
    this.network.encodes = options.encodes === true;
    const pingTimeoutS = options.pingTimeoutS ?? PING_TIMEOUT_S;
    this.pingTimeoutMs = pingTimeoutS * 1000;
    this.brickIds = Array.from({ length: count }, (_, i) => `${i + 1}`.padStart(32, '0'));
    this.bricks = this.brickIds.map((id) => new SimBrick(this, id));
    this.authority = new SimAuthority(this);
    this.spec = {
      id: VOLUME, name: 'volume', secret: this.secret, started: true, options: { 'network.ping-timeout': String(pingTimeoutS) },
      bricks: this.bricks.map(({ id, name }) => ({ id, node: name, host: name, path: '/', port: 1 })),
    };
  }

  get view(): View {
    return this.authority.view;
  }

  start(): void {
    for (const brick of this.bricks) brick.start();
    this.authority.start();
  }

  brick(id: BrickId): SimBrick {
    return this.bricks.find((brick) => brick.id === id) as SimBrick;
  }

  count(kind: string): void {
    this.faults.set(kind, (this.faults.get(kind) ?? 0) + 1);
    this.world.note(kind);
  }

  /**
   * A brick may lose unsynced data while fewer than a majority have, and another member in sync is whole. More would lose what was
   * acknowledged and not synced, which nothing promises to keep.
   */
  mayLosePower(brick: SimBrick): boolean {
    for (const other of this.bricks) {
      if (other.lossy && other.replica?.status().continuous === true && this.view.inSync.includes(other.id)) other.lossy = false;
    }
    // What its disk could not write down the process knows.
    const whole = (other: SimBrick): boolean => !other.lossy && !other.disk.readMeta().unsettled && other.disk.readMeta().halfWritten !== true && other.replica?.standing !== Standing.HalfWritten;
    const lossy = this.bricks.filter((other) => !whole(other) || other === brick).length;
    return this.view.inSync.some((id) => id !== brick.id && whole(this.brick(id))) && lossy <= this.bricks.length - majority(this.bricks.length);
  }

  /** The gluond of the client's node tells it of the view, and of the socket of the brick there. */
  tell(client: SimClient): void {
    if (!client.alive || client.stopped || this.authority.cutOff(client.name)) return;
    const bricks = this.spec.bricks.map((brick) => (brick.id === client.home ? { ...brick, port: 0, socket: brick.host } : brick));
    this.world.as(client, () => client.volume.update({ ...this.spec, bricks }, this.view));
  }
}

/** A process that has the volume mounted. */
export class SimClient implements Host {
  readonly name: string;
  readonly volume: VolumeClient;
  readonly incarnation = 1;
  /** The brick on its node. */
  readonly home: BrickId;
  alive = true;
  stopped = false;
  /** It changes nothing. */
  reads = false;
  /** How often its session was revoked. */
  revocations = 0;
  /** The session is over, and what was under way fails right after. */
  onRevoked: () => void = () => undefined;
  readonly #cluster: SimCluster;

  /** File locks that it gave and no brick has confirmed: what a successor is told. */
  given: readonly GivenLocks[] = [];

  /** `before`: it takes over the session of this one, whose process ended; it gives its own numbers to what it asks. */
  constructor(cluster: SimCluster, name: string, before?: SimClient) {
    this.#cluster = cluster;
    this.name = name;
    const { world, network, log } = cluster;
    this.home = cluster.brickIds[cluster.clientsMade++ % cluster.brickIds.length] as BrickId;
    const skew = { offset_ms: world.random.below(1e6), rate: 1 };
    const env = { clock: world.clock(() => this.alive, this, () => 0, skew), random: new SeededRandom(world.random.next()), network: network.of(this), log: log.child({ node: name }) };
    let numbers = 1e6;
    this.volume = new VolumeClient(env, {
      ...(before === undefined ? {} : { session: before.volume.session, begun: true, given: before.given, ownNumber: () => ++numbers }),
      onGiven: (given) => (this.given = structuredClone(given)),
      onRevoked: () => {
        this.revocations++;
        this.onRevoked();
      },
      openLocalCopy: (_, brick) => (brick.id === this.home ? this.#openLocalCopy(brick.id) : undefined),
    });
    cluster.clients.add(this);
    cluster.allClients.push(this);
    world.at(1, () => cluster.tell(this));
  }

  onTraffic(): void {}

  /** It runs on the node of one of the bricks, whose files it reads also while the brick's process is dead; not those of a disk that was started anew. */
  #openLocalCopy(id: BrickId): LocalCopy | undefined {
    const brick = this.#cluster.brick(id);
    const { bootId } = brick;
    const meta = brick.disk.readMeta();
    if (meta.bootId !== bootId || !isWhole(meta)) return undefined;
    let closed = false;
    const read = (gfid: Gfid, offset: number, size: number): Uint8Array | undefined => {
      if (closed || brick.bootId !== bootId || brick.fails('read')) return undefined;
      const data = brick.store.peek(gfid, offset, size);
      return data?.byteLength === size ? data : undefined;
    };
    const { random } = this.#cluster.world;
    return {
      read: (gfid, offset, size) => {
        this.#cluster.localReads++;
        if (random.chance(0.5)) return read(gfid, offset, size);
        return new Promise((resolve) => void this.#cluster.world.at(random.skewed(0.1, 60), () => resolve(read(gfid, offset, size))));
      },
      close: () => {
        closed = true;
      },
    };
  }

  call<K extends OpName>(op: K, args: Args<K>): Promise<Result<K>> {
    return this.volume.call(op, args);
  }

  /** The host is gone: nobody hears of what it had asked. */
  crash(): void {
    this.alive = false;
    this.#cluster.network.drop(this, true);
    this.#cluster.clients.delete(this);
  }

  /** Ends the session in order. */
  close(): void {
    this.volume.close();
    this.#cluster.clients.delete(this);
  }
}
