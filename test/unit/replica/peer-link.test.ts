import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OWN_PAYLOAD_BYTES, type Channel } from '../../../src/env/channel.js';
import { PeerLink } from '../../../src/replica/peer-link.js';
import type { Message } from '../../../src/wire/messages.js';
import { clockOf, MemoryNetwork } from '../../support/memory-network.js';
import { World } from '../../sim/world.js';

const GFID = '1'.repeat(32);

void describe('a link to another brick', () => {
  for (const length of [4096, OWN_PAYLOAD_BYTES]) {
    void it(`answers with ${length} bytes that stay what they are when the next message is received`, async () => {
      const world = new World(1);
      const network = new MemoryNetwork(world);
      const { address } = await network.listen({ host: 'member', port: 0 }, (channel: Channel<Message>) => {
        channel.onMessage = (message) => {
          assert.equal(message.kind, 'call');
          channel.send({ kind: 'answer', id: (message as { id: number }).id, errno: 0, op: 'blocks', result: { blocks: new Uint8Array(1), data: new Uint8Array(length).fill(7) } } as Message);
        };
      });
      const dialled = network.connect(address, 1000);
      await world.run(() => false, world.now + 10);
      const link = new PeerLink('member', await dialled, clockOf(world));
      let data: Uint8Array = new Uint8Array();
      const asked = link.call(1, 'blocks', { gfid: GFID, offset: 0, length }, 1000).then((answer) => (data = answer.data));
      await world.run(() => false, world.now + 10);
      await asked;
      assert.equal(Buffer.compare(data, Buffer.alloc(length, 7)), 0);
    });
  }
});
