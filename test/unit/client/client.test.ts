import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errno, FsError, LostError } from '../../../src/base/errno.js';
import type { Message, MessageOf } from '../../../src/wire/messages.js';
import { ROOT_GFID } from '../../../src/base/ids.js';
import { VolumeClient } from '../../../src/client/client.js';
import { clockOf } from '../../support/memory-network.js';
import { ATTR, FakeBricks, GFID, plainAnswer, reply } from './fake-bricks.js';

const WRITE = { gfid: GFID, offset: 0, append: false, sync: false, killPriv: false, data: Buffer.from('data') };
const LOCK = { gfid: GFID, owner: 'o', kind: 0, type: 1, start: 0, end: 9, pid: 1, wait: false };

async function started(count = 3): Promise<FakeBricks> {
  const set = new FakeBricks(count);
  for (const brick of set.bricks) await brick.start();
  return set;
}

test('a request whose answer was lost is repeated with the same number, after a reclaim', async () => {
  const set = await started();
  const brick = set.brick(0);
  let lost = false;
  brick.answer = (message) => {
    if (message.kind === 'request' && !lost) {
      lost = true;
      brick.channel?.cut();
      return undefined;
    }
    return plainAnswer(message);
  };
  const client = set.client();
  assert.deepEqual(await set.settle(client.fops.write(WRITE)), { offset: 0, attr: undefined });
  assert.deepEqual(brick.kinds(), ['reclaim', 'opens', 'unleased', 'request write', 'reclaim', 'opens', 'unleased', 'request write']);
  const [first, second] = brick.requests() as [MessageOf<'request'>, MessageOf<'request'>];
  assert.equal(first.requestNumber, second.requestNumber);
  assert.ok(first.requestNumber > 0);
  assert.deepEqual(second.args, first.args);
});

test('a redirect with a newer view leads to the new primary, with the same number and what is open', async () => {
  const set = await started();
  const client = set.client();
  await set.settle(client.fops.open({ gfid: GFID, truncate: false, killPriv: false }));
  await set.settle(client.fops.setLock(LOCK));
  set.brick(0).answer = (message) =>
    message.kind === 'request' ? { kind: 'redirect', id: message.id, view: set.view } : plainAnswer(message);
  set.moveTo(1);
  await set.settle(client.fops.write(WRITE));
  const [reclaim, opens, , request] = set.brick(1).received.filter((message) => message.kind !== 'ping');
  assert.deepEqual(opens, { kind: 'opens', whole: true, held: [], closed: [] });
  assert.ok(reclaim?.kind === 'reclaim' && request?.kind === 'request');
  assert.equal(reclaim.epoch, 2);
  assert.deepEqual(reclaim.opens, [GFID]);
  assert.deepEqual(reclaim.locks, [{ gfid: GFID, owner: 'o', kind: 0, type: 1, start: 0, end: 9, pid: 1 }]);
  assert.equal(request.epoch, 2);
  assert.equal(request.requestNumber, set.brick(0).requests().at(-1)?.requestNumber);
});

test('a redirect without a newer view is asked again after a while, not at once', async () => {
  const set = await started();
  let refusals = 0;
  set.brick(0).answer = (message) =>
    message.kind === 'request' && refusals++ < 5
      ? { kind: 'redirect', id: message.id, view: set.view }
      : plainAnswer(message);
  const client = set.client();
  const before = set.world.now;
  await set.settle(client.fops.write(WRITE));
  assert.ok(set.world.now - before > 100, `took ${set.world.now - before} ms`);
  assert.equal(set.brick(0).requests().length, 6);
});

