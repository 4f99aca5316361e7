/**
 * Answers that a brick was told of by a primary that was about to make it equal. What the primary changed and nobody else was sent comes to the brick as a difference, its answer only
 * at the end, with the whole table. A primary that is lost in between leaves a copy with the change and without the answer, and a request that comes again would find a name
 * that it made itself, or miss one that it removed. So the answers are told first, as what may be: when the brick becomes primary it takes those over whose change its copy shows.
 *
 * Only of changes of names: that an inode is named, or is not named so any more, is whole or not there. Bytes of a write may be there in part.
 */
import type { OpName } from '../fops/ops.js';
import type { Copy } from './copy.js';
import { NEW, parseIntent, wasMade } from './intents.js';
import { pageOf } from './keys.js';
import { parseResult } from './results.js';

/** More than can be on their way when a process ends. */
const OWN_MAX = 4096;
const GIVEN_MAX = 16_384;

const OF_NAMES = new Set<OpName>(['create', 'mkdir', 'mknod', 'symlink', 'link', 'unlink', 'rmdir', 'rename']);

export class Supposed {
  /** Intents of this copy's own changes, the newest last. */
  #own: string[] = [];
  #given: string[] = [];

  /** What the journal holds; any but intents to change names are left out. */
  restore(records: readonly string[]): void {
    for (const record of records) {
      const intent = parseIntent(record);
      if (intent !== undefined) this.note(intent.op, record);
    }
  }

  /** The record of an intent that is about to be carried out. */
  note(op: OpName, record: string): void {
    if (!OF_NAMES.has(op)) return;
    this.#own.push(record);
    if (this.#own.length >= 2 * OWN_MAX) this.#own = this.#own.slice(-OWN_MAX);
  }

  /** The newest of this copy's own, for a brick that is to be made equal. */
  tell(): string[] {
    return pageOf(this.#own.slice(-OWN_MAX).reverse()).reverse();
  }

  take(records: readonly string[]): void {
    this.#given = [...this.#given, ...records].slice(-GIVEN_MAX);
  }

  /** The table of answers is that of the primary. */
  settled(): void {
    this.#given = [];
  }

  /** This copy is the truth. */
  adopt(copy: Copy): number {
    const orphans = new Set(this.#given.length === 0 ? [] : copy.store.orphans());
    let adopted = 0;
    for (const record of this.#given) {
      const given = parseResult(record);
      if (given === undefined || given.trace === '') continue;
      const { session, requestNumber, answer, trace } = given;
      if (!copy.sessions.has(session) || copy.results.isAcknowledged(session, requestNumber) || copy.results.find(session, requestNumber) !== undefined) continue;
      // The inode came, its name did not.
      if (trace === NEW && orphans.has(answer.gfid)) continue;
      if (!wasMade(copy.store, { op: answer.op, gfid: answer.gfid, trace })) continue;
      copy.adopt(session, requestNumber, answer);
      adopted++;
    }
    this.#given = [];
    return adopted;
  }
}
