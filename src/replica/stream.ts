/**
 * The primary's stream of changes to the members: numbered, sent in order, complete when every in-sync brick has acknowledged. What is under way
 * keeps its locks until then, so nothing is readable that could still be lost.
 */
import { Errno } from '../base/errno.js';
import type { Args } from '../fops/ops.js';
import type { Message, MessageOf } from '../wire/messages.js';
import type { Change } from './copy.js';
import type { Follower } from './followers.js';
import type { Ticket } from './inode-locks.js';
import { NOT_FOLLOWED } from './member.js';
import type { Mutation } from './mutation.js';
import type { Primary } from './primary.js';
import { isDiskError } from './refusals.js';
import { resultCheck } from './result-check.js';

interface Flight {
  sequence: number;
  ticket: Ticket;
  request: Mutation;
  result: unknown;
  /** See result-check.ts. */
  check: number;
  /** Inode to purge or lock table to look at after the commit. */
  after: (() => void) | undefined;
  /** The lock lease that the bricks are told of with it. */
  leased: number | undefined;
}

const HEARTBEAT_MS = 5;
const FLIGHTS_KEPT_MAX = 1024;

export class Stream {
  readonly #primary: Primary;
  #sequence = 0;
  #committed = 0;
  #noticed = 0;
  #flights: Flight[] = [];
  #flightsHead = 0;
  #drained: (() => void)[] = [];
  /** In the order of their numbers. */
  #awaited: { sequence: number; run: () => void }[] = [];
  #noticePending = false;
  /** Number of a change that the members may have and this brick could not make, 0 for none: it is never committed here. */
  #refused = 0;

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  /** Of the change that was sent last. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Sends an applied change to the members and waits for their acknowledgements. */
  send(mutation: Mutation, change: Change, ticket: Ticket, result: unknown, after: (() => void) | undefined, ahead = 0): void {
    const { host, followers } = this.#primary;
    const answer = host.copy.remember(change, result);
    if (answer !== undefined) answer.countedBy = this.#primary;
    const sequence = ahead > 0 ? ahead : ++this.#sequence;
    this.#flights.push({ sequence, ticket, request: mutation, result, check: resultCheck(result), after, leased: change.op === 'setLock' ? (change.args as Args<'setLock'>).leased : undefined });
    if (ahead === 0) this.#spread(change, sequence);
    let waits = false;
    for (const follower of followers.all()) if (follower.state === 'ready') waits = true;
    if (!waits) this.commit();
  }

  /**
   * Sends a change to the members that this brick applies next, in the same turn: `send` then gets the number that is returned, or `outcomesOf`
   * when this brick could not apply it after all.
   */
  sendAhead(change: Change): number {
    const sequence = ++this.#sequence;
    this.#spread(change, sequence);
    return sequence;
  }

