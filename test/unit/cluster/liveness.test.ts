/** Signs of life over a store whose leader dies: what was asked of it is never answered. */
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { Errno, LostError } from '../../../src/base/errno.js';
import { Liveness } from '../../../src/cluster/liveness.js';
import { MemoryCluster, MemoryStore } from '../../../src/cluster/memory-store.js';
import { encode, keys } from '../../../src/cluster/records.js';
import { ClusterState } from '../../../src/cluster/state.js';
import type { Compare, Write } from '../../../src/env/cluster-store.js';
import { silentLog } from '../../../src/env/log.js';
import { ManualClock, settle } from '../../support/manual-clock.js';

const TTL_MS = 6_500;
const COMMIT_MS = 8_000;

/** Commits hang while there is no leader, then until they time out. */
class LeaderlessStore extends MemoryStore {
  leaderless = false;
  sent = 0;

  constructor(
    cluster: MemoryCluster,
    private readonly clock: ManualClock,
  ) {
    super(cluster);
  }

  override commit(compares: Compare[], writes: Write[]): Promise<boolean> {
    this.sent++;
    if (!this.leaderless) return super.commit(compares, writes);
    return new Promise((_, reject) => this.clock.after(COMMIT_MS, () => reject(new LostError('no answer', Errno.ETIMEDOUT))));
  }
}

describe('signs of life', () => {
  let clock: ManualClock;
  let cluster: MemoryCluster;
  let store: LeaderlessStore;
  let liveness: Liveness;
  let first: number;

  const put = (key: string, value: object): void => void cluster.commit([], [{ key, value: encode(value as never) }]);

  beforeEach(async () => {
    clock = new ManualClock();
    cluster = new MemoryCluster();
    store = new LeaderlessStore(cluster, clock);
    first = 0;
    for (const id of 'ab') put(keys.peer(id), { id, hostname: id, otherNames: [], address: `${id}:1`, etcdClient: '', etcdPeer: '' });
    put(keys.node('b'), { incarnation: 'b', beat: 1, ttlMs: TTL_MS });
    const state = new ClusterState(silentLog);
    const firstWrites = (): Write[] => {
      first++;
      return [{ key: 'first', value: 'written' }];
    };
    liveness = new Liveness({ node: 'a', incarnation: 'x', state, store, clock, log: silentLog, ttlMs: () => TTL_MS, firstWrites });
    state.start(store, new AbortController().signal);
    await settle();
    liveness.start();
    put(keys.node('b'), { incarnation: 'b', beat: 2, ttlMs: TTL_MS });
    await settle();
  });

  it('go on under the next leader, and the dead node is found out in its time', async () => {
    await clock.advance(2_000);
    put(keys.node('b'), { incarnation: 'b', beat: 3, ttlMs: TTL_MS });
    await settle();
    const died = clock.now();
    store.leaderless = true;
    await clock.advance(4_000);
    store.leaderless = false;
    while (liveness.dead('b') === undefined) {
      await clock.advance(100);
      assert.ok(clock.now() - died < 10_000, 'longer than network.ping-timeout');
    }
    assert.ok(clock.now() - died >= TTL_MS);
    assert.ok(liveness.leaseUntil > clock.now(), 'its own bricks may go on');
  });

  it('call nobody dead while the store does not answer, nor right after', async () => {
    await clock.advance(2_000);
    store.leaderless = true;
    await clock.advance(15_000);
    assert.equal(liveness.dead('b'), undefined);
    store.leaderless = false;
    await clock.advance(1_500);
    assert.equal(liveness.dead('b'), undefined);
    await clock.advance(3_000);
    assert.notEqual(liveness.dead('b'), undefined);
  });

  it('a beat that is answered late does not take away what newer ones gave', async () => {
    await clock.advance(2_000);
    store.leaderless = true;
    await clock.advance(2_000);
    store.leaderless = false;
    await clock.advance(2_000);
    assert.ok(liveness.healthy);
    // The old ones time out now.
    await clock.advance(COMMIT_MS);
    assert.ok(liveness.healthy);
  });

  it('what the first beat must write is written by whichever is taken first', async () => {
    assert.equal(cluster.entries.get('first')?.value, 'written');
    assert.equal(first, 1);
    await clock.advance(5_000);
    assert.equal(first, 1);
  });

  it('not more beats than the store can time out are under way', async () => {
    await clock.advance(2_000);
    store.leaderless = true;
    const before = store.sent;
    await clock.advance(60_000);
    assert.ok(store.sent - before < 80, `${store.sent - before} beats in a minute`);
  });
});
