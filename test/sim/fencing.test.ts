/** A client that was stopped or cut off cannot change anything after others went on without it (G5); one that nobody missed goes on. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Errno, LostError, type FsError } from '../../src/base/errno.js';
import { ROOT_GFID } from '../../src/base/ids.js';
import { Scene } from './scene.js';
import { SimClient } from './sim-cluster.js';

/** As the simulated bricks have it. */
const PING_TIMEOUT_MS = 10_000;
const SILENT_MS = PING_TIMEOUT_MS + 2000;

/** The late write fails without a definite answer, the later one as the first of a new session; nothing old is seen. */
async function assertFenced(scene: Scene, late: Promise<unknown>): Promise<void> {
  await assert.rejects(scene.settle(late), LostError);
  assert.equal(scene.old.revocations, 1);
  assert.equal(await scene.content(), 'after!');
  for (const brick of scene.cluster.bricks.filter((one) => one.alive)) {
    assert.equal(Buffer.from(await scene.settle(Promise.resolve(brick.store.read(scene.gfid, 0, 100)))).toString(), 'after!', `brick ${brick.name}`);
  }
}

void describe('fencing', () => {
  void it('a client that was silent cannot change what another changed meanwhile', async () => {
    const scene = await Scene.begin(1);
    scene.silence(scene.old);
    const late = scene.write(scene.old, 'stale!');
    await scene.pass(SILENT_MS);
    await scene.settle(scene.write(scene.other, 'after!'));
    scene.hear(scene.old);
    await assertFenced(scene, late);
    // A new session of the same client is like any other.
    await scene.settle(scene.old.call('mkdir', { parent: ROOT_GFID, name: 'new', mode: 0o755, uid: 0, gid: 0 }));
  });

  void it('nor what another read meanwhile', async () => {
    const scene = await Scene.begin(2);
    scene.silence(scene.old);
    const late = scene.write(scene.old, 'stale!');
    await scene.pass(SILENT_MS);
    assert.equal(await scene.content(), 'before');
    scene.hear(scene.old);
    await assert.rejects(scene.settle(late), LostError);
    assert.equal(await scene.content(), 'before');
  });

  void it('one that nobody missed goes on as if nothing had been', async () => {
    const scene = await Scene.begin(3);
    scene.silence(scene.old);
    const late = scene.write(scene.old, 'later!');
    await scene.pass(3 * SILENT_MS);
    await scene.settle(scene.other.call('mkdir', { parent: ROOT_GFID, name: 'elsewhere', mode: 0o755, uid: 0, gid: 0 }));
    scene.hear(scene.old);
    await scene.settle(late);
    assert.equal(scene.old.revocations, 0);
    assert.equal(await scene.content(), 'later!');
    // It is heard again: another one's write does not cost it the session.
    await scene.settle(scene.write(scene.other, 'after!'));
    await scene.settle(scene.write(scene.old, 'laterr'));
    assert.equal(scene.old.revocations, 0);
  });

  void it('holds on a brick that was absent at the revocation, when it is primary', async () => {
    const scene = await Scene.begin(4);
    const absent = scene.member();
    absent.crash(false);
    await scene.inSync(2);
    scene.silence(scene.old);
    const late = scene.write(scene.old, 'stale!');
    await scene.pass(SILENT_MS);
    await scene.settle(scene.write(scene.other, 'after!'));
    absent.start();
    await scene.inSync(3);
    await scene.until(() => absent.replica?.status().continuous === true);
    for (const brick of scene.cluster.bricks.filter((one) => one !== absent)) brick.crash(false);
    await scene.pass(2000);
    for (const brick of scene.cluster.bricks.filter((one) => one !== absent)) brick.start();
    await scene.until(() => scene.cluster.view.primary === absent.id && absent.replica?.serving === true);
    scene.hear(scene.old);
    await assertFenced(scene, late);
  });

  for (const when of ['before', 'after'] as const) {
    void it(`holds at a new primary that came ${when} the other client's write`, async () => {
      const scene = await Scene.begin(5);
      scene.silence(scene.old);
      const late = scene.write(scene.old, 'stale!');
      await scene.pass(SILENT_MS);
      const before = scene.primary();
      if (when === 'before') before.crash(false);
      await scene.settle(scene.write(scene.other, 'after!'));
      if (when === 'after') before.crash(false);
      await scene.until(() => scene.primary() !== before && scene.primary().replica?.serving === true);
      scene.hear(scene.old);
      await assertFenced(scene, late);
    });
  }

  for (const power of [false, true]) {
    void it(`holds after ${power ? 'a power cut' : 'a restart'} of all bricks`, async () => {
      const scene = await Scene.begin(6);
      scene.silence(scene.old);
      const late = scene.write(scene.old, 'stale!');
      await scene.pass(SILENT_MS);
      await scene.settle(scene.write(scene.other, 'after!'));
      await scene.settle(scene.other.call('fsync', { gfid: scene.gfid, dataOnly: false }));
      for (const brick of scene.cluster.bricks) brick.crash(power);
      await scene.pass(2000);
      for (const brick of scene.cluster.bricks) brick.start();
      scene.hear(scene.old);
      await assertFenced(scene, late);
    });
  }

  void it('a file that all only read is no reason to revoke anybody', async () => {
    const scene = await Scene.begin(11);
    const reader = new SimClient(scene.cluster, 'reader');
    await scene.settle(reader.call('open', { gfid: scene.gfid, truncate: false, killPriv: false }));
    scene.silence(reader);
    await scene.pass(SILENT_MS);
    assert.equal(await scene.content(), 'before');
    scene.hear(reader);
    await scene.settle(reader.call('mkdir', { parent: ROOT_GFID, name: 'mine', mode: 0o755, uid: 0, gid: 0 }));
    assert.equal(reader.revocations, 0);
  });

  void it('an outage of the whole set revokes nobody: silence counts only while somebody could listen', async () => {
    const scene = await Scene.begin(7);
    const waiting = scene.write(scene.old, 'waited');
    for (const brick of scene.cluster.bricks) brick.crash(false);
    await scene.pass(3 * SILENT_MS);
    for (const brick of scene.cluster.bricks) brick.start();
    const others = scene.write(scene.other, 'others');
    await scene.settle(waiting);
    await scene.settle(others);
    await scene.settle(scene.write(scene.other, 'after!'));
    await scene.settle(scene.write(scene.old, 'theend'));
    assert.equal(scene.old.revocations + scene.other.revocations, 0);
  });

  void it('the lock of a silent client goes to who waits for it, and the client learns that it lost it', async () => {
    const scene = await Scene.begin(8);
    await scene.settle(scene.lock(scene.old, false));
    scene.silence(scene.old);
    const began = scene.world.now;
    await scene.settle(scene.lock(scene.other, true));
    const waitedMs = scene.world.now - began;
    assert.ok(waitedMs > PING_TIMEOUT_MS - 2000 && waitedMs < PING_TIMEOUT_MS + 2000, `waited ${waitedMs} ms`);
    scene.hear(scene.old);
    await scene.until(() => scene.old.revocations === 1);
  });

  void it('locks that all bricks forgot are given to nobody before their holders could claim them', async () => {
    const scene = await Scene.begin(9);
    await scene.settle(scene.lock(scene.old, false));
    for (const brick of scene.cluster.bricks) brick.crash(false);
    scene.silence(scene.old);
    await scene.pass(2000);
    for (const brick of scene.cluster.bricks) brick.start();
    const asked = scene.lock(scene.other, false);
    await scene.pass(4000);
    scene.hear(scene.old);
    await assert.rejects(scene.settle(asked), (error: FsError) => error.errno === Errno.EAGAIN);
    await scene.settle(scene.write(scene.old, 'mine!!'));
    assert.equal(scene.old.revocations, 0);
  });

  void it('what a client had open goes with its session, however long a brick takes to hear of its end', async () => {
    const scene = await Scene.begin(12);
    // Past the first look for inodes without a name; the next one is half a minute later.
    await scene.pass(SILENT_MS + 2000);
    await scene.settle(scene.other.call('release', { gfid: scene.gfid }));
    await scene.settle(scene.other.call('unlink', { parent: ROOT_GFID, name: 'image' }));
    scene.cluster.network.slow.set(`${scene.primary().name}>${scene.member().name}`, 2500);
    await scene.settle(scene.old.call('open', { gfid: scene.gfid, truncate: false, killPriv: false }));
    scene.old.volume.close();
    await scene.pass(8000);
    for (const brick of scene.cluster.bricks) assert.throws(() => brick.store.getattr(scene.gfid), (error: FsError) => error.errno === Errno.ESTALE, brick.name);
  });

  void it('a session that never began, or that ended, is refused', async () => {
    const scene = await Scene.begin(10);
    const heard: string[] = [];
    const channel = await scene.settle(scene.stranger((kind) => heard.push(kind)));
    channel.send({ kind: 'request', id: 1, epoch: scene.cluster.view.epoch, requestNumber: 1, acknowledged: 0, op: 'unlink', args: { parent: ROOT_GFID, name: 'image' } });
    await scene.pass(100);
    assert.deepEqual(heard, ['fenced']);
    await scene.settle(scene.other.call('lookup', { parent: ROOT_GFID, name: 'image' }));
  });
});
