/** The tree: create, remove, link, list. */
import assert from 'node:assert/strict';
import { Errno } from '../../src/base/errno.js';
import type { Name } from '../../src/base/ids.js';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../src/fops/ops.js';
import { amount } from '../support/size.js';
import { bytes, fails, OWNER, type ConformanceTests } from './suite.js';

/** More than fit in one page of a listing. */
const MANY = amount(600, 2000);

function byBytes(a: Name, b: Name): number {
  return Buffer.compare(bytes(a), bytes(b));
}

export const TREE_TESTS: ConformanceTests = {
  'a name that is taken is refused for every way to create one': async (t) => {
    await t.file('f');
    await t.mkdir('d');
    await t.symlink('l', 'nowhere');
    for (const name of ['f', 'd', 'l']) {
      await fails(Errno.EEXIST, t.mkdir(name), `mkdir ${name}`);
      await fails(Errno.EEXIST, t.file(name), `mknod ${name}`);
      await fails(Errno.EEXIST, t.symlink(name, 'x'), `symlink ${name}`);
      const gfid = (await t.lookup('f')).gfid;
      await fails(Errno.EEXIST, t.fops.link({ gfid, newParent: t.dir, newName: name }), `link ${name}`);
      const create = t.fops.create({ parent: t.dir, name, mode: 0o600, exclusive: true, truncate: true, ...OWNER });
      await fails(Errno.EEXIST, create, `create ${name}`);
    }
    assert.equal((await t.lookup('f')).nlink, 1);
  },

  'create opens what exists unless it must not, and truncates when asked': async (t) => {
    const args = { parent: t.dir, name: 'f', mode: 0o640, exclusive: false, truncate: false, ...OWNER };
    const first = await t.fops.create({ ...args, exclusive: true });
    assert.equal(first.created, true);
    assert.deepEqual([first.attr.mode, first.attr.size, first.attr.nlink], [S_IFREG | 0o640, 0, 1]);
    await t.write(first.attr.gfid, 0, bytes('content'));
    const again = await t.fops.create({ ...args, mode: 0o777 });
    assert.deepEqual([again.created, again.attr.gfid, again.attr.mode & 0o777, again.attr.size], [false, first.attr.gfid, 0o640, 7]);
    const emptied = await t.fops.create({ ...args, truncate: true });
    assert.deepEqual([emptied.created, emptied.attr.size], [false, 0]);
    for (let i = 0; i < 3; i++) await t.fops.release({ gfid: first.attr.gfid });
  },

  'create on a directory is refused': async (t) => {
    await t.mkdir('d');
    await fails([Errno.EISDIR, Errno.EEXIST], t.fops.create({ parent: t.dir, name: 'd', mode: 0o600, exclusive: false, truncate: false, ...OWNER }));
  },

  'open with truncate empties the file': async (t) => {
    const gfid = await t.file('f', bytes('content'));
    const plain = await t.fops.open({ gfid, truncate: false, killPriv: false });
    assert.equal(plain.attr.size, 7);
    const { attr } = await t.fops.open({ gfid, truncate: true, killPriv: false });
    assert.equal(attr.size, 0);
    await t.fops.release({ gfid });
    await t.fops.release({ gfid });
    assert.equal((await t.content(gfid)).length, 0);
  },

  'unlink removes one name and rmdir one empty directory': async (t) => {
    const gfid = await t.file('f');
    const dir = await t.mkdir('d');
    await fails(Errno.EISDIR, t.unlink('d'), 'unlink of a directory');
    await fails(Errno.ENOTDIR, t.rmdir('f'), 'rmdir of a file');
    await fails(Errno.ENOENT, t.unlink('x'), 'unlink of nothing');
    await fails(Errno.ENOENT, t.rmdir('x'), 'rmdir of nothing');
    await t.file('inside', undefined, dir);
    await fails([Errno.ENOTEMPTY, Errno.EEXIST], t.rmdir('d'), 'rmdir of a directory with entries');
    await t.unlink('inside', dir);
    await t.rmdir('d');
    await t.unlink('f');
    assert.deepEqual(await t.names(), []);
    await t.gone(gfid, 'the file is gone');
    await t.gone(dir, 'the directory is gone');
    await fails([Errno.ESTALE, Errno.ENOENT], t.file('x', undefined, dir), 'nothing is created in a directory that is gone');
  },

  'rmdir of a symbolic link to a directory is refused': async (t) => {
    await t.mkdir('d');
    await t.symlink('l', 'd');
    await fails(Errno.ENOTDIR, t.rmdir('l'));
    await t.unlink('l');
    assert.deepEqual(await t.names(), ['d']);
  },

  'a hard link is the same inode, also in another directory and for links and devices': async (t) => {
    const dir = await t.mkdir('d');
    const gfid = await t.file('f', bytes('one'));
    const { attr } = await t.fops.link({ gfid, newParent: dir, newName: 'g' });
    assert.deepEqual([attr.gfid, attr.nlink], [gfid, 2]);
    await t.write((await t.lookup('g', dir)).gfid, 0, bytes('two'));
    assert.equal((await t.content((await t.lookup('f')).gfid)).toString(), 'two');
    const link = await t.symlink('l', 'x');
    assert.equal((await t.fops.link({ gfid: link, newParent: dir, newName: 'l2' })).attr.nlink, 2);
    await t.unlink('f');
    assert.equal((await t.lookup('g', dir)).nlink, 1);
    assert.equal((await t.content((await t.lookup('g', dir)).gfid)).toString(), 'two');
  },

  'directories cannot be linked': async (t) => {
    const dir = await t.mkdir('d');
    await fails(Errno.EPERM, t.fops.link({ gfid: dir, newParent: t.dir, newName: 'e' }));
  },

  'an empty directory lists nothing and says that it is the end': async (t) => {
    const page = await t.fops.readdir({ gfid: t.dir, after: '', limit: 10, attributes: true });
    assert.deepEqual([page.entries, page.end], [[], true]);
  },

  'readdir lists every name once, in byte order, whatever the page size': async (t) => {
    const names: Name[] = [];
    for (let i = 0; i < 60; i++) names.push(`${String.fromCharCode(1 + ((i * 37) % 45))}n${i}`, `\xff${i}`);
    for (const name of names) await t.file(name);
    names.sort(byBytes);
    for (const limit of [1, 2, 7, 119, 120, 121, 4096]) assert.deepEqual(await t.names(t.dir, limit), names, `pages of ${limit}`);
  },

  'readdir tells identity and type, and attributes when asked': async (t) => {
    const file = await t.file('f', bytes('xyz'));
    const dir = await t.mkdir('d');
    const link = await t.symlink('l', 'f');
    const plain = await t.entries(t.dir);
    assert.deepEqual(
      plain.map((e) => [e.name, e.gfid, e.type]),
      [
        ['d', dir, S_IFDIR],
        ['f', file, S_IFREG],
        ['l', link, S_IFLNK],
      ],
    );
    for (const entry of await t.entries(t.dir, 10, true)) {
      assert.deepEqual(entry.attr, await t.attr(entry.gfid));
      assert.equal((entry.attr?.mode ?? 0) & S_IFMT, entry.type);
    }
  },

  'names that exist during the whole scan appear exactly once while others come and go': async (t) => {
    const stay: Name[] = [];
    for (let i = 0; i < 100; i++) stay.push(`stay${String(i).padStart(3, '0')}`);
    for (const name of stay) await t.file(name);
    for (let i = 0; i < 50; i++) await t.file(`go${i}`);
    const seen: Name[] = [];
    let after = '';
    for (let step = 0; ; step++) {
      const page = await t.fops.readdir({ gfid: t.dir, after, limit: 7, attributes: step % 2 === 0 });
      seen.push(...page.entries.map((e) => e.name));
      if (page.end) break;
      after = page.entries.at(-1)?.name ?? '';
      if (step < 50) await t.unlink(`go${step}`).catch(() => undefined);
      await t.file(`new${step}`);
      await t.rename(`new${step}`, `zz${step}`);
      if (step === 3) await t.unlink(after);
      if (step === 3) stay.splice(stay.indexOf(after), 1);
    }
    assert.deepEqual(seen.filter((name) => name.startsWith('stay') && stay.includes(name)), stay);
    assert.equal(new Set(seen).size, seen.length, 'no name twice');
  },

  'a scan goes on after a name that was removed meanwhile': async (t) => {
    for (const name of ['a', 'b', 'c', 'd']) await t.file(name);
    const first = await t.fops.readdir({ gfid: t.dir, after: '', limit: 2, attributes: false });
    await t.unlink('b');
    await t.unlink('c');
    const rest = await t.fops.readdir({ gfid: t.dir, after: first.entries.at(-1)?.name ?? '', limit: 10, attributes: false });
    assert.deepEqual(rest.entries.map((e) => e.name), ['d']);
  },

  [`a directory of ${MANY} entries is listed and removed`]: async (t) => {
    const work: Promise<unknown>[] = [];
    for (let i = 0; i < MANY; i++) {
      work.push(t.file(`file-${i}`));
      if (work.length === 64) await Promise.all(work.splice(0));
    }
    await Promise.all(work);
    const entries = await t.entries(t.dir, MANY / 2, true);
    assert.equal(entries.length, MANY);
    for (const entry of entries) await t.unlink(entry.name);
    assert.deepEqual(await t.names(), []);
  },

  'a chain of two hundred directories is entered and removed from the end': async (t) => {
    let parent = t.dir;
    const chain = [parent];
    for (let i = 0; i < 200; i++) chain.push((parent = await t.mkdir('deep', parent)));
    await t.file('bottom', bytes('x'), parent);
    await t.rename('bottom', 'top', 0, parent, t.dir);
    for (let i = chain.length - 2; i >= 0; i--) await t.rmdir('deep', chain[i] ?? '');
    assert.deepEqual(await t.names(), ['top']);
  },
};
