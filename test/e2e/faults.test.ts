/** Real faults in their short form: `npm run test:faults` has all of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Bed } from '../faults/bed.js';
import { diceOf } from '../faults/dice.js';
import { FAULTS } from '../faults/fault-table.js';
import { runRound, settle } from '../faults/round.js';

const PING_TIMEOUT_S = 6;
const SETTLE_MS = 120_000;
/** One of each kind; the rest of the short set is `npm run test:faults -- --short`. */
const NAMES = ['kill-primary-brick', 'kill-mount-worker'];

test('programs on the mounts notice no more of a fault than a pause', async (t) => {
  const bed = await Bed.start({ 'network.ping-timeout': String(PING_TIMEOUT_S) });
  try {
    for (const [index, name] of NAMES.entries()) {
      const fault = FAULTS.find((candidate) => candidate.name === name);
      assert.ok(fault !== undefined, name);
      await t.test(`${name}: ${fault.what}`, async () => {
        await settle(bed, SETTLE_MS);
        const note = (text: string): void => t.diagnostic(text);
        const result = await runRound(bed, fault, `round-${index}`, diceOf(index + 1), { pingTimeoutMs: PING_TIMEOUT_S * 1000, short: true, seed: index + 1, note });
        assert.equal(result.violations.length, 0, `${result.violations.slice(0, 20).join('\n')}\n${bed.cluster.logTails()}`);
      });
    }
  } finally {
    await bed.close();
  }
});