test('an epoch more under the same primary: it is told what is open, then everything is asked again', async () => {
  const set = await started();
  const brick = set.brick(0);
  brick.answer = (message) => (message.kind === 'request' && message.epoch === 1 ? undefined : plainAnswer(message));
  const client = set.client();
  const write = client.fops.write(WRITE);
  await set.wait(20);
  brick.channel?.send({ kind: 'newView', view: set.moveTo(0) });
  await set.settle(write);
  assert.deepEqual(brick.kinds(), ['reclaim', 'opens', 'unleased', 'request write', 'reclaim', 'opens', 'unleased', 'request write']);
  assert.deepEqual(
    brick.requests().map((request) => request.epoch),
    [1, 2],
  );
});

test('a closed inode and a dropped lock are not reclaimed', async () => {
  const set = await started();
  const client = set.client();
  const open = { gfid: GFID, truncate: false, killPriv: false };
  await set.settle(client.fops.open(open));
  await set.settle(client.fops.open(open));
  await set.settle(client.fops.release({ gfid: GFID }));
  await set.settle(client.fops.setLock(LOCK));
  await set.settle(client.fops.setLock({ ...LOCK, type: 2, start: 4, end: 5 }));
  set.brick(0).channel?.cut();
  await set.wait(100);
  const reclaim = set.brick(0).received.findLast((message) => message.kind === 'reclaim');
  assert.ok(reclaim?.kind === 'reclaim');
  assert.deepEqual(reclaim.opens, [GFID]);
  assert.deepEqual(
    reclaim.locks.map(({ start, end }) => [start, end]),
    [
      [0, 3],
      [6, 9],
    ],
  );
});

test('a number that is not settled is never acknowledged, and nothing is during the hold', async () => {
  const set = await started();
  const brick = set.brick(0);
  brick.answer = (message) =>
    message.kind === 'request' && message.requestNumber === 20_002 ? undefined : plainAnswer(message);
  const client = set.client({ session: 'ab'.repeat(16), holdAcknowledgedMs: 5000 });
  void client.fops.write(WRITE, 20_002).catch(() => undefined);
  for (let number = 20_003; number < 20_200; number++) await set.settle(client.fops.write(WRITE, number));
  assert.ok(brick.requests().every((request) => request.acknowledged === 0));
  await set.wait(6000);
  for (let number = 50_000; number < 50_200; number++) await set.settle(client.fops.write(WRITE, number));
  const highest = Math.max(...brick.requests().map((request) => request.acknowledged));
  assert.ok(highest > 0 && highest < 20_002, `acknowledged up to ${highest}`);
});

test('what was never sent can be withdrawn; what was sent cannot, also not after the connection was lost', async () => {
  const set = new FakeBricks();
  const listener = await set.brick(0).start();
  set.brick(0).answer = (message) => (message.kind === 'request' ? undefined : plainAnswer(message));
  const client = set.client();
  const sent = client.fops.write(WRITE, 1);
  await set.wait(10);
  assert.equal(client.withdraw(1), false);
  await listener.close();
  set.brick(0).channel?.cut();
  await set.wait(100);
  assert.equal(client.withdraw(1), false, 'it may have been carried out');
  const unsent = client.fops.write(WRITE, 2);
  await set.wait(10);
  assert.equal(client.withdraw(2), true);
  await assert.rejects(unsent, (error: unknown) => error instanceof FsError && error.errno === Errno.EINTR);
  assert.equal(client.withdraw(2), false);
  client.close();
  await assert.rejects(sent, LostError);
});

test('a frame timeout says whether the request may have happened', async () => {
  const set = new FakeBricks();
  const client = set.client({ frameTimeoutMs: 1000 });
  const unsent = client.fops.write(WRITE);
  await assert.rejects(
    set.settle(unsent),
    (error: unknown) => error instanceof FsError && error.errno === Errno.ETIMEDOUT,
  );
  await set.brick(0).start();
  set.brick(0).answer = (message) => (message.kind === 'request' ? undefined : plainAnswer(message));
  await set.wait(1000);
  await assert.rejects(
    set.settle(client.fops.write(WRITE)),
    (error: unknown) => error instanceof LostError && error.errno === Errno.ETIMEDOUT,
  );
});

