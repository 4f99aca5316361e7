import assert from 'node:assert/strict';
import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LibcDisk } from '../../../src/platform/libc.js';

const MIB = 1 << 20;

/** Writes 20 MiB as one stream and reads it back. */
function writeAndRead(parent: string): void {
  const directory = mkdtempSync(join(parent, 'gluon-stream-'));
  const fd = openSync(join(directory, 'file'), 'w+');
  try {
    const disk = new LibcDisk();
    for (let i = 0; i < 20; i++) assert.equal(disk.writeStream(fd, Buffer.alloc(MIB, i), MIB, i * MIB), MIB);
    assert.equal(fstatSync(fd).size, 20 * MIB);
    const back = Buffer.alloc(MIB);
    for (let i = 0; i < 20; i++) {
      readSync(fd, back, 0, MIB, i * MIB);
      assert.ok(back.equals(Buffer.alloc(MIB, i)));
    }
  } finally {
    closeSync(fd);
    rmSync(directory, { recursive: true });
  }
}

describe('a stream of writes', () => {
  it('arrives whole', () => writeAndRead(tmpdir()));

  it('arrives whole where the file system knows no uncached writes', () => writeAndRead('/dev/shm'));
});
