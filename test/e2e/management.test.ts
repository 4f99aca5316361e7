/** The management plane: real gluonds, etcd and bricks on loopback addresses of this machine. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Daemons, type Daemon } from '../support/daemons.js';
import { isAlive, signal } from '../support/processes.js';
import { sleep, waitFor } from '../support/wait.js';

interface PoolList {
  result: { peers: { hostname: string; connected: boolean; local: boolean }[] };
}
interface VolumeStatus {
  result: {
    volumes: {
      epoch: number;
      bricks: { host: string; online: boolean; pid: number; primary: boolean; inSync: boolean; detail: string }[];
    }[];
  };
}

async function statusOf(daemon: Daemon, volume: string): Promise<VolumeStatus['result']['volumes'][0]> {
  const answer = await daemon.json<VolumeStatus>('volume', 'status', volume);
  const found = answer.result.volumes[0];
  assert.ok(found !== undefined);
  return found;
}

/** Waits until every brick of the volume is in sync. */
async function allInSync(daemon: Daemon, volume: string, boundMs = 30_000): Promise<void> {
  await waitFor(
    `all bricks of ${volume} in sync`,
    boundMs,
    async () => (await statusOf(daemon, volume)).bricks.every((brick) => brick.online && brick.inSync),
    200,
  );
}

async function refused(daemon: Daemon, words: string[], reason: RegExp): Promise<void> {
  const result = await daemon.gluon(...words);
  assert.equal(result.status, 1, `gluon ${words.join(' ')} should have been refused: ${result.stdout}`);
  assert.match(result.stderr, reason);
}

