/**
 * A mutation at the primary, from the request to the answer:
 *
 *   asked before? ─▶ space ─▶ plan ─▶ locks ─▶ leases of others recalled ─▶ applied here ─▶ stream.ts ─▶ finish
 *
 * Wherever it waits, it goes on by planning anew: what was true before the wait need not be true after it.
 */
import { hex, type Gfid } from '../base/ids.js';
import { compareTime, type Time } from '../base/time.js';
import { Errno } from '../base/errno.js';
import type { Attr } from '../fops/fields.js';
import { isRegular, type Args, type OpName } from '../fops/ops.js';
import type { Message, MessageOf } from '../wire/messages.js';
import { definiteErrno, type Change } from './copy.js';
import { LOCK_NONE } from './file-locks.js';
import { Mode, onBehalf, readLock, type Ticket } from './inode-locks.js';
import { inodeKey } from './keys.js';
import { asResultOf, dataAccess, isAnswerTo, openedBy, OPENING, own, ownArgs, parentLocks, unlocks, type Mutation } from './mutation.js';
import { isSoundLock, planMutation, sameLocks, type Plan } from './plan.js';
import type { Primary } from './primary.js';
import { answeredAnew, makeAnswer, resultOf, type Answer } from './results.js';
import { NOT_ASKED, type Session } from './sessions.js';
import { bytesNeeded, overwrites } from './space.js';

/** Far below the largest file that a brick's disk can hold. */
const CERTAIN_BYTES_MAX = 2 ** 43;
/** Inodes that one session has open, at most; our own clients refuse before. */
const OPENS_MAX = 65_536;
/** Mutations of one session, over all its connections. */
const UNDER_WAY_MAX = 65_536;
/** Locks that one request tells as given: our clients have no more of all inodes that they did not tell (GIVEN_MAX there). */
const GRANTED_MAX = 128;

/** What a client orders itself against its own direct writes to the inode. */
const NAMED_BY_INODE = new Set<OpName>(['write', 'setattr', 'setxattr', 'removexattr', 'fallocate', 'copyFileRange', 'open', 'link']);
/** What a session does under its own lock lease. */
const OF_LOCKS = new Set<OpName>(['setLock', 'dropLocks']);

const UNREADABLE_MS = 200;

