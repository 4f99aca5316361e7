/**
 * Read leases: which session may answer from its own memory what it learnt of an inode (attributes, and for a directory the names in it and the
 * absences).
 *
 * A lease lasts until it is recalled, or until the session's lease time ran out: LEASE_MS after the last ping that was answered. So a session that is
 * silent holds a change up for no longer than that, and a new primary need only wait that long before its first change.
 *
 * Under a lease a client opens a file without asking. It tells so (`opens`) before it answers a recall; of a session that does not answer in time every
 * recalled inode is presumed open, until it tells. It gets no more leases until it answers, or connects anew.
 *
 * An inode that sessions take from each other all the time is better off without leases: each would cost the next change a recall. After a recall it gets
 * none for a while, and for twice as long each time that it is recalled again soon after.
 */
import type { Cancel, Clock } from '../env/clock.js';
import type { Gfid } from '../base/ids.js';
import type { Session } from './sessions.js';

/** How long after a ping the leases of a session are good. */
export const LEASE_MS = 500;
/** Clocks of two machines may differ in rate; the primary waits this much longer than the client trusts. */
const MARGIN_MS = 50;
/** Leases of one brick, at most; when there are so many, all are left to run out and counting begins anew. */
const LEASES_MAX = 200_000;

/** Fewer than there can be. */
const RECALLS_PER_MS = 1000;

/** How long an inode gets no lease after it was recalled, at first and at most. */
const WITHHELD_MS_MIN = 20;
const WITHHELD_MS_MAX = 1000;
/** A recall within so many times the last pause after its end makes the next one longer. */
const SOON = 4;
/** Inodes for which that is remembered. */
const WITHHELD_MAX = 20_000;

interface Pause {
  ms: number;
  until: number;
}

interface Recall {
  waits: Map<Session, Gfid[]>;
  done: (() => void)[];
  cancel: Cancel;
}

