/**
 * A replica set in one process: bricks that crash and return, a view authority that behaves like the gluonds over a cluster store, and
 * clients that retry until they are answered.
 */
import { FsError, LostError } from '../../src/base/errno.js';
import { hex, type Gfid } from '../../src/base/ids.js';
import type { Channel } from '../../src/env/channel.js';
import { silentLog, type Log } from '../../src/env/log.js';
import type { Args, OpName, Result } from '../../src/fops/ops.js';
import { OPS } from '../../src/fops/ops.js';
import { EMPTY_VIEW, type BrickId, type View } from '../../src/fops/view.js';
import { Replica } from '../../src/replica/replica.js';
import { nextView, type ViewChange } from '../../src/replica/view.js';
import type { HeldLock, Message } from '../../src/wire/messages.js';
import { MemoryJournalDisk, MemoryStore } from './memory-store.js';
import { makeLink, SeededRandom, type Party, type World } from './world.js';

const LEASE_MS = 3000;
const RENEW_MS = 500;
/** The authority takes a brick that it does not hear for dead after this; by then its serving lease is over. */
const DEAD_MS = LEASE_MS + 500;
const CHANGE_MS = 5000;
const PING_MS = 1000;
/** The name of the cluster store in cuts. */
export const STORE = 'store';

export class SimBrick implements Party {
  readonly id: BrickId;
  readonly name: string;
  stopped = false;
  wallErrorMs = 0;
  /** When the authority heard of this brick last. */
  heardAt = 0;
  readonly store = new MemoryStore();
  readonly disk: MemoryJournalDisk;
  readonly cluster: SimCluster;
  replica: Replica | undefined;
  alive = false;
  /** Counts starts, so that callbacks of a process that ended find nobody. */
  incarnation = 0;
  bootId = 'boot0';
  #channels = new Set<{ vanish(): void }>();

  constructor(cluster: SimCluster, id: BrickId) {
    this.cluster = cluster;
    this.id = id;
    this.name = id.slice(-1);
    this.disk = new MemoryJournalDisk({ formatVersion: 1, volumeId: '', brickId: id, checkpoint: 0, base: 0, sealedEpoch: 0, bootId: '', incomplete: false });
  }

  start(): void {
    const { cluster } = this;
    const incarnation = ++this.incarnation;
    this.alive = true;
    const alive = (): boolean => this.alive && this.incarnation === incarnation;
    this.replica = new Replica({
      brick: this.id,
      bricks: cluster.brickIds,
      store: this.store,
      journalDisk: this.disk,
      bootId: this.bootId,
      clock: cluster.world.clock(alive, this, () => this.wallErrorMs),
      random: new SeededRandom(cluster.world.random.next()),
      log: cluster.log.child({ node: this.id.slice(-1), incarnation }),
      authority: { change: (epoch, change) => cluster.change(this, epoch, change, alive) },
      dial: (brick) => cluster.dialBrick(this, brick, alive),
      pingTimeoutMs: () => 10_000,
      giveBack: () => undefined,
    });
    cluster.world.at(5, () => {
      if (alive()) cluster.deliverView(this);
    });
    const renew = (): void => {
      if (!alive()) return;
      // The gluond of the node renews while the store hears it and the process answers; a stopped process does not read the renewal.
      if (!cluster.cutOff(this) && !this.stopped) {
        this.heardAt = cluster.world.now;
        this.replica?.renewLease(LEASE_MS);
      }
      cluster.world.at(RENEW_MS, renew);
    };
    renew();
  }

  track(channel: { vanish(): void }): void {
    this.#channels.add(channel);
  }

  /** kill -9, or with `power` also the loss of what was not synced. */
  crash(power: boolean): void {
    if (!this.alive) return;
    this.alive = false;
    this.stopped = false;
    this.replica = undefined;
    for (const channel of this.#channels) channel.vanish();
    this.#channels.clear();
    if (power) {
      this.store.crash();
      this.bootId = `boot${this.incarnation}`;
    }
    this.cluster.brickDied(this);
  }
}

export class SimCluster {
  readonly world: World;
  readonly log: Log;
  readonly bricks: SimBrick[];
  readonly brickIds: BrickId[];
  view: View = EMPTY_VIEW;

  constructor(world: World, count: number, log: Log = silentLog) {
    this.world = world;
    this.log = log;
    this.brickIds = Array.from({ length: count }, (_, i) => `${i + 1}`.padStart(32, '0'));
    this.bricks = this.brickIds.map((id) => new SimBrick(this, id));
  }

