/** Inodes without a name: they stay while a client has them open, and go on every brick when nobody has. */
import { Errno } from '../base/errno.js';
import type { Gfid } from '../base/ids.js';
import { definiteErrno } from './copy.js';
import { CALL_TIMEOUT_MS } from './followers.js';
import { exclusiveLock } from './inode-locks.js';
import { purgeKeys } from './keys.js';
import type { Primary } from './primary.js';

const SWEEP_MS = 30_000;
/** After a change of role the clients need time to say what they have open, and to ask again for what was not answered. */
const RECLAIM_MS = 2000;
/** A client that is silent then is waited for so much longer: meanwhile all that is removed takes space, since it may have it open. */
const SILENT_PING_TIMEOUTS = 2;

export class Orphans {
  readonly #primary: Primary;
  readonly #purgeFrom: number;
  readonly #silentUntil: number;
  #nextSweep: number;
  /** One that nobody is known to have open was kept: looked at again as soon as it may go. */
  #skipped = false;
  /** Inodes that are in use by an operation under way: looked at again when it is over. */
  readonly #waiting = new Set<Gfid>();

  constructor(primary: Primary, firstView: boolean) {
    const { host } = primary;
    this.#primary = primary;
    this.#purgeFrom = firstView ? 0 : host.clock.now() + host.pingTimeoutMs() + RECLAIM_MS;
    this.#silentUntil = firstView ? 0 : this.#purgeFrom + SILENT_PING_TIMEOUTS * host.pingTimeoutMs();
    this.#nextSweep = this.#purgeFrom;
  }

  /** It is known what all have open, but for a client that was silent for long. */
  get #opensAreKnown(): boolean {
    const { host, clients } = this.#primary;
    const now = host.clock.now();
    return now >= this.#purgeFrom && (clients.allOpensAreKnown || (now >= this.#silentUntil && clients.opensAreKnown));
  }

  /** Otherwise another brick may be the primary by now, or become it before a member that is missing hears of a removal: its clients may have the inode open. */
  get #mayRemove(): boolean {
    const { gate, host } = this.#primary;
    return !gate.closed && host.leaseLive() && this.#opensAreKnown;
  }

  /** An inode that loses its last name now may go at once. */
  mayPurge(gfid: Gfid): boolean {
    return this.#opensAreKnown && !this.#primary.host.sessions.isOpen(gfid);
  }

  /** Removes an inode that has no name and that nobody has open, on every brick. */
  purge(gfid: Gfid): void {
    const { host, serving, locks, leases, log, view, followers, heals, stream } = this.#primary;
    if (!serving || host.sessions.isOpen(gfid) || !this.#isNameless(gfid)) return;
    if (!this.#mayRemove) {
      this.#skipped = true;
      return;
    }
    if (!locks.free(exclusiveLock(gfid))) {
      this.#purgeLater(gfid);
      return;
    }
    leases.recall([gfid], undefined, () => undefined);
    const keys = purgeKeys(gfid);
    try {
      host.copy.journal.note(keys);
      // What a member does not hear of before this role ends is made equal by the next primary. Those that acknowledge the next change have heard.
      host.copy.noteDoubt(stream.sequence + 1, keys);
      host.copy.store.purge(gfid);
    } catch (error) {
      log.warn('an inode without names could not be removed; it is tried again later', { gfid, errno: definiteErrno(error) });
      return;
    }
    for (const follower of followers.all()) {
      if (follower.link === undefined) continue;
      if (follower.state === 'ready') void follower.link.call(view.epoch, 'purge', { gfid }, CALL_TIMEOUT_MS).catch(() => undefined);
    }
    heals.touch(keys);
  }

  #isNameless(gfid: Gfid): boolean {
    try {
      return this.#primary.host.copy.store.getattr(gfid).nlink === 0;
    } catch (error) {
      if (definiteErrno(error) === Errno.ESTALE) return false;
      throw error;
    }
  }

  #purgeLater(gfid: Gfid): void {
    if (this.#waiting.has(gfid)) return;
    this.#waiting.add(gfid);
    this.#primary.locks.whenFree([exclusiveLock(gfid)], () => {
      this.#waiting.delete(gfid);
      this.purge(gfid);
    });
  }

  /** Called every second: looks now and then for those that were skipped, or that the primary before this one left. */
  sweep(): void {
    const { host } = this.#primary;
    const now = host.clock.now();
    if ((now < this.#nextSweep && !this.#skipped) || !this.#mayRemove) return;
    this.#nextSweep = now + SWEEP_MS;
    this.#skipped = false;
    for (const gfid of host.copy.store.orphans()) this.purge(gfid);
  }
}
