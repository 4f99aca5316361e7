import assert from 'node:assert/strict';
import { readdirSync, readlinkSync, rmSync } from 'node:fs';
import { describe, it, test } from 'node:test';
import { ROOT_GFID } from '../../../src/base/ids.js';
import { LocalFiles } from '../../../src/brick/local-files.js';
import { initialiseBrick, openBrick } from '../../../src/brick/store/identity.js';
import type { BrickMeta } from '../../../src/replica/store.js';
import { LibcDisk } from '../../../src/platform/libc.js';
import { BRICK, disk, newDirectory, VOLUME } from './harness.js';

const GFID = 'c0'.repeat(16);

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

test('the files of a brick are read while its process serves it; another brick is refused', async () => {
  const path = newDirectory();
  initialiseBrick(disk, path, { volumeId: VOLUME, brickId: BRICK, bootId: 'boot' });
  const brick = openBrick(disk, path, VOLUME, BRICK);
  const stamp = { time: { sec: 1, nsec: 0 }, gfid: GFID, purge: false };
  brick.store.apply('create', { parent: ROOT_GFID, name: 'file', mode: 0o644, exclusive: true, truncate: false, uid: 0, gid: 0 }, stamp);
  const data = Buffer.alloc(300_000, 'gluon');
  brick.store.apply('write', { gfid: GFID, offset: 0, append: false, sync: false, killPriv: false, data }, stamp);

  const reasons: string[] = [];
  assert.equal(LocalFiles.open(new LibcDisk(), path, VOLUME, 'dd'.repeat(16), 'boot', (reason) => reasons.push(reason)), undefined);
  assert.equal(LocalFiles.open(new LibcDisk(), `${path}/none`, VOLUME, BRICK, 'boot', (reason) => reasons.push(reason)), undefined);
  assert.match(String(reasons[0]), /is brick \w+ of the volume, not d+/);
  assert.match(String(reasons[1]), /no such directory/);

  const files = LocalFiles.open(new LibcDisk(), path, VOLUME, BRICK, 'boot', (reason) => assert.fail(reason)) as LocalFiles;
  assert.deepEqual(Buffer.from((await files.read(GFID, 10, 100)) as Uint8Array), data.subarray(10, 110));
  assert.deepEqual(Buffer.from((await files.read(GFID, 0, 262_144)) as Uint8Array), data.subarray(0, 262_144));
  assert.equal(await files.read(GFID, 299_990, 20), undefined, 'less than its lease says');
  assert.equal(await files.read('ee'.repeat(16), 0, 1), undefined, 'no such file');
  files.close();
  assert.equal(files.read(GFID, 0, 1), undefined);
  brick.close();
  const open = readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return [];
    }
  });
  assert.deepEqual(open.filter((target) => target.startsWith(path)), [], 'nothing of the disk is open');
  rmSync(path, { recursive: true });
});
