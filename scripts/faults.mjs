#!/usr/bin/env node
/** `npm run test:faults [-- OPTIONS]`: builds, then injects real faults (see test/faults/main.ts for the options). */
import { scratchRun } from './lib/scratch-run.mjs';

await scratchRun('gluonfaults', 'test', 'faults', 'main.js');
