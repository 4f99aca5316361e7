/** The bytes of files. */
import { createHash } from 'node:crypto';
import { Errno, FsError } from '../../base/errno.js';
import type { Gfid } from '../../base/ids.js';
import {
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  REGION_BYTES,
  SEEK_DATA,
  SEEK_HOLE,
  type Args,
  type Result,
} from '../../fops/ops.js';
import { DamagedError, SUM_BLOCK_BYTES } from '../../replica/soundness.js';
import { BLOCK_BYTES, DIGEST_BYTES, FINE_BYTES, NO_DIGEST_BYTE, type Stamp } from '../../replica/store.js';
import type { Descriptor } from './descriptors.js';
import type { Inode } from './inode.js';
import { check } from './check.js';
import { PassingReads } from './passing-reads.js';
import type { Sums } from './sums.js';
import type { Tree } from './tree.js';

/** The largest file that every supported disk can hold (ext4, 4 KiB blocks): the same answer on every brick. */
export const FILE_BYTES_MAX = 2 ** 44 - 4096;
/** One copyFileRange copies at most this, also where the disk could share more: every brick must give the same answer, soon. */
export const COPY_BYTES_MAX = 4 << 20;
/**
 * Large writes behind this offset are parts of a stream: a file that long is not read again soon, three copies of it need not fill the memory of
 * three machines, and its fsync should not find all of it unwritten.
 */
const STREAM_FROM_BYTES = 8 << 20;
const STREAM_BYTES_MIN = 256 << 10;
const PAGE_BYTES = 4096;
const ZEROS_BYTES = 1 << 20;
const CLONE_ALIGNMENT_BYTES = 4096;
/** Pauses of 10 ms for space that is being freed. */
const SPACE_PAUSES_MAX = 50;
const S_ISUID = 0o4000;
const S_ISGID = 0o2000;
const S_IXGRP = 0o010;
const MODE_BITS = 0o7777;

/** The bits that remain when somebody else changes a file. */
export function withoutPrivileges(mode: number): number {
  const bits = mode & ~S_ISUID;
  return (bits & S_IXGRP) !== 0 ? bits & ~S_ISGID : bits;
}

function checkRange(offset: number, length: number, op: string): void {
  if (offset + length > FILE_BYTES_MAX) throw new FsError(Errno.EFBIG, op);
}

const zeros = Buffer.alloc(ZEROS_BYTES);
/** What no block has. */
const NO_DIGEST = new Uint8Array(DIGEST_BYTES).fill(NO_DIGEST_BYTE);

/** The count of a read that may leave the rest to the next one. */
function orNone(count: number, op: string): number {
  if (count < 0 && count !== -Errno.EAGAIN && count !== -Errno.EOPNOTSUPP) throw new FsError(-count, op);
  return Math.max(0, count);
}

export class Data {
  readonly #tree: Tree;
  readonly #scratch = Buffer.allocUnsafeSlow(REGION_BYTES);
  readonly #passing: PassingReads;

  constructor(tree: Tree) {
    this.#tree = tree;
    this.#passing = new PassingReads(tree);
  }

