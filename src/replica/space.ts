/**
 * Refuses changes that need space before a disk of the set is full, so that every brick keeps room for its journal, for deletions and for being made equal
 * again. The caller gets ENOSPC while all copies are still alike; a disk that ran full in the middle of a change would cost its brick the place in the set.
 */
import { Errno, FsError } from '../base/errno.js';
import { FALLOC_PUNCH_HOLE, SEEK_HOLE, type Args, type OpName, type Result } from '../fops/ops.js';
import type { Store } from './store.js';

const RESERVE_BYTES_MIN = 4 << 20;
const RESERVE_BYTES_MAX = 256 << 20;
const RESERVE_SHARE = 0.01;
/** What a change of the namespace may take: directory blocks, xattrs, the journal. */
const METADATA_BYTES = 32_768;
/** What is written may take more than its size: blocks, extents, the journal. */
const OVERHEAD = 2;

/** Bytes that a brick can give away on top of its reserve. Negative when the reserve is touched. */
export function spareBytes(space: Result<'statfs'>): number {
  const total = space.blocks * space.blockSize;
  const reserve = Math.min(RESERVE_BYTES_MAX, Math.max(RESERVE_BYTES_MIN, total * RESERVE_SHARE));
  return space.blocksAvailable * space.blockSize - reserve;
}

/** Bytes that a change may need, 0 when it needs none worth speaking of. */
export function bytesNeeded(op: OpName, args: unknown): number {
  switch (op) {
    case 'write':
      return (args as Args<'write'>).data.byteLength + METADATA_BYTES;
    case 'fallocate': {
      const { mode, length } = args as Args<'fallocate'>;
      return (mode & FALLOC_PUNCH_HOLE) === 0 ? length : 0;
    }
    case 'copyFileRange':
      return (args as Args<'copyFileRange'>).length;
    case 'create':
    case 'mkdir':
    case 'mknod':
    case 'symlink':
    case 'link':
    case 'tmpfile':
    case 'setxattr':
      return METADATA_BYTES;
    default:
      return 0;
  }
}

/** True for a write that only replaces bytes which have their place on the disk. */
export function overwrites(store: Store, op: OpName, args: unknown): boolean {
  if (op !== 'write') return false;
  const { gfid, offset, append, data } = args as Args<'write'>;
  const end = offset + data.byteLength;
  try {
    return !append && end <= store.getattr(gfid).size && store.lseek(gfid, offset, SEEK_HOLE) >= end;
  } catch (error) {
    if (error instanceof FsError) return error.errno !== Errno.ENXIO;
    throw error;
  }
}

/** The least spare space of the set as far as it is known, and what was spent since. */
export class SpareSpace {
  /** Undefined until the bricks were asked. */
  #spare: number | undefined;
  #spent = 0;
  #asking: Promise<void> | undefined;
  readonly #ask: () => Promise<number>;

  /** `ask` resolves with the least spare bytes of all bricks now. */
  constructor(ask: () => Promise<number>) {
    this.#ask = ask;
  }

  /** What can be given away, for statfs; infinite while it is not known. */
  get bytes(): number {
    return this.#spare === undefined ? Infinity : Math.max(0, this.#spare - this.#spent);
  }

  /** True when there is surely enough; it counts as spent. */
  take(bytes: number): boolean {
    if (this.#spare === undefined || this.#spare - (this.#spent + bytes) * OVERHEAD <= 0) return false;
    this.#spent += bytes;
    return true;
  }

  /** Asks all bricks; several that wait share one question. */
  refresh(): Promise<void> {
    this.#asking ??= this.#ask().then((spare) => {
      this.#asking = undefined;
      this.#spare = spare;
      this.#spent = 0;
    });
    return this.#asking;
  }

  /** After `refresh`: enough for this change? */
  suffices(bytes: number): boolean {
    if (this.#spare === undefined || this.#spare - this.#spent < bytes) return false;
    this.#spent += bytes;
    return true;
  }
}
