/**
 * Checksums of the blocks of files: kept with every change of bytes, compared with every read.
 *
 *   begin ──▶ the bytes change on the disk ──▶ wrote | zeroed | cut | copied        one step of the process
 *
 * A block that changes in part is compared before. When it does not match, the difference between its checksum and its bytes is carried over, so
 * that it goes on not matching: CRC-32 is linear, hence the new checksum is the one that the block would have were it not damaged, and a change
 * next to damaged bytes never makes them pass for right.
 *
 * A crash between a change and its checksum leaves a mismatch on unharmed bytes. It looks like damage and is handled like it (another copy decides);
 * what the change journal names, and what changed shortly before a power loss, is *suspect*: it is not counted as damage, and where no other
 * copy knows better, its bytes are believed.
 */
import { Errno } from '../../base/errno.js';
import { isGfid, type Gfid } from '../../base/ids.js';
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, SEEK_DATA } from '../../fops/ops.js';
import {
  DamagedError,
  Soundness,
  SUM_BLOCK_BYTES as BLOCK,
  type BlockSums,
  type DamagedRange,
  type Examined,
} from '../../replica/soundness.js';
import { check } from './check.js';
import { blockOf, blocksIn, blockSum, SUM_BYTES } from './checksum.js';
import { Damage, type DamageHost } from './damage.js';
import type { Inode } from './inode.js';
import { SumFiles, type Build } from './sum-files.js';
import type { Tree } from './tree.js';

/** Checksums that are read or written at once: those of 4 MiB. */
const WORDS = 1024;
/** Zeros up to here are written, more become a hole. */
const ZERO_WORDS_WRITTEN = 256;
/** What makes a checksum wrong on purpose. */
const TAINT = 0x9e3779b9;
const EXAMINE_BYTES_MAX = 1 << 20;

export interface SumsHost extends DamageHost {
  patch(gfid: Gfid, offset: number, data: Uint8Array): void;
}

export class Sums implements BlockSums {
  readonly files: SumFiles;
  readonly known: Damage;
  readonly #tree: Tree;
  readonly #host: SumsHost;
  readonly #block = Buffer.allocUnsafeSlow(BLOCK);
  readonly #words = new Uint32Array(WORDS);
  readonly #wordBytes = Buffer.from(this.#words.buffer);
  readonly #sourceWords = new Uint32Array(WORDS);
  readonly #one = new Uint32Array(1);
  readonly #oneBytes = Buffer.from(this.#one.buffer);
  readonly #zeroWords = Buffer.alloc(ZERO_WORDS_WRITTEN * SUM_BYTES);

  // The change that has begun.
  #fd = -1;
  #head = 0;
  #tail = 0;
  #badSource: Set<number> | undefined;


  constructor(tree: Tree, host: SumsHost) {
    this.#tree = tree;
    this.#host = host;
    this.files = new SumFiles(tree);
    this.known = new Damage(tree, this.files, host);
  }

  close(): void {
    this.files.close();
  }

  // ---------------------------------------------------------------- changes

