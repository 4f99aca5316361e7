/** What differs between two copies of one region of a file: digests of 64 KiB blocks first, then of 4 KiB pieces of those that differ. */
import type { Gfid } from '../base/ids.js';
import { REGION_BYTES } from '../fops/ops.js';
import type { Caller } from './followers.js';
import { BLOCK_BYTES, DIGEST_BYTES, FINE_BYTES, type Store } from './store.js';

/** Bytes to become a hole, and bytes to be copied: ascending [offset, length], absolute. */
export interface Difference {
  holes: [number, number][];
  pieces: [number, number][];
}

export interface OtherCopy {
  digests(region: number): Promise<{ digests: Uint8Array; ranges: [number, number][] }>;
  fineDigests(region: number, blocks: number): Promise<Uint8Array>;
}

export function copyAt(call: Caller, gfid: Gfid): OtherCopy {
  return {
    digests: (region) => call('digests', { gfid, region }),
    fineDigests: async (region, blocks) => (await call('fineDigests', { gfid, region, blocks })).digests,
  };
}

const ZERO = Buffer.alloc(DIGEST_BYTES);
const FINE_PER_BLOCK = BLOCK_BYTES / FINE_BYTES;

function digestAt(digests: Buffer, index: number): Buffer {
  const at = index * DIGEST_BYTES;
  return at < digests.length ? digests.subarray(at, at + DIGEST_BYTES) : ZERO;
}

class Ranges {
  readonly list: [number, number][] = [];

  add(offset: number, length: number): void {
    const last = this.list.at(-1);
    if (last !== undefined && last[0] + last[1] === offset) last[1] += length;
    else this.list.push([offset, length]);
  }

  /** The parts of `ranges` within [start, end). */
  addWithin(ranges: readonly [number, number][], start: number, end: number): void {
    for (const [offset, length] of ranges) {
      const from = Math.max(start, offset);
      const to = Math.min(end, offset + length);
      if (to > from) this.add(from, to - from);
    }
  }
}

function touches(ranges: readonly [number, number][], start: number, end: number): boolean {
  return ranges.some(([offset, length]) => offset < end && offset + length > start);
}

/** `other` undefined: the other copy holds only a hole there. `end` is the end of the region, or of the file in it. */
export async function compareRegion(store: Store, gfid: Gfid, region: number, end: number, other: OtherCopy | undefined): Promise<Difference> {
  const start = region * REGION_BYTES;
  const asked = other?.digests(region) ?? Promise.resolve({ digests: new Uint8Array(0), ranges: [] as [number, number][] });
  const [own, { digests: theirBytes, ranges: theirRanges }] = await Promise.all([store.digests(gfid, region), asked]);
  const ours = Buffer.from(own);
  const theirs = Buffer.from(theirBytes);
  const ourRanges = store.dataRanges(gfid, region);
  const pieces = new Ranges();
  const holes = new Ranges();
  const differing: number[] = [];
  for (let block = 0, at = start; at < end; block++, at += BLOCK_BYTES) {
    const blockEnd = Math.min(at + BLOCK_BYTES, end);
    const mine = digestAt(ours, block);
    const other64 = digestAt(theirs, block);
    if (mine.equals(ZERO)) {
      // Zeros stay zeros; a hole here becomes a hole there.
      if (!other64.equals(ZERO) || (touches(theirRanges, at, blockEnd) && !touches(ourRanges, at, blockEnd))) holes.add(at, blockEnd - at);
    } else if (other64.equals(ZERO)) pieces.addWithin(ourRanges, at, blockEnd);
    else if (!mine.equals(other64)) differing.push(block);
  }
  if (differing.length > 0 && other !== undefined) {
    const mask = differing.reduce((bits, block) => bits | (1 << block), 0);
    const [fineOwn, fineTheirs] = await Promise.all([store.fineDigests(gfid, region, mask), other.fineDigests(region, mask)]);
    const fine = { ours: Buffer.from(fineOwn), theirs: Buffer.from(fineTheirs) };
    for (const [n, block] of differing.entries()) {
      for (let i = 0; i < FINE_PER_BLOCK; i++) {
        const at = start + block * BLOCK_BYTES + i * FINE_BYTES;
        if (at >= end) break;
        const mine = digestAt(fine.ours, n * FINE_PER_BLOCK + i);
        if (mine.equals(digestAt(fine.theirs, n * FINE_PER_BLOCK + i))) continue;
        const length = Math.min(FINE_BYTES, end - at);
        if (mine.equals(ZERO)) holes.add(at, length);
        else pieces.add(at, length);
      }
    }
  }
  return { holes: merged(holes.list), pieces: merged(pieces.list) };
}

function merged(list: [number, number][]): [number, number][] {
  const out = new Ranges();
  for (const [offset, length] of list.toSorted(([a], [b]) => a - b)) out.add(offset, length);
  return out.list;
}
