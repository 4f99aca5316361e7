import assert from 'node:assert/strict';
import { lstatSync, mkdirSync, readdirSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Errno } from '../../../src/base/errno.js';
import { ROOT_GFID, type Gfid } from '../../../src/base/ids.js';
import { RENAME_EXCHANGE, RENAME_NOREPLACE, S_IFCHR, S_IFIFO, S_IFSOCK } from '../../../src/fops/ops.js';
import { errnoFrom, newGfid, TestBrick } from './harness.js';

let brick: TestBrick;
beforeEach(() => {
  brick = new TestBrick();
});
afterEach(() => brick.remove());

const setattr = { atimeNow: false, mtimeNow: false, killPriv: false };

describe('names', () => {
  it('a file has exactly the mode, owner and time that were asked for, also on the disk after a restart', () => {
    const attr = brick.file(ROOT_GFID, 'f', 0o4751, 1001, 1002);
    assert.equal(attr.mode, 0o104751);
    assert.deepEqual([attr.uid, attr.gid, attr.nlink, attr.size], [1001, 1002, 1, 0]);
    assert.deepEqual(attr.mtime, brick.time);
    brick.reopen();
    assert.deepEqual(brick.store.lookup(ROOT_GFID, 'f'), attr);
    const plain = lstatSync(join(brick.path, 'f'), { bigint: true });
    assert.equal(plain.mode, 0o104751n);
    assert.equal(plain.mtimeNs, BigInt(brick.time.sec) * 1_000_000_000n + BigInt(brick.time.nsec));
  });

  it('names are kept byte for byte', () => {
    const name = String.fromCharCode(1, 10, 27, 128, 255, 34);
    brick.file(ROOT_GFID, name);
    brick.file(ROOT_GFID, 'x'.repeat(255));
    brick.reopen();
    assert.deepEqual(brick.names(ROOT_GFID), [name, 'x'.repeat(255)]);
    assert.ok(readdirSync(brick.path, { encoding: 'buffer' }).some((b) => b.equals(Buffer.from(name, 'latin1'))));
  });

  it('what is no name is refused', () => {
    for (const [name, errno] of [
      ['', Errno.EINVAL],
      ['.', Errno.EINVAL],
      ['..', Errno.EINVAL],
      ['a/b', Errno.EINVAL],
      ['a\0b', Errno.EINVAL],
      ['x'.repeat(256), Errno.ENAMETOOLONG],
    ] as const) {
      assert.equal(
        errnoFrom(() => brick.file(ROOT_GFID, name)),
        errno,
        name,
      );
      assert.equal(
        errnoFrom(() => brick.store.lookup(ROOT_GFID, name)),
        errno,
        name,
      );
    }
  });

  it('the private directory does not exist for clients', () => {
    assert.deepEqual(brick.names(ROOT_GFID), []);
    assert.equal(
      errnoFrom(() => brick.store.lookup(ROOT_GFID, '.gluon')),
      Errno.ENOENT,
    );
    assert.equal(
      errnoFrom(() => brick.file(ROOT_GFID, '.gluon')),
      Errno.EPERM,
    );
    assert.equal(
      errnoFrom(() => brick.directory(ROOT_GFID, '.gluon')),
      Errno.EPERM,
    );
    assert.equal(
      errnoFrom(() => brick.apply('rmdir', { parent: ROOT_GFID, name: '.gluon' })),
      Errno.ENOENT,
    );
    assert.equal(
      errnoFrom(() => brick.rename(ROOT_GFID, '.gluon', ROOT_GFID, 'x')),
      Errno.ENOENT,
    );
    brick.file(ROOT_GFID, 'f');
    assert.equal(
      errnoFrom(() => brick.rename(ROOT_GFID, 'f', ROOT_GFID, '.gluon')),
      Errno.EPERM,
    );
    assert.equal(brick.store.getattr(ROOT_GFID).nlink, statSync(brick.path).nlink === 1 ? 1 : 2);
    const d = brick.directory(ROOT_GFID, 'd');
    brick.file(d.gfid, '.gluon');
    assert.deepEqual(brick.names(d.gfid), ['.gluon']);
  });

  it('links: nlink does not count the handle, and the last unlink removes it', () => {
    const { gfid } = brick.file(ROOT_GFID, 'a');
    assert.equal(brick.apply('link', { gfid, newParent: ROOT_GFID, newName: 'b' }).attr.nlink, 2);
    assert.deepEqual(brick.store.getattr(gfid).ctime, brick.time);
    assert.equal(
      errnoFrom(() => brick.apply('link', { gfid, newParent: ROOT_GFID, newName: 'b' })),
      Errno.EEXIST,
    );
    assert.equal(
      errnoFrom(() => brick.apply('link', { gfid: ROOT_GFID, newParent: ROOT_GFID, newName: 'c' })),
      Errno.EPERM,
    );
    brick.apply('unlink', { parent: ROOT_GFID, name: 'a' });
    assert.equal(brick.store.getattr(gfid).nlink, 1);
    brick.reopen();
    assert.equal(brick.store.getattr(gfid).nlink, 1);
    brick.apply('unlink', { parent: ROOT_GFID, name: 'b' });
    assert.equal(
      errnoFrom(() => brick.store.getattr(gfid)),
      Errno.ESTALE,
    );
    assert.equal(
      errnoFrom(() => brick.store.lookup(ROOT_GFID, 'b')),
      Errno.ENOENT,
    );
    assert.equal(
      errnoFrom(() => brick.apply('unlink', { parent: ROOT_GFID, name: 'b' })),
      Errno.ENOENT,
    );
  });

  it('an orphan stays readable across a restart until it is purged', async () => {
    const { gfid } = brick.file(ROOT_GFID, 'a');
    brick.write(gfid, 0, 'kept');
    brick.apply('unlink', { parent: ROOT_GFID, name: 'a' }, false);
    assert.equal(brick.store.getattr(gfid).nlink, 0);
    brick.reopen();
    assert.deepEqual(brick.store.orphans(), [gfid]);
    assert.equal(brick.store.getattr(gfid).nlink, 0);
    assert.equal(await brick.read(gfid), 'kept');
    brick.store.purge(gfid);
    assert.deepEqual(brick.store.orphans(), []);
    assert.equal(
      errnoFrom(() => brick.store.getattr(gfid)),
      Errno.ESTALE,
    );
    brick.reopen();
    assert.deepEqual(brick.store.orphans(), []);
  });

  it('purge of what has a name, or is unknown, does nothing', () => {
    const { gfid } = brick.file(ROOT_GFID, 'a');
    brick.store.purge(gfid);
    brick.store.purge(newGfid());
    assert.equal(brick.store.getattr(gfid).nlink, 1);
  });

  it('a tmpfile is an orphan that link gives a name', () => {
    const attr = brick.apply('tmpfile', { parent: ROOT_GFID, mode: 0o600, uid: 5, gid: 6 }).attr;
    assert.equal(attr.nlink, 0);
    assert.deepEqual(brick.store.orphans(), [attr.gfid]);
    assert.equal(brick.apply('link', { gfid: attr.gfid, newParent: ROOT_GFID, newName: 't' }).attr.nlink, 1);
    assert.deepEqual(brick.store.orphans(), []);
    brick.reopen();
    assert.equal(brick.store.lookup(ROOT_GFID, 't').uid, 5);
  });

  it('create opens what exists unless it must be new', () => {
    const { gfid } = brick.file(ROOT_GFID, 'f');
    brick.write(gfid, 0, 'data');
    const args = { parent: ROOT_GFID, name: 'f', mode: 0o600, exclusive: false, truncate: false, uid: 9, gid: 9 };
    const opened = brick.apply('create', args);
    assert.deepEqual([opened.created, opened.attr.gfid, opened.attr.size, opened.attr.uid], [false, gfid, 4, 0]);
    assert.equal(brick.apply('create', { ...args, truncate: true }).attr.size, 0);
    assert.equal(
      errnoFrom(() => brick.apply('create', { ...args, exclusive: true })),
      Errno.EEXIST,
    );
    brick.directory(ROOT_GFID, 'd');
    assert.equal(
      errnoFrom(() => brick.apply('create', { ...args, name: 'd' })),
      Errno.EISDIR,
    );
  });

  it('unlink and rmdir tell directories from others', () => {
    const d = brick.directory(ROOT_GFID, 'd');
    const f = brick.file(d.gfid, 'f');
    assert.equal(
      errnoFrom(() => brick.apply('unlink', { parent: ROOT_GFID, name: 'd' })),
      Errno.EISDIR,
    );
    assert.equal(
      errnoFrom(() => brick.apply('rmdir', { parent: d.gfid, name: 'f' })),
      Errno.ENOTDIR,
    );
    assert.equal(
      errnoFrom(() => brick.apply('rmdir', { parent: ROOT_GFID, name: 'd' })),
      Errno.ENOTEMPTY,
    );
    assert.equal(
      errnoFrom(() => brick.store.lookup(f.gfid, 'x')),
      Errno.ENOTDIR,
    );
    assert.equal(
      errnoFrom(() => brick.file(f.gfid, 'x')),
      Errno.ENOTDIR,
    );
    assert.equal(
      errnoFrom(() => brick.store.lookup(newGfid(), 'x')),
      Errno.ESTALE,
    );
    brick.apply('unlink', { parent: d.gfid, name: 'f' });
    brick.apply('rmdir', { parent: ROOT_GFID, name: 'd' });
    assert.equal(
      errnoFrom(() => brick.store.getattr(d.gfid)),
      Errno.ESTALE,
    );
    assert.equal(
      errnoFrom(() => brick.file(d.gfid, 'x')),
      Errno.ESTALE,
    );
  });

  it('a set-group-id directory gives its group on, and directories the bit too', () => {
    const d = brick.directory(ROOT_GFID, 'd');
    brick.apply('setattr', { ...setattr, gfid: d.gfid, mode: 0o2775, gid: 77 });
    const f = brick.file(d.gfid, 'f', 0o2755, 1, 2);
    assert.deepEqual([f.gid, f.mode, f.uid], [77, 0o102755, 1]);
    const e = brick.directory(d.gfid, 'e', 0o700);
    assert.deepEqual([e.gid, e.mode], [77, 0o042700]);
    const l = brick.apply('symlink', { parent: d.gfid, name: 'l', target: 'x', uid: 1, gid: 2 }).attr;
    assert.equal(l.gid, 77);
    brick.reopen();
    assert.deepEqual(brick.store.getattr(e.gfid), e);
    assert.deepEqual(brick.store.getattr(f.gfid), f);
  });

  it('symbolic links are links on the disk, never followed', async () => {
    const target = `${'0'.repeat(31)}1/d`;
    const l = brick.apply('symlink', { parent: ROOT_GFID, name: 'l', target, uid: 3, gid: 4 }).attr;
    brick.directory(ROOT_GFID, 'd');
    const etc = brick.apply('symlink', { parent: ROOT_GFID, name: 'etc', target: '/etc/passwd', uid: 3, gid: 4 }).attr;
    brick.reopen();
    assert.equal(brick.store.readlink(l.gfid), target);
    assert.deepEqual(brick.store.getattr(l.gfid), l);
    assert.equal(l.size, target.length);
    assert.equal(readlinkSync(join(brick.path, 'etc')), '/etc/passwd');
    assert.equal(
      errnoFrom(() => brick.store.lookup(l.gfid, 'd')),
      Errno.ENOTDIR,
    );
    assert.equal(
      errnoFrom(() => brick.store.readdir(l.gfid, '', 10, false)),
      Errno.ENOTDIR,
    );
    assert.equal(
      errnoFrom(() => brick.store.read(etc.gfid, 0, 10)),
      Errno.EINVAL,
    );
    assert.equal(
      errnoFrom(() => brick.write(etc.gfid, 0, 'x')),
      Errno.EINVAL,
    );
    assert.equal(
      errnoFrom(() => brick.apply('setattr', { ...setattr, gfid: etc.gfid, mode: 0o777 })),
      Errno.EOPNOTSUPP,
    );
    const passwd = statSync('/etc/passwd');
    brick.apply('setattr', { ...setattr, gfid: etc.gfid, uid: 12, mtime: { sec: 5, nsec: 6 } });
    brick.reopen();
    assert.equal(brick.store.getattr(etc.gfid).uid, 12);
    assert.deepEqual(brick.store.getattr(etc.gfid).mtime, { sec: 5, nsec: 6 });
    assert.equal(statSync('/etc/passwd').mtimeMs, passwd.mtimeMs);
    await brick.store.fsync(etc.gfid, false);
  });

  it('special files are special on the disk and are never opened', () => {
    const types = [
      [S_IFIFO, 0],
      [S_IFSOCK, 0],
      [S_IFCHR, 0x0103],
    ] as const;
    for (const [type, rdev] of types) {
      const attr = brick.apply('mknod', {
        parent: ROOT_GFID,
        name: `n${type}`,
        mode: type | 0o640,
        rdev,
        uid: 1,
        gid: 2,
      }).attr;
      assert.deepEqual([attr.mode, attr.rdev, attr.uid], [type | 0o640, rdev, 1]);
      assert.equal(lstatSync(join(brick.path, `n${type}`)).mode, type | 0o640);
      brick.apply('setattr', { ...setattr, gfid: attr.gfid, mode: 0o604, uid: 8 });
      assert.equal(
        errnoFrom(() => brick.store.read(attr.gfid, 0, 1)),
        Errno.EINVAL,
      );
      assert.equal(
        errnoFrom(() => brick.write(attr.gfid, 0, 'x')),
        Errno.EINVAL,
      );
      assert.equal(
        errnoFrom(() => brick.apply('setattr', { ...setattr, gfid: attr.gfid, size: 0 })),
        Errno.EINVAL,
      );
      const now = brick.store.getattr(attr.gfid);
      brick.reopen();
      assert.deepEqual(brick.store.lookup(ROOT_GFID, `n${type}`), now);
      assert.equal(now.mode, type | 0o604);
    }
  });
});

