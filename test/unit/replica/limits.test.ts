/** One client cannot take more than its share of what the primary keeps. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FileLocks, type LockRequest } from '../../../src/replica/file-locks.js';
import { LockWaiters } from '../../../src/replica/lock-waiters.js';
import { makeAnswer, Results } from '../../../src/replica/results.js';

const GFID = 'ab'.repeat(16);

function lock(session: string, owner: string, start: number, more: Partial<LockRequest> = {}): LockRequest {
  return { gfid: GFID, session, owner, kind: 0, type: 1, start, end: start, pid: 1, ...more };
}

test('a session holds so many locks and no more; others are not concerned', () => {
  const locks = new FileLocks();
  const waiters = new LockWaiters(locks);
  let held = 0;
  // On many files, as 2 apart on one they would not be fewer.
  for (let i = 0; i < 1_000_000; i++) {
    const request = lock('greedy', 'o', 2 * (i % 64), { gfid: (i >> 6).toString(16).padStart(32, '0') });
    if (waiters.examine(request) === 'limit') break;
    locks.set(request);
    held++;
  }
  assert.equal(held, 16_384);
  assert.equal(locks.countOf('greedy'), held);
  assert.equal(waiters.examine(lock('greedy', 'o', 0, { type: 2 })), 'grant', 'it may give locks back');
  assert.equal(waiters.examine(lock('modest', 'o', 0)), 'grant');
  locks.set(lock('modest', 'o', 0));
  locks.dropSession('greedy');
  assert.deepEqual([locks.count, locks.countOf('greedy'), locks.countOf('modest')], [1, 0, 1]);
});

test('so many requests of a session wait for locks, and no more', () => {
  const locks = new FileLocks();
  const waiters = new LockWaiters(locks);
  locks.set(lock('holder', 'o', 0));
  let waiting = 0;
  while (waiting < 100_000 && waiters.add({ request: lock('greedy', `o${waiting}`, 0), mutation: undefined })) waiting++;
  assert.equal(waiting, 4_096);
  assert.equal(waiters.add({ request: lock('modest', 'o', 0), mutation: undefined }), true);
  assert.equal(waiters.cancelSession('greedy').length, 4_096);
  assert.equal(waiters.add({ request: lock('greedy', 'o', 0), mutation: undefined }), true);
  assert.equal(waiters.take(GFID).length, 2);
});

test('a chain of many waiting owners costs the next one little, a short circle is found', () => {
  const locks = new FileLocks();
  const waiters = new LockWaiters(locks);
  for (let i = 0; i < 4_000; i++) {
    locks.set(lock('greedy', `o${i}`, i));
    if (i > 0) waiters.add({ request: lock('greedy', `o${i}`, i - 1), mutation: undefined });
  }
  const begin = performance.now();
  for (let i = 0; i < 100; i++) assert.equal(waiters.examine(lock('modest', 'o', 3_999)), 'conflict');
  assert.ok(performance.now() - begin < 2_000, `100 requests took ${performance.now() - begin} ms`);
  assert.equal(waiters.examine(lock('greedy', 'o0', 30)), 'deadlock');
});

test('answers that a client never acknowledges are kept for the newest requests', () => {
  const results = new Results();
  for (let number = 1; number <= 200_000; number++) results.record('careless', number, makeAnswer('unlink', 0, {}));
  assert.equal(results.count, 65_536);
  assert.equal(results.find('careless', 200_000)?.op, 'unlink');
  assert.equal(results.find('careless', 1), undefined);
  for (let session = 0; session < 20; session++) for (let number = 1; number <= 60_000; number++) results.record(`s${session}`, number, makeAnswer('unlink', 0, {}));
  assert.ok(results.count <= 500_000, `${results.count} answers of all sessions`);
  for (let session = 0; session < 20; session++) assert.notEqual(results.find(`s${session}`, 60_000), undefined);
  results.acknowledge('s3', 60_000);
  results.drop('careless');
  const before = results.count;
  results.import(JSON.parse(JSON.stringify(results.export())) as never);
  assert.equal(results.count, before);
});