test('without a majority and without a frame timeout, requests wait and go on by themselves', async () => {
  const set = new FakeBricks();
  const client = set.client();
  const write = client.fops.write(WRITE);
  await set.wait(120_000);
  await set.brick(0).start();
  await set.settle(write, 2000);
});

test('requests to a stopped volume fail with ENOTCONN, and work again after its start', async () => {
  const set = await started();
  set.brick(0).answer = (message) =>
    message.kind === 'request' && message.op === 'getattr' ? undefined : plainAnswer(message);
  const client = set.client();
  const waiting = client.fops.getattr({ gfid: GFID });
  await set.wait(10);
  client.update({ ...set.spec, started: false }, set.view);
  await assert.rejects(waiting, (error: unknown) => error instanceof FsError && error.errno === Errno.ENOTCONN);
  await assert.rejects(
    client.fops.write(WRITE),
    (error: unknown) => error instanceof FsError && error.errno === Errno.ENOTCONN,
  );
  client.update(set.spec, set.view);
  await set.settle(client.fops.write(WRITE));
});

test('the data under way is bounded, and a lock that waits takes no place', async () => {
  const set = await started();
  const brick = set.brick(0);
  brick.answer = (message) => (message.kind === 'request' ? undefined : plainAnswer(message));
  const client = set.client();
  const data = Buffer.alloc(1 << 20);
  const all = Array.from({ length: 100 }, () => client.fops.write({ ...WRITE, data }));
  for (let n = 0; n < 20; n++) void client.fops.setLock({ ...LOCK, owner: `w${n}`, wait: true }).catch(() => undefined);
  await set.wait(50);
  const writes = brick.requests().filter((request) => request.op === 'write');
  assert.equal(writes.length, 64);
  brick.answer = plainAnswer;
  for (const request of writes) brick.channel?.send(reply(request, { offset: 0, attr: undefined }));
  await set.settle(Promise.all(all));
  assert.equal(brick.requests().filter((request) => request.op === 'setLock').length, 20);
});

test('the unix socket of the brick is preferred, and TCP is what remains', async () => {
  const set = new FakeBricks();
  await set.brick(0).start();
  const [spec] = set.spec.bricks;
  assert.ok(spec !== undefined);
  spec.socket = '/run/s';
  await set.settle(set.client().fops.write(WRITE));
  assert.deepEqual(set.network.dialled, ['/run/s', 'host:1000']);
});

test('a primary that says nothing is left before the ping timeout is over', async () => {
  const set = await started();
  const brick = set.brick(0);
  let silent = true;
  brick.answer = (message) => (message.kind === 'request' && silent ? undefined : plainAnswer(message));
  const client = set.client();
  const write = client.fops.write(WRITE);
  await set.wait(3000);
  silent = false;
  await set.settle(write, 20_000);
  assert.equal(brick.requests().length, 2);
});

test('a brick with another secret is not believed', async () => {
  const set = await started();
  const client = set.client({}, { ...set.spec, secret: '00'.repeat(32) });
  const write = client.fops.write(WRITE);
  write.catch(() => undefined);
  await set.wait(3000);
  assert.equal(set.brick(0).received.length, 0);
  client.update(set.spec, set.view);
  await set.settle(write);
});

test('the session ends with bye', async () => {
  const set = await started();
  const client = set.client();
  await set.settle(client.fops.write(WRITE));
  client.close();
  await set.wait(10);
  assert.equal(set.brick(0).kinds().at(-1), 'bye');
  await assert.rejects(
    client.fops.write(WRITE),
    (error: unknown) => error instanceof FsError && error.errno === Errno.ENOTCONN,
  );
});

