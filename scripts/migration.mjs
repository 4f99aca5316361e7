#!/usr/bin/env node
/** `npm run test:migration [-- OPTIONS]`: builds, then live-migrates guests (see test/migration/main.ts for the options). */
import { scratchRun } from './lib/scratch-run.mjs';

await scratchRun('gluonmig', 'test', 'migration', 'main.js');
