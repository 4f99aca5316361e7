import assert from 'node:assert/strict';
import { lstatSync, readdirSync, renameSync, rmSync, unlinkSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Errno } from '../../../src/base/errno.js';
import { ROOT_GFID, type Gfid, type Name } from '../../../src/base/ids.js';
import { S_IFBLK, S_IFDIR, S_IFLNK, S_IFREG } from '../../../src/fops/ops.js';
import type { Store } from '../../../src/replica/store.js';
import { errnoFrom, newGfid, TestBrick } from './harness.js';

let source: TestBrick;
let target: TestBrick;
beforeEach(() => {
  source = new TestBrick();
  target = new TestBrick();
});
afterEach(() => {
  source.remove();
  target.remove();
});

/** Every name with the identity below it, and the state of every inode. */
function snapshot(store: Store): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  const walk = (gfid: Gfid, path: string): void => {
    const state = store.describe(gfid);
    assert.ok(state);
    out[path] = {
      ...state,
      attr: { ...state.attr, blocks: 0 },
      xattrs: state.xattrs.map(([n, v]) => [n, Buffer.from(v).toString('hex')]),
    };
    if ((state.attr.mode & S_IFDIR) === S_IFDIR && (state.attr.mode & 0o170000) === S_IFDIR) {
      for (const { name, gfid: child } of store.readdir(gfid, '', 4096, false).entries) walk(child, `${path}/${name}`);
    }
  };
  walk(ROOT_GFID, '');
  return out;
}

/** What the replica does for a set of names and inodes, in an order that is none. */
function copy(names: [Gfid, Name][], inodes: Gfid[]): void {
  let waiting = names;
  while (waiting.length > 0) {
    const next: [Gfid, Name][] = [];
    for (const [parent, name] of waiting) {
      const child = source.store.child(parent, name);
      try {
        target.store.place(
          parent,
          name,
          child,
          child?.type === S_IFLNK ? source.store.readlink(child.gfid) : undefined,
        );
      } catch (error) {
        if ((error as { errno?: number }).errno !== Errno.ENOENT) throw error;
        if (source.store.describe(parent) !== undefined) next.push([parent, name]);
      }
    }
    assert.ok(next.length < waiting.length, 'progress');
    waiting = next;
  }
  for (const gfid of inodes) {
    const state = source.store.describe(gfid);
    if (state === undefined) target.store.forget(gfid);
    else target.store.putInode(state);
  }
}