test('more open files than one reclaim can tell are refused with ENFILE', async () => {
  const set = await started();
  const opens = Array.from({ length: 65_536 }, () => GFID);
  const client = set.client({ opens });
  const open = { gfid: GFID, truncate: false, killPriv: false };
  await assert.rejects(client.fops.open(open), (error: unknown) => error instanceof FsError && error.errno === Errno.ENFILE);
  await set.settle(client.fops.release({ gfid: GFID }));
  await set.settle(client.fops.open(open));
});

test('more data than was asked for is EIO, not the answer', async () => {
  const bricks = new FakeBricks();
  await bricks.brick(0).start();
  const client = bricks.client();
  bricks.brick(0).answer = (message) => (message.kind === 'request' && message.op === 'read' ? reply(message, { data: Buffer.alloc(message.args.size + 1) }) : plainAnswer(message));
  await assert.rejects(bricks.settle(client.fops.read({ gfid: GFID, offset: 0, size: 10 })), { code: 'EIO' });
});

/** A brick that grants leases, and a client that knows the attributes of GFID under one. */
async function leased(invalidate?: (gfids: readonly string[]) => Promise<void>): Promise<{ set: FakeBricks; client: VolumeClient }> {
  const set = await started();
  const brick = set.brick(0);
  brick.answer = (message) => {
    if (message.kind === 'ping') return { kind: 'pong', id: message.id, epoch: set.view.epoch, leaseMs: 500, equal: [], synced: 0 };
    const answer = plainAnswer(message);
    return answer?.kind === 'reply' && answer.op === 'getattr' ? { ...answer, lease: true } : answer;
  };
  const client = set.client({ invalidate });
  await set.settle(client.fops.getattr({ gfid: GFID }));
  await set.wait(20);
  await set.settle(client.fops.getattr({ gfid: GFID }));
  return { set, client };
}

const OPEN = { gfid: GFID, truncate: false, killPriv: false };

test('under a lease, a file is opened and closed without asking', async () => {
  const { set, client } = await leased();
  const before = set.brick(0).requests().length;
  assert.equal((await set.settle(client.fops.open(OPEN))).attr.gfid, GFID);
  await set.settle(client.fops.release({ gfid: GFID }));
  assert.equal(set.brick(0).requests().length, before);
  await set.settle(client.fops.open({ ...OPEN, truncate: true }));
  assert.equal(set.brick(0).requests().length, before + 1, 'truncating is a change');
});

test('what is open is told before a recall is answered, and that it is closed when it is', async () => {
  const { set, client } = await leased();
  const brick = set.brick(0);
  await set.settle(client.fops.open(OPEN));
  brick.channel?.send({ kind: 'recall', id: 9, gfids: [GFID] });
  await set.wait(20);
  const told = brick.received.filter((message) => message.kind === 'opens' || message.kind === 'recalled').slice(-2);
  assert.deepEqual(told, [
    { kind: 'opens', whole: false, held: [GFID], closed: [] },
    { kind: 'recalled', id: 9 },
  ]);
  await set.settle(client.fops.open(OPEN));
  await set.settle(client.fops.release({ gfid: GFID }));
  await set.settle(client.fops.release({ gfid: GFID }));
  await set.wait(20);
  const last = brick.received.findLast((message) => message.kind === 'opens');
  assert.deepEqual(last, { kind: 'opens', whole: false, held: [], closed: [GFID] });
});

test('a new primary is told that no lease is left when the kernel has forgotten what was told under one', async () => {
  const invalidated: { gfids: readonly string[]; done: () => void }[] = [];
  const { set, client } = await leased((gfids) => new Promise((done) => void invalidated.push({ gfids, done })));
  assert.ok(client.cache.attrValidMs(GFID) > 0, 'the kernel was told the attributes');
  set.brick(1).answer = plainAnswer;
  await set.brick(1).start();
  set.brick(0).channel?.send({ kind: 'newView', view: set.moveTo(1) });
  await set.wait(50);
  assert.deepEqual(set.brick(1).kinds().slice(0, 2), ['reclaim', 'opens']);
  assert.ok(!set.brick(1).kinds().includes('unleased'));
  assert.deepEqual(invalidated.map(({ gfids }) => gfids), [[GFID]]);
  invalidated[0]?.done();
  await set.wait(20);
  assert.deepEqual(set.brick(1).received.findLast(({ kind }) => kind === 'unleased'), { kind: 'unleased', epoch: 2 });
});

