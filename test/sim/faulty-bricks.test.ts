/** A brick that refuses, differs or is slow leaves the set and returns when it can; programs notice a pause at most. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Errno, FsError } from '../../src/base/errno.js';
import { ROOT_GFID } from '../../src/base/ids.js';
import { Scene } from './scene.js';
import { STORE } from './sim-authority.js';
import type { SimBrick } from './sim-brick.js';

const PING_TIMEOUT_MS = 10_000;
/** The journal record with which a copy forgets its own answers for those of another. */
const TAKES_OVER_ANSWERS = Buffer.from([1, 0, 'x'.charCodeAt(0)]);

/** Every change with one of these labels fails at the brick until the returned function is called. */
function refuse(brick: SimBrick, errno: number, labels: readonly string[]): () => void {
  brick.fault = { errno, calls: new Set(labels), chance: 1 };
  return () => (brick.fault = undefined);
}

function isHalf(text: string): boolean {
  return text.startsWith('+') && text.endsWith('-');
}

async function assertWholeAndEqual(scene: Scene): Promise<void> {
  await scene.inSync(3);
  await scene.pass(1000);
  const [first, ...others] = scene.cluster.bricks.map((brick) => brick.store.dump());
  for (const other of others) assert.equal(other, first);
}

void describe('a brick', () => {
  for (const errno of [Errno.EIO, Errno.ENOSPC, Errno.EROFS]) {
    void it(`that refuses with errno ${errno} what the others do leaves, and returns`, async () => {
      for (const who of ['member', 'primary'] as const) {
        const scene = await Scene.begin(errno);
        const sick = scene[who]();
        const heal = refuse(sick, errno, ['write', 'patch', 'putInode', 'place']);
        await scene.settle(scene.write(scene.old, 'after!'));
        await scene.until(() => !scene.cluster.view.inSync.includes(sick.id));
        await scene.settle(scene.write(scene.other, 'again!'));
        await scene.pass(5000);
        assert.ok(!scene.cluster.view.inSync.includes(sick.id), 'it cannot return yet');
        heal();
        await assertWholeAndEqual(scene);
        assert.equal(await scene.content(), 'again!');
      }
    });
  }

  void it('is not alone when all disks are full: the caller is told, and the set stays whole', async () => {
    const scene = await Scene.begin(21);
    const heals = scene.cluster.bricks.map((brick) => refuse(brick, Errno.ENOSPC, ['write']));
    await assert.rejects(scene.settle(scene.write(scene.old, 'after!')), (error: FsError) => error.errno === Errno.ENOSPC);
    await assert.rejects(scene.settle(scene.write(scene.other, 'after!')), (error: FsError) => error.errno === Errno.ENOSPC);
    for (const heal of heals) heal();
    await scene.settle(scene.write(scene.old, 'space!'));
    await assertWholeAndEqual(scene);
  });

  void it('that refused for long, while it could not be left out, returns soon after its disk has space', async () => {
    const scene = await Scene.begin(29);
    const { cuts } = scene.cluster.network;
    const sick = scene.member();
    const heal = refuse(sick, Errno.ENOSPC, ['write', 'patch', 'putInode', 'place']);
    for (const { name } of scene.cluster.bricks) cuts.add(`${name}>${STORE}`).add(`${STORE}>${name}`);
    const written = scene.write(scene.old, 'after!');
    await scene.pass(30_000);
    assert.ok(scene.cluster.view.inSync.includes(sick.id), 'nobody can change the view');
    cuts.clear();
    await scene.until(() => !scene.cluster.view.inSync.includes(sick.id));
    heal();
    const began = scene.world.now;
    await assertWholeAndEqual(scene);
    assert.ok(scene.world.now - began < 15_000, `it was away for ${scene.world.now - began} ms`);
    await scene.settle(written);
  });

  void it('whose fsync fails leaves: the fsync is acknowledged by the others', async () => {
    for (const who of ['member', 'primary'] as const) {
      const scene = await Scene.begin(22);
      const sick = scene[who]();
      const heal = refuse(sick, Errno.EIO, ['fsync', 'sync']);
      await scene.settle(scene.write(scene.old, 'after!'));
      await scene.settle(scene.old.call('fsync', { gfid: scene.gfid, dataOnly: false }));
      assert.ok(!scene.cluster.view.inSync.includes(sick.id));
      heal();
      await assertWholeAndEqual(scene);
    }
  });

  void it('whose fsync fails where it cannot be left out is made equal in what its disk lost', async () => {
    for (const who of ['member', 'primary'] as const) {
      const scene = await Scene.begin(33);
      await scene.inSync(3);
      const third = scene.cluster.bricks.find((brick) => brick !== scene.primary() && brick !== scene.member()) as SimBrick;
      third.crash(false);
      await scene.inSync(2);
      await scene.settle(scene.old.call('fsync', { gfid: scene.gfid, dataOnly: false }));
      const sick = scene[who]();
      sick.losesPages = true;
      await scene.settle(scene.write(scene.old, 'after!'));
      const heal = refuse(sick, Errno.EIO, ['fsync']);
      const synced = scene.old.call('fsync', { gfid: scene.gfid, dataOnly: false });
      await scene.pass(500);
      heal();
      await scene.settle(synced);
      assert.ok(scene.cluster.view.inSync.includes(sick.id));
      sick.crash(true);
      assert.equal(Buffer.from(await sick.store.read(scene.gfid, 0, 100)).toString(), 'after!', who);
    }
  });

  void it('whose checkpoint fails leaves', async () => {
    for (const who of ['member', 'primary'] as const) {
      const scene = await Scene.begin(23);
      const sick = scene[who]();
      const heal = refuse(sick, Errno.EIO, ['sync']);
      await scene.until(() => !scene.cluster.view.inSync.includes(sick.id));
      heal();
      await assertWholeAndEqual(scene);
    }
  });

  void it('whose disk cannot be read is no primary: another answers', async () => {
    const scene = await Scene.begin(24);
    const sick = scene.primary();
    const heal = refuse(sick, Errno.EIO, ['read']);
    // Not by the other client, which may read the files of another brick.
    const { data } = await scene.settle(scene.old.call('read', { gfid: scene.gfid, offset: 0, size: 100 }));
    assert.equal(Buffer.from(data).toString(), 'before');
    assert.notEqual(scene.primary(), sick);
    heal();
    await assertWholeAndEqual(scene);
  });

  void it('that made half of a write, which its client will never repeat, hands the role to a member that returns whole', async () => {
    const scene = await Scene.begin(27);
    const { cluster, old } = scene;
    const [sick, second, third] = [scene.primary(), ...cluster.bricks.filter(({ id }) => id !== cluster.view.primary)] as [SimBrick, SimBrick, SimBrick];
    await scene.settle(scene.write(old, '-'.repeat(100)));
    third.crash(false);
    await scene.inSync(2);
    // Its process will end without a note of it, too.
    refuse(sick, Errno.EIO, ['write', 'meta']);
    cluster.network.cuts.add(`${sick.name}>${second.name}`);
    void scene.write(old, '+'.repeat(100)).catch(() => undefined);
    await scene.until(() => isHalf(Buffer.from(sick.store.peek(scene.gfid, 0, 100) ?? []).toString()));
    second.crash(false);
    cluster.network.cuts.clear();
    await scene.pass(500);
    old.crash();
    second.start();
    await scene.until(() => second.disk.readMeta().unsettled || cluster.view.primary === second.id);
    sick.crash(false);
    sick.fault = undefined;
    sick.start();
    third.start();
    await assertWholeAndEqual(scene);
    assert.ok(!isHalf(await scene.content()));
  });

  void it('that cannot write down the answers of the others is not in sync', async () => {
    const scene = await Scene.begin(28);
    const sick = scene.primary();
    const { disk } = sick;
    const append = disk.append.bind(disk);
    disk.append = (generation, bytes) => {
      if (Buffer.from(bytes).includes(TAKES_OVER_ANSWERS)) throw new FsError(Errno.EIO, 'journal');
      append(generation, bytes);
    };
    const heal = refuse(sick, Errno.EIO, ['mkdir']);
    await scene.settle(scene.old.call('mkdir', { parent: ROOT_GFID, name: 'once', mode: 0o755, uid: 0, gid: 0 }));
    heal();
    await scene.pass(3000);
    assert.ok(!scene.cluster.view.inSync.includes(sick.id), 'it cannot return yet');
    disk.append = append;
    await assertWholeAndEqual(scene);
  });

  void it('that answers otherwise leaves, and is compared as a whole', async () => {
    const scene = await Scene.begin(25);
    const member = scene.member();
    const { attr } = await scene.settle(scene.old.call('mkdir', { parent: ROOT_GFID, name: 'deep', mode: 0o755, uid: 0, gid: 0 }));
    await scene.settle(scene.old.call('mknod', { parent: attr.gfid, name: 'untouched', mode: 0o100644, rdev: 0, uid: 0, gid: 0 }));
    await scene.pass(70_000);
    // Nobody wrote these keys to a journal since the last checkpoint.
    const lost = member.store.child(attr.gfid, 'untouched');
    member.store.place(attr.gfid, 'untouched', undefined);
    if (lost !== undefined) member.store.forget(lost.gfid);
    member.store.patch(scene.gfid, 0, Buffer.alloc(50, 'x'));
    await scene.settle(scene.write(scene.other, 'after!'));
    await scene.until(() => !scene.cluster.view.inSync.includes(member.id));
    await assertWholeAndEqual(scene);
    assert.ok(member.store.child(attr.gfid, 'untouched') !== undefined);
  });

  void it('that says nothing holds a change up for less than the ping timeout', async () => {
    const scene = await Scene.begin(26);
    const member = scene.member();
    member.stopped = true;
    const began = scene.world.now;
    await scene.settle(scene.write(scene.old, 'after!'));
    assert.ok(scene.world.now - began < PING_TIMEOUT_MS, `waited ${scene.world.now - began} ms`);
    member.stopped = false;
    await assertWholeAndEqual(scene);
  });

  void it('that is stopped by turns leaves within the ping timeout, and longer each time', async () => {
    const scene = await Scene.begin(27);
    const member = scene.member();
    let sick = true;
    const turns = (): void => {
      member.stopped = sick && !member.stopped;
      if (sick) scene.world.at(member.stopped ? 2000 : 500, turns);
    };
    turns();
    let writing = true;
    let written = 0;
    const load = (async () => {
      for (; writing; written++) {
        await scene.write(scene.old, 'after!');
        await new Promise<void>((resolve) => void scene.world.at(20, resolve));
      }
    })();
    const began = scene.world.now;
    await scene.until(() => !scene.cluster.view.inSync.includes(member.id));
    assert.ok(scene.world.now - began < PING_TIMEOUT_MS, `it left after ${scene.world.now - began} ms`);
    const before = written;
    await scene.pass(4000);
    assert.ok(written - before > 100, `the others go on: ${written - before} writes`);
    await scene.pass(60_000);
    sick = false;
    writing = false;
    await scene.settle(load);
    await assertWholeAndEqual(scene);
  });
});