describe('rename', () => {
  const place = (gfid: Gfid) => brick.store.directoryPlace(gfid);

  it('moves files, and only the names and times that it must change', () => {
    const d = brick.directory(ROOT_GFID, 'd');
    const f = brick.file(ROOT_GFID, 'f');
    brick.rename(ROOT_GFID, 'f', d.gfid, 'g');
    const after = brick.store.lookup(d.gfid, 'g');
    assert.deepEqual(after, { ...f, ctime: brick.time });
    assert.deepEqual(brick.store.getattr(ROOT_GFID).mtime, brick.time);
    assert.deepEqual(brick.store.getattr(d.gfid).ctime, brick.time);
    assert.deepEqual(brick.names(ROOT_GFID), ['d']);
    brick.reopen();
    assert.deepEqual(brick.store.lookup(d.gfid, 'g'), after);
  });

  it('replaces a file, which goes or stays as an orphan', () => {
    const a = brick.file(ROOT_GFID, 'a');
    const b = brick.file(ROOT_GFID, 'b');
    brick.rename(ROOT_GFID, 'a', ROOT_GFID, 'b');
    assert.equal(brick.store.lookup(ROOT_GFID, 'b').gfid, a.gfid);
    assert.equal(
      errnoFrom(() => brick.store.getattr(b.gfid)),
      Errno.ESTALE,
    );
    const c = brick.file(ROOT_GFID, 'c');
    brick.rename(ROOT_GFID, 'c', ROOT_GFID, 'b', 0, false);
    assert.deepEqual(brick.store.orphans(), [a.gfid]);
    assert.equal(brick.store.getattr(a.gfid).nlink, 0);
    assert.equal(brick.store.lookup(ROOT_GFID, 'b').gfid, c.gfid);
  });

  it('refuses what POSIX refuses and changes nothing', () => {
    const d = brick.directory(ROOT_GFID, 'd');
    const e = brick.directory(d.gfid, 'e');
    brick.file(ROOT_GFID, 'f');
    brick.file(e.gfid, 'x');
    const before = brick.store.getattr(ROOT_GFID);
    const rename = (...args: Parameters<TestBrick['rename']>): number => errnoFrom(() => brick.rename(...args));
    assert.equal(rename(ROOT_GFID, 'd', ROOT_GFID, 'f'), Errno.ENOTDIR);
    assert.equal(rename(ROOT_GFID, 'f', ROOT_GFID, 'd'), Errno.EISDIR);
    assert.equal(rename(ROOT_GFID, 'd', d.gfid, 'y'), Errno.EINVAL);
    assert.equal(rename(ROOT_GFID, 'd', e.gfid, 'y'), Errno.EINVAL);
    assert.equal(rename(d.gfid, 'e', ROOT_GFID, 'd'), Errno.ENOTEMPTY);
    brick.directory(ROOT_GFID, 'empty');
    assert.equal(rename(ROOT_GFID, 'empty', ROOT_GFID, 'd'), Errno.ENOTEMPTY);
    assert.equal(rename(ROOT_GFID, 'f', ROOT_GFID, 'empty', RENAME_NOREPLACE), Errno.EEXIST);
    assert.equal(rename(ROOT_GFID, 'f', ROOT_GFID, 'none', RENAME_EXCHANGE), Errno.ENOENT);
    assert.equal(rename(ROOT_GFID, 'none', ROOT_GFID, 'n2'), Errno.ENOENT);
    assert.equal(rename(ROOT_GFID, 'f', ROOT_GFID, 'n2', 4), Errno.EINVAL);
    assert.equal(rename(ROOT_GFID, 'f', newGfid(), 'n2'), Errno.ESTALE);
    assert.equal(brick.store.getattr(ROOT_GFID).mode, before.mode);
    assert.deepEqual(brick.names(ROOT_GFID), ['d', 'empty', 'f']);
  });

  it('onto another name of the same inode does nothing', () => {
    const a = brick.file(ROOT_GFID, 'a');
    const two = brick.apply('link', { gfid: a.gfid, newParent: ROOT_GFID, newName: 'b' }).attr;
    brick.rename(ROOT_GFID, 'a', ROOT_GFID, 'b');
    assert.deepEqual(brick.names(ROOT_GFID), ['a', 'b']);
    assert.deepEqual(brick.store.getattr(a.gfid), two);
  });

  it('a directory is found by identity after it moved, also after a restart', () => {
    const d = brick.directory(ROOT_GFID, 'd');
    const e = brick.directory(d.gfid, 'e');
    const f = brick.file(e.gfid, 'f');
    const t = brick.directory(ROOT_GFID, 't');
    brick.rename(ROOT_GFID, 'd', t.gfid, 'moved');
    assert.deepEqual(place(d.gfid), { parent: t.gfid, name: 'moved' });
    brick.reopen();
    assert.equal(brick.store.lookup(e.gfid, 'f').gfid, f.gfid);
    assert.deepEqual(place(e.gfid), { parent: d.gfid, name: 'e' });
    assert.equal(place(ROOT_GFID), undefined);
  });

  it('a directory replaces an empty one', () => {
    const a = brick.directory(ROOT_GFID, 'a');
    const b = brick.directory(ROOT_GFID, 'b');
    brick.file(a.gfid, 'f');
    brick.rename(ROOT_GFID, 'a', ROOT_GFID, 'b');
    assert.equal(brick.store.lookup(ROOT_GFID, 'b').gfid, a.gfid);
    assert.equal(
      errnoFrom(() => brick.store.getattr(b.gfid)),
      Errno.ESTALE,
    );
    const counts = statSync(brick.path).nlink > 1;
    if (counts) assert.equal(brick.store.getattr(ROOT_GFID).nlink, 3);
  });

  it('EXCHANGE swaps a file and a directory', () => {
    const d = brick.directory(ROOT_GFID, 'd');
    const x = brick.file(d.gfid, 'x');
    const s = brick.directory(ROOT_GFID, 's');
    const f = brick.file(s.gfid, 'f');
    brick.rename(ROOT_GFID, 'd', s.gfid, 'f', RENAME_EXCHANGE);
    assert.equal(brick.store.lookup(ROOT_GFID, 'd').gfid, f.gfid);
    brick.reopen();
    assert.equal(brick.store.lookup(ROOT_GFID, 'd').gfid, f.gfid);
    assert.equal(brick.store.lookup(s.gfid, 'f').gfid, d.gfid);
    assert.equal(brick.store.lookup(d.gfid, 'x').gfid, x.gfid);
    assert.deepEqual(place(d.gfid), { parent: s.gfid, name: 'f' });
    assert.equal(
      errnoFrom(() => brick.rename(ROOT_GFID, 's', d.gfid, 'x', RENAME_EXCHANGE)),
      Errno.EINVAL,
    );
    assert.equal(
      errnoFrom(() => brick.rename(d.gfid, 'x', ROOT_GFID, 's', RENAME_EXCHANGE)),
      Errno.EINVAL,
    );
  });
});

