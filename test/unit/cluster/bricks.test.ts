import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { BrickKeeper, type BrickConnection, type BrickProcesses } from '../../../src/cluster/bricks.js';
import type { Liveness } from '../../../src/cluster/liveness.js';
import { MemoryCluster, MemoryStore } from '../../../src/cluster/memory-store.js';
import { encode, keys, type BrickProcessRecord, type VolumeRecord } from '../../../src/cluster/records.js';
import { ClusterState } from '../../../src/cluster/state.js';
import type { ViewKeeper } from '../../../src/cluster/views.js';
import { silentLog } from '../../../src/env/log.js';
import type { View } from '../../../src/fops/view.js';
import type { FromBrickMessage, ToBrickMessage } from '../../../src/wire/brick-control.js';
import { ManualClock, settle } from '../../support/manual-clock.js';

class FakeProcesses implements BrickProcesses {
  readonly pids = new Map<string, number>();
  readonly exits = new Map<number, (how: string) => void>();
  readonly signals: string[] = [];
  next = 100;

  spawn(_volume: string, brick: string, onExit: (how: string) => void): void {
    const pid = this.next++;
    this.pids.set(brick, pid);
    this.exits.set(pid, onExit);
  }
  running(brick: string): boolean {
    return this.pids.has(brick);
  }
  pid(brick: string): number {
    return this.pids.get(brick) ?? 0;
  }
  signal(brick: string, signal: string): void {
    this.signals.push(signal);
    if (signal === 'SIGKILL') this.end(brick, 'signal SIGKILL');
  }
  end(brick: string, how: string): void {
    const pid = this.pid(brick);
    this.pids.delete(brick);
    this.exits.get(pid)?.(how);
  }
}

class FakeConnection implements BrickConnection {
  readonly sent: ToBrickMessage[] = [];
  readonly leases: { ms: number; id: number }[] = [];
  closed = false;
  sendLease(leaseMs: number, id: number): void {
    this.leases.push({ ms: leaseMs, id });
  }
  send(message: ToBrickMessage): void {
    this.sent.push(message);
  }
  close(): void {
    this.closed = true;
  }
}

