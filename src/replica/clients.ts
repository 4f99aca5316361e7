/**
 * Sessions at the primary: they begin, are heard or fall silent, claim what they hold after a change of role, and end.
 *
 * A session that is silent keeps what it holds for as long as nobody minds: a client that was stopped for a while goes on as if nothing had been.
 * When another session wants what it has (changes or reads the data of a file that it has open, wants a lock that it holds), it is revoked, on every in-sync
 * brick and on their disks, before the other one gets on.
 */
import { FsError } from '../base/errno.js';
import type { Gfid } from '../base/ids.js';
import type { Channel } from '../env/channel.js';
import type { Message, MessageOf } from '../wire/messages.js';
import { LOCKS_PER_SESSION_MAX } from './lock-waiters.js';
import type { DataAccess } from './mutation.js';
import type { Primary } from './primary.js';
import type { Session } from './sessions.js';
import { SESSIONS_MAX, SessionState } from './session-table.js';

const TICK_MS = 250;
/** Ticks that are so far apart mean that this process could not hear anybody meanwhile. */
const DEAF_MS = 2000;
/** A silent session that is in nobody's way is revoked after so long: what it has open may have no name any more, and takes space. */
const SILENT_MS_MAX = 600_000;
const NOBODY: readonly string[] = [];

export class Clients {
  readonly #primary: Primary;
  readonly #revoking = new Map<string, Promise<boolean>>();
  /** Sessions that did not say yet what they hold. */
  readonly #unclaimed = new Set<string>();
  /** Sessions that did not say yet what they have open. */
  readonly #untold = new Set<string>();
  /** Sessions that may have something left of leases that another primary gave. */
  readonly #trusting = new Set<string>();
  #grace: (() => void)[] = [];
  /** Silence counts from here: before, nobody served who could have heard. */
  #since = Infinity;
  #lastTick = 0;

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  /** The primary serves from now on. */
  serve(): void {
    const { host } = this.#primary;
    const { sessions } = host.copy;
    for (const id of sessions.all()) {
      this.#unclaimed.add(id);
      this.#untold.add(id);
      if (!this.#isUnleased(host.sessions.get(id))) this.#trusting.add(id);
    }
    this.#since = host.clock.now();
    this.#lastTick = this.#since;
    // Heard while this brick recovered.
    for (const id of [...sessions.silent()]) {
      const session = host.sessions.get(id);
      if (session?.channel !== undefined && this.#since - session.lastSeen < host.pingTimeoutMs()) this.heard(session);
    }
    this.#arm();
  }

  #arm(): void {
    this.#primary.host.clock.after(TICK_MS, () => {
      if (this.#primary.stopped) return;
      this.#tick();
      this.#arm();
    });
  }