export class Mutations {
  readonly #primary: Primary;
  #lastTime: Time = { sec: 0, nsec: 0 };

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  begin(session: Session, message: MessageOf<'request'>): void {
    const { id, requestNumber, op } = message;
    const { host, exclusives, givenOrder } = this.#primary;
    const { results } = host.copy;
    if (op === 'write' && exclusives.isEnding(session.id, message.args.gfid)) {
      const kept = own(message, host.copyOf);
      exclusives.whenEnded(message.args.gfid, () => this.begin(session, kept));
      return;
    }
    // Before the answers: an answer is there as soon as it is applied here, but is given when every member has it.
    if (session.underWay.has(requestNumber)) {
      session.underWay.set(requestNumber, id);
      return;
    }
    const known = results.find(session.id, requestNumber);
    // An unlock that a primary before this one answered is carried out again: a lock that was claimed from this one meanwhile must go with it.
    const doubtful = op === 'write' && known?.doubtful === true;
    const answered = known !== undefined && !doubtful && (known.countedBy === this.#primary || !unlocks(op, message.args));
    const synced = answered && known.errno === 0 && known.op === 'write' && op === 'write' && message.args.sync;
    if (answered && !synced) {
      this.#repeat(session, id, op, known);
      return;
    }
    if (!synced && results.isAcknowledged(session.id, requestNumber)) {
      this.#reply(session, id, Errno.EIO, op, undefined);
      return;
    }
    if (session.underWay.size >= UNDER_WAY_MAX) {
      session.channel?.close('too many requests at once');
      return;
    }
    if (op === 'setLock' && !isSoundGift(message.args)) {
      session.channel?.close('no locks that a client can have given');
      return;
    }
    session.underWay.set(requestNumber, id);
    const mutation: Mutation = {
      session, sessionId: session.id, id, requestNumber, acknowledged: message.acknowledged, op,
      args: ownArgs(op, doubtful ? { ...message.args, append: false, offset: known.value } : message.args, this.#primary.host.copyOf), begun: session.lastSeen,
    };
    if (op === 'setLock' && message.args.wait) this.#primary.lockRequests.began(mutation);
    if (synced) this.#syncRepeated(mutation, known);
    else if (OPENING.has(op) && session.opens.size >= OPENS_MAX) this.finish(mutation, Errno.ENFILE, undefined);
    else if (op === 'release') this.#release(mutation, message.args as Args<'release'>);
    else if (op === 'fsync') this.#primary.durability.syncThenFinish(mutation, (message.args as Args<'fsync'>).gfid, (message.args as Args<'fsync'>).dataOnly, {});
    else if (OF_LOCKS.has(op)) givenOrder.begin(session.id, (message.args as Args<'dropLocks'>).gfid, isGiven(mutation), () => this.plan(mutation));
    else this.plan(mutation);
  }

  /** A synchronous write that was made before: every brick has it, but whether every disk has it only the primary knew that did not come to answer. */
  #syncRepeated(mutation: Mutation, answer: Answer): void {
    const { gfid } = mutation.args as Args<'write'>;
    try {
      this.#primary.durability.syncThenFinish(mutation, gfid, true, resultOf(answer, this.#primary.host.copy.store));
    } catch (error) {
      this.finish(mutation, definiteErrno(error), undefined);
    }
  }

  /** Answers again what was answered before. */
  #repeat(session: Session, id: number, op: OpName, answer: Answer): void {
    const errno = answer.errno !== 0 || isAnswerTo(op, answer) ? answer.errno : Errno.EINVAL;
    if (errno !== 0) {
      this.#reply(session, id, errno, op, undefined);
      return;
    }
    const gfid = answeredAnew(answer);
    const { locks } = this.#primary;
    if (gfid !== '' && !locks.free({ ...readLock(gfid), of: session.id })) {
      // What is being changed there may still be lost.
      locks.whenFree([{ ...readLock(gfid), of: session.id }], () => {
        if (!this.#primary.stopped) this.#repeat(session, id, op, answer);
      });
      return;
    }
    try {
      const result = resultOf(answer, this.#primary.host.copy.store);
      // A primary before this one counted the open, and the client does not know yet that it has it.
      if (OPENING.has(op) && answer.countedBy !== this.#primary) {
        answer.countedBy = this.#primary;
        session.opened((result as { attr: Attr }).attr.gfid);
      }
      // What it says of an inode was so then: no lease on it.
      this.#reply(session, id, 0, op, asResultOf(op, result), false);
    } catch (error) {
      this.#reply(session, id, definiteErrno(error), op, undefined);
    }
  }

  /** False when the change waits for the bricks to tell their space, or was refused. */
  #spaceFor(mutation: Mutation): boolean {
    const { spare, host, fullDisks, majority } = this.#primary;
    const { op, args } = mutation;
    const bytes = bytesNeeded(op, args);
    mutation.spaceChecked = true;
    if (bytes === 0 || spare.take(bytes)) return true;
    if (overwrites(host.copy.store, op, args)) return true;
    void spare.refresh().then(async () => {
      const verdict = spare.verdict(bytes, majority);
      if (verdict === 'full') {
        if (this.#primary.serving) this.finish(mutation, Errno.ENOSPC, undefined);
        return;
      }
      if (verdict !== 'enough') {
        mutation.spaceChecked = false;
        await fullDisks.leave(verdict.leave);
      }
      this.plan(mutation);
    });
    return false;
  }

  /** Plans, takes the locks and carries out; runs again from here when it had to wait. */
  plan(mutation: Mutation): void {
    const { stopped, gate, host, locks } = this.#primary;
    if (stopped || this.#isRevoked(mutation)) return;
    if (gate.closed) {
      gate.hold(() => this.plan(mutation));
      return;
    }
    if (mutation.spaceChecked !== true && !this.#spaceFor(mutation)) return;
    let plan: Plan;
    try {
      plan = planMutation(host.copy.store, mutation.op, mutation.args);
    } catch (error) {
      // What a change under way would decide otherwise is looked at again when that change is through.
      const parents = parentLocks(mutation.op, mutation.args).filter((lock) => !locks.free(lock));
      const errno = definiteErrno(error);
      if (parents.length > 0) locks.whenFree(parents, () => this.plan(mutation));
      else if (errno === Errno.EIO && this.#primary.view.inSync.length > 1) void this.#planElsewhere(mutation);
      else this.finish(mutation, errno, undefined);
      return;
    }
    if (NAMED_BY_INODE.has(mutation.op) || OF_LOCKS.has(mutation.op)) onBehalf(mutation.sessionId, plan.locks);
    const ticket = locks.acquire(plan.locks, () => {
      this.#granted(mutation, plan, ticket);
    });
    if (ticket.granted) this.#carryOut(mutation, plan, ticket);
  }

  /** This disk cannot be read: another brick takes over. While there is none, it is tried again here. */
  async #planElsewhere(mutation: Mutation): Promise<void> {
    await this.#primary.refusals.cannotRead([]);
    if (!this.#primary.stopped) await this.#primary.sleep(UNREADABLE_MS);
    this.plan(mutation);
  }

  #granted(mutation: Mutation, plan: Plan, ticket: Ticket): void {
    const { gate, serving, locks } = this.#primary;
    const fresh = !gate.closed && serving ? this.#replan(mutation) : undefined;
    if (fresh !== undefined && sameLocks(plan, fresh)) {
      this.#carryOut(mutation, fresh, ticket);
      return;
    }
    locks.release(ticket);
    this.plan(mutation);
  }

  /** Carries out again what a disk refused. */
  again(mutation: Mutation, ticket: Ticket): void {
    const { stopped, gate } = this.#primary;
    if (stopped) return;
    if (mutation.halfMade !== true) this.plan(mutation);
    else if (gate.closed) gate.hold(() => this.again(mutation, ticket));
    else {
      const fresh = this.#replan(mutation);
      if (fresh !== undefined) this.#carryOut(mutation, fresh, ticket);
      else void this.#primary.sleep(UNREADABLE_MS).then(() => this.again(mutation, ticket));
    }
  }

  /** The plan as things are now; undefined where it cannot be made any more, which planning anew will answer. */
  #replan(mutation: Mutation): Plan | undefined {
    try {
      return planMutation(this.#primary.host.copy.store, mutation.op, mutation.args);
    } catch (error) {
      definiteErrno(error);
      return undefined;
    }
  }

  /** Silent sessions are revoked that have open what changes, others let go of what they know of it, then the change is made. */
  #carryOut(mutation: Mutation, plan: Plan, ticket: Ticket): void {
    const { leases, locks, gate, clients, host } = this.#primary;
    const changing: Gfid[] = [];
    for (const lock of plan.locks) if (lock.mode >= Mode.Write) changing.push(lock.gfid);
    const access = host.copy.sessions.anySilent ? dataAccess(mutation.op, mutation.args, plan.existing) : undefined;
    const silent = access === undefined ? [] : clients.inTheWay(access, mutation.session);
    if (silent.length > 0) {
      if (mutation.halfMade !== true) locks.release(ticket);
      void clients.revoke(silent).then(() => this.again(mutation, ticket));
      return;
    }
    const free = leases.recall(changing, mutation.session, () => {
      // The locks were held meanwhile, so the plan stands; but the role may be over, or mutations held.
      if (this.#primary.stopped) return;
      if (!gate.closed) this.#change(mutation, plan, ticket);
      else {
        if (mutation.halfMade !== true) locks.release(ticket);
        this.again(mutation, ticket);
      }
    });
    if (free) this.#change(mutation, plan, ticket);
  }

  #change(mutation: Mutation, plan: Plan, ticket: Ticket): void {
    const { host, locks, refusals, stream, orphans } = this.#primary;
    if (this.#isRevoked(mutation)) {
      if (mutation.halfMade !== true) {
        locks.release(ticket);
        return;
      }
      // Nobody asks for its answer.
      mutation.requestNumber = 0;
    }
    if (mutation.op === 'setLock' && this.#mustWait(mutation, ticket)) return;
    const asked = this.#whatToApply(mutation, plan);
    if (asked === undefined) {
      this.#open(mutation, plan, ticket);
      return;
    }
    const { op } = asked;
    let { args } = asked;
    let { keys } = plan;
    if (op === 'write' && (args as Args<'write'>).append) {
      try {
        args = { ...(args as Args<'write'>), append: false, offset: host.copy.store.getattr((args as Args<'write'>).gfid).size };
        keys = planMutation(host.copy.store, 'write', args).keys;
      } catch (error) {
        locks.release(ticket);
        this.finish(mutation, definiteErrno(error), undefined);
        return;
      }
    }
    if (op === 'setLock') {
      const { gfid, type, granted } = args as Args<'setLock'>;
      // Who gives a lock up needs no lease for it.
      const leased = mutation.requestNumber === 0 || type === LOCK_NONE || granted !== undefined ? undefined : this.#primary.lockLeases.announce(mutation.session, gfid);
      args = { ...(args as Args<'setLock'>), leased };
    }
    const newGfid = plan.creates ? hex(host.random.bytes(16)) : '';
    if (plan.creates) keys = [...keys, inodeKey(newGfid)];
    const change: Change = {
      op, args, session: mutation.sessionId, requestNumber: mutation.requestNumber, acknowledged: mutation.acknowledged,
      time: this.nextTime(), newGfid, purge: plan.unlinks !== '' && orphans.mayPurge(plan.unlinks), keys,
    };
    let result: unknown;
    let ahead = 0;
    try {
      if (this.#isCertain(change)) {
        host.copy.journal.note(keys);
        ahead = stream.sendAhead(change);
      }
      result = host.copy.apply(change);
    } catch (error) {
      const errno = definiteErrno(error);
      if (op === 'setLock') this.#primary.lockLeases.withdraw(args as Args<'setLock'>);
      if (ahead > 0) void refusals.askThoseAhead(mutation, ticket, errno, ahead);
      else if (refusals.concerns(error, errno)) void refusals.askMembers(mutation, change, ticket, errno);
      else {
        locks.release(ticket);
        this.finish(mutation, errno, undefined);
      }
      return;
    }
    if (mutation.halfMade === true) {
      mutation.halfMade = false;
      host.copy.halfWritten(false);
    }
    if (op === 'copyFileRange') change.args = { ...(args as Args<'copyFileRange'>), length: (result as { copied: number }).copied };
    const access = dataAccess(op, args, '');
    if (access?.changes === true) mutation.session.changed(access.gfid);
    const opened = openedBy(mutation.op, plan, newGfid);
    if (opened !== '') mutation.session.opened(opened);
    stream.send(mutation, change, ticket, asResultOf(mutation.op, result), this.#afterCommit(mutation, plan), ahead);
  }

  /**
   * True for a write that every brick can make unless its disk refuses: the members may begin with it while this brick makes it. Not while a brick
   * catches up: what is taken back here would have to be taken back there.
   */
  #isCertain(change: Change): boolean {
    if (change.op !== 'write') return false;
    const { gfid, offset, data } = change.args as Args<'write'>;
    const { host, followers } = this.#primary;
    if (data.byteLength === 0 || offset + data.byteLength > CERTAIN_BYTES_MAX || !followers.allInSync) return false;
    return isRegular(host.copy.store.getattr(gfid).mode);
  }

  /** Looked at in the same step in which the change is made: what a revoked session asked for before takes no effect after. */
  #isRevoked(mutation: Mutation): boolean {
    return !this.#primary.host.copy.sessions.has(mutation.sessionId);
  }

  /** The operation that the bricks carry out; undefined for an open that changes nothing. */
  #whatToApply(mutation: Mutation, plan: Plan): { op: OpName; args: unknown } | undefined {
    const { op, args } = mutation;
    if (op !== 'open' && plan.existing === '') return { op, args };
    if (!(args as Args<'open'>).truncate) return undefined;
    return { op: 'setattr', args: { gfid: existing(mutation, plan), size: 0, atimeNow: false, mtimeNow: true, killPriv: true } };
  }

  /** True when the lock is not granted now: the request was answered or waits. */
  #mustWait(mutation: Mutation, ticket: Ticket): boolean {
    const verdict = this.#primary.lockRequests.verdict(mutation, mutation.args as Args<'setLock'>);
    if (verdict === undefined) return false;
    this.#primary.locks.release(ticket);
    if (verdict !== 'waits') this.finish(mutation, verdict, undefined);
    return true;
  }

  #afterCommit(mutation: Mutation, plan: Plan): (() => void) | undefined {
    const { op } = mutation;
    if (op === 'setLock' || op === 'dropLocks') return () => this.#primary.lockRequests.wake((mutation.args as Args<'dropLocks'>).gfid);
    if (plan.unlinks !== '') return () => this.#primary.orphans.purge(plan.unlinks);
    return undefined;
  }

