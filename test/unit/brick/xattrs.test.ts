import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Errno, FsError, InodeLimitError } from '../../../src/base/errno.js';
import { ROOT_GFID, type Gfid } from '../../../src/base/ids.js';
import { S_IFIFO, XATTR_CREATE, XATTR_REPLACE } from '../../../src/fops/ops.js';
import type { Disk } from '../../../src/brick/disk.js';
import { openBrick } from '../../../src/brick/store/identity.js';
import { TREE_LIMITS } from '../../../src/brick/store/tree.js';
import { encodeFrame } from '../../../src/wire/codec.js';
import { BRICK, disk, errnoFrom, TestBrick, VOLUME } from './harness.js';

let brick: TestBrick;
let kinds: Record<'file' | 'directory' | 'link' | 'fifo' | 'root', Gfid>;
beforeEach(() => {
  brick = new TestBrick();
  kinds = {
    file: brick.file(ROOT_GFID, 'f').gfid,
    directory: brick.directory(ROOT_GFID, 'd').gfid,
    link: brick.apply('symlink', { parent: ROOT_GFID, name: 'l', target: 'nowhere', uid: 0, gid: 0 }).attr.gfid,
    fifo: brick.apply('mknod', { parent: ROOT_GFID, name: 'p', mode: S_IFIFO | 0o600, rdev: 0, uid: 0, gid: 0 }).attr
      .gfid,
    root: ROOT_GFID,
  };
});
afterEach(() => brick.remove());

function set(gfid: Gfid, name: string, value: string, flags = 0): number {
  return errnoFrom(() => brick.apply('setxattr', { gfid, name, value: Buffer.from(value), flags }));
}

function get(gfid: Gfid, name: string): string {
  return Buffer.from(brick.store.getxattr(gfid, name)).toString();
}

