/**
 * The client of one volume: implements `Fops` over the bricks.
 *
 *   waiting ──view──▶ connecting ──handshake──▶ reclaiming ──reclaimed──▶ ready
 *      ▲                                                                    │
 *      └──────────── connection lost, another primary, redirect ────────────┘
 *
 * Every request is sent again under its own number until it is answered, whatever happens to connections, bricks and views in between: the
 * bricks answer a repeated number as they did the first time. With no majority, requests wait (or fail after `frameTimeoutMs`).
 */
import { Errno, FsError, LostError } from '../base/errno.js';
import { hex, NAME_BYTES_MAX, type Gfid, type Name } from '../base/ids.js';
import type { Cancel, Clock, Random } from '../env/clock.js';
import { OWN_PAYLOAD_BYTES, type Address, type Channel, type Network } from '../env/channel.js';
import type { Log } from '../env/log.js';
import type { Attr, Fields, Kind } from '../fops/fields.js';
import type { HeldLock } from '../fops/held-lock.js';
import { OP_NAMES, OPS, type Args, type Fops, type OpName, type Result } from '../fops/ops.js';
import { EMPTY_VIEW, type BrickId, type View } from '../fops/view.js';
import type { BrickSpec, VolumeSpec } from '../fops/volume.js';
import { dialBrick, dialThrough } from '../wire/dial.js';
import type { Message, MessageOf } from '../wire/messages.js';
import { Acknowledgements } from './acknowledgements.js';
import { DirectWrites } from './direct-writes.js';
import { HeldState } from './held-state.js';
import { LastKnown } from './last-known.js';
import { LeaseCache } from './lease-cache.js';
import { LocalLocks, type GivenLocks } from './local-locks.js';
import { LocalReads, type OpenLocalCopy } from './local-reads.js';
import { Route } from './route.js';
import { Unsynced } from './unsynced.js';
import { WaitingNotice } from './waiting-notice.js';

export interface ClientEnv {
  clock: Clock;
  random: Random;
  network: Network<Message>;
  log: Log;
}

export interface ClientOptions {
  /** 32 hex digits; random when absent. */
  session?: string;
  /** The session was confirmed by the bricks before (`onSession`): this client takes it over. */
  begun?: boolean;
  /** Inodes that are open in the session that is taken over, once for each open. */
  opens?: readonly Gfid[];
  /** Numbers of the client's own requests that are mutations, where the caller of `call` gives numbers: from the same series. */
  ownNumber?: () => number;
  /** File locks that the process before gave, and that no brick has confirmed: see `onGiven`. */
  given?: readonly GivenLocks[];
  /** File locks that were given here, all that no brick has confirmed. Called before anybody hears of one: a process that takes the session over must be told of them. */
  onGiven?: (given: readonly GivenLocks[]) => void;
  /** After a takeover, requests of before may come again for so long: their answers are kept at the bricks. */
  holdAcknowledgedMs?: number;
  /** Requests fail with ETIMEDOUT after so long without an answer, 0: they wait. Absent: as the volume's network.frame-timeout says at the moment. */
  frameTimeoutMs?: number;
  /** A session was confirmed by the bricks: from now on requests are sent under it. */
  onBegun?: () => void;
  /**
   * The session was revoked, and `session` is its successor: what was open and locked is lost. Called before the requests that were under way fail, so that whoever
   * hears of a failure finds it known.
   */
  onRevoked?: (session: string) => void;
  /** All bricks lost their power at once: what this client changed in these inodes, and nobody synced, may be gone. */
  onLoss?: (gfids: ReadonlySet<Gfid> | 'all') => void;
  /** What the leases on these inodes allowed to keep elsewhere (the kernel) must be gone when the promise resolves. */
  invalidate?: (gfids: readonly Gfid[]) => Promise<void>;
  /** A copy of data that was read, for the caller to keep. */
  copyOf?: (data: Uint8Array) => Uint8Array;
  /** Opens the files of a brick on this node, to be read under leases. */
  openLocalCopy?: OpenLocalCopy;
}

const DIAL_MS = 2000;
/** Nothing heard for this part of the ping timeout: another way is looked for, while the session is not silent for the primary yet. */
const SILENCE_PART = 0.4;
/** The same after several that ended so: short of the time after which others take this client for lost. */
const SILENCE_PART_MAX = 0.75;
/** A connection that ended when nothing had been heard for so long, while it was pinged eight times a second, was silent. */
const SILENT_MS = 1000;
const RETRY_MS_MIN = 10;
const RETRY_MS_MAX = 500;
const PING_MS = 125;
/** Longer than any lease lasts, and than a kernel believes what it was told under one. */
const OTHERS_LEASES_MS = 2000;
const TICKS_PER_NOTICE = 8;
const LAST_KNOWN_MS = 500;
const PING_TIMEOUT_S_DEFAULT = 10;
/** Requests under way, and data they carry or ask for: the rest waits here. */
const IN_FLIGHT_MAX = 1024;
const IN_FLIGHT_BYTES_MAX = 64 << 20;

interface Pending {
  id: number;
  op: OpName;
  args: unknown;
  requestNumber: number;
  /** On the present connection, since the last reclaim. */
  sent: boolean;
  /** At any time, on any connection: it may have been carried out. */
  everSent: boolean;
  /** When it was asked for. */
  since: number;
  /** Data that it carries or asks for. */
  bytes: number;
  /** A lock that may wait for ever takes no place among the requests under way: what it waits for must get through. */
  counts: boolean;
  /** File locks that were given here, under a lock lease: nobody waits for the answer. */
  given: boolean;
  /** It is asked for until there is an answer, whatever becomes of its caller: what was given here, and what a closed file leaves behind. */
  lasting: boolean;
  /** Its caller was told something else: it may have been carried out, so it is asked for until that is known. */
  left: boolean;
  /** It was asked for on an earlier connection too. */
  again: boolean;
  /** Of an fsync, see Unsynced. */
  mark: number;
  resolve(result: unknown): void;
  reject(error: Error): void;
}

