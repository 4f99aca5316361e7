import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Errno } from '../../../src/base/errno.js';
import { ROOT_GFID, type Gfid } from '../../../src/base/ids.js';
import { COPY_BYTES_MAX, FILE_BYTES_MAX } from '../../../src/brick/store/data.js';
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE, SEEK_DATA, SEEK_HOLE } from '../../../src/fops/ops.js';
import { BLOCK_BYTES, DIGEST_BYTES, FINE_BYTES } from '../../../src/replica/store.js';
import { errnoFrom, newGfid, TestBrick } from './harness.js';

let brick: TestBrick;
let gfid: Gfid;
beforeEach(() => {
  brick = new TestBrick();
  gfid = brick.file(ROOT_GFID, 'f').gfid;
});
afterEach(() => brick.remove());

const MIB = 1 << 20;
const setattr = { atimeNow: false, mtimeNow: false, killPriv: false };
const write = { offset: 0, append: false, sync: false, killPriv: false };

function size(): number {
  return brick.store.getattr(gfid).size;
}

describe('reading and writing', () => {
  it('what was written is read, plain on the disk too', async () => {
    brick.write(gfid, 0, 'hello');
    brick.write(gfid, 10_000, 'far');
    assert.equal(await brick.read(gfid, 0, 5), 'hello');
    assert.equal(await brick.read(gfid, 9_998, 100), '\0\0far');
    assert.equal(await brick.read(gfid, 10_003, 10), '');
    assert.equal(await brick.read(gfid, 1e12, 10), '');
    assert.equal(readFileSync(join(brick.path, 'f')).subarray(10_000).toString(), 'far');
  });

  it('append writes at the end and says where', () => {
    brick.write(gfid, 0, 'abc');
    const result = brick.apply('write', { ...write, gfid, append: true, data: Buffer.from('def') });
    assert.equal(result.offset, 3);
    assert.equal(result.attr?.size, 6);
    assert.deepEqual(result.attr?.mtime, brick.time);
    assert.deepEqual(result.attr?.ctime, brick.time);
  });

  it('a cold file is read by the thread pool', async () => {
    const data = Buffer.alloc(MIB, 'x');
    brick.write(gfid, 0, data);
    await brick.store.fsync(gfid, false);
    brick.store.dropCaches();
    const fd = openSync('/proc/sys/vm/drop_caches', 'w');
    try {
      writeSync(fd, '1');
    } finally {
      closeSync(fd);
    }
    const reads = Array.from({ length: 20 }, (_, i) => brick.store.read(gfid, i * 50_000, 50_000));
    // The file may go while it is read.
    brick.apply('unlink', { parent: ROOT_GFID, name: 'f' });
    for (const part of reads) assert.ok(Buffer.from(await part).equals(data.subarray(0, 50_000)));
  });

  it('times are those of the stamp, also after the disk set its own', () => {
    brick.write(gfid, 0, 'x');
    const attr = brick.store.getattr(gfid);
    assert.deepEqual(attr.mtime, brick.time);
    brick.apply('setattr', { ...setattr, gfid, mode: 0o600 });
    const later = brick.store.getattr(gfid);
    assert.deepEqual([later.mtime, later.ctime], [attr.mtime, brick.time]);
    brick.reopen();
    assert.deepEqual(brick.store.getattr(gfid), later);
  });

  it('flushTimes writes them in parts', () => {
    const many = Array.from({ length: 10 }, (_, i) => brick.file(ROOT_GFID, `m${i}`));
    const left = brick.store.flushTimes(4);
    assert.equal(left, 8);
    assert.equal(brick.store.flushTimes(100), 0);
    brick.store.dropCaches();
    for (const attr of many) assert.deepEqual(brick.store.getattr(attr.gfid), attr);
  });

  it('killPriv takes the set-id bits, chown alone does not', () => {
    brick.apply('setattr', { ...setattr, gfid, mode: 0o6775 });
    brick.apply('setattr', { ...setattr, gfid, uid: 5, gid: 6 });
    assert.equal(brick.store.getattr(gfid).mode & 0o7777, 0o6775);
    brick.store.dropCaches();
    assert.equal(brick.store.getattr(gfid).mode & 0o7777, 0o6775);
    brick.apply('write', { ...write, gfid, killPriv: true, data: Buffer.from('x') });
    assert.equal(brick.store.getattr(gfid).mode & 0o7777, 0o775);
    brick.apply('setattr', { ...setattr, gfid, mode: 0o6745 });
    brick.apply('setattr', { ...setattr, gfid, uid: 7, killPriv: true });
    assert.equal(brick.store.getattr(gfid).mode & 0o7777, 0o2745);
    brick.store.dropCaches();
    assert.equal(brick.store.getattr(gfid).mode & 0o7777, 0o2745);
  });

  it('sizes have a limit that is the same on every disk', () => {
    assert.equal(
      errnoFrom(() => brick.write(gfid, FILE_BYTES_MAX, 'x')),
      Errno.EFBIG,
    );
    assert.equal(
      errnoFrom(() => brick.apply('setattr', { ...setattr, gfid, size: FILE_BYTES_MAX + 1 })),
      Errno.EFBIG,
    );
    assert.equal(
      errnoFrom(() => brick.apply('fallocate', { gfid, offset: FILE_BYTES_MAX, length: 1, mode: 0 })),
      Errno.EFBIG,
    );
    assert.equal(size(), 0);
    brick.apply('setattr', { ...setattr, gfid, size: FILE_BYTES_MAX });
    brick.write(gfid, FILE_BYTES_MAX - 1, 'x');
    assert.equal(size(), FILE_BYTES_MAX);
    assert.ok(brick.store.getattr(gfid).blocks < 100);
  });

  it('directories have no data, and what is unknown is stale', () => {
    const d = brick.directory(ROOT_GFID, 'd').gfid;
    assert.equal(
      errnoFrom(() => brick.store.read(d, 0, 1)),
      Errno.EISDIR,
    );
    assert.equal(
      errnoFrom(() => brick.write(d, 0, 'x')),
      Errno.EISDIR,
    );
    assert.equal(
      errnoFrom(() => brick.apply('setattr', { ...setattr, gfid: d, size: 0 })),
      Errno.EISDIR,
    );
    assert.equal(
      errnoFrom(() => brick.apply('fallocate', { gfid: d, offset: 0, length: 1, mode: 0 })),
      Errno.EISDIR,
    );
    assert.equal(
      errnoFrom(() => brick.store.read(newGfid(), 0, 1)),
      Errno.ESTALE,
    );
    assert.equal(
      errnoFrom(() => brick.write(newGfid(), 0, 'x')),
      Errno.ESTALE,
    );
  });

  it('truncate cuts and extends', async () => {
    brick.write(gfid, 0, 'abcdef');
    brick.apply('setattr', { ...setattr, gfid, size: 3 });
    brick.apply('setattr', { ...setattr, gfid, size: 5 });
    assert.equal(await brick.read(gfid), 'abc\0\0');
    assert.deepEqual(brick.store.getattr(gfid).mtime, brick.time);
  });
});

