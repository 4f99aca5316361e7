/** Small scenarios that once went wrong, or that chance meets too seldom. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Errno, errnoOf } from '../../src/base/errno.js';
import { ROOT_GFID } from '../../src/base/ids.js';
import { LOCK_NONE, LOCK_WRITE } from '../../src/replica/file-locks.js';
import { STORE } from './sim-authority.js';
import { SimClient, SimCluster } from './sim-cluster.js';
import type { DiskFault, SimBrick } from './sim-brick.js';
import { World } from './world.js';

const WRITES_REFUSED: DiskFault = { errno: Errno.ENOSPC, calls: new Set(['write']), chance: 1 };

async function formed(seed: number, bricks = 3): Promise<{ world: World; cluster: SimCluster; client: SimClient }> {
  const world = new World(seed);
  const cluster = new SimCluster(world, bricks);
  cluster.start();
  const client = new SimClient(cluster, 'client');
  assert.ok(await settles(world, mkdir(client, 'd')));
  return { world, cluster, client };
}

function mkdir(client: SimClient, name: string): Promise<unknown> {
  return client.volume.call('mkdir', { parent: ROOT_GFID, name, mode: 0o755, uid: 0, gid: 0 });
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
    assert.ok(await settles(world, mkdir(client, 'without')));
    const first = member(cluster, 0);
    const second = member(cluster, 1);
    first.crash(false);
    second.crash(false);
    await world.run(() => false, world.now + 2000);
    first.start();
    absent.start();
    assert.ok(await settles(world, client.volume.call('lookup', { parent: ROOT_GFID, name: 'without' })), JSON.stringify(cluster.view));
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
    const waiting = mkdir(client, 'later');
    assert.equal(await settles(world, waiting), false);
    for (const brick of gone) brick.start();
    assert.ok(await settles(world, waiting));
  });

  void it('appends once, at whatever disk call all bricks die', async () => {
    for (let calls = 1; calls <= 12; calls++) {
      const { world, cluster, client } = await formed(10 + calls);
      const gfid = await makeFile(world, client);
      const primary = cluster.brick(cluster.view.primary);
      const append = client.volume.call('write', { gfid, offset: 0, append: true, sync: false, killPriv: false, data: Buffer.from('once') });
      primary.doom({ power: false, calls, messages: 0 });
      await world.run(() => !primary.alive, world.now + 100);
      for (const brick of cluster.bricks) {
        brick.crash(false);
        brick.start();
      }
      assert.ok(await settles(world, append), `crash at call ${calls}`);
      const { data } = await value(world, client.volume.call('read', { gfid, offset: 0, size: 100 }));
      assert.equal(Buffer.from(data).toString(), 'once', `crash at call ${calls}`);
    }
  });

  void it('waits, and tells no error, while the disk of the primary fails and no other can take over', async () => {
    const { world, cluster, client } = await formed(3);
    const gfid = await makeFile(world, client);
    const { network } = cluster;
    for (const line of [`${STORE}>*`, `*>${STORE}`]) network.cuts.add(line);
    cluster.brick(cluster.view.primary).fault = { errno: Errno.EIO, calls: 'any', chance: 1 };
    const waiting = [mkdir(client, 'x'), client.volume.call('read', { gfid, offset: 0, size: 10 }), client.volume.call('fsync', { gfid, dataOnly: false })];
    await world.run(() => false, world.now + 2000);
    network.cuts.clear();
    for (const work of waiting) assert.ok(await settles(world, work));
  });

  void it('goes on at a member that made a write which the disk of the primary refused', async () => {
    const { world, cluster, client } = await formed(5);
    const gfid = await makeFile(world, client);
    await becomesEqual(world, cluster);
    const refusing = cluster.brick(cluster.view.primary);
    refusing.fault = WRITES_REFUSED;
    assert.ok(await settles(world, Promise.all([write(client, gfid, 0, 'one'), write(client, gfid, 3, 'two')])), JSON.stringify(cluster.view));
    assert.notEqual(cluster.view.primary, refusing.id);
    refusing.fault = undefined;
    assert.equal(await content(world, client, gfid), 'onetwo');
    await becomesEqual(world, cluster);
  });

  void it('answers that the disk is full when every disk is, and keeps nothing of the write', async () => {
    const { world, cluster, client } = await formed(6);
    const gfid = await makeFile(world, client);
    await becomesEqual(world, cluster);
    for (const brick of cluster.bricks) brick.fault = WRITES_REFUSED;
    assert.equal(await value(world, write(client, gfid, 0, 'lost').then(() => 0, errnoOf)), Errno.ENOSPC);
    for (const brick of cluster.bricks) brick.fault = undefined;
    await value(world, write(client, gfid, 1, 'kept'));
    assert.equal(await content(world, client, gfid), '\0kept');
    await becomesEqual(world, cluster);
  });

  void it('answers each of several writes that every disk refuses, also those that waited for the first to be settled', async () => {
    const { world, cluster, client } = await formed(6);
    const gfid = await makeFile(world, client);
    await becomesEqual(world, cluster);
    for (const brick of cluster.bricks) brick.fault = WRITES_REFUSED;
    const writes = [0, 10, 20].map((offset) => write(client, gfid, offset, 'lost').then(() => 0, errnoOf));
    assert.deepEqual(await value(world, Promise.all(writes)), [Errno.ENOSPC, Errno.ENOSPC, Errno.ENOSPC]);
    for (const brick of cluster.bricks) brick.fault = undefined;
    await value(world, write(client, gfid, 1, 'kept'));
    await becomesEqual(world, cluster);
  });

  void it('does not go on with half of a write that the primary refused and could not hand over', async () => {
    const { world, cluster, client } = await formed(7);
    const gfid = await makeFile(world, client);
    await becomesEqual(world, cluster);
    const primary = cluster.brick(cluster.view.primary);
    const { network } = cluster;
    for (const line of [`${STORE}>*`, `*>${STORE}`]) network.cuts.add(line);
    primary.fault = WRITES_REFUSED;
    const work = write(client, gfid, 0, 'done');
    await world.run(() => false, world.now + 300);
    primary.fault = undefined;
    network.cuts.clear();
    assert.ok(await settles(world, work));
    assert.equal(await content(world, client, gfid), 'done');
    await becomesEqual(world, cluster);
  });

  void it('shows nobody half of a write that the disk of the primary refused', async () => {
    const { world, cluster, client } = await formed(8);
    const gfid = await makeFile(world, client);
    await value(world, write(client, gfid, 0, 'aaaaaaaa'));
    await becomesEqual(world, cluster);
    const reader = new SimClient(cluster, 'reader');
    assert.equal(await content(world, reader, gfid), 'aaaaaaaa');
    for (const line of [`${STORE}>*`, `*>${STORE}`]) cluster.network.cuts.add(line);
    cluster.brick(cluster.view.primary).fault = WRITES_REFUSED;
    const work = write(client, gfid, 0, 'bbbbbbbb');
    await world.run(() => false, world.now + 20);
    let read: string | undefined;
    void content(world, reader, gfid).then((text) => (read = text));
    await world.run(() => read !== undefined, world.now + 600);
    assert.ok(read === undefined || read === 'aaaaaaaa', read);
    cluster.brick(cluster.view.primary).fault = undefined;
    cluster.network.cuts.clear();
    assert.ok(await settles(world, work));
    assert.equal(await content(world, reader, gfid), 'bbbbbbbb');
    await world.run(() => read !== undefined, world.now + 20_000);
    assert.ok(read === 'aaaaaaaa' || read === 'bbbbbbbb', read);
  });

  void it('takes a copy that was restarted before one that holds half of a write', async () => {
    const { world, cluster, client } = await formed(9);
    const gfid = await makeFile(world, client);
    await value(world, write(client, gfid, 0, 'aaaaaaaa'));
    await becomesEqual(world, cluster);
    const half = cluster.brick(cluster.view.primary);
    const [whole, absent] = cluster.bricks.filter((brick) => brick !== half) as [SimBrick, SimBrick];
    absent.crash(false);
    await world.run(() => cluster.view.inSync.length === 2, world.now + 10_000);
    half.fault = WRITES_REFUSED;
    void write(client, gfid, 0, 'bbbbbbbb').catch(() => undefined);
    assert.ok(await world.run(() => cluster.view.primary === whole.id, world.now + 10_000));
    client.crash();
    whole.crash(false);
    half.fault = undefined;
    whole.start();
    const reader = new SimClient(cluster, 'reader');
    const read = await content(world, reader, gfid);
    assert.ok(read === 'aaaaaaaa' || read === 'bbbbbbbb', read);
  });

  void it('knows what is in doubt after a brick was made equal while a change was under way', async () => {
    const { world, cluster, client } = await formed(11);
    await becomesEqual(world, cluster);
    const primary = cluster.brick(cluster.view.primary);
    const [next, equal] = cluster.bricks.filter((brick) => brick !== primary).toSorted((a, b) => (a.id < b.id ? -1 : 1)) as [SimBrick, SimBrick];
    const { network } = cluster;
    for (const line of [`${primary.name}>${next.name}`, `${primary.name}>${STORE}`, `${STORE}>${primary.name}`]) network.cuts.add(line);
    void mkdir(client, 'lost').catch(() => undefined);
    await world.run(() => false, world.now + 50);
    for (const channel of [...network.channels]) if (channel.owner === primary && channel.remote === equal.name) channel.reset();
    await world.run(() => false, world.now + 500);
    client.crash();
    primary.crash(false);
    assert.ok(await world.run(() => cluster.view.primary === next.id && next.replica?.serving === true, world.now + 10_000));
    network.cuts.clear();
    primary.start();
    await becomesEqual(world, cluster);
  });

  void it('keeps a lock that was given, when all bricks die before its holder hears of it', async () => {
    const { world, cluster, client } = await formed(12);
    const gfid = await makeFile(world, client);
    const other = new SimClient(cluster, 'other');
    const lock = (who: SimClient, wait: boolean): Promise<unknown> =>
      who.call('setLock', { gfid, owner: 'o', kind: 0, type: LOCK_WRITE, start: 0, end: 9, pid: 1, wait });
    for (const brick of cluster.bricks) cluster.network.cuts.add(`${brick.name}>client`);
    const given = lock(client, true);
    await world.run(() => false, world.now + 200);
    const primary = cluster.brick(cluster.view.primary);
    assert.ok(primary.replica?.status().clients.some(({ session, locks }) => session === client.volume.session && locks === 1), 'it was given');
    for (const channel of [...cluster.network.channels]) if (channel.remote === 'client') channel.reset();
    for (const brick of cluster.bricks) brick.crash(false);
    for (const brick of cluster.bricks) brick.start();
    const late = lock(other, true);
    let taken = false;
    void late.then(() => (taken = true));
    await world.run(() => false, world.now + 3000);
    cluster.network.cuts.clear();
    assert.ok(await settles(world, given));
    await world.run(() => taken, world.now + 2000);
    assert.equal(taken, false);
    await value(world, client.call('setLock', { gfid, owner: 'o', kind: 0, type: LOCK_NONE, start: 0, end: 9, pid: 1, wait: false }));
    assert.ok(await settles(world, late));
  });

  void it('has bricks in good standing after two were made equal at the same time', async () => {
    const { world, cluster } = await formed(4, 5);
    const absent = cluster.bricks.filter((brick) => brick.id !== cluster.view.primary).slice(0, 2);
    for (const brick of absent) brick.crash(false);
    await world.run(() => cluster.view.inSync.length === 3, world.now + 10_000);
    for (const brick of absent) brick.start();
    const whole = (): boolean => cluster.view.inSync.length === 5 && cluster.bricks.every((brick) => brick.replica?.status().continuous === true);
    assert.ok(await world.run(whole, world.now + 30_000));
  });

  void it('goes on without a member whose link carries nothing, in less than half of the ping timeout', async () => {
    const { world, cluster, client } = await formed(5);
    const primary = cluster.brick(cluster.view.primary);
    const silent = cluster.bricks.find((brick) => brick !== primary) as SimBrick;
    cluster.network.cuts.add(`${silent.name}>${primary.name}`);
    const began = world.now;
    assert.ok(await settles(world, mkdir(client, 'beside')));
    assert.ok(world.now - began < 5_500, `${world.now - began} ms`);
    assert.ok(!cluster.view.inSync.includes(silent.id));
  });

  void it('gives no lease with attributes of before: an answer that is repeated tells a size that is over', async () => {
    const { world, cluster, client } = await formed(5);
    const gfid = await makeFile(world, client);
    const other = new SimClient(cluster, 'other');
    const resize = (who: SimClient, size: number): Promise<unknown> => who.call('setattr', { gfid, size, atimeNow: false, mtimeNow: false, killPriv: false });
    assert.ok(await settles(world, client.call('getattr', { gfid })));
    // The change is made, the answer is lost; another one changes the file before the client asks again.
    cluster.network.cuts.add(`${member(cluster, 0).name}>client`).add(`${cluster.brick(cluster.view.primary).name}>client`);
    const early = resize(client, 0);
    await world.run(() => false, world.now + 7000);
    assert.ok(await settles(world, resize(other, 700)));
    cluster.network.cuts.clear();
    assert.ok(await settles(world, early));
    assert.equal((await value(world, client.call('getattr', { gfid }))).attr.size, 700);
  });

  void it('is not answered for by a primary that was cut off, once its lease ran out', async () => {
    const { world, cluster, client } = await formed(6);
    const gfid = await makeFile(world, client);
    const reader = new SimClient(cluster, 'reader');
    assert.ok(await settles(world, reader.call('getattr', { gfid })));
    const far = [cluster.brick(cluster.view.primary).name, 'reader'];
    const near = [...cluster.bricks.map((brick) => brick.name), 'client', STORE].filter((name) => !far.includes(name));
    for (const a of far) for (const b of near) cluster.network.cuts.add(`${a}>${b}`).add(`${b}>${a}`);
    const grown = client.call('setattr', { gfid, size: 700, atimeNow: false, mtimeNow: false, killPriv: false });
    let size = -1;
    assert.ok(await settles(world, grown));
    void reader.call('getattr', { gfid }).then(({ attr }) => (size = attr.size));
    await world.run(() => false, world.now + 1000);
    assert.equal(size, -1, 'no answer while it is cut off');
    cluster.network.cuts.clear();
    await world.run(() => size >= 0, world.now + 20_000);
    assert.equal(size, 700);
  });
});

async function value<T>(world: World, work: Promise<T>): Promise<T> {
  assert.ok(await settles(world, work));
  return await work;
}

async function makeFile(world: World, client: SimClient): Promise<string> {
  const args = { parent: ROOT_GFID, name: 'file', mode: 0o644, exclusive: true, truncate: false, uid: 0, gid: 0 };
  return (await value(world, client.volume.call('create', args))).attr.gfid;
}

function write(client: SimClient, gfid: string, offset: number, text: string): Promise<unknown> {
  return client.volume.call('write', { gfid, offset, append: false, sync: false, killPriv: false, data: Buffer.from(text) });
}

async function content(world: World, client: SimClient, gfid: string): Promise<string> {
  return Buffer.from((await value(world, client.volume.call('read', { gfid, offset: 0, size: 100 }))).data).toString();
}

/** Waits until all bricks are in sync and hold the same. */
async function becomesEqual(world: World, cluster: SimCluster): Promise<void> {
  const equal = (): boolean => {
    const copies = new Set(cluster.bricks.map((brick) => brick.store.dump()));
    return copies.size === 1 && cluster.view.inSync.length === cluster.bricks.length;
  };
  assert.ok(await world.run(equal, world.now + 60_000), JSON.stringify(cluster.view));
}
