import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EMPTY_VIEW, type View } from '../../../src/fops/view.js';
import { majority, nextView, viewWithout, type ViewChange } from '../../../src/replica/view.js';

const BRICKS = ['a', 'b', 'c'];

function subsets(list: string[]): string[][] {
  return list.reduce<string[][]>((all, item) => [...all, ...all.map((set) => [...set, item])], [[]]);
}

/** Every view of three bricks that the invariants allow. */
function allViews(bricks: string[]): View[] {
  const views: View[] = [];
  for (const inSync of subsets(bricks).filter((set) => set.length >= majority(bricks.length))) {
    const rest = bricks.filter((brick) => !inSync.includes(brick));
    for (const catchingUp of subsets(rest)) for (const primary of inSync) views.push({ epoch: 7, primary, inSync, catchingUp });
  }
  return views;
}

function allChanges(bricks: string[]): ViewChange[] {
  const changes: ViewChange[] = [{ kind: 'form' }];
  for (const brick of [...bricks, 'stranger']) {
    changes.push({ kind: 'drop', brick }, { kind: 'catchUp', brick }, { kind: 'abandon', brick });
    changes.push({ kind: 'succeed', successor: brick }, { kind: 'handOver', successor: brick });
    for (const without of subsets(bricks)) changes.push({ kind: 'admit', brick, without });
  }
  return changes;
}

function checkInvariants(before: View, after: View, bricks: string[]): void {
  const label = `${JSON.stringify(before)} → ${JSON.stringify(after)}`;
  assert.equal(after.epoch, before.epoch + 1, label);
  assert.ok(after.inSync.length >= majority(bricks.length), `a majority stays in sync: ${label}`);
  assert.ok(after.inSync.some((brick) => before.inSync.includes(brick)), `a former member stays: ${label}`);
  assert.ok(after.inSync.includes(after.primary), `the primary is in sync: ${label}`);
  assert.ok(after.catchingUp.every((brick) => !after.inSync.includes(brick)), `the lists are apart: ${label}`);
  assert.ok([...after.inSync, ...after.catchingUp].every((brick) => bricks.includes(brick)), `no strangers: ${label}`);
  assert.equal(new Set(after.inSync).size, after.inSync.length, `no brick twice: ${label}`);
}

void describe('nextView', () => {
  for (const bricks of [['a'], ['a', 'b'], BRICKS, ['a', 'b', 'c', 'd', 'e']]) {
    void it(`keeps every invariant for each view and change of ${bricks.length} bricks`, () => {
      let allowed = 0;
      for (const view of allViews(bricks)) {
        for (const change of allChanges(bricks)) {
          const answer = nextView(view, bricks, change);
          if ('refused' in answer) continue;
          allowed++;
          checkInvariants(view, answer.view, bricks);
          // A brick enters inSync only as one that finished catching up.
          for (const brick of answer.view.inSync) assert.ok(view.inSync.includes(brick) || (change.kind === 'admit' && change.brick === brick && view.catchingUp.includes(brick)));
          // The primary changes only by a change that says so.
          if (answer.view.primary !== view.primary) assert.ok(change.kind === 'succeed' || change.kind === 'handOver');
        }
      }
      assert.ok(allowed > 0 || bricks.length === 1);
    });
  }

  void it('forms a set once, with all bricks in sync', () => {
    assert.deepEqual(nextView(EMPTY_VIEW, BRICKS, { kind: 'form' }), { view: { epoch: 1, primary: 'a', inSync: BRICKS, catchingUp: [] } });
    assert.ok('refused' in nextView({ epoch: 1, primary: 'a', inSync: BRICKS, catchingUp: [] }, BRICKS, { kind: 'form' }));
  });

  void it('never lets less than a majority acknowledge', () => {
    const two: View = { epoch: 3, primary: 'a', inSync: ['a', 'b'], catchingUp: [] };
    assert.ok('refused' in nextView(two, BRICKS, { kind: 'drop', brick: 'b' }));
    assert.deepEqual(nextView(two, BRICKS, { kind: 'succeed', successor: 'b' }), { view: { epoch: 4, primary: 'b', inSync: ['a', 'b'], catchingUp: [] } });
  });

  void it('replaces a dead member in the step that admits another', () => {
    const view: View = { epoch: 3, primary: 'a', inSync: ['a', 'b'], catchingUp: ['c'] };
    assert.deepEqual(nextView(view, BRICKS, { kind: 'admit', brick: 'c', without: ['b'] }), { view: { epoch: 4, primary: 'a', inSync: ['a', 'c'], catchingUp: [] } });
  });
});

void describe('viewWithout', () => {
  const [a, b, c] = ['a', 'b', 'c'].map((letter) => letter.repeat(32)) as [string, string, string];

  void it('takes a member out while a majority stays, with the next epoch', () => {
    const view = { epoch: 4, primary: a, inSync: [a, b, c], catchingUp: [] };
    assert.deepEqual(viewWithout(view, 3, c, b), { view: { epoch: 5, primary: a, inSync: [a, b], catchingUp: [] } });
    assert.ok('refused' in viewWithout({ ...view, inSync: [a, b] }, 3, b, a));
  });

  void it('gives the role of the primary to the successor, and needs one', () => {
    const view = { epoch: 4, primary: a, inSync: [a, b, c], catchingUp: [] };
    assert.deepEqual(viewWithout(view, 3, a, b), { view: { epoch: 5, primary: b, inSync: [b, c], catchingUp: [] } });
    assert.ok('refused' in viewWithout(view, 3, a, undefined));
  });

  void it('takes a brick out that is absent or catching up, whatever the others are', () => {
    const view = { epoch: 4, primary: a, inSync: [a, b], catchingUp: [c] };
    assert.deepEqual(viewWithout(view, 3, c, b), { view: { epoch: 5, primary: a, inSync: [a, b], catchingUp: [] } });
    assert.ok('view' in viewWithout({ ...view, catchingUp: [] }, 3, c, b));
  });

  void it('refuses while nobody is in sync', () => {
    assert.ok('refused' in viewWithout({ epoch: 0, primary: '', inSync: [], catchingUp: [] }, 3, a, undefined));
  });
});