  #tick(): void {
    const { host } = this.#primary;
    const now = host.clock.now();
    if (now - this.#lastTick > DEAF_MS) this.#since = now;
    this.#lastTick = now;
    for (const id of [...host.copy.sessions.all()]) {
      const silentMs = now - Math.max(this.#since, host.sessions.get(id)?.lastSeen ?? 0);
      const silent = host.copy.sessions.isSilent(id);
      if (!silent && silentMs >= host.pingTimeoutMs()) void this.#fellSilent(id);
      else if (silent && silentMs >= host.pingTimeoutMs() + SILENT_MS_MAX) void this.revoke([id]);
    }
  }

  /** Anybody who waits for a lock of this session looks again, and revokes it. */
  async #fellSilent(id: string): Promise<void> {
    const { log, host, lockRequests } = this.#primary;
    log.info('a session is silent', { session: id });
    if (!(await this.#set(id, SessionState.silent))) return;
    for (const gfid of host.copy.fileLocks.inodesOf(id)) lockRequests.wake(gfid);
    if (this.#unclaimed.has(id) && this.#grace.length > 0) void this.revoke([id]);
  }

  /** Notes the state here and on every other in-sync brick. False when the role ended before all had it. */
  #set(session: string, state: SessionState): Promise<boolean> {
    const { host, refusals, followers } = this.#primary;
    try {
      if (state === SessionState.ended) host.copy.sessions.set(session, state);
      else host.copy.setSession(session, state);
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      void refusals.stepDown(`the table of sessions cannot be written: ${error.message}`);
    }
    return followers.everywhere('session', () => ({ session, state: host.copy.sessions.state(session) }));
  }

  /** A sign of life of a session that was silent. */
  heard(session: Session): void {
    if (!this.#primary.serving || this.#revoking.has(session.id)) return;
    this.#primary.log.info('a silent session is back', { session: session.id });
    void this.#set(session.id, SessionState.live);
  }

  // ---------------------------------------------------------------- beginning, claiming

  async reclaim(session: Session, channel: Channel<Message>, message: MessageOf<'reclaim'>): Promise<void> {
    const { host, log } = this.#primary;
    const { sessions } = host.copy;
    this.#primary.exclusives.endOf(session.id);
    this.#primary.lockLeases.again(session);
    this.#primary.lockHolders.again(session);
    if (!sessions.has(session.id)) {
      if (!message.begins || this.#revoking.has(session.id)) {
        this.refuse(channel);
        return;
      }
      if (sessions.size >= SESSIONS_MAX) {
        log.error('too many clients: one more was refused', { clients: sessions.size });
        // The one that is silent for longest makes room: it must not keep others out for as long as nobody minds it.
        const [silent] = sessions.silent();
        if (silent !== undefined) void this.revoke([silent]);
        channel.close('too many clients');
        return;
      }
      if (!(await this.#set(session.id, SessionState.live))) return;
    }
    if (this.#claim(session, message)) channel.send({ kind: 'reclaimed', id: message.id, errno: 0, losses: this.#primary.host.copy.losses });
    else void this.revoke([session.id]);
  }

  /**
   * Takes over what the client says that it holds; false when another has a lock of it, or it is more than a session may hold. A primary that has
   * counted all along knows better than the client, which has not heard every answer yet. The same holds for locks: one that was given up, and whose
   * answer is on the way, must not come back.
   */
  #claim(session: Session, message: MessageOf<'reclaim'>): boolean {
    if (session.countedBy === this.#primary) return true;
    if (message.locks.length > LOCKS_PER_SESSION_MAX) return false;
    session.countedBy = this.#primary;
    session.opens.clear();
    for (const gfid of message.opens) session.opened(gfid);
    for (const lock of message.locks) if (!this.#primary.lockRequests.reclaim(session, lock)) return false;
    this.#primary.lockLeases.endOf(session.id);
    this.#claimed(session.id);
    return true;
  }

  /** A session that is not silent has not claimed yet what it holds, which may be more than is known here. */
  get mayClaim(): boolean {
    for (const id of this.#unclaimed) if (!this.isSilent(id)) return true;
    return !this.#primary.host.copy.locksKnown;
  }

  /** What every session has open is known, but for those that are silent and did not say. */
  get opensAreKnown(): boolean {
    for (const id of this.#untold) if (!this.isSilent(id)) return false;
    return true;
  }

  /** What every session has open is known. */
  get allOpensAreKnown(): boolean {
    return this.#untold.size === 0;
  }

  /** The session said all that it has open, after its claim. */
  toldAll(session: Session): void {
    if (session.countedBy === this.#primary) this.#untold.delete(session.id);
  }

  #claimed(id: string): void {
    this.#unclaimed.delete(id);
    if (this.#unclaimed.size > 0) return;
    this.#locksAreKnown();
    for (const go of this.#grace.splice(0)) go();
  }

  #locksAreKnown(): void {
    const { host, followers } = this.#primary;
    if (host.copy.locksKnown) return;
    host.copy.locksKnown = true;
    // A brick that becomes primary without having heard of it waits for the claims once more.
    void followers.everywhere('locksKnown', () => ({}));
  }

  /**
   * Locks were lost with the processes that knew them: nobody gets one before all have claimed theirs. True when locks may not be given yet: `go` is
   * called when they may. Who does not claim in time is revoked.
   */
  graceHolds(go: () => void): boolean {
    if (this.#primary.host.copy.locksKnown) return false;
    if (this.#unclaimed.size === 0) {
      this.#locksAreKnown();
      return false;
    }
    this.#grace.push(go);
    const silent = [...this.#unclaimed].filter((id) => this.#primary.host.copy.sessions.isSilent(id));
    if (silent.length > 0) void this.revoke(silent);
    return true;
  }

  /** A client let go of leases. */
  recalled(session: Session, id: number): void {
    for (const gfid of this.#primary.leases.recalled(session, id)) this.#primary.orphans.purge(gfid);
  }

  /** No session has anything left of leases that another primary gave. */
  get allUnleased(): boolean {
    return this.#trusting.size === 0;
  }

  /** A client said that it has nothing left of older leases. */
  unleased(session: Session): void {
    if (this.#isUnleased(session) && this.#trusting.delete(session.id) && this.allUnleased) this.#primary.oldLeasesAreOver();
  }

  #isUnleased(session: Session | undefined): boolean {
    return session !== undefined && session.unleasedEpoch >= this.#primary.firstEpoch;
  }

  // ---------------------------------------------------------------- in the way

  /**
   * Silent sessions that must be revoked before another goes on with this file: those that may have it open, when its data is about to be changed; those that have
   * changed it, when it is about to be opened or read.
   */
  inTheWay({ gfid, changes }: DataAccess, of: Session): readonly string[] {
    const { sessions } = this.#primary.host.copy;
    if (!sessions.anySilent) return NOBODY;
    return [...sessions.silent()].filter((id) => id !== of.id && this.#minds(id, gfid, changes));
  }

  /** What a session has open that did not claim it from this primary is not known. */
  #minds(id: string, gfid: Gfid, changes: boolean): boolean {
    const { host, leases } = this.#primary;
    const session = host.sessions.get(id);
    if (session === undefined || session.countedBy !== this.#primary) return true;
    if (!changes && !session.hasChanged(gfid)) return false;
    // Under a lease it may have opened the file without asking.
    return session.mayHaveOpen(gfid) || leases.mayHold(gfid, session);
  }

  isSilent(id: string): boolean {
    return this.#primary.host.copy.sessions.isSilent(id);
  }

  // ---------------------------------------------------------------- the end

  /**
   * From this call on nothing of these sessions takes effect here; when it resolves with true, nowhere and never. What was applied before stays, what was not is
   * given up without an answer. False when the role ended before.
   */
  async revoke(ids: readonly string[]): Promise<boolean> {
    const done = await Promise.all(ids.map((id) => this.#revokeOne(id, 'a silent session was revoked')));
    return done.every(Boolean);
  }

  /** The client said that it ends: nobody will ask for its answers again. */
  end(id: string): Promise<boolean> {
    return this.#revokeOne(id, 'a session ended');
  }

  #revokeOne(id: string, reason: string): Promise<boolean> {
    const before = this.#revoking.get(id);
    if (before !== undefined) return before;
    if (!this.#primary.serving || !this.#primary.host.copy.sessions.has(id)) return Promise.resolve(this.#primary.serving);
    this.#primary.log.info(reason, { session: id });
    const work = this.#carryOut(id);
    this.#revoking.set(id, work);
    return work;
  }

  async #carryOut(id: string): Promise<boolean> {
    const { host, lockRequests, orphans } = this.#primary;
    // Once it is not in the table it may be forgotten at any time, and with it what it had open.
    const session = host.sessions.get(id);
    const everywhere = await this.#set(id, SessionState.ended);
    this.#revoking.delete(id);
    this.#primary.exclusives.endOf(id);
    if (!everywhere) return false;
    if (session?.channel !== undefined) this.refuse(session.channel);
    const freed = lockRequests.dropSession(id);
    host.copy.results.drop(id);
    host.sessions.remove(id);
    this.#untold.delete(id);
    this.#claimed(id);
    this.#primary.lockLeases.endOf(id);
    this.#primary.lockHolders.endOf(id);
    this.#primary.givenOrder.drop(id);
    for (const gfid of freed) lockRequests.wake(gfid);
    for (const gfid of session?.closeAll() ?? []) orphans.purge(gfid);
    return true;
  }

  /** The session is not known: it was revoked. */
  refuse(channel: Channel<Message>): void {
    channel.send({ kind: 'fenced' });
    channel.close('the session was revoked');
  }
}
