/**
 * What the primary knows of the bricks that are not equal: what each lacks, kept while the brick is away too, how fast they are healed, and what is to be
 * told about it.
 */
import type { Gfid } from '../base/ids.js';
import { REGION_BYTES } from '../fops/ops.js';
import type { BrickId } from '../fops/view.js';
import type { HealStatus } from './authority.js';
import type { Change } from './copy.js';
import type { Follower } from './followers.js';
import { HealPace } from './heal-pace.js';
import type { Key } from './keys.js';
import type { Lacking } from './lacking.js';
import type { Primary } from './primary.js';
import { Standing } from './standing.js';

/** Keys of a brick that is away: with more, its journal or a walk tells what it lacks. */
const KEPT_MAX = 2_000_000;
const SAMPLE_MAX = 500;
const FILES_ASKED_MAX = 1000;
const STAT_BLOCK_BYTES = 512;

export class Heals {
  readonly pace: HealPace;
  readonly #primary: Primary;
  readonly #lacking = new Map<BrickId, Lacking>();
  /** Bricks that were equal to this copy at a moment since which this brick has been primary: every change they can lack since then came from here. */
  readonly #equal = new Set<BrickId>();

  constructor(primary: Primary) {
    this.#primary = primary;
    const { clock, healThrottle } = primary.host;
    this.pace = new HealPace(clock, healThrottle);
  }

  /** What is left of an attempt that was interrupted, if the brick still holds what it held then. */
  resume(follower: Follower): Lacking | undefined {
    const lacking = this.#lacking.get(follower.brick);
    const { base } = this.#primary.host.copy.journal.meta;
    const checkpoint = follower.seal?.checkpoint ?? -1;
    if (lacking === undefined || !lacking.loaded || checkpoint < lacking.checkpoint || checkpoint < base) return undefined;
    lacking.resume();
    this.#primary.log.info('catching up goes on where it was', { brick: follower.brick, left: lacking.size });
    return lacking;
  }

