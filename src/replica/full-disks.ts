/**
 * Bricks whose disks are full.
 *
 *   in sync ──a change needs space that it has not, and a majority has──▶ out of the set ──its disk has space──▶ made equal, in sync
 *                                                                           │    ▲
 *                                                    now and then, less often each time: what the others removed is removed there too
 *                                                                           ▼    │
 *                                                                        no space still
 *
 * It does not come and go: it returns with more space than it needs at once, or with nearly as much as the others have.
 */
import { LostError } from '../base/errno.js';
import type { BrickId } from '../fops/view.js';
import type { Follower } from './followers.js';
import type { Primary } from './primary.js';

const LOOK_MS = 2000;
const ATTEMPT_MS_MIN = 5000;
const ATTEMPT_MS_MAX = 300_000;
/** A full primary that cannot hand its role over tries again after this. */
const AGAIN_MS = 200;

/** A brick that catches up has no space: not an error, it goes on when it has. */
export class DiskFullError extends LostError {}

interface Full {
  /** Told by the brick; otherwise its disk refused although it told of space. */
  measured: boolean;
  /** When it is made equal as far as there is space. */
  attemptAt: number;
  pauseMs: number;
}

export class FullDisks {
  readonly #primary: Primary;
  readonly #full = new Map<BrickId, Full>();

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  /** It is not of the set because its disk is full. */
  has(brick: BrickId): boolean {
    return this.#full.has(brick);
  }

  /** These bricks leave the set: they have no space, and a majority has. Resolves when it may be looked at again. */
  async leave(bricks: readonly BrickId[]): Promise<void> {
    const { host, followers, spare, refusals } = this.#primary;
    if (bricks.includes(host.brick)) {
      const ready = followers.ready().map(({ brick }) => brick);
      await refusals.stepDown('the disk is full', spare.roomiest(ready.filter((brick) => !bricks.includes(brick))));
      if (!this.#primary.stopped) await this.#primary.sleep(AGAIN_MS);
      return;
    }
    for (const brick of bricks) {
      const follower = followers.get(brick);
      if (follower?.link === undefined) continue;
      this.refused(follower, true);
      follower.link.close('its disk is full');
    }
  }

  /** The disk of the brick has no space (`measured`: as it tells), or refused for want of it. */
  refused({ brick }: Follower, measured = false): void {
    const before = this.#full.get(brick);
    if (before === undefined) this.#primary.log.warn('the disk of a brick is full: it leaves the set until it has space', { brick });
    const now = this.#primary.host.clock.now();
    let pauseMs = before?.pauseMs ?? ATTEMPT_MS_MIN;
    // A member that cannot be dropped is tried every second, without these pauses: its refusals must not keep it outside for minutes later.
    if (before !== undefined && now >= before.attemptAt) pauseMs = Math.min(ATTEMPT_MS_MAX, pauseMs * 2);
    this.#full.set(brick, { measured, attemptAt: now + pauseMs, pauseMs });
  }

  /** The brick is in sync. */
  joined(brick: BrickId): void {
    if (this.#full.delete(brick)) this.#primary.log.info('the disk of a brick has space again', { brick });
  }

  keepOnly(bricks: readonly BrickId[]): void {
    for (const brick of this.#full.keys()) if (!bricks.includes(brick)) this.#full.delete(brick);
  }

  /** Resolves when the brick has space, or when what the others removed may be removed there too. Rejects with LostError when its connection ended. */
  async untilSpace(follower: Follower): Promise<void> {
    const { link, brick } = follower;
    for (;;) {
      const spacious = await this.hasSpace(follower);
      const full = this.#full.get(brick);
      if (full === undefined && spacious) return;
      if (full === undefined) this.refused(follower, true);
      else {
        if (this.#primary.host.clock.now() >= full.attemptAt || (spacious && full.measured)) return;
        full.measured ||= !spacious;
      }
      await this.#primary.sleep(LOOK_MS);
      if (follower.link !== link || this.#primary.stopped) throw new LostError('the connection ended');
    }
  }

  /** True when the brick has as much space as it needs to be of the set. */
  async hasSpace(follower: Follower): Promise<boolean> {
    const { spare, followers } = this.#primary;
    await spare.refresh();
    return (await followers.call(follower, 'space', {})).spare >= spare.toJoin;
  }
}
