/** File data: reads, writes, appends, holes, ranges, copies. */
import assert from 'node:assert/strict';
import { Errno } from '../../src/base/errno.js';
import type { Gfid } from '../../src/base/ids.js';
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE, SEEK_DATA, SEEK_HOLE } from '../../src/fops/ops.js';
import { bytes, equalBytes, fails, OWNER, pattern, type ConformanceTests, type Fixture } from './suite.js';

const MIB = 1 << 20;
const BLOCK = 65_536;

async function holds(t: Fixture, gfid: Gfid, expected: Buffer, what: string): Promise<void> {
  equalBytes(await t.content(gfid), expected, what);
  assert.equal((await t.attr(gfid)).size, expected.length, what);
}

export const DATA_TESTS: ConformanceTests = {
  'what is written is read back, at every size and offset around block and request limits': async (t) => {
    const gfid = await t.file('f');
    let model = Buffer.alloc(0);
    const sizes = [1, 2, 511, 512, 4095, 4096, 4097, BLOCK - 1, BLOCK, BLOCK + 1, MIB - 1, MIB];
    for (const [index, size] of sizes.entries()) {
      const offset = (index * 77_777) % 900_001;
      const data = pattern(size, index);
      await t.write(gfid, offset, data);
      if (model.length < offset + size) model = Buffer.concat([model, Buffer.alloc(offset + size - model.length)]);
      data.copy(model, offset);
    }
    await holds(t, gfid, model, 'after all writes');
    for (const [index, size] of sizes.entries()) {
      const offset = (index * 123_457) % model.length;
      equalBytes(await t.read(gfid, offset, size), model.subarray(offset, offset + size), `read ${size} at ${offset}`);
    }
  },

  'a read is short only at the end of the file': async (t) => {
    const gfid = await t.file('f', bytes('0123456789'));
    assert.equal((await t.read(gfid, 8, 100)).toString(), '89');
    assert.equal((await t.read(gfid, 10, 100)).length, 0);
    assert.equal((await t.read(gfid, 1 << 30, 100)).length, 0);
    assert.equal((await t.read(gfid, 0, 0)).length, 0);
    assert.equal((await t.read(gfid, Number.MAX_SAFE_INTEGER - MIB, MIB)).length, 0);
  },

  'a write past the end leaves a hole of zeros': async (t) => {
    const gfid = await t.file('f', bytes('ab'));
    await t.write(gfid, 5 * MIB, bytes('z'));
    const expected = Buffer.alloc(5 * MIB + 1);
    expected.write('ab');
    expected.write('z', 5 * MIB);
    await holds(t, gfid, expected, 'hole');
    assert.ok((await t.attr(gfid)).blocks * 512 < MIB, 'the hole takes no space');
  },

  'a write of no bytes changes nothing': async (t) => {
    const gfid = await t.file('f', bytes('abc'));
    await t.fops.write({ gfid, offset: 100, append: false, sync: false, killPriv: false, data: Buffer.alloc(0) });
    assert.equal((await t.attr(gfid)).size, 3);
  },

  'append writes at the end of the file and tells where': async (t) => {
    const gfid = await t.file('f');
    assert.equal(await t.append(gfid, bytes('one')), 0);
    assert.equal(await t.append(gfid, bytes('two')), 3);
    await t.setattr(gfid, { size: 4 });
    assert.equal(await t.append(gfid, bytes('three')), 4);
    assert.equal((await t.content(gfid)).toString(), 'onetthree');
  },

  'appends at the same time never overlap': async (t) => {
    const gfid = await t.file('f');
    const records = Array.from({ length: 100 }, (_, i) => Buffer.alloc(100 + i, 1 + i));
    const offsets = await Promise.all(records.map((record) => t.append(gfid, record)));
    const content = await t.content(gfid);
    assert.equal(content.length, records.reduce((sum, record) => sum + record.length, 0));
    for (const [i, record] of records.entries()) {
      const at = offsets[i] ?? -1;
      equalBytes(content.subarray(at, at + record.length), record, `record ${i}`);
    }
  },

  'writes at the same time to different ranges all land': async (t) => {
    const gfid = await t.file('f');
    const part = 10_000;
    await Promise.all(Array.from({ length: 64 }, (_, i) => t.write(gfid, i * part, pattern(part, i))));
    await holds(t, gfid, Buffer.concat(Array.from({ length: 64 }, (_, i) => pattern(part, i))), 'all ranges');
  },

  'overlapping writes at the same time leave one of them, not a mixture': async (t) => {
    const gfid = await t.file('f');
    for (let round = 0; round < 5; round++) {
      await Promise.all(Array.from({ length: 8 }, (_, i) => t.write(gfid, 0, Buffer.alloc(200_000, i + 1))));
      const content = await t.content(gfid);
      equalBytes(content, Buffer.alloc(200_000, content[0] ?? 0), `round ${round}`);
    }
  },

  'truncate cuts, extends with zeros, and cut data does not come back': async (t) => {
    const gfid = await t.file('f', pattern(100_000, 1));
    await t.setattr(gfid, { size: 1000 });
    await t.setattr(gfid, { size: 100_000 });
    await holds(t, gfid, Buffer.concat([pattern(100_000, 1).subarray(0, 1000), Buffer.alloc(99_000)]), 'cut and extended');
    await t.setattr(gfid, { size: 0 });
    await holds(t, gfid, Buffer.alloc(0), 'empty');
  },

  'sizes beyond 4 GiB and a size that no disk holds': async (t) => {
    const gfid = await t.file('f');
    const far = 2 ** 33 + 12_345;
    await t.write(gfid, far, bytes('far'));
    assert.equal((await t.attr(gfid)).size, far + 3);
    assert.equal((await t.read(gfid, far, 10)).toString(), 'far');
    assert.equal((await t.read(gfid, 2 ** 32, 16)).toString('hex'), '00'.repeat(16));
    await fails([Errno.EFBIG, Errno.EINVAL], t.write(gfid, 2 ** 52, bytes('x')), 'write at 2^52');
    await fails([Errno.EFBIG, Errno.EINVAL], t.setattr(gfid, { size: 2 ** 52 }), 'truncate to 2^52');
    assert.equal((await t.attr(gfid)).size, far + 3);
  },

  'a synchronous write and fsync are answered for files, directories and unlinked files': async (t) => {
    const gfid = await t.file('f');
    await t.fops.write({ gfid, offset: 0, append: false, sync: true, killPriv: false, data: bytes('durable') });
    await t.fops.fsync({ gfid, dataOnly: true });
    await t.fops.fsync({ gfid, dataOnly: false });
    await t.fops.fsync({ gfid: t.dir, dataOnly: false });
    await t.fops.open({ gfid, truncate: false, killPriv: false });
    await t.unlink('f');
    await t.fops.fsync({ gfid, dataOnly: false });
    assert.equal((await t.content(gfid)).toString(), 'durable');
    await t.fops.release({ gfid });
  },

  'fallocate reserves space, and extends unless it must keep the size': async (t) => {
    const gfid = await t.file('f', bytes('abc'));
    await t.fops.fallocate({ gfid, offset: 0, length: MIB, mode: FALLOC_KEEP_SIZE });
    assert.equal((await t.attr(gfid)).size, 3);
    assert.ok((await t.attr(gfid)).blocks * 512 >= MIB);
    const { attr } = await t.fops.fallocate({ gfid, offset: MIB, length: MIB, mode: 0 });
    assert.equal(attr.size, 2 * MIB);
    const expected = Buffer.alloc(2 * MIB);
    expected.write('abc');
    await holds(t, gfid, expected, 'reserved space reads as zeros');
  },

  'punch hole zeroes exactly its range, keeps the size and frees whole blocks': async (t) => {
    const model = pattern(3 * MIB, 5);
    const gfid = await t.file('f', model);
    await t.fops.fsync({ gfid, dataOnly: false });
    const before = (await t.attr(gfid)).blocks;
    for (const [offset, length] of [[MIB, MIB], [10, 1], [4000, 10_000], [3 * MIB - 5, 100], [5 * MIB, 10]] as [number, number][]) {
      await t.fops.fallocate({ gfid, offset, length, mode: FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE });
      model.fill(0, Math.min(offset, model.length), Math.min(offset + length, model.length));
    }
    await holds(t, gfid, model, 'punched');
    assert.ok((await t.attr(gfid)).blocks <= before - (MIB / 512) + 16, 'a megabyte is free again');
  },

  'zero range zeroes exactly its range and extends when asked': async (t) => {
    const model = pattern(MIB, 6);
    const gfid = await t.file('f', model);
    await t.fops.fallocate({ gfid, offset: 100, length: 70_000, mode: FALLOC_ZERO_RANGE });
    model.fill(0, 100, 70_100);
    await holds(t, gfid, model, 'zeroed');
    await t.fops.fallocate({ gfid, offset: MIB - 10, length: 1000, mode: FALLOC_ZERO_RANGE | FALLOC_KEEP_SIZE });
    model.fill(0, MIB - 10);
    await holds(t, gfid, model, 'zeroed at the end, size kept');
    await t.fops.fallocate({ gfid, offset: MIB - 10, length: 1000, mode: FALLOC_ZERO_RANGE });
    await holds(t, gfid, Buffer.concat([model, Buffer.alloc(990)]), 'zeroed and extended');
  },

  'fallocate refuses what makes no sense': async (t) => {
    const gfid = await t.file('f');
    const dir = await t.mkdir('d');
    const at = { offset: 0, length: 4096 };
    await fails(Errno.EINVAL, t.fops.fallocate({ gfid, offset: 0, length: 0, mode: 0 }), 'no length');
    await fails([Errno.EOPNOTSUPP, Errno.EINVAL], t.fops.fallocate({ gfid, ...at, mode: FALLOC_PUNCH_HOLE }), 'punch without keep size');
    await fails([Errno.EOPNOTSUPP, Errno.EINVAL], t.fops.fallocate({ gfid, ...at, mode: 8 }), 'collapse range');
    await fails([Errno.EISDIR, Errno.ENODEV, Errno.EBADF, Errno.EINVAL], t.fops.fallocate({ gfid: dir, ...at, mode: 0 }), 'directory');
    await fails([Errno.EFBIG, Errno.EINVAL], t.fops.fallocate({ gfid, offset: 2 ** 52, length: 4096, mode: 0 }), 'too far');
    assert.equal((await t.attr(gfid)).size, 0);
  },

  'lseek finds data and holes': async (t) => {
    const gfid = await t.file('f');
    await t.write(gfid, MIB, pattern(BLOCK, 1));
    await t.setattr(gfid, { size: 4 * MIB });
    await t.fops.fsync({ gfid, dataOnly: false });
    const seek = async (offset: number, whence: number): Promise<number> => (await t.fops.lseek({ gfid, offset, whence })).offset;
    assert.equal(await seek(0, SEEK_HOLE), 0);
    assert.equal(await seek(0, SEEK_DATA), MIB);
    assert.equal(await seek(MIB + 5, SEEK_DATA), MIB + 5);
    assert.equal(await seek(MIB, SEEK_HOLE), MIB + BLOCK);
    await fails(Errno.ENXIO, seek(MIB + BLOCK, SEEK_DATA), 'no data after');
    assert.equal(await seek(3 * MIB, SEEK_HOLE), 3 * MIB);
    await fails(Errno.ENXIO, seek(4 * MIB, SEEK_HOLE), 'at the end');
    await fails(Errno.ENXIO, seek(5 * MIB, SEEK_DATA), 'past the end');
    await fails(Errno.EINVAL, seek(0, 9), 'unknown whence');
  },

  'a sparse file stays sparse through every operation that could fill it': async (t) => {
    const gfid = await t.file('f');
    await t.setattr(gfid, { size: 256 * MIB });
    await t.write(gfid, 128 * MIB, bytes('x'));
    const target = await t.file('g');
    for (let at = 0; at < 256 * MIB; ) {
      const { copied } = await t.fops.copyFileRange({ source: gfid, sourceOffset: at, target, targetOffset: at, length: 256 * MIB - at });
      assert.ok(copied > 0, `copied at ${at}`);
      at += copied;
    }
    await t.setattr(gfid, { size: 200 * MIB });
    assert.ok((await t.attr(gfid)).blocks * 512 < MIB, 'source');
    assert.equal((await t.attr(target)).size, 256 * MIB);
    assert.equal((await t.read(target, 128 * MIB, 1)).toString(), 'x');
  },

  'copyFileRange copies within and between files and stops at the end of the source': async (t) => {
    const data = pattern(300_000, 9);
    const source = await t.file('a', data);
    const target = await t.file('b', bytes('short'));
    const copyAll = async (from: Gfid, fromAt: number, to: Gfid, toAt: number, length: number): Promise<number> => {
      let done = 0;
      while (done < length) {
        const args = { source: from, sourceOffset: fromAt + done, target: to, targetOffset: toAt + done, length: length - done };
        const { copied } = await t.fops.copyFileRange(args);
        if (copied === 0) break;
        done += copied;
      }
      return done;
    };
    assert.equal(await copyAll(source, 1000, target, 3, 1_000_000), 299_000);
    await holds(t, target, Buffer.concat([bytes('sho'), data.subarray(1000)]), 'copied');
    assert.equal(await copyAll(source, 0, source, 200_000, 100_000), 100_000);
    await holds(t, source, Buffer.concat([data.subarray(0, 200_000), data.subarray(0, 100_000)]), 'within one file');
    assert.equal(await copyAll(source, 300_000, target, 0, 10), 0);
    await fails(Errno.EINVAL, t.fops.copyFileRange({ source, sourceOffset: 0, target: source, targetOffset: 10, length: 100 }), 'overlap');
    const dir = await t.mkdir('d');
    const wrong = [Errno.EISDIR, Errno.EINVAL];
    await fails(wrong, t.fops.copyFileRange({ source: dir, sourceOffset: 0, target, targetOffset: 0, length: 10 }), 'from a directory');
  },

  'an unnamed file holds data, gets a name by link, and vanishes with its release otherwise': async (t) => {
    const args = { parent: t.dir, mode: 0o600, ...OWNER };
    const first = await t.fops.tmpfile(args);
    assert.equal(first.attr.nlink, 0);
    await t.write(first.attr.gfid, 0, bytes('unnamed'));
    assert.deepEqual(await t.names(), []);
    const { attr } = await t.fops.link({ gfid: first.attr.gfid, newParent: t.dir, newName: 'named' });
    assert.equal(attr.nlink, 1);
    await t.fops.release({ gfid: first.attr.gfid });
    assert.equal((await t.content((await t.lookup('named')).gfid)).toString(), 'unnamed');
    const second = await t.fops.tmpfile(args);
    await t.fops.release({ gfid: second.attr.gfid });
    await t.gone(second.attr.gfid, 'gone');
  },

  'an unlinked open file stays whole until the last release': async (t) => {
    const gfid = await t.file('f', bytes('before'));
    await t.fops.open({ gfid, truncate: false, killPriv: false });
    await t.fops.open({ gfid, truncate: false, killPriv: false });
    await t.unlink('f');
    assert.equal((await t.attr(gfid)).nlink, 0);
    await t.append(gfid, bytes(' and after'));
    await t.setattr(gfid, { mode: 0o600 });
    await t.fops.setxattr({ gfid, name: 'user.a', value: bytes('b'), flags: 0 });
    await t.file('f', bytes('another file of that name'));
    await t.fops.release({ gfid });
    assert.equal((await t.content(gfid)).toString(), 'before and after');
    await t.fops.release({ gfid });
    await t.gone(gfid, 'gone after the last release');
  },

  'a file replaced by rename while it is open stays whole until its release': async (t) => {
    const gfid = await t.file('old', bytes('old'));
    await t.fops.open({ gfid, truncate: false, killPriv: false });
    await t.file('new', bytes('new'));
    await t.rename('new', 'old');
    assert.equal((await t.content(gfid)).toString(), 'old');
    await t.fops.release({ gfid });
    await t.gone(gfid);
  },
};
