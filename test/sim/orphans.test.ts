/** A file that lost its last name stays while somebody has it open, whatever becomes of the primary, and goes everywhere when nobody has. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ROOT_GFID } from '../../src/base/ids.js';
import { Scene } from './scene.js';
import { STORE } from './sim-authority.js';

/** Longer than a new primary waits for all to say what they have open; shorter than it waits for a silent one. */
const LONG_MS = 25_000;
/** The silent one is not waited for any more. */
const TOO_LONG_MS = 45_000;

/** The old client alone has the file open, and it has no name any more. */
async function unlinked(seed: number): Promise<Scene> {
  const scene = await Scene.begin(seed);
  await scene.inSync(3);
  await scene.settle(scene.old.call('unlink', { parent: ROOT_GFID, name: 'image' }));
  await scene.settle(scene.other.call('release', { gfid: scene.gfid }));
  // Every brick hears that all of this is on every brick.
  await scene.settle(scene.other.call('mkdir', { parent: ROOT_GFID, name: 'later', mode: 0o755, uid: 0, gid: 0 }));
  await scene.pass(1000);
  return scene;
}

function kept(scene: Scene): string[] {
  return scene.cluster.bricks.filter((brick) => brick.store.orphans().length > 0).map((brick) => brick.name);
}

void describe('a file without a name', () => {
  void it('stays for a client that was silent when the primary died, and goes when that closes it', async () => {
    const scene = await unlinked(1);
    scene.silence(scene.old);
    const gone = scene.primary();
    gone.crash(false);
    await scene.until(() => scene.cluster.view.primary !== gone.id);
    gone.start();
    await scene.inSync(3);
    await scene.pass(LONG_MS);
    scene.hear(scene.old);
    const { data } = await scene.settle(scene.old.call('read', { gfid: scene.gfid, offset: 0, size: 100 }));
    assert.equal(Buffer.from(data).toString(), 'before');
    await scene.settle(scene.old.call('release', { gfid: scene.gfid }));
    await scene.until(() => kept(scene).length === 0);
  });

  void it('does not wait for ever for a client that died with the primary', async () => {
    const scene = await unlinked(4);
    scene.old.crash();
    const gone = scene.primary();
    gone.crash(false);
    await scene.until(() => scene.cluster.view.primary !== gone.id);
    gone.start();
    await scene.inSync(3);
    const { attr } = await scene.settle(scene.other.call('create', { parent: ROOT_GFID, name: 'short', mode: 0o644, exclusive: true, truncate: false, uid: 0, gid: 0 }));
    await scene.settle(scene.other.call('release', { gfid: attr.gfid }));
    await scene.settle(scene.other.call('unlink', { parent: ROOT_GFID, name: 'short' }));
    await scene.pass(LONG_MS);
    assert.equal(kept(scene).length, 3);
    await scene.pass(TOO_LONG_MS - LONG_MS);
    assert.deepEqual(scene.primary().store.orphans(), []);
    await scene.until(() => kept(scene).length === 0);
  });

  void it('is on all bricks or on none when a primary that removed it could not tell the others', async () => {
    const scene = await unlinked(2);
    const before = scene.primary();
    const others = scene.cluster.bricks.filter((brick) => brick !== before);
    const { cuts } = scene.cluster.network;
    for (const { name } of others) cuts.add(`${before.name}>${name}`);
    await scene.settle(scene.old.call('release', { gfid: scene.gfid }));
    await scene.until(() => before.store.orphans().length === 0);
    assert.deepEqual(kept(scene), others.map(({ name }) => name));
    // It is stopped where it hears nothing of its loss of the role, and is a member that goes on when the next primary looks for it.
    before.stopped = true;
    for (const channel of scene.cluster.network.channels) if (channel.owner === before || channel.other.owner === before) channel.reset();
    cuts.clear();
    await scene.until(() => scene.cluster.view.primary !== before.id);
    before.stopped = false;
    await scene.until(() => scene.primary().replica?.serving === true);
    assert.equal(kept(scene).length % scene.cluster.bricks.length, 0, kept(scene).join());
    await scene.until(() => kept(scene).length === 0);
  });

  void it('is not removed by a primary whose serving lease is over', async () => {
    const scene = await unlinked(3);
    const { cuts } = scene.cluster.network;
    cuts.add(`*>${STORE}`).add(`${STORE}>*`);
    await scene.pass(LONG_MS);
    const closed = scene.old.call('release', { gfid: scene.gfid });
    await scene.pass(1000);
    assert.equal(kept(scene).length, 3);
    cuts.clear();
    await scene.settle(closed);
    await scene.until(() => kept(scene).length === 0);
  });
});
