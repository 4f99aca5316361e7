import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SpareSpace, type SpaceVerdict } from '../../../src/replica/space.js';

const MIB = 1 << 20;

async function known(...mib: number[]): Promise<SpareSpace> {
  const space = new SpareSpace(() => Promise.resolve(mib.map((each, i) => ({ brick: String.fromCharCode(97 + i), bytes: each * MIB }))));
  await space.refresh();
  return space;
}

void describe('the spare space of a set of three', () => {
  const cases: [spares: number[], verdict: SpaceVerdict, claim: string][] = [
    [[100, 100, 100], 'enough', 'is enough when every brick has it'],
    [[0, 100, 100], { leave: ['a'] }, 'is enough without the one brick that has none'],
    [[0.5, 100, 100], { leave: ['a'] }, 'is enough without the one brick that has less than is needed'],
    [[0, 0, 100], 'full', 'is not enough when two have none'],
    [[0, 0, 0], 'full', 'is not enough when nobody has any'],
    [[0, 10, 100], 'full', 'is not enough when one has none and another is about to be full too'],
    [[100, 0], 'full', 'is not enough when one of the last two has none'],
    [[1, 1, 1], 'enough', 'is enough to the last byte'],
  ];
  for (const [spares, verdict, claim] of cases) {
    void it(`${claim}: ${spares.join(', ')} MiB`, async () => assert.deepEqual((await known(...spares)).verdict(MIB, 2), verdict));
  }

  void it('is told as what a majority has', async () => {
    assert.equal((await known(0, 70, 50)).bytes(2), 50 * MIB);
    assert.equal((await known(70, 20)).bytes(2), 20 * MIB);
    assert.equal(new SpareSpace(() => Promise.resolve([])).bytes(2), Infinity);
  });

  void it('is ample while no brick is about to be full', async () => {
    assert.ok((await known(70, 100, 100)).ample);
    assert.ok(!(await known(60, 100, 100)).ample);
    assert.ok(!new SpareSpace(() => Promise.resolve([])).ample);
  });

  void it('is spent by what is taken from it', async () => {
    const space = await known(20, 20, 20);
    assert.ok(space.take(MIB));
    assert.equal(space.bytes(2), 19 * MIB);
    assert.equal(space.verdict(19.5 * MIB, 2), 'full');
  });

  void it('asks of a brick that returns nearly as much as the others have, and no more than it needs for a while', async () => {
    assert.equal((await known(1000, 1000)).toJoin, 32 * MIB);
    assert.equal((await known(40, 1000)).toJoin, 24 * MIB);
    assert.equal((await known(0, 1000)).toJoin, 0);
  });

  void it('names the brick with most space for the role of a full primary', async () => {
    const space = await known(0, 50, 60);
    assert.equal(space.roomiest(['b', 'c']), 'c');
    assert.equal(space.roomiest([]), undefined);
  });
});