  /** The inode, when it is a regular file. */
  #regular(gfid: Gfid, op: string): Inode {
    const inode = this.#tree.inode(gfid, op);
    if (!inode.isRegular) throw new FsError(inode.isDirectory ? Errno.EISDIR : Errno.EINVAL, op);
    return inode;
  }

  // --- reading

  read(gfid: Gfid, offset: number, size: number): Uint8Array | Promise<Uint8Array> {
    const tree = this.#tree;
    const inode = this.#regular(gfid, 'read');
    const wanted = Math.min(size, Math.max(0, inode.size - offset));
    if (wanted === 0) return new Uint8Array(0);
    if (tree.sums?.has(inode) === true) return this.#readCompared(tree.sums, inode, offset, wanted);
    const file = tree.file(inode, false, 'read');
    const target = tree.disk.takeBuffer(wanted);
    const count = tree.disk.readCached(file.fd, target, wanted, offset);
    if (count === wanted) return target;
    const have = orNone(count, 'read');
    const alone = tree.disk.readAlone(file.fd, target, have, wanted - have, offset + have);
    if (have + alone === wanted) return target;
    return this.#readRest(file, target, have + orNone(alone, 'read'), offset);
  }

  /** Whole blocks are read and compared with their checksums; the answer is the part that was asked for. */
  #readCompared(sums: Sums, inode: Inode, offset: number, wanted: number): Uint8Array | Promise<Uint8Array> {
    const tree = this.#tree;
    const start = offset - (offset % SUM_BLOCK_BYTES);
    const end = Math.min(inode.size, Math.ceil((offset + wanted) / SUM_BLOCK_BYTES) * SUM_BLOCK_BYTES);
    const file = tree.file(inode, false, 'read');
    const target = tree.disk.takeBuffer(end - start);
    const length = end - start;
    let have = orNone(tree.disk.readCached(file.fd, target, length, start), 'read');
    if (have < length) {
      have += orNone(tree.disk.readAlone(file.fd, target, have, length - have, start + have), 'read');
      if (have < length || !sums.cached(inode, start, length)) return this.#compareLater(sums, inode, file, target, have, offset, wanted);
    }
    sums.compare(inode, file.fd, target, start);
    return target.subarray(offset - start, offset - start + wanted);
  }

  async #compareLater(
    sums: Sums,
    inode: Inode,
    file: Descriptor,
    target: Buffer,
    have: number,
    offset: number,
    wanted: number,
  ): Promise<Uint8Array> {
    const tree = this.#tree;
    const start = offset - (offset % SUM_BLOCK_BYTES);
    const data = have === target.byteLength ? target : await this.#readRest(file, target, have, start);
    await sums.warm(inode, start, data.byteLength);
    if (tree.find(inode.gfid)?.number !== inode.number) throw new FsError(Errno.ESTALE, 'read');
    sums.compare(inode, tree.file(inode, false, 'read').fd, data, start);
    return data.subarray(offset - start, offset - start + wanted);
  }

  #readRest(file: Descriptor, target: Buffer, have: number, offset: number): Promise<Uint8Array> {
    const tree = this.#tree;
    tree.pin(file);
    return new Promise((resolve, reject) => {
      tree.disk.readInPool(file.fd, target, have, target.byteLength - have, offset + have, (result) => {
        tree.unpin(file);
        if (result < 0) reject(new FsError(-result, 'read'));
        // Shorter when the file was cut meanwhile.
        else resolve(have + result === target.byteLength ? target : target.subarray(0, have + result));
      });
    });
  }

  lseek(gfid: Gfid, offset: number, whence: number): number {
    if (whence !== SEEK_DATA && whence !== SEEK_HOLE) throw new FsError(Errno.EINVAL, 'lseek');
    const inode = this.#regular(gfid, 'lseek');
    if (offset >= inode.size) throw new FsError(Errno.ENXIO, 'lseek');
    const { fd } = this.#tree.file(inode, false, 'lseek');
    const { sums } = this.#tree;
    if (sums !== undefined) return check(this.#seekExpected(sums, fd, inode, offset, whence), 'lseek');
    return check(this.#tree.disk.seek(fd, offset, whence), 'lseek');
  }

  /** As the disk says, but a hole where the checksums say that there is data is damage, and no hole. */
  #seekExpected(sums: Sums, fd: number, inode: Inode, offset: number, whence: number): number {
    const { disk } = this.#tree;
    if (whence === SEEK_DATA) {
      const data = disk.seek(fd, offset, SEEK_DATA);
      if (data < 0 && data !== -Errno.ENXIO) return data;
      const expected = sums.firstExpected(inode, offset, data < 0 ? inode.size : data);
      return expected < inode.size ? expected : data < 0 ? data : expected;
    }
    for (let at = offset; ;) {
      const hole = disk.seek(fd, at, SEEK_HOLE);
      if (hole < 0 || hole >= inode.size) return hole;
      if (sums.firstExpected(inode, hole, Math.min(inode.size, hole + SUM_BLOCK_BYTES)) > hole) return hole;
      at = hole - (hole % SUM_BLOCK_BYTES) + SUM_BLOCK_BYTES;
      if (at >= inode.size) return inode.size;
    }
  }

  // --- writing

  write(args: Args<'write'>, stamp: Stamp): Result<'write'> {
    const tree = this.#tree;
    const inode = this.#regular(args.gfid, 'write');
    const { data } = args;
    const length = data.byteLength;
    const offset = args.append ? inode.size : args.offset;
    checkRange(offset, length, 'write');
    if (length > 0) {
      const file = tree.file(inode, true, 'write');
      this.#writeCompared(file.fd, inode, data, offset, 'write');
      if (args.killPriv) this.#killPrivileges(inode, file.fd, 'write');
      this.#changed(inode, stamp);
    }
    return { offset, attr: tree.refresh(inode).attr() };
  }

  #writeCompared(fd: number, inode: Inode, data: Uint8Array, offset: number, op: string): void {
    const { sums } = this.#tree;
    if (sums?.begin(inode, fd, offset, offset + data.byteLength) !== true) {
      this.#writeAll(fd, inode, data, offset, op);
      return;
    }
    try {
      this.#writeAll(fd, inode, data, offset, op);
    } catch (error) {
      sums.changed(inode, fd, offset, offset + data.byteLength);
      throw error;
    }
    sums.wrote(inode, fd, offset, data);
  }

  #writeAll(fd: number, inode: Inode, data: Uint8Array, offset: number, op: string): void {
    const { disk } = this.#tree;
    const length = data.byteLength;
    let done = this.#writeSome(fd, data, offset);
    inode.volatile = true;
    if (done === length) {
      if (offset + length > inode.size) inode.size = offset + length;
      return;
    }
    let total = 0;
    while (done > 0 && total + done < length) {
      total += done;
      done = this.#writeSome(fd, data.subarray(total), offset + total);
    }
    if (done <= 0) {
      this.#tree.touched(inode);
      // What lies beyond the old end must not appear: the operation did not happen.
      if (total > 0 && offset + total > inode.size) disk.truncate(fd, inode.size);
      throw new FsError(done === 0 ? Errno.EIO : -done, op);
    }
    inode.size = Math.max(inode.size, offset + length);
  }

  #writeSome(fd: number, data: Uint8Array, offset: number): number {
    const { disk } = this.#tree;
    const length = data.byteLength;
    // Whole pages only: one of which a part is written later would have to be read from the disk again.
    const streams = offset >= STREAM_FROM_BYTES && length >= STREAM_BYTES_MIN && (offset | length) % PAGE_BYTES === 0;
    const put = (): number => (streams ? disk.writeStream(fd, data, length, offset) : disk.write(fd, data, length, offset));
    let done = put();
    // A file that was deleted just now may still hold the space: this disk must not be full when its siblings are not.
    for (let i = 0; done === -Errno.ENOSPC && i < SPACE_PAUSES_MAX && disk.pauseForSpace(); i++) done = put();
    return done;
  }

  #killPrivileges(inode: Inode, fd: number, op: string): void {
    const bits = withoutPrivileges(inode.mode);
    if (bits === inode.mode) return;
    check(this.#tree.disk.chmod(fd, bits & MODE_BITS), op);
    inode.mode = bits;
  }

  #changed(inode: Inode, stamp: Stamp): void {
    inode.mtime = stamp.time;
    inode.ctime = stamp.time;
    this.#tree.touched(inode);
  }

  /** Sets the size; times are the caller's. */
  resize(inode: Inode, size: number, op: string): void {
    const tree = this.#tree;
    if (size > FILE_BYTES_MAX) throw new FsError(Errno.EFBIG, op);
    const { fd } = tree.file(inode, true, op);
    const cuts = tree.sums?.begin(inode, fd, size, inode.size) === true && size < inode.size;
    check(tree.disk.truncate(fd, size), op);
    inode.size = size;
    inode.volatile = true;
    if (cuts) tree.sums?.cut(inode, fd);
  }

  fallocate(args: Args<'fallocate'>, stamp: Stamp): Result<'fallocate'> {
    const { offset, length, mode } = args;
    const tree = this.#tree;
    const inode = this.#regular(args.gfid, 'fallocate');
    if (length === 0) throw new FsError(Errno.EINVAL, 'fallocate', 'length is 0');
    checkRange(offset, length, 'fallocate');
    const keepSize = (mode & FALLOC_KEEP_SIZE) !== 0;
    const kind = mode & ~FALLOC_KEEP_SIZE;
    if (kind !== 0 && kind !== FALLOC_ZERO_RANGE && !(kind === FALLOC_PUNCH_HOLE && keepSize))
      throw new FsError(Errno.EOPNOTSUPP, 'fallocate');
    const { fd } = tree.file(inode, true, 'fallocate');
    const size = keepSize ? inode.size : Math.max(inode.size, offset + length);
    const compared = tree.sums?.begin(inode, fd, offset, kind === 0 ? offset : offset + length) === true && kind !== 0;
    const result = tree.disk.allocate(fd, mode, offset, length);
    if (result === -Errno.EOPNOTSUPP) this.#allocateByHand(fd, inode, kind, offset, length, size);
    else if (result < 0) {
      if (compared) tree.sums?.abandon(inode.gfid);
      if (!keepSize) tree.disk.truncate(fd, inode.size);
      tree.touched(inode);
      throw new FsError(-result, 'fallocate');
    }
    inode.size = size;
    inode.volatile = true;
    if (compared) tree.sums?.zeroed(inode, fd, offset, offset + length);
    this.#changed(inode, stamp);
    return { attr: tree.refresh(inode).attr() };
  }

  /** The same contents and size on a disk that lacks the call; space is not reserved there. */
  #allocateByHand(fd: number, inode: Inode, kind: number, offset: number, length: number, size: number): void {
    const { disk } = this.#tree;
    if (kind !== 0) {
      const end = Math.min(offset + length, inode.size);
      for (let at = offset; at < end; at += ZEROS_BYTES) {
        const chunk = Math.min(ZEROS_BYTES, end - at);
        this.#writeAll(fd, inode, chunk === ZEROS_BYTES ? zeros : zeros.subarray(0, chunk), at, 'fallocate');
      }
    }
    if (size !== inode.size) check(disk.truncate(fd, size), 'fallocate');
  }

  copyFileRange(args: Args<'copyFileRange'>, stamp: Stamp): Result<'copyFileRange'> {
    const tree = this.#tree;
    const { sourceOffset, targetOffset } = args;
    const op = 'copyFileRange';
    const source = this.#regular(args.source, op);
    const target = this.#regular(args.target, op);
    const available = Math.min(args.length, Math.max(0, source.size - sourceOffset));
    const overlaps = sourceOffset < targetOffset + available && targetOffset < sourceOffset + available;
    if (source === target && available > 0 && overlaps) throw new FsError(Errno.EINVAL, op, 'the ranges overlap');
    const length = Math.min(available, COPY_BYTES_MAX);
    checkRange(targetOffset, length, op);
    if (length > 0) {
      const from = tree.file(source, false, op).fd;
      const to = tree.file(target, true, op).fd;
      const size = target.size;
      const { sums } = tree;
      const compared = sums?.beginCopy(source, from, sourceOffset, target, to, targetOffset, length) === true;
      try {
        this.#copy(from, sourceOffset, to, target, targetOffset, length);
      } catch (error) {
        if (target.size !== size || targetOffset + length > size) tree.disk.truncate(to, size);
        target.size = size;
        if (compared) sums?.changed(target, to, targetOffset, targetOffset + length);
        tree.touched(target);
        throw error;
      }
      target.size = Math.max(size, targetOffset + length);
      if (compared) sums?.copied(source, sourceOffset, target, to, targetOffset, length);
      target.volatile = true;
      this.#changed(target, stamp);
    }
    return { copied: length, attr: tree.refresh(target).attr() };
  }

  #copy(from: number, fromOffset: number, to: number, target: Inode, toOffset: number, length: number): void {
    const { disk } = this.#tree;
    const aligned = (fromOffset | toOffset | length) % CLONE_ALIGNMENT_BYTES === 0;
    if (aligned && disk.cloneRange(from, fromOffset, to, toOffset, length) === 0) return;
    for (let at = 0; at < length;) {
      const data = disk.seek(from, fromOffset + at, SEEK_DATA);
      // ENXIO: no data until the end of the source.
      const dataAt = data < 0 ? length : Math.min(length, data - fromOffset);
      if (dataAt > at) this.#makeZero(to, target, toOffset + at, dataAt - at);
      at = dataAt;
      if (at >= length) return;
      const hole = disk.seek(from, fromOffset + at, SEEK_HOLE);
      const end = hole < 0 ? length : Math.min(length, hole - fromOffset);
      at = this.#copyData(from, fromOffset, to, toOffset, at, end);
    }
  }

  #copyData(from: number, fromOffset: number, to: number, toOffset: number, start: number, end: number): number {
    const { disk } = this.#tree;
    let at = start;
    while (at < end) {
      let count = disk.copyRange(from, fromOffset + at, to, toOffset + at, end - at);
      if (count === -Errno.EXDEV || count === -Errno.EOPNOTSUPP || count === -Errno.EINVAL || count === -Errno.ENOSYS) {
        const scratch = this.#scratch;
        count = check(
          disk.read(from, scratch, Math.min(end - at, scratch.byteLength), fromOffset + at),
          'copyFileRange',
        );
        if (count > 0) count = check(disk.write(to, scratch, count, toOffset + at), 'copyFileRange');
      }
      check(count, 'copyFileRange');
      if (count === 0) throw new FsError(Errno.EIO, 'copyFileRange', 'the source ended early');
      at += count;
    }
    return at;
  }

  /** Zeros in a range, as a hole where the file has bytes there, and by size beyond its end. */
  #makeZero(fd: number, inode: Inode, offset: number, length: number): void {
    const { disk } = this.#tree;
    const end = offset + length;
    if (offset < inode.size) {
      const inside = Math.min(length, inode.size - offset);
      const result = disk.allocate(fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, offset, inside);
      if (result === -Errno.EOPNOTSUPP) this.#allocateByHand(fd, inode, FALLOC_PUNCH_HOLE, offset, inside, inode.size);
      else check(result, 'punch');
    }
    if (end > inode.size) {
      check(disk.truncate(fd, end), 'truncate');
      inode.size = end;
    }
  }

  // --- resync

  /** Times and privileges stay. */
  patch(gfid: Gfid, offset: number, data: Uint8Array): void {
    const inode = this.#regular(gfid, 'patch');
    checkRange(offset, data.byteLength, 'patch');
    if (data.byteLength === 0) return;
    this.#writeCompared(this.#tree.file(inode, true, 'patch').fd, inode, data, offset, 'patch');
    this.#tree.touched(inode);
  }

  punch(gfid: Gfid, offset: number, length: number): void {
    const inode = this.#regular(gfid, 'punch');
    const inside = Math.min(length, inode.size - offset);
    if (inside <= 0) return;
    const { fd } = this.#tree.file(inode, true, 'punch');
    const { sums } = this.#tree;
    const compared = sums?.begin(inode, fd, offset, offset + inside) === true;
    this.#makeZero(fd, inode, offset, inside);
    inode.volatile = true;
    if (compared) sums?.zeroed(inode, fd, offset, offset + inside);
    this.#tree.touched(inode);
  }

  /**
   * See Store.digests. At the source of a resync bytes that do not match their checksums are no answer: DamagedError. At its target (`target`) their
   * digest is one that no bytes have, so that they are copied.
   */
  digests(gfid: Gfid, region: number, target = false): Uint8Array | Promise<Uint8Array> {
    const inode = this.#tree.find(gfid);
    const offset = region * REGION_BYTES;
    if (inode === undefined || !inode.isRegular || offset >= inode.size) return new Uint8Array(0);
    const length = Math.min(REGION_BYTES, inode.size - offset);
    const out = new Uint8Array(Math.ceil(length / BLOCK_BYTES) * DIGEST_BYTES);
    const { sums } = this.#tree;
    const { fd } = this.#tree.file(inode, false, 'digests');
    const data = this.#tree.disk.seek(fd, offset, SEEK_DATA);
    const hole = data === -Errno.ENXIO || data >= offset + length;
    if (hole && (sums === undefined || sums.firstExpected(inode, offset, offset + length) >= offset + length)) return out;
    const bytes = this.#passing.read(inode, offset, length);
    if (sums === undefined) {
      return bytes instanceof Promise
        ? bytes.then((read) => this.#digestAndGive(read, BLOCK_BYTES, out, 0))
        : this.#digestAndGive(bytes, BLOCK_BYTES, out, 0);
    }
    if (bytes instanceof Promise) return this.#digestLoaded(sums, inode, bytes, offset, target);
    this.#digestSound(inode, offset, bytes, BLOCK_BYTES, target, out, 0);
    this.#tree.disk.giveBuffer(bytes);
    return out;
  }

  /** What changed while it was read has other checksums by now: it is read once more, from the page cache. */
  async #digestLoaded(sums: Sums, inode: Inode, loading: Promise<Buffer>, offset: number, target: boolean): Promise<Uint8Array> {
    const loaded = await loading;
    await sums.warm(inode, offset, loaded.byteLength);
    this.#tree.disk.giveBuffer(loaded);
    if (this.#tree.find(inode.gfid) !== inode || offset >= inode.size) return new Uint8Array(0);
    const bytes = this.#readRegion(inode, offset, Math.min(REGION_BYTES, inode.size - offset));
    const out = new Uint8Array(Math.ceil(bytes.byteLength / BLOCK_BYTES) * DIGEST_BYTES);
    this.#digestSound(inode, offset, bytes, BLOCK_BYTES, target, out, 0);
    return out;
  }

  /** See Store.fineDigests; `target` as for digests. */
  fineDigests(gfid: Gfid, region: number, blocks: number, target = false): Uint8Array | Promise<Uint8Array> {
    const inode = this.#tree.find(gfid);
    const wanted: number[] = [];
    for (let block = 0; block < REGION_BYTES / BLOCK_BYTES; block++) if ((blocks & (1 << block)) !== 0) wanted.push(block);
    const blockBytes = (BLOCK_BYTES / FINE_BYTES) * DIGEST_BYTES;
    const out = new Uint8Array(wanted.length * blockBytes);
    if (inode === undefined || !inode.isRegular) return out;
    const waiting: Promise<unknown>[] = [];
    for (const [i, block] of wanted.entries()) {
      const offset = region * REGION_BYTES + block * BLOCK_BYTES;
      const length = Math.min(BLOCK_BYTES, inode.size - offset);
      if (length <= 0) break;
      const to = i * blockBytes;
      if (this.#tree.sums !== undefined) {
        this.#digestSound(inode, offset, this.#readRegion(inode, offset, length), FINE_BYTES, target, out, to);
        continue;
      }
      const bytes = this.#passing.read(inode, offset, length);
      if (bytes instanceof Promise) waiting.push(bytes.then((read) => this.#digestAndGive(read, FINE_BYTES, out, to)));
      else this.#digestAndGive(bytes, FINE_BYTES, out, to);
    }
    return waiting.length === 0 ? out : Promise.all(waiting).then(() => out);
  }

  /** Where checksums are kept: what does not match them is told apart. */
  #digestSound(inode: Inode, offset: number, bytes: Buffer, pieceBytes: number, target: boolean, out: Uint8Array, to: number): void {
    const damaged = this.#tree.sums?.damagedIn(inode, offset, bytes) ?? [];
    const damagedAt = damaged[0];
    if (damagedAt !== undefined && !target) {
      const blocks = (damaged.at(-1) ?? damagedAt) - damagedAt + 1;
      const range = { gfid: inode.gfid, offset: damagedAt * SUM_BLOCK_BYTES, length: blocks * SUM_BLOCK_BYTES };
      throw new DamagedError('digests', range);
    }
    this.#digest(bytes, pieceBytes, out, to);
    for (const block of damaged) {
      const at = Math.floor((block * SUM_BLOCK_BYTES - offset) / pieceBytes) * DIGEST_BYTES;
      out.set(NO_DIGEST, to + at);
    }
  }

  /** Into the scratch buffer: good until the next call. */
  #readRegion(inode: Inode, offset: number, length: number): Buffer {
    const { fd } = this.#tree.file(inode, false, 'digests');
    let total = 0;
    while (total < length) {
      const target = total === 0 ? this.#scratch : this.#scratch.subarray(total);
      const count = check(this.#tree.disk.read(fd, target, length - total, offset + total), 'digests');
      if (count === 0) break;
      total += count;
    }
    return this.#scratch.subarray(0, total);
  }

  #digestAndGive(bytes: Uint8Array, pieceBytes: number, out: Uint8Array, to: number): Uint8Array {
    this.#digest(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), pieceBytes, out, to);
    this.#tree.disk.giveBuffer(bytes);
    return out;
  }

  /** Puts a digest of every piece of `bytes` into `out`, from `at` on. */
  #digest(bytes: Buffer, pieceBytes: number, out: Uint8Array, at: number): void {
    for (let from = 0, to = at; from < bytes.byteLength; from += pieceBytes, to += DIGEST_BYTES) {
      const piece = bytes.subarray(from, from + pieceBytes);
      if (piece.equals(zeros.subarray(0, piece.byteLength))) continue;
      out.set(createHash('sha256').update(piece).digest().subarray(0, DIGEST_BYTES), to);
    }
  }

  dataRanges(gfid: Gfid, region: number): [number, number][] {
    const inode = this.#tree.find(gfid);
    const start = region * REGION_BYTES;
    if (inode === undefined || !inode.isRegular || start >= inode.size) return [];
    const { disk } = this.#tree;
    const { fd } = this.#tree.file(inode, false, 'dataRanges');
    const end = Math.min(start + REGION_BYTES, inode.size);
    const ranges: [number, number][] = [];
    for (let at = start; at < end;) {
      const data = disk.seek(fd, at, SEEK_DATA);
      if (data === -Errno.ENXIO || data >= end) break;
      check(data, 'dataRanges');
      const hole = Math.min(end, check(disk.seek(fd, data, SEEK_HOLE), 'dataRanges'));
      ranges.push([data, hole - data]);
      at = hole;
    }
    return ranges;
  }
}
