/**
 * Keeper of this node's brick processes: starts those of started volumes, talks with them, grants their serving leases, notices their
 * death, tells the pool, and starts them again.
 *
 *   wanted ─▶ process started ─▶ attached ─▶ serving: announced "up", leases granted
 *                 ▲                            │ process gone, or silent until its lease ran out
 *                 └── restart after a pause ◀──┴─▶ announced "down"
 */
import { LostError } from '../base/errno.js';
import type { Cancel, Clock } from '../env/clock.js';
import type { ClusterStore, Write } from '../env/cluster-store.js';
import type { Log } from '../env/log.js';
import { EMPTY_VIEW, type BrickId } from '../fops/view.js';
import type { VolumeSpec } from '../fops/volume.js';
import type { ViewChange } from '../replica/view.js';
import {
  required,
  type FromBrickMessage,
  type ReplicaStatusMessage,
  type ToBrickMessage,
} from '../wire/brick-control.js';
import { specToMessage } from '../wire/brick-control.js';
import type { Liveness } from './liveness.js';
import { encode, keys, type BrickProcessRecord, type BrickRecord, type NodeId, type VolumeRecord } from './records.js';
import type { ClusterState } from './state.js';
import type { ViewKeeper } from './views.js';

/** The processes themselves. */
export interface BrickProcesses {
  /** Starts one; `onExit` may not come for a process that another gluond started. Throws when it cannot be started. */
  spawn(volume: string, brick: BrickId, onExit: (how: string) => void): void;
  /** A process of this brick runs, whoever started it. */
  running(brick: BrickId): boolean;
  pid(brick: BrickId): number;
  signal(brick: BrickId, signal: 'SIGTERM' | 'SIGKILL'): void;
}

/** One attached brick process. */
export interface BrickConnection {
  /** `leaseMs` counts from now. */
  sendLease(leaseMs: number, id: number): void;
  send(message: ToBrickMessage): void;
  close(): void;
}

export interface BrickKeeperOptions {
  node: NodeId;
  state: ClusterState;
  store: ClusterStore;
  liveness: Liveness;
  views: () => ViewKeeper;
  processes: BrickProcesses;
  clock: Clock;
  log: Log;
  listenHost: string;
  /** Unix socket for the clients of this node, '' when the path would be too long. */
  socketOf(brick: BrickId): string;
  /** As the brick shall know its volume. */
  specOf(volume: VolumeRecord): VolumeSpec;
}

interface LocalBrick {
  volume: string;
  brick: BrickRecord;
  wanted: boolean;
  connection: BrickConnection | undefined;
  heardAt: number;
  serving: { port: number; socket: string } | undefined;
  leaseUntil: number;
  /** No lease while the view has this epoch. */
  fencedEpoch: number;
  fenceAnswers: Map<number, () => void>;
  spawnedAt: number;
  /** Processes started so far. */
  spawns: number;
  restartAt: number;
  pauseMs: number;
  stopAskedAt: number | undefined;
  /** What the pool shall know; undefined: nothing yet. */
  wish: Pick<BrickProcessRecord, 'state' | 'pid' | 'port' | 'reason'> | undefined;
  told: string;
  telling: boolean;
  /** Why the last process ended or does not serve. */
  reason: string;
  configSent: string;
  viewSent: number;
  /** Exit was noticed for the present process. */
  running: boolean;
}

const TICK_MS = 200;
/** No serving lease is longer. */
export const LEASE_MS_MAX = 10_000;
/** A brick that was not heard for this long gets no lease; heartbeats come every 500 ms. One that hangs keeps the others waiting for so much longer. */
const LEASE_SILENCE_MS = 1_200;
const HANG_FRACTION = 0.5;
const PING_TIMEOUT_S = 10;
const ATTACH_MS = 20_000;
const RESTART_MS_MIN = 250;
const RESTART_MS_MAX = 30_000;
/** A process that lived this long restarts at once when it crashes. */
const STABLE_MS = 10_000;
const STOP_TERM_MS = 10_000;
const STOP_KILL_MS = 15_000;
const STATUS_MS = 2_000;
const TELL_RETRY_MS = 200;

