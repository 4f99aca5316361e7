import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errno, FsError, LostError } from '../../../src/base/errno.js';
import {
  callHandshake,
  answerHandshake,
  HANDSHAKE_MS,
  secretOfClients,
  type AnswerOptions,
  type CallOptions,
  type Caller,
} from '../../../src/wire/handshake.js';
import { encodeFrame } from '../../../src/wire/codec.js';
import type { Message } from '../../../src/wire/messages.js';
import { World } from '../../sim/world.js';
import { clockOf, MemoryNetwork, type MemoryChannel } from '../../support/memory-network.js';

const BRICK = 'b'.repeat(32);
const SESSION = 'c'.repeat(32);
const VOLUME = 'd'.repeat(32);
const VIEW = { epoch: 3, primary: BRICK, inSync: [BRICK], catchingUp: [] };
const CALL: CallOptions = { role: 'client', id: SESSION, volume: VOLUME, secret: '5e'.repeat(32), brick: BRICK };
const ANSWER: AnswerOptions = { volume: VOLUME, secret: CALL.secret, brick: BRICK, view: () => VIEW };

interface Outcome {
  caller: unknown;
  brick: Caller | string | undefined;
  wire: Message[];
}

async function shake(
  call: Partial<CallOptions> = {},
  answer: Partial<AnswerOptions> = {},
  tamper: (message: Message) => Message | undefined = (m) => m,
): Promise<Outcome> {
  const world = new World(3);
  const env = { clock: clockOf(world), random: world.random };
  const network = new MemoryNetwork(world);
  const outcome: Outcome = { caller: undefined, brick: undefined, wire: [] };
  const tap = (channel: MemoryChannel): void => {
    const send = channel.send.bind(channel);
    channel.send = (message) => {
      outcome.wire.push(message);
      const changed = tamper(message);
      if (changed !== undefined) send(changed);
    };
  };
  await network.listen({ host: 'h', port: 1 }, (accepted) => {
    tap(accepted as MemoryChannel);
    answerHandshake(
      env,
      accepted,
      { ...ANSWER, ...answer },
      (caller) => (outcome.brick = caller),
      (reason) => (outcome.brick = reason),
    );
  });
  const connecting = network.connect({ host: 'h', port: 1 }, 100);
  void connecting.then((channel) => {
    tap(channel as MemoryChannel);
    callHandshake(
      env,
      channel,
      { ...CALL, ...call },
      (view) => (outcome.caller = view),
      (error) => (outcome.caller = error),
    );
  });
  await world.run(() => outcome.caller !== undefined && outcome.brick !== undefined, 2 * HANDSHAKE_MS);
  return outcome;
}

test('both ends know the secret: the view is told, and the caller', async () => {
  for (const role of ['client', 'brick'] as const) {
    const { caller, brick } = await shake({ role });
    assert.deepEqual(caller, VIEW);
    assert.deepEqual(brick, { role, id: SESSION });
  }
});

test('the secret is on the wire in no form', async () => {
  const { wire } = await shake();
  const bytes = Buffer.concat(wire.map((message) => encodeFrame(message)));
  assert.equal(bytes.indexOf(Buffer.from(CALL.secret, 'hex')), -1);
  assert.equal(bytes.indexOf(CALL.secret), -1);
});

test('a caller with another secret, of another volume, or to another brick gets nowhere', async () => {
  for (const wrong of [{ secret: '00'.repeat(32) }, { volume: 'e'.repeat(32) }, { brick: 'f'.repeat(32) }]) {
    const { caller, brick, wire } = await shake(wrong);
    assert.ok(caller instanceof FsError, JSON.stringify(wrong));
    assert.equal(typeof brick, 'string');
    assert.ok(!wire.some((message) => message.kind === 'welcome'));
  }
});

test('a caller that cannot prove itself is told so and closed', async () => {
  const { caller, brick } = await shake({}, {}, (message) =>
    message.kind === 'prove' ? { ...message, proof: Buffer.alloc(32) } : message,
  );
  assert.ok(caller instanceof FsError && caller.errno === Errno.EACCES);
  assert.match(JSON.stringify(brick), /not proved/);
});

test('a proof does not fit another role, another caller, or the other direction', async () => {
  const changes: ((message: Message) => Message)[] = [
    (message) => (message.kind === 'hello' ? { ...message, role: 'brick' } : message),
    (message) => (message.kind === 'hello' ? { ...message, id: 'a'.repeat(32) } : message),
  ];
  for (const change of changes) {
    const { caller, brick } = await shake({}, {}, change);
    assert.ok(caller instanceof FsError);
    assert.equal(typeof brick, 'string');
  }
  let theirs: Uint8Array | undefined;
  const { brick } = await shake({}, {}, (message) => {
    if (message.kind === 'challenge') theirs = message.proof;
    return message.kind === 'prove' && theirs !== undefined ? { ...message, proof: theirs } : message;
  });
  assert.match(JSON.stringify(brick), /not proved/);
});

test('a caller that the volume does not admit is told why', async () => {
  const { caller } = await shake({}, { refuse: () => ({ errno: Errno.EACCES, reason: 'auth.allow' }) });
  assert.ok(caller instanceof FsError && caller.message.includes('auth.allow'));
});

test('silence ends on both sides after the time limit', async () => {
  const { caller, brick } = await shake({}, {}, (message) => (message.kind === 'challenge' ? undefined : message));
  assert.ok(caller instanceof LostError);
  assert.equal(typeof brick, 'string');
});

test('anything else before the handshake is over closes the connection', async () => {
  const { brick } = await shake({}, {}, (message) => (message.kind === 'prove' ? { kind: 'ping', id: 1 } : message));
  assert.match(JSON.stringify(brick), /sent ping during the handshake/);
});

test('who knows only what clients know cannot pass for a brick', async () => {
  const brickSecret = '77'.repeat(32);
  const secret = secretOfClients(brickSecret);
  const answer = { secret, brickSecret };
  assert.deepEqual((await shake({ secret }, answer)).brick, { role: 'client', id: SESSION });
  assert.deepEqual((await shake({ role: 'brick', secret: brickSecret }, answer)).brick, { role: 'brick', id: SESSION });
  for (const call of [{ role: 'brick', secret }, { role: 'client', secret: brickSecret }] as const) {
    const { caller, brick } = await shake(call, answer);
    assert.ok(caller instanceof FsError, `${call.role}: ${String(caller)}`);
    assert.equal(typeof brick, 'string');
  }
});
