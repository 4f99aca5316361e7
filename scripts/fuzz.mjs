#!/usr/bin/env node
/** `npm run fuzz -- [--inputs N] [--seed S] [--only TARGET,…]`: builds, then throws damaged frames at every end of every protocol. */
import { runBuilt } from './lib/setup.mjs';
import { script } from './lib/steps.mjs';

await script(() => runBuilt('test', 'fuzz', 'main.js'));