describe('sparse files', () => {
  it('holes stay holes and are found', () => {
    brick.write(gfid, 8 * MIB, Buffer.alloc(MIB, 1));
    assert.equal(brick.store.lseek(gfid, 0, SEEK_DATA), 8 * MIB);
    assert.equal(brick.store.lseek(gfid, 8 * MIB, SEEK_HOLE), 9 * MIB);
    assert.equal(brick.store.lseek(gfid, 0, SEEK_HOLE), 0);
    assert.equal(
      errnoFrom(() => brick.store.lseek(gfid, 9 * MIB, SEEK_DATA)),
      Errno.ENXIO,
    );
    assert.equal(
      errnoFrom(() => brick.store.lseek(gfid, 0, 0)),
      Errno.EINVAL,
    );
    assert.ok(brick.store.getattr(gfid).blocks <= (MIB / 512) * 2);
    assert.deepEqual(brick.store.dataRanges(gfid, 0), []);
    assert.deepEqual(brick.store.dataRanges(gfid, 8), [[8 * MIB, MIB]]);
    assert.deepEqual(brick.store.dataRanges(gfid, 9), []);
  });

  it('fallocate: plain, KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE', async () => {
    const fallocate = (offset: number, length: number, mode: number) =>
      brick.apply('fallocate', { gfid, offset, length, mode }).attr;
    assert.equal(fallocate(0, MIB, 0).size, MIB);
    assert.equal(fallocate(MIB, MIB, FALLOC_KEEP_SIZE).size, MIB);
    brick.write(gfid, 0, Buffer.alloc(MIB, 'a'));
    assert.equal(fallocate(4096, 8192, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE).size, MIB);
    assert.equal(await brick.read(gfid, 4095, 3), 'a\0\0');
    assert.equal(brick.store.lseek(gfid, 0, SEEK_HOLE), 4096);
    assert.equal(fallocate(MIB - 100, 200, FALLOC_ZERO_RANGE).size, MIB + 100);
    assert.equal(await brick.read(gfid, MIB - 101, 3), 'a\0\0');
    assert.equal(fallocate(MIB, 4096, FALLOC_ZERO_RANGE | FALLOC_KEEP_SIZE).size, MIB + 100);
    assert.deepEqual(brick.store.getattr(gfid).mtime, brick.time);
    assert.equal(
      errnoFrom(() => fallocate(0, 0, 0)),
      Errno.EINVAL,
    );
    assert.equal(
      errnoFrom(() => fallocate(0, 1, FALLOC_PUNCH_HOLE)),
      Errno.EOPNOTSUPP,
    );
    assert.equal(
      errnoFrom(() => fallocate(0, 1, 8)),
      Errno.EOPNOTSUPP,
    );
  });

  it('copyFileRange copies data and holes, in bounded steps', async () => {
    brick.write(gfid, 0, 'start');
    brick.write(gfid, 5 * MIB, 'end');
    const target = brick.file(ROOT_GFID, 't').gfid;
    brick.write(target, 0, Buffer.alloc(MIB, 'z'));
    const copy = (sourceOffset: number, targetOffset: number, length: number, to = target) =>
      brick.apply('copyFileRange', { source: gfid, sourceOffset, target: to, targetOffset, length });
    const first = copy(0, 0, 100 * MIB);
    assert.deepEqual([first.copied, first.attr.size], [COPY_BYTES_MAX, COPY_BYTES_MAX]);
    const second = copy(COPY_BYTES_MAX, COPY_BYTES_MAX, 100 * MIB);
    assert.equal(second.copied, 5 * MIB + 3 - COPY_BYTES_MAX);
    assert.equal(copy(5 * MIB + 3, 0, 10).copied, 0);
    assert.equal(await brick.read(target, 0, 6), 'start\0');
    assert.equal(await brick.read(target, MIB - 2, 4), '\0\0\0\0');
    assert.equal(await brick.read(target, 5 * MIB, 10), 'end');
    assert.ok(second.attr.blocks <= MIB / 512, `${second.attr.blocks} blocks`);
    assert.equal(copy(1, 3, 3).copied, 3);
    assert.equal(await brick.read(target, 0, 7), 'statart'.slice(0, 3) + 'tar\0');
    assert.equal(
      errnoFrom(() => copy(0, 2, 10, gfid)),
      Errno.EINVAL,
    );
    assert.equal(copy(0, 100, 5, gfid).copied, 5);
    assert.equal(await brick.read(gfid, 100, 5), 'start');
  });
});

