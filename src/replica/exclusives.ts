/**
 * Exclusive leases: the only user of a file writes to every in-sync brick itself, in one round trip, instead of through the primary.
 *
 *   asking ──every brick knows──▶ held ──somebody else wants the inode──▶ recalled ──yielded, clean──▶ free
 *                                   │                                        │ not clean, or no answer in time
 *                                   └── a member is lost, the view changes ──┴──▶ ending ──every brick equal──▶ free
 *
 * At the primary the lease is a lock on the inode that its own session does not feel: whoever else wants the inode waits, and so calls it in. What its own session
 * asks for here and names by the inode is not ordered against its direct writes; the client does that (client/direct-writes.ts).
 *
 * Ending: no brick takes another write. Each tells what it made and is not known to be everywhere. Those ranges are written once more through the stream, as this brick has
 * them: with the request's own number, so that it is answered when it comes again; what only others made is overwritten, and may come again.
 */
import { Errno, FsError, LostError } from '../base/errno.js';
import type { Cancel } from '../env/clock.js';
import type { Gfid } from '../base/ids.js';
import { isRegular, type Args } from '../fops/ops.js';
import type { PeerArgs, PeerOpName, PeerResult } from '../wire/peer-ops.js';
import { definiteErrno, type Change } from './copy.js';
import type { Follower } from './followers.js';
import { exclusiveLock, type Lock, type Ticket } from './inode-locks.js';
import { inodeKey, writeKeys } from './keys.js';
import { LeaseNumbers } from './lease-numbers.js';
import type { Primary } from './primary.js';
import type { Session } from './sessions.js';
import type { Store } from './store.js';

/** Larger ones are no slower through the primary: their time is that of the data. */
const SMALL_BYTES = 64 << 10;
/** After somebody else wanted the inode. */
const PAUSE_MS = 100;
const AGAIN_MS = 200;
const COUNTED_MAX = 1024;
const LEASES_MAX = 1024;
/** A read from the disk brings the bytes into memory for the next. */
const READS_MAX = 100;

interface Exclusive {
  readonly lease: number;
  readonly gfid: Gfid;
  readonly session: Session;
  readonly lock: Lock;
  ticket: Ticket | undefined;
  state: 'asking' | 'held' | 'recalled' | 'ending' | 'free';
  wanted: boolean;
  cancel: Cancel;
  /** Resolves when no brick takes a write under it any more, and what was in doubt is in the stream. */
  readonly ended: Promise<void>;
  settle: () => void;
  /** Requests of its session that came while it was ending. */
  readonly waiting: (() => void)[];
}

interface Count {
  session: Session;
  writes: number;
  notBefore: number;
}

/** Range to write once more; `requestNumber` 0 where this brick did not make it. */
interface Replay {
  requestNumber: number;
  offset: number;
  length: number;
}

export class Exclusives {
  readonly #primary: Primary;
  readonly #byGfid = new Map<Gfid, Exclusive>();
  readonly #counts = new Map<Gfid, Count>();
  readonly #numbers = new LeaseNumbers();

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  get size(): number {
    return this.#byGfid.size;
  }

  // ---------------------------------------------------------------- giving

