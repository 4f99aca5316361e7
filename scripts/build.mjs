#!/usr/bin/env node
/** `npm run build`: installs npm dependencies when they are missing, then compiles into dist/. */
import { assertNode, build, ensureModules } from './lib/setup.mjs';
import { script } from './lib/steps.mjs';

await script(async () => {
  assertNode();
  await ensureModules();
  await build();
});
