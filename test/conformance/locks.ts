/** Locks: POSIX/OFD ranges (kind 0) and flock (kind 1), conflicts, waits, owners. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { Errno } from '../../src/base/errno.js';
import type { Gfid } from '../../src/base/ids.js';
import { LOCK_END_MAX, type Fops } from '../../src/fops/ops.js';
import { fails, type ConformanceTests, type Fixture } from './suite.js';

const READ = 0;
const WRITE = 1;
const UNLOCK = 2;
const POSIX = 0;
const FLOCK = 1;

interface Range {
  start: number;
  end: number;
}
const WHOLE: Range = { start: 0, end: LOCK_END_MAX };

class Locker {
  constructor(
    private readonly fops: Fops,
    private readonly gfid: Gfid,
    readonly owner: string,
    private readonly kind = POSIX,
  ) {}

  set(type: number, range: Range, wait = false): Promise<object> {
    return this.fops.setLock({ gfid: this.gfid, owner: this.owner, kind: this.kind, type, ...range, pid: 1000 + this.owner.length, wait });
  }

  test(type: number, range: Range): Promise<{ type: number; start: number; end: number; pid: number }> {
    return this.fops.getLock({ gfid: this.gfid, owner: this.owner, kind: this.kind, type, ...range });
  }

  async free(range: Range, type = WRITE): Promise<boolean> {
    return (await this.test(type, range)).type === UNLOCK;
  }

  drop(): Promise<object> {
    return this.fops.dropLocks({ gfid: this.gfid, owner: this.owner, kind: this.kind });
  }

  cancel(): Promise<object> {
    return this.fops.cancelLock({ gfid: this.gfid, owner: this.owner });
  }
}

async function pair(t: Fixture, kind = POSIX): Promise<[Locker, Locker]> {
  const gfid = await t.file(`lock${Math.random()}`);
  return [new Locker(t.fops, gfid, 'a', kind), new Locker(t.fops, gfid, 'bb', kind)];
}

/** Settles as 'granted', 'refused CODE' or, after a short time, 'waiting'. */
async function stateOf(work: Promise<unknown>): Promise<string> {
  const outcome = work.then(
    () => 'granted',
    (error: { code?: string }) => `refused ${error.code ?? 'unknown'}`,
  );
  return Promise.race([outcome, sleep(150, 'waiting')]);
}

