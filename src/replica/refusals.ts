/** The primary's own disk refuses (full, read-only, broken): who can do better takes over. */
import { Errno, FsError, InodeLimitError } from '../base/errno.js';
import type { Change } from './copy.js';
import type { Follower } from './followers.js';
import type { Ticket } from './inode-locks.js';
import type { Key } from './keys.js';
import { MADE_BY_HALVES, type Mutation } from './mutation.js';
import type { Primary } from './primary.js';

/** A refused change that nobody could make good is tried again after this. */
const RETRY_MS = 200;
const DISK_ERRORS = new Set<number>([Errno.ENOSPC, Errno.EDQUOT, Errno.EIO, Errno.EROFS]);

/** What a disk answers that is full, broken or read-only. */
export function isDiskError(errno: number): boolean {
  return DISK_ERRORS.has(errno);
}

export class Refusals {
  readonly #primary: Primary;

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  /** True when it was the disk that refused: another brick's may not. */
  concerns(error: unknown, errno: number): boolean {
    return DISK_ERRORS.has(errno) && !(error instanceof InodeLimitError);
  }

  /** Hands the role to a ready member. Nothing happens when there is none, or when the set would lose its majority. */
  async stepDown(reason: string, successor = this.#primary.followers.ready()[0]?.brick): Promise<void> {
    if (successor === undefined) return;
    this.#primary.log.error('this copy is suspect: another brick takes over', { reason, successor });
    await this.#succeed(successor);
  }

  /** This disk cannot read what it holds: a brick whose disk can takes over, if there is one. The keys are made equal again when this one returns. */
  async cannotRead(keys: readonly Key[]): Promise<void> {
    try {
      this.#primary.host.copy.journal.note(keys);
    } catch (error) {
      // It cannot be written either: what it needs is found when it is compared.
      if (!(error instanceof FsError)) throw error;
    }
    await this.stepDown('the disk cannot be read');
  }

  async #succeed(successor: string): Promise<void> {
    const { host, view, log } = this.#primary;
    try {
      host.adoptView(await host.authority.change(view.epoch, { kind: 'succeed', successor }));
    } catch (error) {
      log.warn('the view authority did not answer', { error: String(error) });
    }
  }

  /**
   * If a member can do the change, this copy leaves the set and the client's retry finds the answer at the new primary. If every brick in sync was
   * asked and none can, that is the answer. Otherwise (a member is missing, or the views cannot be changed now) it is tried again.
   */
  async askMembers(mutation: Mutation, change: Change, ticket: Ticket, errno: number): Promise<void> {
    const primary = this.#primary;
    primary.gate.close('repair');
    await primary.stream.drain();
    const ready = primary.followers.ready();
    await this.#decide(mutation, ticket, errno, ready, await primary.stream.tryAt(ready, change));
  }

  /** The same for a change that was sent to the members while this brick tried it. */
  async askThoseAhead(mutation: Mutation, ticket: Ticket, errno: number, sequence: number): Promise<void> {
    const { gate, followers, stream } = this.#primary;
    gate.close('repair');
    const ready = followers.ready();
    await this.#decide(mutation, ticket, errno, ready, await stream.outcomesOf(ready, sequence));
  }

  async #decide(mutation: Mutation, ticket: Ticket, errno: number, ready: readonly Follower[], outcomes: readonly number[]): Promise<void> {
    const primary = this.#primary;
    if (primary.stopped) return;
    const took = ready.find((_, i) => outcomes[i] === 0);
    if (took !== undefined) await this.#succeed(took.brick);
    if (primary.stopped) return;
    const refusedByAll = ready.length === primary.view.inSync.length - 1 && outcomes.every((outcome) => DISK_ERRORS.has(outcome));
    // The others are made as this copy is: one may have done it, or a part of a write; also one that is not in sync yet may have been sent it.
    for (const follower of primary.followers.all()) follower.link?.close('made equal again after a refused change');
    primary.stream.settleRefused();
    mutation.halfMade = !refusedByAll && MADE_BY_HALVES.has(mutation.op);
    // Otherwise under its locks still: nobody reads the part of it that this disk may have made.
    if (!mutation.halfMade) primary.locks.release(ticket);
    if (refusedByAll) {
      primary.host.copy.halfWritten(false);
      primary.mutations.finish(mutation, errno, undefined);
    } else await primary.sleep(RETRY_MS);
    primary.gate.open('repair');
    if (!refusedByAll) primary.mutations.again(mutation, ticket);
  }
}
