/** Signs of life over a store whose leader dies, or that is heard and hears nothing: what was asked is never answered. */
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { Errno, LostError } from '../../../src/base/errno.js';
import { Liveness } from '../../../src/cluster/liveness.js';
import { MemoryCluster, MemoryStore } from '../../../src/cluster/memory-store.js';
import { encode, keys } from '../../../src/cluster/records.js';
import { ClusterState } from '../../../src/cluster/state.js';
import type { Compare, Entry, Write } from '../../../src/env/cluster-store.js';
import { silentLog } from '../../../src/env/log.js';
import { ManualClock, settle } from '../../support/manual-clock.js';

const TTL_MS = 6_500;
const COMMIT_MS = 8_000;

/** Commits hang while there is no leader, then until they time out. */
class LeaderlessStore extends MemoryStore {
  leaderless = false;
  /** Commits are done and nobody is told. */
  deaf = false;
  sent = 0;

  constructor(
    cluster: MemoryCluster,
    private readonly clock: ManualClock,
  ) {
    super(cluster);
  }

  override commit(compares: Compare[], writes: Write[]): Promise<boolean> {
    this.sent++;
    if (this.deaf) void super.commit(compares, writes);
    return this.#answer(() => super.commit(compares, writes));
  }

  override get(key: string): Promise<Entry | undefined> {
    return this.#answer(() => super.get(key));
  }

  #answer<T>(ask: () => Promise<T>): Promise<T> {
    if (!this.leaderless && !this.deaf) return ask();
    return new Promise((_, reject) => this.clock.after(COMMIT_MS, () => reject(new LostError('no answer', Errno.ETIMEDOUT))));
  }
}

describe('signs of life', () => {
  let clock: ManualClock;
  let cluster: MemoryCluster;
  let store: LeaderlessStore;
  let liveness: Liveness;
  let first: number;
  let ttlMs: number;
  let views: Compare[];

  const put = (key: string, value: object): void => void cluster.commit([], [{ key, value: encode(value as never) }]);

  beforeEach(async () => {
    clock = new ManualClock();
    cluster = new MemoryCluster();
    store = new LeaderlessStore(cluster, clock);
    first = 0;
    ttlMs = TTL_MS;
    views = [];
    for (const id of 'ab') put(keys.peer(id), { id, hostname: id, otherNames: [], address: `${id}:1`, etcdClient: '', etcdPeer: '' });
    put(keys.node('b'), { incarnation: 'b', beat: 1, ttlMs: TTL_MS });
    const state = new ClusterState(silentLog);
    const firstWrites = (): Write[] => {
      first++;
      return [{ key: 'first', value: 'written' }];
    };
    liveness = new Liveness({ node: 'a', incarnation: 'x', state, store, clock, log: silentLog, ttlMs: () => ttlMs, views: () => views, firstWrites });
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

  it('of a node that is heard and hears nothing end with the first that nobody answers, and go on with the next answer', async () => {
    await clock.advance(2_000);
    const before = liveness.leaseUntil;
    const sent = store.sent;
    store.deaf = true;
    await clock.advance(30_000);
    assert.equal(store.sent - sent, 1);
    assert.equal(liveness.leaseUntil, before);
    store.deaf = false;
    while (liveness.leaseUntil === before) await clock.advance(10);
    assert.ok(liveness.leaseUntil > clock.now() + TTL_MS * 0.9);
  });

  it('give no time by a view that has changed', async () => {
    await clock.advance(2_000);
    put(keys.view('v'), { epoch: 2 });
    const before = liveness.leaseUntil;
    views = [{ key: keys.view('v'), revision: 1 }];
    await clock.advance(4_000);
    assert.equal(liveness.leaseUntil, before);
    views = [{ key: keys.view('v'), revision: cluster.entries.get(keys.view('v'))?.revision ?? 0 }];
    await clock.advance(2_000);
    assert.ok(liveness.leaseUntil > clock.now() + 1_000);
  });

  it('promise a shorter time only when what was sent for the longer one is over', async () => {
    const said = (): number => (JSON.parse(cluster.entries.get(keys.node('a'))?.value ?? '{}') as { ttlMs: number }).ttlMs;
    await clock.advance(2_000);
    const longUntil = liveness.leaseUntil;
    ttlMs = 2_000;
    while (said() !== ttlMs) await clock.advance(100);
    assert.ok(clock.now() >= longUntil, `the others may call it dead in ${ttlMs} ms, and its bricks serve for another ${longUntil - clock.now()} ms`);
    assert.ok(liveness.leaseUntil <= clock.now() + ttlMs);
    ttlMs = 4_000;
    await clock.advance(1_000);
    assert.equal(said(), ttlMs);
  });

  it('not more beats than the store can time out are under way', async () => {
    await clock.advance(2_000);
    store.leaderless = true;
    const before = store.sent;
    await clock.advance(60_000);
    assert.ok(store.sent - before < 80, `${store.sent - before} beats in a minute`);
  });
});
