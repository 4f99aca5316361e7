/** A simulated node with its brick: the process starts, crashes at instants that can be chosen to a disk call or a message, and finds what its disk kept. */
import { Errno, FsError } from '../../src/base/errno.js';
import { BrickServer } from '../../src/brick/server.js';
import type { Clock } from '../../src/env/clock.js';
import type { BrickId } from '../../src/fops/view.js';
import { Standing } from '../../src/replica/standing.js';
import { Replica } from '../../src/replica/replica.js';
import { decodeRecords } from '../../src/replica/journal.js';
import { parseKey } from '../../src/replica/keys.js';
import { dialBrick } from '../../src/wire/dial.js';
import { MemoryJournalDisk, MemoryStore, type DiskBehaviour } from './memory-store.js';
import type { SimCluster } from './sim-cluster.js';
import type { Host } from './sim-network.js';
import { SeededRandom } from './world.js';

const DIAL_MS = 1000;
/** How much clocks of machines differ in rate. */
const RATE_ERROR = 0.002;

/** What is wrong with a disk at the moment. */
export interface DiskFault {
  errno: number;
  /** Calls that fail: a label of DiskBehaviour, or any. */
  calls: ReadonlySet<string> | 'any';
  chance: number;
}

/** Calls that need space. */
export const SPACE_CALLS: ReadonlySet<string> = new Set(['create', 'mkdir', 'mknod', 'symlink', 'link', 'tmpfile', 'write', 'setxattr', 'journal', 'patch', 'place', 'putInode']);

/** A crash at an instant inside of what the process does. */
interface Doom {
  power: boolean;
  calls: number;
  messages: number;
}

export class SimBrick implements Host {
  readonly id: BrickId;
  readonly name: string;
  readonly cluster: SimCluster;
  store = new MemoryStore();
  disk: MemoryJournalDisk;
  replica: Replica | undefined;
  alive = false;
  incarnation = 0;
  stopped = false;
  wallErrorMs = 0;
  bootId = 'boot0';
  /** It lost unsynced data and was not made whole since. */
  lossy = false;
  /** See DiskBehaviour. */
  losesPages = false;
  fault: DiskFault | undefined;
  /** Part of the disk that is free, as statfs tells. */
  spare = 1;
  /** It is not started again before. */
  downUntil = 0;
  /** Disk calls take up to this long. */
  slow_ms = 0;
  readonly #skew: { offset_ms: number; rate: number };
  #doom: Doom | undefined;
  readonly #thrown = new WeakSet<FsError>();

  constructor(cluster: SimCluster, id: BrickId) {
    this.cluster = cluster;
    this.id = id;
    this.name = `b${Number(id)}`;
    this.disk = new MemoryJournalDisk({ formatVersion: 1, volumeId: '', brickId: id, checkpoint: 0, base: 0, sealedEpoch: 0, bootId: '', incomplete: false, unsettled: false });
    const { random } = cluster.world;
    this.#skew = { offset_ms: random.below(1e6), rate: 1 + RATE_ERROR * (random.below(201) / 100 - 1) };
  }

  /** A process that cannot start ends, and is started again later. */
  start(): void {
    try {
      this.#start();
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      this.crash(false);
    }
  }

  #start(): void {
    const { cluster, id } = this;
    const { world, network, log } = cluster;
    const incarnation = ++this.incarnation;
    this.alive = true;
    const alive = (): boolean => this.alive && this.incarnation === incarnation;
    const clock = world.clock(alive, this, () => this.wallErrorMs, this.#skew);
    const random = new SeededRandom(world.random.next());
    const mine = log.child({ node: this.name, incarnation });
    const { spec, secret } = cluster;
    this.store.behaviour = this.disk.behaviour = this.#behaviour(alive, clock);
    const { disk } = this;
    this.store.onSync = () => disk.sync();
    const net = network.of(this);
    const replica = new Replica({
      brick: id,
      bricks: cluster.brickIds,
      store: this.store,
      journalDisk: this.disk,
      bootId: this.bootId,
      clock,
      random,
      log: mine,
      authority: { change: (epoch, change) => cluster.authority.change(this, epoch, change, alive) },
      dial: (brick) =>
        dialBrick({ network: net, clock, random }, { host: cluster.brick(brick).name, port: 1 }, DIAL_MS, { role: 'brick', id, brick, volume: spec.id, secret }),
      pingTimeoutMs: () => cluster.pingTimeoutMs,
      lockLeases: () => true,
      directAfter: () => cluster.directAfter,
      giveBack: () => undefined,
      copyOf: (data) => Buffer.from(data),
    });
    // A crash may have come in the middle of the start.
    if (!alive()) return;
    this.replica = replica;
    const server = new BrickServer({
      brick: id, bricks: () => cluster.brickIds, volume: spec.id, secret, clock, random, log: mine, view: () => replica.view, replica: () => replica, admits: () => true,
      connect: (brick) => net.connect({ host: cluster.brick(brick).name, port: 1 }, DIAL_MS),
    });
    void net.listen({ host: this.name, port: 1 }, (channel) => server.accept(channel));
    cluster.authority.brickStarted(this);
  }

