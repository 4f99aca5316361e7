/** All faults, one entry each. */
import type { Fault } from './fault.js';
import { PROCESS_FAULTS } from './process-faults.js';

export const FAULTS: readonly Fault[] = [...PROCESS_FAULTS];
