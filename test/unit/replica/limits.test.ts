/** One client cannot take more than its share of what the primary keeps. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errno } from '../../../src/base/errno.js';
import { HeldState } from '../../../src/client/held-state.js';
import type { Channel } from '../../../src/env/channel.js';
import type { HeldLock } from '../../../src/fops/held-lock.js';
import { LOCK_END_MAX } from '../../../src/fops/ops.js';
import type { Copy } from '../../../src/replica/copy.js';
import { DirectLeases } from '../../../src/replica/direct-leases.js';
import { DirectWriter } from '../../../src/replica/direct-writer.js';
import { FileLocks, LOCK_NONE, LOCK_READ, type LockRequest } from '../../../src/replica/file-locks.js';
import { LockRequests } from '../../../src/replica/lock-requests.js';
import { LockWaiters } from '../../../src/replica/lock-waiters.js';
import type { Mutation } from '../../../src/replica/mutation.js';
import type { Primary } from '../../../src/replica/primary.js';
import { Session } from '../../../src/replica/sessions.js';
import type { Message, MessageOf } from '../../../src/wire/messages.js';
import { ManualClock, settle } from '../../support/manual-clock.js';
import { makeAnswer, Results } from '../../../src/replica/results.js';

const GFID = 'ab'.repeat(16);

function lock(session: string, owner: string, start: number, more: Partial<LockRequest> = {}): LockRequest {
  return { gfid: GFID, session, owner, kind: 0, type: 1, start, end: start, pid: 1, ...more };
}

/** Locks that do not touch, a hundred on each of many files. */
function apart(count: number): HeldLock[] {
  return Array.from({ length: count }, (_, i) => ({ gfid: Math.floor(i / 100).toString(16).padStart(32, '0'), owner: 'o', kind: 0, type: 1, start: 2 * (i % 100), end: 2 * (i % 100), pid: 1 }));
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

test('who has so many locks may not split one in two, and may give up all it has', () => {
  const locks = new FileLocks();
  const waiters = new LockWaiters(locks);
  for (const each of apart(16_000)) locks.set({ ...each, session: 'greedy' });
  locks.set(lock('greedy', 'o', 0, { end: LOCK_END_MAX }));
  const hole = (at: number): LockRequest => lock('greedy', 'o', at, { type: LOCK_NONE });
  let at = 1;
  for (; at < 10_000 && waiters.examine(hole(at)) === 'grant'; at += 2) locks.set(hole(at));
  assert.equal(locks.countOf('greedy'), 16_384);
  assert.equal(waiters.examine(hole(at - 1)), 'grant', 'the whole of one');
  assert.equal(waiters.examine(lock('greedy', 'o', at - 2)), 'grant', 'a lock that joins two');
  assert.equal(waiters.examine(lock('greedy', 'o', 0, { type: LOCK_NONE, end: LOCK_END_MAX })), 'grant');
});

test('a session that tells of more locks than it may have is revoked, and may tell that it gave some up', () => {
  const fileLocks = new FileLocks();
  const revoked: string[] = [];
  const clients = { isSilent: () => false, revoke: (ids: string[]) => Promise.resolve(revoked.push(...ids)) };
  const requests = new LockRequests({ host: { copy: { fileLocks } }, clients } as unknown as Primary);
  const tell = (granted: HeldLock[]): unknown => {
    const args = { ...lock('greedy', 'o', 0), wait: false, granted };
    return requests.verdict({ sessionId: 'greedy', args } as unknown as Mutation, args);
  };
  const more = [lock('greedy', 'o', 500)];
  for (const each of apart(16_384)) fileLocks.set({ ...each, session: 'greedy' });
  assert.equal(tell(more), undefined);
  fileLocks.set(more[0] as LockRequest);
  assert.equal(tell([lock('greedy', 'o', 500, { type: LOCK_NONE })]), undefined);
  assert.deepEqual(revoked, []);
  assert.equal(tell([lock('greedy', 'o', 600)]), 'waits');
  assert.deepEqual(revoked, ['greedy']);
});

test('a client splits no lock once it has as many as one message can tell', () => {
  const held = new HeldState([], () => undefined);
  const range = (type: number, start: number, end: number) => ({ gfid: GFID, owner: 'o', kind: 0, type, start, end, pid: 1, wait: false });
  for (const each of apart(11_800)) held.gave(each);
  held.gave(range(LOCK_READ, 0, LOCK_END_MAX));
  let at = 1;
  for (; at < 10_000; at += 2) {
    const hole = range(LOCK_NONE, at, at);
    if (held.refusal('setLock', hole) !== undefined) break;
    held.asked('setLock', hole);
  }
  assert.equal(held.locks().length, 12_000);
  assert.equal(held.refusal('setLock', range(LOCK_NONE, at, at))?.errno, Errno.ENOLCK);
  assert.equal(held.refusal('setLock', range(LOCK_NONE, at, LOCK_END_MAX)), undefined);
  assert.equal(held.refusal('dropLocks', { gfid: GFID, owner: 'o', kind: 0 }), undefined);
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

test('an answer that is void is not counted any more', () => {
  const results = new Results();
  for (let number = 1; number <= 3; number++) results.record('s', number, makeAnswer('unlink', 0, {}));
  results.forget('s', 2);
  results.forget('s', 2);
  results.forget('other', 1);
  assert.equal(results.count, 2);
  results.acknowledge('s', 3);
  assert.equal(results.count, 0);
});

test('the answers that a brick gets when it joins are short, and complete where a name was made', () => {
  const time = { sec: 1_700_000_000, nsec: 123_456_789 };
  const attr = { gfid: GFID, mode: 0o100644, nlink: 1, uid: 1000, gid: 1000, rdev: 0, size: 123_456_789, blocks: 241_128, atime: time, mtime: time, ctime: time };
  const results = new Results();
  for (let number = 1; number <= 16_384; number++) results.record('5e'.repeat(16), number, makeAnswer('write', 0, { offset: 4096 * number, attr }, [4096 * number, 4096]));
  const bytes = JSON.stringify(results.export()).length;
  assert.ok(bytes < 16_384 * 150, `${bytes} bytes`);
  const named = makeAnswer('create', 0, { attr, created: false });
  const doubtful = { ...makeAnswer('fallocate', 0, { attr }, [0, 9]), doubtful: true };
  results.record('s', 1, named);
  results.record('s', 2, doubtful);
  results.record('s', 3, makeAnswer('unlink', Errno.ENOENT, undefined));
  results.import(JSON.parse(JSON.stringify(results.export())) as never);
  assert.deepEqual(results.find('s', 1)?.result, named.result);
  assert.deepEqual({ ...results.find('s', 2) }, { op: 'fallocate', errno: 0, gfid: GFID, value: 0, range: [0, 9], doubtful: true });
  assert.equal(results.find('s', 3)?.errno, Errno.ENOENT);
});

test('one lease has so many direct writes in doubt, and no more', async () => {
  const direct = new DirectLeases();
  const view = { epoch: 1, primary: 'b', inSync: ['b'], catchingUp: [] };
  const copy = {
    direct, sessions: { has: () => true }, room: { takes: () => true }, apply: () => ({ offset: 0 }), remember: () => undefined, journal: { flushAnswers: () => undefined },
  } as unknown as Copy;
  const host = { brick: 'b', clock: new ManualClock(), view: () => view, giveBack: () => undefined, begins: () => undefined };
  const writer = new DirectWriter(host, copy);
  const errnos: number[] = [];
  const channel = { send: (message: Message) => errnos.push((message as MessageOf<'reply'>).errno) } as unknown as Channel<Message>;
  const write = (order: number, complete: number): void => {
    const args = { gfid: GFID, offset: 0, append: false, sync: false, killPriv: false, data: Buffer.from('x') };
    writer.take(new Session('s'), channel, { kind: 'direct', id: order, epoch: 1, lease: 7, order, complete, requestNumber: order, acknowledged: 0, time: { sec: 1, nsec: 0 }, op: 'write', args });
  };
  direct.grant(7, GFID, 's');
  for (let order = 1; order <= 5_000; order++) write(order, Math.max(0, order - 1024));
  for (let order = 5_001; order <= 10_000; order++) write(order, 0);
  await settle();
  assert.equal(errnos.indexOf(Errno.ESTALE), 5_000 + 4_096 - 1024);
  assert.equal(direct.find(7, GFID, 's')?.writes.length, 4_096);
});
