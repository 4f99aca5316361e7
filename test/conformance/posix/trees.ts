/** POSIX: directories and renames, seen through two mounts. */
import assert from 'node:assert/strict';
import type { PosixError } from './client.js';
import { amount } from '../../support/size.js';
import { fails, NEW, O, TYPE, type PosixFixture, type PosixTests } from './suite.js';

type Thing = 'nothing' | 'file' | 'link' | 'directory' | 'full directory';
const THINGS: Thing[] = ['nothing', 'file', 'link', 'directory', 'full directory'];
const NOREPLACE = 1;
const EXCHANGE = 2;

async function make(t: PosixFixture, name: string, thing: Thing): Promise<void> {
  if (thing === 'file') await t.file(name, name);
  if (thing === 'link') await t.a.symlink('target', name);
  if (thing === 'directory' || thing === 'full directory') await t.a.mkdir(name);
  if (thing === 'full directory') await t.file(`${name}/inside`);
}

function isDir(thing: Thing): boolean {
  return thing === 'directory' || thing === 'full directory';
}

function expected(source: Thing, target: Thing, flags: number): string {
  if (source === 'nothing') return 'ENOENT';
  if (flags === EXCHANGE) return target === 'nothing' ? 'ENOENT' : '';
  if (target === 'nothing') return '';
  if (flags === NOREPLACE) return 'EEXIST';
  if (isDir(source) && !isDir(target)) return 'ENOTDIR';
  if (!isDir(source) && isDir(target)) return 'EISDIR';
  return target === 'full directory' ? 'ENOTEMPTY' : '';
}

async function ino(t: PosixFixture, name: string): Promise<string> {
  return (await t.exists(name, t.b)) ? (await t.same(name)).ino : '';
}

