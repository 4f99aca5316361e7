/** POSIX: files and their attributes, seen through two mounts. */
import assert from 'node:assert/strict';
import { fails, NEW, O, TYPE, type PosixTests } from './suite.js';

export const FILE_TESTS: PosixTests = {
  'open creates with the mode that the umask leaves': async (t) => {
    await t.a.umask(0o027);
    await t.file('f', 'x', 0o777);
    await t.a.mkdir('d', 0o777);
    await t.a.mknod('p', TYPE.FIFO | 0o666);
    assert.equal((await t.same('f')).mode, TYPE.FILE | 0o750);
    assert.equal((await t.same('d')).mode, TYPE.DIR | 0o750);
    assert.equal((await t.same('p')).mode, TYPE.FIFO | 0o640);
  },

  'O_EXCL refuses what exists, O_TRUNC empties it, O_DIRECTORY and O_NOFOLLOW look at the type': async (t) => {
    await t.file('f', 'content');
    await t.a.symlink('f', 'l');
    await t.a.symlink('missing', 'dangling');
    await fails('EEXIST', t.b.open('f', NEW));
    await fails('EEXIST', t.b.open('dangling', NEW));
    await fails('ENOTDIR', t.b.open('f', O.RDONLY | O.DIRECTORY));
    await fails('ELOOP', t.b.open('l', O.RDONLY | O.NOFOLLOW));
    await fails('EISDIR', t.b.open('.', O.WRONLY));
    await fails('ENOENT', t.b.open('missing', O.RDONLY));
    await t.b.close(await t.b.open('l', O.WRONLY | O.TRUNC));
    assert.equal((await t.same('f')).size, 0);
    await t.b.close(await t.b.open('dangling', O.WRONLY | O.CREAT));
    assert.ok(await t.exists('missing'));
  },

  'names of 255 bytes work, 256 are too long, and any byte but / and NUL is a name': async (t) => {
    await t.file('n'.repeat(255), 'long');
    assert.equal(await t.content('n'.repeat(255), t.b), 'long');
    await fails('ENAMETOOLONG', t.a.open('n'.repeat(256), NEW));
    await fails('ENAMETOOLONG', t.b.lstat('n'.repeat(256)));
    await fails('ENAMETOOLONG', t.a.mkdir('n'.repeat(256)));
    await fails('ENAMETOOLONG', t.a.symlink('x', 'n'.repeat(256)));
    await fails('ENAMETOOLONG', t.a.rename('n'.repeat(255), 'm'.repeat(256)));
    const names = ['\xff\xfe', '\xc3\xa9', 'e\xcc\x81', '\x01', '\n', '\x1b[31m', ' ', '-rf', '\xed\xa0\x80', '\\', '*'];
    for (const name of names) await t.file(name, name);
    for (const name of names) assert.equal(await t.content(name, t.b), name);
    assert.deepEqual(await t.b.readdir('.'), [...names, 'n'.repeat(255)].sort());
  },

  'stat tells the same on both mounts, with times in nanoseconds': async (t) => {
    await t.file('f', 'x');
    for (const [sec, nsec] of [[0, 1], [-1, 999_999_999], [1_234_567_890, 123_456_789], [4_000_000_000, 5]] as [number, number][]) {
      await t.a.utimens('f', [sec, nsec], [sec, nsec]);
      const wanted = (BigInt(sec) * 1_000_000_000n + BigInt(nsec)).toString();
      const s = await t.b.lstat('f');
      assert.deepEqual([s.mtime, s.atime], [wanted, wanted]);
    }
    await t.a.utimens('f', null, [5, 6]);
    assert.equal((await t.b.lstat('f')).mtime, '5000000006');
    await t.b.utimens('f', 'now', null);
    assert.equal((await t.same('f')).mtime, '5000000006');
    assert.ok(BigInt((await t.a.lstat('f')).ctime) > 1_600_000_000n * 1_000_000_000n);
  },

  'chmod and chown are seen at once, and chown of a user clears setuid': async (t) => {
    await t.file('f');
    assert.equal((await t.b.lstat('f')).mode & 0o7777, 0o644);
    await t.a.chmod('f', 0o6711);
    assert.equal((await t.b.lstat('f')).mode & 0o7777, 0o6711);
    await t.a.lchown('f', 1000, 1000);
    await t.b.become(1000, 1000);
    await t.b.lchown('f', 1000, 1000);
    await t.b.become(0, 0);
    assert.equal((await t.same('f')).mode & 0o7000, 0);
    const s = await t.same('f');
    assert.deepEqual([s.uid, s.gid], [1000, 1000]);
  },

  'a write by a user clears setuid and setgid': async (t) => {
    await t.file('f', 'x');
    await t.a.chmod('f', 0o6777);
    await t.b.become(1000, 1000);
    const fd = await t.b.open('f', O.WRONLY);
    await t.b.write(fd, 'y');
    await t.b.close(fd);
    assert.equal((await t.a.lstat('f')).mode & 0o7777, 0o777);
    await t.b.become(0, 0);
  },

  'permissions hold for other users': async (t) => {
    await t.file('secret', 'x', 0o600);
    await t.a.mkdir('closed', 0o700);
    await t.a.mkdir('open', 0o777);
    await t.a.mkdir('sticky', 0o777);
    await t.a.chmod('sticky', 0o1777);
    await t.a.close(await t.a.open('sticky/mine', NEW));
    await t.b.become(1000, 1000);
    await fails('EACCES', t.b.open('secret', O.RDONLY));
    await fails('EACCES', t.b.readdir('closed'));
    await fails('EACCES', t.b.open('closed/x', NEW));
    await fails('EPERM', t.b.chmod('secret', 0o777));
    await fails(['EPERM', 'EACCES'], t.b.lchown('secret', 1000, 1000));
    await fails('EPERM', t.b.unlink('sticky/mine'));
    await t.b.close(await t.b.open('open/theirs', NEW));
    await t.b.become(0, 0);
    const s = await t.same('open/theirs');
    assert.deepEqual([s.uid, s.gid], [1000, 1000]);
  },

  'hard links share one inode on both mounts': async (t) => {
    await t.file('a', 'one');
    await t.b.link('a', 'b');
    const [a, b] = [await t.same('a'), await t.same('b')];
    assert.deepEqual([a.ino, a.nlink], [b.ino, 2]);
    await fails('EEXIST', t.a.link('a', 'b'));
    await t.a.mkdir('d');
    await fails('EPERM', t.a.link('d', 'e'));
    await t.b.unlink('a');
    assert.equal((await t.a.lstat('b')).nlink, 1);
    assert.equal(await t.content('b'), 'one');
  },

  'symbolic links are followed, end in ELOOP, and keep long targets': async (t) => {
    await t.file('f', 'through');
    await t.a.symlink('f', 'l0');
    for (let i = 1; i <= 41; i++) await t.a.symlink(`l${i - 1}`, `l${i}`);
    assert.equal(await t.content('l30', t.b), 'through');
    await fails('ELOOP', t.b.stat('l41'));
    await t.a.symlink('loop', 'loop');
    await fails('ELOOP', t.b.stat('loop'));
    const long = 'x/'.repeat(2000);
    await t.a.symlink(long, 'long');
    assert.equal(await t.b.readlink('long'), long);
    assert.equal((await t.b.lstat('long')).size, long.length);
    await fails('EINVAL', t.b.readlink('f'));
  },

  'devices, FIFOs and sockets are kept; a FIFO works between two processes of a node': async (t) => {
    await t.a.mknod('null', TYPE.CHAR | 0o666, (1 << 8) | 3);
    await t.a.mknod('disk', TYPE.BLOCK | 0o600, (8 << 8) | 17);
    await t.a.mknod('socket', TYPE.SOCKET | 0o700);
    await t.a.mknod('fifo', TYPE.FIFO | 0o600);
    const null_ = await t.same('null');
    assert.deepEqual([null_.mode, null_.major, null_.minor], [TYPE.CHAR | 0o666, 1, 3]);
    const disk = await t.same('disk');
    assert.deepEqual([disk.mode, disk.major, disk.minor], [TYPE.BLOCK | 0o600, 8, 17]);
    assert.equal((await t.same('socket')).mode & TYPE.MASK, TYPE.SOCKET);
    const reader = await t.a.open('fifo', O.RDWR | O.NONBLOCK);
    const writer = t.agent(0).sys;
    const fd = await writer.open('fifo', O.WRONLY | O.NONBLOCK);
    await writer.write(fd, 'through the pipe');
    assert.equal(await t.a.read(reader, 100), 'through the pipe');
  },

  'an unlinked open file goes on, also when another mount unlinks it': async (t) => {
    await t.file('f', 'before');
    const fd = await t.a.open('f', O.RDWR);
    await t.b.unlink('f');
    assert.equal(await t.exists('f'), false);
    assert.equal(await t.a.pread(fd, 100, 0), 'before');
    await t.a.pwrite(fd, 'after', 6);
    assert.equal(await t.a.pread(fd, 100, 0), 'beforeafter');
    assert.equal((await t.a.fstat(fd)).nlink, 0);
    await t.a.ftruncate(fd, 3);
    await t.file('f', 'new');
    assert.equal((await t.a.fstat(fd)).size, 3);
    await t.a.fsync(fd);
    await t.a.close(fd);
    assert.equal(await t.content('f', t.b), 'new');
  },

  'a file replaced by rename while it is open goes on': async (t) => {
    await t.file('f', 'old');
    await t.file('g', 'new');
    const fd = await t.a.open('f', O.RDWR);
    await t.b.rename('g', 'f');
    assert.equal(await t.a.pread(fd, 100, 0), 'old');
    assert.equal(await t.content('f'), 'new');
    await t.a.close(fd);
  },

  'O_TMPFILE makes an unnamed file that linkat names': async (t) => {
    const fd = await t.a.open('.', O.TMPFILE | O.RDWR, 0o640);
    await t.a.write(fd, 'unnamed');
    assert.equal((await t.a.fstat(fd)).nlink, 0);
    assert.deepEqual(await t.b.readdir('.'), []);
    await t.a.linkOpen(fd, 'named');
    assert.equal((await t.a.fstat(fd)).nlink, 1);
    assert.equal(await t.content('named', t.b), 'unnamed');
    assert.equal((await t.same('named')).mode & 0o777, 0o640);
    const gone = await t.a.open('.', O.TMPFILE | O.RDWR, 0o600);
    await t.a.close(gone);
    assert.deepEqual(await t.a.readdir('.'), ['named']);
  },

  'xattrs are kept byte for byte and seen on both mounts': async (t) => {
    await t.file('f');
    await t.a.symlink('f', 'l');
    const names = ['user.a', 'user.\xff', 'trusted.t', 'security.s'];
    for (const name of names) await t.a.setxattr('f', name, `value of ${name}\0\xff`);
    for (const name of names) assert.equal(await t.b.getxattr('f', name), `value of ${name}\0\xff`);
    assert.deepEqual((await t.b.listxattr('f')).filter((n) => n !== 'security.selinux'), [...names].sort());
    await fails('EEXIST', t.b.setxattr('f', 'user.a', 'x', 1));
    await fails('ENODATA', t.b.setxattr('f', 'user.b', 'x', 2));
    await fails('ENODATA', t.b.getxattr('f', 'user.b'));
    await fails('EPERM', t.a.setxattr('l', 'user.a', 'x'));
    await t.b.setxattr('f', 'user.a', 'changed');
    assert.equal(await t.a.getxattr('f', 'user.a'), 'changed');
    await t.b.removexattr('f', 'user.a');
    await fails('ENODATA', t.a.getxattr('f', 'user.a'));
    await t.a.setxattr('f', 'user.empty', '');
    assert.equal(await t.b.getxattr('f', 'user.empty'), '');
  },

  'statfs tells plausible sizes': async (t) => {
    const s = await t.a.statfs('.');
    assert.equal(s.nameMax, 255);
    assert.ok(s.blocks > 0 && s.blocksFree > 0 && s.blocksAvailable <= s.blocksFree && s.blockSize >= 512);
    if (t.subject.fuse) assert.equal(s.type, 0x65735546, 'a FUSE mount, as libvirt looks for');
  },

  'a directory is fsynced and a file with it': async (t) => {
    await t.a.mkdir('d');
    const fd = await t.a.open('d/f', NEW);
    await t.a.write(fd, 'durable');
    await t.a.fdatasync(fd);
    await t.a.fsync(fd);
    const dir = await t.a.open('d', O.RDONLY | O.DIRECTORY);
    await t.a.fsync(dir);
    await t.a.close(dir);
    await t.a.close(fd);
  },
};
