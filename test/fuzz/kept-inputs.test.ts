/** Inputs that once ended a brick, or got further than they should. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Errno } from '../../src/base/errno.js';
import { ROOT_GFID } from '../../src/base/ids.js';
import { encodeFrame } from '../../src/wire/codec.js';
import { MESSAGES, type Message } from '../../src/wire/messages.js';
import { OPS } from '../../src/fops/ops.js';
import { PEER_OPS } from '../../src/wire/peer-ops.js';
import { SESSIONS_MAX } from '../../src/replica/session-table.js';
import { Arena } from './arena.js';
import { LoneBrick, SELF, SIBLING, THIRD } from './lone-brick.js';
import { putTogether } from './mutate.js';
import type { PipeChannel } from './pipe-channel.js';
import { turn } from './watch.js';

const NOTHING = Buffer.alloc(0);
const GFID = 'ab'.repeat(16);
let arena: Arena;
let primary: LoneBrick;
let member: LoneBrick;

before(() => {
  arena = new Arena(2);
  primary = new LoneBrick(arena.brick(0), { epoch: 1, primary: SELF, inSync: [SELF], catchingUp: [] });
  member = new LoneBrick(arena.brick(1), { epoch: 7, primary: SIBLING, inSync: [SIBLING, SELF, THIRD], catchingUp: [] });
});

after(async () => {
  await primary.close();
  await member.close();
  arena.close();
});

async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await turn();
}

function asClient(session: string): { channel: PipeChannel; received: Message[] } {
  const received: Message[] = [];
  const channel = primary.connect('client', session, (message) => received.push(message));
  channel.deliver(encodeFrame({ kind: 'reclaim', id: 0, epoch: 1, begins: true, opens: [], locks: [] }));
  return { channel, received };
}

/** Sealed by its primary. */
function asSibling(): { channel: PipeChannel; received: Message[] } {
  const received: Message[] = [];
  const channel = member.connect('brick', SIBLING, (message) => received.push(message));
  channel.deliver(encodeFrame({ kind: 'call', id: 1, epoch: 7, op: 'seal', args: { view: { epoch: 7, primary: SIBLING, inSync: [SIBLING, SELF, THIRD], catchingUp: [] } } }));
  return { channel, received };
}

function errnoOf(messages: Message[], id: number): number | undefined {
  const found = messages.find((message) => 'id' in message && message.id === id && 'errno' in message);
  return found !== undefined && 'errno' in found ? found.errno : undefined;
}

test('one number for two requests of different kinds is EINVAL for the second', async () => {
  const { channel, received } = asClient('1'.repeat(32));
  const request = (id: number, op: string, args: object): void => void channel.deliver(encodeFrame({ kind: 'request', id, epoch: 1, requestNumber: 5, acknowledged: 0, op, args } as Message));
  request(1, 'mkdir', { parent: ROOT_GFID, name: 'directory', mode: 0o700, uid: 0, gid: 0 });
  await settled();
  request(2, 'write', { gfid: ROOT_GFID, offset: 0, append: false, sync: false, killPriv: false, data: Buffer.from('x') });
  request(3, 'mkdir', { parent: ROOT_GFID, name: 'directory', mode: 0o700, uid: 0, gid: 0 });
  await settled();
  assert.deepEqual([1, 2, 3].map((id) => errnoOf(received, id)), [0, Errno.EINVAL, 0]);
});

test('a lock that no setLock could ask for cannot be claimed either', () => {
  for (const lock of [
    [GFID, 'owner', 0, 1, 0, 1, 2 ** 40],
    [GFID, 'owner', 2 ** 33, 1, 0, 1, 1],
    [GFID, 'owner', 0, 2 ** 33, 0, 1, 1],
  ]) {
    const { channel } = asClient('2'.repeat(32));
    channel.deliver(putTogether({ items: [MESSAGES.reclaim.code, 1, 1, false, [], [lock]], payload: NOTHING }));
    assert.match(channel.reason, /reclaim\.locks/);
  }
});