export class Leases {
  readonly #clock: Clock;
  readonly #holders = new Map<Gfid, Session | Set<Session>>();
  readonly #recalls = new Map<number, Recall>();
  readonly #pauses = new Map<Gfid, Pause>();
  #nextId: number;
  /** Too many leases: none is extended until then. 0 while there are not. */
  #runOutAt = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    // Another primary of this process may have asked on the same connections, and be answered late.
    this.#nextId = Math.max(1, Math.floor(clock.now() * RECALLS_PER_MS));
  }

  /** A ping came: true when a pong may leave for this session now. */
  extend(session: Session): boolean {
    // Who owes an answer keeps what it has for its time, and no longer: each of its leases would hold a change up again.
    if (session.unansweredRecalls.size > 0) return false;
    const now = this.#clock.now();
    if (this.#holders.size >= LEASES_MAX) {
      if (this.#runOutAt === 0) this.#runOutAt = now + LEASE_MS + MARGIN_MS;
      if (now < this.#runOutAt) return false;
      for (const held of this.#holders.values()) for (const holder of held instanceof Set ? held : [held]) holder.presumeAll();
      this.#holders.clear();
      this.#runOutAt = 0;
    }
    session.leaseUntil = now + LEASE_MS + MARGIN_MS;
    return true;
  }

  /** True when the session may hold leases: it sends pings, and answers recalls. */
  eligible(session: Session): boolean {
    if (session.unansweredRecalls.size > 0) return false;
    return session.leaseUntil > this.#clock.now() && this.#holders.size < LEASES_MAX;
  }

  /** True when nobody may be given a lease on this inode now, because it was recalled a moment ago. */
  withheld(gfid: Gfid): boolean {
    const pause = this.#pauses.get(gfid);
    return pause !== undefined && pause.until > this.#clock.now();
  }

  #pause(gfid: Gfid, now: number): void {
    const last = this.#pauses.get(gfid);
    const again = last !== undefined && now - last.until < SOON * last.ms;
    const ms = again ? Math.min(2 * last.ms, WITHHELD_MS_MAX) : WITHHELD_MS_MIN;
    if (this.#pauses.size >= WITHHELD_MAX) this.#pauses.clear();
    this.#pauses.set(gfid, { ms, until: now + ms });
  }

  /** True when the session was given a lease on this inode that was not recalled since. */
  mayHold(gfid: Gfid, session: Session): boolean {
    const held = this.#holders.get(gfid);
    return held instanceof Set ? held.has(session) : held === session;
  }

  heldByAnother(gfid: Gfid, session: Session): boolean {
    const held = this.#holders.get(gfid);
    return held instanceof Set ? held.size > (held.has(session) ? 1 : 0) : held !== undefined && held !== session;
  }

  grant(gfid: Gfid, session: Session): void {
    const held = this.#holders.get(gfid);
    if (held === undefined) this.#holders.set(gfid, session);
    else if (held instanceof Set) held.add(session);
    else if (held !== session) this.#holders.set(gfid, new Set([held, session]));
  }

  /**
   * Takes the leases on these inodes away from all sessions but one. True when nobody had one; otherwise `done` is called when all have let
   * go, or their lease time is over. Also who was asked before, for another change, and has not answered, has not let go.
   */
  recall(gfids: readonly Gfid[], except: Session | undefined, done: () => void): boolean {
    if (this.#recalls.size === 0) return this.#recall(gfids, except, done);
    const before = [...this.#recalls.values()].filter((recall) => concerns(recall, gfids, except));
    let left = before.length + 1;
    const one = (): void => {
      if (--left === 0) done();
    };
    for (const recall of before) recall.done.push(one);
    if (!this.#recall(gfids, except, one)) return false;
    left--;
    return before.length === 0;
  }

  #recall(gfids: readonly Gfid[], except: Session | undefined, done: () => void): boolean {
    const now = this.#clock.now();
    let waits: Map<Session, Gfid[]> | undefined;
    for (const gfid of gfids) {
      const held = this.#holders.get(gfid);
      if (held === undefined || held === except) continue;
      let recalled = false;
      for (const session of held instanceof Set ? held : [held]) {
        if (session === except) continue;
        if (session.leaseUntil <= now) {
          session.presume(gfid, 0);
          continue;
        }
        waits ??= new Map();
        const list = waits.get(session);
        if (list === undefined) waits.set(session, [gfid]);
        else list.push(gfid);
        recalled = true;
      }
      if (recalled) this.#pause(gfid, now);
      if (except !== undefined && held instanceof Set && held.has(except)) this.#holders.set(gfid, except);
      else this.#holders.delete(gfid);
    }
    if (waits === undefined) return true;
    const id = this.#nextId++;
    let until = 0;
    for (const [session, list] of waits) {
      until = Math.max(until, session.leaseUntil);
      session.channel?.send({ kind: 'recall', id, gfids: list });
    }
    const cancel = this.#clock.after(until - now, () => this.#finish(id));
    this.#recalls.set(id, { waits, done: [done], cancel });
    return false;
  }

  /** An answer to a recall. Returns inodes that the session may not have open any more, when it is late. */
  recalled(session: Session, id: number): Gfid[] {
    const recall = this.#recalls.get(id);
    if (recall?.waits.delete(session) !== true) return session.answeredLate(id);
    if (recall.waits.size === 0) this.#finish(id);
    return [];
  }

  /** No lease of before counts any more; nobody waits for one. */
  clear(): void {
    this.#holders.clear();
    this.#pauses.clear();
    for (const recall of this.#recalls.values()) recall.cancel();
    this.#recalls.clear();
  }

  #finish(id: number): void {
    const recall = this.#recalls.get(id);
    if (recall === undefined) return;
    this.#recalls.delete(id);
    recall.cancel();
    for (const [session, gfids] of recall.waits) {
      session.unansweredRecalls.add(id);
      for (const gfid of gfids) session.presume(gfid, id);
    }
    for (const done of recall.done) done();
  }
}

/** True while another session is waited for because of one of these inodes. */
function concerns({ waits }: Recall, gfids: readonly Gfid[], except: Session | undefined): boolean {
  for (const [session, asked] of waits) if (session !== except && asked.some((gfid) => gfids.includes(gfid))) return true;
  return false;
}