  #open(mutation: Mutation, plan: Plan, ticket: Ticket): void {
    const { host, locks } = this.#primary;
    const gfid = existing(mutation, plan);
    let errno = 0;
    let result: unknown;
    try {
      const attr = host.copy.store.getattr(gfid);
      result = mutation.op === 'create' ? { attr, created: false } : { attr };
      mutation.session.opened(gfid);
    } catch (error) {
      errno = definiteErrno(error);
    }
    locks.release(ticket);
    if (errno === 0) host.copy.results.record(mutation.sessionId, mutation.requestNumber, { ...makeAnswer(mutation.op, errno, result), countedBy: this.#primary });
    this.finish(mutation, errno, result);
  }

  #release(mutation: Mutation, args: Args<'release'>): void {
    const last = mutation.session.released(args.gfid);
    this.#primary.host.copy.results.record(mutation.sessionId, mutation.requestNumber, makeAnswer('release', 0, {}));
    this.finish(mutation, 0, {});
    if (last) this.#primary.orphans.purge(args.gfid);
  }

  /**
   * Answers the request, whoever asked last for it. `everywhere`: every in-sync brick has taken part, which is proof that this one is primary still. Any other answer comes
   * from this copy alone, as that to a read does, and needs a live serving lease.
   */
  finish(mutation: Mutation, errno: number, result: unknown, everywhere = false): void {
    if (mutation.requestNumber === 0 || this.#primary.stopped) return;
    if (errno !== 0 && isGiven(mutation)) {
      // It is in force already; only the record of it waits, for a disk that takes it.
      void this.#primary.sleep(UNREADABLE_MS).then(() => this.plan(mutation));
      return;
    }
    const { host, heals, view, lockRequests } = this.#primary;
    if (mutation.op === 'setLock') lockRequests.ended(mutation);
    const { results } = host.copy;
    // A lock waits for its holder, not for this brick.
    if (mutation.op !== 'setLock') heals.pace.answered(host.clock.now() - mutation.begun);
    const id = mutation.session.underWay.get(mutation.requestNumber) ?? mutation.id;
    mutation.session.underWay.delete(mutation.requestNumber);
    if (isGiven(mutation)) this.#primary.givenOrder.ended(mutation.sessionId, (mutation.args as Args<'setLock'>).gfid);
    if (!everywhere && !host.leaseLive()) {
      if (id !== NOT_ASKED) mutation.session.channel?.send({ kind: 'redirect', id, view });
      return;
    }
    // Definite failures changed nothing: remembered here only, a new primary may find the same or better.
    if (errno !== 0) {
      results.acknowledge(mutation.sessionId, mutation.acknowledged);
      results.record(mutation.sessionId, mutation.requestNumber, makeAnswer(mutation.op, errno, undefined));
    }
    // Others may have changed the file while a synchronous write waited for the disks.
    const fresh = mutation.op !== 'write' || !(mutation.args as Args<'write'>).sync;
    if (id !== NOT_ASKED) this.#reply(mutation.session, id, errno, mutation.op, result, fresh);
  }

  /** `fresh`: its attributes are those of now, so a lease may go with them. */
  #reply(session: Session, id: number, errno: number, op: OpName, result: unknown, fresh = true): void {
    const attr = fresh && errno === 0 ? (result as { attr?: Attr } | undefined)?.attr : undefined;
    const lease = attr !== undefined && this.#grantable(session, attr.gfid);
    if (lease) this.#primary.leases.grant(attr.gfid, session);
    session.channel?.send({ kind: 'reply', id, errno, lease, op, result: errno === 0 ? result : undefined } as Message);
  }

