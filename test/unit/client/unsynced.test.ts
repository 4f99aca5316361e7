import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Unsynced } from '../../../src/client/unsynced.js';

const A = 'a'.repeat(32);
const B = 'b'.repeat(32);
const WRITE = { gfid: A, offset: 0, append: false, sync: false, killPriv: false, data: Buffer.from('x') };

function begin(): Unsynced {
  const unsynced = new Unsynced();
  unsynced.learn(0);
  unsynced.heard(1, 5);
  return unsynced;
}

void describe('changes that nobody synced', () => {
  void it('are kept until the bricks have told often enough that all is on their disks', () => {
    const unsynced = begin();
    unsynced.changed('write', WRITE, {});
    unsynced.heard(1, 7);
    assert.equal(unsynced.synced(A, 0), true, 'no loss yet');
    unsynced.learn(1);
    assert.equal(unsynced.synced(A, unsynced.mark()), false);

    unsynced.changed('write', WRITE, {});
    unsynced.heard(1, 10);
    assert.deepEqual(unsynced.learn(2), new Set());
    assert.equal(unsynced.synced(A, unsynced.mark()), true);
  });

  void it('are kept however long nobody says anything, and counted anew in another epoch', () => {
    const unsynced = begin();
    unsynced.changed('write', WRITE, {});
    unsynced.heard(2, 40);
    unsynced.heard(2, 42);
    assert.deepEqual(unsynced.learn(1), new Set([A]));
  });

  void it('are of any file, where there were too many to count', () => {
    const unsynced = begin();
    for (let n = 0; n < 65_537; n++) unsynced.changed('write', { ...WRITE, gfid: n.toString(16).padStart(32, '0') }, {});
    assert.equal(unsynced.learn(1), 'all');
    unsynced.heard(1, 8);
    assert.deepEqual(unsynced.learn(2), new Set());
  });

  void it('are also that a file was moved', () => {
    const unsynced = begin();
    unsynced.changed('rename', { parent: B, name: 'x', newParent: B, newName: 'y', flags: 0 }, {}, A);
    assert.deepEqual(unsynced.learn(1), new Set([B, A]));
  });
});