test('a state that is not one is refused whole', async () => {
  const wrong = [
    '', '{', '[]', '{}', 'null', '{"locks":[],"results":[]}', '{"sessions":[7],"locks":[],"results":[]}', '{"sessions":[],"locks":[],"locksKnown":true,"results":[[1,2,3]]}', '{"sessions":[],"locks":[{}],"locksKnown":true,"results":[]}', '{"sessions":[],"locks":[],"locksKnown":true,"results":[["s",0,[[1,{"op":"toString"}]]]]}',
    '{"sessions":[],"locks":[],"locksKnown":true,"results":[["s",0,[[1,{"op":"mkdir","errno":0,"gfid":"","value":0,"result":{"attr":null}}]]]]}',
    `{"sessions":[],"locks":[],"locksKnown":true,"results":[["s",0,[[1,{"op":"mkdir","errno":0,"gfid":"../../x","value":0}]]]]}`,
  ];
  const { channel, received } = asSibling();
  for (const [index, text] of wrong.entries()) {
    channel.deliver(encodeFrame({ kind: 'call', id: 10 + index, epoch: 7, op: 'settle', args: { part: 0, last: true, state: Buffer.from(text) } }));
    await settled();
    assert.equal(errnoOf(received, 10 + index), Errno.EPROTO, text);
  }
  channel.deliver(encodeFrame({ kind: 'call', id: 99, epoch: 7, op: 'settle', args: { part: 0, last: true, state: Buffer.from('{"sessions":[],"locks":[],"locksKnown":true,"results":[]}') } }));
  await settled();
  assert.equal(errnoOf(received, 99), 0);
});

test('no path stands where an identity belongs', () => {
  for (const path of ['../../canary/secret', '..', '/etc/passwd', `${GFID}x`, GFID.toUpperCase()]) {
    const place = asSibling().channel;
    place.deliver(putTogether({ items: [MESSAGES.call.code, 2, 7, PEER_OPS.place.code, ROOT_GFID, 'name', path, 0o100000, null], payload: NOTHING }));
    assert.match(place.reason, /place\.gfid/);
    const replicate = asSibling().channel;
    replicate.deliver(
      putTogether({ items: [MESSAGES.replicate.code, 7, 1, 0, GFID, 1, 0, [1, 2], path, false, [], OPS.mkdir.code, ROOT_GFID, 'name', 0o700, 0, 0], payload: NOTHING }),
    );
    assert.match(replicate.reason, /replicate\.newGfid/);
  }
  assert.deepEqual(arena.escaped(), []);
});

test('a read that is replicated is refused', async () => {
  const { channel, received } = asSibling();
  channel.deliver(putTogether({ items: [MESSAGES.replicate.code, 7, 1, 0, GFID, 1, 0, [1, 2], '', false, [], OPS.getattr.code, ROOT_GFID], payload: NOTHING }));
  await settled();
  assert.deepEqual(received.filter((message) => message.kind === 'applied').map((message) => message.errno), [Errno.EPROTO]);
});

test('an inode without an identity is not made', async () => {
  const { channel, received } = asSibling();
  channel.deliver(
    putTogether({ items: [MESSAGES.replicate.code, 7, 1, 0, GFID, 1, 0, [1, 2], '', false, [], OPS.create.code, ROOT_GFID, 'file', 0o600, true, false, 0, 0], payload: NOTHING }),
  );
  await settled();
  assert.deepEqual(received.filter((message) => message.kind === 'applied').map((message) => message.errno), [Errno.EINVAL]);
  assert.deepEqual(arena.tree(1).filter((line) => line.includes('/file')), []);
});

test('no directory is placed inside itself, and the root nowhere', async () => {
  const { channel, received } = asSibling();
  const place = (id: number, parent: string, gfid: string): void =>
    void channel.deliver(encodeFrame({ kind: 'call', id, epoch: 7, op: 'place', args: { parent, name: `p${id}`, gfid, type: 0o040000, target: undefined } }));
  place(30, ROOT_GFID, GFID);
  place(31, GFID, GFID);
  place(32, GFID, ROOT_GFID);
  await settled();
  assert.deepEqual([30, 31, 32].map((id) => errnoOf(received, id)), [0, Errno.EINVAL, Errno.EINVAL]);
  assert.ok(arena.tree(1).some((line) => line.startsWith('/p30 ')), 'it stays where it was');
});

test('silent sessions that fill the table make room, one for each that knocks', async () => {
  const crowded = new Arena(1);
  const path = crowded.brick(0);
  const view = { epoch: 1, primary: SELF, inSync: [SELF], catchingUp: [] };
  await new LoneBrick(path, view).close();
  const lines = Array.from({ length: SESSIONS_MAX }, (_, i) => `2${i.toString(16).padStart(32, '0')}`);
  writeFileSync(join(path, '.gluon', 'sessions'), lines.join('\n'));
  const brick = new LoneBrick(path, view);
  try {
    const knock = async (): Promise<{ channel: PipeChannel; received: Message[] }> => {
      const received: Message[] = [];
      const channel = brick.connect('client', 'e'.repeat(32), (message) => received.push(message));
      channel.deliver(encodeFrame({ kind: 'reclaim', id: 1, epoch: 1, begins: true, opens: [], locks: [] }));
      await settled();
      return { channel, received };
    };
    assert.equal((await knock()).channel.reason, 'too many clients');
    assert.ok((await knock()).received.some((message) => message.kind === 'reclaimed'));
  } finally {
    await brick.close();
    crowded.close();
  }
});
