/** The primary's own disk refuses (full, read-only, broken): who can do better takes over. */
import { Errno, InodeLimitError } from '../base/errno.js';
import type { Change } from './copy.js';
import type { Ticket } from './inode-locks.js';
import type { Mutation } from './mutation.js';
import type { Primary } from './primary.js';

const DISK_ERRORS = new Set<number>([Errno.ENOSPC, Errno.EDQUOT, Errno.EIO, Errno.EROFS]);

export class Refusals {
  readonly #primary: Primary;

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  /** True when the disk refused, and another brick's may not. */
  concerns(error: unknown, errno: number): boolean {
    return DISK_ERRORS.has(errno) && !(error instanceof InodeLimitError) && this.#primary.followers.ready().length > 0;
  }

  /** Hands the role to a ready member. Nothing happens when there is none, or when the set would lose its majority. */
  async stepDown(reason: string): Promise<void> {
    const { followers, log } = this.#primary;
    const successor = followers.ready()[0];
    if (successor === undefined) return;
    log.error('this copy is suspect: another brick takes over', { reason, successor: successor.brick });
    await this.#succeed(successor.brick);
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
   * If the members can do the change, this copy leaves the set and the client's retry finds the answer at the new primary; if none can, that
   * is the answer.
   */
  async askMembers(mutation: Mutation, change: Change, ticket: Ticket, errno: number): Promise<void> {
    const primary = this.#primary;
    primary.gate.close('repair');
    await primary.drain();
    const ready = primary.followers.ready();
    const outcomes = await primary.stream.tryAt(ready, change);
    const took = ready.find((_, i) => outcomes[i] === 0);
    if (primary.stopped) return;
    if (took !== undefined) {
      await this.#succeed(took.brick);
      if (primary.stopped) return;
    }
    // Nobody took it, or nobody can replace this brick: the members are made as this copy is, and the error is the answer.
    for (const follower of ready) follower.link?.close('made equal again after a refused change');
    primary.locks.release(ticket);
    primary.mutations.finish(mutation, errno, undefined);
    primary.gate.open('repair');
  }
}
