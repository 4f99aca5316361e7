/**
 * Repairs bytes that do not match their checksums, here and at the members, from copies that do. Everything happens under a lock on the range: no change
 * of it is under way, so every in-sync brick should hold the same.
 *
 *   bytes of another brick                    this brick's damaged block
 *   match this brick's checksum               become them
 *   match the checksum of a member in sync    become them
 *   are those of this brick                   are right: the checksum is made anew
 *   none of these, the block is suspect       are believed: a crash came between them and their checksum
 *   none of these                             are lost: EIO, until they are written again or a brick that has them returns
 */
import { Errno, FsError, LostError } from '../base/errno.js';
import type { Gfid } from '../base/ids.js';
import { Mode, rangeLock } from './inode-locks.js';
import { addRegionKeys, type Key } from './keys.js';
import type { Follower, Primary } from './primary.js';
import { DamagedError, Soundness, SUM_BLOCK_BYTES, type BlockSums, type DamagedRange } from './soundness.js';

const PART_BYTES = 256 << 10;
const LOCK_WAIT_MS = 500;
const MEMBER_WAIT_MS = 200;
const OWN_RANGES_MAX = 64;
/** What could not be repaired is not tried again for this long. */
const AGAIN_MS = 60_000;

type Outcome = 'mended' | 'lost' | 'wait';

interface Block {
  offset: number;
  data: Uint8Array;
}

