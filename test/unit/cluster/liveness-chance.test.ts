/** One node's signs of life, another that acts on its silence, and everything between them late, lost or in another order: by chance, from seeds. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Errno, LostError } from '../../../src/base/errno.js';
import { Liveness } from '../../../src/cluster/liveness.js';
import { MemoryCluster, MemoryStore } from '../../../src/cluster/memory-store.js';
import { encode, keys } from '../../../src/cluster/records.js';
import { ClusterState } from '../../../src/cluster/state.js';
import type { Compare, Entry, WatchEvent, Write } from '../../../src/env/cluster-store.js';
import { silentLog } from '../../../src/env/log.js';
import { diceOf } from '../../faults/dice.js';
import type { Dice } from '../../faults/fault.js';
import { ManualClock, settle } from '../../support/manual-clock.js';

const SEEDS = 12;
const RUN_MS = 90_000;
const STEP_MS = 100;
const TTLS_MS = [2_000, 4_000, 6_500];
const COMMIT_MS = 8_000;

interface Weather {
  lostShare: number;
  delayMs: number;
}

/** A node's way to the store and back. */
class RoughStore extends MemoryStore {
  out: Weather = { lostShare: 0, delayMs: 5 };
  back: Weather = { lostShare: 0, delayMs: 5 };
  #toldUntil = 0;

  constructor(
    private readonly shared: MemoryCluster,
    private readonly clock: ManualClock,
    private readonly dice: Dice,
  ) {
    super(shared);
  }

  override commit(compares: Compare[], writes: Write[]): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.clock.after(COMMIT_MS, () => reject(new LostError('no answer', Errno.ETIMEDOUT)));
      this.#pass(this.out, () => {
        const done = this.shared.commit(compares, writes);
        this.#pass(this.back, () => resolve(done));
      });
    });
  }

  override get(key: string): Promise<Entry | undefined> {
    return new Promise((resolve, reject) => {
      this.clock.after(COMMIT_MS, () => reject(new LostError('no answer', Errno.ETIMEDOUT)));
      this.#pass(this.out, () => {
        const entry = this.shared.entries.get(key);
        this.#pass(this.back, () => resolve(entry));
      });
    });
  }

  /** Late, and in order. */
  override watch(prefix: string, callback: (event: WatchEvent) => void, signal: AbortSignal): void {
    const late = (event: WatchEvent): void => {
      this.#toldUntil = Math.max(this.#toldUntil, this.clock.now() + this.dice.next() * this.back.delayMs);
      this.clock.after(this.#toldUntil - this.clock.now(), () => callback(event));
    };
    super.watch(prefix, late, signal);
  }

  #pass({ lostShare, delayMs }: Weather, then: () => void): void {
    if (this.dice.next() >= lostShare) this.clock.after(this.dice.next() * delayMs, then);
  }
}

function weatherOf(dice: Dice): Weather {
  const lostShare = dice.pick([0, 0, 0.3, 1]);
  return { lostShare, delayMs: dice.pick([5, 5, 300, 3_000, 9_000]) };
}

/** How often the node was acted against. */
async function run(seed: number): Promise<number> {
  const dice = diceOf(seed);
  const clock = new ManualClock();
  const cluster = new MemoryCluster();
  const put = (key: string, value: object): void => void cluster.commit([], [{ key, value: encode(value as never) }]);
  for (const id of 'ab') put(keys.peer(id), { id, hostname: id, otherNames: [], address: `${id}:1`, etcdClient: '', etcdPeer: '' });
  const volume = { id: 'v', name: 'v', bricks: [{ id: 'a', node: 'a' }], preparing: '' };
  put(keys.volume('v'), volume);
  put(keys.view('v'), { epoch: 1 });
  let ttlMs = TTLS_MS.at(-1) ?? 0;
  const start = async (node: string): Promise<{ store: RoughStore; state: ClusterState; liveness: Liveness }> => {
    const store = new RoughStore(cluster, clock, dice);
    const state = new ClusterState(silentLog);
    const liveness = new Liveness({ node, incarnation: node, state, store, clock, log: silentLog, ttlMs: () => ttlMs, views: () => state.viewsOn(node), firstWrites: () => [] });
    state.start(store, new AbortController().signal);
    await clock.advance(10);
    liveness.start();
    return { store, state, liveness };
  };
  const holder = await start('a');
  const observer = await start('b');
  let acted = 0;
  let changeAt = 0;
  for (const until = clock.now() + RUN_MS; clock.now() < until; await clock.advance(STEP_MS)) {
    if (clock.now() >= changeAt) {
      changeAt = clock.now() + dice.between(500, 12_000);
      holder.store.out = weatherOf(dice);
      holder.store.back = weatherOf(dice);
      if (dice.next() < 0.2) observer.store.out = observer.store.back = { lostShare: 0, delayMs: dice.pick([5, 5, 300]) };
      if (dice.next() < 0.1) ttlMs = dice.pick(TTLS_MS);
    }
    const epoch = (JSON.parse(cluster.entries.get(keys.view('v'))?.value ?? '{}') as { epoch: number }).epoch;
    const known = holder.state.view('v')?.value.epoch ?? 0;
    assert.ok(known === epoch || clock.now() >= holder.liveness.leaseUntil, `seed ${seed}: at ${clock.now()} the node may serve by view ${known}, the set has ${epoch}, for ${holder.liveness.leaseUntil - clock.now()} ms`);
    const dead = observer.liveness.dead('a');
    const view = observer.state.view('v');
    if (dead === undefined || view === undefined) continue;
    // The real one needs a round trip too; here it is done at once, or not.
    if (cluster.commit([dead, view], [{ key: keys.view('v'), value: encode({ epoch: view.value.epoch + 1 } as never) }])) acted++;
    await settle();
  }
  holder.liveness.stop();
  observer.liveness.stop();
  return acted;
}

describe('signs of life, whatever happens to them', () => {
  it('a node that was acted against serves by no view of before', async () => {
    let acted = 0;
    for (let seed = 1; seed <= SEEDS; seed++) acted += await run(seed);
    // Chance must have met what this is about.
    assert.ok(acted > SEEDS, `the node was acted against ${acted} times only`);
  });
});