describe('extended attributes', () => {
  it('on every kind of inode as Linux has them', () => {
    for (const gfid of Object.values(kinds)) {
      assert.equal(set(gfid, 'trusted.a', 'one'), 0);
      assert.deepEqual(brick.store.getattr(gfid).ctime, brick.time);
      assert.equal(get(gfid, 'trusted.a'), 'one');
    }
    for (const gfid of [kinds.file, kinds.directory, kinds.root]) {
      assert.equal(set(gfid, 'user.b', ''), 0);
      assert.equal(get(gfid, 'user.b'), '');
      assert.deepEqual(brick.store.listxattr(gfid), ['trusted.a', 'user.b']);
    }
    for (const gfid of [kinds.link, kinds.fifo]) assert.equal(set(gfid, 'user.b', 'x'), Errno.EPERM);
    brick.reopen();
    for (const gfid of Object.values(kinds)) assert.equal(get(gfid, 'trusted.a'), 'one');
    for (const gfid of Object.values(kinds)) brick.apply('removexattr', { gfid, name: 'trusted.a' });
    assert.equal(
      errnoFrom(() => brick.apply('removexattr', { gfid: kinds.file, name: 'trusted.a' })),
      Errno.ENODATA,
    );
    assert.deepEqual(brick.store.listxattr(kinds.link), []);
  });

  it('CREATE and REPLACE', () => {
    assert.equal(set(kinds.file, 'user.x', 'a', XATTR_REPLACE), Errno.ENODATA);
    assert.equal(set(kinds.file, 'user.x', 'a', XATTR_CREATE), 0);
    assert.equal(set(kinds.file, 'user.x', 'a', XATTR_CREATE), Errno.EEXIST);
    assert.equal(set(kinds.file, 'user.x', 'b', XATTR_REPLACE), 0);
    assert.equal(get(kinds.file, 'user.x'), 'b');
    assert.equal(set(kinds.file, 'user.x', 'b', 8), Errno.EINVAL);
  });

  it('gluon keeps its own to itself', () => {
    for (const name of ['trusted.gluon.gfid', 'trusted.gluon.ctime', 'trusted.gluon.anything']) {
      assert.equal(set(kinds.file, name, 'x'), Errno.EPERM);
      assert.equal(
        errnoFrom(() => brick.store.getxattr(kinds.file, name)),
        Errno.ENODATA,
      );
      assert.equal(
        errnoFrom(() => brick.apply('removexattr', { gfid: kinds.file, name })),
        Errno.EPERM,
      );
    }
    assert.deepEqual(brick.store.listxattr(ROOT_GFID), []);
    assert.equal(set(kinds.file, 'system.other', 'x'), Errno.EOPNOTSUPP);
    assert.equal(set(kinds.file, 'nonsense', 'x'), Errno.EOPNOTSUPP);
    assert.equal(set(kinds.file, 'user.', 'x'), Errno.EOPNOTSUPP);
    assert.equal(
      errnoFrom(() => brick.store.getxattr(kinds.file, 'user.none')),
      Errno.ENODATA,
    );
  });

  it('an access ACL changes the mode', () => {
    // Version 2; user::rw-, user:1:rwx, group::r--, mask::rwx, other::---
    const acl = Buffer.from(
      '0200000001000600ffffffff020007000100000004000400ffffffff10000700ffffffff20000000ffffffff',
      'hex',
    );
    const answer = errnoFrom(() =>
      brick.apply('setxattr', { gfid: kinds.file, name: 'system.posix_acl_access', value: acl, flags: 0 }),
    );
    if (answer === Errno.EOPNOTSUPP) return;
    assert.equal(answer, 0);
    assert.equal(brick.store.getattr(kinds.file).mode & 0o777, 0o670);
    brick.store.dropCaches();
    assert.equal(brick.store.getattr(kinds.file).mode & 0o777, 0o670);
    assert.ok(Buffer.from(brick.store.getxattr(kinds.file, 'system.posix_acl_access')).equals(acl));
  });

  it('one inode has no more than bricks can tell each other, also on a disk that takes more', () => {
    const xattrs = new Map<string, Uint8Array>();
    const roomy = new Proxy<Disk>(disk, {
      get: (target, key: keyof Disk) => {
        if (key === 'setXattrAt') return (_: number, _entry: string, name: string, value: Uint8Array) => (xattrs.set(name, value), 0);
        if (key === 'getXattrAt') return (fd: number, entry: string, name: string) => xattrs.get(name) ?? target.getXattrAt(fd, entry, name);
        if (key === 'listXattrsAt') return () => [...xattrs.keys()];
        const method = target[key] as (...args: unknown[]) => unknown;
        return method.bind(target);
      },
    });
    brick.brick.close();
    const opened = openBrick(roomy, brick.path, VOLUME, BRICK, TREE_LIMITS);
    const put = (name: string, bytes: number): unknown => {
      try {
        opened.store.apply('setxattr', { gfid: kinds.file, name, value: Buffer.alloc(bytes, 7), flags: 0 }, brick.stamp());
        return undefined;
      } catch (error) {
        return error;
      }
    };
    for (let i = 0; i < 16; i++) assert.equal(put(`user.${i}`, 65_536), undefined);
    assert.ok(put('user.more', 1) instanceof InodeLimitError);
    assert.equal(put('user.3', 0), undefined);
    assert.equal(put('user.more', 65_536), undefined);
    assert.ok(put('user.3', 1) instanceof InodeLimitError);
    xattrs.clear();
    for (let i = 1000; i < 3800; i++) xattrs.set(`user.${i}`, Buffer.alloc(0));
    assert.equal(put('user.more', 0), undefined);
    for (let i = 3800; i < 3900; i++) xattrs.set(`user.${i}`, Buffer.alloc(0));
    assert.ok(put('user.less', 0) instanceof InodeLimitError);
    const state = opened.store.describe(kinds.file);
    assert.ok(state !== undefined);
    encodeFrame({ kind: 'call', id: 1, epoch: 1, op: 'putInode', args: { state } });
    opened.close();
    brick.brick = brick.open();
  });

  it('the limit of one inode is told apart from a full disk', () => {
    const value = Buffer.alloc(60_000, 7);
    const limit = (space?: { blocksFree: number }): unknown => {
      const full = new Proxy<Disk>(disk, {
        get: (target, key: keyof Disk) => {
          if (key === 'setXattrAt') return () => -Errno.ENOSPC;
          if (key === 'space' && space !== undefined) return (fd: number) => ({ ...(target.space(fd) as object), ...space });
          const method = target[key] as (...args: unknown[]) => unknown;
          return method.bind(target);
        },
      });
      const opened = openBrick(full, brick.path, VOLUME, BRICK, TREE_LIMITS);
      try {
        opened.store.apply('setxattr', { gfid: kinds.file, name: 'user.large', value, flags: 0 }, brick.stamp());
        return undefined;
      } catch (error) {
        return error;
      } finally {
        opened.close();
      }
    };
    brick.brick.close();
    assert.ok(limit() instanceof InodeLimitError);
    const full = limit({ blocksFree: 0 });
    assert.ok(full instanceof FsError && !(full instanceof InodeLimitError));
    brick.brick = brick.open();
  });
});
