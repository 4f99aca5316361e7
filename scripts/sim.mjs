#!/usr/bin/env node
/** `npm run sim -- --seed N [--verbose] | --seeds COUNT [--start N] [--planted NAME]`: builds, then runs the simulator in virtual time. */
import { runBuilt } from './lib/setup.mjs';
import { script } from './lib/steps.mjs';

await script(() => runBuilt('test', 'sim', 'main.js'));