  /** A brick is being made equal; the returned function ends it, but what it lacks is kept. */
  begin(brick: BrickId, lacking: Lacking): () => void {
    this.#lacking.set(brick, lacking);
    lacking.begun(this.#primary.host.clock.now());
    return this.pace.begin();
  }

  /**
   * True when the journals do not tell what the brick lacks, this brick's own after a loss of power for one. A brick that lost power, and was equal to this copy while this brick was primary, lost nothing but
   * what this journal names: its last checkpoint holds everything before.
   */
  needsWalk({ brick, seal }: Follower): boolean {
    const { base, torn } = this.#primary.host.copy.journal.meta;
    if (seal === undefined || seal.checkpoint < base) return true;
    const known = this.#equal.has(brick);
    if (torn === true && !known) return true;
    if (seal.standing === Standing.LostData) return !known;
    return seal.incomplete;
  }

  /** What it lacks is found anew. */
  forget(brick: BrickId): void {
    this.#lacking.delete(brick);
  }

  /** Nothing is known of the brick any more but what a walk tells. */
  unknown(brick: BrickId): void {
    this.#equal.delete(brick);
  }

  /** The brick is equal to this copy, and gets every change from now on. */
  equal(brick: BrickId): void {
    this.#equal.add(brick);
    this.#lacking.delete(brick);
  }

  keepOnly(bricks: readonly BrickId[]): void {
    for (const brick of this.#lacking.keys()) if (!bricks.includes(brick)) this.#lacking.delete(brick);
  }

  // ---------------------------------------------------------------- changes

  /** True when this follower is to be sent the change. */
  passes(follower: Follower, change: Change): boolean {
    const { catchUp } = follower;
    if (follower.state === 'ready') {
      // Not admitted yet: should it be lost before, this is what it may not have.
      catchUp?.lacking.passed(change);
      return true;
    }
    return follower.state === 'catchingUp' && catchUp?.lacking.passes(change) === true;
  }

  /** Bricks that are away do not get the change. */
  missed(change: Change): void {
    for (const [brick, lacking] of this.#lacking) {
      if (this.#isFollowing(brick)) continue;
      lacking.missed(change);
      this.#forgetLarge(brick, lacking);
    }
  }

  /** Keys that changed by other ways than the stream, for bricks that are not ready. */
  touch(keys: readonly Key[]): void {
    for (const [brick, lacking] of this.#lacking) {
      if (this.#primary.followers.get(brick)?.state === 'ready') continue;
      lacking.touch(keys);
      this.#forgetLarge(brick, lacking);
    }
  }

  /** What is kept for a brick that is away has a limit: beyond it the journals are read anew. */
  #forgetLarge(brick: BrickId, lacking: Lacking): void {
    if (lacking.size > KEPT_MAX && !this.#isFollowing(brick)) this.#lacking.delete(brick);
  }

  #isFollowing(brick: BrickId): boolean {
    const follower = this.#primary.followers.get(brick);
    return follower?.link !== undefined && (follower.state === 'ready' || follower.state === 'catchingUp');
  }

  // ---------------------------------------------------------------- what is told

  status(): HealStatus[] {
    const { host, view, followers } = this.#primary;
    const others = host.bricks().filter((brick) => brick !== host.brick);
    return others
      .filter((brick) => !view.inSync.includes(brick) || followers.get(brick)?.state !== 'ready')
      .map((brick) => this.#statusOf(brick, followers.get(brick)));
  }

  #statusOf(brick: BrickId, follower: Follower | undefined): HealStatus {
    const connected = follower?.link !== undefined;
    const lacking = follower?.catchUp?.lacking ?? this.#lacking.get(brick);
    if (lacking === undefined || (!lacking.loaded && lacking.size === 0)) return this.#fromJournal(brick, connected);
    const keys = sample(lacking.keys());
    const bytesLeft = this.#bytesLeft(lacking);
    return {
      brick,
      state: this.#stateOf(brick, connected, lacking.walking),
      keysLeft: lacking.size,
      bytesLeft,
      bytesDone: lacking.bytesCompared,
      secondsLeft: connected && !lacking.walking ? lacking.secondsLeft(this.#primary.host.clock.now(), bytesLeft) : -1,
      paths: this.#primary.paths.of(keys),
    };
  }

  #stateOf(brick: BrickId, connected: boolean, walking: boolean): HealStatus['state'] {
    if (this.#primary.fullDisks.has(brick)) return 'full';
    if (!connected) return 'absent';
    return walking ? 'walking' : 'copying';
  }

  /** The brick is away, and was equal before: it lacks what the journal names. */
  #fromJournal(brick: BrickId, connected: boolean): HealStatus {
    const { keys, regions, first } = this.#primary.host.copy.journal.summary(SAMPLE_MAX);
    return { brick, state: this.#stateOf(brick, connected, false), keysLeft: keys, bytesLeft: regions * REGION_BYTES, bytesDone: 0, secondsLeft: -1, paths: this.#primary.paths.of(first) };
  }

  /** Regions count whole; of files that were not searched yet, what their blocks hold. */
  #bytesLeft(lacking: Lacking): number {
    let regions = 0;
    const files: Gfid[] = [];
    for (const key of lacking.data) {
      if (key.startsWith('f')) files.push(key.slice(1));
      else regions++;
    }
    return regions * REGION_BYTES + this.#bytesOf(lacking, files);
  }

  #bytesOf(lacking: Lacking, files: readonly Gfid[]): number {
    const { store } = this.#primary.host.copy;
    let bytes = 0;
    const asked = files.slice(0, FILES_ASKED_MAX);
    for (const gfid of asked) {
      const attr = store.describe(gfid)?.attr;
      if (attr === undefined || attr.size === 0) continue;
      const left = 1 - Math.min(1, lacking.cursor(gfid) / attr.size);
      bytes += Math.min(attr.size, attr.blocks * STAT_BLOCK_BYTES) * left;
    }
    // The others are taken to be like the first.
    return Math.round(asked.length === 0 ? 0 : bytes * (files.length / asked.length));
  }
}

function sample(keys: Iterable<Key>): Key[] {
  const first: Key[] = [];
  for (const key of keys) {
    first.push(key);
    if (first.length === SAMPLE_MAX) break;
  }
  return first;
}
