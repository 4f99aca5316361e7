/** Which lock lease is given with which lock. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Args } from '../../../src/fops/ops.js';
import type { Channel } from '../../../src/env/channel.js';
import { FileLocks } from '../../../src/replica/file-locks.js';
import { InodeLocks } from '../../../src/replica/inode-locks.js';
import { LeaseNumbers } from '../../../src/replica/lease-numbers.js';
import { LockLeases } from '../../../src/replica/lock-leases.js';
import type { Primary } from '../../../src/replica/primary.js';
import { Session } from '../../../src/replica/sessions.js';
import type { Message, MessageOf } from '../../../src/wire/messages.js';
import { ManualClock } from '../../support/manual-clock.js';

const GFID = 'ab'.repeat(16);

/** A primary in which nothing stands in the way of a lease, and what one client hears. */
function setUp() {
  const leases = new Map<string, { lease: number; session: string }>();
  const over: number[] = [];
  const lockLeaseOver = (gfid: string, lease: number): void => {
    over.push(lease);
    if (leases.get(gfid)?.lease === lease) leases.delete(gfid);
  };
  const options = { lockLeases: true };
  const primary = {
    serving: true, gate: { closed: false }, leases: { eligible: () => true }, lockRequests: { anybodyWaits: () => false }, clients: { isSilent: () => false, mayClaim: false },
    locks: new InodeLocks(), followers: { everywhere: () => Promise.resolve(true) },
    host: { clock: new ManualClock(), lockLeases: () => options.lockLeases, copy: { sessions: { has: () => true }, fileLocks: new FileLocks(), lockLeases: leases, lockLeaseOver } },
  } as unknown as Primary;
  const session = new Session('s');
  const given: number[] = [];
  session.channel = { send: (message: Message) => given.push((message as MessageOf<'lockLease'>).lease) } as unknown as Channel<Message>;
  const lockLeases = new LockLeases(primary, new LeaseNumbers());
  /** As the copy does when the lock is set. */
  const set = (): number => {
    const lease = lockLeases.announce(session, GFID) as number;
    leases.set(GFID, { lease, session: session.id });
    return lease;
  };
  return { lockLeases, session, given, over, options, leases, set };
}

void describe('a lock lease', () => {
  void it('is given with the lock that the bricks were told of it with, and no other', () => {
    const { lockLeases, session, given, set } = setUp();
    const first = set();
    const second = set();
    lockLeases.answered(session, GFID, first);
    assert.deepEqual(given, []);
    lockLeases.answered(session, GFID, second);
    assert.deepEqual(given, [second]);
  });

  void it('is given with no lock when the one that it was announced with could not be set; nor is the one before it', () => {
    const { lockLeases, session, given, over, leases, set } = setUp();
    const first = set();
    const failed = lockLeases.announce(session, GFID) as number;
    lockLeases.withdraw({ gfid: GFID, leased: failed } as Args<'setLock'>);
    lockLeases.answered(session, GFID, first);
    lockLeases.answered(session, GFID, failed);
    assert.deepEqual([given, over, leases.size], [[], [first], 0]);
    const next = set();
    lockLeases.answered(session, GFID, next);
    assert.deepEqual(given, [next]);
  });

  void it('is not given when the volume was told meanwhile to have none', () => {
    const { lockLeases, session, given, over, options, set } = setUp();
    const lease = set();
    options.lockLeases = false;
    lockLeases.answered(session, GFID, lease);
    assert.deepEqual([given, over], [[], [lease]]);
  });
});
