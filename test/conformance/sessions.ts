/** Several sessions on one volume, and exactly-once repetition. */
import assert from 'node:assert/strict';
import { Errno, type FsError } from '../../src/base/errno.js';
import { LOCK_END_MAX, S_IFREG } from '../../src/fops/ops.js';
import { bytes, fails, NotApplicable, OWNER, type ConformanceTests, type Fixture } from './suite.js';

const WHOLE = { start: 0, end: LOCK_END_MAX, pid: 1 };

function needsExactlyOnce(t: Fixture): void {
  if (!t.subject.exactlyOnce) throw new NotApplicable('the subject has no request numbers');
}

/** A session of its own, whose every mutation carries a number. */
async function numbered(t: Fixture): Promise<Fixture['fops']> {
  needsExactlyOnce(t);
  return (await t.session()).fops;
}

export const SESSION_TESTS: ConformanceTests = {
  'what one session did, the other sees at once': async (t) => {
    const { fops } = await t.session();
    for (let round = 0; round < 20; round++) {
      const name = `f${round}`;
      await fails(Errno.ENOENT, fops.lookup({ parent: t.dir, name }), 'not there yet');
      const gfid = await t.file(name, bytes(`round ${round}`));
      assert.equal((await fops.lookup({ parent: t.dir, name })).attr.gfid, gfid);
      assert.equal(Buffer.from((await fops.read({ gfid, offset: 0, size: 100 })).data).toString(), `round ${round}`);
      await fops.write({ gfid, offset: 0, append: true, sync: false, killPriv: false, data: bytes('!') });
      assert.equal((await t.attr(gfid)).size, `round ${round}!`.length);
      await fops.rename({ parent: t.dir, name, newParent: t.dir, newName: 'latest', flags: 0 });
      assert.equal(await t.exists(name), false);
      assert.equal((await t.lookup('latest')).gfid, gfid);
    }
  },

  'of many sessions that create one name exclusively, one succeeds': async (t) => {
    const sessions = await Promise.all(Array.from({ length: 4 }, () => t.session()));
    for (let round = 0; round < 20; round++) {
      const args = { parent: t.dir, name: `f${round}`, mode: 0o600, exclusive: true, truncate: false, ...OWNER };
      const results = await Promise.allSettled(sessions.map((s) => s.fops.create(args)));
      const won = results.filter((r) => r.status === 'fulfilled').length;
      assert.equal(won, 1, `round ${round}`);
      for (const r of results) if (r.status === 'rejected') assert.equal((r.reason as FsError).code, 'EEXIST');
    }
  },

  'appends of two sessions never overlap': async (t) => {
    const gfid = await t.file('f');
    const other = (await t.session()).fops;
    const work: Promise<unknown>[] = [];
    for (let i = 0; i < 50; i++) {
      for (const [fops, letter] of [[t.fops, 'a'], [other, 'b']] as const) {
        work.push(fops.write({ gfid, offset: 0, append: true, sync: false, killPriv: false, data: bytes(letter.repeat(10)) }));
      }
    }
    await Promise.all(work);
    const records = (await t.content(gfid)).toString().match(/.{10}/g) ?? [];
    assert.equal(records.length, 100);
    for (const record of records) assert.match(record, /^(a{10}|b{10})$/);
  },

  'an open file of one session survives its removal by another': async (t) => {
    const other = await t.differentSession();
    const gfid = await t.file('f', bytes('data'));
    await other.fops.open({ gfid, truncate: false, killPriv: false });
    await t.unlink('f');
    assert.equal(Buffer.from((await other.fops.read({ gfid, offset: 0, size: 10 })).data).toString(), 'data');
    await other.fops.release({ gfid });
    await t.gone(gfid);
  },

  'so does one that was opened under a lease, whoever removes it': async (t) => {
    const other = await t.differentSession();
    for (const remover of [t, other]) {
      const gfid = await t.file('f', bytes('data'));
      // The second lookup finds the session in touch, so that it is given a lease.
      for (let i = 0; i < 2; i++) await other.fops.lookup({ parent: t.dir, name: 'f' });
      for (let i = 0; i < 3; i++) await other.fops.open({ gfid, truncate: false, killPriv: false });
      await other.fops.release({ gfid });
      await remover.fops.unlink({ parent: t.dir, name: 'f' });
      assert.equal(Buffer.from((await other.fops.read({ gfid, offset: 0, size: 10 })).data).toString(), 'data');
      await other.fops.release({ gfid });
      assert.equal(Buffer.from((await other.fops.read({ gfid, offset: 0, size: 10 })).data).toString(), 'data');
      await other.fops.release({ gfid });
      await t.gone(gfid);
    }
  },

  'an unlinked open file vanishes when its session ends': async (t) => {
    const other = await t.differentSession();
    const gfid = await t.file('f', bytes('data'));
    await other.fops.open({ gfid, truncate: false, killPriv: false });
    await t.unlink('f');
    await other.close();
    await t.gone(gfid);
  },

  'the same owner name in two sessions means two owners': async (t) => {
    const other = await t.differentSession();
    const gfid = await t.file('f');
    for (const kind of [0, 1]) {
      await t.fops.setLock({ gfid, owner: 'x', kind, type: 1, ...WHOLE, wait: false });
      await fails(Errno.EAGAIN, other.fops.setLock({ gfid, owner: 'x', kind, type: 1, ...WHOLE, wait: false }));
      const found = await other.fops.getLock({ gfid, owner: 'x', kind, type: 0, start: 0, end: LOCK_END_MAX });
      assert.equal(found.type, 1);
      await t.fops.dropLocks({ gfid, owner: 'x', kind });
      await other.fops.setLock({ gfid, owner: 'x', kind, type: 1, ...WHOLE, wait: false });
      await other.fops.dropLocks({ gfid, owner: 'x', kind });
    }
  },

  'locks end with their session and waiters get them': async (t) => {
    const other = await t.differentSession();
    const gfid = await t.file('f');
    await other.fops.setLock({ gfid, owner: 'x', kind: 0, type: 1, ...WHOLE, wait: false });
    const waiting = t.fops.setLock({ gfid, owner: 'y', kind: 0, type: 1, ...WHOLE, wait: true });
    await other.close();
    await waiting;
  },

  'a mutation repeated with its number gets the first answer and happens once': async (t) => {
    const fops = await numbered(t);
    let number = 1000;
    const twice = async <T>(op: (n: number) => Promise<T>): Promise<T> => {
      const n = ++number;
      const first = await op(n);
      assert.deepEqual(await op(n), first);
      return first;
    };
    const { dir: parent } = t;
    const { attr } = await twice((n) => fops.mknod({ parent, name: 'f', mode: S_IFREG | 0o644, rdev: 0, ...OWNER }, n));
    const { gfid } = attr;
    await twice((n) => fops.mkdir({ parent, name: 'd', mode: 0o755, ...OWNER }, n));
    await twice((n) => fops.symlink({ parent, name: 'l', target: 'x', ...OWNER }, n));
    await twice((n) => fops.create({ parent, name: 'c', mode: 0o644, exclusive: true, truncate: false, ...OWNER }, n));
    await twice((n) => fops.write({ gfid, offset: 0, append: true, sync: false, killPriv: false, data: bytes('once') }, n));
    assert.equal((await t.attr(gfid)).size, 4);
    await twice((n) => fops.link({ gfid, newParent: parent, newName: 'g' }, n));
    await twice((n) => fops.rename({ parent, name: 'g', newParent: parent, newName: 'h', flags: 0 }, n));
    await twice((n) => fops.rename({ parent, name: 'f', newParent: parent, newName: 'h2', flags: 2 }, n).catch(() => 'refused'));
    await twice((n) => fops.setattr({ gfid, mode: 0o600, atimeNow: false, mtimeNow: true, killPriv: false }, n));
    await twice((n) => fops.setxattr({ gfid, name: 'user.a', value: bytes('v'), flags: 1 }, n));
    await twice((n) => fops.removexattr({ gfid, name: 'user.a' }, n));
    await twice((n) => fops.fallocate({ gfid, offset: 0, length: 100, mode: 0 }, n));
    await twice((n) => fops.unlink({ parent, name: 'h' }, n));
    await twice((n) => fops.rmdir({ parent, name: 'd' }, n));
    assert.deepEqual(await t.names(), ['c', 'f', 'l']);
  },

  'a refusal is repeated too, even when the reason is gone': async (t) => {
    const fops = await numbered(t);
    const args = { parent: t.dir, name: 'f', mode: 0o755, ...OWNER };
    await t.file('f');
    await fails(Errno.EEXIST, fops.mkdir(args, 1));
    await t.unlink('f');
    await fails(Errno.EEXIST, fops.mkdir(args, 1), 'the first answer');
    await fops.mkdir(args, 2);
  },

  'two opens with one number count once': async (t) => {
    const fops = await numbered(t);
    const gfid = await t.file('f', bytes('x'));
    await fops.open({ gfid, truncate: false, killPriv: false }, 1);
    await fops.open({ gfid, truncate: false, killPriv: false }, 1);
    await t.unlink('f');
    await fops.release({ gfid }, 2);
    await t.gone(gfid, 'one release was enough');
  },
};