export class BrickKeeper {
  readonly #options: BrickKeeperOptions;
  readonly #bricks = new Map<BrickId, LocalBrick>();
  readonly #statusAnswers = new Map<number, { connection: BrickConnection; finish: (status: ReplicaStatusMessage | undefined) => void }>();
  #nextId = 1;
  #timer: Cancel = () => undefined;
  #detach: () => void = () => undefined;
  #stopped = true;
  /** Bricks of this node are being stopped, whatever their volumes' state. */
  #allStopped = false;

  constructor(options: BrickKeeperOptions) {
    this.#options = options;
  }

  start(): void {
    this.#stopped = false;
    this.#detach = this.#options.state.onChange((changed) => {
      if (changed.has('volumes') || changed.has('bricks')) this.#reconcile();
      if (changed.has('views')) this.#pushViews();
    });
    const tick = (): void => {
      for (const local of this.#bricks.values()) this.#tick(local);
      if (!this.#stopped) this.#timer = this.#options.clock.after(TICK_MS, tick);
    };
    this.#reconcile();
    tick();
  }

  /** gluond ends; the processes go on. */
  stop(): void {
    this.#stopped = true;
    this.#timer();
    this.#detach();
    for (const local of this.#bricks.values()) local.connection?.close();
  }

  /** Stops every brick of this node. Resolves with how many ran when all are gone, at the latest when they were killed. */
  async stopAll(): Promise<number> {
    this.#allStopped = true;
    const running = [...this.#bricks.values()].filter((local) =>
      this.#options.processes.running(local.brick.id),
    ).length;
    this.#reconcile();
    const until = this.#options.clock.now() + STOP_KILL_MS + 5_000;
    while (
      [...this.#bricks.values()].some((local) => this.#options.processes.running(local.brick.id) || local.telling) &&
      this.#options.clock.now() < until
    ) {
      await this.#sleep(50);
    }
    return running;
  }

  /** For `firstWrites` of Liveness: bricks that the pool believes to be up although their process is gone. */
  staleRecords(): Write[] {
    const { state, node, processes } = this.#options;
    const writes: Write[] = [];
    for (const { volume, brick } of state.bricksOf(node)) {
      const record = state.brickProcess(brick.id)?.value;
      if (record?.state !== 'up' || processes.running(brick.id)) continue;
      writes.push({
        key: keys.brick(brick.id),
        value: encode({
          node,
          volume: volume.id,
          state: 'down',
          pid: 0,
          port: record.port,
          reason: 'the process was gone when gluond came back',
        }),
      });
    }
    return writes;
  }

  /** A process says that it is this brick. */
  attach(
    hello: NonNullable<FromBrickMessage['hello']>,
    connection: BrickConnection,
  ): { receive(message: FromBrickMessage): void; closed(): void } {
    const { processes, log, clock } = this.#options;
    const local = this.#bricks.get(hello.brick);
    const none = { receive: (): void => undefined, closed: (): void => undefined };
    const pid = local === undefined ? 0 : processes.pid(hello.brick);
    if (local === undefined || local.volume !== hello.volume || !local.wanted || pid !== hello.pid) {
      const reason =
        local === undefined
          ? 'this node has no such brick'
          : local.wanted
            ? `process ${pid} is this brick`
            : 'the volume is stopped';
      log.warn('a brick process is not wanted', { brick: hello.brick, pid: hello.pid, reason });
      connection.send({ refused: reason });
      return none;
    }
    local.connection?.close();
    local.connection = connection;
    local.heardAt = clock.now();
    local.configSent = '';
    local.viewSent = -1;
    log.info('a brick attached', { brick: hello.brick, pid: hello.pid });
    this.#sendConfig(local);
    this.#sendView(local);
    return {
      receive: (message) => {
        if (local.connection === connection) this.#receive(local, connection, message);
      },
      closed: () => {
        for (const asked of this.#statusAnswers.values()) if (asked.connection === connection) asked.finish(undefined);
        if (local.connection !== connection) return;
        local.connection = undefined;
        // The end of the stream is the first that is known of a crash of a process that another gluond started.
        if (!processes.running(local.brick.id)) this.#died(local, 'the process is gone');
        else this.#tick(local);
      },
    };
  }

  /** What the brick tells of itself; undefined when it does not answer in time, or ends before. */
  status(brick: BrickId): Promise<ReplicaStatusMessage | undefined> {
    const connection = this.#bricks.get(brick)?.connection;
    if (connection === undefined) return Promise.resolve(undefined);
    const id = this.#nextId++;
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(STATUS_MS, () => finish(undefined));
      const finish = (status: ReplicaStatusMessage | undefined): void => {
        cancel();
        this.#statusAnswers.delete(id);
        resolve(status);
      };
      this.#statusAnswers.set(id, { connection, finish });
      connection.send({ query: { id } });
    });
  }

  /** False when the brick is not attached. */
  order(brick: BrickId, order: string): boolean {
    const connection = this.#bricks.get(brick)?.connection;
    connection?.send({ order: { order } });
    return connection !== undefined;
  }

  /** See ViewKeeperOptions.fence; for bricks of this node. */
  async fence(brick: BrickId, epoch: number): Promise<void> {
    const { clock, processes } = this.#options;
    const local = this.#bricks.get(brick);
    if (local === undefined || !processes.running(brick)) return;
    local.fencedEpoch = Math.max(local.fencedEpoch, epoch);
    const { connection } = local;
    if (connection !== undefined) {
      const id = this.#nextId++;
      await new Promise<void>((resolve) => {
        const cancel = clock.after(Math.max(0, local.leaseUntil - clock.now()), () => finish());
        const finish = (): void => {
          cancel();
          local.fenceAnswers.delete(id);
          resolve();
        };
        local.fenceAnswers.set(id, finish);
        connection.sendLease(0, id);
      });
      return;
    }
    if (clock.now() < local.leaseUntil) await this.#sleep(local.leaseUntil - clock.now());
  }

  attached(brick: BrickId): boolean {
    return this.#bricks.get(brick)?.connection !== undefined;
  }

  reasonOf(brick: BrickId): string {
    return this.#bricks.get(brick)?.reason ?? '';
  }

  socketOf(brick: BrickId): string {
    return this.#bricks.get(brick)?.serving?.socket ?? '';
  }

  /** Starts now what waits for its restart pause (`volume start NAME force`). */
  startNow(volume: string): void {
    for (const local of this.#bricks.values()) {
      if (local.volume !== volume) continue;
      local.restartAt = 0;
      local.pauseMs = RESTART_MS_MIN;
      this.#tick(local);
    }
  }

  /** The first answers since the process was started are in: every wanted brick of the volume serves or said why not. */
  settled(volume: string): boolean {
    return [...this.#bricks.values()].every(
      (local) => local.volume !== volume || !local.wanted || local.serving !== undefined || local.reason !== '',
    );
  }

  #reconcile(): void {
    const { state, node, clock, processes } = this.#options;
    const present = new Set<BrickId>();
    for (const { volume, brick } of state.bricksOf(node)) {
      present.add(brick.id);
      let local = this.#bricks.get(brick.id);
      if (local === undefined) {
        local = newLocal(volume.id, brick, clock.now());
        local.running = processes.running(brick.id);
        // A process from before gluond's restart gets the time to attach.
        local.spawnedAt = clock.now();
        // Its lease was granted by the gluond before this one.
        local.leaseUntil = local.running ? clock.now() + LEASE_MS_MAX : 0;
        this.#bricks.set(brick.id, local);
      }
      local.brick = brick;
      const wanted = volume.state === 'started' && brick.resetting !== true && !this.#allStopped;
      if (wanted && !local.wanted) {
        local.restartAt = 0;
        local.reason = '';
        local.stopAskedAt = undefined;
        const before = state.brickProcess(brick.id)?.value;
        if (before?.state === 'down' && !local.running) this.#tell(local, { ...before, reason: 'starting' });
      }
      local.wanted = wanted;
      this.#sendConfig(local);
      this.#tick(local);
    }
    for (const [id, local] of this.#bricks) {
      if (present.has(id)) continue;
      local.wanted = false;
      this.#tick(local);
      if (!processes.running(id)) this.#bricks.delete(id);
    }
  }

  #tick(local: LocalBrick): void {
    if (this.#stopped) return;
    const { clock, processes } = this.#options;
    const now = clock.now();
    const id = local.brick.id;
    const running = processes.running(id);
    if (local.running && !running) this.#died(local, local.reason === '' ? 'the process is gone' : local.reason);
    local.running = running;
    if (!local.wanted) {
      this.#stopProcess(local, now);
      return;
    }
    if (!running) {
      if (now >= local.restartAt) this.#spawn(local);
      return;
    }
    this.#grant(local, now);
    this.#watchSilence(local, now);
  }

  #spawn(local: LocalBrick): void {
    const { clock, processes, log } = this.#options;
    const now = clock.now();
    const spawns = ++local.spawns;
    local.spawnedAt = now;
    local.heardAt = now;
    local.serving = undefined;
    local.restartAt = now + local.pauseMs;
    local.pauseMs = Math.min(RESTART_MS_MAX, local.pauseMs * 2);
    try {
      processes.spawn(local.volume, local.brick.id, (how) => {
        // The end of its predecessor may be told late, after the tick noticed it and started this one.
        if (local.spawns !== spawns) return;
        if (local.running) this.#died(local, how);
        this.#tick(local);
      });
      local.running = true;
      log.info('brick process started', {
        brick: local.brick.id,
        path: local.brick.path,
        pid: processes.pid(local.brick.id),
      });
    } catch (error) {
      local.reason = error instanceof Error ? error.message : String(error);
      log.error('a brick process could not be started', { brick: local.brick.id, error });
      this.#tell(local, { state: 'down', pid: 0, port: this.#knownPort(local), reason: local.reason });
    }
  }

  #died(local: LocalBrick, how: string): void {
    const { clock, log } = this.#options;
    if (!local.running) return;
    local.running = false;
    local.connection?.close();
    local.connection = undefined;
    const lived = clock.now() - local.spawnedAt;
    const failedByItself = local.serving === undefined && local.reason !== '';
    if (local.wanted && !failedByItself) local.reason = `the process ended: ${how}`;
    local.serving = undefined;
    local.leaseUntil = 0;
    if (lived > STABLE_MS) {
      local.pauseMs = RESTART_MS_MIN;
      local.restartAt = 0;
    }
    if (local.wanted)
      log.warn('a brick process ended', {
        brick: local.brick.id,
        path: local.brick.path,
        how,
        livedMs: Math.round(lived),
      });
    this.#tell(local, {
      state: 'down',
      pid: 0,
      port: this.#knownPort(local),
      reason: local.wanted ? local.reason : 'stopped',
    });
  }

  #stopProcess(local: LocalBrick, now: number): void {
    const { processes, log } = this.#options;
    const id = local.brick.id;
    if (!processes.running(id)) {
      if (local.wish?.state !== 'down' && this.#options.state.brickProcess(id)?.value.state === 'up')
        this.#tell(local, { state: 'down', pid: 0, port: this.#knownPort(local), reason: 'stopped' });
      return;
    }
    if (local.stopAskedAt === undefined) {
      local.stopAskedAt = now;
      log.info('a brick is asked to stop', { brick: id });
      if (!this.order(id, 'stop')) processes.signal(id, 'SIGTERM');
    } else if (now - local.stopAskedAt > STOP_KILL_MS) {
      log.warn('a brick did not stop and is killed', { brick: id });
      processes.signal(id, 'SIGKILL');
    } else if (now - local.stopAskedAt > STOP_TERM_MS) {
      processes.signal(id, 'SIGTERM');
    }
  }

  #grant(local: LocalBrick, now: number): void {
    const { connection } = local;
    if (connection === undefined || now - local.heardAt > LEASE_SILENCE_MS) return;
    const epoch = this.#options.state.view(local.volume)?.value.epoch ?? 0;
    if (local.fencedEpoch >= epoch && epoch > 0) return;
    const until = this.#options.liveness.leaseUntil;
    if (until <= now) return;
    local.leaseUntil = Math.max(local.leaseUntil, until);
    connection.sendLease(until - now, 0);
  }

  /** A process that lives but is not heard: its place is given up once its lease ran out. */
  #watchSilence(local: LocalBrick, now: number): void {
    const { processes, log } = this.#options;
    const silentMs = now - local.heardAt;
    if (local.connection === undefined && local.serving === undefined && now - local.spawnedAt > ATTACH_MS) {
      log.warn('a brick process does not attach and is killed', { brick: local.brick.id });
      local.reason = `it did not attach within ${ATTACH_MS} ms`;
      processes.signal(local.brick.id, 'SIGKILL');
      return;
    }
    if (silentMs > this.#hangMs(local) && now > local.leaseUntil && local.wish?.state === 'up') {
      log.warn('a brick does not answer: it leaves the set', { brick: local.brick.id, silentMs: Math.round(silentMs) });
      local.reason = `it has not answered for ${Math.round(silentMs / 1000)} s`;
      this.#tell(local, {
        state: 'down',
        pid: processes.pid(local.brick.id),
        port: this.#knownPort(local),
        reason: local.reason,
      });
    }
  }

  #hangMs(local: LocalBrick): number {
    const options = this.#options.state.volumeById(local.volume)?.options;
    return Number(options?.['network.ping-timeout'] ?? PING_TIMEOUT_S) * 1000 * HANG_FRACTION;
  }

  #receive(local: LocalBrick, connection: BrickConnection, message: FromBrickMessage): void {
    const { clock, log } = this.#options;
    const silentMs = clock.now() - local.heardAt;
    local.heardAt = clock.now();
    switch (message.message) {
      case 'state': {
        const { state, reason, port, socket } = required(message.state, 'state');
        if (state === 'serving') {
          local.serving = { port, socket };
          local.reason = '';
          this.#announceUp(local);
          this.#grant(local, clock.now());
        } else if (state === 'failed') {
          local.reason = reason;
          log.error('a brick cannot serve', { brick: local.brick.id, path: local.brick.path, reason });
          this.#tell(local, { state: 'down', pid: 0, port: this.#knownPort(local), reason });
        } else if (state === 'stopping') {
          log.info('a brick is stopping', { brick: local.brick.id });
        }
        break;
      }
      case 'heartbeat': {
        const id = message.heartbeat?.leaseId ?? 0;
        if (id !== 0) local.fenceAnswers.get(id)?.();
        if (silentMs > LEASE_SILENCE_MS)
          log.info('a brick answers again', { brick: local.brick.id, silentMs: Math.round(silentMs) });
        if (local.serving !== undefined && local.wish?.state === 'down') {
          local.reason = '';
          this.#announceUp(local);
        }
        break;
      }
      case 'change':
        void this.#change(local, connection, required(message.change, 'change'));
        break;
      case 'status': {
        const { id, status } = required(message.status, 'status');
        this.#statusAnswers.get(id)?.finish(status ?? undefined);
        break;
      }
      default:
        break;
    }
  }

  async #change(
    local: LocalBrick,
    connection: BrickConnection,
    message: NonNullable<FromBrickMessage['change']>,
  ): Promise<void> {
    const { id, epoch } = message;
    try {
      const view = await this.#options
        .views()
        .change(local.volume, epoch, required(message.change, 'change') as ViewChange, local.brick.id);
      connection.send({ changed: { id, view, lost: '' } });
    } catch (error) {
      if (!(error instanceof LostError))
        this.#options.log.error('a change of the view failed', { error, brick: local.brick.id });
      connection.send({ changed: { id, view: null, lost: error instanceof Error ? error.message : String(error) } });
    }
  }

  #announceUp(local: LocalBrick): void {
    const port = local.serving?.port ?? 0;
    this.#tell(local, { state: 'up', pid: this.#options.processes.pid(local.brick.id), port, reason: '' });
  }

  #knownPort(local: LocalBrick): number {
    return local.wish?.port ?? this.#options.state.brickProcess(local.brick.id)?.value.port ?? 0;
  }

  /** Writes it to the cluster store, in order, until it stands there. */
  #tell(local: LocalBrick, wish: NonNullable<LocalBrick['wish']>): void {
    local.wish = wish;
    if (!local.telling) void this.#tellLoop(local);
  }

  async #tellLoop(local: LocalBrick): Promise<void> {
    const { store, node, log } = this.#options;
    local.telling = true;
    try {
      while (local.wish !== undefined && JSON.stringify(local.wish) !== local.told) {
        const { wish } = local;
        try {
          await store.commit(
            [],
            [{ key: keys.brick(local.brick.id), value: encode({ node, volume: local.volume, ...wish }) }],
          );
          local.told = JSON.stringify(wish);
        } catch (error) {
          if (!(error instanceof LostError)) throw error;
          log.debug('the cluster store does not answer: the state of a brick is told again', {
            brick: local.brick.id,
            reason: error.message,
          });
          if (this.#stopped) return;
          await this.#sleep(TELL_RETRY_MS);
        }
      }
    } catch (error) {
      log.error('the state of a brick could not be told', { brick: local.brick.id, error });
    } finally {
      local.telling = false;
    }
  }

  #sendConfig(local: LocalBrick): void {
    const volume = this.#options.state.volumeById(local.volume);
    if (local.connection === undefined || volume === undefined) return;
    const config = {
      spec: specToMessage(this.#options.specOf(volume)),
      brick: local.brick.id,
      node: this.#options.node,
      listenHost: this.#options.listenHost,
      port: this.#knownPort(local),
      socket: this.#options.socketOf(local.brick.id),
    };
    const text = JSON.stringify(config);
    if (text === local.configSent) return;
    local.configSent = text;
    local.connection.send({ config });
  }

  #pushViews(): void {
    for (const local of this.#bricks.values()) this.#sendView(local);
  }

  #sendView(local: LocalBrick): void {
    const view = this.#options.state.view(local.volume)?.value ?? EMPTY_VIEW;
    if (local.connection === undefined || view.epoch === local.viewSent) return;
    local.viewSent = view.epoch;
    local.connection.send({ view });
    this.#grant(local, this.#options.clock.now());
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.#options.clock.after(ms, resolve));
  }
}

function newLocal(volume: string, brick: BrickRecord, now: number): LocalBrick {
  return {
    volume,
    brick,
    wanted: false,
    connection: undefined,
    heardAt: now,
    serving: undefined,
    leaseUntil: 0,
    fencedEpoch: 0,
    fenceAnswers: new Map(),
    spawnedAt: 0,
    spawns: 0,
    restartAt: 0,
    pauseMs: RESTART_MS_MIN,
    stopAskedAt: undefined,
    wish: undefined,
    told: '',
    telling: false,
    reason: '',
    configSent: '',
    viewSent: -1,
    running: false,
  };
}
