/**
 * Clients as a brick sees them. A session outlives its connections; what it has open and which of its requests are under way belongs to it.
 */
import type { Channel } from '../env/channel.js';
import type { Gfid } from '../base/ids.js';
import type { Message } from '../wire/messages.js';

const CHANGED_KEPT = 16_384;

/** In place of the id of a request: nobody on this connection has asked for it. */
export const NOT_ASKED = 0;

export class Session {
  readonly id: string;
  channel: Channel<Message> | undefined;
  /** Monotonic milliseconds of the last sign of life. */
  lastSeen = 0;
  /** Open counts by inode. */
  readonly opens = new Map<Gfid, number>();
  /** Inodes that the client opened by itself under a lease, as far as it has told. */
  readonly #told = new Set<Gfid>();
  /** Inodes that it may have opened so: it was silent when a lease was recalled. With the number of the recall, 0 for none. */
  readonly #presumed = new Map<Gfid, number>();
  #presumesAll = false;
  /** The primary that has counted `opens` since it heard them from the client. */
  countedBy: object | undefined;
  /** Files whose data it changed, the latest. */
  readonly #changed = new Set<Gfid>();
  /** Requests under way: request number → id to answer with (of the connection that asked last). */
  readonly underWay = new Map<number, number>();
  /** Until then (monotonic milliseconds) it may answer from its leases; see leases.ts. */
  leaseUntil = 0;
  /** It has nothing left of leases that were given before this epoch. */
  unleasedEpoch = 0;
  /** Recalls on this connection that it did not answer in time: until it has, it gets no more leases. */
  readonly unansweredRecalls = new Set<number>();
  bytesRead = 0;
  bytesWritten = 0;

  constructor(id: string) {
    this.id = id;
  }

  opened(gfid: Gfid): void {
    this.opens.set(gfid, (this.opens.get(gfid) ?? 0) + 1);
  }

  /** True when that was the last open of this session. */
  released(gfid: Gfid): boolean {
    const count = this.opens.get(gfid);
    if (count === undefined) return false;
    if (count > 1) {
      this.opens.set(gfid, count - 1);
      return false;
    }
    this.opens.delete(gfid);
    return true;
  }

  /** Noted for each change of data. */
  changed(gfid: Gfid): void {
    if (this.#changed.has(gfid)) return;
    if (this.#changed.size >= CHANGED_KEPT) this.#changed.delete(this.#changed.values().next().value as Gfid);
    this.#changed.add(gfid);
  }

  hasChanged(gfid: Gfid): boolean {
    return this.#changed.has(gfid);
  }

  get openCount(): number {
    let count = this.#told.size;
    for (const n of this.opens.values()) count += n;
    return count;
  }

  /** It has the inode open, or may have: an unlinked inode stays until this is false for every session. */
  mayHaveOpen(gfid: Gfid): boolean {
    return this.opens.has(gfid) || this.#told.has(gfid) || this.#presumesAll || this.#presumed.has(gfid);
  }

  /** See the message `opens`. Returns inodes that it may not have open any more. */
  told(whole: boolean, held: readonly Gfid[], closed: readonly Gfid[]): Gfid[] {
    const gone = whole ? [...this.#told, ...this.#presumed.keys()] : [...closed];
    if (whole) {
      this.#told.clear();
      this.#presumed.clear();
      this.#presumesAll = false;
    }
    for (const gfid of closed) this.#told.delete(gfid);
    for (const gfid of held) this.#told.add(gfid);
    return gone;
  }

  /** It did not answer this recall in time. */
  presume(gfid: Gfid, recall: number): void {
    this.#presumed.set(gfid, recall);
  }

  /** Its leases were forgotten without a recall. */
  presumeAll(): void {
    this.#presumesAll = true;
  }

  /** It answered a recall late, after telling what it has open. Returns inodes that it may not have open any more. */
  answeredLate(recall: number): Gfid[] {
    this.unansweredRecalls.delete(recall);
    const gone: Gfid[] = [];
    for (const [gfid, number] of this.#presumed) if (number === recall) gone.push(gfid);
    for (const gfid of gone) this.#presumed.delete(gfid);
    return gone;
  }

  /** Everything it has open is let go; returns the inodes. */
  closeAll(): Gfid[] {
    const all = [...this.opens.keys(), ...this.told(true, [], [])];
    this.opens.clear();
    return all;
  }
}

export class Sessions {
  readonly #sessions = new Map<string, Session>();

  get(id: string): Session | undefined {
    return this.#sessions.get(id);
  }

  /** Those that have the inode open, as far as they had to ask for that, and are connected. */
  whoOpened(gfid: Gfid): Session[] {
    return [...this.#sessions.values()].filter((session) => session.opens.has(gfid) && session.channel !== undefined);
  }

  /** The session of that id, made when it is new; its earlier connection is closed. */
  connect(id: string, channel: Channel<Message>, now: number): Session {
    let session = this.#sessions.get(id);
    if (session === undefined) this.#sessions.set(id, (session = new Session(id)));
    const before = session.channel;
    // Who goes on with the session of a process that died counts its requests anew: what that one asked for is answered to nobody, before it is asked for again.
    if (before !== channel) for (const number of session.underWay.keys()) session.underWay.set(number, NOT_ASKED);
    session.channel = channel;
    session.unansweredRecalls.clear();
    session.lastSeen = now;
    if (before !== undefined && before !== channel) before.close('the session has a newer connection');
    return session;
  }

  remove(id: string): void {
    this.#sessions.delete(id);
  }

  all(): Iterable<Session> {
    return this.#sessions.values();
  }

  isOpen(gfid: Gfid): boolean {
    for (const session of this.#sessions.values()) if (session.mayHaveOpen(gfid)) return true;
    return false;
  }
}
