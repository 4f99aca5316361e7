/** Every target with its share of the inputs. */
import { ClientAttack } from './brick-clients.js';
import { SiblingAttack } from './brick-siblings.js';
import { DaemonAttack } from './daemons.js';
import { FalseBrickAttack } from './false-bricks.js';
import { record, type Recording } from './recording.js';
import { StrangerAttack } from './strangers.js';
import type { Figures, Watch } from './watch.js';

interface Attack {
  readonly watch: Watch;
  run(inputs: number): Promise<Figures>;
}

interface Target {
  name: string;
  /** Of all inputs. */
  share: number;
  begin(recording: Recording, seed: number): Attack | Promise<Attack>;
}

export const TARGETS: Target[] = [
  { name: 'clients', share: 0.3, begin: (recording, seed) => ClientAttack.oneBrick(recording, seed) },
  { name: 'set', share: 0.03, begin: (recording, seed) => ClientAttack.threeBricks(recording, seed) },
  { name: 'siblings', share: 0.22, begin: (recording, seed) => new SiblingAttack(recording, seed) },
  { name: 'strangers', share: 0.15, begin: (recording, seed) => new StrangerAttack(recording, seed) },
  { name: 'daemons', share: 0.02, begin: (recording, seed) => new DaemonAttack(recording, seed) },
  { name: 'false-bricks', share: 0.3, begin: (recording, seed) => new FalseBrickAttack(recording, seed) },
];

export interface Outcome {
  figures: Figures[];
  violations: string[];
}

/** Throws about `inputs` inputs, at those targets that `only` names (all when it names none). */
export async function fuzz(inputs: number, seed: number, only: readonly string[], told: (figures: Figures) => void): Promise<Outcome> {
  const { recording } = await record();
  const targets = TARGETS.filter(({ name }) => only.length === 0 || only.includes(name));
  const shares = targets.reduce((sum, { share }) => sum + share, 0);
  const outcome: Outcome = { figures: [], violations: [] };
  for (const { share, begin } of targets) {
    const attack = await begin(recording, seed);
    const figures = await attack.run(Math.max(1, Math.round((inputs * share) / shares)));
    outcome.figures.push(figures);
    outcome.violations.push(...attack.watch.violations);
    told(figures);
  }
  return outcome;
}
