import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BrickServer } from '../../../src/brick/server.js';
import { silentLog } from '../../../src/env/log.js';
import type { Channel } from '../../../src/env/channel.js';
import type { Replica } from '../../../src/replica/replica.js';
import { callHandshake } from '../../../src/wire/handshake.js';
import type { Message } from '../../../src/wire/messages.js';
import { World } from '../../sim/world.js';
import { clockOf, MemoryChannel, MemoryNetwork } from '../../support/memory-network.js';

const BRICK = 'b'.repeat(32);
const VOLUME = 'd'.repeat(32);
const SECRET = '5e'.repeat(32);
const VIEW = { epoch: 1, primary: BRICK, inSync: [BRICK], catchingUp: [] };
const ADDRESS = { host: 'h', port: 1 };

interface Attached {
  role: string;
  id: string;
  channel: MemoryChannel;
}

async function serve(admits = true) {
  const world = new World(5);
  const env = { clock: clockOf(world), random: world.random };
  const network = new MemoryNetwork(world);
  const attached: Attached[] = [];
  const attach = (role: string) => (id: string, channel: Channel<Message>) => {
    channel.onMessage = () => undefined;
    attached.push({ role, id, channel: channel as MemoryChannel });
  };
  const replica = { attachClient: attach('client'), attachPeer: attach('brick') } as unknown as Replica;
  const server = new BrickServer({
    ...env,
    brick: BRICK,
    bricks: () => [BRICK, 'a'.repeat(32)],
    volume: VOLUME,
    secret: SECRET,
    log: silentLog,
    view: () => VIEW,
    replica: () => replica,
    admits: () => admits,
  });
  await network.listen(ADDRESS, (channel) => server.accept(channel));
  const dial = async (role: 'client' | 'brick', id: string): Promise<MemoryChannel | Error> => {
    let outcome: MemoryChannel | Error | undefined;
    void network.connect(ADDRESS, 100).then((channel) => {
      const options = { role, id, volume: VOLUME, secret: SECRET, brick: BRICK };
      callHandshake(
        env,
        channel,
        options,
        () => (outcome = channel as MemoryChannel),
        (error) => (outcome = error),
      );
    });
    await world.run(() => outcome !== undefined, world.now + 10_000);
    return outcome as MemoryChannel | Error;
  };
  return { world, server, attached, dial };
}

test('a channel goes to the replica by its role', async () => {
  const { attached, dial } = await serve();
  await dial('client', '1'.repeat(32));
  await dial('brick', 'a'.repeat(32));
  assert.deepEqual(
    attached.map(({ role, id }) => [role, id[0]]),
    [
      ['client', '1'],
      ['brick', 'a'],
    ],
  );
});

test('bricks of other volumes and addresses that are not admitted are refused', async () => {
  const { attached, dial } = await serve(false);
  assert.match(String(await dial('brick', 'c'.repeat(32))), /not a brick of this volume/);
  assert.match(String(await dial('client', '1'.repeat(32))), /auth\.allow/);
  assert.deepEqual(attached, []);
});

test('a client that does not wait for answers is closed at its share of memory, one that does is not', async () => {
  const { world, attached, dial } = await serve();
  const data = Buffer.alloc(1 << 20);
  const args = { gfid: BRICK, offset: 0, append: false, sync: false, killPriv: false, data };
  const write = (id: number): Message => ({
    kind: 'request',
    id,
    epoch: 1,
    requestNumber: id,
    acknowledged: 0,
    op: 'write',
    args,
  });
  const good = (await dial('client', '1'.repeat(32))) as MemoryChannel;
  const served = attached[0]?.channel as MemoryChannel;
  for (let id = 1; id <= 600; id++) {
    good.send(write(id));
    if (id % 100 === 0) await world.run(() => false, world.now + 1);
    if (id % 100 === 0)
      for (let n = id - 99; n <= id; n++)
        served.send({ kind: 'reply', id: n, errno: 0, lease: false, op: 'write', result: { offset: 0 } });
  }
  assert.equal(good.closed, false);
  const greedy = (await dial('client', '2'.repeat(32))) as MemoryChannel;
  for (let id = 1; id <= 300; id++) greedy.send(write(id));
  await world.run(() => greedy.closed, world.now + 10);
  assert.equal(greedy.closed, true);
});

test('the same id under many numbers does not hide what is under way; the same number asked again counts once', async () => {
  const { world, dial } = await serve();
  const data = Buffer.alloc(1 << 20);
  const args = { gfid: BRICK, offset: 0, append: false, sync: false, killPriv: false, data };
  const write = (id: number, requestNumber: number): Message => ({ kind: 'request', id, epoch: 1, requestNumber, acknowledged: 0, op: 'write', args });
  const sly = (await dial('client', '1'.repeat(32))) as MemoryChannel;
  for (let number = 1; number <= 300; number++) sly.send(write(1, number));
  await world.run(() => sly.closed, world.now + 10);
  assert.equal(sly.closed, true);
  const patient = (await dial('client', '2'.repeat(32))) as MemoryChannel;
  for (let n = 1; n <= 300; n++) patient.send(write(1, 1));
  await world.run(() => patient.closed, world.now + 10);
  assert.equal(patient.closed, false);
  const names = (await dial('client', '3'.repeat(32))) as MemoryChannel;
  const value = Buffer.alloc(65_536);
  for (let n = 1; n <= 4_200; n++) names.send({ kind: 'request', id: n, epoch: 1, requestNumber: n, acknowledged: 0, op: 'setxattr', args: { gfid: BRICK, name: 'user.x', value, flags: 0 } });
  await world.run(() => names.closed, world.now + 10);
  assert.equal(names.closed, true, 'values of xattrs count too');
});

test('strangers that prove nothing give way to those who can', async () => {
  const { world, server, dial } = await serve();
  const idle = Array.from({ length: 1_000 }, () => {
    const channel = new MemoryChannel('stranger', world);
    channel.other = new MemoryChannel('stranger', world);
    channel.other.other = channel;
    server.accept(channel);
    return channel;
  });
  assert.equal(idle.filter((channel) => !channel.closed).length, 256);
  assert.equal(idle.at(-1)?.closed, false, 'the oldest go');
  assert.ok((await dial('client', '1'.repeat(32))) instanceof MemoryChannel);
  await world.run(() => false, world.now + 6_000);
  assert.equal(idle.filter((channel) => !channel.closed).length, 0, 'the time for a handshake is over');
});

test('one address cannot take all connections of a brick', async () => {
  const { dial } = await serve();
  let last: MemoryChannel | Error | undefined;
  for (let n = 0; n < 257; n++) last = await dial('client', n.toString(16).padStart(32, '0'));
  assert.match(String(last), /256 clients of this address/);
  assert.ok((await dial('brick', 'a'.repeat(32))) instanceof MemoryChannel, 'sibling bricks are let in');
});
