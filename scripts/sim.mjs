#!/usr/bin/env node
/** `npm run sim -- --seed N [--verbose] | --seeds COUNT [--start N] [--planted NAME]`: builds, then runs the simulator in virtual time. */
import { join } from 'node:path';
import { assertNode, build, ensureModules } from './lib/setup.mjs';
import { PROJECT_ROOT, run, script } from './lib/steps.mjs';

const RUN_MINUTES_MAX = 24 * 60;

await script(async () => {
  assertNode();
  await ensureModules();
  await build();
  const words = [process.execPath, '--enable-source-maps', join(PROJECT_ROOT, 'dist', 'test', 'sim', 'main.js'), ...process.argv.slice(2)];
  const { status } = await run(words, { show: true, timeoutMs: RUN_MINUTES_MAX * 60_000 });
  return status ?? 1;
});
