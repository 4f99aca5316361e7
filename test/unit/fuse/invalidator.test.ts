import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errno } from '../../../src/base/errno.js';
import { silentLog } from '../../../src/env/log.js';
import { Notify } from '../../../src/fuse/abi-constants.js';
import { Invalidator } from '../../../src/fuse/invalidator.js';
import { RealClock } from '../../../src/platform/clock.js';
import { FakeKernel } from '../../support/fake-kernel.js';
import { MemoryVolume } from '../../support/memory-fops.js';
import { sleep } from '../../support/wait.js';

const A = 'a'.repeat(32);

test('what the kernel knows is made to forget; what it does not know is not mentioned', async () => {
  const kernel = new FakeKernel(new MemoryVolume().fops());
  const nodeid = kernel.session.nodes.look(A);
  const invalidator = new Invalidator(kernel, kernel.session.nodes, kernel.session.pages, new RealClock(), silentLog);
  await invalidator.invalidate([A, 'b'.repeat(32)]);
  const [inode, ...none] = kernel.notifications;
  assert.equal(none.length, 0);
  assert.ok(inode !== undefined);
  assert.deepEqual(
    [inode.length, inode.readUInt32LE(0), inode.readInt32LE(4), inode.readBigUInt64LE(8)],
    [40, 40, Notify.INVAL_INODE, 0n],
  );
  assert.deepEqual(
    [inode.readBigUInt64LE(16), inode.readBigInt64LE(24), inode.readBigInt64LE(32)],
    [BigInt(nodeid), -1n, 0n],
  );
});

test('an inode that the kernel was just told of is named again until the kernel knows it, or has forgotten it', async () => {
  const kernel = new FakeKernel(new MemoryVolume().fops());
  const nodeid = kernel.session.nodes.look(A);
  kernel.notifyErrno = Errno.ENOENT;
  const invalidator = new Invalidator(kernel, kernel.session.nodes, kernel.session.pages, new RealClock(), silentLog);
  let through = false;
  const first = invalidator.invalidate([A]).then(() => (through = true));
  await sleep(20);
  assert.equal(through, false);
  kernel.notifyErrno = 0;
  await first;
  assert.ok(kernel.notifications.length >= 2);
  kernel.notifyErrno = Errno.ENOENT;
  const second = invalidator.invalidate([A]);
  kernel.session.nodes.forget(nodeid, 1);
  await second;
});
