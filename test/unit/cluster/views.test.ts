import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { LostError } from '../../../src/base/errno.js';
import { Liveness } from '../../../src/cluster/liveness.js';
import { MemoryCluster, MemoryStore } from '../../../src/cluster/memory-store.js';
import { encode, keys, type VolumeRecord } from '../../../src/cluster/records.js';
import { ClusterState } from '../../../src/cluster/state.js';
import { canWait, dueChange, refusal, ViewKeeper, type BrickFact } from '../../../src/cluster/views.js';
import { silentLog } from '../../../src/env/log.js';
import { waitedFor } from '../../../src/cluster/reports.js';
import { EMPTY_VIEW, type View } from '../../../src/fops/view.js';
import type { ViewChange } from '../../../src/replica/view.js';
import { ManualClock, settle } from '../../support/manual-clock.js';

const view = (primary: string, inSync: string, catchingUp = ''): View => ({
  epoch: 5,
  primary,
  inSync: [...inSync],
  catchingUp: [...catchingUp],
});

describe('the change that is due', () => {
  /** Facts of a, b, c: l(ive), d(ead), u(nknown). */
  const table: [why: string, view: View, facts: string, due: ViewChange | undefined][] = [
    ['all bricks are there for the first time', EMPTY_VIEW, 'lll', { kind: 'form' }],
    ['one never came', EMPTY_VIEW, 'lld', undefined],
    ['nothing happened', view('a', 'abc'), 'lll', undefined],
    ['the primary died', view('a', 'abc'), 'dll', { kind: 'succeed', successor: 'b' }],
    ['the lowest live member follows', view('a', 'abc'), 'dul', { kind: 'succeed', successor: 'c' }],
    ['nobody can follow', view('a', 'ab'), 'ddl', undefined],
    ['a member died', view('a', 'abc'), 'lld', { kind: 'drop', brick: 'c' }],
    ['a member of the last majority died: it stays listed', view('a', 'ab'), 'ldl', undefined],
    ['a brick that caught up died', view('a', 'ab', 'c'), 'lld', { kind: 'abandon', brick: 'c' }],
    ['whether it died is not known', view('a', 'abc'), 'ulu', undefined],
    ['the primary and one more died at once', view('a', 'abc'), 'ddl', { kind: 'succeed', successor: 'c' }],
    ['all died', view('a', 'abc'), 'ddd', { kind: 'drop', brick: 'b' }],
  ];
  for (const [why, before, facts, due] of table) {
    it(`${why}: ${due === undefined ? 'none' : due.kind}`, () => {
      const names: Record<string, BrickFact> = { l: 'live', d: 'dead', u: 'unknown' };
      const fact = (brick: string): BrickFact => names[facts['abc'.indexOf(brick)] as string] as BrickFact;
      assert.deepEqual(dueChange(before, ['a', 'b', 'c'], fact), due);
    });
  }
});

describe('a change that brings no service back at once', () => {
  const table: [why: string, view: View, facts: string, change: ViewChange, waits: boolean][] = [
    ['the primary of three died', view('a', 'abc'), 'dll', { kind: 'succeed', successor: 'b' }, false],
    ['two of three died, the primary among them', view('a', 'abc'), 'ddl', { kind: 'succeed', successor: 'c' }, true],
    ['a member died', view('a', 'abc'), 'ldl', { kind: 'drop', brick: 'b' }, false],
    ['two members died', view('a', 'abc'), 'ldd', { kind: 'drop', brick: 'b' }, true],
    ['a brick that caught up died', view('a', 'ab', 'c'), 'ldd', { kind: 'abandon', brick: 'c' }, false],
  ];
  for (const [why, before, facts, change, waits] of table) {
    it(`${why}: ${waits ? 'waits' : 'is made'}`, () => {
      const fact = (brick: string): BrickFact => (facts['abc'.indexOf(brick)] === 'l' ? 'live' : 'dead');
      assert.equal(canWait(before, ['a', 'b', 'c'], change, fact), waits);
    });
  }
});

describe('who may ask for a change', () => {
  const v = view('a', 'ab', 'c');
  const table: [ViewChange, allowed: string][] = [
    [{ kind: 'form' }, ''],
    [{ kind: 'drop', brick: 'b' }, 'ab'],
    [{ kind: 'abandon', brick: 'c' }, 'ac'],
    [{ kind: 'catchUp', brick: 'c' }, 'c'],
    [{ kind: 'succeed', successor: 'b' }, 'a'],
    [{ kind: 'handOver', successor: 'b' }, 'a'],
    [{ kind: 'admit', brick: 'c', without: [] }, 'a'],
  ];
  for (const [change, allowed] of table) {
    for (const brick of 'abc')
      it(`${brick} and ${change.kind}`, () =>
        assert.equal(refusal(v, change, brick) === undefined, allowed.includes(brick)));
  }
});

