import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ROOT_GFID, type Gfid } from '../../../src/base/ids.js';
import type { Change } from '../../../src/replica/copy.js';
import type { OpName } from '../../../src/fops/ops.js';
import { fileKey, inodeKey, nameKey, regionKey, type Key } from '../../../src/replica/keys.js';
import { Lacking } from '../../../src/replica/lacking.js';
import { encodeFrame } from '../../../src/wire/codec.js';

const D = 'd'.repeat(32);
const F = 'f'.repeat(32);
const G = '1'.repeat(32);

function change(op: OpName, args: object, keys: Key[]): Change {
  return { op, args, keys, session: '', requestNumber: 0, acknowledged: 0, time: { sec: 0, nsec: 0 }, newGfid: '', purge: false };
}

const write = (gfid: Gfid, region: number): Change => change('write', { gfid }, [inodeKey(gfid), regionKey(gfid, region)]);
const create = (parent: Gfid, name: string, gfid: Gfid): Change => change('create', { parent, name }, [nameKey(parent, name), inodeKey(parent), inodeKey(gfid)]);
const unlink = (parent: Gfid, name: string, gfid: Gfid): Change => change('unlink', { parent, name }, [nameKey(parent, name), inodeKey(parent), inodeKey(gfid)]);

/** A directory D in the root. */
function lacking(...keys: Key[]): Lacking {
  const made = new Lacking((gfid) => (gfid === D ? { parent: ROOT_GFID, name: 'd' } : undefined));
  made.load(keys);
  made.endLoading();
  return made;
}