  /** A write of this session was answered. */
  wrote(session: Session, { gfid, data }: Args<'write'>): void {
    const after = this.#primary.host.directAfter();
    if (after === 0 || data.byteLength > SMALL_BYTES || this.#byGfid.has(gfid)) return;
    const now = this.#primary.host.clock.now();
    let count = this.#counts.get(gfid);
    if (count === undefined) {
      if (this.#counts.size >= COUNTED_MAX) this.#counts.clear();
      this.#counts.set(gfid, (count = { session, writes: 0, notBefore: 0 }));
    }
    if (count.session !== session) {
      count.session = session;
      count.writes = 0;
    }
    if (++count.writes < after || now < count.notBefore) return;
    count.writes = 0;
    if (this.#mayHave(session, gfid)) this.#ask(session, gfid);
  }

  /** Nobody else uses the file, and every brick is there to be told. */
  #mayHave(session: Session, gfid: Gfid): boolean {
    const { host, leases, followers, gate, serving, spare } = this.#primary;
    if (!serving || gate.closed || !followers.allInSync || this.#byGfid.size >= LEASES_MAX || !spare.ample) return false;
    if (session.channel === undefined || !leases.eligible(session) || leases.heldByAnother(gfid, session)) return false;
    if (host.copy.sessions.anySilent) return false;
    for (const other of host.sessions.all()) if (other !== session && other.mayHaveOpen(gfid)) return false;
    try {
      return isRegular(host.copy.store.getattr(gfid).mode);
    } catch (error) {
      definiteErrno(error);
      return false;
    }
  }

  #ask(session: Session, gfid: Gfid): void {
    const { locks, host } = this.#primary;
    const lease = this.#numbers.next(host.clock);
    const lock: Lock = { ...exclusiveLock(gfid), of: session.id, wanted: () => this.#wantedBack(exclusive) };
    if (!locks.free(lock)) return;
    let settle: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => (settle = resolve));
    const exclusive: Exclusive = { lease, gfid, session, lock, ticket: undefined, state: 'asking', wanted: false, cancel: () => undefined, ended, settle, waiting: [] };
    exclusive.ticket = locks.acquire([lock], () => undefined);
    this.#byGfid.set(gfid, exclusive);
    host.copy.direct.grant(lease, gfid, session.id);
    void this.#everywhere('grantLease', { lease, gfid, session: session.id }).then((answers) => this.#known(exclusive, answers.every((answer) => answer !== undefined)));
  }

  /** Every brick knows the lease, or not. */
  #known(exclusive: Exclusive, everywhere: boolean): void {
    if (exclusive.state !== 'asking' || this.#primary.stopped) return;
    const { gfid, session, lease, wanted } = exclusive;
    if (!everywhere || wanted || !this.#mayStillHave(exclusive)) {
      this.#free(exclusive);
      return;
    }
    exclusive.state = 'held';
    const { view, leases, mutations } = this.#primary;
    session.changed(gfid);
    leases.grant(gfid, session);
    session.channel?.send({ kind: 'exclusive', gfid, lease, epoch: view.epoch, time: mutations.lastTime });
  }

  #mayStillHave({ session, gfid }: Exclusive): boolean {
    const { leases, followers, gate, serving, host } = this.#primary;
    return serving && !gate.closed && followers.allInSync && session.channel !== undefined && leases.eligible(session) && !leases.heldByAnother(gfid, session) && host.copy.sessions.has(session.id);
  }

  // ---------------------------------------------------------------- taking back

  #wantedBack(exclusive: Exclusive): void {
    exclusive.wanted = true;
    const count = this.#counts.get(exclusive.gfid);
    if (count !== undefined) count.notBefore = this.#primary.host.clock.now() + PAUSE_MS;
    this.#recall(exclusive);
  }

  #recall(exclusive: Exclusive): void {
    if (exclusive.state !== 'held') return;
    exclusive.state = 'recalled';
    const { clock } = this.#primary.host;
    exclusive.session.channel?.send({ kind: 'yield', lease: exclusive.lease });
    exclusive.cancel = clock.after(Math.max(0, exclusive.session.leaseUntil - clock.now()), () => this.#end(exclusive));
  }

  yielded(session: Session, lease: number, clean: boolean): void {
    for (const exclusive of this.#byGfid.values()) {
      if (exclusive.lease !== lease || exclusive.session !== session || (exclusive.state !== 'held' && exclusive.state !== 'recalled')) continue;
      if (clean) this.#free(exclusive);
      else this.#end(exclusive);
      return;
    }
  }

