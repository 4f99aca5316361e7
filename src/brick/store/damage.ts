/** What is known of damaged blocks: where they are, how many there were, and whether a crash explains them. */
import type { Gfid } from '../../base/ids.js';
import { REGION_BYTES } from '../../fops/ops.js';
import { fileKey, regionKey } from '../../replica/keys.js';
import { SUM_BLOCK_BYTES as BLOCK, type DamagedRange } from '../../replica/soundness.js';
import { DiskStat } from '../disk.js';
import { blockOf } from './checksum.js';
import type { SumFiles } from './sum-files.js';
import type { Tree } from './tree.js';

/** Damaged blocks that are remembered; more are found again by the scrubber. */
const DAMAGE_MAX = 65_536;
const DAMAGED_RANGE_BYTES = 256 << 10;

export interface DamageCounts {
  /** Blocks whose bytes did not match, without a crash that explains it. */
  corrupted: number;
  /** Blocks that a crash had left with an old checksum. */
  torn: number;
  /** Blocks that are right again. */
  repaired: number;
  /** Blocks that are damaged now. */
  damaged: number;
  /** Of these, blocks for which no brick has the right bytes. */
  lost: number;
}

export interface DamageHost {
  /** A block was found damaged. `suspect`: a crash may have come between its bytes and its checksum. */
  found(gfid: Gfid, offset: number, suspect: boolean): void;
  lost(range: DamagedRange): void;
}

export class Damage {
  readonly #tree: Tree;
  readonly #files: SumFiles;
  readonly #host: DamageHost;
  readonly #stat = new DiskStat();
  readonly #blocks = new Map<Gfid, Set<number>>();
  readonly #lost = new Map<Gfid, Set<number>>();
  #damaged = 0;
  #corrupted = 0;
  #torn = 0;
  #repaired = 0;
  readonly #suspects = new Set<string>();
  #suspectSinceSec = Infinity;

  constructor(tree: Tree, files: SumFiles, host: DamageHost) {
    this.#tree = tree;
    this.#files = files;
    this.#host = host;
  }

  get counts(): DamageCounts {
    let lost = 0;
    for (const blocks of this.#lost.values()) lost += blocks.size;
    return { corrupted: this.#corrupted, torn: this.#torn, repaired: this.#repaired, damaged: this.#damaged, lost };
  }

  /** What was counted before this process. */
  restoreCounts(before: Pick<DamageCounts, 'corrupted' | 'torn' | 'repaired'>): void {
    this.#corrupted += before.corrupted;
    this.#torn += before.torn;
    this.#repaired += before.repaired;
  }

  found(gfid: Gfid, block: number): void {
    let blocks = this.#blocks.get(gfid);
    if (blocks?.has(block) === true || this.#damaged >= DAMAGE_MAX) return;
    if (blocks === undefined) this.#blocks.set(gfid, (blocks = new Set()));
    blocks.add(block);
    this.#damaged++;
    const suspect = this.isSuspect(gfid, block * BLOCK);
    if (suspect) this.#torn++;
    else this.#corrupted++;
    this.#host.found(gfid, block * BLOCK, suspect);
  }

  /** The block was written as a whole, or its checksum was made anew. */
  healed(gfid: Gfid, block: number): void {
    if (this.#damaged > 0 && this.#forget(gfid, block)) this.#repaired++;
  }

  healedRange(gfid: Gfid, first: number, end: number): void {
    if (this.#damaged === 0) return;
    for (const block of this.#blocks.get(gfid) ?? []) if (block >= first && block < end) this.healed(gfid, block);
  }

  /** There are no such blocks any more. */
  forgetFrom(gfid: Gfid, first: number): void {
    for (const block of this.#blocks.get(gfid) ?? []) if (block >= first) this.#forget(gfid, block);
  }

  #forget(gfid: Gfid, block: number): boolean {
    const blocks = this.#blocks.get(gfid);
    if (blocks?.delete(block) !== true) return false;
    this.#damaged--;
    if (blocks.size === 0) this.#blocks.delete(gfid);
    const lost = this.#lost.get(gfid);
    lost?.delete(block);
    if (lost?.size === 0) this.#lost.delete(gfid);
    return true;
  }

  /** Neighbours together, at most `limit` ranges. */
  ranges(limit: number): DamagedRange[] {
    const ranges: DamagedRange[] = [];
    for (const [gfid, blocks] of this.#blocks) {
      const size = this.#tree.find(gfid)?.size ?? 0;
      let last: DamagedRange | undefined;
      for (const block of [...blocks].toSorted((a, b) => a - b)) {
        const offset = block * BLOCK;
        const length = Math.min(BLOCK, size - offset);
        if (length <= 0) {
          this.#forget(gfid, block);
          continue;
        }
        if (last !== undefined && last.offset + last.length === offset && last.length < DAMAGED_RANGE_BYTES) last.length += length;
        else {
          if (ranges.length === limit) return ranges;
          ranges.push((last = { gfid, offset, length }));
        }
      }
    }
    return ranges;
  }

  /** No brick has the right bytes; the host is told once. */
  lost({ gfid, offset, length }: DamagedRange): void {
    let known = this.#lost.get(gfid);
    const before = known?.size ?? 0;
    for (let block = blockOf(offset); block * BLOCK < offset + length; block++) {
      if (this.#blocks.get(gfid)?.has(block) !== true) continue;
      if (known === undefined) this.#lost.set(gfid, (known = new Set()));
      known.add(block);
    }
    if ((known?.size ?? 0) > before) this.#host.lost({ gfid, offset, length });
  }

  // --- what a crash explains

  /** Keys of the change journal after an unclean end. */
  suspect(keys: Iterable<string>): void {
    for (const key of keys) if (key.startsWith('d') || key.startsWith('f')) this.#suspects.add(key);
  }

  /** Whatever changed on the disk since then (seconds) may have been under way at a power loss. */
  suspectSince(sec: number): void {
    this.#suspectSinceSec = sec;
  }

  /** Everything was compared since the unclean end. */
  endSuspicion(): void {
    this.#suspects.clear();
    this.#suspectSinceSec = Infinity;
  }

  isSuspect(gfid: Gfid, offset: number): boolean {
    if (this.#suspects.has(regionKey(gfid, Math.floor(offset / REGION_BYTES))) || this.#suspects.has(fileKey(gfid))) return true;
    const since = this.#suspectSinceSec;
    if (since === Infinity) return false;
    const tree = this.#tree;
    const inode = tree.find(gfid);
    if (inode === undefined) return false;
    const sums = this.#files.of(inode, false);
    if (sums !== undefined && tree.disk.stat(sums.fd, this.#stat) === 0 && this.#stat.mtimeSec >= since) return true;
    return tree.statInode(inode, this.#stat) === 0 && Math.max(this.#stat.mtimeSec, this.#stat.ctimeSec) >= since;
  }
}
