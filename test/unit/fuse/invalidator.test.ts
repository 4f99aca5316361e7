import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errno } from '../../../src/base/errno.js';
import { silentLog } from '../../../src/env/log.js';
import { Notify } from '../../../src/fuse/abi-constants.js';
import { Invalidator } from '../../../src/fuse/invalidator.js';
import { FakeKernel } from '../../support/fake-kernel.js';
import { MemoryVolume } from '../../support/memory-fops.js';

const A = 'a'.repeat(32);

test('what the kernel knows is made to forget; what it does not know is not mentioned', async () => {
  const kernel = new FakeKernel(new MemoryVolume().fops());
  const nodeid = kernel.session.nodes.look(A);
  const invalidator = new Invalidator(kernel, kernel.session.nodes, silentLog);
  await invalidator.invalidate([{ gfid: A }, { parent: A, name: 'n\xff' }, { gfid: 'b'.repeat(32) }]);
  const [inode, entry, ...none] = kernel.notifications;
  assert.equal(none.length, 0);
  assert.ok(inode !== undefined && entry !== undefined);
  assert.deepEqual(
    [inode.length, inode.readUInt32LE(0), inode.readInt32LE(4), inode.readBigUInt64LE(8)],
    [40, 40, Notify.INVAL_INODE, 0n],
  );
  assert.deepEqual(
    [inode.readBigUInt64LE(16), inode.readBigInt64LE(24), inode.readBigInt64LE(32)],
    [BigInt(nodeid), -1n, 0n],
  );
  assert.deepEqual(
    [entry.length, entry.readInt32LE(4), entry.readBigUInt64LE(16), entry.readUInt32LE(24)],
    [35, Notify.INVAL_ENTRY, BigInt(nodeid), 2],
  );
  assert.equal(entry.toString('latin1', 32), 'n\xff\0');
});

test('not cached is as good as forgotten', async () => {
  const kernel = new FakeKernel(new MemoryVolume().fops());
  kernel.session.nodes.look(A);
  kernel.notifyErrno = Errno.ENOENT;
  await new Invalidator(kernel, kernel.session.nodes, silentLog).invalidate([{ gfid: A }]);
});