test('a process that goes on with the session of another one waits for what that one may have told the kernel', async () => {
  const set = await started();
  const client = set.client({ begun: true });
  await set.settle(client.fops.write(WRITE));
  await set.wait(1500);
  assert.ok(!set.brick(0).kinds().includes('unleased'));
  await set.wait(1000);
  assert.ok(set.brick(0).kinds().includes('unleased'));
});

test('what is open is told before the client itself may remove its name', async () => {
  const { set, client } = await leased();
  const brick = set.brick(0);
  await set.settle(client.fops.open(OPEN));
  await set.settle(client.fops.unlink({ parent: 'd'.repeat(32), name: 'of-what-inode' }));
  const kinds = brick.kinds();
  assert.deepEqual(kinds.slice(-2), ['opens', 'request unlink']);
});

test('after a time without leases, and to a new primary, everything that is open is told', async () => {
  const { set, client } = await leased();
  const brick = set.brick(0);
  const { answer } = brick;
  await set.settle(client.fops.open(OPEN));
  brick.answer = (message) => (message.kind === 'ping' ? undefined : answer(message));
  await set.wait(1000);
  brick.answer = answer;
  await set.wait(200);
  const whole = { kind: 'opens', whole: true, held: [GFID], closed: [] };
  assert.deepEqual(brick.received.findLast((message) => message.kind === 'opens'), whole);
  brick.channel?.send({ kind: 'newView', view: set.moveTo(1) });
  await set.wait(200);
  assert.deepEqual(set.brick(1).received.filter((message) => message.kind === 'opens')[0], whole);
});

test('a session begins once; after that it is claimed', async () => {
  const set = await started();
  let begun = 0;
  const client = set.client({ onBegun: () => begun++ });
  await set.settle(client.fops.write(WRITE));
  set.brick(0).channel?.cut();
  await set.settle(client.fops.write(WRITE));
  const begins = set.brick(0).received.filter((message) => message.kind === 'reclaim').map((message) => message.begins);
  assert.deepEqual(begins, [true, false]);
  assert.equal(begun, 1);
  const successor = set.client({ session: client.session, begun: true });
  await set.settle(successor.fops.write(WRITE));
  assert.equal(set.brick(0).received.findLast((message) => message.kind === 'reclaim')?.begins, false);
});

test('after a revocation changes under way fail, reads go on, and what comes later is of a session of its own', async () => {
  const set = await started();
  const brick = set.brick(0);
  const revoked: string[] = [];
  let failedBefore = false;
  const client = set.client({ onRevoked: (session) => (failedBefore ? undefined : revoked.push(session)) });
  const before = client.session;
  await set.settle(client.fops.open({ gfid: GFID, truncate: false, killPriv: false }));
  brick.answer = (message) => (message.kind === 'request' ? undefined : plainAnswer(message));
  const write = client.fops.write(WRITE).finally(() => (failedBefore = true));
  const lookup = client.fops.getattr({ gfid: GFID });
  const failed = assert.rejects(write, (error: LostError) => error instanceof LostError && error.errno === Errno.EIO);
  await set.wait(20);
  brick.answer = plainAnswer;
  brick.channel?.send({ kind: 'fenced' });
  await set.settle(failed);
  await set.settle(lookup);
  assert.deepEqual(revoked, [client.session]);
  assert.notEqual(client.session, before);
  assert.equal(brick.caller?.id, client.session);
  const claim = brick.received.findLast((message) => message.kind === 'reclaim');
  assert.ok(claim?.kind === 'reclaim' && claim.begins);
  assert.deepEqual(claim.opens, []);
  await set.settle(client.fops.write(WRITE));
  assert.equal(brick.requests().filter((request) => request.op === 'write').length, 2);
});

