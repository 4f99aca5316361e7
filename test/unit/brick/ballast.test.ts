import assert from 'node:assert/strict';
import { existsSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Errno } from '../../../src/base/errno.js';
import { initialiseBrick, openBrick } from '../../../src/brick/store/identity.js';
import { LibcDisk } from '../../../src/platform/libc.js';
import { BRICK, disk, newDirectory, VOLUME } from './harness.js';

/** A disk without a free block, but for what the ballast holds. */
class FullDisk extends LibcDisk {
  full = false;
  readonly #ballast: string;

  constructor(path: string) {
    super();
    this.#ballast = join(path, '.gluon', 'ballast');
  }

  override write(fd: number, data: Uint8Array, size: number, offset: number): number {
    return this.full && existsSync(this.#ballast) ? -Errno.ENOSPC : super.write(fd, data, size, offset);
  }

  override append(fd: number, data: Uint8Array): number {
    return this.full && existsSync(this.#ballast) ? -Errno.ENOSPC : super.append(fd, data);
  }
}

test('a brick whose disk is full to the last block can still promise an epoch and note a key', () => {
  const path = newDirectory();
  try {
    initialiseBrick(disk, path, { volumeId: VOLUME, brickId: BRICK, bootId: 'boot' });
    const mine = new FullDisk(path);
    const brick = openBrick(mine, path, VOLUME, BRICK);
    const ballast = join(path, '.gluon', 'ballast');
    assert.ok(statSync(ballast).blocks * 512 >= 2 << 20, 'its blocks are taken');
    mine.full = true;
    brick.journal.writeMeta({ ...brick.journal.readMeta(), sealedEpoch: 7 });
    assert.equal(brick.journal.readMeta().sealedEpoch, 7);
    assert.ok(existsSync(ballast), 'there is room again: it is taken again');
    brick.journal.append(0, Buffer.from('record'));
    assert.ok(!existsSync(ballast));
    mine.full = false;
    brick.journal.writeMeta({ ...brick.journal.readMeta(), sealedEpoch: 8 });
    assert.ok(existsSync(ballast));
    brick.close();
  } finally {
    rmSync(path, { recursive: true, force: true });
  }
});
