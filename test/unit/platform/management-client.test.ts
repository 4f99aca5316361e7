import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { Server, ServerCredentials, status, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { NoAnswerError, RefusedError } from '../../../src/cli/client.js';
import { GrpcManagementClient } from '../../../src/platform/management-client.js';
import { volumeHeal } from '../../../src/platform/management-messages.js';
import { serviceDefinition } from '../../../src/platform/proto.js';
import type { BrickRoleName, HealBrickMessage, HealProgressMessage } from '../../../src/wire/management.js';

async function socketPath(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'gluoncli'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return join(directory, 'gluond.sock');
}

/** A gluond with just these methods. */
async function served(
  t: TestContext,
  methods: UntypedServiceImplementation,
  timeoutMs = 20_000,
): Promise<GrpcManagementClient> {
  const path = await socketPath(t);
  const server = new Server();
  server.addService(serviceDefinition('management.proto', 'gluon.management.v1.Management'), methods);
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    ),
  );
  t.after(() => server.forceShutdown());
  return clientOf(t, path, timeoutMs);
}

function clientOf(t: TestContext, path: string, timeoutMs: number): GrpcManagementClient {
  const client = new GrpcManagementClient({ address: { path }, timeoutMs });
  t.after(() => client.close());
  return client;
}

const DONE = { opRet: 0, opErrno: 0, message: '' };