describe('a pool of three nodes', () => {
  let daemons: Daemons;
  let [a, b, c]: Daemon[] = [];
  const one = (): Daemon => a as Daemon;
  const two = (): Daemon => b as Daemon;
  const three = (): Daemon => c as Daemon;

  before(async () => {
    daemons = await Daemons.prepare(4);
    [a, b, c] = daemons.all;
    await Promise.all([one().start(), two().start(), three().start()]);
  });
  after(() => daemons.close());

  it('a second gluond on a state directory is refused', async () => {
    const second = await one().gluond('--listen', `${one().address}:${one().port + 1}`);
    assert.equal(second.status, 1);
    assert.match(second.stderr, /another gluond/);
  });

  it('what cannot be probed is refused with the reason', async () => {
    await refused(one(), ['peer', 'probe', 'no-such-host.invalid'], /cannot be resolved/);
    await refused(one(), ['peer', 'probe', `${daemons.daemon(3).address}:${one().port}`], /no gluond answers/);
    await refused(one(), ['peer', 'probe', 'bad host name'], /not a host name/);
    await refused(one(), ['peer', 'detach', two().place], /not in the pool/);
  });

  it('a node with volumes of its own is refused', async () => {
    await two().must('volume', 'create', 'own', `${two().address}:${two().brickPath('own')}`, 'force');
    await refused(one(), ['peer', 'probe', two().place], /volumes of its own/);
    await two().must('volume', 'delete', 'own');
  });

  it('probe adds nodes; probing oneself or a member is no error', async () => {
    await one().must('peer', 'probe', two().place);
    await one().must('peer', 'probe', three().place);
    assert.match(await one().must('peer', 'probe', one().place), /local node/);
    assert.match(await two().must('peer', 'probe', three().place), /already/);
    for (const daemon of [one(), two(), three()]) {
      await waitFor(`${daemon.address} to see all`, 10_000, async () => {
        const { peers } = (await daemon.json<PoolList>('pool', 'list')).result;
        return peers.length === 3 && peers.every((peer) => peer.connected);
      });
    }
  });

  it('a node of another pool is refused', async () => {
    const other = await Daemons.prepare(2);
    const [first, second] = other.all as [Daemon, Daemon];
    try {
      await Promise.all([first.start(), second.start()]);
      await first.must('peer', 'probe', second.place);
      await refused(one(), ['peer', 'probe', second.place], /another pool/);
      await refused(second, ['peer', 'detach', second.place], /local node/);
      await first.must('peer', 'detach', second.place);
      await waitFor(
        'the detached node to be alone',
        10_000,
        async () => (await second.json<PoolList>('pool', 'list')).result.peers.length === 1,
      );
      // Its former certificate opens nothing any more.
      const result = await second.gluon('--remote-host', first.place, 'pool', 'list');
      assert.equal(result.status, 1);
      await first.must('peer', 'probe', second.place);
    } finally {
      await other.close();
    }
  });

  it('a join token makes a node strict', async () => {
    const strict = await Daemons.prepare(2);
    const [first, second] = strict.all as [Daemon, Daemon];
    try {
      await Promise.all([first.start(), second.start('--join-token', 'sesame')]);
      await refused(first, ['peer', 'probe', second.place], /join token/);
      await refused(first, ['--join-token', 'wrong', 'peer', 'probe', second.place], /join token/);
      await first.must('--join-token', 'sesame', 'peer', 'probe', second.place);
    } finally {
      await strict.close();
    }
  });

  it('what is wrong with a new volume is said', async () => {
    const bricks = daemons.bricks('bad', daemons.all.slice(0, 3));
    const [first = '', second = '', third = ''] = bricks;
    const create = (...words: string[]): string[] => ['volume', 'create', ...words];
    await refused(one(), create('bad', 'replica', '3', first, second, 'force'), /multiple/);
    await refused(one(), create('bad', 'replica', '4', first, second, third, `${first}4`, 'force'), /odd|one node/);
    await refused(one(), create('bad', 'replica', '3', first, second, second, 'force'), /twice/);
    await refused(one(), create('bad', 'replica', '3', first, second, `${first}/below`, 'force'), /lie in each other/);
    await refused(one(), create('bad', 'replica', '2', first, `${first}2`), /one node/);
    await refused(
      one(),
      create('bad', 'replica', '3', first, second, `127.0.0.4:${three().brickPath('bad')}`, 'force'),
      /not in the pool|another machine/,
    );
    await refused(one(), create('bad', 'replica', '3', first, second, 'localhost4x.invalid:/b', 'force'), /resolved/);
    await refused(one(), create('a/b', 'replica', '3', ...bricks, 'force'), /volume name/);
    await refused(one(), create('all', 'replica', '3', ...bricks, 'force'), /name/);
    await refused(one(), create('bad', 'replica', '3', ...bricks), /root filesystem|force/);
    writeFileSync(two().brickPath('file'), 'x');
    await refused(
      one(),
      create('bad', 'replica', '3', first, `${two().address}:${two().brickPath('file')}`, third, 'force'),
      /not a directory/,
    );
    assert.equal(existsSync(one().brickPath('bad')), false, 'a refused create leaves no directory behind');
    assert.match(await one().must('volume', 'list'), /No volumes|^\s*$/);
  });

  it('a volume is created, started, seen by every node', async () => {
    await one().must(
      'volume',
      'create',
      'vms',
      'replica',
      '3',
      ...daemons.bricks('vms', daemons.all.slice(0, 3)),
      'force',
    );
    await refused(
      two(),
      ['volume', 'create', 'vms', 'replica', '3', ...daemons.bricks('again', daemons.all.slice(0, 3)), 'force'],
      /exists/,
    );
    await refused(
      two(),
      [
        'volume',
        'create',
        'nest',
        'replica',
        '3',
        ...daemons.bricks('vms', daemons.all.slice(0, 3)).map((brick) => `${brick}/in`),
        'force',
      ],
      /brick of volume vms/,
    );
    await refused(two(), ['volume', 'stop', 'vms'], /not started/);
    await two().must('volume', 'start', 'vms');
    await refused(two(), ['volume', 'start', 'vms'], /started/);
    await refused(two(), ['volume', 'delete', 'vms'], /started/);
    await refused(two(), ['volume', 'start', 'none'], /not exist/);
    await allInSync(three(), 'vms');
    assert.match(await three().must('volume', 'info', 'vms'), /Number of Bricks: 1 x 3 = 3/);
    for (const daemon of [one(), two(), three()])
      assert.equal(statSync(join(daemon.stateDirectory, 'gluond.sock')).mode & 0o777, 0o600);
    for (const name of readdirSync(join(one().stateDirectory, 'tls')))
      assert.equal(statSync(join(one().stateDirectory, 'tls', name)).mode & 0o777, 0o600);
  });

  it('options are checked, kept, and given back', async () => {
    await refused(one(), ['volume', 'set', 'vms', 'network.ping-timout', '5'], /network\.ping-timeout/);
    await refused(one(), ['volume', 'set', 'vms', 'network.ping-timeout', '0'], /from 4/);
    await refused(one(), ['volume', 'set', 'vms', 'cluster.quorum-type', 'none'], /always auto/);
    await refused(one(), ['volume', 'set', 'vms', 'server.ssl', 'on'], /not supported/);
    await one().must('volume', 'set', 'vms', 'network.ping-timeout', '8', 'user.note', 'mine');
    assert.match(await two().must('volume', 'get', 'vms', 'network.ping-timeout'), /network\.ping-timeout\s+8/);
    await one().must('volume', 'set', 'vms', 'group', 'virt');
    assert.match(await two().must('volume', 'info', 'vms'), /network\.ping-timeout: 20/);
    await one().must('volume', 'reset', 'vms', 'network.ping-timeout');
    assert.doesNotMatch(await two().must('volume', 'info', 'vms'), /network\.ping-timeout/);
  });

  it('a killed brick is replaced as primary at once, comes back by itself, and returns to the set', async () => {
    const before = await statusOf(one(), 'vms');
    const primary = before.bricks.find((brick) => brick.primary);
    assert.ok(primary !== undefined);
    signal(primary.pid, 'SIGKILL');
    await waitFor(
      'another primary',
      1_500,
      async () => {
        const now = await statusOf(one(), 'vms');
        return now.epoch > before.epoch && now.bricks.some((brick) => brick.primary && brick.host !== primary.host);
      },
      20,
    );
    await allInSync(one(), 'vms');
    assert.notEqual(
      (await statusOf(one(), 'vms')).bricks.find((brick) => brick.host === primary.host)?.pid,
      primary.pid,
    );
  });

  it('gluond killed and started again finds its bricks and etcd running; the view does not change', async () => {
    const before = await statusOf(two(), 'vms');
    const pids = [...one().brickPids(), one().etcdPid()];
    await one().kill();
    await one().start();
    await allInSync(one(), 'vms');
    assert.deepEqual([...one().brickPids(), one().etcdPid()], pids);
    assert.ok(pids.every(isAlive));
    assert.equal((await statusOf(two(), 'vms')).epoch, before.epoch);
  });

  it('gluond ended by SIGTERM leaves its bricks serving', async () => {
    const before = await statusOf(two(), 'vms');
    const pids = one().brickPids();
    const { process: daemon } = one();
    daemon?.kill('SIGTERM');
    await waitFor('gluond to end', 5_000, () => daemon?.exitCode !== null);
    assert.equal(daemon?.exitCode, 0);
    await one().start();
    await allInSync(one(), 'vms');
    assert.deepEqual(one().brickPids(), pids);
    assert.equal((await statusOf(two(), 'vms')).epoch, before.epoch);
  });

  it('a killed etcd is started again; commands go on meanwhile', async () => {
    const pid = two().etcdPid();
    signal(pid, 'SIGKILL');
    await two().must('volume', 'set', 'vms', 'user.etcd', 'killed');
    await waitFor('a new etcd', 10_000, () => two().etcdPid() !== pid && isAlive(two().etcdPid()));
    await allInSync(two(), 'vms');
  });

  it('a full heal compares every copy as a whole, one after the other', async () => {
    const before = await statusOf(one(), 'vms');
    await one().must('volume', 'heal', 'vms', 'full');
    // Each of the two others leaves, catches up, and is admitted.
    await waitFor(
      'both copies to be compared',
      30_000,
      async () => (await statusOf(one(), 'vms')).epoch >= before.epoch + 6,
      200,
    );
    await allInSync(one(), 'vms');
  });

  it('a brick that hangs leaves the set and returns', async () => {
    const before = await statusOf(one(), 'vms');
    const hanging = before.bricks.find((brick) => brick.primary);
    assert.ok(hanging !== undefined);
    signal(hanging.pid, 'SIGSTOP');
    try {
      await waitFor(
        'another primary',
        15_000,
        async () => (await statusOf(one(), 'vms')).bricks.some((brick) => brick.primary && brick.host !== hanging.host),
        300,
      );
    } finally {
      signal(hanging.pid, 'SIGCONT');
    }
    await allInSync(one(), 'vms');
  });

  it('a node that dies does not stop the others, and learns what it missed', async () => {
    await three().killAll();
    await waitFor(
      'the view without its brick',
      15_000,
      async () => (await statusOf(one(), 'vms')).bricks.filter((brick) => brick.inSync && brick.online).length === 2,
      300,
    );
    await waitFor('the node to be shown as disconnected', 15_000, async () => {
      const { peers } = (await one().json<PoolList>('pool', 'list')).result;
      return peers.find((peer) => peer.hostname === three().address)?.connected === false;
    });
    await one().must('volume', 'set', 'vms', 'user.missed', 'yes');
    await refused(one(), ['peer', 'detach', three().place], /holds bricks/);
    await three().start();
    await allInSync(three(), 'vms');
    assert.match(await three().must('volume', 'get', 'vms', 'user.missed'), /yes/);
  });

  it('without a majority commands fail within their bound and say why; afterwards everything is back', async () => {
    await Promise.all([two().killAll(), three().killAll()]);
    const began = performance.now();
    const result = await one().gluon('volume', 'set', 'vms', 'user.minority', 'yes');
    assert.equal(result.status, 1);
    assert.ok(performance.now() - began < 30_000);
    assert.match(result.stderr, /failed/);
    await Promise.all([two().start(), three().start()]);
    await allInSync(one(), 'vms', 60_000);
  });

  it('the management service asks for a certificate of the pool', async () => {
    const stranger = daemons.daemon(3);
    await stranger.start();
    const result = await stranger.gluon('--remote-host', one().place, 'volume', 'list');
    assert.equal(result.status, 1);
    assert.match(await two().must('--remote-host', one().place, 'volume', 'list'), /vms/);
  });

  it('a brick directory that is not the brick does not serve, and status says why', async () => {
    await one().must('volume', 'stop', 'vms');
    mkdirSync(join(daemons.root, 'elsewhere'));
    renameSync(three().brickPath('vms'), join(daemons.root, 'elsewhere', 'vms'));
    mkdirSync(three().brickPath('vms'));
    await refused(one(), ['volume', 'start', 'vms'], /no brick|empty|not/);
    const started = await one().gluon('volume', 'start', 'vms', 'force');
    assert.equal(started.status, 0, started.stderr);
    const { bricks } = await statusOf(one(), 'vms');
    const broken = bricks.find((brick) => brick.host === three().address);
    assert.equal(broken?.online, false);
    assert.match(broken?.detail ?? '', /no brick|mounted/);
    renameSync(three().brickPath('vms'), join(daemons.root, 'elsewhere', 'empty'));
    renameSync(join(daemons.root, 'elsewhere', 'vms'), three().brickPath('vms'));
    await one().must('volume', 'start', 'vms', 'force');
    await allInSync(one(), 'vms');
  });

  it('a volume is stopped and deleted; its nodes can be detached then', async () => {
    await one().must('volume', 'stop', 'vms');
    assert.ok([one(), two(), three()].every((daemon) => daemon.brickPids().every((pid) => !isAlive(pid))));
    await three().must('volume', 'delete', 'vms');
    assert.match(await one().must('volume', 'list'), /No volumes|^\s*$/);
    await refused(one(), ['peer', 'detach', one().place], /local node/);
    await one().must('peer', 'detach', three().place);
    await sleep(300);
    await waitFor(
      'the detached node to be alone',
      10_000,
      async () => (await three().json<PoolList>('pool', 'list')).result.peers.length === 1,
    );
    assert.equal((await two().json<PoolList>('pool', 'list')).result.peers.length, 2);
    await one().must('peer', 'probe', three().place);
  });
});
