/**
 * Answers to mutations, so that a request repeated after a lost reply or a failover gets the answer it got the first time. Every in-sync
 * brick keeps them; a client's `acknowledged` number lets them go. The change journal holds them too, in short form, so that they survive a
 * restart of all bricks.
 */
import { Errno, FsError } from '../base/errno.js';
import { OPS, opByCode, type Args, type OpName, type Result } from '../fops/ops.js';
import type { Attr } from '../fops/fields.js';
import type { Gfid } from '../base/ids.js';
import type { CopyState } from './state-check.js';
import type { Store } from './store.js';

export interface Answer {
  op: OpName;
  errno: number;
  /** Undefined after a restart, and at a brick that joined later: made anew from `gfid` and `value`. */
  result: unknown;
  /** The inode that the answer is about, '' for none. */
  gfid: Gfid | '';
  /** Offset of a write, bytes of a copy. */
  value: number;
  /** Bytes of `gfid` that a change of data has changed: offset and length. */
  range?: readonly [number, number] | undefined;
  /** Power was lost since, on every brick that had it: what it says was made may be gone. */
  doubtful?: boolean | undefined;
  /** The primary that made the change (and counted the open) that this answer stands for; not kept. */
  countedBy?: object;
}

interface SessionResults {
  acknowledged: number;
  answers: Map<number, Answer>;
}

export function makeAnswer(op: OpName, errno: number, result: unknown, range?: Answer['range']): Answer {
  const { attr, offset, copied } = (result ?? {}) as { attr?: Attr; offset?: number; copied?: number };
  return { op, errno, result, gfid: attr?.gfid ?? '', value: offset ?? copied ?? 0, range };
}

/** The bytes that a change of data has changed. */
export function changedRange(op: OpName, args: unknown, result: unknown): Answer['range'] {
  switch (op) {
    case 'write':
      return [(result as Result<'write'>).offset, (args as Args<'write'>).data.byteLength];
    case 'fallocate':
      return [(args as Args<'fallocate'>).offset, (args as Args<'fallocate'>).length];
    case 'copyFileRange':
      return [(args as Args<'copyFileRange'>).targetOffset, (result as Result<'copyFileRange'>).copied];
    default:
      return undefined;
  }
}

/** Changes that make a name. Somebody else may have removed it since: made anew, their answer would be that they failed. */
const MAKES_NAME = new Set<OpName>(['create', 'mkdir', 'mknod', 'symlink', 'link', 'tmpfile']);

/** The inode whose present attributes are the answer, '' where it is as it was then. */
export function answeredAnew({ errno, result, op, gfid }: Answer): Gfid | '' {
  return errno === 0 && result === undefined && op !== 'write' && 'attr' in OPS[op].result ? gfid : '';
}

/** The result to send; where it is made anew, attributes are the present ones. Throws ESTALE when the inode is gone. */
export function resultOf(answer: Answer, store: Store): unknown {
  if (answer.result !== undefined) return answer.result;
  const { op, gfid, value } = answer;
  if (op === 'write') return { offset: value };
  if (!('attr' in OPS[op].result)) return {};
  if (gfid === '') throw new FsError(Errno.ESTALE, op);
  return { attr: store.getattr(gfid), copied: value, created: op === 'create' };
}

/** One line of the journal: an answer in short form. `trace`: see intents.ts. */
export function resultRecord(session: string, requestNumber: number, answer: Answer, trace = ''): string {
  const { op, gfid, value, range } = answer;
  return `r${session} ${requestNumber} ${OPS[op].code} ${gfid === '' ? '-' : gfid} ${value}${range === undefined ? '' : `:${range[0]}+${range[1]}`}${trace === '' ? '' : ` ${trace}`}`;
}

/** Undefined for what is no `resultRecord`. */
export function parseResult(record: string): { session: string; requestNumber: number; answer: Answer; trace: string } | undefined {
  const parts = /^r(\S+) (\d+) (\d+) (\S+) (\d+)(?::(\d+)\+(\d+))?(?: ([\s\S]+))?$/.exec(record);
  const op = opByCode(Number(parts?.[3]));
  if (parts === null || op === undefined) return undefined;
  const [, session = '', requestNumber, , gfid = '', value, offset, length, trace = ''] = parts;
  const range = offset === undefined || length === undefined ? undefined : ([Number(offset), Number(length)] as const);
  return { session, requestNumber: Number(requestNumber), answer: { op, errno: 0, result: undefined, gfid: gfid === '-' ? '' : gfid, value: Number(value), range }, trace };
}

/** Journal record: the answer that was written before its change is void, the change could not be made. */
export function voidRecord(session: string, requestNumber: number): string {
  return `v${session} ${requestNumber}`;
}