void describe('an old primary that is cut off', () => {
  void it('answers nothing from its copy once its lease is over, not even a refusal', async () => {
    const scene = await Scene.begin(31);
    const { cuts } = scene.cluster.network;
    const before = scene.primary();
    const others = scene.cluster.bricks.filter((brick) => brick !== before).map((brick) => brick.name);
    // The old client hears of nobody but the old primary, which hears of nobody but the old client.
    for (const name of [...others, STORE]) for (const one of [before.name, scene.old.name]) cuts.add(`${one}>${name}`).add(`${name}>${one}`);
    await scene.until(() => scene.primary() !== before && scene.primary().replica?.serving === true);
    await scene.settle(scene.other.call('mkdir', { parent: ROOT_GFID, name: 'made since', mode: 0o755, uid: 0, gid: 0 }));
    const removed = scene.old.call('rmdir', { parent: ROOT_GFID, name: 'made since' });
    let early = false;
    void removed.catch(() => undefined).finally(() => (early = true));
    await scene.pass(5000);
    assert.equal(early, false, 'nothing was answered');
    cuts.clear();
    await scene.settle(removed);
    await assertWholeAndEqual(scene);
  });

  void it('is not obeyed by a brick that was restarted and hears of the old view first', async () => {
    const scene = await Scene.begin(32);
    const member = scene.member();
    const { epoch } = scene.cluster.view;
    const third = scene.cluster.bricks.find((brick) => brick !== member && brick !== scene.primary()) as SimBrick;
    const old = scene.cluster.view;
    third.crash(false);
    await scene.inSync(2);
    await scene.until(() => (member.replica?.view.epoch ?? 0) > epoch);
    const known = member.replica?.view.epoch ?? 0;
    member.crash(false);
    member.start();
    member.replica?.setView(old);
    assert.notEqual(member.replica?.view.epoch, old.epoch);
    await scene.until(() => (member.replica?.view.epoch ?? 0) >= known);
    third.start();
    await assertWholeAndEqual(scene);
  });
});
