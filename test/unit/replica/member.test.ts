/** What a member tells its primary fits one message, however much it is; what an fsync that failed means for its copy. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Errno, FsError } from '../../../src/base/errno.js';
import type { Channel } from '../../../src/env/channel.js';
import { silentLog } from '../../../src/env/log.js';
import { Copy } from '../../../src/replica/copy.js';
import { Journal } from '../../../src/replica/journal.js';
import { fileKey, nameKey, type Key } from '../../../src/replica/keys.js';
import { Member } from '../../../src/replica/member.js';
import { Standing } from '../../../src/replica/standing.js';
import { decodeFrame, encodeFrame } from '../../../src/wire/codec.js';
import type { Message } from '../../../src/wire/messages.js';
import type { PeerArgs, PeerOpName, PeerResult } from '../../../src/wire/peer-ops.js';
import { MemoryJournalDisk, MemoryStore } from '../../sim/memory-store.js';
import { settle } from '../../support/manual-clock.js';

const DIRECTORY = 'd'.repeat(32);
const FILE = 'f'.repeat(32);
const OTHER = 'e'.repeat(32);
const PRIMARY = '1'.repeat(32);
const BRICK = '2'.repeat(32);
const VIEW = { epoch: 1, primary: PRIMARY, inSync: [PRIMARY, BRICK], catchingUp: [] };

function names(count: number): Key[] {
  return Array.from({ length: count }, (_, i) => nameKey(DIRECTORY, String(i).padEnd(255, '\xfc')));
}

/** A member, and its answers as they come over the wire. */
interface Asked {
  copy: Copy;
  store: MemoryStore;
  /** How often its host heard that its disk may lack something. */
  suspected: number;
  /** Why it closed the connection, '' while it is open. */
  closed: string;
  reconnect(): void;
  tell<K extends PeerOpName>(op: K, args: PeerArgs<K>): void;
  ask<K extends PeerOpName>(op: K, args: PeerArgs<K>, errno?: number): Promise<PeerResult<K>>;
}

function member(): Asked {
  const disk = new MemoryJournalDisk({ formatVersion: 1, volumeId: '', brickId: BRICK, checkpoint: 0, base: 0, sealedEpoch: 0, bootId: '', incomplete: false, unsettled: false });
  const store = new MemoryStore();
  const copy = new Copy(store, new Journal(disk), disk);
  const host = {
    brick: BRICK, view: () => VIEW, adoptView: () => undefined, standing: () => Standing.Continuous, giveBack: () => undefined, joined: () => undefined, settled: () => undefined,
    suspected: () => void asked.suspected++,
  };
  let answer: Message | undefined;
  const connect = (): Channel<Message> => {
    const send = (message: Message): void => void (answer = decodeFrame(encodeFrame(message)));
    const opened = { send, close: (reason: string) => void (asked.closed = opened === channel ? reason : '') } as unknown as Channel<Message>;
    served.attach(PRIMARY, opened);
    return opened;
  };
  const served = new Member(host, copy, silentLog);
  const asked: Asked = {
    copy,
    store,
    suspected: 0,
    closed: '',
    reconnect: () => (channel = connect()),
    tell: (op, args) => channel.onMessage({ kind: 'call', id: 1, epoch: 1, op, args } as Message),
    ask: async (op, args, expected = 0) => {
      answer = undefined;
      asked.tell(op, args);
      await settle();
      assert.ok(answer !== undefined);
      const { errno, result } = answer as { errno: number; result: unknown };
      assert.equal(errno, expected);
      return result as never;
    },
  };
  let channel = connect();
  return asked;
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

  void it('is suspect in all that changed once its disk could not write, until all of that was written anew', async () => {
    for (const op of ['fsync', 'checkpoint'] as const) {
      const asked = member();
      const { copy, store, ask } = asked;
      store.fsync = store.sync = () => Promise.reject(new FsError(Errno.EIO, op));
      store.dataRanges = () => [];
      await ask('seal', { view: VIEW });
      copy.journal.note([fileKey(OTHER)]);
      await (op === 'fsync' ? ask(op, { gfid: FILE, dataOnly: false }, Errno.EIO) : ask(op, { number: 2 }, Errno.EIO));
      assert.equal(asked.suspected, 1, 'its host knows');
      assert.deepEqual([OTHER, FILE, DIRECTORY].map((gfid) => copy.isSuspect(gfid)), [true, op === 'fsync', false]);
      const { digests } = await ask('digests', { gfid: OTHER, region: 0 });
      const { digests: fine } = await ask('fineDigests', { gfid: OTHER, region: 0, blocks: 1 });
      for (const digest of [digests, fine]) assert.ok(digest.byteLength > 0 && digest.every((byte) => byte === 0xff), 'equal to no bytes');
      await ask('resyncEnd', { checkpoint: 0, base: 0 }, Errno.EIO);
      assert.ok(copy.anySuspect);
      store.sync = () => Promise.resolve();
      await ask('resyncEnd', { checkpoint: 0, base: 0 }, Errno.EIO);
      assert.ok(copy.anySuspect, 'to this primary it says that what failed is good now only when it is sealed anew');
      asked.reconnect();
      await ask('seal', { view: VIEW });
      await ask('resyncEnd', { checkpoint: 0, base: 0 });
      assert.equal(copy.anySuspect, false);
    }
  });

  void it('has the next primary seal it anew when a sync for the one before fails late', async () => {
    const asked = member();
    let fail: () => void = () => undefined;
    await asked.ask('seal', { view: VIEW });
    asked.store.sync = () => new Promise((_, reject) => (fail = () => reject(new FsError(Errno.EIO, 'sync'))));
    asked.tell('checkpoint', { number: 2 });
    await settle();
    asked.reconnect();
    await asked.ask('seal', { view: VIEW });
    assert.equal(asked.closed, '');
    fail();
    await settle();
    assert.match(asked.closed, /the disk may lack/);
    assert.equal(asked.suspected, 1);
  });

  void it('is not suspect because an inode that it was to sync is gone', async () => {
    const asked = member();
    await asked.ask('seal', { view: VIEW });
    asked.copy.journal.note([fileKey(OTHER)]);
    await asked.ask('fsync', { gfid: FILE, dataOnly: false }, Errno.ESTALE);
    assert.deepEqual([asked.copy.anySuspect, asked.suspected], [false, 0]);
  });

  void it('does not forget a lock lease for one before it of which it hears late', async () => {
    const asked = member();
    await asked.ask('seal', { view: VIEW });
    asked.copy.lockLeases.set(FILE, { lease: 8, session: 'now' });
    await asked.ask('lockLeaseGiven', { gfid: FILE, lease: 7, session: 'before' });
    assert.deepEqual(asked.copy.lockLeases.get(FILE), { lease: 8, session: 'now' });
    await asked.ask('lockLeaseGiven', { gfid: FILE, lease: 9, session: 'next' });
    assert.deepEqual(asked.copy.lockLeases.get(FILE), { lease: 9, session: 'next' });
  });
});
