/** Bricks whose disks are full leave the set, and return when they have space: programs hear of it only where no majority has space. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Errno, type FsError } from '../../src/base/errno.js';
import { ROOT_GFID } from '../../src/base/ids.js';
import { Scene } from './scene.js';
import { SPACE_CALLS, type SimBrick } from './sim-brick.js';

/** Of 1,000,000 blocks of 4 KiB. */
const RESERVE = 0.01;
const TEN_MIB = 0.0026;

async function assertWholeAndEqual(scene: Scene): Promise<void> {
  await scene.inSync(3);
  await scene.pass(1000);
  const [first, ...others] = scene.cluster.bricks.map((brick) => brick.store.dump());
  for (const other of others) assert.equal(other, first);
}

/** The primary asks for the space every second. */
const ASKED_MS = 1500;

function grow(scene: Scene, text: string): Promise<unknown> {
  return scene.old.call('write', { gfid: scene.gfid, offset: 0, append: true, sync: false, killPriv: false, data: Buffer.from(text) });
}

void describe('a brick whose disk is full', () => {
  for (const who of ['member', 'primary'] as const) {
    void it(`leaves as ${who}, stays away while it is full, tells why, and returns when it has space`, async () => {
      const scene = await Scene.begin(41);
      const sick = scene[who]();
      sick.spare = RESERVE / 2;
      await scene.pass(ASKED_MS);
      await scene.settle(grow(scene, 'more'));
      await scene.settle(scene.other.call('mkdir', { parent: ROOT_GFID, name: 'made', mode: 0o755, uid: 0, gid: 0 }));
      assert.ok(!scene.cluster.view.inSync.includes(sick.id));
      await scene.pass(5000);
      const { epoch } = scene.cluster.view;
      await scene.pass(60_000);
      await scene.settle(grow(scene, 'more'));
      assert.equal(scene.cluster.view.epoch, epoch, 'it does not come and go');
      assert.deepEqual(scene.primary().replica?.status().heals.map(({ brick, state }) => [brick, state]), [[sick.id, 'full']]);
      const { blocksAvailable } = await scene.settle(scene.old.call('statfs', { gfid: scene.gfid }));
      assert.ok(blocksAvailable > 900_000, 'what it lacks is not lacking to the volume');
      sick.spare = 1;
      await assertWholeAndEqual(scene);
    });
  }

  void it('is not left out where too few others have space: programs are told', async () => {
    const scene = await Scene.begin(42);
    const full = [scene.primary(), scene.member()];
    for (const brick of full) brick.spare = 0;
    await scene.pass(ASKED_MS);
    await assert.rejects(scene.settle(grow(scene, 'more')), (error: FsError) => error.errno === Errno.ENOSPC);
    assert.equal(scene.cluster.view.inSync.length, 3);
    assert.equal((await scene.settle(scene.old.call('statfs', { gfid: scene.gfid }))).blocksAvailable, 0);
    for (const brick of full) brick.spare = 1;
    await scene.settle(grow(scene, 'more'));
    await assertWholeAndEqual(scene);
  });

  void it('is not left out where the others will be full soon too', async () => {
    const scene = await Scene.begin(43);
    for (const brick of scene.cluster.bricks) brick.spare = RESERVE + TEN_MIB;
    scene.member().spare = RESERVE;
    await scene.pass(ASKED_MS);
    await assert.rejects(scene.settle(grow(scene, 'more')), (error: FsError) => error.errno === Errno.ENOSPC);
    assert.equal(scene.cluster.view.inSync.length, 3);
    const again = scene.member();
    again.crash(false);
    await scene.inSync(2);
    again.start();
    await scene.inSync(3);
  });

  void it('is not written to without the primary, and leaves', async () => {
    const scene = await Scene.begin(45);
    const { old, cluster } = scene;
    await scene.writeDirectly();
    for (const brick of cluster.bricks) brick.spare = RESERVE + TEN_MIB;
    await scene.pass(ASKED_MS);
    const direct = old.volume.directWrites;
    for (let n = 0; n < 20; n++) await scene.settle(scene.write(old, `late ${n}`));
    assert.equal(old.volume.directWrites, direct);
    const sick = scene.member();
    for (const brick of cluster.bricks) brick.spare = brick === sick ? RESERVE : 1;
    await scene.pass(ASKED_MS);
    await scene.settle(grow(scene, 'more'));
    assert.ok(!cluster.view.inSync.includes(sick.id));
    sick.spare = 1;
    await assertWholeAndEqual(scene);
  });

  void it('loses what the others removed, and has space by that', async () => {
    const scene = await Scene.begin(44);
    const sick = scene.member();
    const { attr } = await scene.settle(scene.old.call('create', { parent: ROOT_GFID, name: 'large', mode: 0o644, exclusive: true, truncate: false, uid: 0, gid: 0 }));
    await scene.settle(scene.old.call('release', { gfid: attr.gfid }));
    const large = (brick: SimBrick): boolean => brick.store.describe(attr.gfid) !== undefined;
    Object.defineProperty(sick, 'spare', { get: () => (large(sick) ? 0 : 1) });
    await scene.pass(ASKED_MS);
    await scene.settle(grow(scene, 'more'));
    assert.ok(!scene.cluster.view.inSync.includes(sick.id));
    await scene.settle(scene.old.call('unlink', { parent: ROOT_GFID, name: 'large' }));
    await assertWholeAndEqual(scene);
    assert.ok(!large(sick));
  });

  void it('brings back no lock that was given up while it was full, when all bricks end soon after', async () => {
    const scene = await Scene.begin(46);
    const { cluster, old, other } = scene;
    await scene.settle(scene.lock(old, false));
    const full = scene.primary();
    full.fault = { errno: Errno.ENOSPC, calls: SPACE_CALLS, chance: 1 };
    await scene.settle(scene.unlock(old));
    await scene.settle(scene.lock(other, false));
    // The primary is the last to end, and keeps its role.
    const primaryLast = cluster.bricks.toSorted((a, b) => Number(a === full) - Number(b === full));
    for (const brick of primaryLast) brick.crash(false);
    full.mend();
    for (const brick of primaryLast) brick.start();
    await scene.inSync(3);
    await assert.rejects(scene.settle(scene.lock(old, false)), (error: FsError) => error.errno === Errno.EAGAIN);
    assert.equal(old.revocations + other.revocations, 0);
    await scene.settle(scene.unlock(other));
    await scene.settle(scene.lock(old, false));
  });
});
