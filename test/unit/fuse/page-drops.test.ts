import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PageDrops } from '../../../src/fuse/page-drops.js';

/** A kernel that drops when it is told to, oldest first. */
function kernel(): { drops: PageDrops; begun: number[]; finish: () => Promise<void> } {
  const begun: number[] = [];
  const under: (() => void)[] = [];
  const notify = (message: Uint8Array): Promise<number> => {
    begun.push(Buffer.from(message).readUInt32LE(16));
    return new Promise((resolve) => under.push(() => resolve(0)));
  };
  const finish = async (): Promise<void> => {
    under.shift()?.();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { drops: new PageDrops({ notify }), begun, finish };
}

async function isDone(promise: Promise<void>): Promise<boolean> {
  let done = false;
  void promise.then(() => (done = true));
  await new Promise((resolve) => setImmediate(resolve));
  return done;
}

test('who asks for a drop while one of the same inode is under way shares the next one', async () => {
  const { drops, begun, finish } = kernel();
  const first = drops.drop(7);
  const later = Array.from({ length: 20 }, () => drops.drop(7));
  assert.deepEqual(begun, [7]);
  await finish();
  assert.equal(await isDone(first), true);
  assert.equal(await isDone(later[0] as Promise<void>), false, 'what was read while the first was under way may be old');
  assert.deepEqual(begun, [7, 7]);
  await finish();
  await Promise.all(later);
  assert.deepEqual(begun, [7, 7]);
});

test('only a few wait in the thread pool at once, whatever the number of inodes', async () => {
  const { drops, begun, finish } = kernel();
  const all = Array.from({ length: 50 }, (_, n) => drops.drop(n + 1));
  assert.equal(begun.length, 3);
  for (let n = 0; n < 50; n++) await finish();
  await Promise.all(all);
  assert.deepEqual(begun, Array.from({ length: 50 }, (_, n) => n + 1));
});
