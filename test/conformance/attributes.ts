/** Attributes: type, mode, owner, size, times in nanoseconds, link counts. */
import assert from 'node:assert/strict';
import { Errno } from '../../src/base/errno.js';
import type { Time } from '../../src/base/time.js';
import type { Gfid } from '../../src/base/ids.js';
import type { Attr } from '../../src/fops/fields.js';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from '../../src/fops/ops.js';
import { bytes, fails, isAfter, OWNER, pattern, type ConformanceTests, type Fixture } from './suite.js';

const UNKNOWN: Gfid = 'deadbeefdeadbeefdeadbeefdeadbeef';

async function changesCtime(t: Fixture, gfid: Gfid, what: string, change: () => Promise<unknown>, mtimeToo: boolean): Promise<void> {
  const before = await t.attr(gfid);
  await change();
  const after = await t.attr(gfid);
  assert.ok(isAfter(after.ctime, before.ctime), `${what} moves ctime`);
  assert.equal(isAfter(after.mtime, before.mtime), mtimeToo, `${what} ${mtimeToo ? 'moves' : 'leaves'} mtime`);
}

function times(attr: Attr): Time[] {
  return [attr.atime, attr.mtime, attr.ctime];
}

export const ATTRIBUTE_TESTS: ConformanceTests = {
  'mknod makes every kind of inode with its mode, owner and device number': async (t) => {
    const kinds: [string, number, number][] = [
      ['file', S_IFREG | 0o640, 0],
      ['fifo', S_IFIFO | 0o600, 0],
      ['socket', S_IFSOCK | 0o777, 0],
      ['char', S_IFCHR | 0o666, (1 << 8) | 3],
      ['block', S_IFBLK | 0o660, (8 << 8) | 17],
      ['suid', S_IFREG | 0o6755, 0],
      ['sticky', S_IFREG | 0o1644, 0],
    ];
    for (const [name, mode, rdev] of kinds) {
      const { attr } = await t.fops.mknod({ parent: t.dir, name, mode, rdev, uid: 1234, gid: 5678 });
      assert.deepEqual([attr.mode, attr.rdev, attr.uid, attr.gid, attr.nlink, attr.size], [mode, rdev, 1234, 5678, 1, 0], name);
      assert.deepEqual(await t.lookup(name), attr);
      assert.deepEqual(await t.attr(attr.gfid), attr);
    }
  },

  'devices and FIFOs are data: they are never opened, and survive chmod, rename and link': async (t) => {
    const { attr } = await t.fops.mknod({ parent: t.dir, name: 'd', mode: S_IFBLK | 0o600, rdev: 0x801, ...OWNER });
    const fifo = await t.fops.mknod({ parent: t.dir, name: 'f', mode: S_IFIFO | 0o600, rdev: 0, ...OWNER });
    assert.equal((await t.setattr(attr.gfid, { mode: 0o666 })).mode, S_IFBLK | 0o666);
    assert.equal((await t.setattr(fifo.attr.gfid, { uid: 7 })).uid, 7);
    await t.rename('d', 'e');
    await t.fops.link({ gfid: attr.gfid, newParent: t.dir, newName: 'e2' });
    const seen = await t.lookup('e2');
    assert.deepEqual([seen.mode, seen.rdev, seen.nlink], [S_IFBLK | 0o666, 0x801, 2]);
  },

  'a device number above 8 bits of major and minor is kept': async (t) => {
    const rdev = (259 << 8) | 5 | (0x123 << 20);
    const { attr } = await t.fops.mknod({ parent: t.dir, name: 'd', mode: S_IFBLK | 0o600, rdev, ...OWNER });
    assert.equal((await t.attr(attr.gfid)).rdev, rdev);
  },

  'mkdir makes an empty directory with two links and adds one to its parent': async (t) => {
    const before = (await t.attr(t.dir)).nlink;
    const { attr } = await t.fops.mkdir({ parent: t.dir, name: 'd', mode: 0o1750, uid: 10, gid: 20 });
    assert.deepEqual([attr.mode, attr.nlink, attr.uid, attr.gid], [S_IFDIR | 0o1750, 2, 10, 20]);
    assert.equal((await t.attr(t.dir)).nlink, before + 1);
    await t.rmdir('d');
    assert.equal((await t.attr(t.dir)).nlink, before);
  },

  'a symbolic link has mode 0777 and its own owner': async (t) => {
    const { attr } = await t.fops.symlink({ parent: t.dir, name: 'l', target: 'somewhere', uid: 3, gid: 4 });
    assert.deepEqual([attr.mode, attr.uid, attr.gid, attr.size, attr.nlink], [S_IFLNK | 0o777, 3, 4, 9, 1]);
    const changed = await t.setattr(attr.gfid, { uid: 5, gid: 6, mtime: { sec: 5, nsec: 6 } });
    assert.deepEqual([changed.uid, changed.gid, changed.mtime], [5, 6, { sec: 5, nsec: 6 }]);
  },

  'in a setgid directory new files and directories take its group, directories the bit too': async (t) => {
    const { attr: dir } = await t.fops.mkdir({ parent: t.dir, name: 'd', mode: 0o755, uid: 0, gid: 77 });
    await t.setattr(dir.gfid, { mode: 0o2775 });
    const file = await t.fops.mknod({ parent: dir.gfid, name: 'f', mode: S_IFREG | 0o644, rdev: 0, uid: 0, gid: 1 });
    const created = await t.fops.create({ parent: dir.gfid, name: 'c', mode: 0o644, exclusive: true, truncate: false, uid: 0, gid: 1 });
    const sub = await t.fops.mkdir({ parent: dir.gfid, name: 's', mode: 0o755, uid: 0, gid: 1 });
    const link = await t.fops.symlink({ parent: dir.gfid, name: 'l', target: 'x', uid: 0, gid: 1 });
    assert.deepEqual([file.attr.gid, created.attr.gid, sub.attr.gid, link.attr.gid], [77, 77, 77, 77]);
    assert.equal(sub.attr.mode, S_IFDIR | 0o2755);
    await t.fops.release({ gfid: created.attr.gfid });
  },

  'setattr changes what is given and leaves the rest': async (t) => {
    const gfid = await t.file('f', bytes('hello'));
    const before = await t.attr(gfid);
    const mode = await t.setattr(gfid, { mode: 0o4711 });
    assert.deepEqual({ ...mode, ctime: before.ctime }, { ...before, mode: S_IFREG | 0o4711 });
    const owned = await t.setattr(gfid, { uid: 100 });
    assert.deepEqual([owned.uid, owned.gid, owned.mode & 0o777], [100, before.gid, 0o711]);
    const grouped = await t.setattr(gfid, { gid: 4_000_000_000 });
    assert.deepEqual([grouped.uid, grouped.gid], [100, 4_000_000_000]);
    const timed = await t.setattr(gfid, { atime: { sec: 1, nsec: 2 } });
    assert.deepEqual([timed.atime, timed.mtime], [{ sec: 1, nsec: 2 }, before.mtime]);
  },

  'setattr keeps the type of the inode whatever bits the mode has': async (t) => {
    const gfid = await t.file('f');
    const attr = await t.setattr(gfid, { mode: S_IFDIR | 0o600 });
    assert.equal(attr.mode, S_IFREG | 0o600);
  },

  'times are kept in nanoseconds, also before 1970 and after 2038': async (t) => {
    const gfid = await t.file('f');
    const samples: Time[] = [
      { sec: 0, nsec: 0 },
      { sec: 1, nsec: 1 },
      { sec: 1_234_567_890, nsec: 123_456_789 },
      { sec: -1, nsec: 999_999_999 },
      { sec: -1_000_000_000, nsec: 1 },
      { sec: 2_147_483_648, nsec: 5 },
      { sec: 5_000_000_000, nsec: 999_999_999 },
    ];
    for (const time of samples) {
      const attr = await t.setattr(gfid, { atime: time, mtime: time });
      assert.deepEqual([attr.atime, attr.mtime], [time, time]);
      assert.deepEqual([(await t.attr(gfid)).atime, (await t.attr(gfid)).mtime], [time, time]);
    }
  },

  'atimeNow and mtimeNow take the present': async (t) => {
    const gfid = await t.file('f');
    await t.setattr(gfid, { atime: { sec: 5, nsec: 0 }, mtime: { sec: 5, nsec: 0 } });
    const attr = await t.setattr(gfid, { atimeNow: true, mtimeNow: true });
    const now = Date.now() / 1000;
    for (const time of times(attr)) assert.ok(Math.abs(time.sec - now) < 60, `${time.sec} is about now`);
    assert.deepEqual(attr.atime, attr.mtime);
  },

  'each change moves the times that POSIX says': async (t) => {
    const gfid = await t.file('f', bytes('data'));
    await changesCtime(t, gfid, 'write', () => t.write(gfid, 0, bytes('x')), true);
    await changesCtime(t, gfid, 'truncate', () => t.setattr(gfid, { size: 1 }), true);
    await changesCtime(t, gfid, 'chmod', () => t.setattr(gfid, { mode: 0o600 }), false);
    await changesCtime(t, gfid, 'chown', () => t.setattr(gfid, { uid: 1 }), false);
    await changesCtime(t, gfid, 'link', () => t.fops.link({ gfid, newParent: t.dir, newName: 'g' }), false);
    await changesCtime(t, gfid, 'rename', () => t.rename('g', 'h'), false);
    await changesCtime(t, gfid, 'unlink of one name', () => t.unlink('h'), false);
    const value = bytes('v');
    await changesCtime(t, gfid, 'setxattr', () => t.fops.setxattr({ gfid, name: 'user.a', value, flags: 0 }), false);
    await changesCtime(t, gfid, 'removexattr', () => t.fops.removexattr({ gfid, name: 'user.a' }), false);
  },

  'each change of a directory moves its mtime and ctime': async (t) => {
    const { dir } = t;
    await changesCtime(t, dir, 'create', () => t.file('f'), true);
    await changesCtime(t, dir, 'mkdir', () => t.mkdir('d'), true);
    await changesCtime(t, dir, 'symlink', () => t.symlink('l', 'x'), true);
    await changesCtime(t, dir, 'rename', () => t.rename('f', 'g'), true);
    await changesCtime(t, dir, 'rmdir', () => t.rmdir('d'), true);
    await changesCtime(t, dir, 'unlink', () => t.unlink('g'), true);
    const gfid = await t.file('h');
    await changesCtime(t, dir, 'link', () => t.fops.link({ gfid, newParent: dir, newName: 'i' }), true);
  },

  'a failed operation moves no times': async (t) => {
    await t.file('f');
    const before = await t.attr(t.dir);
    await fails(Errno.EEXIST, t.mkdir('f'));
    await fails(Errno.ENOENT, t.unlink('nothing'));
    await fails(Errno.ENOENT, t.rename('nothing', 'f'));
    assert.deepEqual(await t.attr(t.dir), before);
  },

  'killPriv clears setuid and the group-executable setgid, and security.capability': async (t) => {
    const gfid = await t.file('f', bytes('x'));
    const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
    const arm = async (mode: number): Promise<void> => {
      await t.setattr(gfid, { mode });
      await t.fops.setxattr({ gfid, name: 'security.capability', value: capability, flags: 0 });
    };
    const cleared = async (what: string, mode: number): Promise<void> => {
      assert.equal((await t.attr(gfid)).mode & 0o7777, mode, what);
      await fails(Errno.ENODATA, t.fops.getxattr({ gfid, name: 'security.capability' }), what);
    };
    await arm(0o6755);
    await t.fops.write({ gfid, offset: 0, append: false, sync: false, killPriv: true, data: bytes('y') });
    await cleared('write', 0o755);
    await arm(0o6755);
    await t.setattr(gfid, { size: 0, killPriv: true });
    await cleared('truncate', 0o755);
    await arm(0o6755);
    await t.setattr(gfid, { uid: 3, killPriv: true });
    await cleared('chown', 0o755);
    await arm(0o2644);
    await t.fops.write({ gfid, offset: 0, append: false, sync: false, killPriv: true, data: bytes('y') });
    await cleared('setgid without group execute stays', 0o2644);
  },

  'nlink counts names only': async (t) => {
    const gfid = await t.file('a');
    assert.equal((await t.attr(gfid)).nlink, 1);
    for (let i = 1; i <= 5; i++) {
      const { attr } = await t.fops.link({ gfid, newParent: t.dir, newName: `a${i}` });
      assert.equal(attr.nlink, i + 1);
    }
    await t.rename('a1', 'a2');
    assert.equal((await t.attr(gfid)).nlink, 6, 'renaming a link over another one of the same inode does nothing');
    await t.unlink('a');
    assert.equal((await t.attr(gfid)).nlink, 5);
  },

  'blocks tells what the disk holds': async (t) => {
    const gfid = await t.file('f', pattern(1 << 20, 1));
    await t.fops.fsync({ gfid, dataOnly: false });
    const { blocks } = await t.attr(gfid);
    assert.ok(blocks * 512 >= 1 << 20 && blocks * 512 < 2 << 20, `${blocks} blocks`);
    const empty = await t.file('e');
    await t.setattr(empty, { size: 1 << 30 });
    assert.ok((await t.attr(empty)).blocks * 512 < 1 << 20);
  },

  'an unknown inode is stale for every operation': async (t) => {
    const gfid = UNKNOWN;
    const stale = [Errno.ESTALE, Errno.ENOENT];
    await fails(stale, t.fops.getattr({ gfid }), 'getattr');
    await fails(stale, t.setattr(gfid, { mode: 0o600 }), 'setattr');
    await fails(stale, t.fops.lookup({ parent: gfid, name: 'a' }), 'lookup');
    await fails(stale, t.fops.readlink({ gfid }), 'readlink');
    await fails(stale, t.fops.mkdir({ parent: gfid, name: 'a', mode: 0o755, ...OWNER }), 'mkdir');
    await fails(stale, t.fops.unlink({ parent: gfid, name: 'a' }), 'unlink');
    await fails(stale, t.fops.rmdir({ parent: gfid, name: 'a' }), 'rmdir');
    await fails(stale, t.fops.link({ gfid, newParent: t.dir, newName: 'a' }), 'link');
    await fails(stale, t.fops.open({ gfid, truncate: false, killPriv: false }), 'open');
    await fails(stale, t.fops.read({ gfid, offset: 0, size: 10 }), 'read');
    await fails(stale, t.fops.write({ gfid, offset: 0, append: false, sync: false, killPriv: false, data: bytes('x') }), 'write');
    await fails(stale, t.fops.fsync({ gfid, dataOnly: false }), 'fsync');
    await fails(stale, t.fops.readdir({ gfid, after: '', limit: 10, attributes: false }), 'readdir');
    await fails(stale, t.fops.getxattr({ gfid, name: 'user.a' }), 'getxattr');
    await fails(stale, t.fops.setxattr({ gfid, name: 'user.a', value: bytes('x'), flags: 0 }), 'setxattr');
    await fails(stale, t.fops.listxattr({ gfid }), 'listxattr');
    await fails(stale, t.fops.removexattr({ gfid, name: 'user.a' }), 'removexattr');
    await fails(stale, t.fops.fallocate({ gfid, offset: 0, length: 1, mode: 0 }), 'fallocate');
    await fails(stale, t.fops.lseek({ gfid, offset: 0, whence: 3 }), 'lseek');
    await fails(stale, t.fops.copyFileRange({ source: gfid, sourceOffset: 0, target: gfid, targetOffset: 0, length: 1 }), 'copyFileRange');
  },

  'statfs tells plausible sizes and the longest name': async (t) => {
    const s = await t.fops.statfs({});
    assert.equal(s.nameMax, 255);
    assert.ok(s.blockSize >= 512 && s.blocks > 0 && s.blocksFree <= s.blocks && s.blocksAvailable <= s.blocksFree, JSON.stringify(s));
    assert.ok(s.filesFree <= s.files);
  },

  'operations on the wrong kind of inode say so': async (t) => {
    const file = await t.file('f');
    const link = await t.symlink('l', 'f');
    const dir = await t.mkdir('d');
    await fails(Errno.ENOTDIR, t.fops.lookup({ parent: file, name: 'x' }), 'lookup in a file');
    await fails(Errno.ENOTDIR, t.fops.mkdir({ parent: file, name: 'x', mode: 0o755, ...OWNER }), 'mkdir in a file');
    await fails(Errno.ENOTDIR, t.fops.lookup({ parent: link, name: 'x' }), 'a link is not followed');
    await fails(Errno.ENOTDIR, t.fops.readdir({ gfid: file, after: '', limit: 10, attributes: false }), 'readdir of a file');
    await fails(Errno.EINVAL, t.fops.readlink({ gfid: file }), 'readlink of a file');
    await fails(Errno.EINVAL, t.fops.readlink({ gfid: dir }), 'readlink of a directory');
    await fails(Errno.EISDIR, t.setattr(dir, { size: 0 }), 'truncate of a directory');
    await fails([Errno.EINVAL, Errno.ELOOP], t.setattr(link, { size: 0 }), 'truncate of a link');
    await fails(Errno.EISDIR, t.fops.read({ gfid: dir, offset: 0, size: 1 }), 'read of a directory');
    const wrong = [Errno.EISDIR, Errno.EBADF, Errno.EINVAL];
    await fails(wrong, t.fops.write({ gfid: dir, offset: 0, append: false, sync: false, killPriv: false, data: bytes('x') }), 'write to a directory');
    assert.equal((await t.attr(link)).mode & S_IFMT, S_IFLNK);
  },
};