describe('listing', () => {
  it('pages in byte order and follows changes between pages', () => {
    const d = brick.directory(ROOT_GFID, 'd');
    const all: string[] = [];
    for (let i = 0; i < 3000; i++) all.push(`f${(i * 7919) % 3000}`);
    for (const name of all) brick.file(d.gfid, name);
    all.sort();
    const seen: string[] = [];
    let after = '';
    for (let end = false; !end;) {
      const page = brick.store.readdir(d.gfid, after, 100, true);
      for (const entry of page.entries) {
        seen.push(entry.name);
        assert.equal(entry.attr?.gfid, entry.gfid);
        if (seen.length % 3 === 0) brick.apply('unlink', { parent: d.gfid, name: entry.name });
      }
      after = page.entries.at(-1)?.name ?? after;
      end = page.end;
    }
    assert.deepEqual(seen, all);
    const left = all.filter((_, i) => i % 3 !== 2);
    assert.deepEqual(brick.names(d.gfid), left);
    brick.file(d.gfid, 'f0000');
    brick.rename(d.gfid, 'f0000', d.gfid, 'zz');
    const expected = [...left, 'zz'].sort();
    assert.deepEqual(brick.names(d.gfid), expected);
    brick.store.dropCaches();
    assert.deepEqual(brick.names(d.gfid), expected);
  });

  it('an empty directory and the end', () => {
    assert.deepEqual(brick.store.readdir(ROOT_GFID, '', 10, false), { entries: [], end: true });
    brick.file(ROOT_GFID, 'a');
    assert.deepEqual(brick.store.readdir(ROOT_GFID, 'a', 10, false), { entries: [], end: true });
    assert.equal(brick.store.readdir(ROOT_GFID, '', 1, false).end, true);
  });

  it('removing 20,000 files in order takes no time that grows with their number', () => {
    const d = brick.directory(ROOT_GFID, 'd');
    for (let i = 0; i < 20_000; i++) brick.file(d.gfid, `f${i}`);
    const { entries } = brick.store.readdir(d.gfid, '', 4096, false);
    assert.equal(entries.length, 4096);
    let after = '';
    let count = 0;
    for (;;) {
      const page = brick.store.readdir(d.gfid, after, 1000, false);
      for (const { name } of page.entries) brick.apply('unlink', { parent: d.gfid, name });
      count += page.entries.length;
      after = page.entries.at(-1)?.name ?? after;
      if (page.end) break;
    }
    assert.equal(count, 20_000);
    brick.apply('rmdir', { parent: ROOT_GFID, name: 'd' });
  });
});