describe('place and putInode', () => {
  it('make an empty copy equal, in any order, twice', () => {
    const d = source.directory(ROOT_GFID, 'd', 0o2750);
    const e = source.directory(d.gfid, 'e');
    const f = source.file(e.gfid, 'f', 0o4755, 3, 4);
    source.apply('setxattr', { gfid: f.gfid, name: 'user.a', value: Buffer.from('v'), flags: 0 });
    source.apply('link', { gfid: f.gfid, newParent: ROOT_GFID, newName: 'g' });
    source.apply('setattr', { gfid: f.gfid, size: 12_345, atimeNow: false, mtimeNow: false, killPriv: false });
    const l = source.apply('symlink', { parent: d.gfid, name: 'l', target: '/x/y', uid: 1, gid: 1 }).attr;
    const b = source.apply('mknod', {
      parent: d.gfid,
      name: 'b',
      mode: S_IFBLK | 0o660,
      rdev: 0x0812,
      uid: 0,
      gid: 6,
    }).attr;
    source.apply('link', { gfid: b.gfid, newParent: ROOT_GFID, newName: 'b2' });
    const names: [Gfid, Name][] = [
      [d.gfid, 'b'],
      [e.gfid, 'f'],
      [ROOT_GFID, 'g'],
      [d.gfid, 'l'],
      [d.gfid, 'e'],
      [ROOT_GFID, 'b2'],
      [ROOT_GFID, 'd'],
    ];
    const inodes = [f.gfid, e.gfid, b.gfid, l.gfid, d.gfid, ROOT_GFID];
    for (let round = 0; round < 2; round++) {
      copy(names, inodes);
      assert.deepEqual(snapshot(target.store), snapshot(source.store));
    }
    target.reopen();
    assert.deepEqual(snapshot(target.store), snapshot(source.store));
    assert.equal(lstatSync(join(target.path, 'b2')).rdev, 0x0812);
  });

  it('a hierarchy that was turned over is turned over', () => {
    const a = source.directory(ROOT_GFID, 'a');
    const b = source.directory(a.gfid, 'b');
    const f = source.file(b.gfid, 'f');
    copy(
      [
        [ROOT_GFID, 'a'],
        [a.gfid, 'b'],
        [b.gfid, 'f'],
      ],
      [ROOT_GFID, a.gfid, b.gfid, f.gfid],
    );
    source.rename(a.gfid, 'b', ROOT_GFID, 'b');
    source.rename(ROOT_GFID, 'a', b.gfid, 'a');
    copy(
      [
        [b.gfid, 'a'],
        [ROOT_GFID, 'a'],
        [a.gfid, 'b'],
        [ROOT_GFID, 'b'],
      ],
      [ROOT_GFID, a.gfid, b.gfid],
    );
    target.store.clearAside();
    assert.deepEqual(snapshot(target.store), snapshot(source.store));
    target.reopen();
    assert.deepEqual(snapshot(target.store), snapshot(source.store));
  });

  it('what is in the way goes aside and comes back, the rest goes at the end', () => {
    const d = target.directory(ROOT_GFID, 'x');
    const kept = target.file(d.gfid, 'kept');
    const old = target.file(d.gfid, 'old');
    const sub = target.directory(d.gfid, 'sub');
    target.directory(sub.gfid, 'subsub');
    const f = newGfid();
    assert.equal(target.store.place(ROOT_GFID, 'x', { gfid: f, type: S_IFREG }), true);
    assert.equal(target.store.place(ROOT_GFID, 'x', { gfid: f, type: S_IFREG }), false);
    assert.equal(target.store.lookup(ROOT_GFID, 'x').gfid, f);
    assert.equal(target.store.directoryPlace(d.gfid), undefined);
    // Still known by identity, and taken back from aside.
    assert.equal(target.store.lookup(d.gfid, 'kept').gfid, kept.gfid);
    target.reopen();
    target.store.place(ROOT_GFID, 'sub', { gfid: sub.gfid, type: S_IFDIR });
    target.store.place(ROOT_GFID, 'k', { gfid: kept.gfid, type: S_IFREG });
    target.store.clearAside();
    assert.deepEqual(target.names(ROOT_GFID), ['k', 'sub', 'x']);
    assert.deepEqual(target.names(sub.gfid), ['subsub']);
    assert.equal(target.store.getattr(kept.gfid).nlink, 1);
    assert.deepEqual(target.store.orphans(), [old.gfid]);
    target.store.forget(old.gfid);
    target.store.forget(kept.gfid);
    assert.deepEqual(target.store.orphans(), []);
    assert.equal(target.store.describe(old.gfid), undefined);
    assert.ok(target.store.describe(kept.gfid));
    assert.equal(target.store.describe(d.gfid), undefined);
    assert.deepEqual(readdirSync(join(target.path, '.gluon', 'aside')), []);
  });

  it('the removal of a name, and an unknown parent', () => {
    const f = target.file(ROOT_GFID, 'f');
    target.store.place(ROOT_GFID, 'f', undefined);
    assert.deepEqual(target.names(ROOT_GFID), []);
    assert.deepEqual(target.store.orphans(), [f.gfid]);
    assert.equal(
      errnoFrom(() => target.store.place(newGfid(), 'f', undefined)),
      Errno.ENOENT,
    );
    assert.equal(
      errnoFrom(() => target.store.place(ROOT_GFID, '.gluon', undefined)),
      Errno.EPERM,
    );
  });

  it('an inode without a name is put as an orphan, a directory is not', () => {
    const f = source.file(ROOT_GFID, 'f');
    const d = source.directory(ROOT_GFID, 'd');
    const state = source.store.describe(f.gfid);
    const directory = source.store.describe(d.gfid);
    assert.ok(state && directory);
    assert.equal(target.store.putInode(state), true);
    assert.equal(target.store.putInode(state), false);
    assert.deepEqual(target.store.orphans(), [f.gfid]);
    assert.equal(
      errnoFrom(() => target.store.putInode(directory)),
      Errno.ENOENT,
    );
  });
});