  start(): void {
    for (const brick of this.bricks) brick.start();
    this.world.at(3, () => this.#apply({ kind: 'form' }));
  }

  brick(id: BrickId): SimBrick {
    return this.bricks.find((brick) => brick.id === id) as SimBrick;
  }

  cutOff(brick: SimBrick): boolean {
    return this.world.isCut(brick.name, STORE) || this.world.isCut(STORE, brick.name);
  }

  /** A request to the authority: the answer takes a moment, or does not come. */
  change(brick: SimBrick, epoch: number, change: ViewChange, alive: () => boolean): Promise<View> {
    return new Promise((resolve, reject) => {
      this.world.at(1 + this.world.random.below(5), () => {
        if (!this.world.isCut(brick.name, STORE) && epoch === this.view.epoch) this.#apply(change);
        const lost = this.world.isCut(brick.name, STORE) || this.world.isCut(STORE, brick.name);
        this.world.at(lost ? CHANGE_MS : 1, () => {
          if (!alive()) return;
          if (lost) reject(new LostError('the cluster store does not answer'));
          else resolve(this.view);
        });
      });
    });
  }

  #apply(change: ViewChange): void {
    const answer = nextView(this.view, this.brickIds, change);
    if ('refused' in answer) return;
    this.view = answer.view;
    for (const brick of this.bricks) this.world.at(1 + this.world.random.below(10), () => this.deliverView(brick));
  }

  deliverView(brick: SimBrick): void {
    if (brick.alive && !brick.stopped && !this.cutOff(brick) && this.view.epoch > 0) brick.replica?.setView(this.view);
  }