  /** What the session holds is over: it begins anew, or is revoked. */
  endOf(session: string): void {
    for (const exclusive of [...this.#byGfid.values()]) if (exclusive.session.id === session) this.#end(exclusive);
  }

  /** In the next view no brick takes writes of this one. */
  viewChanged(): void {
    for (const exclusive of [...this.#byGfid.values()]) this.#end(exclusive);
  }

  /** A brick is about to be made equal: until it is, every change goes through here. */
  async recallAll(): Promise<void> {
    const all = [...this.#byGfid.values()];
    for (const exclusive of all) {
      exclusive.wanted = true;
      this.#recall(exclusive);
    }
    await Promise.all(all.map(({ ended }) => ended));
  }

  stop(): void {
    for (const exclusive of this.#byGfid.values()) {
      exclusive.cancel();
      exclusive.settle();
    }
    this.#byGfid.clear();
  }

  /** Nothing was written under it, or everything is everywhere. */
  #free(exclusive: Exclusive): void {
    const { lease, gfid, ticket } = exclusive;
    exclusive.cancel();
    exclusive.state = 'free';
    this.#byGfid.delete(gfid);
    this.#primary.host.copy.direct.drop(lease);
    void this.#everywhere('dropLease', { lease });
    exclusive.settle();
    if (ticket !== undefined) this.#primary.locks.release(ticket);
    for (const run of exclusive.waiting) run();
  }

  /**
   * True while a lease of this session on the inode is ending. What this brick made of its direct writes has an answer already, which must not be given before every brick
   * has it: see `whenEnded`.
   */
  isEnding(session: string, gfid: Gfid): boolean {
    const exclusive = this.#byGfid.get(gfid);
    return exclusive?.state === 'ending' && exclusive.session.id === session;
  }

  /** Runs when the lease that is ending has ended; not at all when the role ends before. */
  whenEnded(gfid: Gfid, run: () => void): void {
    this.#byGfid.get(gfid)?.waiting.push(run);
  }

  #end(exclusive: Exclusive): void {
    if (exclusive.state === 'ending' || exclusive.state === 'free') return;
    exclusive.cancel();
    exclusive.state = 'ending';
    // A brick that is slow is found out here, by the changes that go through this one.
    const { host } = this.#primary;
    this.#counts.set(exclusive.gfid, { session: exclusive.session, writes: 0, notBefore: host.clock.now() + host.pingTimeoutMs() });
    // From here on its own session waits as well: its requests come again, in the order of the stream.
    delete exclusive.lock.of;
    this.#primary.log.info('an exclusive lease is ended by the bricks', { gfid: exclusive.gfid, session: exclusive.session.id });
    void this.#endForSure(exclusive);
  }

  /** A disk here that refuses hands the role over: whoever takes it settles this, from the doubts of all. */
  async #endForSure(exclusive: Exclusive): Promise<void> {
    const { host, followers, refusals } = this.#primary;
    while (!this.#primary.stopped) {
      let reason = 'it may hold a part of a direct write';
      try {
        if (host.copy.journal.meta.halfWritten !== true || followers.ready().length === 0) {
          await this.#carryOutEnd(exclusive);
          return;
        }
      } catch (error) {
        if (this.#primary.stopped) return;
        if (!(error instanceof FsError)) throw error;
        // No other brick has more room than this one: the lease would not have been given.
        if (error.errno === Errno.ENOSPC) {
          await this.#primary.sleep(AGAIN_MS);
          continue;
        }
        reason = error.message;
      }
      await refusals.stepDown(reason);
      if (!this.#primary.stopped) await this.#primary.sleep(AGAIN_MS);
    }
  }

  async #carryOutEnd(exclusive: Exclusive): Promise<void> {
    const { lease, session } = exclusive;
    const { copy } = this.#primary.host;
    const mine = copy.direct.end(lease);
    const made = new Set(mine.map(({ requestNumber }) => requestNumber));
    const replays: Replay[] = mine.map(({ requestNumber, offset, length }) => ({ requestNumber, offset, length }));
    const undone = new Set<number>();
    for (const answer of await this.#everywhere('endLease', { lease })) {
      for (const [requestNumber, offset, length] of answer?.writes ?? []) {
        if (made.has(requestNumber)) continue;
        undone.add(requestNumber);
        replays.push({ requestNumber: 0, offset, length });
      }
    }
    if (undone.size > 0) await this.#everywhere('forgetAnswers', { session: session.id, numbers: [...undone] });
    if (this.#primary.stopped) return;
    await this.#letGo(exclusive.gfid);
    if (replays.length > 0 && this.#settleSize(exclusive)) {
      for (const replay of replays) await this.#prepare(exclusive, replay);
    }
    if (this.#primary.stopped) return;
    const { stream } = this.#primary;
    const last = stream.sequence;
    exclusive.settle();
    stream.whenCommitted(last, () => this.#free(exclusive));
  }

  /** Nobody answers from memory what is about to change. */
  #letGo(gfid: Gfid): Promise<void> {
    return new Promise((resolve) => {
      if (this.#primary.leases.recall([gfid], undefined, resolve)) resolve();
    });
  }

  /** The file is as long everywhere as it is here; false where it is gone: without a name and closed, no brick keeps it. Its lock is held, so it does not go from here on. */
  #settleSize({ gfid, session }: Exclusive): boolean {
    let size: number;
    try {
      ({ size } = this.#primary.host.copy.store.getattr(gfid));
    } catch (error) {
      if (definiteErrno(error) === Errno.ESTALE) return false;
      throw error;
    }
    this.#send({ op: 'setattr', args: { gfid, size, atimeNow: false, mtimeNow: true, killPriv: false }, keys: [inodeKey(gfid)] }, session, 0);
    return true;
  }

  /** Writes a range again as it is here. */
  async #prepare({ gfid, session }: Exclusive, { requestNumber, offset, length }: Replay): Promise<void> {
    const { host } = this.#primary;
    if (this.#primary.stopped) return;
    const data = await readAtOnce(host.copy.store, gfid, offset, length);
    if (this.#primary.stopped || data.byteLength === 0) return;
    const number = host.copy.sessions.has(session.id) ? requestNumber : 0;
    const args: Args<'write'> = { gfid, offset, append: false, sync: false, killPriv: false, data };
    this.#send({ op: 'write', args, keys: writeKeys(gfid, offset, data.byteLength) }, session, number);
  }

  #send(what: Pick<Change, 'op' | 'args' | 'keys'>, session: Session, requestNumber: number): void {
    const { host, mutations, stream, locks } = this.#primary;
    const change: Change = { ...what, session: session.id, requestNumber, acknowledged: 0, time: mutations.nextTime(), newGfid: '', purge: false };
    const result = host.copy.apply(change);
    const nobody = { session, sessionId: session.id, id: 0, requestNumber: 0, acknowledged: 0, op: change.op, args: change.args, begun: host.clock.now() };
    stream.send(nobody, change, locks.acquire([], () => undefined), result, undefined);
  }

  /** Asks every member; undefined for one that does not answer: its connection is closed, and it is made equal when it is back. */
  #everywhere<K extends PeerOpName>(op: K, args: PeerArgs<K>): Promise<(PeerResult<K> | undefined)[]> {
    return Promise.all(this.#primary.followers.ready().map((follower) => this.#call(follower, op, args)));
  }

  async #call<K extends PeerOpName>({ link }: Follower, op: K, args: PeerArgs<K>): Promise<PeerResult<K> | undefined> {
    try {
      return await link?.call(this.#primary.view.epoch, op, args, this.#primary.slowness.waitMsMax);
    } catch (error) {
      if (error instanceof FsError) link?.close(`${op} failed: ${error.message}`);
      else if (!(error instanceof LostError)) throw error;
      return undefined;
    }
  }
}

/** In one turn with what follows, where the bytes are in memory: nothing gets in between. */
async function readAtOnce(store: Store, gfid: Gfid, offset: number, length: number): Promise<Uint8Array> {
  for (let attempt = 0; attempt < READS_MAX; attempt++) {
    const data = store.read(gfid, offset, length);
    if (!(data instanceof Promise)) return data;
    await data;
  }
  return store.read(gfid, offset, length);
}
