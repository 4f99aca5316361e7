/**
 * The brick that orders a replica set's operations.
 *
 *   recovering ──every member sealed, in-doubt keys settled──▶ serving ──view with another primary──▶ stopped
 *                                                              │    ▲
 *                                        member lost, no majority    member back and made equal, or a view without it
 *                                                              ▼    │
 *                                                             gated (mutations are held)
 *
 * A mutation: plan → locks → journal → apply here → send to the members → all acknowledged → reply, locks released.
 * Reads are answered from this copy where no lock stands against them, under a live serving lease.
 */
import { assert } from '../base/assert.js';
import { Errno, errnoOf, FsError, LostError } from '../base/errno.js';
import { hex, type Gfid } from '../base/ids.js';
import { compareTime, type Time } from '../base/time.js';
import type { Cancel, Clock, Random } from '../env/clock.js';
import type { Log } from '../env/log.js';
import { OWN_PAYLOAD_BYTES, type Channel } from '../env/channel.js';
import type { BrickId, View } from '../fops/view.js';
import type { Attr } from '../fops/fields.js';
import { OPS, type Args, type OpName } from '../fops/ops.js';
import type { HeldLock, Message, MessageOf } from '../wire/messages.js';
import type { Authority, HealStatus } from './authority.js';
import { CatchUp } from './catch-up.js';
import { definiteErrno, type Change, type Copy } from './copy.js';
import { LOCK_NONE } from './file-locks.js';
import { LockWaiters, type LockWaiter } from './lock-waiters.js';
import { InodeLocks, Mode, readLock, type Ticket } from './inode-locks.js';
import { inodeKey, type Key } from './keys.js';
import { Leases, LEASE_MS } from './leases.js';
import { Paths } from './paths.js';
import { PeerLink } from './peer-link.js';
import { bytesNeeded, overwrites, SpareSpace, spareBytes } from './space.js';
import { planMutation, sameLocks, type Plan } from './plan.js';
import { answerRead, isRead } from './reads.js';
import { makeAnswer, resultOf, type Answer } from './results.js';
import type { Session, Sessions } from './sessions.js';

export interface PrimaryHost {
  readonly brick: BrickId;
  readonly bricks: readonly BrickId[];
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
  /** Memory of a large payload that is not needed any more. */
  giveBack(data: Uint8Array): void;
  /** See PEER_OPS.seal: of this brick's own copy. */
  standing(): number;
  /** This brick serves as primary: from now on its copy is continuous. */
  joined(epoch: number): void;
  adoptView(view: View): void;
}

/** A sibling brick as the primary sees it. */
export interface Follower {
  readonly brick: BrickId;
  link: PeerLink | undefined;
  /**
   * down: no connection. joining: connected, not equal yet. ready: gets every mutation and counts for acknowledgements.
   * catchingUp: gets the mutations that `catchUp` lets through.
   */
  state: 'down' | 'joining' | 'ready' | 'catchingUp';
  acknowledged: number;
  catchUp: CatchUp | undefined;
  seal: { standing: number; doubt: Key[]; checkpoint: number; base: number; incomplete: boolean } | undefined;
}

interface Flight {
  sequence: number;
  ticket: Ticket;
  request: Mutation;
  errno: number;
  result: unknown;
  /** Inode to purge or lock table to look at after the commit. */
  after: (() => void) | undefined;
}

/** One mutation on its way. */
interface Mutation {
  session: Session;
  sessionId: string;
  id: number;
  requestNumber: number;
  acknowledged: number;
  op: OpName;
  args: unknown;
  /** There is space for it, as far as the bricks have told. */
  spaceChecked?: boolean;
}

const CALL_TIMEOUT_MS = 10_000;
const REDIAL_MS_MIN = 20;
const REDIAL_MS_MAX = 1000;
/** A new primary waits this long for members before it lets others take their place. */
const MISSING_MS = 3000;
const RECOVERY_PAUSE_MS = 200;
const INTERRUPTED_MS = 1000;
const CHECKPOINT_MS = 30_000;
const HEARTBEAT_MS = 5;
const STATE_PART_BYTES = 1 << 19;
const HELD_MAX = 100_000;
const RESOURCE_ERRORS = new Set<number>([Errno.ENOSPC, Errno.EDQUOT, Errno.EIO, Errno.EROFS]);
const COPY_BYTES_MAX = 1 << 30;
/** Operations whose success leaves the inode open. */
const OPENING = new Set<OpName>(['create', 'open', 'tmpfile']);

export class Primary {
  readonly host: PrimaryHost;
  readonly locks = new InodeLocks();
  readonly leases: Leases;
  readonly paths: Paths;
  readonly followers = new Map<BrickId, Follower>();
  readonly #waiters: LockWaiters;
  readonly #spare = new SpareSpace(() => this.#leastSpare());
  readonly #log: Log;
  #view: View;
  #state: 'recovering' | 'serving' | 'stopped' = 'recovering';
  #sequence = 0;
  #committed = 0;
  #noticed = 0;
  #flights: Flight[] = [];
  #flightsHead = 0;
  #held: (() => void)[] = [];
  /** Reasons why mutations are held; they go on when it is empty. */
  readonly #gates = new Set<string>();
  #drained: (() => void)[] = [];
  #lastTime: Time = { sec: 0, nsec: 0 };
  /** Opens of clients that did not reclaim yet are unknown until then: nothing is purged before. */
  #purgeFrom: number;
  #timers: Cancel[] = [];
  #noticePending = false;
  #sweeping = false;

  constructor(host: PrimaryHost, view: View) {
    this.host = host;
    this.#view = view;
    this.#log = host.log.child({ role: 'primary' });
    this.#purgeFrom = view.epoch === 1 ? 0 : host.clock.now() + host.pingTimeoutMs() + 2000;
    this.leases = new Leases(host.clock);
    this.paths = new Paths(host.copy.store);
    this.#waiters = new LockWaiters(host.copy.fileLocks);
  }

  get serving(): boolean {
    return this.#state === 'serving';
  }

  get view(): View {
    return this.#view;
  }

  get stopped(): boolean {
    return this.#state === 'stopped';
  }

  /** Mutations wait because a member that cannot be dropped is missing. */
  get stalled(): boolean {
    return this.#gates.has('member');
  }