export class VolumeClient {
  readonly fops: Fops;
  readonly cache: LeaseCache;
  readonly #env: ClientEnv;
  #log: Log;
  readonly #frameTimeoutMs: number | undefined;
  readonly #lastKnown = new LastKnown();
  readonly #notice = new WaitingNotice();
  #ticks = 0;
  readonly #invalidate: (gfids: readonly Gfid[]) => Promise<void>;
  readonly #copyOf: (data: Uint8Array) => Uint8Array;
  readonly #onBegun: (() => void) | undefined;
  readonly #onRevoked: ((session: string) => void) | undefined;
  readonly #ownNumber: (() => number) | undefined;
  readonly #onLoss: ((gfids: ReadonlySet<Gfid> | 'all') => void) | undefined;
  #session: string;
  #begun: boolean;
  #held: HeldState;
  readonly #acknowledgements: Acknowledgements;
  readonly #localReads: LocalReads;
  readonly #direct: DirectWrites<Pending>;
  readonly #localLocks: LocalLocks;
  readonly #unsynced = new Unsynced();
  readonly #pending = new Map<number, Pending>();
  readonly #pings = new Map<number, number>();
  #spec: VolumeSpec | undefined;
  #view: View = EMPTY_VIEW;
  #channel: Channel<Message> | undefined;
  /** Epoch in which this client has reclaimed on `#channel`; 0: not ready. */
  #readyEpoch = 0;
  /** Number of the dial under way, 0 for none; an older one that ends late is ignored. */
  #dialing = 0;
  #dials = 0;
  #retryMs = RETRY_MS_MIN;
  readonly #route = new Route();
  #retry: Cancel = () => undefined;
  #nextId = 1;
  #nextNumber = 1;
  /** The connection on which it will be reclaimed again. */
  #reclaiming: Channel<Message> | undefined;
  #unsent = 0;
  #inFlight = 0;
  #inFlightBytes = 0;
  #lastHeard = 0;
  /** Called when the connection of now is lost. */
  readonly #onceLost: (() => void)[] = [];
  /** What the kernel believed of leases that are over is gone. */
  #unleased: Promise<unknown>;
  #closed = false;
  #tick: Cancel = () => undefined;

  constructor(env: ClientEnv, options: ClientOptions = {}) {
    this.#env = env;
    this.#session = options.session ?? hex(env.random.bytes(16));
    this.#begun = options.begun ?? false;
    this.#onBegun = options.onBegun;
    this.#onRevoked = options.onRevoked;
    this.#ownNumber = options.ownNumber;
    this.#onLoss = options.onLoss;
    this.#log = env.log.child({ session: this.#session });
    this.#frameTimeoutMs = options.frameTimeoutMs;
    this.#copyOf = options.copyOf ?? ((data): Uint8Array => Buffer.from(data));
    this.#invalidate = options.invalidate ?? ((): Promise<void> => Promise.resolve());
    this.#held = this.#newHeld(options.opens ?? []);
    this.#acknowledgements = new Acknowledgements(env.clock.now() + (options.holdAcknowledgedMs ?? 0));
    this.cache = new LeaseCache(() => env.clock.now());
    this.#localReads = new LocalReads(options.openLocalCopy, this.cache, () => env.clock.now());
    this.#direct = this.#newDirect();
    this.#localLocks = this.#newLocalLocks(options);
    this.#localLocks.resume(options.given ?? []);
    // What the process before this one told the kernel is not known.
    this.#unleased = this.#begun ? this.#reached(env.clock.now() + OTHERS_LEASES_MS) : Promise.resolve();
    this.fops = Object.fromEntries(OP_NAMES.map((op) => [op, (args: never, requestNumber?: number) => this.call(op, args, requestNumber)])) as unknown as Fops;
    this.#armTick();
  }

  /** Its identity at the bricks; another one after it was revoked. */
  get session(): string {
    return this.#session;
  }

  get view(): View {
    return this.#view;
  }

  /** Writes that went to all bricks under an exclusive lease. */
  get directWrites(): number {
    return this.#direct.made;
  }

  /** File locks that were given here, under lock leases. */
  get localLocks(): number {
    return this.#localLocks.given;
  }

  get connected(): boolean {
    return this.#readyEpoch > 0;
  }

  /** What the pool's management says of the volume; call it with every change. */
  update(spec: VolumeSpec, view: View): void {
    this.#spec = spec;
    if (!spec.started) this.#failAll(`volume ${spec.name} is stopped`);
    this.#learnView(view);
    if (this.#channel === undefined && this.#dialing === 0) this.#connect();
  }

  call<K extends OpName>(op: K, args: Args<K>, requestNumber?: number): Promise<Result<K>> {
    const wrong = argumentProblem(op, args) ?? this.#held.refusal(op, args);
    if (wrong !== undefined) return Promise.reject(wrong);
    if (!OPS[op].mutation) {
      try {
        const known = this.cache.answer(op, args);
        if (known !== undefined) return Promise.resolve(known as Result<K>);
      } catch (error) {
        return Promise.reject(error as Error);
      }
      if (op === 'getLock' && this.#mayGiveLocks) {
        const free = this.#localLocks.look(args as Args<'getLock'>);
        if (free !== undefined) return Promise.resolve(free as Result<K>);
      }
      if (op === 'read') return this.#read(args as Args<'read'>) as Promise<Result<K>>;
    } else {
      const done = this.#withoutAsking(op, args, requestNumber ?? 0);
      if (done !== undefined) return Promise.resolve(done as Result<K>);
    }
    const known = this.#lastKnown.of(op, args) as Result<K> | undefined;
    const asked = this.#ask(op, args, requestNumber);
    return known === undefined ? asked : this.#orLastKnown(asked, known);
  }

  async #readElsewhere(args: Args<'read'>, here: Promise<Uint8Array | undefined>): Promise<Result<'read'>> {
    const data = await here;
    return data === undefined ? this.#ask('read', args) : { data };
  }

