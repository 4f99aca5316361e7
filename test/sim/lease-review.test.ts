import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Errno, type FsError } from '../../src/base/errno.js';
import { LOCK_NONE, LOCK_READ, LOCK_WRITE } from '../../src/replica/file-locks.js';
import { Scene } from './scene.js';
import { SimClient } from './sim-cluster.js';

function byte(scene: Scene, client: SimClient, at: number, type: number, owner = 'qemu', wait = false): Promise<unknown> {
  return client.call('setLock', { gfid: scene.gfid, owner, kind: 0, type, start: at, end: at, pid: 1, wait });
}
async function leased(seed: number): Promise<Scene> {
  const scene = await Scene.begin(seed);
  await scene.pass(300);
  await scene.settle(byte(scene, scene.old, 1, LOCK_READ));
  await scene.pass(20);
  return scene;
}
async function atOnce(scene: Scene, work: Promise<unknown>): Promise<void> {
  const { now } = scene.world;
  await scene.settle(work);
  assert.equal(scene.world.now, now, 'it was asked for');
}

void describe('review', () => {
  void it('1: hand-over between two owners of one client', async () => {
    const scene = await leased(1);
    const { old } = scene;
    await atOnce(scene, byte(scene, old, 2, LOCK_WRITE, 'one'));
    await scene.pass(100);
    await atOnce(scene, byte(scene, old, 2, LOCK_NONE, 'one'));
    await atOnce(scene, byte(scene, old, 2, LOCK_WRITE, 'two'));
    await scene.pass(500);
    assert.equal(old.revocations, 0);
  });
  void it('2: the same, primary dies before it hears', async () => {
    const scene = await leased(2);
    const { old, cluster } = scene;
    await atOnce(scene, byte(scene, old, 2, LOCK_WRITE, 'one'));
    await scene.pass(100);
    const primary = scene.primary();
    await atOnce(scene, byte(scene, old, 2, LOCK_NONE, 'one'));
    await atOnce(scene, byte(scene, old, 2, LOCK_WRITE, 'two'));
    primary.crash(true);
    await scene.until(() => cluster.view.primary !== primary.id && old.volume.connected || old.revocations > 0);
    await scene.pass(1000);
    assert.equal(old.revocations, 0);
  });
  for (let seed = 1; seed <= 3; seed++) void it(`3: a lock told with the lease comes back, seed ${seed}`, async () => {
    const scene = await leased(seed);
    const { old, other, cluster } = scene;
    await atOnce(scene, byte(scene, old, 2, LOCK_WRITE));
    await scene.pass(20.05);
    await atOnce(scene, byte(scene, old, 2, LOCK_NONE));
    await scene.pass(500);
    // everything is answered; another takes it.
    await scene.settle(byte(scene, other, 2, LOCK_WRITE));
    await scene.pass(500);
    assert.equal(old.revocations, 0);
    const primary = scene.primary();
    primary.crash(true);
    await scene.until(() => cluster.view.primary !== primary.id && (old.volume.connected || old.revocations > 0));
    await scene.pass(2000);
    assert.equal(old.revocations, 0, 'old revoked: it claimed a lock that it had given up');
  });
  void it('3b: stuck', async () => {
    const scene = await leased(1);
    const { old, other, cluster } = scene;
    await atOnce(scene, byte(scene, old, 2, LOCK_WRITE));
    await scene.pass(20.05);
    await atOnce(scene, byte(scene, old, 2, LOCK_NONE));
    await scene.pass(500);
    const primary = scene.primary();
    primary.crash(true);
    await scene.until(() => cluster.view.primary !== primary.id && (old.volume.connected || old.revocations > 0));
    await scene.pass(2000);
    await scene.settle(byte(scene, other, 2, LOCK_WRITE));
  });
  void it('4: stopped volume', async () => {
    const scene = await leased(1);
    const { old, other, cluster } = scene;
    await atOnce(scene, byte(scene, old, 2, LOCK_WRITE));
    old.volume.update({ ...cluster.spec, started: false }, cluster.view);
    await scene.pass(100);
    old.volume.update({ ...cluster.spec, started: true }, cluster.view);
    await scene.pass(1000);
    console.log('given', old.given);
    let over: unknown;
    void byte(scene, other, 9, LOCK_READ).then(() => (over = 'ok'), (e: unknown) => (over = e));
    await scene.pass(60_000);
    assert.equal(over, 'ok');
    assert.equal(old.revocations, 0);
  });
  void it('5: takeover, client late by 700 ms', async () => {
    const scene = await leased(1);
    const { old, other, cluster } = scene;
    const primary = scene.primary();
    await atOnce(scene, byte(scene, old, 2, LOCK_WRITE));
    primary.crash(true);
    const taken = byte(scene, other, 2, LOCK_WRITE).then(() => 0, (e: FsError) => e.errno);
    for (const b of cluster.bricks) cluster.network.cuts.add(`${old.name}>${b.name}`);
    await scene.until(() => cluster.view.primary !== primary.id && scene.primary().replica?.serving === true);
    await scene.pass(700);
    cluster.network.cuts.clear();
    console.log('other got', await scene.settle(taken), Errno.EAGAIN);
    await scene.pass(3000);
    assert.equal(old.revocations, 0);
  });

  void it('6: what was given up before the primary died is free for another at once', async () => {
    const scene = await leased(4);
    const { old, other } = scene;
    const primary = scene.primary();
    await atOnce(scene, byte(scene, old, 1, LOCK_NONE));
    primary.crash(true);
    const got = await scene.settle(byte(scene, other, 1, LOCK_WRITE).then(() => 0, (e: FsError) => e.errno));
    console.log('6 got', got, 'revoked', old.revocations);
    await scene.pass(1000);
    assert.equal(got, 0);
  });
  void it('7: an interrupt while the lease is called in', async () => {
    const scene = await leased(5);
    const { old, other } = scene;
    scene.silence(old);
    let over: unknown;
    void byte(scene, other, 1, LOCK_WRITE, 'two', true).then(() => (over = 'ok'), (e: unknown) => (over = e));
    await scene.pass(100);
    await scene.settle(other.call('cancelLock', { gfid: scene.gfid, owner: 'two' }));
    await scene.pass(500);
    scene.hear(old);
    await scene.pass(30_000);
    console.log('7', over);
    assert.notEqual(over, undefined);
  });
  void it('7b: the same, nothing silent', async () => {
    const scene = await leased(6);
    const { other } = scene;
    let over: unknown;
    void byte(scene, other, 1, LOCK_WRITE, 'two', true).then(() => (over = 'ok'), (e: unknown) => (over = e));
    await scene.pass(0.3);
    void other.call('cancelLock', { gfid: scene.gfid, owner: 'two' });
    await scene.pass(30_000);
    console.log('7b', over);
    assert.notEqual(over, undefined);
  });
  void it('8: partial', async () => {
    const scene = await leased(7);
    const { old, cluster } = scene;
    const range = (owner: string, type: number, start: number, end: number) => old.call('setLock', { gfid: scene.gfid, owner, kind: 0, type, start, end, pid: 1, wait: false });
    await atOnce(scene, range('one', LOCK_WRITE, 10, 19));
    await atOnce(scene, range('one', LOCK_NONE, 10, 14));
    await atOnce(scene, range('two', LOCK_WRITE, 10, 14));
    const primary = scene.primary();
    await scene.pass(10);
    primary.crash(true);
    await scene.until(() => cluster.view.primary !== primary.id && (old.volume.connected || old.revocations > 0));
    await scene.pass(2000);
    assert.equal(old.revocations, 0);
  });

  void it('9: worker dies, successor takes three seconds, another asks', async () => {
    const scene = await leased(9);
    const { old, other } = scene;
    await atOnce(scene, byte(scene, old, 2, LOCK_WRITE));
    old.crash();
    const got = byte(scene, other, 2, LOCK_WRITE, 'b', false).then(() => 0, (e: FsError) => e.errno);
    await scene.pass(3000);
    const next = new SimClient(scene.cluster, 'next', old);
    console.log('9 got', await scene.settle(got));
    await scene.pass(3000);
    console.log('9 revoked', next.revocations);
    assert.equal(next.revocations, 0);
  });

  void it('10: a recall that crosses a yield takes the next lease', async () => {
    const scene = await leased(10);
    const { old, other, cluster } = scene;
    const primary = scene.primary().name;
    const out = `${old.name}>${primary}`;
    const back = `${primary}>${old.name}`;
    cluster.network.cuts.add(out).add(back);
    await scene.pass(230);
    const looked = other.call('getLock', { gfid: scene.gfid, owner: 'asks', kind: 0, type: LOCK_WRITE, start: 7, end: 7 });
    const asked = byte(scene, old, 3, LOCK_WRITE);
    await scene.pass(5);
    cluster.network.cuts.delete(out);
    await scene.pass(15);
    cluster.network.cuts.delete(back);
    await scene.settle(Promise.all([looked, asked]));
    await scene.pass(15);
    const before = old.volume.localLocks;
    await atOnce(scene, byte(scene, old, 4, LOCK_WRITE));
    console.log('10 given locally', old.volume.localLocks - before);
    const got = await scene.settle(byte(scene, other, 4, LOCK_WRITE).then(() => 0, (e: FsError) => e.errno));
    console.log('10 other got', got);
    await scene.pass(1000);
    console.log('10 revoked', old.revocations);
    assert.equal(got, Errno.EAGAIN);
  });
  void it('11: leases announced with claims', async () => {
    const scene = await leased(11);
    const { old, other, cluster } = scene;
    const primary = scene.primary();
    await scene.pass(400);
    primary.crash(true);
    await scene.until(() => cluster.view.primary !== primary.id && old.volume.connected && other.volume.connected);
    await scene.pass(3000);
    for (const b of cluster.bricks) if (b.alive) console.log('11', b.name, JSON.stringify([...((b.replica as unknown as { copyForTest?: { lockLeases: Map<string, unknown> } }).copyForTest?.lockLeases ?? [])]));
  });
});