  /** What the gluonds do when a brick process ends. */
  brickDied(brick: SimBrick): void {
    this.world.at(5 + this.world.random.below(20), () => this.#settleDeath(brick));
  }

  #settleDeath(brick: SimBrick): void {
    const { view } = this;
    if (view.primary === brick.id) {
      const successors = view.inSync.filter((id) => id !== brick.id && this.#heard(this.brick(id)));
      const successor = successors[0];
      if (successor !== undefined) this.#apply({ kind: 'succeed', successor });
      else this.world.at(50, () => this.#settlePrimary());
    } else if (view.inSync.includes(brick.id)) {
      this.#apply({ kind: 'drop', brick: brick.id });
    } else if (view.catchingUp.includes(brick.id) && !this.#heard(brick)) this.#apply({ kind: 'abandon', brick: brick.id });
  }

  /** The primary is gone and nobody could follow: the first member that lives takes the role. */
  #settlePrimary(): void {
    const { view } = this;
    const primary = this.brick(view.primary);
    if (this.#heard(primary)) return;
    this.#settleDeath(primary);
  }

  /** The process runs, and was heard lately: otherwise its serving lease is over. */
  #heard(brick: SimBrick): boolean {
    return brick.alive && this.world.now - brick.heardAt < DEAD_MS;
  }

  /** Called from time to time, like the gluonds' watches. */
  tend(): void {
    const { view } = this;
    if (view.epoch === 0) return;
    if (!this.#heard(this.brick(view.primary))) this.#settlePrimary();
    for (const id of [...view.inSync, ...view.catchingUp]) if (id !== this.view.primary && !this.#heard(this.brick(id))) this.#settleDeath(this.brick(id));
    for (const brick of this.bricks) this.deliverView(brick);
  }

  dialBrick(from: SimBrick, to: BrickId, alive: () => boolean): Promise<Channel<Message>> {
    return new Promise((resolve, reject) => {
      this.world.at(0.2, () => {
        const target = this.brick(to);
        if (!alive()) return;
        if (this.world.isCut(from.name, target.name) || this.world.isCut(target.name, from.name) || target.stopped) {
          this.world.at(1000, () => alive() && reject(new LostError('no connection within 1000 ms')));
          return;
        }
        if (!target.alive || target.replica === undefined) {
          reject(new LostError('connection refused'));
          return;
        }
        const link = makeLink<Message>(this.world, from, target);
        from.track(link.caller);
        target.track(link.callee);
        target.replica.attachPeer(from.id, link.callee);
        resolve(link.caller);
      });
    });
  }

  dialClient(client: Party & { session: string }, to: BrickId): Channel<Message> | undefined {
    const target = this.brick(to);
    if (!target.alive || target.stopped || target.replica === undefined) return undefined;
    if (this.world.isCut(client.name, target.name) || this.world.isCut(target.name, client.name)) return undefined;
    const { session } = client;
    const link = makeLink<Message>(this.world, client, target);
    target.track(link.callee);
    target.replica.attachClient(session, link.callee);
    return link.caller;
  }
}

interface Waiting {
  message: Message & { kind: 'request' };
  resolve(result: never): void;
  reject(error: Error): void;
}

/** A client that asks until it is answered: the same request number until then. */
export class SimClient implements Party {
  session: string;
  readonly name: string;
  stopped = false;
  /** How often this client's session was revoked. */
  revocations = 0;
  readonly #cluster: SimCluster;
  #begun = false;
  /** What this client knows; it may be old. */
  #view: View = EMPTY_VIEW;
  readonly #waiting = new Map<number, Waiting>();
  readonly opens = new Map<Gfid, number>();
  /** What it says that it holds when it claims. */
  readonly locks: HeldLock[] = [];
  #channel: Channel<Message> | undefined;
  #epoch = 0;
  #nextId = 1;
  #nextNumber = 1;
  #redialing = false;

  constructor(cluster: SimCluster, name: string) {
    this.name = name;
    this.#cluster = cluster;
    this.session = hex(cluster.world.random.bytes(16));
  }

  get pending(): number {
    return this.#waiting.size;
  }

  call<K extends OpName>(op: K, args: Args<K>): Promise<Result<K>> {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      const requestNumber = OPS[op].mutation ? this.#nextNumber++ : 0;
      const message = { kind: 'request', id, epoch: 0, requestNumber, acknowledged: this.#acknowledged(requestNumber), op, args } as Message & { kind: 'request' };
      this.#waiting.set(id, { message, resolve: resolve as (result: never) => void, reject });
      if (this.#channel === undefined) this.#redial(0);
      else if (this.#epoch > 0) this.#channel.send({ ...message, epoch: this.#epoch });
    });
  }

  #acknowledged(upTo: number): number {
    let lowest = upTo === 0 ? this.#nextNumber : upTo;
    for (const { message } of this.#waiting.values()) if (message.requestNumber > 0) lowest = Math.min(lowest, message.requestNumber);
    return lowest - 1;
  }

  #redial(delayMs: number): void {
    if (this.#redialing) return;
    this.#redialing = true;
    this.#channel = undefined;
    this.#epoch = 0;
    this.#cluster.world.at(delayMs, () => {
      this.#redialing = false;
      this.#look();
      const view = this.#view;
      const channel = view.epoch === 0 ? undefined : this.#cluster.dialClient(this, view.primary);
      if (channel === undefined) {
        this.#redial(20);
        return;
      }
      this.#channel = channel;
      channel.onMessage = (message) => this.#receive(channel, message);
      channel.onClose = () => {
        if (this.#channel === channel) this.#redial(5);
      };
      channel.send({ kind: 'reclaim', id: 0, epoch: view.epoch, begins: !this.#begun, opens: [...this.opens].flatMap(([gfid, count]) => Array(count).fill(gfid) as Gfid[]), locks: this.locks });
    });
  }

  /** While the connection lasts. */
  #ping(channel: Channel<Message>): void {
    if (this.#channel !== channel || channel.closed) return;
    if (!this.stopped) channel.send({ kind: 'ping', id: 0 });
    this.#cluster.world.at(PING_MS, () => this.#ping(channel));
  }

  /** Asks the store for the view, when it can be reached. */
  #look(): void {
    if (!this.#cluster.world.isCut(this.name, STORE)) this.#view = this.#cluster.view;
  }

  #receive(channel: Channel<Message>, message: Message): void {
    if (this.#channel !== channel) return;
    if (message.kind === 'reclaimed') {
      this.#epoch = this.#view.epoch;
      this.#begun = true;
      this.#ping(channel);
      for (const { message: request } of this.#waiting.values()) channel.send({ ...request, epoch: this.#epoch });
    } else if (message.kind === 'redirect' || message.kind === 'newView') {
      if (message.view.epoch > this.#view.epoch) this.#view = message.view;
      channel.onClose = () => undefined;
      channel.close('another view');
      this.#redial(message.kind === 'redirect' ? 10 : 1);
    } else if (message.kind === 'fenced') {
      this.session = hex(this.#cluster.world.random.bytes(16));
      this.#begun = false;
      this.opens.clear();
      this.revocations++;
      for (const [id, waiting] of [...this.#waiting]) {
        if (waiting.message.requestNumber === 0) continue;
        this.#waiting.delete(id);
        waiting.reject(new LostError('the session was revoked'));
      }
      channel.onClose = () => undefined;
      this.#redial(1);
    } else if (message.kind === 'reply') {
      const waiting = this.#waiting.get(message.id);
      if (waiting === undefined) return;
      this.#waiting.delete(message.id);
      this.#cluster.log.debug('answered', { at: this.#cluster.world.now, session: this.session, op: message.op, number: waiting.message.requestNumber, errno: message.errno, args: waiting.message.args, result: message.result });
      if (message.errno !== 0) waiting.reject(new FsError(message.errno, message.op));
      else waiting.resolve(message.result as never);
    }
  }
}

