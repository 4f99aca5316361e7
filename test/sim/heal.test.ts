/** A brick that is made equal to the others while it and its connections come and go. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Scene } from './scene.js';
import { STORE } from './sim-authority.js';

void describe('a brick that is made equal', () => {
  void it('gets nothing over a new connection that was read before the old one was lost', async () => {
    const scene = await Scene.begin(1);
    await scene.inSync(3);
    const { cluster, world, gfid } = scene;
    const [primary, member] = [scene.primary(), scene.member()];
    member.crash(false);
    await scene.inSync(2);
    await scene.settle(scene.write(scene.old, 'during'));
    // The disk takes its time over the first read for the brick that returns.
    const { store } = primary;
    const read = store.read.bind(store);
    let release: (() => void) | undefined;
    store.read = (...args) => {
      const data = read(...args);
      if (release !== undefined) return data;
      return new Promise((resolve) => (release = () => resolve(data)));
    };
    member.start();
    await scene.until(() => release !== undefined);
    for (const channel of [...cluster.network.channels]) if (channel.owner === primary && channel.remote === member.name) channel.reset();
    await world.run(() => cluster.view.inSync.length === 3, world.now + 3000);
    await scene.settle(scene.write(scene.old, 'after!'));
    release?.();
    await scene.inSync(3);
    await scene.pass(1000);
    for (const brick of cluster.bricks) assert.equal(Buffer.from(await scene.settle(Promise.resolve(brick.store.read(gfid, 0, 100)))).toString(), 'after!', brick.name);
  });

  void it('has every change that is acknowledged once it may be in sync, also when nobody told the primary that it is', async () => {
    const scene = await Scene.begin(2);
    await scene.inSync(3);
    const { cluster, world } = scene;
    const { authority } = cluster;
    const { cuts } = cluster.network;
    const [primary, member] = [scene.primary(), scene.member()];
    member.crash(false);
    await scene.inSync(2);
    await scene.settle(scene.write(scene.old, 'during'));
    // The primary asks for the view that admits it, and gets no answer.
    const change = authority.change.bind(authority);
    authority.change = (brick, epoch, what, alive) => {
      if (what.kind === 'admit') cuts.add(`${STORE}>${primary.name}`);
      return change(brick, epoch, what, alive);
    };
    member.start();
    await scene.inSync(3);
    cuts.add(`${primary.name}>${STORE}`).add(`${primary.name}>${member.name}`).add(`${member.name}>${primary.name}`);
    for (const channel of [...cluster.network.channels]) if (channel.owner === primary && channel.remote === member.name) channel.reset();
    let over = false;
    const written = scene.write(scene.old, 'after!').then(() => (over = true));
    await world.run(() => over, world.now + 1000);
    assert.equal(over, false, 'it was acknowledged without a brick that is in sync');
    primary.crash(false);
    cuts.clear();
    await scene.settle(written);
    for (const brick of cluster.bricks) if (brick.alive) assert.equal(Buffer.from(await brick.store.read(scene.gfid, 0, 100)).toString(), 'after!', brick.name);
  });
});