test('while the volume does not answer, df is told what was known last, within a second; other reads wait', async () => {
  const set = await started();
  const brick = set.brick(0);
  const space = { blockSize: 4096, blocks: 100, blocksFree: 50, blocksAvailable: 40, files: 10, filesFree: 5, nameMax: 255 };
  const root = { ...ATTR, gfid: ROOT_GFID, mode: 0o040755 };
  brick.answer = (message) =>
    message.kind !== 'request'
      ? plainAnswer(message)
      : message.op === 'statfs'
        ? reply(message, space)
        : message.op === 'getattr' && message.args.gfid === ROOT_GFID
          ? reply(message, { attr: root })
          : plainAnswer(message);
  const client = set.client();
  await set.settle(client.fops.statfs({}));
  await set.settle(client.fops.getattr({ gfid: ROOT_GFID }));
  brick.answer = () => undefined;
  brick.channel?.cut();
  const before = set.world.now;
  assert.deepEqual(await set.settle(client.fops.statfs({}), 1000), space);
  assert.deepEqual(await set.settle(client.fops.getattr({ gfid: ROOT_GFID }), 1000), { attr: root });
  assert.ok(set.world.now - before <= 2000);
  const listing = client.fops.readdir({ gfid: ROOT_GFID, after: '', limit: 10, attributes: false });
  await assert.rejects(set.settle(listing, 5000), /not settled/);
});

test('network.frame-timeout takes effect on a volume that is in use, also on what waits already; a lock may wait for its holder', async () => {
  const set = await started();
  const client = set.client();
  set.brick(0).answer = (message) => (message.kind === 'request' ? undefined : plainAnswer(message));
  const write = client.fops.write(WRITE);
  const lock = client.fops.setLock({ ...LOCK, wait: true });
  const failed = assert.rejects(write, (error: LostError) => error instanceof LostError && error.errno === Errno.ETIMEDOUT);
  await set.wait(30_000);
  client.update({ ...set.spec, options: { 'network.frame-timeout': '20' } }, set.view);
  await set.settle(failed, 1000);
  await assert.rejects(set.settle(lock, 60_000), /not settled/);
});

test('requests that wait for long are told once, and once that they go on', async () => {
  const set = await started();
  const lines: string[] = [];
  const note = (message: string): void => void lines.push(message);
  const log = { debug: () => undefined, info: note, warn: note, error: note, child: () => log };
  const client = new VolumeClient({ clock: clockOf(set.world), random: set.world.random, network: set.network, log }, {});
  client.update(set.spec, set.view);
  set.brick(0).answer = (message) => (message.kind === 'request' && set.world.now < 60_000 ? undefined : plainAnswer(message));
  const writes = Promise.all(Array.from({ length: 10 }, () => client.fops.write(WRITE)));
  await set.wait(60_000);
  set.brick(0).channel?.cut();
  await set.settle(writes);
  await set.wait(3000);
  assert.deepEqual(lines, ['the volume does not answer: requests wait, and go on by themselves', 'the volume answers again']);
});

const DROP = { gfid: GFID, owner: 'o', kind: 0 };

function requestsOf(brick: { requests(): MessageOf<'request'>[] }, op: string): MessageOf<'request'>[] {
  return brick.requests().filter((request) => request.op === op);
}