/** Three nodes a, b, c with one brick each, over one store in memory; this is node a's keeper. */
describe('keeper of the views', () => {
  let cluster: MemoryCluster;
  let store: MemoryStore;
  let clock: ManualClock;
  let state: ClusterState;
  let liveness: Liveness;
  let keeper: ViewKeeper;
  let fences: string[];
  let fenceWorks: boolean;
  let beats = 0;

  const put = (key: string, value: object): void => void cluster.commit([], [{ key, value: encode(value as never) }]);
  const beat = (...nodes: string[]): void =>
    nodes.forEach((node) => put(keys.node(node), { incarnation: node, beat: ++beats, ttlMs: 5_000 }));
  const brick = (id: string, what: 'up' | 'down'): void =>
    put(keys.brick(id), { node: id, volume: 'v', state: what, pid: 1, port: 1, reason: '' });
  const now = (): View => JSON.parse(cluster.entries.get(keys.view('v'))?.value ?? 'null') as View;

  beforeEach(async () => {
    cluster = new MemoryCluster();
    store = new MemoryStore(cluster);
    clock = new ManualClock();
    state = new ClusterState(silentLog);
    fences = [];
    fenceWorks = true;
    for (const id of 'abc')
      put(keys.peer(id), { id, hostname: id, otherNames: [], address: `${id}:1`, etcdClient: '', etcdPeer: '' });
    const volume: VolumeRecord = {
      id: 'v',
      name: 'vol',
      secret: '',
      state: 'started',
      replicaCount: 3,
      bricks: [...'abc'].map((id) => ({ id, node: id, host: id, path: '/' })),
      options: {},
      preparing: '',
    };
    put(keys.volume('vol'), volume);
    const common = { node: 'a', state, store, clock, log: silentLog };
    liveness = new Liveness({ ...common, incarnation: 'x', ttlMs: () => 5_000, views: () => [], firstWrites: () => [] });
    keeper = new ViewKeeper({
      ...common,
      liveness,
      fence: (node, id, epoch) => {
        fences.push(`${node}/${id}@${epoch}`);
        return fenceWorks ? Promise.resolve() : Promise.reject(new LostError('no answer'));
      },
    });
    state.start(store, new AbortController().signal);
    await settle();
    beat('b', 'c');
    await settle();
    liveness.start();
    keeper.start();
    beat('b', 'c');
    for (const id of 'abc') brick(id, 'up');
    await clock.advance(300);
  });

  it('takes nobody for alive whose record may be older than this gluond', async () => {
    const fresh = new Liveness({
      node: 'a',
      state,
      store,
      clock,
      log: silentLog,
      incarnation: 'y',
      ttlMs: () => 5_000,
      views: () => [],
      firstWrites: () => [],
    });
    fresh.start();
    await clock.advance(100);
    assert.equal(fresh.confirmed('b'), false);
    assert.equal(fresh.alive('b'), true);
    beat('b');
    await settle();
    assert.equal(fresh.confirmed('b'), true);
    fresh.stop();
  });

  it('forms the set when all bricks are up', () => {
    assert.deepEqual(now(), { epoch: 1, primary: 'a', inSync: ['a', 'b', 'c'], catchingUp: [] });
  });

  it('replaces a primary whose process ended, without waiting', async () => {
    brick('a', 'down');
    await clock.advance(1);
    assert.deepEqual(now(), { epoch: 2, primary: 'b', inSync: ['b', 'c'], catchingUp: [] });
  });

  it('after a power cut of all, gives the bricks that return late their place', async () => {
    for (const id of 'abc') brick(id, 'down');
    await clock.advance(300);
    brick('b', 'up');
    await clock.advance(1_000);
    brick('a', 'up');
    await clock.advance(300);
    assert.equal(now().epoch, 2);
    assert.deepEqual(now().inSync, ['a', 'b']);
  });

  it('after a power cut of all, does not wait for ever', async () => {
    for (const id of 'abc') brick(id, 'down');
    await clock.advance(300);
    brick('b', 'up');
    for (let i = 0; i < 6; i++) {
      beat('b', 'c');
      await clock.advance(1_000);
    }
    assert.equal(now().primary, 'b');
  });

  it('drops the brick of a node that is silent for longer than its lease, not before', async () => {
    await clock.advance(2_000);
    beat('b', 'c');
    for (let i = 0; i < 4; i++) {
      await clock.advance(1_200);
      beat('b');
    }
    assert.equal(now().epoch, 1);
    await clock.advance(700);
    assert.deepEqual(now(), { epoch: 2, primary: 'a', inSync: ['a', 'b'], catchingUp: [] });
  });

  it('calls nobody dead while the store does not answer, nor right after it answers again', async () => {
    store.reachable = false;
    await clock.advance(20_000);
    store.reachable = true;
    await clock.advance(1_000);
    beat('b', 'c');
    await clock.advance(3_000);
    assert.equal(now().epoch, 1);
  });

  it('grants no lease beyond the time that others wait', async () => {
    await clock.advance(1_000);
    const sent = clock.now();
    assert.ok(liveness.leaseUntil < sent + 5_000 && liveness.leaseUntil > sent);
    store.reachable = false;
    await clock.advance(6_000);
    assert.ok(liveness.leaseUntil < clock.now());
  });

  it('takes the lease of a living brick away before the primary may go on without it', async () => {
    const after = await keeper.change('v', 1, { kind: 'drop', brick: 'c' }, 'a');
    assert.deepEqual(fences, ['c/c@1']);
    assert.deepEqual(after.inSync, ['a', 'b']);
  });

  it('needs no fence for a brick that asks itself, or whose process is gone', async () => {
    brick('c', 'down');
    await settle();
    await keeper.change('v', now().epoch, { kind: 'drop', brick: 'c' }, 'a');
    await keeper.change('v', now().epoch, { kind: 'catchUp', brick: 'c' }, 'c');
    assert.deepEqual(fences, []);
  });

  it('does not go on without a brick that was gone and is back before the view is changed', async () => {
    // It would drop the brick by itself.
    keeper.stop();
    brick('c', 'down');
    await settle();
    let comesBack = true;
    const plain = store.commit.bind(store);
    store.commit = async (compares, writes) => {
      if (comesBack) brick('c', 'up');
      comesBack = false;
      return plain(compares, writes);
    };
    const changing = keeper.change('v', 1, { kind: 'drop', brick: 'c' }, 'a');
    await clock.advance(1_000);
    assert.deepEqual((await changing).inSync, ['a', 'b']);
    assert.deepEqual(fences, ['c/c@1']);
  });

  it('does not change the view when the fence fails', async () => {
    fenceWorks = false;
    const asked = keeper.change('v', 1, { kind: 'drop', brick: 'c' }, 'a').then(
      () => 'done',
      (error: unknown) => (error instanceof LostError ? 'lost' : 'other'),
    );
    for (let i = 0; i < 14; i++) {
      beat('b', 'c');
      await clock.advance(1_000);
    }
    assert.equal(await asked, 'lost');
    assert.equal(now().epoch, 1);
  });

  it('answers with the view in force when the epoch is old or the change is not allowed', async () => {
    assert.equal((await keeper.change('v', 0, { kind: 'drop', brick: 'c' }, 'a')).epoch, 1);
    assert.equal((await keeper.change('v', 1, { kind: 'drop', brick: 'a' }, 'b')).epoch, 1);
    assert.equal((await keeper.change('v', 1, { kind: 'admit', brick: 'c', without: [] }, 'a')).epoch, 1);
  });

  it('of many that ask at once, one changes the view', async () => {
    const answers = await Promise.all([
      keeper.change('v', 1, { kind: 'drop', brick: 'b' }, 'a'),
      keeper.change('v', 1, { kind: 'drop', brick: 'c' }, 'a'),
      keeper.change('v', 1, { kind: 'handOver', successor: 'b' }, 'a'),
    ]);
    assert.equal(now().epoch, 2);
    for (const answer of answers) assert.deepEqual(answer, now());
  });

  it('is changed by nobody while the volume is stopped', async () => {
    const volume = state.volume('vol')!.value;
    put(keys.volume('vol'), { ...volume, state: 'stopped' });
    for (const id of 'abc') brick(id, 'down');
    await clock.advance(1_000);
    assert.equal(now().epoch, 1);
  });
});

void it('a volume waits for the bricks in sync that are away when fewer than a majority are there', () => {
  const view: View = { epoch: 4, primary: 'a', inSync: ['a', 'b'], catchingUp: ['c'] };
  const away = (...bricks: string[]): string[] => [...waitedFor(view, 3, (brick) => !bricks.includes(brick))];
  assert.deepEqual(away(), []);
  assert.deepEqual(away('c'), []);
  assert.deepEqual(away('b'), ['b']);
  assert.deepEqual(away('a', 'b'), ['a', 'b']);
  assert.deepEqual([...waitedFor({ ...view, inSync: ['a', 'b', 'c'], catchingUp: [] }, 3, (brick) => brick !== 'c')], [], 'one of three is dropped');
});
