import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LeaseCache } from '../../../src/client/lease-cache.js';
import type { Attr } from '../../../src/fops/fields.js';
import { LEASE_MS, Leases } from '../../../src/replica/leases.js';
import { Session } from '../../../src/replica/sessions.js';
import { World } from '../../sim/world.js';

const A = 'a'.repeat(32);
const TIME = { sec: 1, nsec: 0 };

function attr(gfid: string): Attr {
  return { gfid, mode: 0o100644, nlink: 1, uid: 0, gid: 0, rdev: 0, size: 1, blocks: 8, atime: TIME, mtime: TIME, ctime: TIME };
}

function setUp(): { world: World; leases: Leases; reader: Session; writer: Session; later(ms: number): Promise<void> } {
  const world = new World(1);
  const leases = new Leases(world.clock(() => true, { name: 'x', stopped: false }));
  return {
    world, leases, reader: new Session('reader'), writer: new Session('writer'),
    later: async (ms) => {
      let over = false;
      world.at(ms, () => (over = true));
      await world.run(() => over, Infinity);
    },
  };
}

void describe('read leases', () => {
  void it('a change waits for the holder to let go, and for nobody else', () => {
    const { leases, reader, writer } = setUp();
    leases.extend(reader);
    leases.extend(writer);
    leases.grant(A, reader);
    leases.grant(A, writer);
    let done = false;
    assert.equal(leases.recall([A], writer, () => (done = true)), false);
    assert.equal(done, false);
    leases.recalled(writer, 1);
    assert.equal(done, false);
    leases.recalled(reader, 1);
    assert.equal(done, true);
    assert.equal(leases.recall([A], writer, () => undefined), true, 'the writer keeps its own');
  });

  void it('a change waits for the holder that was asked for another change and has not let go', () => {
    const { leases, reader, writer } = setUp();
    const third = new Session('third');
    for (const session of [reader, writer, third]) leases.extend(session);
    leases.grant(A, reader);
    leases.grant('b'.repeat(32), third);
    const done: string[] = [];
    assert.equal(leases.recall([A], writer, () => done.push('first')), false);
    assert.equal(leases.recall([A], third, () => done.push('second')), false);
    assert.equal(leases.recall([A, 'b'.repeat(32)], writer, () => done.push('both')), false);
    assert.equal(leases.recall([A], reader, () => done.push('its own')), true, 'the holder changes it itself');
    leases.recalled(third, 2);
    assert.deepEqual(done, []);
    leases.recalled(reader, 1);
    assert.deepEqual(done, ['first', 'second', 'both']);
  });

  void it('a silent holder delays a change for no longer than its lease time', async () => {
    const { leases, reader, writer, later } = setUp();
    leases.extend(reader);
    leases.grant(A, reader);
    let done = false;
    leases.recall([A], writer, () => (done = true));
    await later(LEASE_MS - 1);
    assert.equal(done, false);
    await later(100);
    assert.equal(done, true);
  });

  void it('what a client knew before its time ran out does not come to life again', () => {
    let now = 0;
    const cache = new LeaseCache(() => now);
    cache.extend(500);
    cache.learn('getattr', { gfid: A }, 0, { attr: attr(A) }, true);
    assert.deepEqual(cache.answer('getattr', { gfid: A }), { attr: attr(A) });
    now = 600;
    assert.equal(cache.answer('getattr', { gfid: A }), undefined);
    cache.extend(1100);
    assert.equal(cache.answer('getattr', { gfid: A }), undefined);
  });

  void it('too many leases run out together and begin anew', async () => {
    const { leases, reader, writer, later } = setUp();
    leases.extend(reader);
    for (let i = 0; i < 200_000; i++) leases.grant(i.toString(16).padStart(32, '0'), reader);
    assert.equal(leases.eligible(reader), false);
    assert.equal(leases.extend(reader), false);
    await later(LEASE_MS + 100);
    assert.equal(leases.extend(reader), true);
    assert.equal(leases.eligible(reader), true);
    assert.equal(leases.recall(['0'.repeat(32)], writer, () => undefined), true);
  });

  void it('an inode that was recalled gets no lease for a while, longer each time that it is recalled again soon after', async () => {
    const { leases, reader, writer, later } = setUp();
    const recalledAfterMs: number[] = [];
    for (let round = 0; round < 8; round++) {
      let waitedMs = 0;
      for (; leases.withheld(A); waitedMs += 10) await later(10);
      recalledAfterMs.push(waitedMs);
      leases.extend(reader);
      leases.grant(A, reader);
      leases.recall([A], writer, () => undefined);
      leases.recalled(reader, round + 1);
    }
    assert.deepEqual(recalledAfterMs, [0, 20, 40, 80, 160, 320, 640, 1000]);
    assert.equal(leases.withheld('b'.repeat(32)), false);
    await later(6000);
    leases.extend(reader);
    leases.grant(A, reader);
    leases.recall([A], writer, () => undefined);
    await later(20);
    assert.equal(leases.withheld(A), false, 'after a calm time it begins anew');
  });

  void it('nothing is withheld of an inode that only its writer had', () => {
    const { leases, writer } = setUp();
    leases.extend(writer);
    leases.grant(A, writer);
    assert.equal(leases.recall([A], writer, () => undefined), true);
    assert.equal(leases.withheld(A), false);
  });

  void it('a session that owes an answer to a recall gets no more leases until it gives it', async () => {
    const { leases, reader, writer, later } = setUp();
    leases.extend(reader);
    leases.grant(A, reader);
    leases.recall([A], writer, () => undefined);
    await later(LEASE_MS / 2);
    leases.extend(reader);
    await later(LEASE_MS / 2 + 60);
    assert.ok(reader.leaseUntil > 0 && !leases.eligible(reader), 'it is alive and owes an answer');
    assert.equal(leases.extend(reader), false, 'what else it has runs out too');
    leases.recalled(reader, 1);
    assert.equal(leases.eligible(reader), true);
  });

  void it('a session that does not answer a recall is presumed to have the inode open, until it tells', async () => {
    const { leases, reader, writer, later } = setUp();
    leases.extend(reader);
    leases.grant(A, reader);
    leases.recall([A], writer, () => undefined);
    assert.equal(reader.mayHaveOpen(A), false);
    await later(LEASE_MS + 100);
    assert.equal(reader.mayHaveOpen(A), true);
    assert.deepEqual(leases.recalled(reader, 1), [A]);
    assert.equal(reader.mayHaveOpen(A), false);
  });

  void it('so is one whose leases had run out, or were forgotten because there were too many', async () => {
    const { leases, reader, writer, later } = setUp();
    leases.extend(reader);
    leases.grant(A, reader);
    await later(LEASE_MS + 100);
    assert.equal(leases.recall([A], writer, () => undefined), true);
    assert.equal(reader.mayHaveOpen(A), true);
    assert.deepEqual(reader.told(true, [], []), [A]);
    assert.equal(reader.mayHaveOpen(A), false);
    leases.extend(reader);
    for (let i = 0; i < 200_000; i++) leases.grant(i.toString(16).padStart(32, '0'), reader);
    leases.extend(reader);
    await later(LEASE_MS + 100);
    leases.extend(reader);
    assert.equal(reader.mayHaveOpen(A), true);
    reader.told(true, [A], []);
    assert.equal(reader.mayHaveOpen(A), true);
    assert.deepEqual(reader.told(false, [], [A]), [A]);
    assert.equal(reader.mayHaveOpen(A), false);
  });
});

