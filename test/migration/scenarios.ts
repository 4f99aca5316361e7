/** All scenarios, in the order in which they run. */
import { CONTROL, HEALTHY, IDLE } from './healthy.js';
import type { Scenario } from './scenario.js';

export const SCENARIOS: readonly Scenario[] = [CONTROL, ...HEALTHY, IDLE];

/** Scenarios of the short form, and their rounds there. */
export const SHORT_ROUNDS: ReadonlyMap<string, number> = new Map([
  ['qcow2-none-native', 3],
]);
