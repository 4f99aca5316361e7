/** POSIX: data, holes, mappings, seen through two mounts. */
import assert from 'node:assert/strict';
import { FALLOC, fails, NEW, O, SEEK, type PosixTests } from './suite.js';

const MIB = 1 << 20;

export const DATA_TESTS: PosixTests = {
  'what one mount wrote the other reads, also after it has read before': async (t) => {
    const fd = await t.a.open('f', NEW);
    const other = await t.b.open('f', O.RDWR);
    for (let round = 10; round < 30; round++) {
      await t.a.pwrite(fd, `round ${round}`, 0);
      assert.equal(await t.b.pread(other, 8, 0), `round ${round}`);
      await t.b.pwrite(other, `back ${round}`, 5000);
      assert.equal(await t.a.pread(fd, 100, 5000), `back ${round}`);
    }
  },

  'growth and truncation are seen at once': async (t) => {
    const fd = await t.a.open('f', NEW);
    const other = await t.b.open('f', O.RDWR);
    for (let size = 1; size <= 20; size++) {
      await t.a.write(fd, 'x'.repeat(1000));
      assert.equal((await t.b.fstat(other)).size, size * 1000);
      assert.equal(await t.b.lseek(other, 0, SEEK.END), size * 1000);
      assert.equal((await t.b.pread(other, 2000, size * 1000 - 10)).length, 10);
    }
    await t.b.ftruncate(other, 5);
    assert.equal((await t.a.fstat(fd)).size, 5);
    assert.equal(await t.a.pread(fd, 100, 0), 'xxxxx');
    await t.b.ftruncate(other, 10);
    assert.equal(await t.a.pread(fd, 100, 0), 'xxxxx\0\0\0\0\0');
  },

  'a large file is whole on both mounts, written with and without page cache': async (t) => {
    for (const [name, flags] of [['cached', 0], ['direct', O.DIRECT], ['synchronous', O.DSYNC]] as [string, number][]) {
      const fd = await t.a.open(name, NEW | flags);
      for (let at = 0; at < 8 * MIB; at += MIB) assert.equal(await t.a.fill(fd, at, MIB, 7), MIB);
      await t.a.close(fd);
      for (const readFlags of [O.RDONLY, O.RDONLY | O.DIRECT]) {
        const other = await t.b.open(name, readFlags);
        for (let at = 0; at < 8 * MIB; at += MIB) assert.equal(await t.b.check(other, at, MIB, 7), -1, name);
        await t.b.close(other);
      }
    }
  },

  'O_APPEND from two mounts loses nothing': async (t) => {
    await t.file('f');
    const [a, b] = [await t.a.open('f', O.WRONLY | O.APPEND), await t.b.open('f', O.WRONLY | O.APPEND)];
    const work: Promise<number>[] = [];
    for (let i = 0; i < 200; i++) work.push(t.a.write(a, `a${String(i).padStart(8, '0')}\n`), t.b.write(b, `b${String(i).padStart(8, '0')}\n`));
    await Promise.all(work);
    const lines = (await t.content('f', t.b)).split('\n').slice(0, -1);
    assert.equal(lines.length, 400);
    for (const letter of ['a', 'b']) {
      const own = lines.filter((line) => line.startsWith(letter));
      assert.deepEqual(own, [...own].sort(), 'each in its own order');
      assert.equal(own.length, 200);
    }
  },

  'reads at the end are short, holes are zeros': async (t) => {
    const fd = await t.a.open('f', NEW);
    await t.a.pwrite(fd, 'end', 3 * MIB);
    assert.equal(await t.b.pread(await t.b.open('f', O.RDONLY), 100, 3 * MIB - 2), '\0\0end');
    assert.equal(await t.a.pread(fd, 100, 4 * MIB), '');
    await fails('EINVAL', t.a.pread(fd, 10, -1));
    await fails('EBADF', t.b.write(await t.b.open('f', O.RDONLY), 'x'));
  },

  'SEEK_DATA and SEEK_HOLE find the islands': async (t) => {
    const fd = await t.a.open('f', NEW);
    await t.a.fill(fd, MIB, 65_536, 1);
    await t.a.ftruncate(fd, 4 * MIB);
    await t.a.fsync(fd);
    const other = await t.b.open('f', O.RDONLY);
    assert.equal(await t.b.lseek(other, 0, SEEK.DATA), MIB);
    assert.equal(await t.b.lseek(other, MIB, SEEK.HOLE), MIB + 65_536);
    assert.equal(await t.b.lseek(other, 0, SEEK.HOLE), 0);
    await fails('ENXIO', t.b.lseek(other, 2 * MIB, SEEK.DATA));
    await fails('ENXIO', t.b.lseek(other, 4 * MIB, SEEK.HOLE));
  },

  'fallocate in all modes': async (t) => {
    const fd = await t.a.open('f', NEW);
    await t.a.fallocate(fd, FALLOC.KEEP_SIZE, 0, MIB);
    assert.equal((await t.b.lstat('f')).size, 0);
    assert.ok((await t.b.lstat('f')).blocks * 512 >= MIB);
    await t.a.fallocate(fd, 0, 0, 2 * MIB);
    assert.equal((await t.b.lstat('f')).size, 2 * MIB);
    await t.a.fill(fd, 0, 2 * MIB, 3);
    await t.a.fallocate(fd, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 100_000, 500_000);
    await t.a.fallocate(fd, FALLOC.ZERO_RANGE, MIB, 1000);
    const other = await t.b.open('f', O.RDONLY);
    assert.equal(await t.b.check(other, 0, 100_000, 3), -1);
    assert.equal(await t.b.pread(other, 10, 300_000), '\0'.repeat(10));
    assert.equal(await t.b.check(other, 600_000, MIB - 600_000, 3), -1);
    assert.equal(await t.b.pread(other, 10, MIB + 990), '\0'.repeat(10));
    assert.equal(await t.b.check(other, MIB + 1000, 1000, 3), -1);
    assert.equal((await t.b.fstat(other)).size, 2 * MIB);
    await fails('EOPNOTSUPP', t.a.fallocate(fd, FALLOC.PUNCH_HOLE, 0, 10));
    await fails('EINVAL', t.a.fallocate(fd, 0, 0, 0));
  },

  'copy_file_range copies within the volume': async (t) => {
    const [from, to] = [await t.a.open('from', NEW), await t.a.open('to', NEW)];
    await t.a.fill(from, 0, 2 * MIB, 5);
    let done = 0;
    while (done < 2 * MIB) {
      const copied = await t.a.copyFileRange(from, done, to, done, 2 * MIB - done);
      assert.ok(copied > 0);
      done += copied;
    }
    assert.equal(await t.b.check(await t.b.open('to', O.RDONLY), 0, 2 * MIB, 5), -1);
    assert.equal(await t.a.copyFileRange(from, 2 * MIB, to, 0, 100), 0);
    await fails('EINVAL', t.a.copyFileRange(from, 0, from, 10, 100));
  },

  'a shared mapping is seen on the other mount after msync': async (t) => {
    const fd = await t.a.open('f', NEW);
    await t.a.ftruncate(fd, 20_000);
    await t.a.mapWrite(fd, 5000, 'mapped');
    assert.equal(await t.b.pread(await t.b.open('f', O.RDONLY), 6, 5000), 'mapped');
    await t.a.mapWrite(fd, 5000, 'again!');
    assert.equal(await t.b.pread(await t.b.open('f', O.RDONLY), 6, 5000), 'again!');
  },

  'offsets beyond 4 GiB': async (t) => {
    const fd = await t.a.open('f', NEW);
    await t.a.pwrite(fd, 'far', 2 ** 33);
    assert.equal((await t.b.lstat('f')).size, 2 ** 33 + 3);
    assert.equal(await t.b.pread(await t.b.open('f', O.RDONLY), 10, 2 ** 33), 'far');
    assert.ok((await t.b.lstat('f')).blocks * 512 < MIB);
    await fails(['EFBIG', 'EINVAL', 'EOVERFLOW'], t.a.pwrite(fd, 'x', 2 ** 60));
  },

  'writes move mtime and ctime on both mounts': async (t) => {
    const fd = await t.a.open('f', NEW);
    await t.a.utimens('f', [5, 0], [5, 0]);
    await t.a.pwrite(fd, 'x', 0);
    const after = await t.b.lstat('f');
    assert.ok(BigInt(after.mtime) > 6_000_000_000n);
    await t.a.close(fd);
    await t.a.utimens('f', [7, 0], [7, 0]);
    assert.equal((await t.same('f')).mtime, '7000000000');
  },
};