describe('keeper of the brick processes', () => {
  let cluster: MemoryCluster;
  let clock: ManualClock;
  let processes: FakeProcesses;
  let keeper: BrickKeeper;
  let leaseUntil: number;
  const volume: VolumeRecord = {
    id: 'v',
    name: 'vol',
    secret: 's',
    state: 'started',
    replicaCount: 1,
    bricks: [{ id: 'b', node: 'n', host: 'n', path: '/b' }],
    options: {},
    preparing: '',
  };
  const put = (key: string, value: object): void => void cluster.commit([], [{ key, value: encode(value as never) }]);
  const record = (): BrickProcessRecord =>
    JSON.parse(cluster.entries.get(keys.brick('b'))?.value ?? 'null') as BrickProcessRecord;

  /** The process connects and serves; heartbeats are up to the test. */
  const attach = (pid = processes.pid('b')) => {
    const connection = new FakeConnection();
    const attached = keeper.attach({ volume: 'v', brick: 'b', pid, startTime: '', version: '' }, connection);
    const say = (message: FromBrickMessage): void => attached.receive(message);
    return {
      connection,
      closed: () => attached.closed(),
      say,
      serve: () => say({ message: 'state', state: { state: 'serving', reason: '', port: 7, socket: '/s' } }),
      beat: () => say({ message: 'heartbeat', heartbeat: { leaseId: 0 } }),
    };
  };
  const beatFor = async (brick: ReturnType<typeof attach>, ms: number): Promise<void> => {
    for (let i = 0; i < ms; i += 500) {
      await clock.advance(500);
      leaseUntil = clock.now() + 4_000;
      brick.beat();
    }
  };

  beforeEach(async () => {
    cluster = new MemoryCluster();
    clock = new ManualClock();
    processes = new FakeProcesses();
    leaseUntil = clock.now() + 4_000;
    const store = new MemoryStore(cluster);
    const state = new ClusterState(silentLog);
    put(keys.volume('vol'), volume);
    state.start(store, new AbortController().signal);
    await settle();
    keeper = new BrickKeeper({
      node: 'n',
      state,
      store,
      liveness: {
        get leaseUntil() {
          return leaseUntil;
        },
      } as Liveness,
      views: () =>
        ({
          change: () => Promise.resolve<View>({ epoch: 9, primary: 'b', inSync: ['b'], catchingUp: [] }),
        }) as unknown as ViewKeeper,
      processes,
      clock,
      log: silentLog,
      listenHost: '127.0.0.1',
      socketOf: () => '/s',
      specOf: (record) => ({
        id: record.id,
        name: record.name,
        secret: record.secret,
        started: true,
        bricks: [],
        options: record.options,
      }),
    });
    keeper.start();
    await clock.advance(1);
  });

  it('starts the bricks of started volumes and tells the pool when they serve', async () => {
    assert.equal(processes.pid('b'), 100);
    const brick = attach();
    assert.deepEqual(
      brick.connection.sent.map((message) => Object.keys(message)[0]),
      ['config', 'view'],
    );
    brick.serve();
    await settle();
    assert.deepEqual(record(), { node: 'n', volume: 'v', state: 'up', pid: 100, port: 7, reason: '' });
  });

  it('a brick that ends is told down and started again at once when it had been stable', async () => {
    const brick = attach();
    brick.serve();
    await beatFor(brick, 12_000);
    processes.end('b', 'signal SIGKILL');
    await settle();
    assert.equal(record().state, 'down');
    assert.match(record().reason, /SIGKILL/);
    assert.equal(processes.pid('b'), 101);
  });

  it('a brick that crashes again and again is started at growing intervals', async () => {
    const starts: number[] = [];
    for (let i = 0; i < 400; i++) {
      if (processes.running('b')) {
        starts.push(clock.now());
        processes.end('b', 'exit status 70');
      }
      await clock.advance(250);
    }
    const gaps = starts.slice(1).map((at, i) => at - (starts[i] ?? 0));
    assert.ok(gaps.length >= 6 && gaps.length < 20, `${gaps.length} starts`);
    assert.ok((gaps.at(-1) ?? 0) >= 25_000);
  });

  it('the late report of a process that ended is not taken for its successor', async () => {
    const old = processes.exits.get(100);
    processes.pids.delete('b');
    await clock.advance(500);
    const pid = processes.pid('b');
    assert.notEqual(pid, 0);
    const brick = attach();
    brick.serve();
    await settle();
    old?.('signal SIGKILL');
    await settle();
    assert.equal(record().state, 'up');
    assert.equal(brick.connection.closed, false);
  });

  it('the end of the control stream of a dead process is noticed at once', async () => {
    const brick = attach();
    brick.serve();
    await settle();
    processes.pids.delete('b');
    brick.closed();
    await settle();
    assert.equal(record().state, 'down');
  });

  it('who asks for the state of a brick that ends is not kept waiting', async () => {
    const brick = attach();
    brick.serve();
    await settle();
    let told: unknown = 'nothing yet';
    void keeper.status('b').then((status) => (told = status));
    await settle();
    assert.equal(told, 'nothing yet');
    processes.pids.delete('b');
    brick.closed();
    await settle();
    assert.equal(told, undefined);
  });

  it('leases never last longer than the node may grant, and end with the heartbeats', async () => {
    const brick = attach();
    brick.serve();
    await beatFor(brick, 2_000);
    assert.ok(brick.connection.leases.length > 3);
    assert.ok(brick.connection.leases.every(({ ms }) => ms <= 4_000));
    await clock.advance(2_500);
    const count = brick.connection.leases.length;
    await clock.advance(5_000);
    assert.equal(brick.connection.leases.length, count);
  });

  it('a silent brick is told down only after its lease ran out, and up when it answers again', async () => {
    const brick = attach();
    brick.serve();
    await beatFor(brick, 1_000);
    await clock.advance(4_000);
    assert.equal(record().state, 'up');
    await clock.advance(3_000);
    assert.equal(record().state, 'down');
    assert.match(record().reason, /has not answered/);
    assert.equal(processes.pid('b'), 100, 'the process is left alone');
    brick.beat();
    await settle();
    assert.equal(record().state, 'up');
  });

  it('a fence resolves when the brick confirms, and no lease follows in that epoch', async () => {
    put(keys.view('v'), { epoch: 3, primary: 'b', inSync: ['b'], catchingUp: [] });
    await settle();
    const brick = attach();
    brick.serve();
    await beatFor(brick, 1_000);
    let fenced = false;
    const fence = keeper.fence('b', 3).then(() => (fenced = true));
    await settle();
    assert.equal(fenced, false);
    const asked = brick.connection.leases.at(-1);
    assert.equal(asked?.ms, 0);
    brick.say({ message: 'heartbeat', heartbeat: { leaseId: asked?.id ?? 0 } });
    await fence;
    const count = brick.connection.leases.length;
    await beatFor(brick, 2_000);
    assert.equal(brick.connection.leases.length, count);
    put(keys.view('v'), { epoch: 4, primary: 'b', inSync: ['b'], catchingUp: [] });
    await beatFor(brick, 1_000);
    assert.ok(brick.connection.leases.length > count);
  });

  it('a fence of a brick that does not answer waits until its lease ran out', async () => {
    put(keys.view('v'), { epoch: 3, primary: 'b', inSync: ['b'], catchingUp: [] });
    await settle();
    const brick = attach();
    brick.serve();
    await beatFor(brick, 1_000);
    let fenced = false;
    void keeper.fence('b', 3).then(() => (fenced = true));
    await clock.advance(3_000);
    assert.equal(fenced, false);
    await clock.advance(1_100);
    assert.equal(fenced, true);
  });

  it('a stop is asked for, then demanded, then forced', async () => {
    const brick = attach();
    brick.serve();
    await settle();
    put(keys.volume('vol'), { ...volume, state: 'stopped' });
    await clock.advance(500);
    assert.deepEqual(brick.connection.sent.at(-1), { order: { order: 'stop' } });
    await clock.advance(11_000);
    assert.ok(processes.signals.includes('SIGTERM'));
    await clock.advance(5_000);
    assert.ok(processes.signals.includes('SIGKILL'));
    await settle();
    assert.deepEqual([record().state, record().reason], ['down', 'stopped']);
    await clock.advance(60_000);
    assert.equal(processes.running('b'), false);
  });

  it('a process that is not the one it started is sent away', () => {
    const brick = attach(77);
    assert.match(brick.connection.sent[0]?.refused ?? '', /process 100 is this brick/);
  });

  it('a change of the view is asked of the keeper of the views, and answered', async () => {
    const brick = attach();
    brick.say({ message: 'change', change: { id: 4, epoch: 1, change: { kind: 'catchUp', brick: 'b' } } });
    await settle();
    assert.deepEqual(brick.connection.sent.at(-1), {
      changed: { id: 4, view: { epoch: 9, primary: 'b', inSync: ['b'], catchingUp: [] }, lost: '' },
    });
  });

  it('a brick that says why it cannot serve is shown with that reason', async () => {
    const brick = attach();
    brick.say({ message: 'state', state: { state: 'failed', reason: 'not this brick', port: 0, socket: '' } });
    await settle();
    processes.end('b', 'exit status 3');
    await settle();
    assert.deepEqual([record().state, record().reason], ['down', 'not this brick']);
  });
});