  #behaviour(alive: () => boolean, clock: Clock): DiskBehaviour {
    const { random } = this.cluster.world;
    return {
      before: (call) => {
        if (!alive()) return;
        this.#callMade();
        if (!alive()) return;
        const { fault } = this;
        if (fault !== undefined && this.fails(call)) {
          this.cluster.count(fault.errno === Errno.EIO ? 'disk error' : 'disk full');
          const error = new FsError(fault.errno, call);
          this.#thrown.add(error);
          throw error;
        }
      },
      after: () => {
        if (alive()) this.#callMade();
      },
      delay_ms: (call) => {
        if (!alive()) return 0;
        if (this.slow_ms > 0) return random.skewed(1, this.slow_ms);
        return random.chance(call === 'read' ? 0.1 : 0.7) ? random.skewed(0.1, 10) : 0;
      },
      sleep: (ms) => new Promise((resolve) => void clock.after(ms, resolve)),
      spare: () => this.spare,
      losesPages: () => this.losesPages,
    };
  }

  /** The disk fails a call of this kind now. */
  fails(call: string): boolean {
    const { fault } = this;
    return fault !== undefined && (fault.calls === 'any' || fault.calls.has(call)) && this.cluster.world.random.chance(fault.chance);
  }

  /** This error came from its disk. */
  threw(error: unknown): boolean {
    return error instanceof FsError && this.#thrown.has(error);
  }

  /** It will crash at the given disk call or message from now. */
  doom(doom: Doom): void {
    this.#doom = doom;
  }

  #callMade(): void {
    if (this.#doom !== undefined && this.#doom.calls > 0 && --this.#doom.calls === 0) this.#doomed('crash at a disk call');
  }

  onTraffic(): void {
    if (this.alive && this.#doom !== undefined && this.#doom.messages > 0 && --this.#doom.messages === 0) this.#doomed('crash at a message');
  }

  #doomed(kind: string): void {
    const { power } = this.#doom as Doom;
    this.#doom = undefined;
    if (power && !this.cluster.mayLosePower(this)) return;
    this.cluster.count(kind);
    this.crash(power);
  }

  /** kill -9, or with `power` also the loss of what was not synced. What the dead process still does, it does to a copy that nobody sees. */
  crash(power: boolean): void {
    if (!this.alive) return;
    const { network, world, authority, log } = this.cluster;
    world.note(`${this.name} ${power ? 'loses power' : 'is killed'}`);
    log.debug(`${world.now.toFixed(1)} ${this.name} ${power ? 'loses power' : 'is killed'}`);
    this.alive = false;
    this.stopped = false;
    // That a part of a write is there only this process knew, whose disk refused the note too: until this copy was made equal it is as one that lost data.
    if (this.replica?.standing === Standing.HalfWritten && this.disk.readMeta().halfWritten !== true) this.lossy = true;
    this.replica = undefined;
    this.#doom = undefined;
    network.drop(this, power);
    if (power) {
      this.store = this.store.afterPowerLoss(world.random);
      this.disk = this.disk.afterPowerLoss(world.random);
      this.bootId = `boot${this.incarnation}`;
      this.lossy = true;
    } else {
      this.store = this.store.afterKill();
      this.disk = this.disk.afterKill();
    }
    authority.brickDied(this, power);
  }

  /** The machine loses power while the process is down. */
  losePowerWhileDown(): void {
    const { random } = this.cluster.world;
    this.store = this.store.afterPowerLoss(random);
    this.disk = this.disk.afterPowerLoss(random);
    this.bootId = `boot${this.incarnation} down`;
    this.lossy = true;
  }

  /** Keys that the journal has since the last checkpoint of the whole set. */
  journalKeys(): string[] {
    return this.disk.generations().flatMap((generation) => decodeRecords(this.disk.readGeneration(generation)).filter((record) => parseKey(record) !== undefined));
  }

  /** The disk works again and has space. */
  mend(): void {
    this.fault = undefined;
    this.losesPages = false;
    this.spare = 1;
    this.slow_ms = 0;
    this.#doom = undefined;
  }
}

