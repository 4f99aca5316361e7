/**
 * Checksums of a copy's blocks, as the replica sees them: what does not match is never given away, and is replaced by another brick's bytes.
 * A store without checksums has none of this.
 */
import { Errno, FsError } from '../base/errno.js';
import type { Gfid } from '../base/ids.js';

/** One checksum covers this many bytes; the last block of a file counts as filled up with zeros. */
export const SUM_BLOCK_BYTES = 4096;

/** What a brick says of one of its blocks. */
export const enum Soundness {
  /** The bytes do not match the checksum. */
  Damaged,
  Sound,
  /** The file has no checksums yet. */
  Unknown,
}

/** Whole blocks. */
export interface DamagedRange {
  gfid: Gfid;
  offset: number;
  length: number;
}

/** This copy's bytes do not match their checksums: another copy must answer. For a caller that has no other copy it is EIO. */
export class DamagedError extends FsError {
  readonly range: DamagedRange;

  constructor(op: string, range: DamagedRange) {
    super(Errno.EIO, op, `the checksum does not match at byte ${range.offset} of ${range.gfid}`);
    this.name = 'DamagedError';
    this.range = range;
  }
}

export interface Examined {
  /** From the beginning of the block that holds the offset; ends at the end of the file. */
  data: Uint8Array;
  /** One Soundness for each block of `data`. */
  blocks: Uint8Array;
}

/** Offsets are those of blocks, lengths whole blocks or up to the end of the file. Synchronous: each call is one step of the brick process. */
export interface BlockSums {
  /** Found and not repaired yet, at most `limit` ranges. */
  damage(limit: number): DamagedRange[];
  /** At most 1 MiB, as it is on the disk. Empty where the file is gone or shorter. */
  examine(gfid: Gfid, offset: number, length: number): Examined;
  /** True where this brick's own checksum says that the block should hold these bytes. */
  expects(gfid: Gfid, offset: number, block: Uint8Array): boolean;
  /** Puts the right bytes in the place of damaged ones. */
  mend(gfid: Gfid, offset: number, data: Uint8Array): void;
  /** The bytes are right, the checksums are not: they are made anew. */
  trust(gfid: Gfid, offset: number, length: number): void;
  /** No brick knows the bytes: they must not be served from here either. Nothing happens where the file has no checksums. */
  taint(gfid: Gfid, offset: number, length: number): void;
  /** Nobody has the right bytes; said once for a range. */
  lost(range: DamagedRange): void;
  /** A crash may have come between the bytes and their checksum: then a mismatch is no damage. */
  isSuspect(gfid: Gfid, offset: number): boolean;
  /** After an unclean end: changes of these keys (see keys.ts) may have been under way. */
  suspect(keys: Iterable<string>): void;
}
