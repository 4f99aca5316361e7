import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { FileLocks, LOCK_NONE, LOCK_READ, LOCK_WRITE, type LockRequest } from '../../../src/replica/file-locks.js';
import { exclusiveLock, InodeLocks, Mode, rangeLock, readLock, type Lock, type Ticket } from '../../../src/replica/inode-locks.js';
import { LockWaiters } from '../../../src/replica/lock-waiters.js';

function conflicts(a: Lock, b: Lock): boolean {
  if (a.gfid !== b.gfid) return false;
  if (a.mode === Mode.Exclusive || b.mode === Mode.Exclusive) return true;
  if (a.mode !== Mode.Write && b.mode !== Mode.Write) return false;
  return a.mode === Mode.Read || b.mode === Mode.Read || (a.start < b.end && b.start < a.end);
}

const lock = fc
  .tuple(fc.constantFrom('x', 'y', 'z'), fc.constantFrom<'r' | 'd' | 'w' | 'x'>('r', 'd', 'w', 'x'), fc.nat(8), fc.integer({ min: 1, max: 4 }))
  .map(([gfid, mode, start, length]): Lock => {
    if (mode === 'r') return readLock(gfid);
    if (mode === 'x') return exclusiveLock(gfid);
    return rangeLock(gfid, mode === 'd' ? Mode.DataRead : Mode.Write, start, start + length);
  });

void describe('inode locks', () => {
  void it('never hold two that conflict, and let every request through in the end', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.uniqueArray(lock, { minLength: 1, maxLength: 3, selector: (l) => l.gfid }), fc.nat(5))), (requests) => {
        const table = new InodeLocks();
        const held: Ticket[] = [];
        let granted = 0;
        const hold = (ticket: Ticket): void => {
          granted++;
          for (const other of held) for (const a of other.locks) for (const b of ticket.locks) assert.ok(!conflicts(a, b), 'two held locks conflict');
          held.push(ticket);
        };
        for (const [locks, releases] of requests) {
          const ticket = table.acquire(locks, () => hold(ticket));
          if (ticket.granted) hold(ticket);
          for (let i = 0; i < releases && held.length > 0; i++) table.release(held.shift() as Ticket);
        }
        while (held.length > 0) table.release(held.shift() as Ticket);
        assert.equal(granted, requests.length);
        assert.equal(table.size, 0);
      }),
    );
  });

  void it('let a waiting writer go before a reader that came later', () => {
    const table = new InodeLocks();
    const order: string[] = [];
    const first = table.acquire([readLock('x')], () => undefined);
    const writer = table.acquire([exclusiveLock('x')], () => order.push('writer'));
    const reader = table.acquire([readLock('x')], () => order.push('reader'));
    table.release(first);
    assert.deepEqual(order, ['writer']);
    table.release(writer);
    assert.deepEqual(order, ['writer', 'reader']);
    table.release(reader);
  });
});

const BYTES = 24;

void describe('file locks', () => {
  void it('agree with a table that has one entry a byte', () => {
    const request = fc.record({ owner: fc.constantFrom('p', 'q', 'r'), type: fc.constantFrom(LOCK_READ, LOCK_WRITE, LOCK_NONE), a: fc.nat(BYTES - 1), b: fc.nat(BYTES - 1) });
    fc.assert(
      fc.property(fc.array(request, { maxLength: 60 }), (requests) => {
        const table = new FileLocks();
        const model = Array.from({ length: BYTES }, () => new Map<string, number>());
        for (const { owner, type, a, b } of requests) {
          const start = Math.min(a, b);
          const end = Math.max(a, b);
          const ask: LockRequest = { gfid: 'f', session: 's', owner, kind: 0, type, start, end, pid: 1 };
          const expected = model.slice(start, end + 1).some((byte) => [...byte].some(([who, held]) => who !== owner && type !== LOCK_NONE && (held === LOCK_WRITE || type === LOCK_WRITE)));
          assert.equal(table.conflict(ask) !== undefined, expected);
          if (expected) continue;
          table.set(ask);
          for (const byte of model.slice(start, end + 1)) {
            if (type === LOCK_NONE) byte.delete(owner);
            else byte.set(owner, type);
          }
        }
        assert.equal(table.count, table.export().length);
      }),
    );
  });

  void it('see a circle of waiting owners', () => {
    const table = new FileLocks();
    const waiters = new LockWaiters(table);
    const ask = (owner: string, start: number): LockRequest => ({ gfid: 'f', session: 's', owner, kind: 0, type: LOCK_WRITE, start, end: start, pid: 1 });
    table.set(ask('p', 0));
    table.set(ask('q', 1));
    assert.equal(waiters.examine(ask('p', 1)), 'conflict');
    waiters.add({ request: ask('p', 1), mutation: undefined });
    assert.equal(waiters.examine(ask('q', 0)), 'deadlock');
  });
});