export const LOCK_TESTS: ConformanceTests = {
  'readers share, writers exclude': async (t) => {
    for (const kind of [POSIX, FLOCK]) {
      const rows: [number, number, boolean][] = [
        [READ, READ, true],
        [READ, WRITE, false],
        [WRITE, READ, false],
        [WRITE, WRITE, false],
      ];
      for (const [held, asked, granted] of rows) {
        const [a, b] = await pair(t, kind);
        await a.set(held, WHOLE);
        if (granted) await b.set(asked, WHOLE);
        else await fails(Errno.EAGAIN, b.set(asked, WHOLE), `held ${held}, asked ${asked}`);
        assert.equal(await b.free(WHOLE, asked), granted);
        await a.set(UNLOCK, WHOLE);
        await b.set(asked, WHOLE);
        await b.set(UNLOCK, WHOLE);
      }
    }
  },

  'ranges conflict exactly where they overlap': async (t) => {
    const [a, b] = await pair(t);
    await a.set(WRITE, { start: 100, end: 199 });
    await b.set(WRITE, { start: 0, end: 99 });
    await b.set(WRITE, { start: 200, end: LOCK_END_MAX });
    for (const range of [{ start: 0, end: 100 }, { start: 199, end: 199 }, { start: 150, end: 160 }, WHOLE, { start: 100, end: 100 }]) {
      await fails(Errno.EAGAIN, b.set(READ, range), `${range.start}-${range.end}`);
    }
  },

  'getLock tells a conflicting lock, and none for the owner itself': async (t) => {
    const [a, b] = await pair(t);
    await a.set(READ, { start: 50, end: 59 });
    await a.set(WRITE, { start: 10, end: 19 });
    assert.ok([10, 50].includes((await b.test(WRITE, WHOLE)).start));
    assert.deepEqual(await b.test(READ, WHOLE), { type: WRITE, start: 10, end: 19, pid: 1001 });
    assert.deepEqual(await b.test(WRITE, { start: 20, end: 100 }), { type: READ, start: 50, end: 59, pid: 1001 });
    assert.equal((await b.test(READ, { start: 20, end: 100 })).type, UNLOCK);
    assert.equal((await a.test(WRITE, WHOLE)).type, UNLOCK);
  },

  'an owner replaces, splits and joins its own ranges': async (t) => {
    const [a, b] = await pair(t);
    await a.set(WRITE, { start: 0, end: 99 });
    await a.set(UNLOCK, { start: 40, end: 59 });
    assert.ok(await b.free({ start: 40, end: 59 }));
    assert.ok(!(await b.free({ start: 39, end: 39 })) && !(await b.free({ start: 60, end: 60 })));
    await a.set(READ, { start: 0, end: 19 });
    await b.set(READ, { start: 10, end: 15 });
    await fails(Errno.EAGAIN, b.set(READ, { start: 20, end: 20 }));
    await fails(Errno.EAGAIN, a.set(WRITE, { start: 0, end: 99 }), 'upgrade over a reader');
    await b.set(UNLOCK, WHOLE);
    await a.set(WRITE, { start: 0, end: 99 });
    const found = await b.test(READ, WHOLE);
    assert.deepEqual([found.start, found.end], [0, 99], 'joined again');
  },

  'POSIX locks and flock do not see each other': async (t) => {
    const gfid = await t.file('f');
    await new Locker(t.fops, gfid, 'a', POSIX).set(WRITE, WHOLE);
    await new Locker(t.fops, gfid, 'b', FLOCK).set(WRITE, WHOLE);
    await fails(Errno.EAGAIN, new Locker(t.fops, gfid, 'c', POSIX).set(READ, WHOLE));
    await fails(Errno.EAGAIN, new Locker(t.fops, gfid, 'c', FLOCK).set(READ, WHOLE));
  },

  'a wait ends when the conflict is gone': async (t) => {
    const [a, b] = await pair(t);
    await a.set(WRITE, WHOLE);
    const waiting = b.set(WRITE, { start: 5, end: 6 }, true);
    assert.equal(await stateOf(waiting), 'waiting');
    await a.set(UNLOCK, { start: 0, end: 5 });
    assert.equal(await stateOf(waiting), 'waiting');
    await a.set(UNLOCK, { start: 6, end: 6 });
    await waiting;
    await fails(Errno.EAGAIN, a.set(READ, { start: 6, end: 6 }));
  },

  'waiting readers get in together': async (t) => {
    const gfid = await t.file('f');
    const a = new Locker(t.fops, gfid, 'a');
    await a.set(WRITE, WHOLE);
    const readers = ['r1', 'r2', 'r3'].map((owner) => new Locker(t.fops, gfid, owner).set(READ, WHOLE, true));
    assert.equal(await stateOf(Promise.all(readers)), 'waiting');
    await a.drop();
    await Promise.all(readers);
  },

  'a cancelled wait ends with EINTR and leaves nothing': async (t) => {
    const [a, b] = await pair(t);
    await a.set(WRITE, WHOLE);
    const waiting = b.set(READ, WHOLE, true);
    assert.equal(await stateOf(waiting), 'waiting');
    await b.cancel();
    await fails(Errno.EINTR, waiting);
    await a.drop();
    assert.ok(await a.free(WHOLE), 'b holds nothing');
    await b.cancel();
  },

  'a wait that would close a cycle is refused with EDEADLK': async (t) => {
    const [a, b] = await pair(t);
    await a.set(WRITE, { start: 0, end: 0 });
    await b.set(WRITE, { start: 1, end: 1 });
    const waiting = a.set(WRITE, { start: 1, end: 1 }, true);
    assert.equal(await stateOf(waiting), 'waiting');
    const asking = b.set(WRITE, { start: 0, end: 0 }, true);
    // Usually the one that asks last; where the primary changes meanwhile, both ask anew, in either order.
    const refused = await Promise.race([
      waiting.then(() => 'nobody', (error: { code?: string }) => `a ${error.code ?? ''}`),
      asking.then(() => 'nobody', (error: { code?: string }) => `b ${error.code ?? ''}`),
    ]);
    assert.match(refused, /^[ab] EDEADLK$/);
    const [loser, winner] = refused.startsWith('a') ? [a, asking] : [b, waiting];
    await loser.drop();
    await winner;
  },

  'dropLocks ends all locks of one owner on one inode, and nothing else': async (t) => {
    const gfid = await t.file('f');
    const other = await t.file('g');
    const a = new Locker(t.fops, gfid, 'a');
    const b = new Locker(t.fops, gfid, 'b');
    const elsewhere = new Locker(t.fops, other, 'a');
    await a.set(WRITE, { start: 0, end: 9 });
    await a.set(READ, { start: 20, end: 29 });
    await b.set(WRITE, { start: 40, end: 49 });
    await elsewhere.set(WRITE, WHOLE);
    await a.drop();
    assert.ok(await b.free({ start: 0, end: 39 }));
    assert.ok(!(await a.free({ start: 40, end: 49 })));
    assert.ok(!(await new Locker(t.fops, other, 'b').free(WHOLE)));
  },

  'a flock is exchanged between shared and exclusive by its owner': async (t) => {
    const [a, b] = await pair(t, FLOCK);
    await a.set(READ, WHOLE);
    await b.set(READ, WHOLE);
    await fails(Errno.EAGAIN, a.set(WRITE, WHOLE));
    await b.drop();
    await a.set(WRITE, WHOLE);
    await fails(Errno.EAGAIN, b.set(READ, WHOLE));
    await a.set(READ, WHOLE);
    await b.set(READ, WHOLE);
  },

  'unlocking what is not locked is no error': async (t) => {
    const [a] = await pair(t);
    await a.set(UNLOCK, WHOLE);
    await a.drop();
  },

  'a range that ends before it starts and unknown types are refused': async (t) => {
    const [a] = await pair(t);
    await fails(Errno.EINVAL, a.set(WRITE, { start: 10, end: 9 }));
    await fails(Errno.EINVAL, a.set(7, WHOLE));
  },

  'thousands of ranges of one owner are kept apart': async (t) => {
    const [a, b] = await pair(t);
    for (let i = 0; i < 1000; i++) await a.set(WRITE, { start: i * 10, end: i * 10 });
    assert.ok(await b.free({ start: 1, end: 9 }));
    assert.deepEqual(await b.test(WRITE, { start: 4991, end: 5009 }), { type: WRITE, start: 5000, end: 5000, pid: 1001 });
    await a.set(UNLOCK, WHOLE);
    assert.ok(await b.free(WHOLE));
  },
};