test('what a closed file leaves behind is asked for until it is answered: after a frame timeout, a kill, and a stop of the volume', async () => {
  const set = new FakeBricks();
  const client = set.client({ frameTimeoutMs: 1000 });
  const dropped = client.fops.dropLocks(DROP, 2);
  const released = client.fops.release({ gfid: GFID }, 3);
  assert.equal(client.withdraw(2), false);
  await assert.rejects(set.settle(dropped), (error: LostError) => error instanceof LostError && error.errno === Errno.ETIMEDOUT);
  await assert.rejects(set.settle(released), LostError);
  client.update({ ...set.spec, started: false }, set.view);
  await assert.rejects(set.settle(client.fops.dropLocks({ ...DROP, owner: 'p' }, 4)), (error: LostError) => error.errno === Errno.ENOTCONN);
  await set.brick(0).start();
  client.update(set.spec, set.view);
  await set.wait(1000);
  assert.deepEqual(requestsOf(set.brick(0), 'dropLocks').map(({ requestNumber }) => requestNumber), [2, 4]);
  assert.deepEqual(requestsOf(set.brick(0), 'release').map(({ requestNumber }) => requestNumber), [3]);
  client.close();
});

test('what was sent and not answered in time is asked for until that is known; a file that was opened so is closed again', async () => {
  const set = await started();
  const brick = set.brick(0);
  brick.answer = (message) => (message.kind === 'request' ? undefined : plainAnswer(message));
  const client = set.client({ frameTimeoutMs: 1000 });
  await set.wait(100);
  let over = false;
  const write = client.fops.write(WRITE).catch((error: unknown) => error);
  const open = client.fops.open(OPEN).catch((error: unknown) => error);
  const late = (await set.settle(write)) as LostError;
  assert.ok((await set.settle(open)) instanceof LostError && late instanceof LostError);
  void late.over?.then(() => (over = true));
  await set.wait(10);
  assert.equal(over, false, 'its data is in use');
  brick.answer = plainAnswer;
  brick.channel?.cut();
  await set.wait(10_000);
  assert.equal(over, true);
  assert.equal(requestsOf(brick, 'write').length, 2);
  assert.equal(requestsOf(brick, 'release').length, 1);
});

test('names that a change told of long ago are not believed', async () => {
  const { set, client } = await leased();
  const brick = set.brick(0);
  const usual = brick.answer;
  let answers = false;
  brick.answer = (message) => {
    if (message.kind === 'request' && !answers) return undefined;
    return message.kind === 'request' && message.op === 'lookup' ? ({ ...reply(message, { attr: ATTR }), lease: true } as Message) : usual(message);
  };
  const x = { parent: ROOT_GFID, name: 'x' };
  const seen = client.fops.lookup({ ...x, name: 'y' });
  const unlinked = client.fops.unlink(x);
  await set.wait(10);
  answers = true;
  brick.channel?.cut();
  await set.settle(Promise.all([seen, unlinked]));
  await set.wait(200);
  assert.equal((await set.settle(client.fops.lookup(x))).attr.gfid, GFID, 'somebody made it again since');
});

test('locks that were given here are told however many requests wait', async () => {
  const set = await started();
  const brick = set.brick(0);
  const client = set.client();
  brick.answer = (message) => {
    if (message.kind === 'ping') return { kind: 'pong', id: message.id, epoch: set.view.epoch, leaseMs: 500, equal: [], synced: 0 };
    return message.kind === 'request' ? undefined : plainAnswer(message);
  };
  await set.wait(300);
  const other = 'f'.repeat(32);
  for (let n = 0; n < 1100; n++) client.fops.setLock({ ...LOCK, gfid: other, owner: `w${n}` }).catch(() => undefined);
  brick.channel?.send({ kind: 'lockLease', gfid: GFID, lease: 5, own: [], others: [] });
  await set.wait(10);
  await set.settle(client.fops.setLock(LOCK), 5);
  brick.channel?.send({ kind: 'recallLocks', gfid: GFID, lease: 5 });
  await set.wait(10);
  assert.equal(brick.requests().filter(({ op, args }) => op === 'setLock' && (args as { granted?: unknown }).granted !== undefined).length, 1);
  client.close();
});
