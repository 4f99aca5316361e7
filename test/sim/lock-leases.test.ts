/** Locks that a client gives its own programs under a lock lease, in small scenarios. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Errno, type FsError } from '../../src/base/errno.js';
import { ROOT_GFID } from '../../src/base/ids.js';
import { LOCK_NONE, LOCK_READ, LOCK_WRITE } from '../../src/replica/file-locks.js';
import { Scene } from './scene.js';
import { SimClient } from './sim-cluster.js';

const PING_TIMEOUT_MS = 10_000;

function byte(scene: Scene, client: SimClient, at: number, type: number, owner = 'qemu', wait = false): Promise<unknown> {
  return client.call('setLock', { gfid: scene.gfid, owner, kind: 0, type, start: at, end: at, pid: 1, wait });
}

function holder(scene: Scene, client: SimClient, at: number): Promise<{ type: number }> {
  return client.call('getLock', { gfid: scene.gfid, owner: 'asks', kind: 0, type: LOCK_WRITE, start: at, end: at });
}

async function refused(scene: Scene, work: Promise<unknown>): Promise<void> {
  await assert.rejects(scene.settle(work), (error: FsError) => error.errno === Errno.EAGAIN);
}

/** The old client has byte 1, and a lease. */
async function leased(seed: number): Promise<Scene> {
  const scene = await Scene.begin(seed);
  // Nobody has leases before the first answered ping.
  await scene.pass(300);
  await scene.settle(byte(scene, scene.old, 1, LOCK_READ));
  await scene.pass(20);
  return scene;
}

/** The primary dies, and both clients go on with the next one. */
async function takeover(scene: Scene): Promise<void> {
  const primary = scene.primary();
  primary.crash(true);
  await scene.until(() => scene.cluster.view.primary !== primary.id && scene.old.volume.connected && scene.other.volume.connected);
}

/** Resolves without a message to anybody. */
async function atOnce(scene: Scene, work: Promise<unknown>): Promise<void> {
  const { now } = scene.world;
  await scene.settle(work);
  assert.equal(scene.world.now, now, 'it was asked for');
}