  /** Bytes [offset, end) are about to change. False where the file has no checksums: then nothing need be said of the change. */
  begin(inode: Inode, dataFd: number, offset: number, end: number): boolean {
    const build = this.files.building;
    this.#head = 0;
    this.#tail = 0;
    if (build?.gfid === inode.gfid) {
      // Nobody relies on them yet.
      this.#fd = build.fd;
      return true;
    }
    this.#fd = this.files.of(inode, true)?.fd ?? -1;
    if (this.#fd < 0) return false;
    if (end <= offset) return true;
    const { size } = inode;
    const first = blockOf(offset);
    const last = blockOf(end - 1);
    const tailStays = end < Math.min((last + 1) * BLOCK, size);
    const headStays = offset > first * BLOCK && size > first * BLOCK;
    if (headStays || (first === last && tailStays)) this.#head = this.#difference(inode, dataFd, first);
    if (last > first && tailStays) this.#tail = this.#difference(inode, dataFd, last);
    return true;
  }

  /** Between the checksum of a block and its bytes: 0 where they match. */
  #difference(inode: Inode, dataFd: number, block: number): number {
    const difference = (this.#actual(dataFd, block, inode.size) ^ this.#stored(this.#fd, block)) >>> 0;
    if (difference !== 0) this.known.found(inode.gfid, block);
    return difference;
  }

  /** `data` was written at `offset`. */
  wrote(inode: Inode, dataFd: number, offset: number, data: Uint8Array): void {
    const end = offset + data.byteLength;
    const first = blockOf(offset);
    const last = blockOf(end - 1);
    for (let at = first; at <= last; at += WORDS) {
      const count = Math.min(WORDS, last - at + 1);
      for (let i = 0; i < count; i++) {
        const block = at + i;
        const start = block * BLOCK;
        if (start >= offset && (start + BLOCK <= end || end >= inode.size)) {
          this.#words[i] = blockSum(data, start - offset, Math.min(BLOCK, end - start));
          this.known.healed(inode.gfid, block);
        } else this.#words[i] = this.#carried(inode, dataFd, block, first, last);
      }
      this.#put(inode, at, count);
    }
  }

  /** Of a block that changed in part. */
  #carried(inode: Inode, dataFd: number, block: number, first: number, last: number): number {
    const difference = block === first ? this.#head : block === last ? this.#tail : 0;
    return (this.#actual(dataFd, block, inode.size) ^ difference) >>> 0;
  }

  /** Bytes in a range changed, nobody knows how far: a write that failed. */
  changed(inode: Inode, dataFd: number, offset: number, end: number): void {
    const first = blockOf(offset);
    const last = blockOf(Math.min(end, inode.size) - 1);
    for (let at = first; at <= last; at += WORDS) {
      const count = Math.min(WORDS, last - at + 1);
      for (let i = 0; i < count; i++) this.#words[i] = this.#carried(inode, dataFd, at + i, first, blockOf(end - 1));
      this.#put(inode, at, count);
    }
  }

  /** Bytes [offset, end) are zeros now. */
  zeroed(inode: Inode, dataFd: number, offset: number, end: number): void {
    const first = blockOf(offset);
    const last = blockOf(end - 1);
    const from = blocksIn(offset);
    const to = Math.max(from, blockOf(end));
    if (first < from) this.#putOne(inode, first, this.#carried(inode, dataFd, first, first, last));
    if (last >= to && last >= from) this.#putOne(inode, last, this.#carried(inode, dataFd, last, first, last));
    this.#putZeros(inode, from, Math.min(to, blocksIn(inode.size)));
  }

  /** The file was cut to the size that it has now; `begin` was told the range that goes. */
  cut(inode: Inode, dataFd: number): void {
    const blocks = blocksIn(inode.size);
    const { gfid } = inode;
    if (this.#tree.disk.truncate(this.#fd, blocks * SUM_BYTES) < 0) return this.#giveUp(gfid);
    this.known.forgetFrom(gfid, blocks);
    if (inode.size % BLOCK !== 0) this.#putOne(inode, blocks - 1, this.#carried(inode, dataFd, blocks - 1, blocks - 1, -1));
    if (this.files.building?.gfid === gfid) this.files.building.next = Math.min(this.files.building.next, blocks);
  }

  /** As `begin` for the target, and looks at the blocks of the source whose checksums cannot simply be copied too. */
  beginCopy(source: Inode, from: number, fromOffset: number, target: Inode, to: number, toOffset: number, length: number): boolean {
    this.#badSource = undefined;
    const sums = this.files.of(source, false);
    if (sums !== undefined) {
      const first = blockOf(fromOffset);
      const last = blockOf(fromOffset + length - 1);
      const aligned = (fromOffset - toOffset) % BLOCK === 0;
      for (let block = first; block <= last; block = aligned && block < last ? last : block + 1) {
        if (this.#actual(from, block, source.size) === this.#stored(sums.fd, block)) continue;
        this.known.found(source.gfid, block);
        (this.#badSource ??= new Set()).add(block);
      }
    }
    return this.begin(target, to, toOffset, toOffset + length);
  }

  /** `length` bytes were copied. What was damaged in the source stays marked as damaged. */
  copied(source: Inode, fromOffset: number, target: Inode, to: number, toOffset: number, length: number): void {
    const end = toOffset + length;
    const first = blockOf(toOffset);
    const last = blockOf(end - 1);
    const sums = (fromOffset - toOffset) % BLOCK === 0 ? this.files.of(source, false) : undefined;
    const shift = (fromOffset - toOffset) / BLOCK;
    for (let at = first; at <= last; at += WORDS) {
      const count = Math.min(WORDS, last - at + 1);
      if (sums !== undefined) {
        this.#readWords(sums.fd, at + shift, count);
        this.#sourceWords.set(this.#words.subarray(0, count));
      }
      for (let i = 0; i < count; i++) {
        const block = at + i;
        const start = block * BLOCK;
        const whole = start >= toOffset && start + BLOCK <= end;
        if (whole && sums !== undefined) this.#words[i] = this.#sourceWords[i] as number;
        else {
          const taint = this.#fromBadSource(start - toOffset + fromOffset, fromOffset, fromOffset + length) ? TAINT : 0;
          this.#words[i] = (this.#carried(target, to, block, first, last) ^ taint) >>> 0;
        }
        if (whole) this.known.healed(target.gfid, block);
      }
      this.#put(target, at, count);
    }
  }

  /** Whether bytes that came from a damaged block of the source are in the block that begins at what was `start` there. */
  #fromBadSource(start: number, low: number, high: number): boolean {
    if (this.#badSource === undefined) return false;
    const from = Math.max(start, low);
    const to = Math.min(start + BLOCK, high);
    for (let block = blockOf(from); block * BLOCK < to; block++) if (this.#badSource.has(block)) return true;
    return false;
  }

  /** The file lost its checksums, or is gone. */
  removed(gfid: Gfid): void {
    this.files.remove(gfid);
    this.known.forgetFrom(gfid, 0);
  }

  /** A change could not be finished in a way that is known. */
  abandon(gfid: Gfid): void {
    this.#giveUp(gfid);
  }

  // ---------------------------------------------------------------- reading

  /**
   * Compares what was read at `start` (where a block begins) up to the end of a block or of the file. Throws DamagedError. `data` may be older than the
   * checksums by now: a block that does not match is read again.
   */
  compare(inode: Inode, dataFd: number, data: Uint8Array, start: number): void {
    const sums = this.files.of(inode, false);
    if (sums === undefined || data.byteLength === 0) return;
    const bad = this.#mismatches(inode, dataFd, sums.fd, data, start);
    if (bad === undefined) return;
    const offset = (bad[0] as number) * BLOCK;
    const end = Math.min(inode.size, ((bad.at(-1) as number) + 1) * BLOCK);
    throw new DamagedError('read', { gfid: inode.gfid, offset, length: end - offset });
  }

  /** True where the file's bytes can be compared. */
  has(inode: Inode): boolean {
    return this.files.of(inode, false) !== undefined;
  }

  /** True where `compare` of these bytes need not wait for the disk. */
  cached(inode: Inode, start: number, length: number): boolean {
    const sums = this.files.of(inode, false);
    const size = Math.min(WORDS, blocksIn(length)) * SUM_BYTES;
    return sums === undefined || this.#tree.disk.readCached(sums.fd, this.#wordBytes, size, blockOf(start) * SUM_BYTES) === size;
  }

  /** Reads checksums that are not in the page cache in the thread pool; undefined when there is nothing to wait for. */
  warm(inode: Inode, start: number, length: number): Promise<void> | undefined {
    const sums = this.files.of(inode, false);
    if (sums === undefined || this.cached(inode, start, length)) return undefined;
    const { disk } = this.#tree;
    const size = Math.min(WORDS, blocksIn(length)) * SUM_BYTES;
    const at = blockOf(start) * SUM_BYTES;
    const target = Buffer.allocUnsafe(size);
    this.files.pin(sums);
    return new Promise((resolve) => {
      disk.readInPool(sums.fd, target, 0, size, at, () => {
        this.files.unpin(sums);
        resolve();
      });
    });
  }

  #mismatches(inode: Inode, dataFd: number, sumsFd: number, data: Uint8Array, start: number): number[] | undefined {
    let bad: number[] | undefined;
    const first = blockOf(start);
    const blocks = blocksIn(data.byteLength);
    for (let at = 0; at < blocks; at += WORDS) {
      const count = Math.min(WORDS, blocks - at);
      this.#readWords(sumsFd, first + at, count);
      for (let i = 0; i < count; i++) {
        const from = (at + i) * BLOCK;
        const length = Math.min(BLOCK, data.byteLength - from);
        if (blockSum(data, from, length) === this.#words[i]) continue;
        const block = first + at + i;
        if (this.#actual(dataFd, block, inode.size) === this.#stored(sumsFd, block)) {
          data.set(this.#block.subarray(0, length), from);
          continue;
        }
        this.known.found(inode.gfid, block);
        (bad ??= []).push(block);
      }
    }
    return bad;
  }

  /** The first byte in [offset, end) that its checksum says is not in a hole; `end` where there is none. */
  firstExpected(inode: Inode, offset: number, end: number): number {
    const sums = this.files.of(inode, false);
    if (sums === undefined) return end;
    const { disk } = this.#tree;
    for (let block = blockOf(offset); block * BLOCK < end;) {
      const data = disk.seek(sums.fd, block * SUM_BYTES, SEEK_DATA);
      if (data < 0) return end;
      block = Math.max(block, Math.floor(data / SUM_BYTES));
      if (block * BLOCK >= end) return end;
      const count = Math.min(WORDS, blocksIn(end) - block);
      this.#readWords(sums.fd, block, count);
      for (let i = 0; i < count; i++) if (this.#words[i] !== 0) return Math.max(offset, (block + i) * BLOCK);
      block += count;
    }
    return end;
  }

  /** Which of the blocks of [offset, offset + data) do not match, without an error and without looking again. */
  damagedIn(inode: Inode, offset: number, data: Uint8Array): number[] {
    const sums = this.files.of(inode, false);
    if (sums === undefined || data.byteLength === 0) return [];
    const { fd } = this.#tree.file(inode, false, 'read');
    return this.#mismatches(inode, fd, sums.fd, data, offset) ?? [];
  }

  // ---------------------------------------------------------------- BlockSums

  damage(limit: number): DamagedRange[] {
    return this.known.ranges(limit);
  }

  lost(range: DamagedRange): void {
    this.known.lost(range);
  }

  suspect(keys: Iterable<string>): void {
    this.known.suspect(keys);
  }

  isSuspect(gfid: Gfid, offset: number): boolean {
    return this.known.isSuspect(gfid, offset);
  }

  examine(gfid: Gfid, offset: number, length: number): Examined {
    const tree = this.#tree;
    const inode = tree.find(gfid);
    const start = blockOf(offset) * BLOCK;
    const end = inode === undefined ? 0 : Math.min(inode.size, offset + Math.min(length, EXAMINE_BYTES_MAX));
    if (inode === undefined || !inode.isRegular || end <= start) return { data: new Uint8Array(0), blocks: new Uint8Array(0) };
    const data = Buffer.alloc(end - start);
    const { fd } = tree.file(inode, false, 'examine');
    check(readFully(tree, fd, data, start), 'examine');
    const known = this.has(inode);
    const blocks = new Uint8Array(blocksIn(data.byteLength)).fill(known ? Soundness.Sound : Soundness.Unknown);
    for (const block of this.damagedIn(inode, start, data)) blocks[block - blockOf(start)] = Soundness.Damaged;
    return { data, blocks };
  }

  expects(gfid: Gfid, offset: number, block: Uint8Array): boolean {
    const inode = this.#tree.find(gfid);
    const sums = inode === undefined ? undefined : this.files.of(inode, false);
    return sums !== undefined && blockSum(block, 0, block.byteLength) === this.#stored(sums.fd, blockOf(offset));
  }

  mend(gfid: Gfid, offset: number, data: Uint8Array): void {
    const size = this.#tree.find(gfid)?.size ?? 0;
    const length = Math.min(data.byteLength, size - offset);
    if (length > 0) this.#host.patch(gfid, offset, data.subarray(0, length));
  }

  trust(gfid: Gfid, offset: number, length: number): void {
    this.#reset(gfid, offset, length, 0);
  }

  taint(gfid: Gfid, offset: number, length: number): void {
    this.#reset(gfid, offset, length, TAINT);
  }

  #reset(gfid: Gfid, offset: number, length: number, difference: number): void {
    const tree = this.#tree;
    const inode = tree.find(gfid);
    const sums = inode === undefined ? undefined : this.files.of(inode, false);
    if (inode === undefined || sums === undefined) return;
    this.#fd = sums.fd;
    const { fd } = tree.file(inode, false, 'sums');
    const end = Math.min(inode.size, offset + length);
    for (let block = blockOf(offset); block * BLOCK < end; block++) {
      this.#putOne(inode, block, (this.#actual(fd, block, inode.size) ^ difference) >>> 0);
      if (difference === 0) this.known.healed(gfid, block);
    }
  }

  // ---------------------------------------------------------------- making them for a file that has none

  /** The next `blocks` blocks; the bytes should be in the page cache. True when the last one is done. */
  buildStep(build: Build, blocks: number): boolean {
    const tree = this.#tree;
    const inode = tree.find(build.gfid);
    if (inode === undefined || this.files.building !== build) return true;
    const data = tree.file(inode, false, 'sums');
    const count = Math.min(blocks, WORDS, blocksIn(inode.size) - build.next);
    if (count > 0) {
      this.#fd = build.fd;
      for (let i = 0; i < count; i++) this.#words[i] = this.#actual(data.fd, build.next + i, inode.size);
      this.#put(inode, build.next, count);
      build.next += count;
    }
    return build.next >= blocksIn(inode.size);
  }

  // ---------------------------------------------------------------- the disk

  /** The checksum that the bytes of a block have; they are left in #block, filled up with zeros. */
  #actual(dataFd: number, block: number, size: number): number {
    const at = block * BLOCK;
    const length = Math.min(BLOCK, size - at);
    if (length <= 0) return 0;
    const target = length === BLOCK ? this.#block : this.#block.subarray(0, length);
    const count = check(readFully(this.#tree, dataFd, target, at), 'read');
    if (count < BLOCK) this.#block.fill(0, count);
    return blockSum(this.#block, 0, BLOCK);
  }

  #stored(sumsFd: number, block: number): number {
    const got = check(this.#tree.disk.read(sumsFd, this.#oneBytes, SUM_BYTES, block * SUM_BYTES), 'read sums');
    return got < SUM_BYTES ? 0 : (this.#one[0] as number);
  }

  #readWords(sumsFd: number, first: number, count: number): void {
    const size = count * SUM_BYTES;
    const got = check(this.#tree.disk.read(sumsFd, this.#wordBytes, size, first * SUM_BYTES), 'read sums');
    if (got < size) this.#wordBytes.fill(0, got, size);
  }

  #putOne(inode: Inode, block: number, sum: number): void {
    this.#words[0] = sum;
    this.#put(inode, block, 1);
  }

  #put(inode: Inode, first: number, count: number): void {
    if (this.#fd < 0) return;
    const size = count * SUM_BYTES;
    if (this.#tree.disk.write(this.#fd, this.#wordBytes, size, first * SUM_BYTES) !== size) this.#giveUp(inode.gfid);
  }

  #putZeros(inode: Inode, first: number, end: number): void {
    if (end <= first || this.#fd < 0) return;
    const { disk } = this.#tree;
    this.known.healedRange(inode.gfid, first, end);
    if (end - first > ZERO_WORDS_WRITTEN) {
      const mode = FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE;
      const result = disk.allocate(this.#fd, mode, first * SUM_BYTES, (end - first) * SUM_BYTES);
      if (result === 0) return;
      if (result !== -Errno.EOPNOTSUPP) return this.#giveUp(inode.gfid);
    }
    for (let at = first; at < end; at += ZERO_WORDS_WRITTEN) {
      const size = Math.min(ZERO_WORDS_WRITTEN, end - at) * SUM_BYTES;
      if (disk.write(this.#fd, this.#zeroWords, size, at * SUM_BYTES) !== size) return this.#giveUp(inode.gfid);
    }
  }

  /** A disk that has no room for checksums, say: the file goes on without, until the scrubber makes them anew. */
  #giveUp(gfid: Gfid): void {
    if (!isGfid(gfid)) return;
    this.#fd = -1;
    this.removed(gfid);
  }
}

function readFully(tree: Tree, fd: number, target: Uint8Array, offset: number): number {
  let total = 0;
  while (total < target.byteLength) {
    const part = total === 0 ? target : target.subarray(total);
    const count = tree.disk.read(fd, part, part.byteLength, offset + total);
    if (count < 0) return count;
    if (count === 0) break;
    total += count;
  }
  return total;
}
