import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DirectWrites, type DirectRequest } from '../../../src/client/direct-writes.js';
import type { Channel } from '../../../src/env/channel.js';
import type { View } from '../../../src/fops/view.js';
import type { Message } from '../../../src/wire/messages.js';

const [PRIMARY, MEMBER] = ['aa'.repeat(16), 'bb'.repeat(16)] as const;
const [SOURCE, TARGET] = ['01'.repeat(16), '02'.repeat(16)] as const;
const VIEW: View = { epoch: 3, primary: PRIMARY, inSync: [PRIMARY, MEMBER], catchingUp: [] };
const TIME = { sec: 1, nsec: 0 };

function channel(sent: Message[]): Channel<Message> {
  return { remote: 'test', closed: false, queuedBytes: 0, send: (message) => void sent.push(message), onMessage: () => undefined, onClose: () => undefined, close: () => undefined };
}

/** A client with one member to connect to. */
function begun(): { direct: DirectWrites<DirectRequest>; primary: Message[]; asked: DirectRequest[]; connect: () => Promise<void> } {
  const primary: Message[] = [];
  const asked: DirectRequest[] = [];
  const toPrimary = channel(primary);
  let connect: () => void = () => undefined;
  const connected = new Promise<void>((resolve) => (connect = resolve));
  let nextId = 100;
  const direct = new DirectWrites<DirectRequest>({
    now: () => 0,
    wall: () => TIME,
    view: () => VIEW,
    primary: () => toPrimary,
    dial: async (_, ready) => {
      await connected;
      ready(channel([]), VIEW);
    },
    acknowledged: () => 0,
    sendToPrimary: (request) => void asked.push(request),
    done: () => undefined,
    again: (request) => {
      request.id = nextId++;
      return true;
    },
    learnView: () => undefined,
  });
  return {
    direct, primary, asked,
    connect: async () => {
      connect();
      await new Promise((resolve) => void setImmediate(resolve));
    },
  };
}

function write(id: number, gfid: string): DirectRequest {
  return { id, op: 'write', args: { gfid, offset: 0, append: false, sync: false, killPriv: false, data: Buffer.from('x') }, requestNumber: id, everSent: false };
}

function copy(id: number): DirectRequest {
  return { id, op: 'copyFileRange', args: { source: SOURCE, sourceOffset: 0, target: TARGET, targetOffset: 0, length: 1 }, requestNumber: id, everSent: false };
}

const exclusive = (gfid: string, lease: number) => ({ kind: 'exclusive' as const, gfid, lease, epoch: VIEW.epoch, time: TIME });

test('a copy waits for direct writes to its target', async () => {
  const { direct, primary, asked, connect } = begun();
  direct.begin(exclusive(TARGET, 1));
  await connect();
  direct.send(write(1, TARGET));
  assert.deepEqual(primary.map(({ kind }) => kind), ['direct']);
  direct.send(copy(2));
  assert.deepEqual(asked, [], 'it waits');
  const answer = { kind: 'reply' as const, id: 1, errno: 0, lease: true, op: 'write' as const, result: { offset: 0, attr: undefined } };
  direct.answered(PRIMARY, answer);
  assert.deepEqual(asked, []);
  direct.answered(MEMBER, answer);
  assert.deepEqual(asked.map(({ id }) => id), [2]);
});

test('a copy between two files that are written directly is sent when both are through, also when a lease fails', async () => {
  const { direct, primary, asked, connect } = begun();
  direct.begin(exclusive(SOURCE, 1));
  direct.begin(exclusive(TARGET, 2));
  await connect();
  direct.send(write(1, TARGET));
  direct.send(copy(2));
  assert.deepEqual(asked, []);
  // The member refuses: the lease on the target ends, and its write is asked for again before the copy.
  direct.answered(MEMBER, { kind: 'reply', id: 1, errno: 116, lease: false, op: 'write', result: undefined });
  assert.deepEqual(asked.map(({ requestNumber }) => requestNumber), [1, 2]);
  assert.ok(primary.some((message) => message.kind === 'yielded' && message.lease === 2 && !message.clean));
});

test('a copy that was held for one file goes on waiting for the other when the lease on the first is given back', async () => {
  const { direct, asked, connect } = begun();
  direct.begin(exclusive(SOURCE, 1));
  direct.begin(exclusive(TARGET, 2));
  await connect();
  direct.send(write(1, TARGET));
  direct.send(copy(2));
  direct.yield(1);
  assert.deepEqual(asked, [], 'a write to the target is under way');
  const answer = { kind: 'reply' as const, id: 1, errno: 0, lease: true, op: 'write' as const, result: { offset: 0, attr: undefined } };
  for (const brick of VIEW.inSync) direct.answered(brick, answer);
  assert.deepEqual(asked.map(({ id }) => id), [2]);
});
