/** rename: every combination of what is renamed onto what, under every flag. */
import assert from 'node:assert/strict';
import { Errno } from '../../src/base/errno.js';
import { RENAME_EXCHANGE, RENAME_NOREPLACE } from '../../src/fops/ops.js';
import { bytes, fails, type ConformanceTests, type Fixture } from './suite.js';

type Thing = 'nothing' | 'file' | 'link' | 'directory' | 'full directory';
const THINGS: Thing[] = ['nothing', 'file', 'link', 'directory', 'full directory'];

async function make(t: Fixture, name: string, thing: Thing): Promise<string> {
  switch (thing) {
    case 'nothing':
      return '';
    case 'file':
      return t.file(name, bytes(name));
    case 'link':
      return t.symlink(name, 'target');
    case 'directory':
      return t.mkdir(name);
    case 'full directory': {
      const dir = await t.mkdir(name);
      await t.file('inside', undefined, dir);
      return dir;
    }
  }
}

function isDir(thing: Thing): boolean {
  return thing === 'directory' || thing === 'full directory';
}

/** What Linux answers; 0 is success. */
function expected(source: Thing, target: Thing, flags: number): number {
  if (source === 'nothing') return Errno.ENOENT;
  if (flags === RENAME_EXCHANGE) return target === 'nothing' ? Errno.ENOENT : 0;
  if (target === 'nothing') return 0;
  if (flags === RENAME_NOREPLACE) return Errno.EEXIST;
  if (isDir(source) && !isDir(target)) return Errno.ENOTDIR;
  if (!isDir(source) && isDir(target)) return Errno.EISDIR;
  return target === 'full directory' ? Errno.ENOTEMPTY : 0;
}

async function renameRow(t: Fixture, source: Thing, target: Thing, flags: number, acrossDirectories: boolean): Promise<void> {
  const what = `${source} onto ${target}, flags ${flags}${acrossDirectories ? ', other directory' : ''}`;
  const from = await t.mkdir('from');
  const to = acrossDirectories ? await t.mkdir('to') : from;
  const inFrom = new Proxy(t, { get: (o, k) => (k === 'dir' ? from : Reflect.get(o, k)) });
  const inTo = new Proxy(t, { get: (o, k) => (k === 'dir' ? to : Reflect.get(o, k)) });
  const sourceId = await make(inFrom, 'a', source);
  const targetId = await make(inTo, 'b', target);
  const errno = expected(source, target, flags);
  const work = t.rename('a', 'b', flags, from, to);
  const idAt = async (name: string, parent: string): Promise<string> => ((await t.exists(name, parent)) ? (await t.lookup(name, parent)).gfid : '');
  if (errno !== 0) {
    await fails(errno === Errno.ENOTEMPTY ? [Errno.ENOTEMPTY, Errno.EEXIST] : errno, work, what);
    assert.deepEqual([await idAt('a', from), await idAt('b', to)], [sourceId, targetId], `${what}: nothing changed`);
  } else {
    await work;
    const left = flags === RENAME_EXCHANGE ? targetId : '';
    assert.deepEqual([await idAt('a', from), await idAt('b', to)], [left, sourceId], what);
  }
  const subdirectories = async (dir: string): Promise<number> => (await t.entries(dir)).filter((e) => e.type === 0o040000).length;
  assert.equal((await t.attr(from)).nlink, 2 + (await subdirectories(from)), `${what}: links of the source directory`);
  assert.equal((await t.attr(to)).nlink, 2 + (await subdirectories(to)), `${what}: links of the target directory`);
  for (const [parent, names] of [[from, await t.names(from)], [to, acrossDirectories ? await t.names(to) : []]] as [string, string[]][]) {
    for (const name of names) {
      const attr = await t.lookup(name, parent);
      if ((attr.mode & 0o170000) !== 0o040000) await t.unlink(name, parent);
      else {
        if ((await t.names(attr.gfid)).length > 0) await t.unlink('inside', attr.gfid);
        await t.rmdir(name, parent);
      }
    }
  }
  await t.rmdir('from');
  if (acrossDirectories) await t.rmdir('to');
}