describe('depth and bounds', () => {
  it('a tree deeper than any path is reached by identity', () => {
    brick.remove();
    brick = new TestBrick({
      directoryDescriptors: 40,
      inodes: 50,
      fileDescriptors: 8,
      pendingTimes: 20,
      listedNames: 10,
    });
    let at: Gfid = ROOT_GFID;
    for (let i = 0; i < 1500; i++) at = brick.directory(at, 'x'.repeat(200)).gfid;
    const f = brick.file(at, 'bottom');
    brick.reopen();
    assert.equal(brick.store.lookup(at, 'bottom').gfid, f.gfid);
    brick.store.dropCaches();
    brick.directory(ROOT_GFID, 'other');
    const top = brick.store.lookup(ROOT_GFID, 'x'.repeat(200));
    assert.equal(
      errnoFrom(() => brick.rename(ROOT_GFID, 'x'.repeat(200), at, 'y')),
      Errno.EINVAL,
    );
    brick.rename(ROOT_GFID, 'x'.repeat(200), brick.store.lookup(ROOT_GFID, 'other').gfid, 'y');
    assert.equal(brick.store.lookup(at, 'bottom').gfid, f.gfid);
    assert.equal(top.gfid, brick.store.lookup(brick.store.lookup(ROOT_GFID, 'other').gfid, 'y').gfid);
    // A path of this length cannot be removed by path in one call: from below.
    for (let dir: Gfid | undefined = at, name = 'bottom', first = true; dir !== undefined; first = false) {
      brick.apply(first ? 'unlink' : 'rmdir', { parent: dir, name });
      const up = brick.store.directoryPlace(dir);
      dir = up?.parent;
      name = up?.name ?? '';
    }
    assert.deepEqual(
      brick.names(ROOT_GFID),
      ['other'].filter((n) => brick.names(ROOT_GFID).includes(n)),
    );
  });

  it('small caches change nothing but speed', async () => {
    brick.remove();
    brick = new TestBrick({ directoryDescriptors: 4, inodes: 4, fileDescriptors: 2, pendingTimes: 3, listedNames: 5 });
    const files: [Gfid, string, Gfid][] = [];
    for (let i = 0; i < 30; i++) {
      const d = brick.directory(ROOT_GFID, `d${i}`);
      for (let j = 0; j < 5; j++) {
        const f = brick.file(d.gfid, `f${j}`);
        brick.write(f.gfid, 0, `${i}-${j}`);
        files.push([d.gfid, `f${j}`, f.gfid]);
      }
    }
    const attrs = files.map(([d, n]) => brick.store.lookup(d, n));
    for (const [, , gfid] of files) assert.match(await brick.read(gfid), /^\d+-\d+$/);
    brick.reopen();
    for (const [index, [d, n]] of files.entries()) assert.deepEqual(brick.store.lookup(d, n), attrs[index]);
  });
});

describe('what other programs put into the tree', () => {
  it('is invisible, and gives way', () => {
    const d = brick.directory(ROOT_GFID, 'd');
    writeFileSync(join(brick.path, 'd', 'foreign'), 'x');
    mkdirSync(join(brick.path, 'fdir'));
    writeFileSync(join(brick.path, 'fdir', 'y'), 'y');
    assert.equal(
      errnoFrom(() => brick.store.lookup(d.gfid, 'foreign')),
      Errno.ENOENT,
    );
    assert.deepEqual(brick.names(d.gfid), []);
    assert.deepEqual(brick.names(ROOT_GFID), ['d']);
    const f = brick.file(ROOT_GFID, 'fdir');
    assert.equal(brick.store.lookup(ROOT_GFID, 'fdir').gfid, f.gfid);
    brick.apply('rmdir', { parent: ROOT_GFID, name: 'd' });
    assert.equal(readdirSync(join(brick.path, '.gluon', 'foreign')).length, 2);
  });
});