export const TREE_TESTS: PosixTests = {
  'rename answers every combination as Linux does, and both mounts see the outcome': async (t) => {
    let n = 0;
    for (const flags of [0, NOREPLACE, EXCHANGE]) {
      for (const source of THINGS) {
        for (const target of THINGS) {
          const what = `${source} onto ${target}, flags ${flags}`;
          const dir = `r${++n}`;
          const [a, b] = [`${dir}/a`, `${dir}/sub/b`];
          await t.a.mkdir(dir);
          await t.a.mkdir(`${dir}/sub`);
          await make(t, a, source);
          await make(t, b, target);
          const before = [await ino(t, a), await ino(t, b)];
          const code = expected(source, target, flags);
          const work = t.a.rename(a, b, flags);
          if (code !== '') await fails(code, work, what);
          else await work;
          const wanted = code !== '' ? before : [flags === EXCHANGE ? before[1] : '', before[0]];
          assert.deepEqual([await ino(t, a), await ino(t, b)], wanted, what);
        }
      }
    }
  },

  'a directory is not moved below itself': async (t) => {
    await t.a.mkdir('a');
    await t.a.mkdir('a/b');
    await fails('EINVAL', t.b.rename('a', 'a/x'));
    await fails('EINVAL', t.b.rename('a', 'a/b/x'));
    await fails(['ENOTEMPTY', 'EEXIST'], t.b.rename('a/b', 'a'));
  },

  'a directory renamed on one mount is the same directory on the other, also as its working directory': async (t) => {
    await t.a.mkdir('a');
    await t.file('a/f', 'x');
    const dir = await t.b.open('a', O.RDONLY | O.DIRECTORY);
    await t.a.rename('a', 'z');
    assert.deepEqual(await t.b.readdir('z'), ['f']);
    await fails('ENOENT', t.b.lstat('a'));
    assert.equal((await t.b.fstat(dir)).ino, (await t.a.lstat('z')).ino);
    await t.file('z/g');
    assert.deepEqual(await t.b.readdir('z'), ['f', 'g']);
  },

  'nlink of a directory counts its subdirectories': async (t) => {
    await t.a.mkdir('d');
    assert.equal((await t.same('d')).nlink, 2);
    await t.b.mkdir('d/one');
    await t.a.mkdir('d/two');
    assert.equal((await t.same('d')).nlink, 4);
    await t.b.rename('d/one', 'one');
    assert.equal((await t.same('d')).nlink, 3);
  },

  'removal refuses the wrong kind': async (t) => {
    await t.a.mkdir('d');
    await t.file('d/f');
    await fails('ENOTEMPTY', t.b.rmdir('d'));
    await fails('EISDIR', t.b.unlink('d'));
    await fails('ENOTDIR', t.b.rmdir('d/f'));
    await fails('ENOENT', t.b.unlink('d/g'));
    await fails('ENOTDIR', t.b.unlink('d/f/g'));
    await t.b.unlink('d/f');
    await t.a.rmdir('d');
    await fails('ENOENT', t.b.lstat('d'));
  },

  'a large directory is listed whole on both mounts': async (t) => {
    const names = Array.from({ length: amount(400, 1500) }, (_, i) => `name-${'x'.repeat(i % 40)}-${i}`);
    for (const name of names) await t.a.mknod(name, TYPE.FILE | 0o644);
    names.sort();
    assert.deepEqual(await t.a.readdir('.'), names);
    assert.deepEqual(await t.b.readdir('.'), names);
  },

  'a listing shows what stays exactly once while another mount creates, renames and removes': async (t) => {
    const stay = Array.from({ length: 200 }, (_, i) => `stay${String(i).padStart(3, '0')}`);
    for (const name of stay) await t.a.mknod(name, TYPE.FILE | 0o644);
    const id = await t.a.dirOpen('.');
    const seen: string[] = [];
    for (let i = 0; ; i++) {
      const part = await t.a.dirNext(id, 9);
      seen.push(...part);
      if (part.length < 9) break;
      await t.b.mknod(`new${i}`, TYPE.FILE | 0o644);
      await t.b.rename(`new${i}`, `other${i}`);
      if (i % 2 === 0) await t.b.unlink(`other${i}`);
    }
    await t.a.dirClose(id);
    assert.deepEqual(seen.filter((name) => name.startsWith('stay')).sort(), stay);
    assert.equal(new Set(seen).size, seen.length, 'no name twice');
  },

  'a name that was absent is found as soon as the other mount made it': async (t) => {
    for (let i = 0; i < 30; i++) {
      await fails('ENOENT', t.b.lstat(`f${i}`));
      await t.file(`f${i}`, `content ${i}`);
      assert.equal(await t.content(`f${i}`, t.b), `content ${i}`);
      await t.b.unlink(`f${i}`);
      await fails('ENOENT', t.a.open(`f${i}`, O.RDONLY));
    }
  },

  'of two mounts that create, link or make one name at once, one wins': async (t) => {
    await t.file('source');
    const ways: ((sys: PosixFixture['a'], name: string) => Promise<unknown>)[] = [
      (sys, name) => sys.open(name, NEW),
      (sys, name) => sys.mkdir(name),
      (sys, name) => sys.link('source', name),
      (sys, name) => sys.symlink('x', name),
    ];
    for (let round = 0; round < 10; round++) {
      for (const [index, way] of ways.entries()) {
        const name = `race-${round}-${index}`;
        const results = await Promise.allSettled([way(t.a, name), way(t.b, name)]);
        const codes = results.flatMap((r) => (r.status === 'rejected' ? [(r.reason as PosixError).code] : []));
        assert.deepEqual(codes, ['EEXIST'], name);
      }
    }
  },

  'renames onto one name from two mounts leave one of them whole': async (t) => {
    for (let round = 0; round < 20; round++) {
      await t.file(`a${round}`, 'from a');
      await t.file(`b${round}`, 'from b');
      await Promise.all([t.a.rename(`a${round}`, 'target'), t.b.rename(`b${round}`, 'target')]);
      const [one, two] = [await t.content('target'), await t.content('target', t.b)];
      assert.equal(one, two);
      assert.ok(['from a', 'from b'].includes(one));
    }
    assert.deepEqual(await t.a.readdir('.'), ['target']);
  },

  'a directory removed on one mount refuses new entries on the other': async (t) => {
    await t.a.mkdir('d');
    const fd = await t.b.open('d', O.RDONLY | O.DIRECTORY);
    await t.a.rmdir('d');
    await fails(['ENOENT', 'ESTALE'], t.b.open('d/f', NEW));
    await t.b.close(fd);
  },
};
