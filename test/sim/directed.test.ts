import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ROOT_GFID } from '../../src/base/ids.js';
import { SimClient, SimCluster, type SimBrick } from './sim-cluster.js';
import { World } from './world.js';

async function formed(seed: number): Promise<{ world: World; cluster: SimCluster; client: SimClient }> {
  const world = new World(seed);
  const cluster = new SimCluster(world, 3);
  cluster.start();
  const tend = (): void => {
    cluster.tend();
    world.at(100, tend);
  };
  tend();
  const client = new SimClient(cluster, 'client');
  assert.ok(await settles(world, client.call('mkdir', { parent: ROOT_GFID, name: 'd', mode: 0o755, uid: 0, gid: 0 })));
  return { world, cluster, client };
}

/** True when the promise settles within a minute of virtual time. */
async function settles(world: World, work: Promise<unknown>): Promise<boolean> {
  let over = false;
  void work.finally(() => (over = true));
  return await world.run(() => over, world.now + 60_000);
}

function member(cluster: SimCluster, index: number): SimBrick {
  return cluster.brick(cluster.view.inSync[index] as string);
}

void describe('a replica set', () => {
  void it('serves again from one of its last two members and the brick that was absent', async () => {
    const { world, cluster, client } = await formed(1);
    const absent = cluster.bricks.find((brick) => brick.id !== cluster.view.primary) as SimBrick;
    absent.crash(false);
    await world.run(() => cluster.view.inSync.length === 2, world.now + 10_000);
    assert.ok(await settles(world, client.call('mkdir', { parent: ROOT_GFID, name: 'without', mode: 0o755, uid: 0, gid: 0 })));
    const first = member(cluster, 0);
    const second = member(cluster, 1);
    first.crash(false);
    second.crash(false);
    await world.run(() => false, world.now + 2000);
    first.start();
    absent.start();
    assert.ok(await settles(world, client.call('lookup', { parent: ROOT_GFID, name: 'without' })), JSON.stringify(cluster.view));
    assert.ok(cluster.view.inSync.includes(absent.id) && !cluster.view.inSync.includes(second.id));
  });

  void it('waits where only a brick is left that missed changes', async () => {
    const { world, cluster, client } = await formed(2);
    const absent = cluster.bricks.find((brick) => brick.id !== cluster.view.primary) as SimBrick;
    absent.crash(false);
    await world.run(() => cluster.view.inSync.length === 2, world.now + 10_000);
    const gone = [member(cluster, 0), member(cluster, 1)];
    for (const brick of gone) brick.crash(false);
    absent.start();
    const waiting = client.call('mkdir', { parent: ROOT_GFID, name: 'later', mode: 0o755, uid: 0, gid: 0 });
    assert.equal(await settles(world, waiting), false);
    for (const brick of gone) brick.start();
    assert.ok(await settles(world, waiting));
  });
});
