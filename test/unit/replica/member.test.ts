/** What a member tells its primary fits one message, however much it is. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Channel } from '../../../src/env/channel.js';
import { silentLog } from '../../../src/env/log.js';
import { Copy } from '../../../src/replica/copy.js';
import { Journal } from '../../../src/replica/journal.js';
import { nameKey, type Key } from '../../../src/replica/keys.js';
import { Member } from '../../../src/replica/member.js';
import { Standing } from '../../../src/replica/standing.js';
import { decodeFrame, encodeFrame } from '../../../src/wire/codec.js';
import type { Message } from '../../../src/wire/messages.js';
import type { PeerArgs, PeerOpName, PeerResult } from '../../../src/wire/peer-ops.js';
import { MemoryJournalDisk, MemoryStore } from '../../sim/memory-store.js';
import { settle } from '../../support/manual-clock.js';

const DIRECTORY = 'd'.repeat(32);
const PRIMARY = '1'.repeat(32);
const BRICK = '2'.repeat(32);
const VIEW = { epoch: 1, primary: PRIMARY, inSync: [PRIMARY, BRICK], catchingUp: [] };

function names(count: number): Key[] {
  return Array.from({ length: count }, (_, i) => nameKey(DIRECTORY, String(i).padEnd(255, '\xfc')));
}

/** A member, and its answers as they come over the wire. */
function member(): { copy: Copy; ask<K extends PeerOpName>(op: K, args: PeerArgs<K>): Promise<PeerResult<K>> } {
  const disk = new MemoryJournalDisk({ formatVersion: 1, volumeId: '', brickId: BRICK, checkpoint: 0, base: 0, sealedEpoch: 0, bootId: '', incomplete: false, unsettled: false });
  const copy = new Copy(new MemoryStore(), new Journal(disk), disk);
  const host = {
    brick: BRICK, view: () => VIEW, adoptView: () => undefined, standing: () => Standing.Continuous, giveBack: () => undefined, joined: () => undefined, settled: () => undefined,
  };
  let answer: Message | undefined;
  const channel = { send: (message: Message) => (answer = decodeFrame(encodeFrame(message))) } as unknown as Channel<Message>;
  new Member(host, copy, silentLog).attach(PRIMARY, channel);
  return {
    copy,
    ask: async (op, args) => {
      answer = undefined;
      channel.onMessage({ kind: 'call', id: 1, epoch: 1, op, args } as Message);
      await settle();
      assert.ok(answer !== undefined);
      const { errno, result } = answer as { errno: number; result: unknown };
      assert.equal(errno, 0);
      return result as never;
    },
  };
}

void describe('a member', () => {
  void it('tells its journal in parts, each of which fits one message', async () => {
    const { copy, ask } = member();
    const keys = names(12_000);
    copy.journal.note(keys);
    await ask('seal', { view: VIEW });
    const told: Key[] = [];
    let from = 0;
    do {
      const page = await ask('journalKeys', { from });
      told.push(...page.keys);
      from = page.next;
    } while (from !== 0);
    assert.deepEqual(told, keys);
  });

  void it('does not stand as one that differs in what it tells alone, when more is in doubt than one message tells', async () => {
    const { copy, ask } = member();
    copy.noteDoubt(1, names(4_000));
    const few = await ask('seal', { view: VIEW });
    assert.deepEqual([few.standing, few.doubt.length], [Standing.Continuous, 4_000]);
    copy.noteDoubt(2, names(12_000));
    const many = await ask('seal', { view: VIEW });
    assert.equal(many.standing, Standing.Intact);
    assert.ok(many.doubt.length >= 4_000 && many.doubt.length < 12_000);
  });
});
