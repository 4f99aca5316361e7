/** All scenarios, in the order in which they run. */
import { CONTRACT_SCENARIO } from './contract/contract.js';
import { DEGRADED } from './degraded.js';
import { CONTROL, HEALTHY, IDLE } from './healthy.js';
import { LIBVIRT } from './libvirt-scenarios.js';
import type { Scenario } from './scenario.js';

export const SCENARIOS: readonly Scenario[] = [CONTROL, ...HEALTHY, ...LIBVIRT, IDLE, ...DEGRADED, CONTRACT_SCENARIO];

/** Scenarios of the short form, and their rounds there. */
export const SHORT_ROUNDS: ReadonlyMap<string, number> = new Map([
  ['libvirt-qcow2-none', 2],
  ['evacuated', 1],
  ['contract', 1],
]);
