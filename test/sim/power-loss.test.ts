/** All bricks lose their power at once, and with it what nobody synced. A client that lives on must not believe that it is there. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Errno, FsError } from '../../src/base/errno.js';
import { ROOT_GFID } from '../../src/base/ids.js';
import { Scene } from './scene.js';
import type { SimClient } from './sim-cluster.js';

const SEEDS = [21, 22, 23, 24, 25, 26, 27, 28, 29, 30];

function sync(scene: Scene, client: SimClient, gfid = scene.gfid): Promise<number> {
  return scene.settle(client.call('fsync', { gfid, dataOnly: false })).then(
    () => 0,
    (error: unknown) => {
      if (!(error instanceof FsError)) throw error;
      return error.errno;
    },
  );
}

/** What is on its way to and from the client does not arrive. */
function cutOff(scene: Scene, client: SimClient): void {
  scene.silence(client);
  for (const channel of [...scene.cluster.network.channels]) if (channel.owner === client) channel.reset();
}

function unless(errno: number): (error: unknown) => void {
  return (error) => {
    if (!(error instanceof FsError) || error.errno !== errno) throw error;
  };
}

async function loseAllPower(scene: Scene): Promise<void> {
  const { cluster } = scene;
  for (const brick of cluster.bricks) brick.crash(true);
  await scene.pass(20);
  for (const brick of cluster.bricks) brick.start();
  await scene.inSync(3);
}

void describe('a loss of all power', () => {
  for (const seed of SEEDS) {
    void it(`is an error of the fsync that comes after it, for who wrote before it, seed ${seed}`, async () => {
      const scene = await Scene.begin(seed);
      const { old, other } = scene;
      assert.equal(await sync(scene, old), 0);
      assert.equal(await sync(scene, old, ROOT_GFID), 0);
      await scene.settle(scene.write(old, 'unsynced'));
      await loseAllPower(scene);
      assert.equal(await sync(scene, other), 0, 'it wrote nothing');
      assert.equal(await sync(scene, old), Errno.EIO, `the file holds '${await scene.content()}'`);
      assert.equal(await sync(scene, old), 0, 'told once');
      await scene.settle(scene.write(old, 'after it'));
      assert.equal(await sync(scene, old), 0);
      assert.equal(await sync(scene, old, ROOT_GFID), 0, 'its names were synced before');
      await loseAllPower(scene);
      assert.equal(await sync(scene, old), 0);
      assert.equal(await scene.content(), 'after it');
    });

    void it(`is an error of the fsync of a directory whose names were changed before it, seed ${seed}`, async () => {
      const scene = await Scene.begin(seed);
      const { old, gfid } = scene;
      assert.equal(await sync(scene, old), 0);
      assert.equal(await sync(scene, old, ROOT_GFID), 0);
      await scene.settle(old.call('rename', { parent: ROOT_GFID, name: 'image', newParent: ROOT_GFID, newName: 'renamed', flags: 0 }));
      await loseAllPower(scene);
      assert.equal(await sync(scene, old, ROOT_GFID), Errno.EIO);
      assert.equal(await sync(scene, old, ROOT_GFID), 0);
      assert.equal(await sync(scene, old, gfid), 0);
    });

    for (const sync of [false, true]) {
      void it(`undoes no write that is answered after it, ${sync ? 'synchronous' : 'plain'}, seed ${seed}`, async () => {
        const scene = await Scene.begin(seed);
        const { old, gfid, cluster } = scene;
        const write = (offset: number, text: string): Promise<unknown> => old.call('write', { gfid, offset, append: false, sync, killPriv: false, data: Buffer.from(text) });
        await scene.settle(old.call('fsync', { gfid, dataOnly: false }));
        // Its answers do not arrive; what it asks for does.
        cluster.network.cuts.add('*>old');
        const written = Promise.all([write(0, 'BEF'), write(6, ' end')]);
        await scene.until(() => cluster.bricks.every((brick) => brick.store.getattr(gfid).size === 'before end'.length));
        cutOff(scene, old);
        await loseAllPower(scene);
        cluster.network.cuts.clear();
        await scene.settle(written);
        assert.equal(await scene.content(), 'BEFore end');
        if (!sync) await scene.settle(old.call('fsync', { gfid, dataOnly: false }));
        for (const brick of cluster.bricks) brick.crash(true);
        for (const brick of cluster.bricks) brick.start();
        assert.equal(await scene.content(), 'BEFore end');
      });
    }

    void it(`undoes no name that is answered after it, seed ${seed}`, async () => {
      const scene = await Scene.begin(seed);
      const { old, other, cluster } = scene;
      await scene.settle(other.call('fsync', { gfid: ROOT_GFID, dataOnly: false }));
      cluster.network.cuts.add('*>old');
      const names = ['one', 'two', 'three', 'four'];
      const made = names.map((name) => old.call('mkdir', { parent: ROOT_GFID, name, mode: 0o755, uid: 0, gid: 0 }));
      const removed = old.call('unlink', { parent: ROOT_GFID, name: 'image' });
      await scene.until(() => cluster.bricks.every(({ store }) => names.every((name) => store.child(ROOT_GFID, name) !== undefined) && store.child(ROOT_GFID, 'image') === undefined));
      cutOff(scene, old);
      await loseAllPower(scene);
      cluster.network.cuts.clear();
      // The end of the journal may be lost too, and what was made be there: then it is made once more.
      for (const one of made) await scene.settle(one.catch(unless(Errno.EEXIST)));
      await scene.settle(removed.catch(unless(Errno.ENOENT)));
      for (const name of names) await scene.settle(other.call('lookup', { parent: ROOT_GFID, name }));
      await assert.rejects(scene.settle(other.call('lookup', { parent: ROOT_GFID, name: 'image' })), (error) => error instanceof FsError && error.errno === Errno.ENOENT);
    });
  }
});
