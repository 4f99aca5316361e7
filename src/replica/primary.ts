/**
 * The brick that orders a replica set's operations.
 *
 *   recovering ──every member sealed, in-doubt keys settled──▶ serving ──view with another primary──▶ stopped
 *                                                              │    ▲
 *                                        member lost, no majority    member back and made equal, or a view without it
 *                                                              ▼    │
 *                                                             gated (mutations are held)
 *
 * This file holds the role together; its parts, one subject each: recovery, followers, mutations, stream, durability, refusals, full-disks, slowness, orphans,
 * lock-requests, lock-leases, clients, mender, heals, gate.
 */
import type { Channel } from '../env/channel.js';
import type { Cancel, Clock, Random } from '../env/clock.js';
import type { Log } from '../env/log.js';
import type { Args } from '../fops/ops.js';
import type { BrickId, View } from '../fops/view.js';
import type { Message, MessageOf } from '../wire/messages.js';
import type { PeerArgs, PeerOpName, PeerResult } from '../wire/peer-ops.js';
import type { Authority } from './authority.js';
import { Clients } from './clients.js';
import type { Copy } from './copy.js';
import { Durability } from './durability.js';
import { Exclusives } from './exclusives.js';
import { Followers, type Follower } from './followers.js';
import { FullDisks } from './full-disks.js';
import { Gate } from './gate.js';
import { Heals } from './heals.js';
import { InodeLocks } from './inode-locks.js';
import { LEASE_MS, Leases } from './leases.js';
import { GivenOrder } from './given-order.js';
import { LeaseNumbers } from './lease-numbers.js';
import { LockHolders } from './lock-holders.js';
import { LockLeases } from './lock-leases.js';
import { LockRequests } from './lock-requests.js';
import { own } from './mutation.js';
import { Mender } from './mender.js';
import { Mutations } from './mutations.js';
import { Orphans } from './orphans.js';
import { Paths } from './paths.js';
import { answerRead, isRead } from './reads.js';
import { Recovery } from './recovery.js';
import { Refusals } from './refusals.js';
import type { Session, Sessions } from './sessions.js';
import { Slowness } from './slowness.js';
import { SpareSpace } from './space.js';
import { Stream } from './stream.js';
import { majority } from './view.js';

export type { Follower } from './followers.js';

export interface PrimaryHost {
  readonly brick: BrickId;
  /** The whole replica set. */
  bricks(): readonly BrickId[];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly authority: Authority;
  readonly sessions: Sessions;
  readonly copy: Copy;
  /** An authenticated connection to a sibling brick; rejects with LostError. */
  dial(brick: BrickId): Promise<Channel<Message>>;
  /** False once the serving lease ran out. */
  leaseLive(): boolean;
  pingTimeoutMs(): number;
  /** Healing gives way to clients. */
  readonly healThrottle: () => boolean;
  /** Writes of one session to a file, one after the other, before it gets an exclusive lease; 0: never. */
  readonly directAfter: () => number;
  /** Clients may get lock leases. */
  readonly lockLeases: () => boolean;
  /** Memory of a large payload that is not needed any more. */
  giveBack(data: Uint8Array): void;
  /** A copy of what may be overwritten when this returns; `giveBack` takes it. */
  copyOf(this: void, data: Uint8Array): Uint8Array;
  /** See PEER_OPS.seal: of this brick's own copy. */
  standing(): number;
  /** Once this brick left the set, it returns after so long at the earliest. */
  stayAway(ms: number): void;
  /** This copy may lack something: it is not continuous any more. */
  suspected(): void;
  /** This brick serves as primary: from now on its copy is continuous. */
  joined(epoch: number): void;
  adoptView(view: View): void;
}

const CHECKPOINT_MS = 30_000;
const TICK_MS = 1000;
const WAIT_NOTICE_MS = 2000;
const HELD_MAX = 100_000;
const MEMBER_MISSING = 'member';
const OLD_LEASES = 'leases';
/** See PEER_OPS.seal. */

