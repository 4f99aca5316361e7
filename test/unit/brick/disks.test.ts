/**
 * What only a disk of its own can show: a full one, a read-only one, and the other supported filesystems. Needs root and loop devices;
 * filesystems whose tools are not installed are skipped, and said so.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Errno } from '../../../src/base/errno.js';
import { ROOT_GFID } from '../../../src/base/ids.js';
import { SEEK_DATA } from '../../../src/fops/ops.js';
import { amount } from '../../support/size.js';
import { errnoFrom, TestBrick } from './harness.js';

const MIB = 1 << 20;
const FILESYSTEMS: Record<string, { make: string[]; mib: number }> = {
  ext4: { make: ['mkfs.ext4', '-q', '-F'], mib: 64 },
  xfs: { make: ['mkfs.xfs', '-q', '-f'], mib: 320 },
  btrfs: { make: ['mkfs.btrfs', '-q', '-f'], mib: 256 },
};

function command(...words: string[]): boolean {
  return spawnSync(words[0] as string, words.slice(1), { timeout: 60_000 }).status === 0;
}

/** Runs a test with a brick on a small filesystem of its own. False when this machine cannot make one. */
async function onDisk(
  kind: string,
  test: (brick: TestBrick, mountPoint: string, image: string) => void | Promise<void>,
): Promise<boolean> {
  const { make, mib } = FILESYSTEMS[kind] as { make: string[]; mib: number };
  const base = mkdtempSync(join(tmpdir(), 'gluon-disk-'));
  const image = join(base, 'image');
  const mountPoint = join(base, 'mount');
  mkdirSync(mountPoint);
  writeFileSync(image, '');
  truncateSync(image, mib * MIB);
  try {
    if (!command(...make, image) || !command('mount', '-o', 'loop', image, mountPoint)) return false;
    const before = process.env['BRICK_TEST_DIR'];
    process.env['BRICK_TEST_DIR'] = mountPoint;
    const brick = new TestBrick();
    if (before === undefined) delete process.env['BRICK_TEST_DIR'];
    else process.env['BRICK_TEST_DIR'] = before;
    try {
      await test(brick, mountPoint, image);
    } finally {
      brick.remove();
      command('umount', mountPoint);
    }
    return true;
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
}

/** Writes until the disk says that it is full; the bytes that are there. */
function fill(brick: TestBrick, name: string): number {
  const { gfid } = brick.file(ROOT_GFID, name);
  const data = Buffer.alloc(MIB, 'f');
  for (let offset = 0; ; offset += MIB) {
    const before = brick.store.getattr(gfid);
    const errno = errnoFrom(() => brick.write(gfid, offset, data));
    if (errno === 0) continue;
    assert.equal(errno, Errno.ENOSPC);
    const after = brick.store.getattr(gfid);
    assert.deepEqual([after.size, after.mtime], [before.size, before.mtime], 'a write that failed did not happen');
    return after.size;
  }
}

for (const kind of Object.keys(FILESYSTEMS)) {
  describe(`a brick on ${kind}`, () => {
    it('that is full says ENOSPC, keeps what it has, and serves again when there is room', async (t) => {
      const ran = await onDisk(kind, async (brick) => {
        const small = brick.file(ROOT_GFID, 'small');
        brick.write(small.gfid, 0, 'precious');
        const directory = brick.directory(ROOT_GFID, 'd');
        await brick.store.sync();
        const size = fill(brick, 'big');
        assert.ok(size > 10 * MIB);
        // Until nothing can be made any more, or many things were.
        let made = 0;
        let refusal = 0;
        while (refusal === 0 && made < amount(4000, 20_000)) {
          refusal = errnoFrom(() => brick.file(directory.gfid, `${'n'.repeat(200)}${made}`));
          if (refusal === 0) made++;
        }
        if (refusal !== 0) assert.equal(refusal, Errno.ENOSPC);
        assert.equal(brick.store.readdir(directory.gfid, '', 4096, true).entries.length, Math.min(made, 4096));
        assert.equal(await brick.read(small.gfid), 'precious');
        const space = brick.store.statfs();
        assert.ok(space.blocksAvailable * space.blockSize < 16 * MIB);
        brick.apply('unlink', { parent: ROOT_GFID, name: 'big' });
        await brick.store.sync();
        brick.reopen();
        assert.equal(await brick.read(brick.store.lookup(ROOT_GFID, 'small').gfid), 'precious');
        brick.write(small.gfid, MIB, Buffer.alloc(MIB, 'x'));
        await brick.store.fsync(small.gfid, false);
        assert.equal(brick.store.lseek(small.gfid, 8192, SEEK_DATA), MIB);
        assert.deepEqual(brick.names(ROOT_GFID), ['d', 'small']);
      });
      if (!ran) t.skip(`no ${kind} on a loop device here`);
    });

    it('that lost power has what was synced, with the names that lead to it', async (t) => {
      const ran = await onDisk(kind, async (brick, mountPoint, image) => {
        const a = brick.directory(ROOT_GFID, 'a');
        await brick.store.sync();
        const b = brick.directory(a.gfid, 'b');
        const f = brick.file(b.gfid, 'f', 0o640, 5, 6);
        brick.write(f.gfid, 0, 'first');
        await brick.store.fsync(f.gfid, false);
        brick.rename(ROOT_GFID, 'a', ROOT_GFID, 'moved');
        brick.rename(b.gfid, 'f', b.gfid, 'g');
        brick.apply('link', { gfid: f.gfid, newParent: ROOT_GFID, newName: 'h' });
        brick.write(f.gfid, 0, 'second');
        // fdatasync, too, must not leave out the new names.
        await brick.store.fsync(f.gfid, true);
        const d = brick.directory(b.gfid, 'd');
        await brick.store.fsync(b.gfid, false);
        // A file that did not change must be found where its directory went.
        brick.rename(b.gfid, 'd', ROOT_GFID, 'd2');
        brick.rename(ROOT_GFID, 'moved', d.gfid, 'again');
        await brick.store.fsync(f.gfid, true);
        const expected = brick.store.getattr(f.gfid);
        // What the disk holds at this moment is what a power cut leaves of it.
        copyFileSync(image, `${image}.cut`);
        brick.brick.close();
        assert.ok(command('umount', mountPoint) && command('mount', '-o', 'loop', `${image}.cut`, mountPoint));
        brick.brick = brick.open();
        const found = brick.store.lookup(b.gfid, 'g');
        assert.deepEqual([found.gfid, found.uid, found.mode, found.nlink], [f.gfid, 5, expected.mode, 2]);
        assert.equal(await brick.read(f.gfid), 'second');
        assert.equal(brick.store.lookup(ROOT_GFID, 'h').gfid, f.gfid);
        assert.equal(brick.store.lookup(ROOT_GFID, 'd2').gfid, d.gfid);
        assert.equal(brick.store.lookup(d.gfid, 'again').gfid, a.gfid);
        assert.equal(brick.store.lookup(a.gfid, 'b').gfid, b.gfid);
        assert.deepEqual(brick.store.directoryPlace(b.gfid), { parent: a.gfid, name: 'b' });
      });
      if (!ran) t.skip(`no ${kind} on a loop device here`);
    });

    it('that became read-only still reads, and refuses changes', async (t) => {
      const ran = await onDisk(kind, async (brick, mountPoint) => {
        const f = brick.file(ROOT_GFID, 'f');
        brick.write(f.gfid, 0, 'data');
        await brick.store.sync();
        brick.store.dropCaches();
        assert.ok(command('mount', '-o', 'remount,ro', mountPoint));
        assert.equal(await brick.read(f.gfid), 'data');
        assert.equal(brick.store.lookup(ROOT_GFID, 'f').size, 4);
        assert.equal(
          errnoFrom(() => brick.file(ROOT_GFID, 'g')),
          Errno.EROFS,
        );
        assert.equal(
          errnoFrom(() => brick.directory(ROOT_GFID, 'g')),
          Errno.EROFS,
        );
        assert.equal(
          errnoFrom(() => brick.write(f.gfid, 0, 'x')),
          Errno.EROFS,
        );
        assert.equal(
          errnoFrom(() => brick.apply('unlink', { parent: ROOT_GFID, name: 'f' })),
          Errno.EROFS,
        );
        assert.equal(
          errnoFrom(() => brick.rename(ROOT_GFID, 'f', ROOT_GFID, 'h')),
          Errno.EROFS,
        );
        assert.deepEqual(brick.names(ROOT_GFID), ['f']);
        command('mount', '-o', 'remount,rw', mountPoint);
      });
      if (!ran) t.skip(`no ${kind} on a loop device here`);
    });
  });
}
