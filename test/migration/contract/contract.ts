/** Every sentence, quick ones first. */
import type { Scenario } from '../scenario.js';
import { tryCheck, type Check } from './check.js';
import { LIBVIRT_CONTRACT } from './libvirt.js';
import { NOVA } from './nova.js';
import { QEMU } from './qemu.js';

export const CONTRACT: readonly Check[] = [...NOVA, ...QEMU, ...LIBVIRT_CONTRACT];

/** All of them as one line of the table. */
export const CONTRACT_SCENARIO: Scenario = {
  name: 'contract',
  what: 'what libvirt, QEMU and Nova expect of a shared file system, sentence by sentence',
  rounds: 1,
  run: async ({ stage, rounds, note }) => {
    const outcome = { migrations: [], guestErrors: [], verified: 0, bricks: '', violations: [] as string[], remark: '' };
    for (let round = 0; round < rounds; round++)
      for (const check of CONTRACT) {
        const begin = performance.now();
        try {
          await tryCheck(stage, check, (text) => note(`  ${text}`));
          outcome.verified++;
          note(`ok ${((performance.now() - begin) / 1000).toFixed(1)} s  ${check.sentence}`);
        } catch (error) {
          outcome.violations.push(`${check.sentence}: ${error instanceof Error ? error.message : String(error)}`);
          note(`FAIL ${check.sentence}`);
        }
      }
    outcome.remark = `contract: ${outcome.verified} of ${CONTRACT.length * rounds} sentences hold`;
    await stage.bed.cluster.waitUntilHealed();
    outcome.bricks = await stage.bed.brickDifferences();
    if (outcome.bricks !== '') outcome.violations.push(`the bricks differ: ${outcome.bricks}`);
    return outcome;
  },
};