void describe('a lock lease', () => {
  void it('ends when it is not used for a moment', async () => {
    const scene = await leased(1);
    const { old, world } = scene;
    await atOnce(scene, byte(scene, old, 2, LOCK_WRITE));
    await scene.pass(500);
    const { now } = world;
    await scene.settle(byte(scene, old, 3, LOCK_READ));
    assert.notEqual(world.now, now);
  });

  void it('is not needed to give a lock up: who is in the way is asked before anybody is refused', async () => {
    const scene = await leased(24);
    const { old, other, cluster } = scene;
    await scene.settle(byte(scene, other, 9, LOCK_READ));
    await scene.pass(20);
    for (const at of [9, 1]) {
      const who = at === 9 ? other : old;
      cluster.network.cuts.add(`${who.name}>${scene.primary().name}`);
      await atOnce(scene, byte(scene, who, at, LOCK_NONE));
      const taken = byte(scene, who === old ? other : old, at, LOCK_WRITE);
      await scene.pass(200);
      cluster.network.cuts.clear();
      await scene.settle(taken);
      assert.equal((await scene.settle(holder(scene, who, at))).type, LOCK_WRITE);
    }
    cluster.network.cuts.add(`${old.name}>${scene.primary().name}`);
    await atOnce(scene, byte(scene, old, 9, LOCK_NONE));
    const seen = holder(scene, other, 9);
    await scene.pass(200);
    cluster.network.cuts.clear();
    assert.equal((await scene.settle(seen)).type, LOCK_NONE);
  });

  void it('is not needed for a lock that another program here has too: nobody else gets in between, whenever the primary dies', async () => {
    for (let messages = 0; messages <= 24; messages++) {
      const scene = await leased(100 + messages);
      const { old, other } = scene;
      // The lease is over.
      await scene.pass(500);
      if (messages > 0) scene.primary().doom({ power: messages % 2 === 0, calls: 0, messages });
      let kept = true;
      const tries: Promise<boolean>[] = [];
      const attempt = (): void => {
        if (!kept) return;
        tries.push(byte(scene, other, 1, LOCK_WRITE).then(() => kept, () => false));
        scene.world.at(5, attempt);
      };
      attempt();
      for (let n = 0; n < 4; n++) {
        await scene.settle(byte(scene, old, 1, LOCK_READ, `program ${n}`));
        await scene.pass(n);
        await scene.settle(byte(scene, old, 1, LOCK_NONE, n === 0 ? 'qemu' : `program ${n - 1}`));
        await scene.pass(n);
      }
      await scene.pass(3000);
      kept = false;
      assert.equal(old.revocations + other.revocations, 0);
      assert.deepEqual((await scene.settle(Promise.all(tries))).filter(Boolean), [], `the primary died at message ${messages}`);
      await scene.settle(byte(scene, old, 1, LOCK_NONE, 'program 3'));
      await scene.settle(byte(scene, other, 1, LOCK_WRITE));
    }
  });

  void it('is given back though a program takes and gives up a lock all the time that another one here has too', async () => {
    const scene = await leased(131);
    const { old, other, world } = scene;
    let over = false;
    const again = (): void => {
      if (over) return;
      void byte(scene, old, 1, LOCK_READ, 'busy').then(() => byte(scene, old, 1, LOCK_NONE, 'busy'));
      world.at(0.5, again);
    };
    again();
    await scene.pass(200);
    await scene.settle(byte(scene, other, 5, LOCK_WRITE), 1000);
    await assert.rejects(scene.settle(byte(scene, other, 1, LOCK_WRITE), 1000), (error: FsError) => error.errno === Errno.EAGAIN);
    over = true;
  });

  void it('keeps the order of what was given where more writes wait than may be under way', async () => {
    const scene = await leased(132);
    const { old, other, cluster } = scene;
    await scene.settle(byte(scene, old, 1, LOCK_READ, 'again'));
    await scene.pass(500);
    cluster.network.cuts.add(`${old.name}>${scene.primary().name}`);
    const writes = Array.from({ length: 1100 }, (_, n) => scene.write(old, `write ${n}`));
    await atOnce(scene, byte(scene, old, 1, LOCK_NONE, 'again'));
    await scene.pass(50);
    for (const channel of [...cluster.network.channels]) if (channel.remote === old.name || channel.owner === old) channel.reset();
    cluster.network.cuts.clear();
    // Long enough for the first answered ping, before which no lock is given here.
    for (const { name } of cluster.bricks) if (name !== scene.primary().name) cluster.network.slow.set(`${scene.primary().name}>${name}`, 400);
    await scene.until(() => old.volume.connected);
    await scene.pass(200);
    await atOnce(scene, byte(scene, old, 1, LOCK_READ, 'again'));
    await scene.pass(20);
    cluster.network.slow.clear();
    await scene.settle(Promise.all(writes));
    await scene.pass(500);
    await scene.settle(byte(scene, old, 1, LOCK_NONE));
    await refused(scene, byte(scene, other, 1, LOCK_WRITE));
  });

  void it('is not needed for a lock as strong as one that is held here, and is for any other', async () => {
    const scene = await leased(130);
    const { old, other, world } = scene;
    const asked = async (work: Promise<unknown>): Promise<boolean> => {
      const { now } = world;
      await scene.settle(work);
      return world.now > now;
    };
    const range = (owner: string, type: number, start: number, end: number): Promise<unknown> =>
      old.call('setLock', { gfid: scene.gfid, owner, kind: 0, type, start, end, pid: 1, wait: false });
    await scene.settle(range('one', LOCK_WRITE, 10, 19));
    await scene.pass(500);
    await atOnce(scene, range('one', LOCK_WRITE, 12, 14));
    await atOnce(scene, range('one', LOCK_READ, 10, 14));
    await atOnce(scene, range('two', LOCK_READ, 11, 12));
    await scene.pass(500);
    await refused(scene, byte(scene, other, 13, LOCK_WRITE));
    await scene.settle(byte(scene, other, 13, LOCK_READ));
    await refused(scene, byte(scene, other, 15, LOCK_READ));
    await refused(scene, range('two', LOCK_READ, 14, 15));
    await refused(scene, range('one', LOCK_WRITE, 13, 13));
    for (const work of [() => range('two', LOCK_READ, 10, 21), () => range('one', LOCK_WRITE, 30, 31), () => byte(scene, old, 40, LOCK_READ)]) {
      await scene.pass(500);
      await scene.settle(byte(scene, other, 13, LOCK_NONE));
      await scene.settle(range('one', LOCK_NONE, 15, 19));
      await scene.pass(500);
      assert.ok(await asked(work()));
    }
  });

  void it('stays when somebody else gives a lock up, and its client may give that lock then', async () => {
    const scene = await leased(25);
    const { old, other } = scene;
    await scene.settle(byte(scene, other, 9, LOCK_READ));
    await scene.pass(20);
    await atOnce(scene, byte(scene, old, 1, LOCK_NONE));
    await scene.pass(20);
    await atOnce(scene, byte(scene, other, 1, LOCK_WRITE));
    await refused(scene, byte(scene, old, 1, LOCK_READ));
  });

  void it('lets nobody wait for ever for what a client that died may have given up', async () => {
    const scene = await leased(26);
    const { old, other, world } = scene;
    scene.silence(old);
    const { now } = world;
    await scene.settle(byte(scene, other, 1, LOCK_WRITE), 2 * PING_TIMEOUT_MS);
    assert.ok(world.now - now > PING_TIMEOUT_MS / 2);
  });

  void it('lets its client give and take locks without asking; who asks elsewhere then finds all of it', async () => {
    const scene = await leased(1);
    const { old, other } = scene;
    await atOnce(scene, byte(scene, old, 2, LOCK_WRITE));
    await atOnce(scene, byte(scene, old, 1, LOCK_NONE));
    await atOnce(scene, holder(scene, old, 1));
    assert.equal(old.volume.localLocks, 2);
    await refused(scene, byte(scene, other, 2, LOCK_READ));
    await scene.settle(byte(scene, other, 1, LOCK_WRITE));
    // The lease is the other's now, who knows what stands against it.
    await scene.pass(20);
    await atOnce(scene, byte(scene, other, 5, LOCK_WRITE));
    await refused(scene, byte(scene, other, 2, LOCK_WRITE));
    assert.equal((await scene.settle(holder(scene, other, 2))).type, LOCK_WRITE);
    assert.equal((await scene.settle(holder(scene, old, 5))).type, LOCK_WRITE);
  });

  void it('comes back after a time in which nobody answered', async () => {
    const scene = await leased(11);
    const { old, other, cluster } = scene;
    cluster.network.cuts.add(`${scene.primary().name}>${old.name}`);
    await scene.pass(1000);
    cluster.network.cuts.clear();
    await scene.pass(300);
    await scene.settle(byte(scene, old, 3, LOCK_WRITE));
    await scene.pass(20);
    await atOnce(scene, byte(scene, old, 4, LOCK_WRITE));
    await refused(scene, byte(scene, other, 4, LOCK_WRITE));
  });

  void it('gives nothing that stands against a lock of another program here', async () => {
    const scene = await leased(2);
    await atOnce(scene, byte(scene, scene.old, 2, LOCK_WRITE, 'one'));
    await refused(scene, byte(scene, scene.old, 2, LOCK_WRITE, 'two'));
    const waiting = byte(scene, scene.old, 2, LOCK_WRITE, 'two', true);
    await scene.pass(100);
    await scene.settle(byte(scene, scene.old, 2, LOCK_NONE, 'one'));
    await scene.settle(waiting);
    await refused(scene, byte(scene, scene.other, 2, LOCK_READ));
  });

  void it('is over when what it gave has reached the bricks, and not before', async () => {
    const scene = await leased(3);
    const { old, other, cluster } = scene;
    // What the old client says is on the way for longer than what it is told.
    cluster.network.cuts.add(`${old.name}>${scene.primary().name}`);
    await atOnce(scene, byte(scene, old, 2, LOCK_WRITE));
    const asked = byte(scene, other, 2, LOCK_WRITE).then(() => 0, (error: FsError) => error.errno);
    await scene.pass(300);
    cluster.network.cuts.clear();
    assert.equal(await scene.settle(asked), Errno.EAGAIN);
  });

  for (const power of [false, true]) {
    void it(`keeps what it gave when the primary dies before it hears of it${power ? ', and all others with it' : ''}`, async () => {
      const scene = await leased(power ? 5 : 4);
      const { old, other, cluster } = scene;
      const primary = scene.primary();
      cluster.network.cuts.add(`${old.name}>${primary.name}`);
      await atOnce(scene, byte(scene, old, 2, LOCK_WRITE));
      await atOnce(scene, byte(scene, old, 1, LOCK_NONE));
      for (const brick of power ? cluster.bricks : [primary]) brick.crash(true);
      if (power) for (const brick of cluster.bricks) brick.start();
      cluster.network.cuts.clear();
      const [taken, seen] = [byte(scene, other, 2, LOCK_WRITE), holder(scene, other, 2)];
      await refused(scene, taken);
      assert.equal((await scene.settle(seen)).type, LOCK_WRITE);
      await scene.settle(byte(scene, other, 1, LOCK_WRITE));
      assert.equal(old.revocations + other.revocations, 0);
    });
  }

  void it('of a client that is not heard is over within the ping timeout; one that lost what it gave is revoked', async () => {
    const scene = await leased(6);
    const { old, other } = scene;
    scene.silence(old);
    // It still may, for as long as its lease time lasts.
    await atOnce(scene, byte(scene, old, 2, LOCK_WRITE));
    const begun = scene.world.now;
    await scene.settle(byte(scene, other, 2, LOCK_WRITE, 'qemu', true));
    assert.ok(scene.world.now - begun < PING_TIMEOUT_MS + 1000, `${scene.world.now - begun} ms`);
    scene.hear(old);
    await scene.until(() => old.revocations === 1);
    await refused(scene, byte(scene, old, 2, LOCK_WRITE));
    await scene.settle(byte(scene, other, 3, LOCK_WRITE));
  });

  void it('gives nothing when its time is over', async () => {
    const scene = await leased(7);
    const { old, other } = scene;
    scene.silence(old);
    const asked: Promise<unknown>[] = [];
    const ends: number[] = [];
    for (let at = 20; at < 40; at++) {
      await scene.pass(60);
      asked.push(byte(scene, old, at, LOCK_WRITE).then(() => ends.push(scene.world.now), () => undefined));
    }
    await scene.pass(1);
    const last = ends.at(-1) ?? 0;
    assert.ok(ends.length > 0 && scene.world.now - last > 500, `${ends.length} were given, the last one ${scene.world.now - last} ms ago`);
    await scene.settle(byte(scene, other, 2, LOCK_WRITE, 'qemu', true));
    scene.hear(old);
    await scene.settle(Promise.all(asked));
    assert.equal(old.revocations, 1);
  });

  void it('does not bring back a lock whose end its client did not hear of, when another has it since', async () => {
    const scene = await leased(9);
    const { old, other, cluster } = scene;
    const primary = scene.primary();
    await scene.settle(byte(scene, other, 9, LOCK_READ));
    // What comes behind a request that the primary decides on is the primary's to decide.
    void byte(scene, old, 9, LOCK_WRITE, 'waits', true).catch(() => undefined);
    cluster.network.cuts.add(`${primary.name}>${old.name}`);
    const unlocked = byte(scene, old, 1, LOCK_NONE);
    // All bricks have it by then, and the answer is on its way.
    await scene.pass(100);
    for (const brick of cluster.bricks) cluster.network.cuts.add(`${old.name}>${brick.name}`);
    primary.crash(false);
    const taken = byte(scene, other, 1, LOCK_WRITE);
    await scene.pass(300);
    cluster.network.cuts.clear();
    await scene.settle(taken);
    await scene.settle(unlocked);
    assert.equal(old.revocations, 0);
    await refused(scene, byte(scene, old, 1, LOCK_READ));
  });

  void it('tells a process that took the session over of the locks of the one before it, and tells the bricks of what that one gave last', async () => {
    const scene = await leased(8);
    const { old } = scene;
    await atOnce(scene, byte(scene, old, 2, LOCK_WRITE, 'one'));
    await scene.pass(50);
    assert.deepEqual(old.given, []);
    // This one nobody hears of but the next process.
    await atOnce(scene, byte(scene, old, 3, LOCK_WRITE, 'one'));
    old.crash();
    const next = new SimClient(scene.cluster, 'next', old);
    let number = 1000;
    const own = (at: number, type: number, owner: string): Promise<unknown> =>
      next.volume.call('setLock', { gfid: scene.gfid, owner, kind: 0, type, start: at, end: at, pid: 1, wait: false }, ++number);
    await scene.pass(500);
    // The lease of the process before is called in by somebody else; then this one gets its own.
    await scene.settle(byte(scene, scene.other, 9, LOCK_READ));
    await scene.settle(own(4, LOCK_READ, 'two'));
    await scene.pass(20);
    await refused(scene, own(2, LOCK_WRITE, 'two'));
    await refused(scene, own(3, LOCK_WRITE, 'two'));
    await refused(scene, byte(scene, scene.other, 3, LOCK_READ));
    await scene.settle(own(6, LOCK_READ, 'two'));
    await scene.pass(20);
    await atOnce(scene, own(5, LOCK_READ, 'two'));
    assert.equal(next.revocations, 0);
  });

  void it('goes over from one program to another of its client, also when the primary dies before it hears of that', async () => {
    for (const dies of [false, true]) {
      const scene = await leased(dies ? 13 : 12);
      const { old } = scene;
      const range = (owner: string, type: number, start: number, end: number): Promise<unknown> =>
        old.call('setLock', { gfid: scene.gfid, owner, kind: 0, type, start, end, pid: 1, wait: false });
      await atOnce(scene, range('one', LOCK_WRITE, 10, 19));
      await scene.pass(50);
      await atOnce(scene, range('one', LOCK_NONE, 10, 14));
      await atOnce(scene, range('two', LOCK_WRITE, 10, 14));
      if (dies) await takeover(scene);
      await scene.pass(500);
      assert.equal(old.revocations, 0);
      await refused(scene, byte(scene, scene.other, 12, LOCK_READ));
    }
  });

  void it('does not bring a lock back that was given up when the next lease came', async () => {
    for (let seed = 14; seed < 17; seed++) {
      const scene = await leased(seed);
      const { old, other } = scene;
      await atOnce(scene, byte(scene, old, 2, LOCK_WRITE));
      // The first is just being told.
      await scene.pass(20.05);
      await scene.settle(byte(scene, old, 2, LOCK_NONE));
      await scene.pass(500);
      await scene.settle(byte(scene, other, 2, LOCK_WRITE));
      await takeover(scene);
      await scene.pass(2000);
      assert.equal(old.revocations + other.revocations, 0);
      await refused(scene, byte(scene, old, 2, LOCK_READ));
    }
  });

  void it('is over when its volume was stopped meanwhile and is started again', async () => {
    const scene = await leased(17);
    const { old, other, cluster } = scene;
    await atOnce(scene, byte(scene, old, 2, LOCK_WRITE));
    await atOnce(scene, byte(scene, old, 1, LOCK_NONE));
    old.volume.update({ ...cluster.spec, started: false }, cluster.view);
    await scene.pass(100);
    old.volume.update({ ...cluster.spec, started: true }, cluster.view);
    await scene.settle(byte(scene, other, 1, LOCK_WRITE));
    await refused(scene, byte(scene, other, 2, LOCK_READ));
    assert.deepEqual(old.given, []);
  });

  void it('of a client that is late after a takeover is waited for: what it gave is its own, what it gave up is free', async () => {
    const scene = await leased(18);
    const { old, other, cluster } = scene;
    await atOnce(scene, byte(scene, old, 2, LOCK_WRITE));
    await atOnce(scene, byte(scene, old, 1, LOCK_NONE));
    const primary = scene.primary();
    primary.crash(true);
    const taken = byte(scene, other, 2, LOCK_WRITE).then(() => 0, (error: FsError) => error.errno);
    const free = byte(scene, other, 1, LOCK_WRITE);
    for (const brick of cluster.bricks) cluster.network.cuts.add(`${old.name}>${brick.name}`);
    await scene.until(() => cluster.view.primary !== primary.id && scene.primary().replica?.serving === true);
    await scene.pass(700);
    cluster.network.cuts.clear();
    assert.equal(await scene.settle(taken), Errno.EAGAIN);
    await scene.settle(free);
    assert.equal(old.revocations, 0);
  });

  void it('of a process that died is waited for: its successor has what it gave', async () => {
    const scene = await leased(19);
    const { old, other } = scene;
    await atOnce(scene, byte(scene, old, 2, LOCK_WRITE));
    old.crash();
    const taken = byte(scene, other, 2, LOCK_WRITE).then(() => 0, (error: FsError) => error.errno);
    await scene.pass(3000);
    const next = new SimClient(scene.cluster, 'next', old);
    assert.equal(await scene.settle(taken), Errno.EAGAIN);
    assert.equal(next.revocations, 0);
  });

  void it('keeps nobody waiting whose program was interrupted meanwhile', async () => {
    const scene = await leased(20);
    const { old, other } = scene;
    scene.silence(old);
    const waits = byte(scene, other, 1, LOCK_WRITE, 'two', true).then(() => 0, (error: FsError) => error.errno);
    // It waits for the lease.
    await scene.pass(100);
    await scene.settle(other.call('cancelLock', { gfid: scene.gfid, owner: 'two' }));
    scene.hear(old);
    assert.equal(await scene.settle(waits), Errno.EINTR);
  });

  void it('is not taken away by what was said of the one before it', async () => {
    const scene = await leased(21);
    const { old, other, cluster } = scene;
    await scene.settle(byte(scene, other, 9, LOCK_READ));
    await scene.pass(20);
    await scene.settle(byte(scene, old, 1, LOCK_WRITE));
    await scene.pass(20);
    await atOnce(scene, byte(scene, old, 1, LOCK_NONE));
    await scene.pass(40);
    const primary = scene.primary().name;
    const [out, back] = [`${old.name}>${primary}`, `${primary}>${old.name}`];
    cluster.network.cuts.add(out).add(back);
    // It is given back unused, and called in, and asked for again, at the same time.
    await scene.pass(190);
    const looked = holder(scene, other, 7);
    const asked = byte(scene, old, 3, LOCK_WRITE);
    await scene.pass(5);
    cluster.network.cuts.delete(out);
    await scene.pass(15);
    cluster.network.cuts.delete(back);
    await scene.settle(Promise.all([looked, asked]));
    await scene.pass(15);
    await scene.settle(byte(scene, old, 4, LOCK_WRITE));
    await refused(scene, byte(scene, other, 4, LOCK_WRITE));
    assert.equal(old.revocations, 0);
  });

  void it('is not overtaken by what its client asks for after a restart of all bricks', async () => {
    const scene = await leased(22);
    const { old, other, cluster } = scene;
    // Somebody who does not claim what it holds keeps new locks waiting.
    const third = new SimClient(cluster, 'third');
    await scene.settle(third.call('getattr', { gfid: scene.gfid }));
    await atOnce(scene, byte(scene, old, 2, LOCK_WRITE));
    for (const brick of cluster.bricks) cluster.network.cuts.add(`third>${brick.name}`);
    for (const brick of cluster.bricks) brick.crash(true);
    for (const brick of cluster.bricks) brick.start();
    await scene.until(() => !old.volume.connected);
    const unlocked = byte(scene, old, 2, LOCK_NONE);
    await scene.pass(3000);
    cluster.network.cuts.clear();
    await scene.settle(unlocked);
    await scene.settle(byte(scene, other, 2, LOCK_WRITE));
  });

  void it('gives nothing to a program that was interrupted while all claimed what they hold after a restart of all bricks', async () => {
    const scene = await leased(23);
    const { other, cluster } = scene;
    const third = new SimClient(cluster, 'third');
    await scene.settle(third.call('getattr', { gfid: scene.gfid }));
    for (const brick of cluster.bricks) cluster.network.cuts.add(`third>${brick.name}`);
    for (const brick of cluster.bricks) brick.crash(true);
    for (const brick of cluster.bricks) brick.start();
    await scene.until(() => other.volume.connected);
    const waits = byte(scene, other, 7, LOCK_WRITE, 'two', true).then(() => 0, (error: FsError) => error.errno);
    await scene.pass(300);
    await scene.settle(other.call('cancelLock', { gfid: scene.gfid, owner: 'two' }));
    cluster.network.cuts.clear();
    assert.equal(await scene.settle(waits), Errno.EINTR);
    assert.equal((await scene.settle(holder(scene, other, 7))).type, LOCK_NONE);
  });

  void it('is offered to the only other session that has the file open when locks on it are given up', async () => {
    const scene = await leased(140);
    const { old, other } = scene;
    await scene.pass(500);
    await scene.settle(byte(scene, old, 1, LOCK_NONE));
    await scene.pass(20);
    await atOnce(scene, byte(scene, other, 1, LOCK_WRITE));
    await refused(scene, byte(scene, old, 1, LOCK_READ));
  });

  void it('is offered to a session once as long as nobody else is offered one: who goes on using the file would have to call it in each time', async () => {
    const scene = await leased(141);
    const { old, other, world } = scene;
    for (let n = 0; n < 2; n++) {
      await scene.pass(500);
      await scene.settle(byte(scene, old, 1, LOCK_NONE));
      await scene.pass(500);
      await scene.settle(byte(scene, old, 1, LOCK_READ));
    }
    await scene.pass(500);
    await scene.settle(byte(scene, old, 1, LOCK_NONE));
    await scene.pass(20);
    const { now } = world;
    await scene.settle(byte(scene, other, 1, LOCK_WRITE));
    assert.notEqual(world.now, now);
  });

  void it('that is offered brings no second holder, whenever the primary dies', async () => {
    for (let messages = 0; messages <= 30; messages++) {
      const scene = await leased(200 + messages);
      const { old, other } = scene;
      await scene.pass(500);
      if (messages > 0) scene.primary().doom({ power: messages % 2 === 0, calls: 0, messages });
      await scene.settle(byte(scene, old, 1, LOCK_NONE));
      await scene.pass(messages % 3 === 0 ? 20 : messages % 7);
      const taken = await Promise.all([other, old].map(async (client) => {
        const outcome = await scene.settle(byte(scene, client, 1, LOCK_WRITE).then(() => true, () => false));
        return outcome;
      }));
      assert.deepEqual(taken.filter(Boolean).length, 1, `the primary died at message ${messages}`);
      await scene.pass(3000);
      const [winner, loser] = taken[0] === true ? [other, old] : [old, other];
      await refused(scene, byte(scene, loser, 1, LOCK_READ));
      await scene.settle(byte(scene, winner, 1, LOCK_NONE));
      await scene.settle(byte(scene, loser, 1, LOCK_WRITE));
      assert.equal(old.revocations + other.revocations, 0);
    }
  });

  void it('that is offered is known to the next primary', async () => {
    const scene = await leased(260);
    const { old, other } = scene;
    await scene.pass(500);
    await scene.settle(byte(scene, old, 1, LOCK_NONE));
    await scene.pass(20);
    // What it gives is on the way for longer than the next primary needs.
    scene.silence(other);
    await atOnce(scene, byte(scene, other, 1, LOCK_WRITE));
    const primary = scene.primary();
    primary.crash(true);
    await scene.until(() => scene.cluster.view.primary !== primary.id && old.volume.connected);
    const wanted = byte(scene, old, 1, LOCK_WRITE);
    await scene.pass(1000);
    scene.hear(other);
    await refused(scene, wanted);
  });

  void it('is offered on a file behind it as well, to who may have opened that without asking', async () => {
    const scene = await Scene.begin(270);
    const { old, other } = scene;
    const image = scene.gfid;
    const { attr } = await scene.settle(old.call('create', { parent: ROOT_GFID, name: 'base', mode: 0o644, exclusive: true, truncate: false, uid: 0, gid: 0 }));
    await scene.pass(300);
    const lock = (client: SimClient, gfid: string, type: number): Promise<unknown> =>
      client.call('setLock', { gfid, owner: 'qemu', kind: 0, type, start: 100, end: 100, pid: 1, wait: false });
    await scene.settle(lock(old, attr.gfid, LOCK_READ));
    await scene.settle(lock(old, image, LOCK_READ));
    await scene.settle(other.call('getattr', { gfid: attr.gfid }));
    await scene.pass(500);
    await scene.settle(other.call('getattr', { gfid: attr.gfid }));
    await scene.settle(lock(old, attr.gfid, LOCK_NONE));
    await scene.settle(lock(old, image, LOCK_NONE));
    await scene.pass(20);
    await atOnce(scene, lock(other, attr.gfid, LOCK_READ));
    await atOnce(scene, lock(other, image, LOCK_READ));
  });
});