export const RENAME_TESTS: ConformanceTests = {
  'rename answers every combination of source, target and flags as Linux does': async (t) => {
    for (const flags of [0, RENAME_NOREPLACE, RENAME_EXCHANGE]) {
      for (const source of THINGS) {
        for (const target of THINGS) {
          await renameRow(t, source, target, flags, false);
          await renameRow(t, source, target, flags, true);
        }
      }
    }
  },

  'a directory cannot be moved into itself or below itself': async (t) => {
    const a = await t.mkdir('a');
    const b = await t.mkdir('b', a);
    const c = await t.mkdir('c', b);
    await fails(Errno.EINVAL, t.rename('a', 'x', 0, t.dir, a), 'into itself');
    await fails(Errno.EINVAL, t.rename('a', 'x', 0, t.dir, c), 'below itself');
    await fails(Errno.EINVAL, t.rename('a', 'c', RENAME_EXCHANGE, t.dir, b), 'exchanged with its descendant');
    await fails([Errno.EINVAL, Errno.ENOTEMPTY], t.rename('c', 'a', RENAME_EXCHANGE, b, t.dir), 'exchanged with its ancestor');
    await fails([Errno.ENOTEMPTY, Errno.EEXIST], t.rename('c', 'a', 0, b, t.dir), 'onto its ancestor');
    assert.deepEqual([await t.names(), await t.names(a), await t.names(b)], [['a'], ['b'], ['c']]);
  },

  'NOREPLACE and EXCHANGE together are refused, as are unknown flags': async (t) => {
    await t.file('a');
    await t.file('b');
    await fails(Errno.EINVAL, t.rename('a', 'b', RENAME_NOREPLACE | RENAME_EXCHANGE));
    await fails(Errno.EINVAL, t.rename('a', 'b', 64));
    await fails(Errno.EINVAL, t.rename('a', 'c', 4), 'whiteout');
  },

  'rename onto itself does nothing': async (t) => {
    const gfid = await t.file('a');
    const dir = await t.mkdir('d');
    await t.rename('a', 'a');
    await t.rename('d', 'd');
    await t.rename('a', 'a', RENAME_EXCHANGE);
    await fails(Errno.EEXIST, t.rename('a', 'a', RENAME_NOREPLACE));
    assert.deepEqual([(await t.lookup('a')).gfid, (await t.lookup('d')).gfid], [gfid, dir]);
  },

  'rename of one name of a file onto another name of it leaves both': async (t) => {
    const gfid = await t.file('a');
    await t.fops.link({ gfid, newParent: t.dir, newName: 'b' });
    await t.rename('a', 'b');
    assert.deepEqual(await t.names(), ['a', 'b']);
    assert.equal((await t.attr(gfid)).nlink, 2);
  },

  'the replaced file is gone, or keeps its other names': async (t) => {
    const replaced = await t.file('old', bytes('old'));
    await t.fops.link({ gfid: replaced, newParent: t.dir, newName: 'keep' });
    const gfid = await t.file('new', bytes('new'));
    await t.rename('new', 'old');
    assert.equal((await t.content((await t.lookup('old')).gfid)).toString(), 'new');
    assert.deepEqual([(await t.lookup('keep')).gfid, (await t.lookup('keep')).nlink], [replaced, 1]);
    assert.equal((await t.attr(gfid)).nlink, 1);
    await t.rename('old', 'keep');
    await t.gone(replaced);
  },

  'a renamed directory takes its tree along and can still be entered by identity': async (t) => {
    const a = await t.mkdir('a');
    const b = await t.mkdir('b');
    const sub = await t.mkdir('sub', a);
    const file = await t.file('f', bytes('content'), sub);
    await t.rename('sub', 'moved', 0, a, b);
    assert.deepEqual(await t.names(a), []);
    assert.equal((await t.lookup('f', sub)).gfid, file);
    assert.equal((await t.content(file)).toString(), 'content');
    await t.file('g', undefined, sub);
    await t.rename('b', 'c');
    assert.deepEqual(await t.names((await t.lookup('moved', (await t.lookup('c')).gfid)).gfid), ['f', 'g']);
  },

  'exchange swaps a file with a directory across directories': async (t) => {
    const a = await t.mkdir('a');
    const file = await t.file('f', bytes('x'));
    const dir = await t.mkdir('d', a);
    await t.file('inside', undefined, dir);
    await t.rename('f', 'd', RENAME_EXCHANGE, t.dir, a);
    assert.equal((await t.lookup('f')).gfid, dir);
    assert.equal((await t.lookup('d', a)).gfid, file);
    assert.deepEqual(await t.names((await t.lookup('f')).gfid), ['inside']);
    assert.equal((await t.attr(a)).nlink, 2);
  },

  'rename moves symbolic links, not what they point to': async (t) => {
    await t.file('f', bytes('data'));
    const link = await t.symlink('l', 'f');
    await t.rename('l', 'm');
    assert.equal((await t.lookup('m')).gfid, link);
    await t.rename('m', 'f');
    assert.deepEqual(await t.names(), ['f']);
    assert.equal((await t.fops.readlink({ gfid: (await t.lookup('f')).gfid })).target, 'f');
  },
};
