/** Syncs of one descriptor at the same time. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Errno } from '../../../src/base/errno.js';
import { OverlappingSyncs } from '../../../src/brick/store/overlapping-syncs.js';
import { settle } from '../../support/manual-clock.js';

const FD = 7;

/** Syncs that end when the test says so. */
function begin(syncs: OverlappingSyncs, fd = FD): { end(result: number): void; outcome(): number | undefined } {
  let end: (result: number) => void = () => undefined;
  let outcome: number | undefined;
  void syncs.run(fd, (done) => (end = done)).then((result) => (outcome = result));
  return { end: (result) => end(result), outcome: () => outcome };
}

void describe('syncs at the same time', () => {
  void it('are all told of an error that one of them hears of, in whichever order they end', async () => {
    for (const order of ['the one that hears of it first', 'the other first']) {
      const syncs = new OverlappingSyncs();
      const [hears, other] = [begin(syncs), begin(syncs)];
      if (order === 'the other first') {
        other.end(0);
        await settle();
        assert.equal(other.outcome(), undefined, 'it waits for the one that began before it ended');
        hears.end(-Errno.EIO);
      } else {
        hears.end(-Errno.EIO);
        await settle();
        assert.equal(hears.outcome(), -Errno.EIO);
        other.end(0);
      }
      await settle();
      assert.deepEqual([hears.outcome(), other.outcome()], [-Errno.EIO, -Errno.EIO], order);
    }
  });

  void it('of other descriptors, and before and after, are not concerned', async () => {
    const syncs = new OverlappingSyncs();
    const [hears, elsewhere] = [begin(syncs), begin(syncs, FD + 1)];
    hears.end(-Errno.EIO);
    elsewhere.end(0);
    await settle();
    const after = begin(syncs);
    after.end(0);
    await settle();
    assert.deepEqual([hears.outcome(), elsewhere.outcome(), after.outcome()], [-Errno.EIO, 0, 0]);
  });
});