void describe('what a brick lacks', () => {
  void it('holds back a write to a region that is lacking, and no other', () => {
    const one = lacking(regionKey(F, 3));
    assert.equal(one.passes(write(F, 2)), true);
    assert.equal(one.passes(write(F, 3)), false);
    // The inode's times are lacking now, which keeps no other write away.
    assert.equal(one.passes(write(F, 2)), true);
    assert.deepEqual([...one.attributes], [inodeKey(F)]);
  });

  void it('holds back every write to a file that is to be searched for data', () => {
    const one = lacking(fileKey(F));
    assert.equal(one.passes(write(F, 9)), false);
    assert.ok(one.data.has(regionKey(F, 9)));
  });

  void it('lets names be made in a directory of which only the inode is lacking', () => {
    const one = lacking(inodeKey(D));
    assert.equal(one.passes(create(D, 'a', G)), true);
    assert.equal(one.size, 1);
  });

  void it('holds back names in a directory that may not be there', () => {
    assert.equal(lacking(nameKey(ROOT_GFID, 'd')).passes(create(D, 'a', G)), false);
    assert.equal(lacking().passes(create(G, 'a', F)), false);
  });

  void it('lets a name go whose inode is lacking: the name leads to it', () => {
    const one = lacking(inodeKey(F), fileKey(F));
    assert.equal(one.passes(unlink(D, 'a', F)), true);
    assert.equal(lacking(nameKey(D, 'a')).passes(unlink(D, 'a', F)), false);
  });

  void it('holds back a removal of a directory while names are lacking', () => {
    const rmdir = change('rmdir', { parent: ROOT_GFID, name: 'd' }, [nameKey(ROOT_GFID, 'd'), inodeKey(ROOT_GFID), inodeKey(D)]);
    assert.equal(lacking(nameKey(D, 'a')).passes(rmdir), false);
    assert.equal(lacking(inodeKey(F)).passes(rmdir), true);
  });

  void it('never passes on a copy within the brick: its source may be lacking', () => {
    const copy = change('copyFileRange', { source: F, target: G }, [inodeKey(G), regionKey(G, 0)]);
    assert.equal(lacking().passes(copy), false);
  });

  void it('notes everything during a walk, and works it off afterwards', () => {
    const one = lacking();
    one.beginWalk(ROOT_GFID);
    assert.equal(one.passes(write(F, 0)), false);
    assert.equal(one.data.size, 0);
    one.endWalk();
    assert.deepEqual([...one.data], [regionKey(F, 0)]);
    assert.equal(one.passes(write(F, 1)), false);
  });

  void it('looks into a directory that moves during a walk', () => {
    const one = lacking();
    one.beginWalk(ROOT_GFID);
    assert.equal(one.nextDirectory(), ROOT_GFID);
    one.passes(change('rename', { parent: G, name: 'd', newParent: ROOT_GFID, newName: 'd' }, [nameKey(G, 'd'), nameKey(ROOT_GFID, 'd'), inodeKey(G), inodeKey(ROOT_GFID), inodeKey(D)]));
    assert.equal(one.nextDirectory(), D);
    assert.equal(one.nextDirectory(), undefined);
  });

  void it('takes data only when its inode is there', () => {
    const one = lacking(inodeKey(F), regionKey(F, 0), regionKey(G, 1));
    assert.equal(one.take(one.data), regionKey(G, 1));
    assert.equal(one.take(one.data), undefined);
    const inode = one.take(one.inodes) as Key;
    assert.equal(one.take(one.data), undefined);
    one.done(inode);
    assert.equal(one.take(one.data), regionKey(F, 0));
  });

  void it('does what was done since the last sync again after an interruption, and no more', () => {
    const one = lacking(regionKey(F, 0), regionKey(F, 1), regionKey(F, 2), regionKey(F, 3));
    const next = (): Key => one.take(one.data) as Key;
    one.done(next());
    const synced = one.beginSync();
    one.done(next());
    synced(7);
    one.passes(write(G, 5));
    next();
    one.resume();
    assert.deepEqual([...one.data].toSorted(), [regionKey(F, 1), regionKey(F, 2), regionKey(F, 3), regionKey(G, 5)].toSorted());
    assert.equal(one.checkpoint, 7);
  });

  void it('goes on with the search of a file where it was at the last sync', () => {
    const one = lacking(fileKey(F));
    one.done(one.take(one.data) as Key);
    one.continueFile(F, 100);
    one.beginSync()(1);
    one.done(one.take(one.data) as Key);
    one.continueFile(F, 200);
    one.resume();
    assert.equal(one.cursor(F), 100);
    one.touch([fileKey(F)]);
    one.resume();
    assert.equal(one.cursor(F), 0);
  });

  void it('does it again too when the sync failed', () => {
    const one = lacking(regionKey(F, 0));
    one.done(one.take(one.data) as Key);
    one.beginSync()(undefined);
    one.resume();
    assert.deepEqual([...one.data], [regionKey(F, 0)]);
  });

  void it('estimates by the bytes that are left, or by the keys where there are none', () => {
    const one = lacking(regionKey(F, 0), regionKey(F, 1), inodeKey(G), inodeKey(F));
    one.begun(1000);
    assert.equal(one.secondsLeft(1100, 100), -1);
    one.bytesCompared = 50;
    assert.equal(one.secondsLeft(3000, 100), 4);
    one.done(one.take(one.inodes) as Key);
    assert.equal(one.secondsLeft(3000, 0), 6);
    const none = lacking();
    none.begun(0);
    assert.equal(none.secondsLeft(9000, 0), 0);
  });

  void it('tells the brick its journal again after an interruption', () => {
    const one = lacking(regionKey(F, 0));
    assert.deepEqual(one.tell(), [regionKey(F, 0)]);
    assert.equal(one.untold, 0);
    one.resume();
    assert.deepEqual(one.tell(), [regionKey(F, 0)]);
  });

  void it('tells what fits one message, whatever the names', () => {
    const keys = Array.from({ length: 25_000 }, (_, i) => nameKey(D, String(i).padEnd(255, '\xfc')));
    const one = lacking(...keys);
    const told: Key[] = [];
    while (one.untold > 0) {
      const part = one.tell();
      encodeFrame({ kind: 'call', id: 1, epoch: 1, op: 'addKeys', args: { keys: part } });
      told.push(...part);
    }
    assert.deepEqual(told, keys);
  });

  void it('makes a key equal again that changed after it was read, and not one that changed before', () => {
    const one = lacking(regionKey(F, 0));
    const key = one.take(one.data) as Key;
    one.passes(write(F, 0));
    assert.equal(one.data.size, 0);
    one.reading(key);
    one.passes(write(F, 0));
    assert.deepEqual([...one.data], [key]);
  });
});
