/** Exclusive leases and reads of a local brick, in small scenarios. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { REGION_BYTES } from '../../src/fops/ops.js';
import { Scene } from './scene.js';
import type { SimBrick } from './sim-cluster.js';

/** The writer is the only one who has the file open, and has written until its writes went to all bricks. */
async function writing(seed: number): Promise<Scene> {
  const scene = await Scene.begin(seed);
  await scene.writeDirectly();
  return scene;
}

function members(scene: Scene): SimBrick[] {
  return scene.cluster.bricks.filter(({ id }) => id !== scene.cluster.view.primary);
}

function contents(scene: Scene): string[] {
  return scene.cluster.bricks.map((brick) => Buffer.from(brick.store.peek(scene.gfid, 0, 100) ?? []).toString());
}

void describe('an exclusive lease', () => {
  void it('lets its client write to all bricks; who reads then gets the last write, and it is over', async () => {
    const scene = await writing(1);
    await scene.settle(scene.write(scene.old, 'the last'));
    const direct = scene.old.volume.directWrites;
    assert.ok(direct > 1);
    assert.equal(await scene.content(), 'the last');
    await scene.settle(scene.other.call('open', { gfid: scene.gfid, truncate: false, killPriv: false }));
    await scene.settle(scene.write(scene.old, 'while two have it open'));
    assert.equal(scene.old.volume.directWrites, direct, 'the lease was recalled');
    assert.equal(await scene.content(), 'while two have it open');
  });

  void it('is ended by the bricks when its client is silent: they are equal, and what it sent before reaches nothing', async () => {
    for (let reached = 0; reached <= 3; reached++) {
      const scene = await writing(10 + reached);
      const { cluster, old, other } = scene;
      const before = await scene.settle(old.call('read', { gfid: scene.gfid, offset: 0, size: 100 }));
      // The write is on its way, and has come to so many bricks.
      for (const brick of cluster.bricks.slice(reached)) cluster.network.cuts.add(`${old.name}>${brick.name}`);
      const late = scene.write(old, 'on the way');
      late.catch(() => undefined);
      await scene.pass(20);
      scene.silence(old);
      const found = await scene.content();
      assert.ok(found === 'on the way' || found === Buffer.from(before.data).toString(), found);
      assert.equal(new Set(contents(scene)).size, 1, contents(scene).join(' | '));
      await scene.settle(scene.write(other, 'newer data'));
      for (const brick of cluster.bricks) cluster.network.cuts.delete(`${old.name}>${brick.name}`);
      scene.hear(old);
      if (found === 'on the way') {
        // It was seen, so it is over: asked for again it is answered, and not made again.
        await scene.settle(late.catch(() => undefined));
        assert.equal(await scene.content(), 'newer data', `${reached} bricks had it`);
      } else await scene.settle(late.catch(() => undefined));
      assert.equal(new Set(contents(scene)).size, 1, contents(scene).join(' | '));
    }
  });

  void it('answers no write that a brick refused before every brick has it', async () => {
    const scene = await writing(20);
    const [first] = members(scene) as [SimBrick, SimBrick];
    // Its clock says that the client's is far ahead.
    first.wallErrorMs = -3_600_000;
    await scene.settle(scene.write(scene.old, 'refused by one'));
    assert.deepEqual(new Set(contents(scene)), new Set(['refused by one']));
    scene.cluster.brick(scene.cluster.view.primary).crash(false);
    assert.equal(await scene.content(), 'refused by one');
  });

  void it('outlives no view: a brick that is lost takes nothing of what was answered with it', async () => {
    const scene = await writing(30);
    const [lost] = members(scene) as [SimBrick, SimBrick];
    const writes: Promise<unknown>[] = [];
    let answered = -1;
    for (let n = 0; n < 40; n++) {
      const write = scene.write(scene.old, `number ${String(n).padStart(3, '0')}`).then(() => (answered = Math.max(answered, n)));
      writes.push(write);
      await scene.pass(2);
      if (n === 20) lost.crash(false);
    }
    await scene.settle(Promise.all(writes));
    assert.equal(answered, 39);
    assert.equal(scene.cluster.view.inSync.length, 2);
    lost.start();
    await scene.inSync(3);
    assert.equal(new Set(contents(scene)).size, 1, contents(scene).join(' | '));
  });

  // The heal is interrupted at another point of it each time.
  for (let ms = 1; ms <= 6; ms++) {
    void it(`leaves nothing out at a brick whose heal was interrupted after ${ms} ms`, async () => {
      const scene = await Scene.begin(60 + ms);
      const { cluster, old, gfid } = scene;
      const away = scene.member();
      away.crash(false);
      await scene.inSync(2);
      await scene.settle(scene.write(old, 'while it was away'));
      away.start();
      await scene.until(() => cluster.view.catchingUp.includes(away.id));
      await scene.pass(ms);
      away.crash(false);
      await scene.until(() => !cluster.view.catchingUp.includes(away.id));
      await scene.writeDirectly();
      // In a region that nothing was written to before.
      await scene.settle(old.call('write', { gfid, offset: REGION_BYTES, append: false, sync: false, killPriv: false, data: Buffer.from('direct') }));
      away.start();
      await scene.inSync(3);
      await scene.pass(1000);
      const [first, ...others] = cluster.bricks.map((brick) => brick.store.dump());
      for (const dump of others) assert.equal(dump, first);
    });
  }
});

void describe('a read of the brick on this node', () => {
  void it('is answered without asking, and asks again after another client has written', async () => {
    const scene = await Scene.begin(40);
    const { other, cluster, gfid } = scene;
    cluster.directAfter = 0;
    await scene.settle(other.call('getattr', { gfid }));
    await scene.pass(300);
    const before = cluster.localReads;
    assert.equal(await scene.content(), 'before');
    assert.ok(cluster.localReads > before, 'read here');
    await scene.settle(scene.write(scene.old, 'after it'));
    assert.equal(await scene.content(), 'after it');
  });

  void it('is not answered here while a write of its own to the same bytes is under way', async () => {
    const scene = await Scene.begin(41);
    const { other, cluster, gfid } = scene;
    cluster.directAfter = 0;
    await scene.settle(other.call('getattr', { gfid }));
    await scene.pass(300);
    const write = scene.write(other, 'its own');
    const before = cluster.localReads;
    const read = other.call('read', { gfid, offset: 0, size: 100 });
    assert.equal(cluster.localReads, before, 'not read here');
    await scene.settle(Promise.all([write, read]));
    assert.equal(await scene.content(), 'its own');
  });
});