  #spread(change: Change, sequence: number): void {
    const { host, followers, heals } = this.#primary;
    host.copy.noteDoubt(sequence, change.keys);
    const message = this.#message(change, sequence);
    for (const follower of followers.all()) {
      if (follower.link === undefined) continue;
      if (heals.passes(follower, change)) follower.link.send(message);
    }
    heals.missed(change);
    this.#noticed = this.#committed;
  }

  #message(change: Change, sequence: number): Message {
    const { op, args, session, requestNumber, acknowledged, time, newGfid, purge, keys } = change;
    return {
      kind: 'replicate', epoch: this.#primary.view.epoch, sequence, committed: this.#committed, session, requestNumber, acknowledged, time, newGfid, purge,
      keys: op === 'write' ? [] : keys, op, args,
    } as Message;
  }

  /** A member acknowledged, or could not do what the others did: then it leaves. */
  applied(follower: Follower, message: MessageOf<'applied'>): void {
    const { followers, log } = this.#primary;
    if (followers.isDistrusted(follower)) return;
    if (message.errno === NOT_FOLLOWED) {
      follower.link?.close('it follows another primary');
      return;
    }
    if (message.errno !== 0) {
      log.warn('a brick could not apply what the others did; it leaves', { brick: follower.brick, errno: message.errno, sequence: message.sequence });
      // A disk that refuses leaves the copy as it was. Any other answer means that it was another copy before.
      if (message.errno === Errno.ENOSPC) this.#primary.fullDisks.refused(follower);
      if (isDiskError(message.errno)) follower.link?.close(`could not apply a change: errno ${message.errno}`);
      else followers.distrust(follower, `a change ended with errno ${message.errno}`);
      return;
    }
    if (message.sequence <= follower.acknowledged) return;
    if (follower.state === 'ready' && message.check !== this.#checkOf(follower.acknowledged, message.sequence)) {
      log.error('a brick answered otherwise than this one: it leaves and is compared as a whole', { brick: follower.brick, sequence: message.sequence });
      followers.distrust(follower, 'the results differ');
      return;
    }
    follower.acknowledged = message.sequence;
    if (follower.state === 'ready') this.commit();
  }

  /** Of the changes in (after, upTo], all of which are under way. */
  #checkOf(after: number, upTo: number): number {
    let check = 0;
    for (let i = this.#flightsHead; i < this.#flights.length; i++) {
      const flight = this.#flights[i] as Flight;
      if (flight.sequence > upTo) break;
      if (flight.sequence > after) check = (check + flight.check) >>> 0;
    }
    return check;
  }

  /** Completes every change that all in-sync bricks have, and those that are about to be admitted. */
  commit(): void {
    const { host, members, followers, serving } = this.#primary;
    if (!serving) return;
    let upTo = this.#sequence;
    for (const brick of members) {
      if (brick === host.brick) continue;
      const follower = followers.get(brick);
      upTo = Math.min(upTo, follower?.state === 'ready' ? follower.acknowledged : this.#committed);
    }
    // Ready before the view says so: it is about to be admitted, and must have all that was acknowledged.
    for (const follower of followers.all()) if (follower.state === 'ready') upTo = Math.min(upTo, follower.acknowledged);
    if (this.#refused > 0) upTo = Math.min(upTo, this.#refused - 1);
    if (upTo <= this.#committed) {
      this.#checkDrained();
      return;
    }
    this.#committed = upTo;
    host.copy.committed(upTo);
    host.copy.journal.flushAnswers();
    while (this.#flightsHead < this.#flights.length && (this.#flights[this.#flightsHead] as Flight).sequence <= upTo) {
      const flight = this.#flights[this.#flightsHead] as Flight;
      this.#flights[this.#flightsHead++] = undefined as never;
      this.#complete(flight);
    }
    if (this.#flightsHead > FLIGHTS_KEPT_MAX || this.#flightsHead === this.#flights.length) {
      this.#flights = this.#flights.slice(this.#flightsHead);
      this.#flightsHead = 0;
    }
    while (this.#awaited.length > 0 && (this.#awaited[0] as { sequence: number }).sequence <= upTo) this.#awaited.shift()?.run();
    this.#checkDrained();
    this.#notice();
  }

  /** Runs when every in-sync brick has everything up to this number; not at all when the role ends before. */
  whenCommitted(sequence: number, run: () => void): void {
    if (sequence <= this.#committed) run();
    else this.#awaited.push({ sequence, run });
  }

  #complete(flight: Flight): void {
    const { locks, followers, host, mutations, durability } = this.#primary;
    locks.release(flight.ticket);
    const { request, result } = flight;
    if (request.op === 'write' && request.requestNumber > 0) this.#primary.exclusives.wrote(request.session, request.args as Args<'write'>);
    // Every member has it; a brick that catches up may still be sent it.
    if (request.op === 'write' && followers.allReady) host.giveBack((request.args as Args<'write'>).data);
    if (request.op === 'write' && (request.args as Args<'write'>).sync) durability.syncThenFinish(request, (request.args as Args<'write'>).gfid, true, result);
    else mutations.finish(request, 0, result, true);
    flight.after?.();
    if (flight.leased !== undefined) this.#primary.lockLeases.answered(request.session, (request.args as Args<'setLock'>).gfid, flight.leased);
    else if (request.op === 'setLock') this.#primary.lockLeases.offer(request.session, request.args as Args<'setLock'>);
  }

  /** Tells the members soon what is committed, in case no mutation follows to carry it. */
  #notice(): void {
    if (this.#noticePending) return;
    this.#noticePending = true;
    this.#primary.host.clock.after(HEARTBEAT_MS, () => {
      this.#noticePending = false;
      const { serving, followers, view } = this.#primary;
      if (!serving || this.#noticed >= this.#committed) return;
      this.#noticed = this.#committed;
      for (const follower of followers.all()) {
        if (follower.state === 'ready') follower.link?.send({ kind: 'committed', epoch: view.epoch, sequence: this.#committed });
      }
    });
  }

  /** Tells a member, or all, what is committed: so it also knows that this brick serves. */
  announce(...to: readonly Follower[]): void {
    const { followers, view } = this.#primary;
    for (const { link } of to.length > 0 ? to : followers.ready()) link?.send({ kind: 'committed', epoch: view.epoch, sequence: this.#committed });
  }

  /** Resolves when no change is under way, or when none can finish because a member is missing. */
  drain(): Promise<void> {
    if (this.#flightsHead === this.#flights.length || this.#primary.stalled || this.#primary.stopped) return Promise.resolve();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  #checkDrained(): void {
    if (this.#flightsHead === this.#flights.length) this.wakeDrained();
  }

  wakeDrained(): void {
    for (const wake of this.#drained.splice(0)) wake();
  }

  /** Sends a change that this brick could not make to the members, one answer for each: 0 where it was made. Nothing else may be under way. */
  tryAt(followers: readonly Follower[], change: Change): Promise<number[]> {
    const sequence = ++this.#sequence;
    // It counts as committed nowhere: this brick does not have it.
    this.#refused = sequence;
    const message = this.#message(change, sequence);
    return Promise.all(
      followers.map((follower) => {
        const outcome = this.#outcomeAt(follower, sequence);
        follower.link?.send(message);
        return outcome;
      }),
    );
  }

  /** The answers to a change that was sent ahead and that this brick could not make. Nothing from it on is committed until `settleRefused`. */
  outcomesOf(followers: readonly Follower[], sequence: number): Promise<number[]> {
    this.#refused = sequence;
    return Promise.all(followers.map((follower) => this.#outcomeAt(follower, sequence)));
  }

  /** No member that has it counts any more as equal to this brick. */
  settleRefused(): void {
    this.#refused = 0;
  }

  #outcomeAt(follower: Follower, sequence: number): Promise<number> {
    return new Promise((resolve) => {
      const { link } = follower;
      // A link that is closed tells it no more: the follower is about to be counted as lost.
      if (link === undefined || link.closed) {
        resolve(Errno.ENOTCONN);
        return;
      }
      const cancel = this.#primary.host.clock.after(this.#primary.slowness.waitMsMax, () => link.close('no answer to a change'));
      const finish = (errno: number): void => {
        cancel();
        resolve(errno);
      };
      const close = link.onClose;
      link.onApplied = (applied) => {
        if (applied.sequence < sequence) {
          this.applied(follower, applied);
          return;
        }
        link.onApplied = (m) => this.applied(follower, m);
        link.onClose = close;
        if (applied.errno === 0) follower.acknowledged = sequence;
        this.commit();
        finish(applied.errno);
      };
      link.onClose = (reason) => {
        close(reason);
        finish(Errno.ENOTCONN);
      };
    });
  }
}
