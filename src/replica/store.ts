/**
 * What the replica needs of the directory that holds its copy. Implemented over a real directory by brick/, and in memory by the
 * simulator. All methods are synchronous unless they say otherwise: one call is one atomic step of the brick process.
 *
 * Failures are FsError with the errno of the system call. The store is the only one who changes the tree.
 */
import type { Gfid, Name } from '../base/ids.js';
import type { Time } from '../base/time.js';
import type { Attr, DirEntry, InodeState } from '../fops/fields.js';
import type { Args, MutationName, Result } from '../fops/ops.js';
import type { BlockSums } from './soundness.js';

/** What the primary decided for one mutation, equal on every brick. */
export interface Stamp {
  time: Time;
  /** Identity of the inode that the mutation creates; '' when it creates none. */
  gfid: Gfid | '';
  /** An inode that loses its last name goes at once (nobody has it open); otherwise it stays as an orphan until `purge`. */
  purge: boolean;
}

/** Mutations that change the directory; opens, locks and fsync are the replica's own. */
export type StoreOp = Exclude<MutationName, 'open' | 'release' | 'fsync' | 'setLock' | 'dropLocks'>;

export interface Child {
  gfid: Gfid;
  /** S_IFMT bits. */
  type: number;
}

/** Digest of one 64 KiB block: 16 bytes. A block of zeros, in a hole or not, has an all-zero digest. */
export const BLOCK_BYTES = 65_536;
export const DIGEST_BYTES = 16;
/** A digest of nothing but this is that of no bytes. */
export const NO_DIGEST_BYTE = 0xff;
/** Pieces of a block that are told apart when the block differs. */
export const FINE_BYTES = 4096;

export interface Store {
  // --- reads; ESTALE where the gfid is unknown, ENOTDIR where a directory is needed
  lookup(parent: Gfid, name: Name): Attr;
  /** Also for orphans (nlink 0). */
  getattr(gfid: Gfid): Attr;
  /** Bytes of a regular file, where that is known without asking the disk. */
  size?(gfid: Gfid): number | undefined;
  readlink(gfid: Gfid): string;
  /** See OPS.readdir. */
  readdir(gfid: Gfid, after: Name | '', limit: number, attributes: boolean): { entries: DirEntry[]; end: boolean };
  statfs(): Result<'statfs'>;
  getxattr(gfid: Gfid, name: string): Uint8Array;
  listxattr(gfid: Gfid): string[];
  lseek(gfid: Gfid, offset: number, whence: number): number;
  /**
   * From the page cache when it is there, otherwise a promise (thread pool). The result is the caller's. DamagedError where the bytes do not match
   * their checksums.
   */
  read(gfid: Gfid, offset: number, size: number): Uint8Array | Promise<Uint8Array>;

  // --- mutations
  /**
   * Carries out one mutation; the same state and stamp give the same state and result on every brick.
   * Either all of it happened or, when it throws, nothing (a write that meets a full disk may have changed the bytes of its range).
   */
  apply<K extends StoreOp>(op: K, args: Args<K>, stamp: Stamp): Result<K>;
  /** Removes an orphan for good; nothing happens when it is not an orphan or gone. */
  purge(gfid: Gfid): void;
  /** Inodes without a name that are kept. */
  orphans(): Gfid[];
  /**
   * On return, everything applied to the inode before the call is on stable storage, with the names that lead to it. After an error the kernel calls the
   * pages clean, though they may never have reached the disk: only what is written anew is.
   */
  fsync(gfid: Gfid, dataOnly: boolean): Promise<void>;
  /** On return, everything applied before the call is on stable storage. */
  sync(): Promise<void>;

