import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LeaseNumbers } from '../../../src/replica/lease-numbers.js';
import { ManualClock } from '../../support/manual-clock.js';

test('a process gives leases other numbers than the one before it, though both count from their start', async () => {
  const clock = new ManualClock();
  const numbers = (): number[] => {
    const source = new LeaseNumbers();
    return Array.from({ length: 1000 }, () => source.next(clock));
  };
  const before = numbers();
  await clock.advance(1000);
  const after = numbers();
  assert.equal(new Set([...before, ...after]).size, 2000);
  assert.ok(Math.min(...after) > Math.max(...before));
});
