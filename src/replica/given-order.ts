/**
 * Locks that a client gave under a lease are in force, and set here in the order in which it gave them; what it asks for on the same inode comes after. One of them may be held up
 * where later ones would not be: a disk refused its record, and it is tried again.
 */
import type { Gfid } from '../base/ids.js';

interface Queue {
  session: string;
  waiting: (() => void)[];
}

export class GivenOrder {
  /** By session and inode, while something that was given there is not in the table yet. */
  readonly #queues = new Map<string, Queue>();

  /** Runs it now, or when what the session gave there before is in the table. `given`: what comes later waits for it, until `ended`. */
  begin(session: string, gfid: Gfid, given: boolean, run: () => void): void {
    const key = `${session} ${gfid}`;
    const queue = this.#queues.get(key);
    if (queue !== undefined) {
      queue.waiting.push(() => this.begin(session, gfid, given, run));
      return;
    }
    if (given) this.#queues.set(key, { session, waiting: [] });
    run();
  }

  /** What was given is in the table. */
  ended(session: string, gfid: Gfid): void {
    const key = `${session} ${gfid}`;
    const queue = this.#queues.get(key);
    this.#queues.delete(key);
    for (const run of queue?.waiting ?? []) run();
  }

  /** The session is over. */
  drop(session: string): void {
    for (const [key, queue] of this.#queues) if (queue.session === session) this.#queues.delete(key);
  }
}
