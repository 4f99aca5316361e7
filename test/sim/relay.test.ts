/** A client that cannot reach the primary, but other bricks that can. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Scene } from './scene.js';

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
