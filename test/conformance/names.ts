/** Names are kept byte for byte, and what cannot be a name is refused. */
import assert from 'node:assert/strict';
import { Errno } from '../../src/base/errno.js';
import { bytes, fails, OWNER, type ConformanceTests } from './suite.js';

const REFUSED = [Errno.EINVAL, Errno.ENAMETOOLONG, Errno.ENOENT, Errno.EEXIST];

function everyByte(): string[] {
  const names: string[] = [];
  for (let byte = 1; byte < 256; byte++) if (byte !== 47 && byte !== 46) names.push(String.fromCharCode(byte));
  return names;
}

export const NAME_TESTS: ConformanceTests = {
  'a name of any single byte but / and NUL exists as that byte': async (t) => {
    const names = everyByte();
    for (const name of names) await t.file(name);
    assert.deepEqual(await t.names(), [...names].sort((a, b) => Buffer.compare(bytes(a), bytes(b))));
    for (const name of names) assert.ok(await t.exists(name), `byte ${name.charCodeAt(0)}`);
  },

  'a name of 255 bytes works in every operation that takes a name': async (t) => {
    const long = '\xff'.repeat(255);
    const other = `${'\x01'.repeat(254)}a`;
    const gfid = await t.file(long, bytes('x'));
    assert.equal((await t.lookup(long)).gfid, gfid);
    await t.rename(long, other);
    await t.fops.link({ gfid, newParent: t.dir, newName: long });
    assert.deepEqual((await t.names()).length, 2);
    await t.unlink(long);
    await t.mkdir(long);
    await t.rmdir(long);
    await t.symlink(long, 'target');
    assert.deepEqual(await t.names(), [other, long]);
  },

  'what cannot be a name is refused and changes nothing': async (t) => {
    await t.file('a');
    for (const name of ['', '.', '..', 'a/b', '/', 'a\0b', '../a', 'x'.repeat(256)]) {
      const what = JSON.stringify(name.slice(0, 20));
      await fails(REFUSED, t.fops.lookup({ parent: t.dir, name }), `lookup ${what}`);
      await fails(REFUSED, t.fops.mkdir({ parent: t.dir, name, mode: 0o755, ...OWNER }), `mkdir ${what}`);
      await fails(REFUSED, t.fops.symlink({ parent: t.dir, name, target: 'x', ...OWNER }), `symlink ${what}`);
      await fails(REFUSED, t.rename('a', name), `rename to ${what}`);
      await fails([...REFUSED, Errno.ENOTEMPTY, Errno.EISDIR, Errno.EBUSY], t.unlink(name), `unlink ${what}`);
    }
    assert.deepEqual(await t.names(), ['a']);
  },

  'names that look alike in Unicode stay different': async (t) => {
    const names = ['\xc3\xa9', 'e\xcc\x81', '\xe9', 'A', 'a', ' a', 'a ', '\xef\xbb\xbfa', '\xed\xa0\x80', '\xc0\xaf'];
    for (const [index, name] of names.entries()) await t.file(name, bytes(String(index)));
    for (const [index, name] of names.entries()) {
      assert.equal((await t.content((await t.lookup(name)).gfid)).toString(), String(index));
    }
    assert.equal((await t.names()).length, names.length);
  },

  'control characters, newlines and escapes in names are nothing special': async (t) => {
    const names = ['\n', 'a\nb', '\x1b[31mred', '%s%n', '${PATH}', '-rf', '*', '\\', "'", '"', '\x7f', '__proto__', 'constructor', 'toString'];
    for (const name of names) await t.file(name);
    for (const name of names) assert.equal((await t.lookup(name)).size, 0);
    assert.equal((await t.names()).length, names.length);
    for (const name of names) await t.unlink(name);
    assert.deepEqual(await t.names(), []);
  },

  'names of internal things of the brick are ordinary below the root': async (t) => {
    for (const name of ['.gluon', '.glusterfs', 'handles', 'journal', 'brick.json', '..a', '...']) await t.mkdir(name);
    assert.equal((await t.names()).length, 7);
  },

  'a link target is kept byte for byte, up to 4095 bytes': async (t) => {
    const targets = ['a', '/etc/passwd', '../../..', '\xff\xfe\x01\n', 'x'.repeat(59), 'x'.repeat(60), 'x'.repeat(4094), '\x80'.repeat(4095)];
    for (const [index, target] of targets.entries()) {
      const gfid = await t.symlink(`l${index}`, target);
      assert.equal((await t.fops.readlink({ gfid })).target, target);
      assert.equal((await t.attr(gfid)).size, target.length);
    }
  },
};
