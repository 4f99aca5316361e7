import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SHORT } from '../support/size.js';
import { fuzz } from './run.js';

test('damaged, repeated and stale frames change nothing, end nothing and take no memory', async () => {
  const { figures, violations } = await fuzz(SHORT ? 24_000 : 1_000_000, 1, [], () => undefined);
  assert.deepEqual(violations, []);
  for (const { target, inputs, carriedOut } of figures) assert.ok(carriedOut > inputs / 1000, `${target}: of ${inputs} inputs only ${carriedOut} were carried out`);
});