export class Mender {
  readonly #primary: Primary;
  readonly #underWay = new Map<string, Promise<boolean>>();
  readonly #hopeless = new Map<string, number>();
  #sweeping = false;

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  get #sums(): BlockSums | undefined {
    return this.#primary.host.copy.store.sums;
  }

  /**
   * True when every block of the range can be read again. `patient`: waits for members in sync that cannot be asked now. Rejects with LostError when this
   * brick is no longer primary. Must not be called under a lock on the range.
   */
  mend(range: DamagedRange, patient: boolean): Promise<boolean> {
    const name = `${nameOf(range)}+${range.length}${patient ? 'p' : ''}`;
    const known = this.#underWay.get(name);
    if (known !== undefined) return known;
    const work = this.#mendParts(range, patient).finally(() => this.#underWay.delete(name));
    this.#underWay.set(name, work);
    return work;
  }

  async #mendParts({ gfid, offset, length }: DamagedRange, patient: boolean): Promise<boolean> {
    let whole = true;
    for (let at = offset; at < offset + length; at += PART_BYTES) {
      const part = { gfid, offset: at, length: Math.min(PART_BYTES, offset + length - at) };
      for (;;) {
        const outcome = await this.#locked(part, () => this.#mendPart(part, patient));
        if (outcome === 'lost') whole = false;
        if (outcome !== 'wait') break;
        await this.#primary.sleep(MEMBER_WAIT_MS);
      }
    }
    return whole;
  }

  async #locked<T>({ gfid, offset, length }: DamagedRange, work: () => Promise<T>): Promise<T> {
    const primary = this.#primary;
    const { locks, host } = primary;
    for (;;) {
      if (primary.stopped) throw new LostError('no longer primary');
      let wake: (() => void) | undefined;
      const ticket = locks.acquire([rangeLock(gfid, Mode.DataRead, offset, offset + length)], () => wake?.());
      if (!ticket.granted) {
        await new Promise<void>((resolve) => {
          const cancel = host.clock.after(LOCK_WAIT_MS, resolve);
          wake = () => {
            cancel();
            resolve();
          };
        });
      }
      const { granted } = ticket;
      try {
        if (granted) return await work();
      } finally {
        locks.release(ticket);
      }
    }
  }

  async #mendPart(part: DamagedRange, patient: boolean): Promise<Outcome> {
    const primary = this.#primary;
    let left = this.#damagedBlocks(part);
    for (const follower of left.length === 0 ? [] : primary.followers.all()) {
      if (follower.link === undefined) continue;
      const equal = follower.state === 'ready';
      const theirs = await this.#ask(follower, part);
      const sums = this.#sums;
      if (primary.stopped) throw new LostError('no longer primary');
      if (sums === undefined) return 'mended';
      if (theirs === undefined) continue;
      left = left.filter((block) => !this.#repaired(sums, part, block, follower, theirs, equal));
    }
    if (left.length === 0) return 'mended';
    const { inSync } = primary.view;
    const missing = inSync.some((brick) => brick !== primary.host.brick && primary.followers.get(brick)?.state !== 'ready');
    return missing && patient ? 'wait' : this.#withoutHelp(part, left);
  }

  #damagedBlocks(part: DamagedRange): Block[] {
    const found = this.#sums?.examine(part.gfid, part.offset, part.length);
    const blocks: Block[] = [];
    found?.blocks.forEach((soundness, i) => {
      if (soundness !== Soundness.Damaged) return;
      const at = i * SUM_BLOCK_BYTES;
      blocks.push({ offset: part.offset + at, data: found.data.subarray(at, at + SUM_BLOCK_BYTES) });
    });
    return blocks;
  }

  async #ask(follower: Follower, { gfid, offset, length }: DamagedRange): Promise<{ data: Uint8Array; blocks: Uint8Array } | undefined> {
    try {
      return await this.#primary.call(follower, 'blocks', { gfid, offset, length });
    } catch (error) {
      if (error instanceof FsError || error instanceof LostError) return undefined;
      throw error;
    }
  }

  #repaired(sums: BlockSums, { gfid, offset }: DamagedRange, block: Block, follower: Follower, theirs: { data: Uint8Array; blocks: Uint8Array }, equal: boolean): boolean {
    const at = block.offset - offset;
    const data = theirs.data.subarray(at, at + block.data.byteLength);
    if (data.byteLength !== block.data.byteLength) return false;
    const sound = equal && theirs.blocks[at / SUM_BLOCK_BYTES] === Soundness.Sound;
    if (sound || sums.expects(gfid, block.offset, data)) {
      this.#note(gfid, block.offset, data.byteLength);
      sums.mend(gfid, block.offset, Buffer.from(data));
    } else if (Buffer.from(data).equals(block.data)) sums.trust(gfid, block.offset, data.byteLength);
    else return false;
    this.#primary.log.info('a damaged block is repaired', { gfid, offset: block.offset, from: follower.brick });
    return true;
  }

  /** No other brick can say what the bytes were. */
  #withoutHelp(part: DamagedRange, left: Block[]): Outcome {
    const sums = this.#sums;
    let outcome: Outcome = 'mended';
    for (const block of left) {
      const range = { gfid: part.gfid, offset: block.offset, length: block.data.byteLength };
      if (sums?.isSuspect(part.gfid, block.offset) === true) sums.trust(range.gfid, range.offset, range.length);
      else {
        sums?.lost(range);
        outcome = 'lost';
      }
    }
    return outcome;
  }

  #note(gfid: Gfid, offset: number, length: number): void {
    const keys: Key[] = [];
    addRegionKeys(keys, gfid, offset, offset + length);
    this.#primary.host.copy.journal.note(keys);
  }

  // ---------------------------------------------------------------- what the scrubbers found

  /** Repairs what this brick and the members found since the last time. */
  async sweep(): Promise<void> {
    if (this.#sweeping || this.#sums === undefined) return;
    this.#sweeping = true;
    try {
      for (const range of this.#sums.damage(OWN_RANGES_MAX)) await this.#try(range, () => this.mend(range, false));
      for (const follower of this.#primary.followers.ready()) await this.#sweepAt(follower);
    } catch (error) {
      if (!(error instanceof FsError) && !(error instanceof LostError)) throw error;
      if (!this.#primary.stopped) this.#primary.log.warn('damaged blocks could not be looked after', { error: String(error) });
    } finally {
      this.#sweeping = false;
    }
  }

  async #sweepAt(follower: Follower): Promise<void> {
    const { damage } = await this.#primary.call(follower, 'damage', {});
    for (const [gfid, offset, length] of damage) {
      const range = { gfid, offset, length };
      await this.#try(range, () => this.#mendAt(follower, range), follower.brick);
    }
  }

  async #try(range: DamagedRange, work: () => Promise<boolean>, brick = ''): Promise<void> {
    const name = brick + nameOf(range);
    const now = this.#primary.host.clock.now();
    if ((this.#hopeless.get(name) ?? 0) > now) return;
    this.#hopeless.delete(name);
    if (!(await work())) this.#hopeless.set(name, now + AGAIN_MS);
  }

  /** A member's damaged bytes become this brick's, which are compared with their checksums when they are read. */
  async #mendAt(follower: Follower, { gfid, offset, length }: DamagedRange): Promise<boolean> {
    for (let at = offset; at < offset + length; at += PART_BYTES) {
      const part = { gfid, offset: at, length: Math.min(PART_BYTES, offset + length - at) };
      try {
        await this.#copyTo(follower, part);
      } catch (error) {
        if (error instanceof FsError && error.errno === Errno.ESTALE) return true;
        if (!(error instanceof DamagedError)) throw error;
        if (!(await this.mend(error.range, false))) return false;
        await this.#copyTo(follower, part);
      }
    }
    return true;
  }

  #copyTo(follower: Follower, part: DamagedRange): Promise<void> {
    return this.#locked(part, async () => {
      const { gfid, offset, length } = part;
      const data = await this.#primary.host.copy.store.read(gfid, offset, length);
      if (data.byteLength > 0) await this.#primary.call(follower, 'patch', { gfid, offset, data: Buffer.from(data) });
      this.#primary.log.info('damaged blocks of a member are repaired', { ...part, brick: follower.brick });
    });
  }
}

function nameOf({ gfid, offset }: DamagedRange): string {
  return `${gfid}:${offset}`;
}