  /** True when what is said of this inode now holds until a recall. */
  #grantable(session: Session, gfid: Gfid): boolean {
    const { leases, locks } = this.#primary;
    return leases.eligible(session) && !leases.withheld(gfid) && locks.free({ ...readLock(gfid), of: session.id });
  }

  /** Of the latest change. */
  get lastTime(): Time {
    return this.#lastTime;
  }

  /** A change was made with this time: later ones get later ones. */
  sawTime(time: Time): void {
    if (compareTime(time, this.#lastTime) > 0) this.#lastTime = time;
  }

  /** The primary's time, never the same twice and never backwards. */
  nextTime(): Time {
    let time = this.#primary.host.clock.wall();
    if (compareTime(time, this.#lastTime) <= 0) {
      const { sec, nsec } = this.#lastTime;
      time = nsec === 999_999_999 ? { sec: sec + 1, nsec: 0 } : { sec, nsec: nsec + 1 };
    }
    this.#lastTime = time;
    return time;
  }
}

/** False for locks that cannot be in force: they would be tried for ever. */
function isSoundGift({ gfid, granted = [] }: Args<'setLock'>): boolean {
  return granted.length <= GRANTED_MAX && granted.every((lock) => isSoundLock(lock, gfid));
}

/** Locks that are in force already. */
function isGiven({ op, args }: Mutation): boolean {
  return op === 'setLock' && (args as Args<'setLock'>).granted !== undefined;
}

/** The inode to open where none is made. */
function existing(mutation: Mutation, plan: Plan): Gfid {
  return plan.existing === '' ? (mutation.args as Args<'open'>).gfid : plan.existing;
}
