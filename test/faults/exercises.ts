/** Everything that the runner can do: each fault under load, and the alternating pairs. */
import type { Bed } from './bed.js';
import type { Dice } from './fault.js';
import { FAULTS } from './fault-table.js';
import { Pairs } from './pairs.js';
import { runRound, type RoundOptions, type RoundResult } from './round.js';

export interface Exercise {
  name: string;
  what: string;
  /** Part of the short form. */
  short: boolean;
  /** `directory` is a new name below the mounts. */
  round(bed: Bed, directory: string, dice: Dice, options: RoundOptions): Promise<RoundResult>;
}

const PAIRS: Exercise = {
  name: 'alternating-pairs',
  what: 'A and B take a change, then A and C, then B and C: never a stale read, never a lost change, a stale copy waits',
  short: false,
  round: async (bed, directory, _dice, { note }) => {
    const begin = performance.now();
    const pairs = new Pairs(bed, directory, note);
    const wrong = await pairs.run();
    const violations = wrong.map((text) => `wrong: ${text}`);
    return { acknowledged: pairs.changes, stallMs: 0, boundMs: 0, lost: [], wrong, healS: (performance.now() - begin) / 1000, violations };
  },
};

export const EXERCISES: readonly Exercise[] = [
  ...FAULTS.map(
    (fault): Exercise => ({
      name: fault.name,
      what: fault.what,
      short: fault.short,
      round: (bed, directory, dice, options) => runRound(bed, fault, directory, dice, options),
    }),
  ),
  PAIRS,
];