describe('resync of data', () => {
  it('digests tell blocks apart, and zeros from data, not from holes', async () => {
    const other = brick.file(ROOT_GFID, 'o').gfid;
    brick.write(gfid, 0, Buffer.alloc(MIB));
    brick.write(gfid, 70_000, 'x');
    brick.write(gfid, MIB, 'tail');
    brick.write(other, 70_000, 'x');
    brick.write(other, MIB, 'tail');
    const blocks = MIB / BLOCK_BYTES;
    const first = await brick.store.digests(gfid, 0);
    assert.equal(first.byteLength, blocks * DIGEST_BYTES);
    assert.deepEqual(first, await brick.store.digests(other, 0));
    const second = await brick.store.digests(gfid, 1);
    assert.deepEqual(second, await brick.store.digests(other, 1));
    assert.equal(second.byteLength, DIGEST_BYTES);
    assert.ok(first.subarray(0, DIGEST_BYTES).every((b) => b === 0));
    assert.ok(!first.subarray(DIGEST_BYTES, 2 * DIGEST_BYTES).every((b) => b === 0));
    assert.equal((await brick.store.digests(gfid, 2)).byteLength, 0);
    assert.equal((await brick.store.digests(newGfid(), 0)).byteLength, 0);
  });

  it('fine digests are of the asked blocks alone, zero beyond the end', async () => {
    brick.write(gfid, 70_000, 'x');
    const fine = await brick.store.fineDigests(gfid, 0, 0b11);
    assert.equal(fine.byteLength, 2 * 16 * DIGEST_BYTES);
    const set = Array.from({ length: 32 }, (_, i) => fine.subarray(i * DIGEST_BYTES, (i + 1) * DIGEST_BYTES)).flatMap(
      (digest, i) => (digest.every((b) => b === 0) ? [] : [i]),
    );
    assert.deepEqual(set, [Math.floor(70_000 / FINE_BYTES)]);
    assert.ok((await brick.store.fineDigests(newGfid(), 0, 1)).every((b) => b === 0));
  });

  it('patch and punch leave the times', async () => {
    brick.write(gfid, 0, Buffer.alloc(3 * 4096, 'a'));
    const before = brick.store.getattr(gfid);
    brick.store.patch(gfid, 4096, Buffer.from('bb'));
    brick.store.punch(gfid, 8192, 1 << 30);
    brick.store.patch(gfid, 20_000, Buffer.from('end'));
    assert.equal(await brick.read(gfid, 4095, 4), 'abba');
    assert.equal(await brick.read(gfid, 8191, 2), 'a\0');
    const after = brick.store.getattr(gfid);
    assert.equal(after.size, 20_003);
    assert.deepEqual([after.mtime, after.ctime], [before.mtime, before.ctime]);
    brick.reopen();
    assert.deepEqual(brick.store.getattr(gfid).mtime, before.mtime);
  });
});

describe('durability', () => {
  it('fsync of files, directories and special files, and sync, end well', async () => {
    const d = brick.directory(ROOT_GFID, 'd').gfid;
    brick.write(gfid, 0, 'x');
    for (const dataOnly of [true, false]) for (const id of [gfid, d, ROOT_GFID]) await brick.store.fsync(id, dataOnly);
    await brick.store.sync();
    await assert.rejects(brick.store.fsync(newGfid(), false), { errno: Errno.ESTALE });
  });
});
