import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
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

/** A view and which bricks have every write that was acknowledged. */
interface State {
  view: View;
  whole: ReadonlySet<string>;
}

function nameOf({ view, whole }: State): string {
  const { primary, inSync, catchingUp } = view;
  return JSON.stringify([primary, inSync.toSorted(), catchingUp.toSorted(), [...whole].toSorted()]);
}

/** What a change does to the copies: a brick is admitted when the primary made it equal. */
function afterChange(state: State, view: View, change: ViewChange): State {
  const whole = new Set(state.whole);
  if (change.kind === 'admit' && whole.has(state.view.primary)) whole.add(change.brick);
  return { view, whole };
}

/** Every state that changes and acknowledged writes lead to from the first view, with the views that came before it on some way. */
function reachable(bricks: string[], visit: (state: State, next: State | undefined) => void): number {
  const first = nextView(EMPTY_VIEW, bricks, { kind: 'form' });
  assert.ok('view' in first);
  const queue: State[] = [{ view: first.view, whole: new Set(bricks) }];
  const seen = new Set(queue.map(nameOf));
  for (let i = 0; i < queue.length; i++) {
    const state = queue[i] as State;
    // A write is acknowledged by all in sync; nobody else has it.
    const followers: State[] = [{ view: state.view, whole: new Set(state.view.inSync) }];
    for (const change of allChanges(bricks)) {
      const answer = nextView(state.view, bricks, change);
      if ('view' in answer) followers.push(afterChange(state, answer.view, change));
    }
    for (const next of followers) {
      visit(state, next);
      if (seen.has(nameOf(next))) continue;
      seen.add(nameOf(next));
      queue.push(next);
    }
  }
  return queue.length;
}

void describe('nextView', () => {
  for (const bricks of [['a'], ['a', 'b'], BRICKS, ['a', 'b', 'c', 'd']]) {
    void it(`of ${bricks.length} bricks: whatever changes and writes come in whatever order, every brick in sync has every acknowledged write`, () => {
      const states = reachable(bricks, ({ view, whole }, next) => {
        for (const brick of view.inSync) assert.ok(whole.has(brick), `${brick} is in sync and lacks a write: ${JSON.stringify(view)}`);
        if (next === undefined) return;
        // An old primary needs the acknowledgement of a brick that obeys the new view, or obeys it itself.
        assert.ok(next.view.inSync.some((brick) => view.inSync.includes(brick)));
      });
      assert.ok(states >= bricks.length);
    });
  }

  void it('of 5 bricks: the same, along random ways', () => {
    const bricks = ['a', 'b', 'c', 'd', 'e'];
    const changes = allChanges(bricks);
    const first = nextView(EMPTY_VIEW, bricks, { kind: 'form' });
    assert.ok('view' in first);
    const start: State = { view: first.view, whole: new Set(bricks) };
    fc.assert(
      fc.property(fc.array(fc.nat({ max: changes.length }), { maxLength: 60 }), (way) => {
        let state = start;
        for (const step of way) {
          if (step === changes.length) state = { view: state.view, whole: new Set(state.view.inSync) };
          else {
            const change = changes[step] as ViewChange;
            const answer = nextView(state.view, bricks, change);
            if ('refused' in answer) continue;
            checkInvariants(state.view, answer.view, bricks);
            state = afterChange(state, answer.view, change);
          }
          for (const brick of state.view.inSync) assert.ok(state.whole.has(brick), `${brick} lacks a write: ${JSON.stringify(state.view)}`);
        }
      }),
      { numRuns: 2000 },
    );
  });

  void it('any two views of one set have a brick in sync in common: who missed views meets one that knows better', () => {
    for (const bricks of [BRICKS, ['a', 'b', 'c', 'd', 'e']]) {
      const sets = subsets(bricks).filter((set) => set.length >= majority(bricks.length));
      for (const one of sets) for (const other of sets) assert.ok(one.some((brick) => other.includes(brick)));
    }
  });

  // Who leaves inSync, by change; everybody else stays.
  void it('nobody leaves inSync but by a change that names it, and a dead member that cannot be dropped stays listed', () => {
    for (const view of allViews(BRICKS)) {
      for (const change of allChanges(BRICKS)) {
        const answer = nextView(view, BRICKS, change);
        if ('refused' in answer) continue;
        const left = view.inSync.filter((brick) => !answer.view.inSync.includes(brick));
        const may = change.kind === 'drop' ? [change.brick] : change.kind === 'succeed' ? [view.primary] : change.kind === 'admit' ? change.without : [];
        assert.ok(left.every((brick) => may.includes(brick)), JSON.stringify({ view, change, left }));
        if (change.kind === 'succeed') assert.equal(left.length, view.inSync.length - 1 >= majority(BRICKS.length) ? 1 : 0);
      }
    }
  });
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
