/**
 * Looks at the space before a disk of the set is full, so that every brick keeps room for its journal, for deletions and for being made equal again. A brick that
 * has none leaves the set while its copy is still like the others (full-disks.ts). Where no majority would have room, the caller gets ENOSPC, and nothing was changed.
 */
import { Errno, FsError } from '../base/errno.js';
import { FALLOC_PUNCH_HOLE, SEEK_HOLE, type Args, type OpName, type Result } from '../fops/ops.js';
import type { BrickId } from '../fops/view.js';
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
  return space.blocksAvailable * space.blockSize - reserveBytes(space);
}

/** What a brick of that size keeps for itself. */
export function reserveBytes({ blocks, blockSize }: Result<'statfs'>): number {
  return Math.min(RESERVE_BYTES_MAX, Math.max(RESERVE_BYTES_MIN, blocks * blockSize * RESERVE_SHARE));
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

/** The disk is asked for its space after so many writes, or bytes: others may use it too. */
const WRITES_PER_LOOK = 16;
const BYTES_PER_LOOK = 1 << 20;

/**
 * Room that one brick has for data. Half of its reserve is for its own files alone: its journal, its small state and being made equal, so that it can always tell that it is full. The
 * primary, which looks at the space of all, stops before.
 */
export class Room {
  readonly #store: Store;
  /** Bytes that may be written, and writes that may be made, before the disk is asked again. */
  #bytes = 0;
  #writes = 0;

  constructor(store: Store) {
    this.#store = store;
  }

  /** True when there is room for this write; it counts as made. */
  takes(args: Args<'write'>): boolean {
    const bytes = OVERHEAD * args.data.byteLength;
    if (this.#writes-- <= 0 || this.#bytes < bytes) {
      const space = this.#store.statfs();
      this.#bytes = Math.min(spareBytes(space) + reserveBytes(space) / 2, Math.max(bytes, BYTES_PER_LOOK));
      this.#writes = WRITES_PER_LOOK;
    }
    this.#bytes -= bytes;
    return this.#bytes >= 0 || overwrites(this.#store, 'write', args);
  }
}

/** How much more than a change needs the others must have, for a full brick to leave. Where all run full together, the volume is full. */
const LEAVE_BYTES = 16 << 20;
/** A brick that was full returns with so much, or with nearly as much as the others have: it does not leave again at once. */
const RETURN_BYTES = 32 << 20;

/** Clients may write without asking while every brick has so much: it lasts until the bricks are asked again. */
const AMPLE_BYTES = 64 << 20;

/** What one brick can give away. */
export interface Spare {
  brick: BrickId;
  bytes: number;
}

/** Enough: it counts as spent. Leave: with these bricks out of the set, there is. Full: no majority could take it. */
export type SpaceVerdict = 'enough' | 'full' | { leave: BrickId[] };

/** The spare space of the bricks in sync as far as it is known, and what was spent since. */
export class SpareSpace {
  /** Empty until the bricks were asked. */
  #spares: readonly Spare[] = [];
  #spent = 0;
  #asking: Promise<void> | undefined;
  readonly #ask: () => Promise<Spare[]>;

  /** `ask` resolves with the spare bytes of all bricks in sync now. */
  constructor(ask: () => Promise<Spare[]>) {
    this.#ask = ask;
  }

  get #least(): number | undefined {
    return this.#spares.length === 0 ? undefined : Math.min(...this.#spares.map(({ bytes }) => bytes));
  }

  /** What can be given away, for statfs: by as many bricks as must take every change. Infinite while it is not known. */
  bytes(majority: number): number {
    const descending = this.#spares.map(({ bytes }) => bytes).toSorted((a, b) => b - a);
    const bytes = descending[Math.min(majority, descending.length) - 1];
    return bytes === undefined ? Infinity : Math.max(0, bytes - this.#spent);
  }

  /** What a brick must have that wants to be of the set: none where the others have so little that it need not have left. */
  get toJoin(): number {
    return Math.max(0, Math.min(RETURN_BYTES, (this.#least ?? Infinity) - this.#spent - LEAVE_BYTES));
  }

  /** False when changes must be looked at one by one, or nothing is known yet. */
  get ample(): boolean {
    return (this.#least ?? 0) - this.#spent >= AMPLE_BYTES;
  }

  /** True when there is surely enough everywhere; it counts as spent. */
  take(bytes: number): boolean {
    const least = this.#least;
    if (least === undefined || least - (this.#spent + bytes) * OVERHEAD <= 0) return false;
    this.#spent += bytes;
    return true;
  }

  /** Asks all bricks; several that wait share one question. */
  refresh(): Promise<void> {
    this.#asking ??= this.#ask().then((spares) => {
      this.#asking = undefined;
      this.#spares = spares;
      this.#spent = 0;
    });
    return this.#asking;
  }

  /** After `refresh`: may this change be made, where a majority is so many bricks? */
  verdict(bytes: number, majority: number): SpaceVerdict {
    const lacking = this.#spares.filter((spare) => spare.bytes - this.#spent < bytes);
    if (lacking.length === 0) {
      this.#spent += bytes;
      return 'enough';
    }
    const roomy = this.#spares.filter((spare) => spare.bytes - this.#spent >= bytes + LEAVE_BYTES);
    return roomy.length >= majority && roomy.length + lacking.length === this.#spares.length ? { leave: lacking.map(({ brick }) => brick) } : 'full';
  }

  /** Those that could take the place of a full primary, most space first. */
  roomiest(bricks: readonly BrickId[]): BrickId | undefined {
    return this.#spares.filter(({ brick }) => bricks.includes(brick)).toSorted((a, b) => b.bytes - a.bytes)[0]?.brick;
  }
}
