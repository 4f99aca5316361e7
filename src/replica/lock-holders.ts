/**
 * Clients give file locks up without waiting for an answer. So before a request is refused because of another session's lock, that session is asked what it gave up there: it
 * answers (`yieldedLocks`) when all of it is in the table. A session that is silent is revoked, as with any lock that somebody else wants.
 */
import type { Cancel } from '../env/clock.js';
import type { Gfid } from '../base/ids.js';
import type { LeaseNumbers } from './lease-numbers.js';
import type { Primary } from './primary.js';
import type { Session } from './sessions.js';

const LOOK_MS = 100;

interface Question {
  readonly number: number;
  readonly gfid: Gfid;
  readonly session: string;
  readonly until: number;
  readonly done: () => void;
  cancel: Cancel;
}

export class LockHolders {
  readonly #primary: Primary;
  readonly #numbers: LeaseNumbers;
  readonly #questions = new Map<number, Question>();

  /** `numbers`: those of lock leases, which are answered by the same message. */
  constructor(primary: Primary, numbers: LeaseNumbers) {
    this.#primary = primary;
    this.#numbers = numbers;
  }

  /** Calls `done` when the session has told, is silent or over, or has not told for the ping timeout. */
  ask(session: string, gfid: Gfid, done: () => void): void {
    const { host } = this.#primary;
    const question: Question = {
      number: this.#numbers.next(host.clock), gfid, session, until: host.clock.now() + host.pingTimeoutMs(), done, cancel: () => undefined,
    };
    this.#questions.set(question.number, question);
    this.#tell(question);
    this.#look(question);
  }

  #tell({ session, gfid, number }: Question): void {
    this.#primary.host.sessions.get(session)?.channel?.send({ kind: 'recallLocks', gfid, lease: number });
  }

  #look(question: Question): void {
    const { host, clients } = this.#primary;
    question.cancel = host.clock.after(LOOK_MS, () => {
      if (clients.isSilent(question.session) || !host.copy.sessions.has(question.session) || host.clock.now() >= question.until) this.#end(question);
      else this.#look(question);
    });
  }

  #end(question: Question): void {
    question.cancel();
    if (this.#questions.delete(question.number)) question.done();
  }

  /** False for the number of a lease. */
  yielded(session: Session, number: number): boolean {
    const question = this.#questions.get(number);
    if (question?.session !== session.id) return false;
    this.#end(question);
    return true;
  }

  /** It has a new connection. */
  again(session: Session): void {
    for (const question of this.#questions.values()) if (question.session === session.id) this.#tell(question);
  }

  endOf(session: string): void {
    for (const question of [...this.#questions.values()]) if (question.session === session) this.#end(question);
  }

  stop(): void {
    for (const question of this.#questions.values()) question.cancel();
    this.#questions.clear();
  }
}
