/** Extended attributes. */
import assert from 'node:assert/strict';
import { Errno } from '../../src/base/errno.js';
import { XATTR_CREATE, XATTR_REPLACE } from '../../src/fops/ops.js';
import { bytes, equalBytes, fails, pattern, type ConformanceTests } from './suite.js';

export const XATTR_TESTS: ConformanceTests = {
  'values are kept byte for byte, in the namespaces that root has': async (t) => {
    const gfid = await t.file('f');
    const values: [string, Buffer][] = [
      ['user.empty', Buffer.alloc(0)],
      ['user.one', bytes('1')],
      ['user.binary', pattern(1000, 3)],
      ['user.\xff\xfe odd name', bytes('odd')],
      ['trusted.something', bytes('t')],
      ['security.test', bytes('s')],
      [`user.${'n'.repeat(250)}`, bytes('long name')],
    ];
    for (const [name, value] of values) await t.fops.setxattr({ gfid, name, value, flags: 0 });
    for (const [name, value] of values) equalBytes((await t.fops.getxattr({ gfid, name })).value, value, name);
    assert.deepEqual([...(await t.fops.listxattr({ gfid })).names].sort(), values.map(([name]) => name).sort());
    for (const [name] of values) await t.fops.removexattr({ gfid, name });
    assert.deepEqual((await t.fops.listxattr({ gfid })).names, []);
  },

  'create and replace flags hold, and what does not exist is ENODATA': async (t) => {
    const gfid = await t.mkdir('d');
    const name = 'user.a';
    await fails(Errno.ENODATA, t.fops.getxattr({ gfid, name }));
    await fails(Errno.ENODATA, t.fops.removexattr({ gfid, name }));
    await fails(Errno.ENODATA, t.fops.setxattr({ gfid, name, value: bytes('x'), flags: XATTR_REPLACE }));
    await t.fops.setxattr({ gfid, name, value: bytes('first'), flags: XATTR_CREATE });
    await fails(Errno.EEXIST, t.fops.setxattr({ gfid, name, value: bytes('x'), flags: XATTR_CREATE }));
    await t.fops.setxattr({ gfid, name, value: bytes('second'), flags: XATTR_REPLACE });
    equalBytes((await t.fops.getxattr({ gfid, name })).value, bytes('second'), 'replaced');
  },

  'what belongs to the brick is neither shown nor touched': async (t) => {
    const gfid = await t.file('f');
    assert.deepEqual((await t.fops.listxattr({ gfid })).names, []);
    for (const name of ['trusted.gluon.gfid', 'trusted.gluon.anything', 'trusted.gluon.volume']) {
      await fails([Errno.EPERM, Errno.EACCES, Errno.EOPNOTSUPP], t.fops.setxattr({ gfid, name, value: bytes('x'), flags: 0 }), `set ${name}`);
      await fails([Errno.EPERM, Errno.EACCES, Errno.EOPNOTSUPP, Errno.ENODATA], t.fops.getxattr({ gfid, name }), `get ${name}`);
      await fails([Errno.EPERM, Errno.EACCES, Errno.EOPNOTSUPP, Errno.ENODATA], t.fops.removexattr({ gfid, name }), `remove ${name}`);
    }
    assert.equal((await t.attr(gfid)).gfid, gfid);
  },

  'names that no namespace has are refused': async (t) => {
    const gfid = await t.file('f');
    for (const name of ['a', 'nonsense.a', '../../etc/passwd', 'user']) {
      await fails([Errno.EOPNOTSUPP, Errno.EINVAL, Errno.EPERM], t.fops.setxattr({ gfid, name, value: bytes('x'), flags: 0 }), name);
    }
    assert.deepEqual((await t.fops.listxattr({ gfid })).names, []);
  },

  'symbolic links and devices take no user attributes, but trusted ones': async (t) => {
    const gfid = await t.symlink('l', 'f');
    await fails([Errno.EPERM, Errno.EOPNOTSUPP], t.fops.setxattr({ gfid, name: 'user.a', value: bytes('x'), flags: 0 }));
    await t.fops.setxattr({ gfid, name: 'trusted.a', value: bytes('x'), flags: 0 });
    equalBytes((await t.fops.getxattr({ gfid, name: 'trusted.a' })).value, bytes('x'), 'trusted on a link');
  },

  'a value that the disk cannot hold is refused and leaves the old one': async (t) => {
    const gfid = await t.file('f');
    await t.fops.setxattr({ gfid, name: 'user.a', value: bytes('old'), flags: 0 });
    try {
      await t.fops.setxattr({ gfid, name: 'user.a', value: pattern(65_536, 1), flags: 0 });
      equalBytes((await t.fops.getxattr({ gfid, name: 'user.a' })).value, pattern(65_536, 1), 'a disk that holds it');
    } catch {
      equalBytes((await t.fops.getxattr({ gfid, name: 'user.a' })).value, bytes('old'), 'the old value');
    }
  },

  'attributes follow the inode through rename and hard links': async (t) => {
    const gfid = await t.file('a');
    await t.fops.setxattr({ gfid, name: 'user.k', value: bytes('v'), flags: 0 });
    await t.rename('a', 'b');
    await t.fops.link({ gfid, newParent: t.dir, newName: 'c' });
    equalBytes((await t.fops.getxattr({ gfid: (await t.lookup('c')).gfid, name: 'user.k' })).value, bytes('v'), 'by the other name');
  },

  'xattrs of the volume root are kept and the brick\'s own stay hidden': async (t) => {
    const gfid = '00000000000000000000000000000001';
    const name = `user.root-${t.dirName}`;
    await t.fops.setxattr({ gfid, name, value: bytes('r'), flags: 0 });
    const { names } = await t.fops.listxattr({ gfid });
    assert.ok(names.includes(name));
    assert.ok(!names.some((other) => other.startsWith('trusted.gluon.')));
    await t.fops.removexattr({ gfid, name });
  },
};