describe('traces of a crash', () => {
  const handle = (gfid: Gfid): string => join(source.path, '.gluon', 'handles', gfid.slice(0, 2), gfid);

  it('a file without a handle is repaired when its name is found', async () => {
    const f = source.file(ROOT_GFID, 'f');
    source.write(f.gfid, 0, 'data');
    source.brick.close();
    unlinkSync(handle(f.gfid));
    source.brick = source.open();
    assert.equal(
      errnoFrom(() => source.store.getattr(f.gfid)),
      Errno.ESTALE,
    );
    assert.equal(source.store.lookup(ROOT_GFID, 'f').nlink, 1);
    assert.equal(await source.read(f.gfid), 'data');
  });

  it('a directory whose handle is missing or old is repaired when its name is found', () => {
    const d = source.directory(ROOT_GFID, 'd');
    const f = source.file(d.gfid, 'f');
    source.brick.close();
    rmSync(handle(d.gfid));
    renameSync(join(source.path, 'd'), join(source.path, 'moved'));
    source.brick = source.open();
    assert.equal(source.store.lookup(ROOT_GFID, 'moved').gfid, d.gfid);
    assert.equal(source.store.lookup(d.gfid, 'f').gfid, f.gfid);
    source.brick.close();
    renameSync(join(source.path, 'moved'), join(source.path, 'again'));
    source.brick = source.open();
    assert.equal(
      errnoFrom(() => source.store.getattr(d.gfid)),
      Errno.ESTALE,
    );
    assert.deepEqual(source.names(ROOT_GFID), ['again']);
    assert.equal(source.store.lookup(d.gfid, 'f').gfid, f.gfid);
  });

  it('a directory between its move and its handle is found where .next says', () => {
    const d = source.directory(ROOT_GFID, 'd');
    const t = source.directory(ROOT_GFID, 't');
    const f = source.file(d.gfid, 'f');
    source.brick.close();
    symlinkSync(`${t.gfid}/new`, `${handle(d.gfid)}.next`);
    renameSync(join(source.path, 'd'), join(source.path, 't', 'new'));
    source.brick = source.open();
    assert.equal(source.store.lookup(d.gfid, 'f').gfid, f.gfid);
    assert.deepEqual(source.store.directoryPlace(d.gfid), { parent: t.gfid, name: 'new' });
  });

  it('marks of orphans that are none are dropped', () => {
    const f = source.file(ROOT_GFID, 'f');
    source.apply('unlink', { parent: ROOT_GFID, name: 'f' }, false);
    const g = source.file(ROOT_GFID, 'g');
    source.brick.close();
    symlinkSync('x', join(source.path, '.gluon', 'orphans', g.gfid));
    symlinkSync('x', join(source.path, '.gluon', 'orphans', newGfid()));
    source.brick = source.open();
    assert.deepEqual(source.store.orphans(), [f.gfid]);
  });

  it('inodes that changed after a time are found by the disk', () => {
    const f = source.file(ROOT_GFID, 'f');
    assert.ok([...source.store.changedSince(0)].includes(f.gfid));
    assert.deepEqual([...source.store.changedSince(4e9)], []);
  });
});
