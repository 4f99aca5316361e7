import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { describe, it } from 'node:test';
import { LocalFiles } from '../../../src/brick/local-files.js';
import { initialiseBrick, openBrick } from '../../../src/brick/store/identity.js';
import type { BrickMeta } from '../../../src/replica/store.js';
import { BRICK, disk, newDirectory, VOLUME } from './harness.js';

/** True when a client may read the files of a brick with this meta itself. */
function opens(bootId: string, change: Partial<BrickMeta> = {}): boolean {
  const path = newDirectory();
  try {
    initialiseBrick(disk, path, { volumeId: VOLUME, brickId: BRICK, bootId: 'boot' });
    const brick = openBrick(disk, path, VOLUME, BRICK);
    brick.journal.writeMeta({ ...brick.journal.readMeta(), ...change });
    brick.close();
    const files = LocalFiles.open(disk, path, VOLUME, BRICK, bootId, () => undefined);
    files?.close();
    return files !== undefined;
  } finally {
    rmSync(path, { recursive: true, force: true });
  }
}

void describe('the files of a brick on this node', () => {
  void it('are read by clients while its copy is whole', () => assert.ok(opens('boot')));

  void it('are not read where the machine was started since: the copy may lack what was not synced', () => assert.ok(!opens('another boot')));

  void it('are not read while the copy is made equal, or holds half of a write', () => {
    assert.ok(!opens('boot', { incomplete: true }));
    assert.ok(!opens('boot', { unsettled: true }));
    assert.ok(!opens('boot', { halfWritten: true }));
  });

  void it('are not read of another brick', () => {
    const path = newDirectory();
    initialiseBrick(disk, path, { volumeId: VOLUME, brickId: 'c'.repeat(32), bootId: 'boot' });
    assert.equal(LocalFiles.open(disk, path, VOLUME, BRICK, 'boot', () => undefined), undefined);
    rmSync(path, { recursive: true, force: true });
  });
});