  // --- resync: reading at the source
  child(parent: Gfid, name: Name): Child | undefined;
  /** Where a directory is: undefined for the root and for unknown inodes. */
  directoryPlace(gfid: Gfid): { parent: Gfid; name: Name } | undefined;
  describe(gfid: Gfid): InodeState | undefined;
  /**
   * Digests of the blocks of one region (1 MiB), up to the end of file. Empty when there is no such file or region. Bytes that do not match their
   * checksum: DamagedError, or for the target of a resync a digest that no bytes have.
   */
  digests(gfid: Gfid, region: number, target?: boolean): Uint8Array | Promise<Uint8Array>;
  /** Digests of the pieces of those blocks of a region whose bits are set, 16 for each block; all-zero beyond the end of file. */
  fineDigests(gfid: Gfid, region: number, blocks: number, target?: boolean): Uint8Array | Promise<Uint8Array>;
  /** Byte ranges of one region that hold data (not holes), as [offset, length], absolute. */
  dataRanges(gfid: Gfid, region: number): [number, number][];

  // --- resync: changing the target; idempotent
  /**
   * Makes the name refer to this inode, or to nothing. What was there before goes to `aside/` (directories) or loses this name (others).
   * A directory that exists elsewhere (or in `aside/`) is moved, else created; another inode that does not exist is created empty.
   * ENOENT when the parent does not exist. True when the inode was created (its data and attributes are still to be put).
   */
  place(parent: Gfid, name: Name, child: Child | undefined, target?: string): boolean;
  /** Creates the inode as an orphan if it does not exist (not for directories: ENOENT), then sets attributes, size and xattrs. True when it was created. */
  putInode(state: InodeState): boolean;
  /** Writes bytes without touching times; extends the file when needed. */
  patch(gfid: Gfid, offset: number, data: Uint8Array): void;
  /** Makes a range a hole without touching size and times. */
  punch(gfid: Gfid, offset: number, length: number): void;
  /** Removes an inode that has no names left; nothing happens otherwise. */
  forget(gfid: Gfid): void;
  /** Directories in `aside/`. */
  asides(): Gfid[];
  /** Removes what `aside/` still holds: the resync is complete. */
  clearAside(): void;

  /** Checksums of blocks, while the volume keeps them. */
  readonly sums?: BlockSums | undefined;

  /** Drops every cache that could answer instead of the directory (tests, and after an outside change). */
  dropCaches(): void;
  close(): void;
}

/** Small durable state of a brick beside the tree. */
export interface BrickMeta {
  formatVersion: number;
  volumeId: string;
  brickId: string;
  /** Number of the last checkpoint at which this brick synced its disk. */
  checkpoint: number;
  /** The journal generations present cover every change since this checkpoint was complete on the whole set. */
  base: number;
  /** Epoch promised to (sealed): lower epochs are refused. */
  sealedEpoch: number;
  /** Kernel boot id when the meta was written: unsynced data survived if it is still the same. */
  bootId: string;
  /** True while this copy may hold less than an in-sync member: set before a resync starts from a whole-tree walk. */
  incomplete: boolean;
  /** True while this copy, in sync by the view, is made equal to a primary's: see standing.ts. */
  unsettled: boolean;
  /** True while the journal may lack keys: power was lost between them and a sync. It tells nobody who was away before what he lacks. */
  torn?: boolean;
  /** So many times all copies in sync had lost what was not synced. */
  losses?: number;
  /** True while this copy may hold a part of a write that its disk refused: see standing.ts. */
  halfWritten?: boolean;
}

/** False for a copy that may lack or hold what one in sync does not. */
export function isWhole({ incomplete, unsettled, halfWritten }: BrickMeta): boolean {
  return !incomplete && !unsettled && halfWritten !== true;
}

/** The change journal's files, the brick's meta file and its table of sessions. */
export interface JournalDisk {
  /** Durable on return (fsync of file and directory). */
  writeMeta(meta: BrickMeta): void;
  readMeta(): BrickMeta;
  /** Replaces the table of sessions in one step, durable on return. */
  writeSessions(table: Uint8Array): void;
  /** Empty when none was written. */
  readSessions(): Uint8Array;
  /** Generation numbers present, ascending. */
  generations(): number[];
  /** Appends in one synchronous write. */
  append(generation: number, record: Uint8Array): void;
  /** The whole file; a torn tail is left to the reader to detect. */
  readGeneration(generation: number): Uint8Array;
  dropGeneration(generation: number): void;
  /** Replaces a whole generation in one step, durable on return. */
  replaceGeneration(generation: number, records: Uint8Array): void;
}