async function rejected<E extends Error>(promise: Promise<unknown>, kind: new (...args: never[]) => E): Promise<E> {
  const error = await promise.then(
    () => assert.fail('it was answered'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof kind, String(error));
  return error;
}

test('requests and answers pass through gRPC', async (t) => {
  const seen: unknown[] = [];
  const client = await served(t, {
    VolumeCreate: (call: { request: unknown }, done: (error: null, answer: object) => void) => {
      seen.push(call.request);
      done(null, { result: DONE, id: 'ab'.repeat(16), warnings: ['w'] });
    },
    VolumeInfo: (_call: unknown, done: (error: null, answer: object) => void) =>
      done(null, {
        result: DONE,
        volumes: [{ name: 'vms', state: 'STOPPED', replicaCount: 1, bricks: [{ host: 'h', path: '/b' }] }],
      }),
  });
  const created = await client.volumeCreate({
    name: 'vms',
    replicaCount: undefined,
    bricks: [{ host: 'h', path: '/b' }],
    force: true,
  });
  assert.deepEqual([created.id, created.warnings], ['ab'.repeat(16), ['w']]);
  assert.deepEqual(seen, [
    { name: 'vms', replicaCount: 0, bricks: [{ host: 'h', path: '/b' }], transport: '', force: true },
  ]);
  assert.deepEqual(await client.volumes(), [
    {
      id: '',
      name: 'vms',
      state: 'Stopped',
      replicaCount: 1,
      bricks: [{ id: '', host: 'h', path: '/b', node: '' }],
      options: [],
    },
  ]);
});

test('a refusal keeps its reason and errno', async (t) => {
  const client = await served(t, {
    VolumeStart: (_call: unknown, done: (error: null, answer: object) => void) =>
      done(null, { result: { opRet: -1, opErrno: 16, message: 'volume vms is started already' } }),
  });
  const error = await rejected(client.volumeStart('vms', false), RefusedError);
  assert.deepEqual([error.message, error.errno], ['volume vms is started already', 16]);
});

test('where no socket is, or nobody listens on it, the error comes at once and says how to start gluond', async (t) => {
  const path = await socketPath(t);
  const absent = await rejected(clientOf(t, path, 60_000).peers(), NoAnswerError);
  assert.match(
    absent.message,
    /^cannot reach gluond at \/.*\/gluond\.sock \(ENOENT\): start it with 'systemctl start gluond'/,
  );
  assert.equal(absent.errno, 107);
});

test('a gluond that accepts and never answers is left after the time given, and the error says what was waited for', async (t) => {
  const path = await socketPath(t);
  const sockets: Socket[] = [];
  const silent = createServer((socket) => sockets.push(socket.on('error', () => undefined))).listen(path);
  await new Promise((resolve) => silent.once('listening', resolve));
  t.after(() => {
    silent.close();
    for (const socket of sockets) socket.destroy();
  });
  const error = await rejected(clientOf(t, path, 300).volumeStop('vms', false), NoAnswerError);
  assert.match(
    error.message,
    /did not answer 'VolumeStop' within 0\.3 s \(--timeout\); what was asked for may have happened, or happen still/,
  );
  assert.equal(error.errno, 110);
});

test('a method that gluond does not know is told as a difference of versions', async (t) => {
  const client = await served(t, {});
  assert.match(
    (await rejected(client.systemStop(false), NoAnswerError)).message,
    /does not know 'SystemStop': it is of another version/,
  );
});

test('who may not ask is told so', async (t) => {
  const client = await served(t, {
    PeerList: (_call: unknown, done: (error: object) => void) =>
      done({ code: status.PERMISSION_DENIED, details: 'no certificate of this pool' }),
  });
  assert.match(
    (await rejected(client.peers(), RefusedError)).message,
    /does not allow 'PeerList' from here: no certificate of this pool/,
  );
});

function healing(
  role: BrickRoleName,
  connected: boolean,
  progress: Partial<HealProgressMessage> | null,
): HealBrickMessage {
  const none = { state: 'copying', keysLeft: 0, bytesLeft: 0, bytesDone: 0, secondsLeft: -1, paths: [] };
  const brick = { id: '', host: 'h', path: '/b', node: '' };
  return { brick, connected, role, progress: progress === null ? null : { ...none, ...progress }, detail: '' };
}

function counts(...bricks: HealBrickMessage[]): (number | undefined)[] {
  return volumeHeal({ result: DONE, name: 'vms', bricks }).bricks.map((brick) => brick.entryCount);
}

const WHOLE = [healing('PRIMARY', true, null), healing('IN_SYNC', true, null)];

test('what a brick lacks is listed at the bricks that have it', () => {
  const paths = [Buffer.from('b'), Buffer.from('/a\xff', 'latin1'), Buffer.from(`<gfid:${'d4'.repeat(16)}>`)];
  const heal = volumeHeal({
    result: DONE,
    name: 'vms',
    bricks: [...WHOLE, healing('CATCHING_UP', true, { keysLeft: 2, paths })],
  });
  assert.deepEqual(heal.bricks[0]?.entries, [
    { path: '/a\xff', gfid: '' },
    { path: '', gfid: 'd4'.repeat(16) },
    { path: '/b', gfid: '' },
  ]);
  assert.deepEqual(
    heal.bricks.map((brick) => brick.entryCount),
    [3, 3, 0],
  );
});

test('the number of entries is 0 only when every brick that answers is in sync', () => {
  assert.deepEqual(counts(...WHOLE, healing('IN_SYNC', true, null)), [0, 0, 0]);
  assert.deepEqual(counts(...WHOLE, healing('CATCHING_UP', true, { state: 'walking' })), [1, 1, 0]);
  assert.deepEqual(counts(...WHOLE, healing('CATCHING_UP', true, {})), [1, 1, 0]);
  assert.deepEqual(counts(...WHOLE, healing('ABSENT', false, { keysLeft: 4 })), [1, 1, undefined]);
  assert.deepEqual(counts(...WHOLE, healing('ABSENT', false, {})), [0, 0, undefined]);
  assert.deepEqual(counts(healing('UNKNOWN', false, null), healing('ABSENT', true, null)), [undefined, undefined]);
  const none = healing('IN_SYNC', true, {});
  assert.deepEqual(
    counts(healing('PRIMARY', false, {}), none, none),
    [undefined, undefined, undefined],
    'the primary is gone',
  );
});