/** Locks are forgotten by a process that ends; so must be that they were given, or the client would hold one that nobody knows of. */
export function survivesRestart(op: OpName): boolean {
  return op !== 'setLock' && op !== 'dropLocks';
}

/** Journal record: the answers before it are void, another brick's state has won. */
export const FORGET_ANSWERS = 'x';

/**
 * Answers kept, at most, for a client that never says which it needs no more; the oldest go. An honest one asks again for what it has under way, and
 * that is among its newest.
 */
const ANSWERS_PER_SESSION_MAX = 65_536;
/** Of all sessions together: those of the session with most go, oldest first. */
const ANSWERS_MAX = 500_000;

export class Results {
  readonly #sessions = new Map<string, SessionResults>();
  #count = 0;

  find(session: string, requestNumber: number): Answer | undefined {
    return this.#sessions.get(session)?.answers.get(requestNumber);
  }

  /** True when the client said that it never asks for this number again: a late copy of it must not be carried out. */
  isAcknowledged(session: string, requestNumber: number): boolean {
    return requestNumber <= (this.#sessions.get(session)?.acknowledged ?? 0);
  }

  record(session: string, requestNumber: number, answer: Answer): void {
    const { answers } = this.#session(session);
    const before = answers.size;
    answers.set(requestNumber, answer);
    this.#count += answers.size - before;
    if (answers.size > ANSWERS_PER_SESSION_MAX) this.#dropOldest(answers, 1);
    if (this.#count > ANSWERS_MAX) this.#dropOldestOfMost();
  }

  /** Answers kept. */
  get count(): number {
    return this.#count;
  }

  forget(session: string, requestNumber: number): void {
    if (this.#sessions.get(session)?.answers.delete(requestNumber) === true) this.#count--;
  }

  acknowledge(session: string, upTo: number): void {
    const entry = this.#session(session);
    if (upTo <= entry.acknowledged) return;
    entry.acknowledged = upTo;
    for (const number of entry.answers.keys()) if (number <= upTo && entry.answers.delete(number)) this.#count--;
  }

  drop(session: string): void {
    this.#count -= this.#sessions.get(session)?.answers.size ?? 0;
    this.#sessions.delete(session);
  }

  keepOnly(wanted: (session: string) => boolean): void {
    for (const session of this.#sessions.keys()) if (!wanted(session)) this.drop(session);
  }

  #clear(): void {
    this.#sessions.clear();
    this.#count = 0;
  }

  #dropOldestOfMost(): void {
    let most: SessionResults['answers'] | undefined;
    for (const { answers } of this.#sessions.values()) if (answers.size > (most?.size ?? 0)) most = answers;
    if (most !== undefined) this.#dropOldest(most, Math.ceil(most.size / 2));
  }

  /** The order of a map is that in which its entries came. */
  #dropOldest(answers: SessionResults['answers'], count: number): void {
    let left = count;
    for (const number of answers.keys()) {
      if (left-- === 0) return;
      answers.delete(number);
      this.#count--;
    }
  }

  /** The whole table as journal records: what a new generation begins with. */
  records(): string[] {
    const records: string[] = [];
    for (const [session, { acknowledged, answers }] of this.#sessions) {
      if (acknowledged > 0) records.push(`a${session} ${acknowledged}`);
      for (const [number, answer] of answers) if (answer.errno === 0 && survivesRestart(answer.op)) records.push(resultRecord(session, number, answer));
    }
    return records;
  }

  /** Takes back what `records` wrote; unknown records are left out. */
  restore(records: Iterable<string>): void {
    for (const record of records) {
      if (record === FORGET_ANSWERS) this.#clear();
      const [session = '', number = ''] = record.slice(1).split(' ');
      if (record.startsWith('a')) this.acknowledge(session, Number(number));
      if (record.startsWith('v')) this.forget(session, Number(number));
      const given = parseResult(record);
      if (given !== undefined && !this.isAcknowledged(given.session, given.requestNumber)) this.record(given.session, given.requestNumber, given.answer);
    }
  }

  /** The whole table as plain data: without results that can be made anew, which would be most of it. */
  export(): unknown {
    return [...this.#sessions].map(([session, entry]) => [
      session, entry.acknowledged,
      [...entry.answers].map(([number, { op, errno, result, gfid, value, range, doubtful }]) => [number, { op, errno, result: MAKES_NAME.has(op) ? result : undefined, gfid, value, range, doubtful }]),
    ]);
  }

  import(state: CopyState['results']): void {
    this.#clear();
    for (const [session, acknowledged, answers] of state) {
      this.#session(session).acknowledged = acknowledged;
      for (const [number, answer] of answers) this.record(session, number, answer);
    }
  }

  #session(session: string): SessionResults {
    let entry = this.#sessions.get(session);
    if (entry === undefined) this.#sessions.set(session, (entry = { acknowledged: 0, answers: new Map() }));
    return entry;
  }
}
