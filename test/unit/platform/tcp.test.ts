import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect as plainConnect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { LostError } from '../../../src/base/errno.js';
import type { Address, Channel } from '../../../src/env/channel.js';
import { TcpNetwork } from '../../../src/platform/tcp.js';
import { encodeFrame } from '../../../src/wire/codec.js';
import type { Message } from '../../../src/wire/messages.js';
import { waitFor } from '../../support/wait.js';

const GFID = '0123456789abcdef0123456789abcdef';
const folder = mkdtempSync(join(tmpdir(), 'gluon-tcp-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const network = new TcpNetwork();

function write(id: number, data: Buffer): Message {
  return {
    kind: 'request',
    id,
    epoch: 1,
    requestNumber: id,
    acknowledged: 0,
    op: 'write',
    args: { gfid: GFID, offset: 0, append: false, sync: false, killPriv: false, data },
  };
}

interface Pair {
  caller: Channel<Message>;
  callee: Channel<Message>;
  close(): Promise<void>;
}

async function pair(address: Address): Promise<Pair> {
  let callee: Channel<Message> | undefined;
  const listener = await network.listen(address, (channel) => (callee = channel));
  const caller = await network.connect(listener.address, 1000);
  await waitFor('the connection to be accepted', 1000, () => callee !== undefined);
  return { caller, callee: callee as unknown as Channel<Message>, close: () => listener.close() };
}

for (const [label, address] of [
  ['tcp', { host: '127.0.0.1', port: 0 }],
  ['a unix socket', { path: join(folder, 's1') }],
] as const) {
  test(`messages of every size arrive in order and whole over ${label}`, async () => {
    const { caller, callee, close } = await pair(address);
    callee.trust?.();
    const sizes = [0, 1, 100, 4096, 16_383, 16_384, 16_385, 65_400, 65_536, 131_072, 500_000, 1 << 20];
    const sent: Buffer[] = [];
    for (let round = 0; round < 5; round++) for (const size of sizes) sent.push(randomBytes(size));
    let received = 0;
    callee.onMessage = (message) => {
      assert.ok(message.kind === 'request' && message.op === 'write');
      assert.equal(message.id, received);
      assert.equal(Buffer.compare(message.args.data, sent[received] as Buffer), 0, `message ${received}`);
      received++;
      callee.send({
        kind: 'reply',
        id: message.id,
        errno: 0,
        lease: false,
        op: 'read',
        result: { data: Buffer.from(message.args.data) },
      });
    };
    let answered = 0;
    caller.onMessage = (message) => {
      assert.ok(message.kind === 'reply' && message.op === 'read' && message.result !== undefined);
      assert.equal(Buffer.compare(message.result.data, sent[answered] as Buffer), 0);
      answered++;
    };
    for (const [id, data] of sent.entries()) caller.send(write(id, data));
    await waitFor('all answers', 10_000, () => answered === sent.length);
    assert.equal(caller.queuedBytes, 0);
    await close();
  });
}

test('bytes in any portions make the same messages', async () => {
  const path = join(folder, 's2');
  let callee: Channel<Message> | undefined;
  const ids: number[] = [];
  const listener = await network.listen({ path }, (channel) => {
    callee = channel;
    channel.trust?.();
    channel.onMessage = (message) => ids.push((message as { id: number }).id);
  });
  const frames = Buffer.concat([
    encodeFrame(write(1, randomBytes(70_000))),
    encodeFrame({ kind: 'ping', id: 2 }),
    encodeFrame(write(3, randomBytes(100))),
  ]);
  const socket = plainConnect({ path });
  for (let at = 0; at < frames.length;) {
    const length = at < 100 || at > 69_900 ? 1 : 9_999;
    await new Promise((resolve) => socket.write(frames.subarray(at, at + length), resolve));
    at += length;
  }
  await waitFor('three messages', 5000, () => ids.length === 3);
  assert.deepEqual(ids, [1, 2, 3]);
  socket.destroy();
  await waitFor('the end to be seen', 2000, () => callee?.closed === true);
  await listener.close();
});

/** Sends raw bytes to a fresh listener; what became of the connection there. */
async function throwAt(bytes: Buffer, trusted: boolean): Promise<string> {
  const path = join(folder, `raw${Math.random()}`);
  let reason: string | undefined;
  const listener = await network.listen({ path }, (channel) => {
    if (trusted) channel.trust?.();
    channel.onClose = (text) => (reason = text);
  });
  const socket: Socket = plainConnect({ path });
  socket.on('error', () => undefined);
  socket.write(bytes);
  await waitFor('the connection to be closed', 2000, () => reason !== undefined);
  socket.destroy();
  await listener.close();
  return reason ?? '';
}

test('frames that lie, lengths beyond the limit and garbage close the connection', async () => {
  const prefix = Buffer.alloc(8);
  prefix.writeUInt32LE(0xffff_fff0, 0);
  prefix.writeUInt32LE(10, 4);
  assert.match(await throwAt(prefix, true), /protocol error/);
  assert.match(await throwAt(randomBytes(100_000), true), /protocol error/);
  assert.match(await throwAt(Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), false), /protocol error/);
  assert.match(await throwAt(encodeFrame(write(1, randomBytes(5000))), false), /protocol error.*limit/);
});

test('a large frame announced by a stranger takes no memory', async () => {
  const prefix = Buffer.alloc(8);
  prefix.writeUInt32LE(4 + 100 + (1 << 20), 0);
  prefix.writeUInt32LE(100, 4);
  const before = process.memoryUsage().arrayBuffers;
  for (let n = 0; n < 50; n++) await throwAt(prefix, false);
  assert.ok(process.memoryUsage().arrayBuffers - before < 20 << 20);
});

test('close is told to both ends once, and what was sent before arrives', async () => {
  const { caller, callee, close } = await pair({ path: join(folder, 's3') });
  const seen: string[] = [];
  callee.onMessage = (message) => seen.push(message.kind);
  callee.onClose = () => seen.push('closed');
  caller.onClose = (reason) => seen.push(reason);
  caller.send({ kind: 'ping', id: 1 });
  caller.send({ kind: 'bye' });
  caller.close('enough');
  caller.close('again');
  caller.send({ kind: 'ping', id: 2 });
  await waitFor('the other end to close', 2000, () => callee.closed);
  assert.deepEqual(seen, ['enough', 'ping', 'bye', 'closed']);
  await close();
});

test('nobody there: LostError, soon or after the time limit', async () => {
  await assert.rejects(network.connect({ path: join(folder, 'none') }, 1000), LostError);
  await assert.rejects(network.connect({ path: join(folder, 'x'.repeat(200)) }, 1000), /longer than 107 bytes/);
  const closed = createServer();
  const port = await new Promise<number>((resolve) =>
    closed.listen(0, '127.0.0.1', () => resolve((closed.address() as { port: number }).port)),
  );
  await new Promise((resolve) => closed.close(resolve));
  await assert.rejects(network.connect({ host: '127.0.0.1', port }, 1000), LostError);
});

test('a socket file that a dead process left is replaced; one that is served is not', async () => {
  const path = join(folder, 's4');
  const first = await network.listen({ path }, () => undefined);
  await assert.rejects(
    network.listen({ path }, () => undefined),
    /EADDRINUSE/,
  );
  assert.equal(statSync(path).mode & 0o777, 0o600);
  await first.close();
  const dead = join(folder, 's5');
  const child = createServer().listen(dead);
  await waitFor('the socket', 1000, () => existsSync(dead));
  // Close the descriptor without removing the file, as a killed process does.
  (child as unknown as { _handle: { close(): void } })._handle.close();
  if (!existsSync(dead)) return;
  const second = await network.listen({ path: dead }, () => undefined);
  await second.close();
});

test('a receiver that does not read does not make the sender grow without limit', async () => {
  let victim: Channel<Message> | undefined;
  const listener = await network.listen({ path: join(folder, 's7') }, (channel) => (victim = channel));
  const reader = plainConnect({ path: join(folder, 's7') });
  reader.pause();
  await waitFor('the connection', 1000, () => victim !== undefined);
  const data = Buffer.alloc(1 << 20);
  for (let n = 0; n < 400; n++)
    victim?.send({ kind: 'reply', id: n, errno: 0, lease: false, op: 'read', result: { data } });
  assert.equal(victim?.closed, true);
  reader.destroy();
  await listener.close();
});

test('what a receiver asked for in one go is not all answered at once while it does not read', async () => {
  let answered = 0;
  let most = 0;
  const data = Buffer.alloc(1 << 20);
  const path = join(folder, 's8');
  const listener = await network.listen({ path }, (channel) => {
    channel.trust?.();
    channel.onMessage = (message) => {
      answered++;
      channel.send({ kind: 'reply', id: (message as { id: number }).id, errno: 0, lease: false, op: 'read', result: { data } });
      most = Math.max(most, channel.queuedBytes);
    };
  });
  const asker = plainConnect({ path });
  asker.pause();
  const reads = Array.from({ length: 500 }, (_, id) => encodeFrame({ kind: 'request', id, epoch: 1, requestNumber: 0, acknowledged: 0, op: 'read', args: { gfid: GFID, offset: 0, size: 1 << 20 } }));
  asker.write(Buffer.concat(reads));
  await waitFor('some answers', 2_000, () => answered > 10);
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.ok(answered < 40, `${answered} answers wait`);
  assert.ok(most < 20 << 20, `${most} bytes wait`);
  // When it reads, all the rest comes.
  let bytes = 0;
  asker.on('data', (chunk) => (bytes += chunk.length));
  asker.resume();
  await waitFor('all answers', 10_000, () => answered === 500 && bytes > 500 << 20);
  asker.destroy();
  await listener.close();
});
