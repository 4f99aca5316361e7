/** fsync and checkpoints: what is on stable storage, on every in-sync brick. */
import { Errno, errnoOf, FsError, LostError } from '../base/errno.js';
import type { Gfid } from '../base/ids.js';
import { definiteErrno } from './copy.js';
import { CALL_TIMEOUT_MS, type Follower } from './followers.js';
import type { Mutation } from './mutation.js';
import type { Primary } from './primary.js';

/** A copy that is suspect tries to hand its role over again after this. */
const STEP_DOWN_AGAIN_MS = 200;

export class Durability {
  readonly #primary: Primary;

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  /** Everything acknowledged for the inode is made durable on every in-sync brick, then the request is answered. */
  syncThenFinish(mutation: Mutation, gfid: Gfid, dataOnly: boolean, result: unknown): void {
    const primary = this.#primary;
    const work = [primary.host.copy.store.fsync(gfid, dataOnly).catch((error: unknown) => this.#ownSyncFailed(error))];
    for (const follower of primary.followers.all()) if (follower.state === 'ready') work.push(this.#syncAt(follower, gfid, dataOnly));
    void Promise.all(work).then(
      () => {
        // A member that was missing, or was lost meanwhile, must have left the set before this counts as done.
        if (!primary.serving) return;
        if (primary.stalled) primary.gate.hold(() => this.syncThenFinish(mutation, gfid, dataOnly, result));
        else primary.mutations.finish(mutation, 0, result);
      },
      (error: unknown) => {
        if (primary.serving) primary.mutations.finish(mutation, errnoOf(error), undefined);
      },
    );
  }

  async #syncAt(follower: Follower, gfid: Gfid, dataOnly: boolean): Promise<void> {
    const { view, host } = this.#primary;
    const { link } = follower;
    try {
      await link?.call(view.epoch, 'fsync', { gfid, dataOnly }, Math.max(CALL_TIMEOUT_MS, host.pingTimeoutMs()));
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
  async #ownSyncFailed(error: unknown): Promise<void> {
    const primary = this.#primary;
    const errno = definiteErrno(error);
    if (errno === Errno.ESTALE) throw error;
    while (primary.serving && primary.view.inSync.length > 1) {
      await primary.refusals.stepDown(`fsync failed with errno ${errno}`);
      if (primary.serving) await primary.sleep(STEP_DOWN_AGAIN_MS);
    }
    throw error;
  }

  /** Rotates the journals and syncs the disks of every in-sync brick; older generations go when the whole set took part. */
  async checkpoint(): Promise<void> {
    const { host, followers, serving, stalled, log, view } = this.#primary;
    const { journal, store } = host.copy;
    const ready = followers.ready();
    if (!serving || !journal.dirty || stalled) return;
    const number = journal.nextNumber(view.epoch);
    try {
      host.copy.rotate(number);
      await Promise.all([store.sync(), ...ready.map((follower) => followers.call(follower, 'checkpoint', { number }))]);
      journal.synced(number);
      const whole = ready.length === host.bricks().length - 1 && ready.every((follower) => follower.state === 'ready');
      if (!whole || this.#primary.stopped) return;
      journal.complete(number);
      await Promise.all(ready.map((follower) => followers.call(follower, 'checkpointDone', { number })));
    } catch (error) {
      if (!(error instanceof LostError) && !(error instanceof FsError)) throw error;
      log.warn('a checkpoint was not completed', { number, error: String(error) });
    }
  }
}
