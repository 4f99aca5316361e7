#!/usr/bin/env node
/** `npm run fuzz -- [--inputs N] [--seed S] [--only TARGET,…]`: builds, then throws damaged frames at every end of every protocol. */
import { join } from 'node:path';
import { assertNode, build, ensureModules } from './lib/setup.mjs';
import { PROJECT_ROOT, run, script } from './lib/steps.mjs';

const RUN_MINUTES_MAX = 24 * 60;

await script(async () => {
  assertNode();
  await ensureModules();
  await build();
  const words = [process.execPath, '--enable-source-maps', join(PROJECT_ROOT, 'dist', 'test', 'fuzz', 'main.js'), ...process.argv.slice(2)];
  const { status } = await run(words, { show: true, timeoutMs: RUN_MINUTES_MAX * 60_000 });
  return status ?? 1;
});
