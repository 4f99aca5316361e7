import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PLANTED_BUGS, SEEDS_MAX } from './planted-bugs.js';
import { plantedWords, runPlanted, withPlant } from './plant.js';

void describe('the simulator catches', { concurrency: 2 }, () => {
  for (const bug of PLANTED_BUGS) {
    void it(`a bug: ${bug.name}`, async () => {
      const { status, output } = await runPlanted(bug, plantedWords(bug));
      assert.equal(status, 1, `not caught in ${SEEDS_MAX} seeds from ${bug.from}: see planted-bugs.ts\n${output}`);
      assert.doesNotMatch(output, /ReferenceError|SyntaxError|TypeError/, 'what was planted is no program');
      assert.match(output, /^failing seeds: \d|^ +not ok /m, output);
    });
  }
});

void describe('a plant', () => {
  void it('whose anchor is gone or not alone says where to look', () => {
    assert.equal(withPlant('a b c', 'x.js', 'n', 'b', '$&'), 'a $& c');
    assert.throws(() => withPlant('a c', 'x.js', 'n', 'b', 'd'), /occurs 0 times in the compiled src\/x\.js/);
    assert.throws(() => withPlant('b b', 'x.js', 'n', 'b', 'd'), /occurs 2 times/);
  });
});
