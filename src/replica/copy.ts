/**
 * One brick's copy of the volume and what belongs to it: the store, the change journal, sessions, file locks, answers given, and which of the applied
 * changes may not have reached every in-sync brick. Both roles of a brick, primary and member, work on it.
 */
import { Errno, errnoOf, FsError } from '../base/errno.js';
import type { Gfid } from '../base/ids.js';
import type { Time } from '../base/time.js';
import { heldLock } from '../fops/held-lock.js';
import { OPS, type Args, type OpName, type Result } from '../fops/ops.js';
import { DirectLeases } from './direct-leases.js';
import { FileLocks } from './file-locks.js';
import type { Journal } from './journal.js';
import { parseKey, type Key } from './keys.js';
import { lockRecord, lockRecords, ownerRecord, restoreLocks } from './lock-records.js';
import { MADE_BY_HALVES } from './mutation.js';
import { isDiskError } from './refusals.js';
import { intentOf, parseIntent, wasMade } from './intents.js';
import { resultCheck } from './result-check.js';
import { changedRange, FORGET_ANSWERS, makeAnswer, parseResult, resultRecord, Results, survivesRestart, voidRecord, type Answer } from './results.js';
import { SessionState, SessionTable, type SessionDisk } from './session-table.js';
import { Room } from './space.js';
import { parseState, type Doubt } from './state-check.js';
import type { Stamp, Store, StoreOp } from './store.js';
import { Supposed } from './supposed.js';

/** A mutation as every brick gets it. */
export interface Change {
  op: OpName;
  args: unknown;
  session: string;
  requestNumber: number;
  acknowledged: number;
  time: Time;
  newGfid: string;
  purge: boolean;
  keys: Key[];
  /** Its answer was written to the journal before it was made. */
  intended?: boolean;
}

/** Changes that may be carried out again without harm after their effect may have been lost. Writes too, where they went. */
const REPEATABLE = new Set<OpName>(['setattr', 'fallocate', 'copyFileRange']);

export class Copy {
  readonly store: Store;
  readonly journal: Journal;
  readonly fileLocks = new FileLocks();
  /** Lock leases that may not be over: what their clients gave may not be in `fileLocks`. */
  readonly lockLeases = new Map<Gfid, { lease: number; session: string }>();
  readonly results = new Results();
  readonly direct = new DirectLeases();
  readonly room: Room;
  readonly sessions: SessionTable;
  /** The table of locks has all that clients hold; false from the start of the process until a primary told so, or every client has claimed its own. */
  locksKnown = false;
  /** Answers that may come to be this copy's. */
  readonly supposed = new Supposed();
  /** Inodes of which the disk may lack what the kernel's memory shows: an fsync failed. */
  readonly #suspects = new Set<Gfid>();
  /** It is not known which. */
  #allSuspect = false;
  #syncFailures = 0;
  #doubt: Doubt[] = [];
  /** Of what the primary did outside the stream: whoever acknowledges its next change has it too. */
  #beforeNext: Key[] = [];

  constructor(store: Store, journal: Journal, disk: SessionDisk) {
    this.store = store;
    this.room = new Room(store);
    this.journal = journal;
    this.sessions = new SessionTable(disk);
    const records = journal.answers();
    this.results.restore(records);
    this.supposed.restore(records);
    // Where unsynced data may be gone, the end of the journal may be too: a lock in it may have been given up.
    if (journal.meta.incomplete) this.#doubtAnswers(records);
    else restoreLocks(this.fileLocks, records);
    this.#settleLast();
    this.dropStrangers();
  }

