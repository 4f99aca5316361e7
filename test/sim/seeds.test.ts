import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { describe, it } from 'node:test';
import { amount } from '../support/size.js';
import { runRange } from './seed-range.js';

/** Seeds that found a bug with this generator. One that the generator has changed since is a seed like any other: bugs have scenarios in directed.test.ts. */
const KEPT_SEEDS = [20, 1336, 6_009_770, 8_001_450, 9_002_218, 9_004_827, 11_001_852, 13_006_944, 14_000_169, 22_002_617, 22_002_917, 22_004_362, 23_001_512, 26_002_206, 26_002_880, 27_002_255, 28_008_345];
const RANGE_START = 1;
const RANGE_COUNT = amount(200, 2000);

async function run(start: number, count: number): Promise<{ faults: number; operations: number }> {
  const { failed, faults, operations } = await runRange({ start, count, threads: availableParallelism(), failuresMax: 1 });
  assert.deepEqual(failed.map(({ seed, violations }) => `seed ${seed}: ${violations.join('\n')}`), []);
  return { operations, faults: Object.values(faults).reduce((sum, times) => sum + times, 0) };
}

void describe('simulated replica sets', () => {
  void it('go the same way when a seed is run again', async () => {
    const digests: number[] = [];
    const options = { start: 77, count: 2, threads: 1, onOutcome: ({ digest }: { digest: number }) => void digests.push(digest) };
    await runRange(options);
    await runRange({ ...options, threads: 2 });
    assert.equal(digests.length, 4);
    assert.deepEqual(digests.slice(2).toSorted(), digests.slice(0, 2).toSorted());
    assert.notEqual(digests[0], digests[1]);
  });

  void it('keep every promise for the seeds that once broke one', async () => {
    for (const seed of KEPT_SEEDS) await run(seed, 1);
  });

  void it(`keep every promise for ${RANGE_COUNT} seeds`, async () => {
    const { faults, operations } = await run(RANGE_START, RANGE_COUNT);
    assert.ok(faults > RANGE_COUNT && operations > 20 * RANGE_COUNT, 'the runs had faults and operations');
  });
});