  #read(args: Args<'read'>): Promise<Result<'read'>> {
    const data = this.#localReads.read(args);
    if (data instanceof Promise) return this.#readElsewhere(args, data);
    if (data !== undefined) return Promise.resolve({ data });
    // A lease comes with the attributes: the next read may be answered here.
    if (this.#localReads.lacksLease(args.gfid)) this.#ask('getattr', { gfid: args.gfid }).catch(() => undefined);
    return this.#ask('read', args);
  }

  /** The answer, or what was known last when the volume has said nothing for half a second. */
  #orLastKnown<T>(asked: Promise<T>, known: T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const { clock } = this.#env;
      let cancel: Cancel = () => undefined;
      const look = (): void => {
        if (this.#readyEpoch === 0 || clock.now() - this.#lastHeard >= LAST_KNOWN_MS) resolve(known);
        else cancel = clock.after(LAST_KNOWN_MS / 2, look);
      };
      cancel = clock.after(LAST_KNOWN_MS, look);
      const done = (): void => cancel();
      asked.then(resolve, reject).then(done, done);
    });
  }

  #ask<K extends OpName>(op: K, args: Args<K>, requestNumber?: number): Promise<Result<K>> {
    const given = op === 'setLock' && (args as Args<'setLock'>).granted !== undefined;
    const changesLocks = !given && (op === 'setLock' || op === 'dropLocks');
    const lasting = given || op === 'dropLocks' || op === 'release';
    // What was given before is told before. Who waits must not seem to stand in somebody's way with a lock that it gave up elsewhere.
    if (op === 'setLock' && (args as Args<'setLock'>).wait) this.#localLocks.flushAll();
    else if (changesLocks || op === 'getLock') this.#localLocks.flush((args as Args<'getLock'>).gfid);
    return new Promise<Result<K>>((resolve, reject) => {
      const stopped = this.#spec?.started === false;
      if (this.#closed || (stopped && !lasting)) {
        reject(new FsError(Errno.ENOTCONN, op, this.#closed ? 'the client is closed' : `volume ${this.#spec?.name ?? ''} is stopped`));
        return;
      }
      const number = OPS[op].mutation ? (requestNumber ?? this.#nextNumber++) : 0;
      if (number > 0) this.#acknowledgements.began(number, requestNumber !== undefined);
      const pending: Pending = {
        id: this.#nextId++, op, args, requestNumber: number, sent: false, everSent: false,
        since: this.#env.clock.now(),
        bytes: op === 'write' ? (args as Args<'write'>).data.byteLength : op === 'read' ? (args as Args<'read'>).size : 0,
        // What others wait for must get through: a lease is given back behind what was given under it.
        counts: !given && (op !== 'setLock' || !(args as Args<'setLock'>).wait),
        given,
        lasting,
        left: false,
        again: false,
        mark: this.#unsynced.mark(),
        resolve: resolve as (result: unknown) => void, reject,
      };
      this.#pending.set(pending.id, pending);
      if (number > 0) this.#localReads.began(pending.id, op, args);
      if (changesLocks) {
        this.#localLocks.asks((args as Args<'dropLocks'>).gfid);
        this.#held.asked(op, args);
      }
      this.#unsent++;
      if (this.#readyEpoch > 0 && this.#unsent === 1 && this.#hasRoom(pending)) this.#send(pending);
      else if (this.#readyEpoch > 0 && !pending.counts) this.#send(pending);
      // It is told when the volume is started again.
      if (stopped && !given) this.#letGo(pending, Errno.ENOTCONN, `volume ${this.#spec?.name ?? ''} is stopped`);
    });
  }

  /** Opens and closes under a lease. What this client is about to remove a name of is told first: the bricks must keep it while it is open. */
  #withoutAsking(op: OpName, args: unknown, requestNumber: number): unknown {
    switch (op) {
      case 'open': {
        const { gfid, truncate } = args as Args<'open'>;
        const attr = truncate ? undefined : this.cache.attr(gfid);
        if (attr === undefined) return undefined;
        this.#held.openLocally(gfid, requestNumber);
        return { attr };
      }
      case 'setLock':
        return this.#mayGiveLocks && this.#localLocks.give(args as Args<'setLock'>) ? {} : undefined;
      case 'dropLocks':
        return this.#mayGiveLocks && this.#localLocks.giveUp(args as Args<'dropLocks'>) ? {} : undefined;
      case 'release':
        return this.#held.closeLocally((args as Args<'release'>).gfid) ? {} : undefined;
      case 'unlink': {
        const { parent, name } = args as Args<'unlink'>;
        this.#tellBeforeRemoval(parent, name);
        return undefined;
      }
      case 'rename': {
        const { newParent, newName } = args as Args<'rename'>;
        this.#tellBeforeRemoval(newParent, newName);
        return undefined;
      }
      default:
        return undefined;
    }
  }

  /** What is told a primary soon is told in time. */
  get #mayGiveLocks(): boolean {
    return this.#readyEpoch > 0 && this.cache.live && !this.#closed && this.#spec?.started !== false;
  }

  #newLocalLocks({ onGiven, ownNumber }: ClientOptions): LocalLocks {
    return new LocalLocks({
      now: () => this.#env.clock.now(),
      after: (ms, callback) => this.#env.clock.after(ms, callback),
      held: () => this.#held,
      number: () => {
        const number = ownNumber?.() ?? this.#nextNumber++;
        this.#acknowledgements.began(number, ownNumber !== undefined);
        return number;
      },
      numberOver: (number) => this.#acknowledgements.settled(number),
      send: ({ number, locks }) => {
        const last = locks.at(-1);
        // It fails with the session, or with its inode.
        if (last !== undefined) this.#ask('setLock', { ...last, wait: false, granted: locks }, number).catch(() => undefined);
      },
      yielded: (gfid, lease) => {
        if (this.#readyEpoch === 0) return false;
        this.#channel?.send({ kind: 'yieldedLocks', gfid, lease });
        return true;
      },
      kept: onGiven ?? ((): void => undefined),
    });
  }

  #newHeld(opens: readonly Gfid[]): HeldState {
    return new HeldState(opens, (gfid) => this.#tellOpens([], [gfid]));
  }

  #tellBeforeRemoval(parent: Gfid, name: Name): void {
    const child = this.cache.child(parent, name);
    this.#tellOpens(this.#held.tell(typeof child === 'string' ? [child] : undefined), []);
  }

  /** Without a connection it is told with the next `reclaim`. */
  #tellOpens(held: Gfid[], closed: Gfid[]): void {
    if (held.length > 0 || closed.length > 0) this.#channel?.send({ kind: 'opens', whole: false, held, closed });
  }

  #tellAllOpens(): void {
    this.#channel?.send({ kind: 'opens', whole: true, held: this.#held.tellAll(), closed: [] });
  }

  /** Takes back a mutation that was not sent yet: it fails with EINTR and never happens. False when it may have been sent, and for what must happen. */
  withdraw(requestNumber: number): boolean {
    for (const pending of this.#pending.values()) {
      if (pending.requestNumber !== requestNumber || pending.everSent || pending.lasting) continue;
      this.#leave(pending);
      this.#localReads.ended(pending.id);
      this.#acknowledgements.settled(requestNumber);
      pending.reject(new FsError(Errno.EINTR, pending.op));
      return true;
    }
    return false;
  }

  /** Ends the session: its locks and opens go at once. What waits fails. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#tick();
    this.#retry();
    this.#localReads.forbid();
    this.#direct.close();
    this.#channel?.send({ kind: 'bye' });
    this.#channel?.close('the client is closed');
    this.#failAll('the client is closed');
  }

  // ---------------------------------------------------------------- connection

  #learnView(view: View): void {
    if (view.epoch <= this.#view.epoch) return;
    const before = this.#view;
    this.#view = view;
    this.#giveUpLeases();
    this.#localReads.forbid();
    if (this.#channel !== undefined) {
      if (before.primary === view.primary) this.#reclaim();
      else this.#drop('another brick is primary');
    }
    if (this.#channel === undefined && before.primary !== view.primary) {
      this.#retryMs = RETRY_MS_MIN;
      this.#route.reset();
      this.#connect();
    }
  }

  #primary(): BrickSpec | undefined {
    return this.#spec?.bricks.find((brick) => brick.id === this.#view.primary);
  }

  #connect(): void {
    this.#retry();
    const brick = this.#primary();
    if (this.#closed || brick === undefined || this.#spec === undefined || (brick.port === 0 && brick.socket === undefined)) return;
    const attempt = (this.#dialing = ++this.#dials);
    const spec = this.#spec;
    const ready = (channel: Channel<Message>, view: View, through?: BrickId): void => {
      if (attempt !== this.#dialing || this.#closed) {
        channel.close('not needed any more');
        return;
      }
      this.#dialing = 0;
      this.#route.connected(this.#env.clock.now(), through);
      this.#retryMs = RETRY_MS_MIN;
      this.#attach(channel, view);
    };
    const direct = (): Promise<void> => this.#dial(brick, spec, ready);
    const relayed = (): Promise<void> => this.#dialThroughOthers(brick, spec, ready);
    this.#reach(attempt, direct, relayed).catch(() => {
      if (attempt === this.#dialing) this.#again();
    });
  }

  /** By the way that is likelier to work, then by the other one. */
  async #reach(attempt: number, direct: () => Promise<void>, relayed: () => Promise<void>): Promise<void> {
    const { clock } = this.#env;
    const avoids = this.#route.avoidsDirect(clock.now());
    if (avoids && (await succeeds(relayed))) return;
    if (attempt !== this.#dialing) return;
    const began = clock.now();
    try {
      await direct();
    } catch (error) {
      if (attempt !== this.#dialing) return;
      this.#log.debug('the primary cannot be reached', { brick: this.#view.primary, error: String(error) });
      if (!this.#route.failed(clock.now() - began) || avoids) throw error;
      await relayed();
    }
  }

  /** By way of a brick that can reach the primary where this client cannot. */
  async #dialThroughOthers(primary: BrickSpec, spec: VolumeSpec, ready: (channel: Channel<Message>, view: View, through: BrickId) => void): Promise<void> {
    const options = { role: 'client' as const, id: this.#session, brick: primary.id, volume: spec.id, secret: spec.secret };
    const others = this.#route.ordered(spec.bricks.filter(({ id }) => id !== primary.id && this.#view.inSync.includes(id)));
    let last: unknown = new LostError('no other brick');
    for (const other of others) {
      const reached = (channel: Channel<Message>, view: View): void => {
        this.#log.info('the primary is reached through another brick', { brick: primary.id, through: other.id });
        ready(channel, view, other.id);
      };
      try {
        await atFirst(other, (address) => dialThrough(this.#env, address, other.id, DIAL_MS, options, reached, (view) => this.#learnView(view)));
        return;
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  /** Connected through another brick: as soon as the primary can be reached without, it is. */
  #lookForDirectWay(now: number): void {
    const brick = this.#primary();
    if (brick === undefined || this.#spec === undefined || !this.#route.looksForDirect(now)) return;
    const id = hex(this.#env.random.bytes(16));
    const found = (probe: Channel<Message>): void => {
      probe.close('it can be reached');
      if (this.#route.relayed) this.#drop('the primary can be reached without another brick');
    };
    this.#dial(brick, this.#spec, found, id).catch(() => undefined);
  }

  #again(): void {
    this.#dialing = 0;
    if (this.#closed) return;
    this.#retry = this.#env.clock.after(this.#retryMs, () => this.#connect());
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS_MAX);
  }

  async #dial(brick: BrickSpec, spec: VolumeSpec, ready: (channel: Channel<Message>, view: View) => void, id = this.#session): Promise<void> {
    const options = { role: 'client' as const, id, brick: brick.id, volume: spec.id, secret: spec.secret };
    await atFirst(brick, (address) => dialBrick(this.#env, address, DIAL_MS, options, ready));
  }

  #attach(channel: Channel<Message>, view: View): void {
    this.#channel = channel;
    this.#lastHeard = this.#env.clock.now();
    this.#pings.clear();
    channel.onMessage = (message) => {
      if (this.#channel === channel) this.#receive(channel, message);
    };
    channel.onClose = (reason) => {
      if (this.#channel === channel) this.#lost(reason);
    };
    if (channel.closed) {
      this.#lost('closed at once');
      return;
    }
    this.#log.debug('connected', { brick: this.#view.primary, epoch: this.#view.epoch });
    if (view.epoch > this.#view.epoch) this.#learnView(view);
    else this.#reclaim();
  }

  #drop(reason: string): void {
    const channel = this.#channel;
    this.#lost(reason);
    channel?.close(reason);
  }

  #lost(reason: string): void {
    const now = this.#env.clock.now();
    // Before the volume serves at all nobody says anything.
    if (this.#begun && now - this.#lastHeard >= SILENT_MS) this.#route.wasSilent(now);
    this.#channel = undefined;
    for (const done of this.#onceLost.splice(0)) done();
    this.#readyEpoch = 0;
    this.#giveUpLeases();
    this.#localReads.forbid();
    this.#unsendAll();
    if (this.#closed) return;
    this.#log.debug('connection lost', { reason });
    // At once where the view already names another primary, otherwise soon: the brick may be gone for good.
    this.#again();
  }

  /** Resolves when nothing that was sent on this connection is on its way out of this process any more. */
  #connectionOver(): Promise<void> {
    return new Promise((resolve) => this.#onceLost.push(resolve));
  }

  /** Tells the primary what this session has; then everything that waits is sent. */
  #reclaim(): void {
    this.#readyEpoch = 0;
    this.#giveUpLeases();
    // Everything is asked again: a brick that became primary anew forgot what was waiting for it, one that did not knows the numbers.
    this.#unsendAll();
    for (const pending of this.#pending.values()) {
      if (!pending.given) continue;
      const args = pending.args as Args<'setLock'>;
      pending.args = { ...args, granted: this.#localLocks.upToNow(args.gfid, pending.requestNumber) };
    }
    this.#channel?.send({ kind: 'reclaim', id: this.#view.epoch, epoch: this.#view.epoch, begins: !this.#begun, opens: this.#held.opens(), locks: this.#claims() });
    this.#tellAllOpens();
    this.#tellUnleased();
  }

  /**
   * The locks of this session, in the order in which a new primary sets them, one after the other: one that was given up because another program has it
   * now goes after that one's.
   */
  #claims(): HeldLock[] {
    const held = this.#held.locks();
    const heldAgain = ({ gfid, owner, kind, start, end }: HeldLock): boolean =>
      held.some((lock) => lock.gfid === gfid && lock.owner === owner && lock.kind === kind && lock.start <= end && start <= lock.end);
    const givenUp = this.#localLocks.givenUp();
    return [...givenUp.filter(heldAgain), ...held, ...givenUp.filter((lock) => !heldAgain(lock))];
  }

  /** Nothing is answered under the leases that there were. What the kernel believes of them is taken back, or waited for. */
  #giveUpLeases(): void {
    this.#localLocks.end();
    const { gfids, otherwiseUntil, until } = this.cache.clear();
    const takenBack = gfids.length === 0 ? undefined : this.#invalidate(gfids).catch(() => this.#reached(until));
    this.#unleased = Promise.all([this.#unleased, takenBack, this.#reached(otherwiseUntil)]);
  }

  /** Resolves when it is so late, in monotonic milliseconds. */
  #reached(at: number): Promise<void> {
    const { clock } = this.#env;
    const ms = at - clock.now();
    return ms <= 0 ? Promise.resolve() : new Promise((resolve) => void clock.after(ms, resolve));
  }

  /** A primary that is new waits for it before it makes changes. */
  #tellUnleased(): void {
    const channel = this.#channel;
    const { epoch } = this.#view;
    void this.#unleased.then(() => {
      if (this.#channel === channel && this.#view.epoch === epoch) channel?.send({ kind: 'unleased', epoch });
    });
  }

  // ---------------------------------------------------------------- messages

  #receive(channel: Channel<Message>, message: Message): void {
    // To be sent away, and let in to be sent away again, is no word of a primary that serves: others may know who does.
    if (message.kind !== 'redirect' && message.kind !== 'reclaimed') this.#lastHeard = this.#env.clock.now();
    switch (message.kind) {
      case 'reply':
        this.#replied(message);
        return;
      case 'pong': {
        const sentAt = this.#pings.get(message.id);
        this.#pings.delete(message.id);
        this.#unsynced.heard(message.epoch, message.synced);
        // While it held no lease, a name may have been removed of what it has open.
        if (sentAt === undefined || message.epoch !== this.#readyEpoch) return;
        if (this.cache.extend(sentAt + message.leaseMs)) {
          this.#localLocks.end();
          this.#localLocks.ready();
          this.#tellAllOpens();
        }
        this.#localReads.allow(this.#spec, message.equal);
        return;
      }
      case 'recall':
        this.#recall(channel, message);
        return;
      case 'exclusive':
        if (this.#readyEpoch > 0) this.#direct.begin(message);
        return;
      case 'yield':
        this.#direct.yield(message.lease);
        return;
      case 'lockLease':
        this.#localLocks.begin(message);
        if (this.#readyEpoch === 0) this.#localLocks.end();
        return;
      case 'othersLocks':
        this.#localLocks.othersLetGo(message);
        return;
      case 'recallLocks':
        this.#localLocks.recall(message.gfid, message.lease);
        return;
      case 'reclaimed':
        if (message.id !== this.#view.epoch) return;
        this.#readyEpoch = this.#view.epoch;
        this.#learnLosses(message.losses);
        if (!this.#begun) {
          this.#begun = true;
          this.#onBegun?.();
        }
        this.#ping();
        this.#sendAll();
        this.#localLocks.ready();
        return;
      case 'redirect':
        this.#redirected(message);
        return;
      case 'newView':
        this.#learnView(message.view);
        return;
      case 'fenced':
        this.#revoked();
        return;
      default:
        this.#drop(`unexpected ${message.kind} from a brick`);
    }
  }

  #replied(message: MessageOf<'reply'>): void {
    if (message.op === 'write' && this.#direct.answered(this.#view.primary, message)) return;
    this.#localReads.ended(message.id);
    const pending = this.#pending.get(message.id);
    // An answer to a request that was sent twice, or a brick that makes answers up.
    if (pending === undefined || pending.op !== message.op) return;
    const { attr } = (message.result ?? {}) as { attr?: Attr };
    if (attr !== undefined) this.#direct.saw(attr);
    this.#leave(pending);
    const { op, args, requestNumber } = pending;
    if (requestNumber > 0) this.#acknowledgements.settled(requestNumber);
    this.cache.learn(op, args, message.errno, message.result, message.lease, pending.again);
    if (message.errno === 0 && isTooLong(op, args, message.result)) {
      pending.reject(new FsError(Errno.EIO, op, 'the brick answered with more than was asked for'));
    } else if (message.errno === 0 && op === 'fsync' && !this.#unsynced.synced((args as Args<'fsync'>).gfid, pending.mark)) {
      pending.reject(new FsError(Errno.EIO, op, 'all bricks lost their power since, and what was not synced'));
    } else if (message.errno === 0) {
      ownResult(message, this.#copyOf);
      this.#lastKnown.learn(op, args, message.result);
      if (requestNumber > 0) this.#noteChange(op, args, message.result);
      if (requestNumber > 0 && !pending.given) this.#held.settled(op, args, message.result, requestNumber);
      pending.resolve(message.result);
      if (pending.left) this.#undoOpen(op, message.result);
    } else pending.reject(new FsError(message.errno, op));
    if (this.#unsent > 0 && this.#readyEpoch > 0) this.#sendAll();
  }

  #noteChange(op: OpName, args: unknown, result: unknown): void {
    const { newParent, newName } = args as Partial<Args<'rename'>>;
    const moved = op === 'rename' && newParent !== undefined && newName !== undefined ? this.cache.child(newParent, newName) : undefined;
    this.#unsynced.changed(op, args, result, moved ?? undefined);
  }

  /** Who asked for the open was told that it failed, and will never close it. */
  #undoOpen(op: OpName, result: unknown): void {
    if (op !== 'open' && op !== 'create' && op !== 'tmpfile') return;
    const { gfid } = (result as Result<'open'>).attr;
    this.#ask('release', { gfid }, this.#ownNumber?.()).catch(() => undefined);
  }

  /**
   * The bricks carry out nothing more under this session. Changes that were asked for fail, whether or not they were sent: what they rely on (open files, locks) is
   * gone. Reads, and what comes from now on, go on under a session of their own.
   */
  #revoked(): void {
    this.#localReads.endAll();
    this.#session = hex(this.#env.random.bytes(16));
    this.#begun = false;
    this.#held = this.#newHeld([]);
    this.#localLocks.drop();
    this.#drop('the session was revoked');
    this.#log.error('this client was silent for too long: others went on without it, its open files and locks are lost', { successor: this.#session });
    this.#log = this.#env.log.child({ session: this.#session });
    this.#onRevoked?.(this.#session);
    for (const pending of [...this.#pending.values()]) {
      if (pending.requestNumber === 0) continue;
      this.#remove(pending);
      pending.reject(unanswered(pending, Errno.EIO, 'the session was revoked'));
    }
  }

  #learnLosses(losses: number): void {
    const concerned = this.#unsynced.learn(losses);
    if (concerned !== 'all' && concerned.size === 0) return;
    this.#log.error('all bricks lost their power at once: what was changed and not synced may be gone; the next fsync of it says so (EIO)', { inodes: concerned === 'all' ? 'more than are counted' : concerned.size });
    this.#onLoss?.(concerned);
  }

  /** The kernel forgets attributes when told, names by themselves after a moment; then the recall is answered. */
  #recall(channel: Channel<Message>, message: MessageOf<'recall'>): void {
    const namesForMs = this.cache.forget(message.gfids);
    this.#tellOpens(this.#held.tell(message.gfids), []);
    const answer = (): void => channel.send({ kind: 'recalled', id: message.id });
    this.#invalidate(message.gfids)
      .catch((error: unknown) => this.#log.error('the kernel could not be told to forget', { error: String(error) }))
      .finally(() => {
        if (namesForMs > 0) this.#env.clock.after(namesForMs, answer);
        else answer();
      });
  }

  /** The brick is not the serving primary of the epoch that was named. */
  #redirected(message: MessageOf<'redirect'>): void {
    const pending = this.#pending.get(message.id);
    if (pending?.sent === true) this.#unsend(pending);
    if (message.view.epoch > this.#view.epoch) this.#learnView(message.view);
    else if (this.#channel !== undefined && (this.#readyEpoch > 0 || pending === undefined)) {
      // It has not heard of the view that this client knows, or its serving lease is out (a redirect of no request is its answer to `reclaim`).
      const wasReady = this.#readyEpoch > 0;
      this.#readyEpoch = 0;
      this.#reclaimSoon(this.#channel);
      if (wasReady) this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS_MAX);
    }
  }

  /** Asks again in a moment; not more often, however often it is sent away. */
  #reclaimSoon(channel: Channel<Message>): void {
    if (this.#reclaiming === channel) return;
    this.#reclaiming = channel;
    this.#env.clock.after(this.#retryMs, () => {
      if (this.#reclaiming === channel) this.#reclaiming = undefined;
      if (this.#channel === channel && this.#readyEpoch === 0) this.#reclaim();
    });
  }

  #send(pending: Pending): void {
    pending.sent = true;
    this.#unsent--;
    if (pending.counts) {
      this.#inFlight++;
      this.#inFlightBytes += pending.bytes;
    }
    if (pending.requestNumber > 0) this.#direct.send(pending);
    else if (!this.#direct.holdsRead(pending)) this.#sendToPrimary(pending);
  }

  #newDirect(): DirectWrites<Pending> {
    const { clock } = this.#env;
    return new DirectWrites<Pending>({
      now: () => clock.now(),
      wall: () => clock.wall(),
      view: () => this.#view,
      primary: () => this.#channel,
      dial: (id, ready) => {
        const brick = this.#spec?.bricks.find((spec) => spec.id === id);
        return brick === undefined ? Promise.reject(new LostError(`no brick ${id}`)) : this.#dial(brick, this.#spec as VolumeSpec, ready);
      },
      acknowledged: () => this.#acknowledgements.upTo(clock.now()),
      sendToPrimary: (pending) => {
        if (this.#pending.get(pending.id) === pending) this.#sendToPrimary(pending);
      },
      done: (pending, attr) => this.#writtenDirectly(pending, attr),
      again: (pending) => this.#rename(pending),
      learnView: (view) => this.#learnView(view),
    });
  }

  #writtenDirectly(pending: Pending, attr: Attr | undefined): void {
    this.#localReads.ended(pending.id);
    if (this.#pending.get(pending.id) !== pending) return;
    this.#leave(pending);
    this.#acknowledgements.settled(pending.requestNumber);
    const args = pending.args as Args<'write'>;
    const result = { offset: args.offset, attr };
    this.#unsynced.changed('write', args, result);
    if (attr !== undefined) this.cache.learn('write', args, 0, result, true);
    pending.resolve(result);
    if (this.#unsent > 0 && this.#readyEpoch > 0) this.#sendAll();
  }

  /** Answers to its present id are nobody's any more. */
  #rename(pending: Pending): boolean {
    if (this.#pending.get(pending.id) !== pending) return false;
    this.#pending.delete(pending.id);
    this.#localReads.ended(pending.id);
    pending.id = this.#nextId++;
    this.#pending.set(pending.id, pending);
    this.#localReads.began(pending.id, pending.op, pending.args);
    return true;
  }

  #sendToPrimary(pending: Pending): void {
    pending.everSent = true;
    const { id, op, args, requestNumber } = pending;
    this.#channel?.send({ kind: 'request', id, epoch: this.#readyEpoch, requestNumber, acknowledged: this.#acknowledgements.upTo(this.#env.clock.now()), op, args } as Message);
  }

  #hasRoom(pending: Pending): boolean {
    if (!pending.counts || this.#inFlight === 0) return true;
    return this.#inFlight < IN_FLIGHT_MAX && this.#inFlightBytes + pending.bytes <= IN_FLIGHT_BYTES_MAX;
  }

  /** Sends what there is room for, in the order in which it was asked. */
  #sendAll(): void {
    let room = true;
    for (const pending of this.#pending.values()) {
      if (this.#unsent === 0) return;
      if (pending.sent) continue;
      // In their order; what does not count is not held up, or what is given later would overtake it.
      room &&= this.#hasRoom(pending);
      if (room || !pending.counts) this.#send(pending);
    }
  }

  #unsend(pending: Pending): void {
    pending.sent = false;
    this.#direct.left(pending);
    this.#unsent++;
    if (!pending.counts) return;
    this.#inFlight--;
    this.#inFlightBytes -= pending.bytes;
  }

  #unsendAll(): void {
    this.#direct.clear();
    for (const pending of this.#pending.values()) {
      pending.again ||= pending.everSent;
      if (pending.sent) this.#unsend(pending);
    }
  }

  /** It is answered, withdrawn or given up. */
  #leave(pending: Pending): void {
    if (pending.sent) this.#unsend(pending);
    this.#unsent--;
    this.#pending.delete(pending.id);
    if (pending.op === 'setLock' || pending.op === 'dropLocks') this.#localLocks.ended((pending.args as Args<'dropLocks'>).gfid, pending.given ? pending.requestNumber : 0);
  }

  #ping(): void {
    const { clock } = this.#env;
    const id = this.#nextId++;
    if (this.#pings.size > 64) this.#pings.clear();
    this.#pings.set(id, clock.now());
    this.#channel?.send({ kind: 'ping', id });
  }

  #pingTimeoutMs(): number {
    const seconds = Number(this.#spec?.options['network.ping-timeout'] ?? PING_TIMEOUT_S_DEFAULT);
    return (Number.isFinite(seconds) && seconds > 0 ? seconds : PING_TIMEOUT_S_DEFAULT) * 1000;
  }

  #armTick(): void {
    this.#tick = this.#env.clock.after(PING_MS, () => {
      this.#armTick();
      const now = this.#env.clock.now();
      if (this.#channel !== undefined) {
        if (this.#readyEpoch > 0) this.#ping();
        const silence_ms = (this.#route.patient ? SILENCE_PART_MAX : SILENCE_PART) * this.#pingTimeoutMs();
        if (now - this.#lastHeard > silence_ms) this.#drop(`nothing heard for ${silence_ms} ms`);
      } else if (this.#dialing === 0 && this.#readyEpoch === 0 && this.#retryMs >= RETRY_MS_MAX) this.#connect();
      this.#direct.tick();
      this.#localLocks.tick();
      if (this.#channel !== undefined) this.#lookForDirectWay(now);
      this.#expire(now);
      if (this.#ticks++ % TICKS_PER_NOTICE === 0) this.#noticeWaiting(now);
    });
  }

  /** A lock that waits for its holder is not unanswered. */
  #expire(now: number): void {
    const timeoutMs = this.#frameTimeoutMs ?? Number(this.#spec?.options['network.frame-timeout'] ?? 0) * 1000;
    if (!(timeoutMs > 0)) return;
    for (const pending of [...this.#pending.values()]) {
      if (!pending.counts || pending.left || now - pending.since < timeoutMs) continue;
      this.#letGo(pending, Errno.ETIMEDOUT, `no answer within ${timeoutMs} ms (network.frame-timeout)`);
    }
  }

  /** Its caller waits no longer. What may have been carried out is asked for until that is known: what this client knows of the volume, and holds there, must come to be right. */
  #letGo(pending: Pending, errno: number, reason: string): void {
    const { reject } = pending;
    if (!pending.lasting && !mayHappen(pending)) {
      this.#remove(pending);
      reject(unanswered(pending, errno, reason));
      return;
    }
    const over = new Promise<void>((resolve) => {
      pending.resolve = pending.reject = (): void => resolve();
    });
    pending.left = true;
    reject(unanswered(pending, errno, reason, over));
  }

  #noticeWaiting(now: number): void {
    let oldest: number | undefined;
    for (const pending of this.#pending.values()) {
      if (!pending.counts || pending.left) continue;
      oldest = pending.since;
      break;
    }
    const { epoch, primary, inSync } = this.#view;
    this.#notice.look(this.#log, now, oldest, () => ({ requests: this.#pending.size, connected: this.connected, epoch, primary, inSync }));
  }

  #failAll(reason: string): void {
    for (const pending of [...this.#pending.values()]) {
      const { op, lasting } = pending;
      // A lock that was given must be known here, or nobody would ever drop it.
      const goesOn = !this.#closed && (lasting || (op === 'setLock' && pending.counts && mayHappen(pending)));
      if (goesOn) {
        if (!pending.given && !pending.left) this.#letGo(pending, Errno.ENOTCONN, reason);
        continue;
      }
      this.#remove(pending);
      pending.reject(unanswered(pending, Errno.ENOTCONN, reason, pending.sent ? this.#connectionOver() : undefined));
    }
  }

  #remove(pending: Pending): void {
    this.#leave(pending);
    if (!pending.everSent) this.#localReads.ended(pending.id);
    if (pending.requestNumber > 0) this.#acknowledgements.settled(pending.requestNumber);
  }
}

/** Tries the brick's addresses, the one on this node first; rejects as the last did. */
async function atFirst(brick: BrickSpec, dial: (address: Address) => Promise<unknown>): Promise<void> {
  const addresses: Address[] = [];
  if (brick.socket !== undefined) addresses.push({ path: brick.socket });
  if (brick.port !== 0) addresses.push({ host: brick.host, port: brick.port });
  let last: unknown = new LostError(`brick ${brick.id}: its address is not known`);
  for (const address of addresses) {
    try {
      await dial(address);
      return;
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

async function succeeds(work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch {
    return false;
  }
}

function mayHappen({ everSent, requestNumber }: Pending): boolean {
  return everSent && requestNumber > 0;
}

/** A mutation that was sent may have happened or happen still, and so may what is asked for still; anything else did not. */
function unanswered(pending: Pending, errno: number, reason: string, over?: Promise<void>): Error {
  if (mayHappen(pending) || over !== undefined) return new LostError(`${pending.op}: ${reason}`, errno, over === undefined ? {} : { over });
  return new FsError(errno, pending.op, reason);
}

/** What no brick would take; sent all the same, it would cost the connection. */
function argumentProblem(op: OpName, args: object): FsError | undefined {
  const kinds: Fields = OPS[op].args;
  for (const key in kinds) {
    const value = (args as Record<string, unknown>)[key];
    if ((kinds[key] as Kind<unknown>).check(pack(kinds[key] as Kind<unknown>, value))) continue;
    const tooLong = typeof value === 'string' && value.length > NAME_BYTES_MAX;
    return new FsError(tooLong ? Errno.ENAMETOOLONG : Errno.EINVAL, op, `${key} is not a valid ${(kinds[key] as Kind<unknown>).label}`);
  }
  return undefined;
}

function pack(kind: Kind<unknown>, value: unknown): unknown {
  return kind.pack === undefined ? value : kind.pack(value);
}

/** The kernel would refuse it, and its caller wait. */
function isTooLong(op: OpName, args: unknown, result: unknown): boolean {
  return op === 'read' && (result as Result<'read'>).data.byteLength > (args as Args<'read'>).size;
}

/** What is used after the call that received it; large payloads have a buffer of their own already. */
function ownResult(message: MessageOf<'reply'>, copyOf: (data: Uint8Array) => Uint8Array): void {
  const result = message.result as { data?: Uint8Array; value?: Uint8Array } | undefined;
  if (result?.data !== undefined && result.data.byteLength < OWN_PAYLOAD_BYTES) result.data = copyOf(result.data);
  if (result?.value !== undefined) result.value = Buffer.from(result.value);
}