void describe('names that the kernel keeps', () => {
  const DIRECTORY = 'd'.repeat(32);

  function knowing(): { cache: LeaseCache; at(now: number): void } {
    let now = 0;
    const cache = new LeaseCache(() => now);
    cache.extend(1000);
    cache.learn('lookup', { parent: DIRECTORY, name: 'n' }, 0, { attr: attr(A) }, true);
    return { cache, at: (time) => (now = time) };
  }

  void it('are short-lived, and a recall of the directory or of the inode waits until they are over', () => {
    for (const recalled of [DIRECTORY, A]) {
      const { cache, at } = knowing();
      assert.equal(cache.forget([recalled]), 0, 'none was told');
      const told = knowing();
      assert.equal(told.cache.tellName(DIRECTORY, 'n', A), 20);
      told.at(10);
      assert.equal(told.cache.forget([recalled]), 70);
      at(0);
    }
  });

  void it('are not told of what somebody else uses too, until a while after', () => {
    const { cache, at } = knowing();
    cache.forget([A]);
    cache.learn('lookup', { parent: DIRECTORY, name: 'n' }, 0, { attr: attr(A) }, true);
    assert.equal(cache.tellName(DIRECTORY, 'n', A), 0);
    cache.extend(3000);
    at(1001);
    assert.equal(cache.tellName(DIRECTORY, 'n', A), 20);
  });

  void it('are not told in a directory where somebody had to wait for one, for longer each time', () => {
    const { cache, at } = knowing();
    const B = 'b'.repeat(32);
    const names = { n: A, m: B };
    let now = 0;
    const silentMs = (): number => {
      const begin = now;
      for (; ; at((now += 100))) {
        cache.extend(now + 1000);
        for (const [name, gfid] of Object.entries(names)) cache.learn('lookup', { parent: DIRECTORY, name }, 0, { attr: attr(gfid) }, true);
        if (cache.tellName(DIRECTORY, 'm', B) > 0) return now - begin;
      }
    };
    assert.equal(silentMs(), 0);
    const waits: number[] = [];
    for (let round = 0; round < 7; round++) {
      assert.equal(cache.forget([B]), 80);
      waits.push(silentMs());
      assert.equal(cache.tellName(DIRECTORY, 'n', A), 20, 'and so is another name of the directory');
    }
    assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 32_000, 32_000]);
  });

  void it('that were never told hold nobody up when everything is forgotten', () => {
    const { cache } = knowing();
    cache.learn('rename', { parent: DIRECTORY, name: 'x', newParent: DIRECTORY, newName: 'y', flags: 0 }, 0, {}, false);
    assert.equal(cache.size, 0);
    assert.equal(cache.forget([A]), 0);
  });

  void it('are remembered to have been told when what they led to is forgotten', () => {
    const { cache } = knowing();
    cache.tellName(DIRECTORY, 'n', A);
    cache.clear();
    assert.equal(cache.forget([DIRECTORY]), 80);
  });

  void it('are not told by another name, nor when the lease ends first', () => {
    const { cache, at } = knowing();
    assert.equal(cache.tellName(DIRECTORY, 'm', A), 0);
    assert.equal(cache.tellName(DIRECTORY, 'n', DIRECTORY), 0);
    at(950);
    assert.equal(cache.tellName(DIRECTORY, 'n', A), 0);
  });
});
