/** A client that cannot reach the primary, but other bricks that can. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Scene } from './scene.js';
import { STORE } from './sim-authority.js';

void describe('a client that is cut off from the primary only', () => {
  void it('goes on through another brick, keeps its session, and returns to the direct way when there is one', async () => {
    const scene = await Scene.begin(50);
    const { cluster, old } = scene;
    const primary = cluster.brick(cluster.view.primary).name;
    const { session } = old.volume;
    cluster.network.cuts.add(`${old.name}>${primary}`).add(`${primary}>${old.name}`);
    const began = scene.world.now;
    await scene.settle(scene.write(old, 'by a detour'));
    const took_ms = scene.world.now - began;
    assert.ok(took_ms < cluster.pingTimeoutMs, `${took_ms} ms`);
    assert.equal(await scene.content(), 'by a detour');
    for (let n = 0; n < 50; n++) await scene.settle(scene.write(old, `number ${n} here`), 1000);
    assert.equal(old.volume.session, session);
    assert.equal(old.revocations, 0);
    cluster.network.cuts.clear();
    await scene.pass(15_000);
    cluster.network.cuts.add(`${old.name}>${cluster.bricks.find(({ name }) => name !== primary)?.name}`);
    await scene.settle(scene.write(old, 'directly here.'), 1000);
    assert.equal(await scene.content(), 'directly here.');
  });
});

void describe('a client that is told no views, nor is the brick that was primary', () => {
  void it('hears from the other bricks who is primary, before anybody takes it for lost', async () => {
    const scene = await Scene.begin(52);
    const { cluster, old, world } = scene;
    const before = scene.primary();
    for (const { name } of [before, old]) cluster.network.cuts.add(`${name}>${STORE}`).add(`${STORE}>${name}`);
    await scene.until(() => cluster.view.primary !== before.id);
    const began = world.now;
    await scene.settle(scene.write(old, 'by hearsay'));
    assert.ok(world.now - began < cluster.pingTimeoutMs, `${world.now - began} ms`);
    assert.equal(old.revocations, 0);
    assert.equal(await scene.content(), 'by hearsay');
  });

  void it('hears it also where its own requests are answered all the time, by being sent away', async () => {
    const scene = await Scene.begin(54);
    const { cluster, old, world } = scene;
    const before = scene.primary();
    let writes = 0;
    let over = false;
    const write = async (): Promise<void> => {
      while (!over) {
        await scene.write(old, `number ${writes++ % 10}`);
        await old.call('getattr', { gfid: scene.gfid });
      }
    };
    const writing = write();
    await scene.pass(500);
    for (const { name } of [before, old]) cluster.network.cuts.add(`${name}>${STORE}`).add(`${STORE}>${name}`);
    await scene.until(() => cluster.view.primary !== before.id);
    const written = writes;
    const changed = world.now;
    await scene.until(() => writes > written + 2);
    over = true;
    await scene.settle(writing);
    assert.ok(world.now - changed < cluster.pingTimeoutMs, `${world.now - changed} ms`);
    assert.equal(old.revocations, 0);
  });
});

void describe('a client whose large messages to the primary vanish on the way', () => {
  const BYTES_MAX = 1000;
  const block = (n: number): string => `${n} `.padEnd(4096, '.');

  void it('goes on through another brick, and is held up for less than the ping timeout when the direct way is tried again', async () => {
    const scene = await Scene.begin(51);
    const { cluster, old, world } = scene;
    const primary = cluster.brick(cluster.view.primary).name;
    for (const path of [`${old.name}>${primary}`, `${primary}>${old.name}`]) cluster.network.blackHoles.set(path, BYTES_MAX);
    const { session } = old.volume;
    const end = world.now + 100_000;
    const pauses: number[] = [];
    for (let n = 0; world.now < end; n++) {
      const began = world.now;
      await scene.settle(scene.write(old, block(n)), cluster.pingTimeoutMs);
      if (world.now - began > 1000) pauses.push(world.now - began);
      await scene.pass(100);
    }
    assert.ok(pauses.length > 0 && pauses.length <= 5, `${pauses.length} pauses within 100 s`);
    assert.equal(old.volume.session, session);
    assert.equal(old.revocations, 0);
  });

  void it('goes on through a brick of another node when its own brick is on the same bad path', async () => {
    const scene = await Scene.begin(53);
    const { cluster, other: client, world } = scene;
    const primary = cluster.brick(cluster.view.primary).name;
    const home = cluster.brick(client.home).name;
    assert.notEqual(home, primary);
    for (const near of [client.name, home]) for (const path of [`${near}>${primary}`, `${primary}>${near}`]) cluster.network.blackHoles.set(path, BYTES_MAX);
    const began = world.now;
    await scene.settle(scene.write(client, block(1)));
    assert.ok(world.now - began < cluster.pingTimeoutMs, `${world.now - began} ms`);
    assert.equal(client.revocations, 0);
  });

  void it('returns to the direct way when it is good', async () => {
    const scene = await Scene.begin(52);
    const { cluster, old } = scene;
    const primary = cluster.brick(cluster.view.primary).name;
    cluster.network.blackHoles.set(`${old.name}>${primary}`, BYTES_MAX);
    await scene.settle(scene.write(old, block(1)), cluster.pingTimeoutMs);
    cluster.network.blackHoles.clear();
    await scene.pass(15_000);
    for (const brick of cluster.bricks) if (brick.name !== primary) cluster.network.cuts.add(`${old.name}>${brick.name}`);
    await scene.settle(scene.write(old, 'directly here.'), 1000);
    assert.equal((await scene.content()).slice(0, 14), 'directly here.');
  });
});
