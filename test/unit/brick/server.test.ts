import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BrickServer } from '../../../src/brick/server.js';
import { silentLog } from '../../../src/env/log.js';
import type { Channel } from '../../../src/env/channel.js';
import type { Replica } from '../../../src/replica/replica.js';
import { callHandshake } from '../../../src/wire/handshake.js';
import type { Message } from '../../../src/wire/messages.js';
import { World } from '../../sim/world.js';
import { clockOf, MemoryNetwork, type MemoryChannel } from '../../support/memory-network.js';

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
    bricks: [BRICK, 'a'.repeat(32)],
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