  start(): void {
    void this.#recover().catch((error: unknown) => {
      if (this.#state === 'stopped') return;
      this.#log.error('recovery failed', { error: String(error) });
      throw error;
    });
    this.#every(CHECKPOINT_MS, () => void this.checkpoint());
    this.#every(1000, () => this.#tick());
  }

  stop(reason: string): void {
    if (this.#state === 'stopped') return;
    this.#state = 'stopped';
    this.#log.info('no longer primary', { reason, epoch: this.#view.epoch });
    for (const cancel of this.#timers) cancel();
    for (const follower of this.followers.values()) {
      follower.catchUp?.stop(reason);
      follower.link?.close(reason);
    }
    this.#held = [];
    // What is under way here is never answered from here; clients ask the next primary, which may be this brick again.
    for (const session of this.host.sessions.all()) session.underWay.clear();
    this.leases.clear();
    for (const wake of this.#drained.splice(0)) wake();
  }

  /** The next view, in which this brick is primary still. */
  viewChanged(view: View): void {
    this.#view = view;
    for (const follower of this.followers.values()) {
      const listed = view.inSync.includes(follower.brick) || view.catchingUp.includes(follower.brick);
      if (!listed) {
        follower.catchUp?.stop('left the view');
        follower.link?.close('left the view');
        this.followers.delete(follower.brick);
      } else if (follower.link !== undefined && follower.state === 'ready') {
        void follower.link.call(view.epoch, 'seal', { view }, CALL_TIMEOUT_MS).catch((error: unknown) => this.#sealFailed(follower, error));
      }
    }
    if (this.#state === 'serving') {
      this.#connectAll();
      this.#updateGate();
      this.#commit();
    }
  }

  // ---------------------------------------------------------------- requests

  request(session: Session, channel: Channel<Message>, message: MessageOf<'request'>): void {
    session.lastSeen = this.host.clock.now();
    if (this.#state !== 'serving') {
      if (this.#held.length >= HELD_MAX) channel.close('too many requests are waiting for recovery');
      else this.#held.push(() => this.request(session, channel, own(message)));
      return;
    }
    if (isRead(message.op)) {
      if (message.op === 'cancelLock') this.#cancelLock(session, channel, message as never);
      else answerRead(this, session, channel, message);
      return;
    }
    this.#mutation(session, message);
  }

  reclaim(session: Session, channel: Channel<Message>, message: MessageOf<'reclaim'>): void {
    if (this.#state !== 'serving') {
      this.#held.push(() => this.reclaim(session, channel, message));
      return;
    }
    // A primary that has counted all along knows better than the client, which has not heard every answer yet.
    // The same holds for locks: one that was given up, and whose answer is on the way, must not come back.
    let errno = 0;
    if (session.countedBy !== this) {
      session.countedBy = this;
      session.opens.clear();
      for (const gfid of message.opens) session.opened(gfid);
      for (const lock of message.locks) if (!this.#reclaimLock(session, lock)) errno = Errno.EIO;
    }
    channel.send({ kind: 'reclaimed', id: message.id, errno });
  }

  #reclaimLock(session: Session, lock: HeldLock): boolean {
    const request = { ...lock, session: session.id };
    if (this.host.copy.fileLocks.conflict(request) !== undefined) return false;
    const args = { gfid: lock.gfid, owner: lock.owner, kind: lock.kind, type: lock.type, start: lock.start, end: lock.end, pid: lock.pid, wait: false };
    this.#plan({ session, sessionId: session.id, id: 0, requestNumber: 0, acknowledged: 0, op: 'setLock', args });
    return true;
  }

  #mutation(session: Session, message: MessageOf<'request'>): void {
    const { id, requestNumber, op } = message;
    // Before the answers: an answer is there as soon as it is applied here, but is given when every member has it.
    if (session.underWay.has(requestNumber)) {
      session.underWay.set(requestNumber, id);
      return;
    }
    const known = this.host.copy.results.find(session.id, requestNumber);
    // An unlock is carried out again: a lock that was claimed from this primary meanwhile must go with it.
    if (known !== undefined && !unlocks(op, message.args)) {
      this.#repeat(session, id, op, known);
      return;
    }
    if (this.host.copy.results.isAcknowledged(session.id, requestNumber)) {
      this.#reply(session, id, Errno.EIO, op, undefined);
      return;
    }
    session.underWay.set(requestNumber, id);
    const mutation: Mutation = {
      session, sessionId: session.id, id, requestNumber, acknowledged: message.acknowledged, op,
      args: ownArgs(op, message.args),
    };
    if (op === 'release') this.#release(mutation, message.args as Args<'release'>);
    else if (op === 'fsync') this.#fsync(mutation, message.args as Args<'fsync'>);
    else this.#plan(mutation);
  }

  /** Answers again what was answered before. */
  #repeat(session: Session, id: number, op: OpName, answer: Answer): void {
    if (answer.errno !== 0) {
      this.#reply(session, id, answer.errno, op, undefined);
      return;
    }
    try {
      const result = resultOf(answer, this.host.copy.store);
      // A primary before this one counted the open, and the client does not know yet that it has it.
      if (OPENING.has(op) && answer.countedBy !== this) {
        answer.countedBy = this;
        session.opened((result as { attr: Attr }).attr.gfid);
      }
      this.#reply(session, id, 0, op, asResultOf(op, result));
    } catch (error) {
      this.#reply(session, id, definiteErrno(error), op, undefined);
    }
  }

  /** False when the change waits for the bricks to tell their space, or was refused. */
  #spaceFor(mutation: Mutation): boolean {
    const { op, args } = mutation;
    const bytes = bytesNeeded(op, args);
    mutation.spaceChecked = true;
    if (bytes === 0 || this.#spare.take(bytes)) return true;
    if (overwrites(this.host.copy.store, op, args)) return true;
    void this.#spare.refresh().then(() => {
      if (this.#spare.suffices(bytes)) this.#plan(mutation);
      else if (this.#state === 'serving') this.#finish(mutation, Errno.ENOSPC, undefined);
    });
    return false;
  }

  /** The least spare bytes of this brick and the members; one that does not answer is left out. */
  async #leastSpare(): Promise<number> {
    const spares = [spareBytes(this.host.copy.store.statfs())];
    const ask = async (follower: Follower): Promise<void> => {
      try {
        spares.push((await this.call(follower, 'space', {})).spare);
      } catch (error) {
        if (!(error instanceof LostError) && !(error instanceof FsError)) throw error;
      }
    };
    await Promise.all(this.#readyFollowers().map(ask));
    return Math.min(...spares);
  }

  /** Space left for users: of the brick that has least. */
  get spareBytes(): number {
    return this.#spare.bytes;
  }

  /** Plans, takes the locks and carries out; runs again from here when it had to wait. */
  #plan(mutation: Mutation): void {
    if (this.#state === 'stopped') return;
    if (this.#gates.size > 0) {
      this.#held.push(() => this.#plan(mutation));
      return;
    }
    if (!mutation.spaceChecked && !this.#spaceFor(mutation)) return;
    let plan: Plan;
    try {
      plan = planMutation(this.host.copy.store, mutation.op, mutation.args);
    } catch (error) {
      // What a change under way would decide otherwise is looked at again when that change is through.
      const parents = parentLocks(mutation.op, mutation.args).filter((lock) => !this.locks.free(lock));
      if (parents.length > 0) this.#afterLocks(parents, () => this.#plan(mutation));
      else this.#finish(mutation, definiteErrno(error), undefined);
      return;
    }
    const ticket = this.locks.acquire(plan.locks, () => {
      this.#granted(mutation, plan, ticket);
    });
    if (ticket.granted) this.#carryOut(mutation, plan, ticket);
  }

  #granted(mutation: Mutation, plan: Plan, ticket: Ticket): void {
    const fresh = this.#gates.size === 0 && this.#state === 'serving' ? this.#replan(mutation) : undefined;
    if (fresh !== undefined && sameLocks(plan, fresh)) {
      this.#carryOut(mutation, fresh, ticket);
      return;
    }
    this.locks.release(ticket);
    this.#plan(mutation);
  }

  /** The plan as things are now; undefined where it cannot be made any more, which planning anew will answer. */
  #replan(mutation: Mutation): Plan | undefined {
    try {
      return planMutation(this.host.copy.store, mutation.op, mutation.args);
    } catch (error) {
      definiteErrno(error);
      return undefined;
    }
  }

  #afterLocks(locks: Ticket['locks'], run: () => void): void {
    const ticket = this.locks.acquire(locks, () => {
      this.locks.release(ticket);
      run();
    });
    if (ticket.granted) {
      this.locks.release(ticket);
      run();
    }
  }

  /** Others let go of what they know of the inodes that change, then the change is made. */
  #carryOut(mutation: Mutation, plan: Plan, ticket: Ticket): void {
    const changing: Gfid[] = [];
    for (const lock of plan.locks) if (lock.mode >= Mode.Write) changing.push(lock.gfid);
    const free = this.leases.recall(changing, mutation.session, () => {
      // The locks were held meanwhile, so the plan stands; but the role may be over, or mutations held.
      if (this.#state === 'stopped') return;
      if (this.#gates.size === 0) this.#change(mutation, plan, ticket);
      else {
        this.locks.release(ticket);
        this.#plan(mutation);
      }
    });
    if (free) this.#change(mutation, plan, ticket);
  }

  #change(mutation: Mutation, plan: Plan, ticket: Ticket): void {
    const { session } = mutation;
    let { op, args } = mutation;
    if (op === 'setLock' && this.#mustWait(mutation, args as Args<'setLock'>, ticket)) return;
    if (op === 'open' || plan.existing !== '') {
      const gfid = plan.existing === '' ? (args as Args<'open'>).gfid : plan.existing;
      if (!(args as Args<'open'>).truncate) {
        this.#open(mutation, gfid, ticket);
        return;
      }
      op = 'setattr';
      args = { gfid, size: 0, atimeNow: false, mtimeNow: true, killPriv: true };
    }
    let keys = plan.keys;
    if (op === 'write' && (args as Args<'write'>).append) {
      try {
        args = { ...(args as Args<'write'>), append: false, offset: this.host.copy.store.getattr((args as Args<'write'>).gfid).size };
        keys = planMutation(this.host.copy.store, 'write', args).keys;
      } catch (error) {
        this.locks.release(ticket);
        this.#finish(mutation, definiteErrno(error), undefined);
        return;
      }
    }
    const newGfid = plan.creates ? hex(this.host.random.bytes(16)) : '';
    if (plan.creates) keys = [...keys, inodeKey(newGfid)];
    const purge = plan.unlinks !== '' && !this.host.sessions.isOpen(plan.unlinks) && this.host.clock.now() >= this.#purgeFrom;
    const change: Change = {
      op, args, session: session.id, requestNumber: mutation.requestNumber, acknowledged: mutation.acknowledged,
      time: this.#nextTime(), newGfid, purge, keys,
    };
    let result: unknown;
    try {
      result = this.host.copy.apply(change);
    } catch (error) {
      const errno = definiteErrno(error);
      // A file system has room for so many xattrs of one inode, and says ENOSPC too.
      const full = RESOURCE_ERRORS.has(errno) && !(op === 'setxattr' && errno === Errno.ENOSPC);
      if (full && this.#readyFollowers().length > 0) void this.#resourceFailure(mutation, change, ticket, errno);
      else {
        this.locks.release(ticket);
        this.#finish(mutation, errno, undefined);
      }
      return;
    }
    if (op === 'copyFileRange') {
      const { copied } = result as { copied: number };
      if (copied > COPY_BYTES_MAX) throw new Error('a copy larger than its limit');
      change.args = { ...(args as Args<'copyFileRange'>), length: copied };
    }
    const opened = openedBy(mutation.op, plan, newGfid);
    if (opened !== '') session.opened(opened);
    this.#send(mutation, change, ticket, asResultOf(mutation.op, result), this.#afterCommit(mutation, plan));
  }

  /** Sends an applied change to the members and waits for their acknowledgements. */
  #send(mutation: Mutation, change: Change, ticket: Ticket, result: unknown, after: (() => void) | undefined): void {
    const sequence = ++this.#sequence;
    const answer = this.host.copy.remember(change, result);
    if (answer !== undefined) answer.countedBy = this;
    this.host.copy.noteDoubt(sequence, change.keys);
    this.#flights.push({ sequence, ticket, request: mutation, errno: 0, result, after });
    const message = this.#replicateMessage(change, sequence);
    let waits = false;
    for (const follower of this.followers.values()) {
      if (follower.link === undefined) continue;
      if (follower.state === 'ready' || (follower.state === 'catchingUp' && follower.catchUp?.offer(change.keys, sequence) === true)) {
        follower.link.send(message);
      }
      if (follower.state === 'ready') waits = true;
    }
    this.#noticed = this.#committed;
    if (!waits) this.#commit();
  }

  #replicateMessage(change: Change, sequence: number): Message {
    const { op, args, session, requestNumber, acknowledged, time, newGfid, purge, keys } = change;
    return {
      kind: 'replicate', epoch: this.#view.epoch, sequence, committed: this.#committed, session, requestNumber, acknowledged, time, newGfid, purge,
      keys: op === 'write' ? [] : keys, op, args,
    } as Message;
  }

  #applied(follower: Follower, message: MessageOf<'applied'>): void {
    if (message.errno !== 0) {
      this.#log.warn('a brick could not apply what the others did; it leaves', { brick: follower.brick, errno: message.errno, sequence: message.sequence });
      follower.link?.close(`could not apply a change: errno ${message.errno}`);
      return;
    }
    if (message.sequence <= follower.acknowledged) return;
    follower.acknowledged = message.sequence;
    if (follower.state === 'ready') this.#commit();
    else follower.catchUp?.acknowledged(message.sequence);
  }

  /** Completes every change that all in-sync bricks have. */
  #commit(): void {
    if (this.#state !== 'serving') return;
    let upTo = this.#sequence;
    for (const brick of this.#view.inSync) {
      if (brick === this.host.brick) continue;
      const follower = this.followers.get(brick);
      upTo = Math.min(upTo, follower?.state === 'ready' ? follower.acknowledged : this.#committed);
    }
    if (upTo <= this.#committed) {
      this.#checkDrained();
      return;
    }
    this.#committed = upTo;
    this.host.copy.committed(upTo);
    this.host.copy.journal.flushAnswers();
    while (this.#flightsHead < this.#flights.length && (this.#flights[this.#flightsHead] as Flight).sequence <= upTo) {
      const flight = this.#flights[this.#flightsHead] as Flight;
      this.#flights[this.#flightsHead++] = undefined as never;
      this.#complete(flight);
    }
    if (this.#flightsHead > 1024 || this.#flightsHead === this.#flights.length) {
      this.#flights = this.#flights.slice(this.#flightsHead);
      this.#flightsHead = 0;
    }
    this.#checkDrained();
    this.#notice();
  }

  #complete(flight: Flight): void {
    this.locks.release(flight.ticket);
    const { request } = flight;
    // Every member has it; a brick that catches up may still be sent it.
    if (request.op === 'write' && !this.#catchingUp()) this.host.giveBack((request.args as Args<'write'>).data);
    if (request.op === 'write' && (request.args as Args<'write'>).sync) this.#syncThenFinish(request, (request.args as Args<'write'>).gfid, true, flight.result);
    else this.#finish(request, flight.errno, flight.result);
    flight.after?.();
  }

  #catchingUp(): boolean {
    for (const follower of this.followers.values()) if (follower.state !== 'ready') return true;
    return false;
  }

  /** Tells the members soon what is committed, in case no mutation follows to carry it. */
  #notice(): void {
    if (this.#noticePending) return;
    this.#noticePending = true;
    this.host.clock.after(HEARTBEAT_MS, () => {
      this.#noticePending = false;
      if (this.#state !== 'serving' || this.#noticed >= this.#committed) return;
      this.#noticed = this.#committed;
      for (const follower of this.followers.values()) {
        if (follower.state === 'ready') follower.link?.send({ kind: 'committed', epoch: this.#view.epoch, sequence: this.#committed });
      }
    });
  }

  #finish(mutation: Mutation, errno: number, result: unknown): void {
    if (mutation.requestNumber === 0 || this.#state === 'stopped') return;
    const id = mutation.session.underWay.get(mutation.requestNumber) ?? mutation.id;
    mutation.session.underWay.delete(mutation.requestNumber);
    // Definite failures changed nothing: remembered here only, a new primary may find the same or better.
    if (errno !== 0) {
      this.host.copy.results.acknowledge(mutation.sessionId, mutation.acknowledged);
      this.host.copy.results.record(mutation.sessionId, mutation.requestNumber, makeAnswer(mutation.op, errno, undefined));
    }
    this.#reply(mutation.session, id, errno, mutation.op, result);
  }

  #reply(session: Session, id: number, errno: number, op: OpName, result: unknown): void {
    const attr = errno === 0 ? (result as { attr?: Attr } | undefined)?.attr : undefined;
    const lease = attr !== undefined && this.grantable(session, attr.gfid);
    if (lease) this.leases.grant(attr.gfid, session);
    session.channel?.send({ kind: 'reply', id, errno, lease, op, result: errno === 0 ? result : undefined } as Message);
  }

  /** True when what is said of this inode now holds until a recall. */
  grantable(session: Session, gfid: Gfid): boolean {
    return this.leases.eligible(session) && this.locks.free(readLock(gfid));
  }

  // ---------------------------------------------------------------- open, release, fsync, locks

  #open(mutation: Mutation, gfid: Gfid, ticket: Ticket): void {
    let errno = 0;
    let result: unknown;
    try {
      const attr = this.host.copy.store.getattr(gfid);
      result = mutation.op === 'create' ? { attr, created: false } : { attr };
      mutation.session.opened(gfid);
    } catch (error) {
      errno = definiteErrno(error);
    }
    this.locks.release(ticket);
    if (errno === 0) this.host.copy.results.record(mutation.sessionId, mutation.requestNumber, { ...makeAnswer(mutation.op, errno, result), countedBy: this });
    this.#finish(mutation, errno, result);
  }

  #release(mutation: Mutation, args: Args<'release'>): void {
    const last = mutation.session.released(args.gfid);
    this.host.copy.results.record(mutation.sessionId, mutation.requestNumber, makeAnswer('release', 0, {}));
    this.#finish(mutation, 0, {});
    if (last) this.#purgeIfOrphan(args.gfid);
  }

  /** Removes an inode that has no name and that nobody has open, on every brick. */
  #purgeIfOrphan(gfid: Gfid): void {
    if (this.#state !== 'serving' || this.host.clock.now() < this.#purgeFrom || this.host.sessions.isOpen(gfid) || !this.locks.free({ gfid, mode: 3, start: 0, end: 0 })) return;
    try {
      if (this.host.copy.store.getattr(gfid).nlink !== 0) return;
    } catch (error) {
      if (definiteErrno(error) === Errno.ESTALE) return;
      throw error;
    }
    this.leases.recall([gfid], undefined, () => undefined);
    const keys = [inodeKey(gfid)];
    try {
      this.host.copy.journal.note(keys);
      this.host.copy.store.purge(gfid);
    } catch (error) {
      // It stays an orphan until a later primary sweeps.
      this.#log.warn('an inode without names could not be removed', { gfid, errno: definiteErrno(error) });
      return;
    }
    for (const follower of this.followers.values()) {
      if (follower.link === undefined) continue;
      if (follower.state === 'ready') void follower.link.call(this.#view.epoch, 'purge', { gfid }, CALL_TIMEOUT_MS).catch(() => undefined);
      else follower.catchUp?.touch(keys);
    }
  }

  #sweepOrphans(): void {
    if (this.#sweeping || this.#gates.size > 0) return;
    this.#sweeping = true;
    for (const gfid of this.host.copy.store.orphans()) this.#purgeIfOrphan(gfid);
  }

  #afterCommit(mutation: Mutation, plan: Plan): (() => void) | undefined {
    const { op } = mutation;
    if (op === 'setLock' || op === 'dropLocks') return () => this.#wakeLockWaiters((mutation.args as Args<'dropLocks'>).gfid);
    if (plan.unlinks !== '') return () => this.#purgeIfOrphan(plan.unlinks);
    return undefined;
  }

  #fsync(mutation: Mutation, args: Args<'fsync'>): void {
    this.#syncThenFinish(mutation, args.gfid, args.dataOnly, {});
  }

  /** Everything acknowledged for the inode is made durable on every in-sync brick, then the request is answered. */
  #syncThenFinish(mutation: Mutation, gfid: Gfid, dataOnly: boolean, result: unknown): void {
    const work = [this.host.copy.store.fsync(gfid, dataOnly).catch((error: unknown) => this.#ownSyncFailed(error))];
    for (const follower of this.followers.values()) if (follower.state === 'ready') work.push(this.#syncAt(follower, gfid, dataOnly));
    void Promise.all(work).then(
      () => {
        // A member that was missing, or was lost meanwhile, must have left the set before this counts as done.
        if (this.#state !== 'serving') return;
        if (this.#gates.has('member')) this.#held.push(() => this.#syncThenFinish(mutation, gfid, dataOnly, result));
        else this.#finish(mutation, 0, result);
      },
      (error: unknown) => {
        if (this.#state === 'serving') this.#finish(mutation, errnoOf(error), undefined);
      },
    );
  }

  async #syncAt(follower: Follower, gfid: Gfid, dataOnly: boolean): Promise<void> {
    const { link } = follower;
    try {
      await link?.call(this.#view.epoch, 'fsync', { gfid, dataOnly }, Math.max(CALL_TIMEOUT_MS, this.host.pingTimeoutMs()));
    } catch (error) {
      if (error instanceof FsError && error.errno === Errno.ESTALE && !this.#gfidIsGone(gfid)) link?.close('does not know an inode that was synced');
      else if (error instanceof FsError && error.errno !== Errno.ESTALE) link?.close(`fsync failed: ${error.message}`);
      else if (!(error instanceof FsError) && !(error instanceof LostError)) throw error;
    }
  }

  #gfidIsGone(gfid: Gfid): boolean {
    try {
      this.host.copy.store.getattr(gfid);
      return false;
    } catch {
      return true;
    }
  }

  /** A failed fsync is never retried and acknowledged: this copy is suspect, another brick takes over. */
  async #ownSyncFailed(error: unknown): Promise<void> {
    const errno = definiteErrno(error);
    if (errno === Errno.ESTALE) throw error;
    await this.#stepDown(`fsync failed with errno ${errno}`);
    throw error;
  }

  /** Hands the role to a ready member. Nothing happens when there is none, or when the set would lose its majority. */
  async #stepDown(reason: string): Promise<boolean> {
    const successor = this.#readyFollowers()[0];
    if (successor === undefined) return false;
    this.#log.error('this copy is suspect: another brick takes over', { reason, successor: successor.brick });
    try {
      this.host.adoptView(await this.host.authority.change(this.#view.epoch, { kind: 'succeed', successor: successor.brick }));
    } catch (error) {
      this.#log.warn('the view authority did not answer', { error: String(error) });
    }
    return this.stopped;
  }

  /**
   * This disk refused a change (full, read-only, broken). If the members can do it, this copy leaves the set and the client's retry
   * finds the answer at the new primary; if none can, that is the answer.
   */
  async #resourceFailure(mutation: Mutation, change: Change, ticket: Ticket, errno: number): Promise<void> {
    this.#gates.add('repair');
    await this.#drain();
    const sequence = ++this.#sequence;
    const message = this.#replicateMessage(change, sequence);
    const ready = this.#readyFollowers();
    const outcomes = await Promise.all(ready.map((follower) => this.#tryAt(follower, message, sequence)));
    const took = ready.filter((_, i) => outcomes[i] === 0);
    if (this.#state === 'stopped') return;
    if (took.length > 0) {
      const before = this.#view.epoch;
      try {
        this.host.adoptView(await this.host.authority.change(before, { kind: 'succeed', successor: (took[0] as Follower).brick }));
      } catch (error) {
        this.#log.warn('the view authority did not answer', { error: String(error) });
      }
      if (this.stopped) return;
    }
    // Nobody took it, or nobody can replace this brick: the members are made as this copy is, and the error is the answer.
    for (const follower of ready) follower.link?.close('made equal again after a refused change');
    this.locks.release(ticket);
    this.#finish(mutation, errno, undefined);
    this.#gates.delete('repair');
    this.#openGate();
  }

  #tryAt(follower: Follower, message: Message, sequence: number): Promise<number> {
    return new Promise((resolve) => {
      const { link } = follower;
      if (link === undefined) {
        resolve(Errno.ENOTCONN);
        return;
      }
      const cancel = this.host.clock.after(CALL_TIMEOUT_MS, () => link.close('no answer to a change'));
      const finish = (errno: number): void => {
        cancel();
        resolve(errno);
      };
      const close = link.onClose;
      link.onApplied = (applied) => {
        if (applied.sequence < sequence) return;
        link.onApplied = (m) => this.#applied(follower, m);
        link.onClose = close;
        follower.acknowledged = sequence;
        finish(applied.errno);
      };
      link.onClose = (reason) => {
        close(reason);
        finish(Errno.ENOTCONN);
      };
      link.send(message);
    });
  }

  /** True when the lock is not granted now: the request was answered or waits. */
  #mustWait(mutation: Mutation, args: Args<'setLock'>, ticket: Ticket): boolean {
    const request = { ...args, session: mutation.sessionId };
    const verdict = this.#waiters.examine(request);
    if (verdict === 'grant') return false;
    this.locks.release(ticket);
    if (verdict === 'conflict' && args.wait) {
      this.#waiters.add({ request, mutation });
      return true;
    }
    this.#finish(mutation, verdict === 'deadlock' ? Errno.EDEADLK : verdict === 'limit' ? Errno.ENOLCK : Errno.EAGAIN, undefined);
    return true;
  }

  #wakeLockWaiters(gfid: Gfid): void {
    for (const waiter of this.#waiters.take(gfid)) this.#plan((waiter as LockWaiter<Mutation>).mutation);
  }

  #cancelLock(session: Session, channel: Channel<Message>, message: MessageOf<'request'>): void {
    const { gfid, owner } = message.args as Args<'cancelLock'>;
    for (const waiter of this.#waiters.cancel(session.id, gfid, owner)) this.#finish((waiter as LockWaiter<Mutation>).mutation, Errno.EINTR, undefined);
    channel.send({ kind: 'reply', id: message.id, errno: 0, lease: false, op: 'cancelLock', result: {} });
  }

  /** The session is silent or over: its locks and opens go, everywhere. */
  releaseSession(session: Session): void {
    for (const waiter of this.#waiters.cancelSession(session.id)) session.underWay.delete((waiter as LockWaiter<Mutation>).mutation.requestNumber);
    const freed = this.host.copy.fileLocks.dropSession(session.id);
    this.#tellReady('releaseSession', session);
    for (const gfid of freed) this.#wakeLockWaiters(gfid);
    const opens = [...session.opens.keys()];
    session.opens.clear();
    session.countedBy = undefined;
    for (const gfid of opens) this.#purgeIfOrphan(gfid);
  }

  /** Nobody will ask for this session's answers again. */
  endSession(session: Session): void {
    this.releaseSession(session);
    this.host.sessions.remove(session.id);
    this.host.copy.results.drop(session.id);
    this.#tellReady('endSession', session);
  }

  #tellReady(op: 'releaseSession' | 'endSession', session: Session): void {
    for (const follower of this.followers.values()) {
      if (follower.state === 'ready') void follower.link?.call(this.#view.epoch, op, { session: session.id }, CALL_TIMEOUT_MS).catch(() => undefined);
    }
  }

  // ---------------------------------------------------------------- members

  #connectAll(): void {
    for (const brick of [...this.#view.inSync, ...this.#view.catchingUp]) {
      if (brick === this.host.brick || this.followers.has(brick)) continue;
      const follower: Follower = { brick, link: undefined, state: 'down', acknowledged: 0, catchUp: undefined, seal: undefined };
      this.followers.set(brick, follower);
      void this.#keepConnected(follower);
    }
  }

  /** Dials and joins a follower again and again until it leaves the view or this brick is no longer primary. */
  async #keepConnected(follower: Follower): Promise<void> {
    let pause = REDIAL_MS_MIN;
    let failures = 0;
    while (this.#state !== 'stopped' && this.followers.get(follower.brick) === follower) {
      try {
        const link = new PeerLink(follower.brick, await this.host.dial(follower.brick), this.host.clock);
        follower.link = link;
        follower.state = 'joining';
        const closed = new Promise<string>((resolve) => (link.onClose = resolve));
        link.onApplied = (message) => this.#applied(follower, message);
        if (link.closed) throw new LostError('closed at once');
        follower.seal = await link.call(this.#view.epoch, 'seal', { view: this.#view }, CALL_TIMEOUT_MS);
        pause = REDIAL_MS_MIN;
        failures = 0;
        if (this.#state === 'serving') this.#join(follower);
        else this.#wakeRecovery();
        const reason = await closed;
        this.#lost(follower, reason);
      } catch (error) {
        follower.link?.close('joining failed');
        this.#lost(follower, String(error));
        failures++;
        if (error instanceof FsError && error.errno === Errno.ESTALE) this.#log.warn('a member knows a later view', { brick: follower.brick });
      }
      if (failures >= 2) this.#askToDrop(follower, 'cannot be reached');
      await this.sleep(pause);
      pause = Math.min(pause * 2, REDIAL_MS_MAX);
    }
  }

  #lost(follower: Follower, reason: string): void {
    const before = follower.state;
    follower.link = undefined;
    follower.state = 'down';
    follower.seal = undefined;
    follower.catchUp?.stop(reason);
    follower.catchUp = undefined;
    if (this.#state === 'stopped' || this.followers.get(follower.brick) !== follower) return;
    if (before === 'ready') {
      this.#log.warn('lost a member', { brick: follower.brick, reason });
      this.#askToDrop(follower, reason);
      this.#updateGate();
    }
  }

  /** The members serve no reads, so one that is lost may leave at once. */
  #askToDrop(follower: Follower, reason: string): void {
    const { brick } = follower;
    const listed = this.#view.inSync.includes(brick);
    const kind = listed ? 'drop' : 'abandon';
    if (!listed && !this.#view.catchingUp.includes(brick)) return;
    this.#log.info('asks for a view without a brick', { brick, reason, epoch: this.#view.epoch });
    this.host.authority.change(this.#view.epoch, { kind, brick }).then(
      (view) => this.host.adoptView(view),
      (error: unknown) => this.#log.warn('the view authority did not answer', { error: String(error) }),
    );
  }

  #sealFailed(follower: Follower, error: unknown): void {
    if (this.#state !== 'stopped') follower.link?.close(`seal failed: ${String(error)}`);
  }

  /** A brick connected to a serving primary. */
  #join(follower: Follower): void {
    const inSync = this.#view.inSync.includes(follower.brick);
    if (inSync) this.#updateGate();
    follower.catchUp = new CatchUp(this, follower, inSync);
    follower.catchUp.run().then(
      () => undefined,
      (error: unknown) => {
        if (this.#state === 'stopped') return;
        this.#log.warn('catching up was interrupted', { brick: follower.brick, error: String(error) });
        if (!(error instanceof LostError) && !(error instanceof FsError)) throw error;
        // Not at once: what stood in the way (a full disk, say) will still be there.
        const { link } = follower;
        void this.sleep(INTERRUPTED_MS).then(() => link?.close('catching up was interrupted'));
      },
    );
  }

  /** The follower is equal to this copy and gets every change from now on. */
  becomeReady(follower: Follower): void {
    follower.state = 'ready';
    follower.acknowledged = this.#sequence;
    follower.catchUp = undefined;
    this.#updateGate();
    this.#commit();
  }

  #readyFollowers(): Follower[] {
    return [...this.followers.values()].filter((follower) => follower.state === 'ready' && this.#view.inSync.includes(follower.brick));
  }

  /** Mutations are held while a member is missing that the view lists as in sync. */
  #updateGate(): void {
    const missing = this.#view.inSync.some((brick) => brick !== this.host.brick && this.followers.get(brick)?.state !== 'ready');
    if (missing) {
      this.#gates.add('member');
      for (const wake of this.#drained.splice(0)) wake();
    } else if (this.#gates.delete('member')) this.#openGate();
  }

  closeGate(reason: string): void {
    this.#gates.add(reason);
  }

  releaseGate(reason: string): void {
    this.#gates.delete(reason);
    this.#openGate();
  }

  #openGate(): void {
    if (this.#gates.size > 0 || this.#state !== 'serving') return;
    const held = this.#held;
    this.#held = [];
    for (const run of held) run();
  }

  get sequence(): number {
    return this.#sequence;
  }

  /** Resolves when no change is under way, or when none can finish because a member is missing. */
  #drain(): Promise<void> {
    if (this.#flightsHead === this.#flights.length || this.stalled || this.#state === 'stopped') return Promise.resolve();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  drain(): Promise<void> {
    return this.#drain();
  }

  #checkDrained(): void {
    if (this.#flightsHead === this.#flights.length) for (const wake of this.#drained.splice(0)) wake();
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.host.clock.after(ms, resolve));
  }

  // ---------------------------------------------------------------- recovery

  #recoveryWake: (() => void) | undefined;

  #wakeRecovery(): void {
    this.#recoveryWake?.();
  }

  /**
   * Seals every member, lets a better copy have the role, makes the members equal in what is in doubt, then serves.
   */
  async #recover(): Promise<void> {
    this.#log.info('becoming primary', { epoch: this.#view.epoch, inSync: this.#view.inSync });
    this.#connectAll();
    const missingSince = this.host.clock.now();
    while (this.#state === 'recovering') {
      const members = this.#view.inSync.filter((brick) => brick !== this.host.brick);
      const sealed = members.map((brick) => this.followers.get(brick)).filter((follower) => follower?.seal !== undefined) as Follower[];
      const best = Math.max(0, ...sealed.map((follower) => follower.seal?.standing ?? 0));
      if (best > this.host.standing()) {
        const successor = sealed.find((follower) => follower.seal?.standing === best) as Follower;
        this.#log.warn('a member has the better copy and takes the role', { successor: successor.brick, standing: best });
        try {
          this.host.adoptView(await this.host.authority.change(this.#view.epoch, { kind: 'succeed', successor: successor.brick }));
        } catch (error) {
          this.#log.warn('the view authority did not answer', { error: String(error) });
          await this.sleep(200);
        }
        continue;
      }
      if (sealed.length === members.length && (await this.#settleAll(sealed))) break;
      if (sealed.length < members.length && this.host.clock.now() >= missingSince + MISSING_MS) await this.#replaceMissing(members);
      await this.#recoveryEvent();
      this.#connectAll();
    }
    if (this.#state !== 'recovering') return;
    this.#state = 'serving';
    this.host.copy.clearDoubt();
    // The best copy there is has become the truth.
    if (this.host.copy.journal.meta.incomplete) this.host.copy.journal.updateMeta({ incomplete: false });
    this.host.joined(this.#view.epoch);
    this.#log.info('serving', { epoch: this.#view.epoch, inSync: this.#view.inSync });
    // Leases that the primary before this one gave may be trusted for so long.
    if (this.#view.epoch > 1) {
      this.#gates.add('leases');
      this.host.clock.after(LEASE_MS, () => this.releaseGate('leases'));
    }
    this.#connectAll();
    this.#updateGate();
    for (const follower of this.followers.values()) if (follower.state === 'joining' && follower.seal !== undefined) this.#join(follower);
    this.#openGate();
  }

  /**
   * A member that cannot be dropped stays away: a brick that waits to catch up is made equal and takes its place. Only when this copy lost nothing: then it has
   * every change that was acknowledged, since none was without it. The new view begins recovery anew.
   */
  async #replaceMissing(members: BrickId[]): Promise<void> {
    const newcomer = [...this.followers.values()].find((follower) => follower.seal !== undefined && this.#view.catchingUp.includes(follower.brick));
    if (newcomer === undefined || this.host.standing() === 0) return;
    const without = members.filter((brick) => this.followers.get(brick)?.seal === undefined);
    this.#log.warn('members stay away, another brick takes their place', { newcomer: newcomer.brick, without });
    try {
      const catchUp = new CatchUp(this, newcomer, true);
      newcomer.catchUp = catchUp;
      await catchUp.makeEqual();
      await this.sendState(newcomer);
      this.host.adoptView(await this.host.authority.change(this.#view.epoch, { kind: 'admit', brick: newcomer.brick, without }));
    } catch (error) {
      if (!(error instanceof LostError) && !(error instanceof FsError)) throw error;
      this.#log.warn('the brick could not take their place', { newcomer: newcomer.brick, error: String(error) });
      newcomer.link?.close('recovery begins again');
    }
  }

  #recoveryEvent(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.host.clock.after(100, () => {
        this.#recoveryWake = undefined;
        resolve();
      });
      this.#recoveryWake = () => {
        cancel();
        this.#recoveryWake = undefined;
        resolve();
      };
    });
  }

  async #settleAll(members: Follower[]): Promise<boolean> {
    const { copy } = this.host;
    const doubt = copy.doubtKeys();
    for (const member of members) for (const key of member.seal?.doubt ?? []) doubt.add(key);
    const own = this.host.standing();
    try {
      copy.journal.note([...doubt]);
      await Promise.all(
        members.map(async (member) => {
          const continuous = own === 2 && member.seal?.standing === 2;
          const catchUp = new CatchUp(this, member, true);
          member.catchUp = catchUp;
          await (continuous ? catchUp.settle([...doubt]) : catchUp.makeEqual());
          await this.sendState(member);
        }),
      );
    } catch (error) {
      if (!(error instanceof LostError) && !(error instanceof FsError)) throw error;
      this.#log.warn('a member was lost while it was made equal', { error: String(error) });
      for (const member of members) if (member.state !== 'down') member.link?.close('recovery begins again');
      await this.sleep(RECOVERY_PAUSE_MS);
      return false;
    }
    if (this.#state !== 'recovering') return false;
    for (const member of members) {
      if (member.link === undefined || !this.#view.inSync.includes(member.brick)) return false;
    }
    for (const member of members) {
      member.state = 'ready';
      member.acknowledged = this.#sequence;
      member.catchUp = undefined;
    }
    return true;
  }

  /** Sends answers and locks: the follower could take over after this. */
  async sendState(follower: Follower): Promise<void> {
    const state = this.host.copy.exportState();
    const parts = Math.max(1, Math.ceil(state.byteLength / STATE_PART_BYTES));
    for (let part = 0; part < parts; part++) {
      const slice = state.subarray(part * STATE_PART_BYTES, (part + 1) * STATE_PART_BYTES);
      await this.call(follower, 'settle', { part, last: part === parts - 1, state: slice });
    }
  }

  async call<K extends Parameters<PeerLink['call']>[1]>(follower: Follower, op: K, args: Parameters<typeof PeerLink.prototype.call<K>>[2]) {
    if (follower.link === undefined) throw new LostError(`${op}: no connection to brick ${follower.brick}`);
    return await follower.link.call(this.#view.epoch, op, args, CALL_TIMEOUT_MS * 6);
  }

  // ---------------------------------------------------------------- timers

  #every(ms: number, callback: () => void): void {
    const index = this.#timers.length;
    const arm = (): void => {
      this.#timers[index] = this.host.clock.after(ms, () => {
        if (this.#state === 'stopped') return;
        arm();
        callback();
      });
    };
    this.#timers.push(() => undefined);
    arm();
  }

  #tick(): void {
    const now = this.host.clock.now();
    if (this.#state === 'serving') void this.#spare.refresh();
    if (this.#state === 'serving' && !this.#sweeping && now >= this.#purgeFrom) this.#sweepOrphans();
  }

  /** Rotates the journals and syncs the disks of every in-sync brick; older generations go when the whole set took part. */
  async checkpoint(): Promise<void> {
    const { journal, store } = this.host.copy;
    const ready = this.#readyFollowers();
    if (this.#state !== 'serving' || !journal.dirty || this.#gates.has('member')) return;
    const number = Math.max(journal.meta.checkpoint, journal.meta.base) + 1;
    try {
      this.host.copy.rotate(number);
      await Promise.all([store.sync(), ...ready.map((follower) => this.call(follower, 'checkpoint', { number }))]);
      journal.synced(number);
      const whole = ready.length === this.host.bricks.length - 1 && ready.every((follower) => follower.state === 'ready');
      if (!whole || this.stopped) return;
      journal.complete(number);
      await Promise.all(ready.map((follower) => this.call(follower, 'checkpointDone', { number })));
    } catch (error) {
      if (!(error instanceof LostError) && !(error instanceof FsError)) throw error;
      this.#log.warn('a checkpoint was not completed', { number, error: String(error) });
    }
  }

  #nextTime(): Time {
    let time = this.host.clock.wall();
    if (compareTime(time, this.#lastTime) <= 0) {
      const { sec, nsec } = this.#lastTime;
      time = nsec === 999_999_999 ? { sec: sec + 1, nsec: 0 } : { sec, nsec: nsec + 1 };
    }
    this.#lastTime = time;
    return time;
  }

  heals(): HealStatus[] {
    const absent = this.host.bricks.filter((brick) => !this.#view.inSync.includes(brick) && !this.#view.catchingUp.includes(brick));
    const heals = [...this.followers.values()].filter((follower) => follower.state !== 'ready').map((follower) => CatchUp.status(this, follower));
    return [...heals, ...absent.map((brick) => CatchUp.absentStatus(this, brick))];
  }
}

/** What must outlive the call that received it; large payloads have a buffer of their own already. */
function own(message: MessageOf<'request'>): MessageOf<'request'> {
  return { ...message, args: ownArgs(message.op, message.args) } as MessageOf<'request'>;
}

function ownArgs(op: OpName, args: unknown): unknown {
  if (op === 'write') {
    const write = args as Args<'write'>;
    return write.data.byteLength >= OWN_PAYLOAD_BYTES ? write : { ...write, data: Buffer.from(write.data) };
  }
  if (op === 'setxattr') return { ...(args as Args<'setxattr'>), value: Buffer.from((args as Args<'setxattr'>).value) };
  return args;
}

/** The answer to `op` where the change that was made is of another kind (open and create with truncation). */
function asResultOf(op: OpName, result: unknown): unknown {
  const { attr, created, copied } = result as { attr?: unknown; created?: boolean; copied?: number };
  if (op === 'create') return { attr, created: created ?? false };
  return op === 'open' || op === 'tmpfile' ? { attr } : op === 'copyFileRange' ? { copied, attr } : result;
}

function unlocks(op: OpName, args: unknown): boolean {
  return op === 'dropLocks' || (op === 'setLock' && (args as Args<'setLock'>).type === LOCK_NONE);
}

function openedBy(op: OpName, plan: Plan, newGfid: Gfid): Gfid {
  if (!OPENING.has(op)) return '';
  if (plan.creates) return newGfid;
  return plan.existing === '' ? (plan.locks[0]?.gfid ?? '') : plan.existing;
}

function parentLocks(op: OpName, args: unknown): Ticket['locks'] {
  const { parent, newParent, gfid } = args as { parent?: Gfid; newParent?: Gfid; gfid?: Gfid };
  assert(op in OPS, 'a known operation');
  const inodes = [parent, newParent, gfid].filter((inode) => inode !== undefined);
  return [...new Set(inodes)].map((inode) => ({ gfid: inode, mode: 0, start: 0, end: 0 }));
}