  /** The process before this one may have ended between writing down the answer and making the change. */
  #settleLast(): void {
    const last = parseIntent(this.journal.lastRecord());
    if (last === undefined || wasMade(this.store, last)) return;
    this.results.forget(last.session, last.requestNumber);
    this.journal.noteAnswer(voidRecord(last.session, last.requestNumber));
    this.journal.flushAnswers();
  }

  /** Power was lost: a change may be gone though its answer is here. What this copy does not show is carried out when it is asked for again, and so are bytes, at the place that was answered. */
  #doubtAnswers(records: readonly string[]): void {
    for (const record of records) {
      const given = parseResult(record);
      if (given === undefined) continue;
      const { session, requestNumber, answer: { op, gfid }, trace } = given;
      const known = this.results.find(session, requestNumber);
      if (known === undefined) continue;
      if (op === 'write') known.doubtful = true;
      else if (trace === '' ? REPEATABLE.has(op) : !wasMade(this.store, { op, gfid, trace })) this.results.forget(session, requestNumber);
    }
  }

  /** So many times all copies in sync had lost what was not synced. */
  get losses(): number {
    return this.journal.meta.losses ?? 0;
  }

  /** What sessions left that have ended, in case their end was not carried through. */
  dropStrangers(): void {
    const known = (session: string): boolean => this.sessions.has(session);
    this.results.keepOnly(known);
    this.fileLocks.keepOnly(known);
  }

  /** Announces the keys, then carries out the change. `hasRoom`: the disk was looked at already. Throws FsError; then nothing was changed but, for a write, bytes of its range. */
  apply(change: Change, hasRoom = change.op !== 'write' || this.room.takes(change.args as Args<'write'>)): unknown {
    const { session, requestNumber, keys } = change;
    if (!hasRoom) throw new FsError(Errno.ENOSPC, 'write', 'the disk of the brick is full');
    const intent = requestNumber === 0 ? undefined : intentOf(this.store, change);
    if (intent === undefined) {
      if (keys.length > 0) this.journal.note(keys);
      return this.#carryOut(change);
    }
    const record = resultRecord(session, requestNumber, intent.answer, intent.trace);
    this.journal.intend(keys, record);
    this.supposed.note(change.op, record);
    change.intended = true;
    try {
      return this.#carryOut(change);
    } catch (error) {
      this.journal.noteAnswer(voidRecord(session, requestNumber));
      throw error;
    }
  }

  #carryOut(change: Change): unknown {
    if (!MADE_BY_HALVES.has(change.op)) return this.#carryOutWhole(change);
    try {
      return this.#carryOutWhole(change);
    } catch (error) {
      if (isDiskError(errnoOf(error))) this.halfWritten(true);
      throw error;
    }
  }

  /** A range may hold a part of a write that the disk refused; false when all of it was made, or the copy is the truth as it is. */
  halfWritten(half: boolean): void {
    if ((this.journal.meta.halfWritten === true) === half) return;
    try {
      this.journal.updateMeta({ halfWritten: half });
    } catch (error) {
      // It counts in this process nevertheless.
      if (!(error instanceof FsError)) throw error;
    }
  }

  /** Applies a change that came from the primary: remembers it as in doubt and its answer. Answers the errno, 0 for success, and resultCheck. */
  applyFromPrimary(change: Change, sequence: number): { errno: number; check: number } {
    if (this.#beforeNext.length > 0) this.noteDoubt(sequence, this.#beforeNext.splice(0));
    this.noteDoubt(sequence, change.keys);
    try {
      const result = this.apply(change);
      this.remember(change, result);
      return { errno: 0, check: resultCheck(result) };
    } catch (error) {
      if (error instanceof FsError) return { errno: error.errno, check: 0 };
      throw error;
    }
  }

  /** Keeps the answer to a change that was made. */
  remember(change: Change, result: unknown): Answer | undefined {
    if (change.requestNumber === 0) return undefined;
    const answer = makeAnswer(change.op, 0, result, changedRange(change.op, change.args, result));
    this.results.acknowledge(change.session, change.acknowledged);
    this.results.record(change.session, change.requestNumber, answer);
    if (change.intended !== true && survivesRestart(change.op)) this.journal.noteAnswer(resultRecord(change.session, change.requestNumber, answer));
    return answer;
  }

  /** Another brick has this answer to a change that this copy has too. */
  adopt(session: string, requestNumber: number, answer: Answer): void {
    this.results.record(session, requestNumber, answer);
    this.journal.noteAnswer(resultRecord(session, requestNumber, answer));
  }

  /** What these requests did is undone. */
  forgetAnswers(session: string, numbers: readonly number[]): void {
    for (const number of numbers) {
      this.results.forget(session, number);
      this.journal.noteAnswer(voidRecord(session, number));
    }
    this.journal.flushAnswers();
  }

  /** Begins a new generation of the journal. */
  rotate(number: number): void {
    this.journal.rotate(number, [...lockRecords(this.fileLocks), ...this.results.records()]);
    // No order between the bricks says to which generation these belong.
    this.journal.note(this.direct.keys());
  }

  noteDoubt(sequence: number, keys: Key[]): void {
    if (keys.length > 0) this.#doubt.push({ sequence, keys });
  }

  /** As `noteDoubt`, of what came from the primary without a number. */
  noteUnnumbered(keys: Key[]): void {
    this.#beforeNext.push(...keys);
  }

  /** Every in-sync brick has everything up to this sequence number. */
  committed(sequence: number): void {
    let settled = 0;
    while (settled < this.#doubt.length && (this.#doubt[settled] as Doubt).sequence <= sequence) settled++;
    if (settled > 0) this.#doubt.splice(0, settled);
  }

  /** Keys of what was applied here and may not be on every brick. */
  doubtKeys(): Set<Key> {
    const keys = new Set<Key>();
    for (const doubt of this.#doubt) for (const key of doubt.keys) keys.add(key);
    for (const key of [...this.#beforeNext, ...this.direct.keys()]) keys.add(key);
    return keys;
  }

  clearDoubt(): void {
    this.#doubt = [];
    this.#beforeNext = [];
    this.direct.clear();
  }

  /** Takes note of what became of a session, durable on return. What it held goes with its end. Throws FsError when the disk refuses. */
  setSession(session: string, state: SessionState): void {
    if (state === SessionState.ended) {
      this.fileLocks.dropSession(session);
      for (const [gfid, lease] of this.lockLeases) if (lease.session === session) this.lockLeases.delete(gfid);
      this.results.drop(session);
    }
    this.sessions.set(session, state);
  }

  /**
   * An fsync of these inodes failed, or (none named) of all: the disk may lack what changed since it was synced as a whole. The kernel calls the next fsync a
   * success, and goes on showing what the disk lacks.
   */
  suspectUnsynced(gfids: Iterable<Gfid> = []): void {
    this.#syncFailures++;
    for (const gfid of gfids) this.#suspects.add(gfid);
    try {
      for (const key of this.journal.unsyncedKeys()) {
        const parsed = parseKey(key);
        if (parsed !== undefined && parsed.kind !== 'name') this.#suspects.add(parsed.gfid);
      }
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      this.#allSuspect = true;
    }
  }

  /** How many syncs failed since the process began. */
  get syncFailures(): number {
    return this.#syncFailures;
  }

  isSuspect(gfid: Gfid): boolean {
    return this.#allSuspect || this.#suspects.has(gfid);
  }

  get anySuspect(): boolean {
    return this.#allSuspect || this.#suspects.size > 0;
  }

  /** All of it was written anew, and reached the disk. */
  noneSuspect(): void {
    this.#allSuspect = false;
    this.#suspects.clear();
  }

  /** `serving`: what is in doubt belongs to this brick's own stream. A primary that recovers settles it with every member before it serves. */
  exportState(serving: boolean): Buffer {
    const doubt = serving ? this.#doubt : [];
    return Buffer.from(JSON.stringify({ sessions: this.sessions.export(), locks: this.fileLocks.export(), locksKnown: this.locksKnown, losses: this.losses, lockLeases: [...this.lockLeases].map(([gfid, { lease, session }]) => ({ gfid, lease, session })), results: this.results.export(), doubt }), 'latin1');
  }

  /** Takes over what `exportState` of another copy gave, durable on return. FsError EPROTO when it is not that, and then nothing was; that of the disk when it refuses. */
  importState(bytes: Buffer): void {
    const state = parseState(bytes.toString('latin1'));
    this.supposed.settled();
    this.sessions.import(state.sessions);
    this.fileLocks.import(state.locks);
    this.locksKnown = state.locksKnown;
    if (state.losses !== undefined && state.losses !== this.losses) this.journal.updateMeta({ losses: state.losses });
    this.lockLeases.clear();
    for (const { gfid, lease, session } of state.lockLeases ?? []) this.lockLeases.set(gfid, { lease, session });
    this.results.import(state.results);
    // The copy that this one was made equal to has them, and another brick may not.
    this.#doubt = state.doubt ?? [];
    this.#beforeNext = [];
    this.direct.clear();
    this.journal.noteAnswer(FORGET_ANSWERS);
    for (const record of [...lockRecords(this.fileLocks), ...this.results.records()]) this.journal.noteAnswer(record);
    // Once it is in sync, this may be the copy that all others are made equal to.
    this.journal.writeAnswers();
  }

  /** A lease that was announced since is not forgotten for one before it, of which this copy hears late. */
  lockLeaseGiven(gfid: Gfid, lease: number, session: string): void {
    const known = this.lockLeases.get(gfid);
    if (known === undefined || known.lease < lease) this.lockLeases.set(gfid, { lease, session });
  }

  lockLeaseOver(gfid: Gfid, lease: number): void {
    if (this.lockLeases.get(gfid)?.lease === lease) this.lockLeases.delete(gfid);
  }

  #carryOutWhole(change: Change): unknown {
    switch (change.op) {
      case 'setLock': {
        const args = change.args as Args<'setLock'>;
        const locks = (args.granted ?? [heldLock(args)]).map((lock) => ({ ...lock, session: change.session }));
        this.journal.noteNow(...locks.map(lockRecord));
        for (const lock of locks) this.fileLocks.set(lock);
        if (args.leased !== undefined) this.lockLeases.set(args.gfid, { lease: args.leased, session: change.session });
        return {};
      }
      case 'dropLocks': {
        const args = change.args as Args<'dropLocks'>;
        this.journal.noteNow(ownerRecord({ gfid: args.gfid, session: change.session, owner: args.owner, kind: args.kind }));
        this.fileLocks.dropOwner(args.gfid, change.session, args.owner, args.kind);
        return {};
      }
      case 'open':
      case 'release':
      case 'fsync':
        throw new FsError(Errno.EPROTO, change.op, 'not a replicated operation');
      default: {
        if (!OPS[change.op].mutation) throw new FsError(Errno.EPROTO, change.op, 'not a mutation');
        const stamp: Stamp = { time: change.time, gfid: change.newGfid, purge: change.purge };
        return this.store.apply(change.op as StoreOp, change.args as Args<StoreOp>, stamp) as Result<StoreOp>;
      }
    }
  }
}

/** The errno of an FsError; rethrows what is not one: a bug must not become an answer. */
export function definiteErrno(error: unknown): number {
  if (error instanceof FsError) return errnoOf(error);
  throw error;
}
