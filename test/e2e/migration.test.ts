/** Live migration, evacuation, and what libvirt, QEMU and Nova expect of the volume, in the short form: `npm run test:migration` has all of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runScenario } from '../migration/scenario.js';
import { SCENARIOS, SHORT_ROUNDS } from '../migration/scenarios.js';
import { Stage } from '../migration/stage.js';

const PING_TIMEOUT_S = 6;

test('guests move between the nodes and notice nothing of it', async (t) => {
  const stage = await Stage.start(PING_TIMEOUT_S);
  try {
    for (const [name, rounds] of SHORT_ROUNDS) {
      const scenario = SCENARIOS.find((candidate) => candidate.name === name);
      assert.ok(scenario !== undefined, name);
      await t.test(`${name}: ${scenario.what}`, async () => {
        const outcome = await runScenario(stage, scenario, { rounds, seed: 1, pingTimeoutS: PING_TIMEOUT_S, note: (text) => t.diagnostic(text) });
        assert.deepEqual(outcome.violations.slice(0, 20), []);
      });
    }
  } finally {
    await stage.close();
  }
});
