/** fsync and checkpoints: what is on stable storage, on every in-sync brick. */
import { Errno, errnoOf, FsError, LostError } from '../base/errno.js';
import type { Gfid } from '../base/ids.js';
import { definiteErrno } from './copy.js';
import type { Follower } from './followers.js';
import type { Mutation } from './mutation.js';
import type { Primary } from './primary.js';
import type { Wait } from './slowness.js';

/** A copy that is suspect tries to hand its role over again after this. */
const STEP_DOWN_AGAIN_MS = 200;

export class Durability {
  readonly #primary: Primary;
  /** Files of which an fsync failed here, and no other brick has taken over. */
  readonly #suspect = new Set<Gfid>();
  /** How many times all that was acknowledged at some moment came to be on stable storage of every in-sync brick. */
  synced = 0;

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  /** Everything acknowledged for the inode is made durable on every in-sync brick, then the request is answered. */
  syncThenFinish(mutation: Mutation, gfid: Gfid, dataOnly: boolean, result: unknown): void {
    const primary = this.#primary;
    const ready = [...primary.followers.all()].filter((follower) => follower.state === 'ready');
    const wait = primary.slowness.begin(ready);
    const work = [this.#syncHere(gfid, dataOnly, wait), ...ready.map((follower) => this.#syncAt(follower, gfid, dataOnly, wait))];
    void Promise.all(work).then(
      () => {
        primary.slowness.end(wait);
        // A member that was missing, or was lost meanwhile, must have left the set before this counts as done.
        if (!primary.serving) return;
        if (primary.stalled) primary.gate.hold(() => this.syncThenFinish(mutation, gfid, dataOnly, result));
        else primary.mutations.finish(mutation, 0, result, true);
      },
      (error: unknown) => {
        primary.slowness.end(wait);
        if (primary.serving) primary.mutations.finish(mutation, errnoOf(error), undefined);
      },
    );
  }

  /** Throws what the caller shall be told. */
  async #syncHere(gfid: Gfid, dataOnly: boolean, wait: Wait): Promise<void> {
    if (this.#isSuspect(gfid)) await this.#ownSyncFailed(gfid, new FsError(Errno.EIO, 'fsync', 'an earlier fsync failed and no other brick has the file'));
    try {
      await this.#primary.host.copy.store.fsync(gfid, dataOnly);
      // Of syncs at the same time one is told of an error.
      if (this.#isSuspect(gfid)) throw new FsError(Errno.EIO, 'fsync', 'another sync failed');
      wait.ownDone = true;
    } catch (error) {
      await this.#ownSyncFailed(gfid, error);
    }
  }

  async #syncAt(follower: Follower, gfid: Gfid, dataOnly: boolean, wait: Wait): Promise<void> {
    const { view, slowness } = this.#primary;
    const { link } = follower;
    try {
      await link?.call(view.epoch, 'fsync', { gfid, dataOnly }, slowness.waitMsMax);
      wait.pending.delete(follower);
    } catch (error) {
      if (error instanceof FsError && error.errno === Errno.ESTALE && !this.#isGone(gfid)) link?.close('does not know an inode that was synced');
      else if (error instanceof FsError && error.errno !== Errno.ESTALE) link?.close(`fsync failed: ${error.message}`);
      else if (!(error instanceof FsError) && !(error instanceof LostError)) throw error;
    }
  }

  #isGone(gfid: Gfid): boolean {
    try {
      this.#primary.host.copy.store.getattr(gfid);
      return false;
    } catch {
      return true;
    }
  }

  /** A failed fsync is never retried and acknowledged: this copy is suspect, another brick takes over. While none can, the request waits. */
  async #ownSyncFailed(gfid: Gfid, error: unknown): Promise<never> {
    const primary = this.#primary;
    const errno = definiteErrno(error);
    if (errno === Errno.ESTALE) throw error;
    // The kernel would call the next fsync a success, whatever became of the data.
    this.#distrustOwn([gfid]);
    while (primary.serving && primary.view.inSync.length > 1) {
      await primary.refusals.stepDown(`fsync failed with errno ${errno}`);
      if (primary.serving) await primary.sleep(STEP_DOWN_AGAIN_MS);
    }
    // Nobody can take over.
    throw error;
  }

  #isSuspect(gfid: Gfid): boolean {
    return this.#suspect.has(gfid) || this.#primary.host.copy.isSuspect(gfid);
  }

  #distrustOwn(gfids: Iterable<Gfid>): void {
    const { view, host, stopped } = this.#primary;
    for (const gfid of gfids) this.#suspect.add(gfid);
    // Nobody else has it; another primary may, that sealed this copy meanwhile.
    if (view.inSync.length === 1 && !stopped) return;
    host.copy.suspectUnsynced(gfids);
    // Where the next view lists it as in sync still, it is made equal in more than what is in doubt.
    host.suspected();
  }

  /** Rotates the journals and syncs the disks of every in-sync brick; older generations go when the whole set took part. */
  async checkpoint(): Promise<void> {
    const { host, followers, gate, serving, stalled, log, view, refusals } = this.#primary;
    const { journal } = host.copy;
    const ready = followers.ready();
    const whole = ready.length === host.bricks().length - 1;
    // Also where nothing changed since the last one, which was not complete because a brick was away: it is back.
    const due = journal.dirty || (whole && journal.meta.checkpoint > journal.meta.base);
    // What this disk refused and members may have is in no journal but under the keys that a checkpoint lets go.
    if (!serving || stalled || gate.closed) return;
    // Its keys tell the next primary what is to be compared.
    if (host.copy.anySuspect) return refusals.stepDown('an earlier sync failed');
    if (!due) {
      // Nothing was changed since the last one.
      this.synced++;
      return;
    }
    const number = journal.nextNumber(view.epoch);
    try {
      host.copy.rotate(number);
      await Promise.all([this.#syncAllHere(), ...ready.map((follower) => this.#checkpointAt(follower, number))]);
      // Of syncs at the same time one is told of an error.
      if (host.copy.anySuspect) return await refusals.stepDown('another sync failed');
      journal.synced(number);
      this.synced++;
      if (!whole || this.#primary.stopped || ready.some((follower) => follower.state !== 'ready')) return;
      journal.complete(number);
      await Promise.all(ready.map((follower) => followers.call(follower, 'checkpointDone', { number })));
    } catch (error) {
      if (!(error instanceof LostError) && !(error instanceof FsError)) throw error;
      log.warn('a checkpoint was not completed', { number, error: String(error) });
    }
  }

  /** What a disk lost that could not write is not written by the next sync: this copy is suspect in all that changed since the last one. */
  async #syncAllHere(): Promise<void> {
    const { host, refusals } = this.#primary;
    try {
      await host.copy.store.sync();
    } catch (error) {
      // Read from memory until another is primary and seals this copy: the disk has what nobody shall see.
      // Read from memory until another is primary and seals this copy: what the disk holds is older than what was acknowledged.
      this.#distrustOwn([]);
      await refusals.stepDown(`sync failed with errno ${definiteErrno(error)}`);
      throw error;
    }
  }

  async #checkpointAt(follower: Follower, number: number): Promise<void> {
    try {
      await this.#primary.followers.call(follower, 'checkpoint', { number });
    } catch (error) {
      if (error instanceof FsError) follower.link?.close(`sync failed: ${error.message}`);
      throw error;
    }
  }
}