export class Primary {
  readonly host: PrimaryHost;
  readonly log: Log;
  readonly locks = new InodeLocks();
  readonly leases: Leases;
  readonly paths: Paths;
  readonly gate = new Gate(() => this.serving);
  readonly followers = new Followers(this);
  readonly recovery = new Recovery(this);
  readonly mutations = new Mutations(this);
  readonly stream = new Stream(this);
  readonly durability = new Durability(this);
  readonly refusals = new Refusals(this);
  readonly exclusives = new Exclusives(this);
  readonly clients = new Clients(this);
  readonly slowness = new Slowness(this);
  readonly mender = new Mender(this);
  readonly heals: Heals;
  readonly spare = new SpareSpace(() => this.followers.spares());
  readonly fullDisks = new FullDisks(this);
  readonly orphans: Orphans;
  readonly lockRequests: LockRequests;
  readonly #leaseNumbers = new LeaseNumbers();
  readonly lockLeases = new LockLeases(this, this.#leaseNumbers);
  readonly lockHolders = new LockHolders(this, this.#leaseNumbers);
  readonly givenOrder = new GivenOrder();
  /** Of the view that made it the primary. */
  readonly firstEpoch: number;
  #view: View;
  #state: 'recovering' | 'serving' | 'stopped' = 'recovering';
  #timers: Cancel[] = [];
  #waitsSince = Infinity;
  #waitNoticed = false;
  /** Bricks that were asked to be admitted, and the epoch after which. */
  readonly #admitting = new Map<BrickId, number>();
  /** Sessions whose reclaim waits for recovery. */
  readonly #reclaiming = new Set<Session>();

  constructor(host: PrimaryHost, view: View) {
    this.host = host;
    this.#view = view;
    this.firstEpoch = view.epoch;
    this.log = host.log.child({ role: 'primary' });
    this.leases = new Leases(host.clock);
    this.paths = new Paths(host.copy.store);
    this.heals = new Heals(this);
    this.orphans = new Orphans(this, view.epoch === 1);
    this.lockRequests = new LockRequests(this);
  }

  get recovering(): boolean {
    return this.#state === 'recovering';
  }

  get serving(): boolean {
    return this.#state === 'serving';
  }

  get stopped(): boolean {
    return this.#state === 'stopped';
  }

  get view(): View {
    return this.#view;
  }

  /** Mutations wait because a member that cannot be dropped is missing. */
  get stalled(): boolean {
    return this.gate.closedBy(MEMBER_MISSING);
  }

  /** So many bricks have every change. */
  get majority(): number {
    return majority(this.host.bricks().length);
  }

  /** Space left for users. */
  get spareBytes(): number {
    return this.spare.bytes(this.majority);
  }

  start(): void {
    this.recovery.run().then(
      (mayServe) => {
        if (mayServe) this.#serve();
      },
      (error: unknown) => {
        if (this.stopped) return;
        this.log.error('recovery failed', { error: String(error) });
        throw error;
      },
    );
    this.#every(CHECKPOINT_MS, () => void this.checkpoint());
    this.#every(TICK_MS, () => this.#tick());
  }

  #serve(): void {
    const { copy, clock } = this.host;
    this.#state = 'serving';
    copy.clearDoubt();
    // The best copy there is has become the truth.
    const { incomplete, unsettled, halfWritten } = copy.journal.meta;
    if (incomplete || unsettled || halfWritten === true) copy.journal.updateMeta({ incomplete: false, unsettled: false, halfWritten: false });
    this.host.joined(this.#view.epoch);
    this.log.info('serving', { epoch: this.#view.epoch, inSync: this.#view.inSync });
    // Leases that the primary before this one gave may be trusted for so long by a client that does not say otherwise.
    if (this.#view.epoch > 1) {
      this.gate.close(OLD_LEASES);
      clock.after(LEASE_MS, () => this.oldLeasesAreOver());
    }
    this.followers.connectAll();
    this.updateGate();
    this.stream.announce();
    this.followers.joinSealed();
    this.clients.serve();
    this.lockLeases.adopt();
    this.slowness.start();
    if (this.clients.allUnleased) this.oldLeasesAreOver();
    else this.gate.letThrough();
  }

  /** Nobody trusts a lease that the primary before this one gave. */
  oldLeasesAreOver(): void {
    this.gate.open(OLD_LEASES);
  }

  stop(reason: string): void {
    if (this.stopped) return;
    this.#state = 'stopped';
    this.log.info('no longer primary', { reason, epoch: this.#view.epoch });
    for (const cancel of this.#timers) cancel();
    this.followers.stop(reason);
    this.gate.clear();
    // What is under way here is never answered from here; clients ask the next primary, which may be this brick again.
    for (const session of this.host.sessions.all()) session.underWay.clear();
    this.leases.clear();
    this.exclusives.stop();
    this.lockLeases.stop();
    this.lockHolders.stop();
    this.stream.wakeDrained();
  }

  /** The next view, in which this brick is primary still. */
  viewChanged(view: View): void {
    this.#view = view;
    this.followers.viewChanged();
    if (!this.serving) return;
    this.followers.connectAll();
    this.updateGate();
    this.exclusives.viewChanged();
    this.stream.commit();
  }

  request(session: Session, channel: Channel<Message>, message: MessageOf<'request'>): void {
    session.lastSeen = this.host.clock.now();
    this.heals.pace.asked(session.lastSeen);
    if (!this.serving) {
      if (this.gate.size >= HELD_MAX) channel.close('too many requests are waiting for recovery');
      else {
        const kept = own(message, this.host.copyOf);
        this.gate.hold(() => this.request(session, channel, kept));
      }
      return;
    }
    if (!this.host.copy.sessions.has(session.id)) {
      this.clients.refuse(channel);
      return;
    }
    if (message.op === 'cancelLock') {
      const { gfid, owner } = message.args as Args<'cancelLock'>;
      this.lockRequests.cancel(session, gfid, owner);
      channel.send({ kind: 'reply', id: message.id, errno: 0, lease: false, op: 'cancelLock', result: {} });
    } else if (isRead(message.op)) this.#read(session, channel, message);
    else this.mutations.begin(session, message);
  }

  /** Who reads a file goes by what it says: no silent session may change it afterwards. */
  #read(session: Session, channel: Channel<Message>, message: MessageOf<'request'>, asked = new Set<string>()): void {
    const silent = this.host.copy.sessions.anySilent ? this.#silentAgainst(session, message) : [];
    if (silent.length === 0) {
      const again = (): void => this.#read(session, channel, message, asked);
      if (message.op === 'getLock' && this.lockRequests.asksHolder({ ...message.args, session: session.id, pid: 0 }, asked, again)) return;
      answerRead(this, session, channel, message);
      return;
    }
    void this.clients.revoke(silent).then((done) => {
      if (done) this.request(session, channel, message);
    });
  }

  #silentAgainst(session: Session, message: MessageOf<'request'>): readonly string[] {
    if (message.op === 'read') return this.clients.inTheWay({ gfid: message.args.gfid, changes: false }, session);
    if (message.op !== 'getLock') return [];
    const holder = this.lockRequests.silentHolder({ ...message.args, session: session.id, pid: 0 });
    return holder === undefined ? [] : [holder];
  }

  reclaim(session: Session, channel: Channel<Message>, message: MessageOf<'reclaim'>): void {
    if (this.serving) void this.clients.reclaim(session, channel, message);
    else if (this.gate.size >= HELD_MAX || this.#reclaiming.has(session)) channel.close('more than one reclaim is waiting for recovery');
    else {
      this.#reclaiming.add(session);
      this.gate.hold(() => {
        this.#reclaiming.delete(session);
        this.reclaim(session, channel, message);
      });
    }
  }

  /** Bricks whose files a client may read under a lease. None while a session is silent: who reads a file goes by what it says, and has to be noticed. */
  equalBricks(): BrickId[] {
    if (this.host.copy.sessions.anySilent) return [];
    return [this.host.brick, ...this.followers.ready().map(({ brick }) => brick)];
  }

  /** The next view is asked to list the brick as in sync: until it is known what became of that, it may do so. */
  admitting(brick: BrickId): void {
    this.#admitting.set(brick, this.#view.epoch);
  }

  /** The authority has answered. */
  admissionAnswered(brick: BrickId): void {
    this.#admitting.delete(brick);
  }

  /** Bricks without which nothing is acknowledged: those in sync, and those that may be by a view that has not been heard of. */
  get members(): readonly BrickId[] {
    const { inSync, epoch } = this.#view;
    if (this.#admitting.size === 0) return inSync;
    return [...inSync, ...[...this.#admitting].filter(([brick, asked]) => asked === epoch && !inSync.includes(brick)).map(([brick]) => brick)];
  }

  /** Mutations are held while a member is missing that the view lists as in sync. */
  updateGate(): void {
    const missing = this.members.some((brick) => brick !== this.host.brick && this.followers.get(brick)?.state !== 'ready');
    if (missing) {
      this.gate.close(MEMBER_MISSING);
      this.stream.wakeDrained();
    } else if (this.stalled) this.gate.open(MEMBER_MISSING);
  }

  checkpoint(): Promise<void> {
    return this.durability.checkpoint();
  }

  /** Asks something of a follower; see Followers.call. */
  call<K extends PeerOpName>(follower: Follower, op: K, args: PeerArgs<K>): Promise<PeerResult<K>> {
    return this.followers.call(follower, op, args);
  }

  // ---------------------------------------------------------------- time

  /** True when the work ends within `ms`. */
  within(work: Promise<void>, ms: number): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const cancel = this.host.clock.after(ms, () => resolve(false));
      work.then(() => {
        cancel();
        resolve(true);
      }, reject);
    });
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.host.clock.after(ms, resolve));
  }

  #every(ms: number, callback: () => void): void {
    const index = this.#timers.length;
    const arm = (): void => {
      this.#timers[index] = this.host.clock.after(ms, () => {
        if (this.stopped) return;
        arm();
        callback();
      });
    };
    this.#timers.push(() => undefined);
    arm();
  }

  /** Bricks without which nothing can be acknowledged, and that are not there. */
  #waitingFor(): BrickId[] {
    return (this.serving ? this.members : this.#view.inSync).filter((brick) => {
      if (brick === this.host.brick) return false;
      const follower = this.followers.get(brick);
      return this.serving ? follower?.state !== 'ready' : follower?.seal === undefined;
    });
  }

  /** Says once when changes wait for bricks, and once when they go on. */
  #noticeWaiting(): void {
    const now = this.host.clock.now();
    if (!this.stalled && !this.recovering) {
      if (this.#waitNoticed) this.log.info('the volume goes on', { waitedMs: Math.round(now - this.#waitsSince) });
      this.#waitsSince = Infinity;
      this.#waitNoticed = false;
      return;
    }
    this.#waitsSince = Math.min(this.#waitsSince, now);
    if (this.#waitNoticed || now - this.#waitsSince < WAIT_NOTICE_MS) return;
    this.#waitNoticed = true;
    this.log.warn('the volume waits for bricks: no majority without them has every write', { bricks: this.#waitingFor(), epoch: this.#view.epoch });
  }

  #tick(): void {
    this.#noticeWaiting();
    if (!this.serving) return;
    void this.spare.refresh().then(() => {
      if (!this.spare.ample) void this.exclusives.recallAll();
    });
    this.orphans.sweep();
    void this.mender.sweep();
  }
}
