/**
 * Answers to mutations, so that a request repeated after a lost reply or a failover gets the answer it got the first time. Every in-sync
 * brick keeps them; a client's `acknowledged` number lets them go.
 */
import type { OpName } from '../fops/ops.js';

export interface Answer {
  op: OpName;
  errno: number;
  result: unknown;
}

interface SessionResults {
  acknowledged: number;
  answers: Map<number, Answer>;
}

export class Results {
  readonly #sessions = new Map<string, SessionResults>();

  find(session: string, requestNumber: number): Answer | undefined {
    return this.#sessions.get(session)?.answers.get(requestNumber);
  }

  /** True when the client said that it never asks for this number again: a late copy of it must not be carried out. */
  isAcknowledged(session: string, requestNumber: number): boolean {
    return requestNumber <= (this.#sessions.get(session)?.acknowledged ?? 0);
  }

  record(session: string, requestNumber: number, answer: Answer): void {
    this.#session(session).answers.set(requestNumber, answer);
  }

  acknowledge(session: string, upTo: number): void {
    const entry = this.#session(session);
    if (upTo <= entry.acknowledged) return;
    entry.acknowledged = upTo;
    for (const number of entry.answers.keys()) if (number <= upTo) entry.answers.delete(number);
  }

  drop(session: string): void {
    this.#sessions.delete(session);
  }

  /** The whole table as plain data. */
  export(): unknown {
    return [...this.#sessions].map(([session, entry]) => [session, entry.acknowledged, [...entry.answers]]);
  }

  import(state: unknown): void {
    this.#sessions.clear();
    for (const [session, acknowledged, answers] of state as [string, number, [number, Answer][]][]) {
      this.#sessions.set(session, { acknowledged, answers: new Map(answers) });
    }
  }

  #session(session: string): SessionResults {
    let entry = this.#sessions.get(session);
    if (entry === undefined) this.#sessions.set(session, (entry = { acknowledged: 0, answers: new Map() }));
    return entry;
  }
}
