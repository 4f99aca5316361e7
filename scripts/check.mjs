#!/usr/bin/env node
/** `npm run check`: types, lint, layers and style, all of them even when one fails, at the same time. */
import { join } from 'node:path';
import { assertNode, ensureModules } from './lib/setup.mjs';
import { PROJECT_ROOT, run, script } from './lib/steps.mjs';

const inModules = (...words) => [process.execPath, join(PROJECT_ROOT, 'node_modules', ...words)];
const inScripts = (name) => [process.execPath, join(PROJECT_ROOT, 'scripts', name)];

const CHECKS = {
  types: [...inModules('typescript', 'bin', 'tsc'), '-p', 'tsconfig.json', '--noEmit'],
  lint: [...inModules('oxlint', 'bin', 'oxlint'), '--type-aware', '--deny-warnings', 'src', 'test', 'scripts'],
  layers: inScripts('layers.mjs'),
  style: inScripts('style.mjs'),
};

await script(async () => {
  assertNode();
  await ensureModules();
  const results = await Promise.all(Object.entries(CHECKS).map(async ([name, words]) => [name, await run(words, { timeoutMs: 120_000 })]));
  for (const [name, { status, stdout, stderr }] of results) {
    process.stdout.write(`${status === 0 ? 'ok  ' : 'FAIL'} ${name}\n`);
    const text = `${stdout}${stderr}`.trim();
    if (status !== 0 || name === 'layers' || name === 'style') process.stdout.write(`${text.replace(/^/gm, '     ')}\n`);
  }
  return results.every(([, { status }]) => status === 0) ? 0 : 1;
});
