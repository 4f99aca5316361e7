/** Processes die at the worst moment: programs on the mounts notice a pause at most. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Agent, PosixError, stateOf } from '../conformance/posix/client.js';
import { F, LOCK, NEW, O } from '../conformance/posix/suite.js';
import { Cluster, withCluster, type Node } from '../support/cluster.js';
import { run } from '../support/exec.js';
import { killAndWait } from '../support/processes.js';
import { amount } from '../support/size.js';
import { sleep, waitFor } from '../support/wait.js';

/** Longest pause that a program may see; the guarantees are tighter, the machine is shared. */
const STALL_MS_PROCESS = 5000;
const PING_TIMEOUT_S = 4;

/** A program that writes and syncs numbered records until it is stopped, and measures its longest pause. */
class Writer {
  private stopped = false;
  written = 0;
  longestMs = 0;
  readonly done: Promise<void>;

  constructor(private readonly agent: Agent, private readonly name: string) {
    this.done = this.loop();
    this.done.catch(() => undefined);
  }

  private async loop(): Promise<void> {
    const { sys } = this.agent;
    const fd = await sys.open(this.name, NEW);
    while (!this.stopped) {
      const begin = performance.now();
      await sys.pwrite(fd, String(this.written).padStart(16, '0'), this.written * 16);
      await sys.fdatasync(fd);
      this.longestMs = Math.max(this.longestMs, performance.now() - begin);
      this.written++;
    }
    await sys.close(fd);
  }

  async progress(records: number, boundMs: number): Promise<void> {
    const goal = this.written + records;
    await waitFor(`the writer to write ${records} more records`, boundMs, () => this.written >= goal, 20);
  }

  async end(): Promise<void> {
    this.stopped = true;
    await this.done;
    assert.ok(this.written > 0);
  }
}

async function verify(agent: Agent, name: string, records: number): Promise<void> {
  const fd = await agent.sys.open(name, O.RDONLY);
  assert.equal((await agent.sys.fstat(fd)).size, records * 16);
  for (let at = 0; at < records; at += 1000) {
    const text = await agent.sys.pread(fd, 16_000, at * 16);
    const wanted = Array.from({ length: Math.min(1000, records - at) }, (_, i) => String(at + i).padStart(16, '0')).join('');
    assert.equal(text, wanted);
  }
  await agent.sys.close(fd);
}

async function withAgents(cluster: Cluster, body: (agents: Agent[]) => Promise<void>): Promise<void> {
  const agents = cluster.nodes.map((node) => new Agent(node.mountPoint));
  try {
    await body(agents);
  } finally {
    for (const agent of agents) await agent.kill();
  }
}

async function brickBack(cluster: Cluster, node: Node, before: number): Promise<void> {
  await waitFor(`the brick of node ${node.index + 1} to be restarted`, 30_000, async () => {
    const pid = await cluster.brickPid(node);
    return pid !== undefined && pid !== before;
  });
}

test('processes are killed under load', async (t) => {
  await withCluster(
    () => Cluster.mounted({ options: { 'network.ping-timeout': String(PING_TIMEOUT_S) } }),
    async (cluster) => {
      const [first, second, third] = [cluster.node(0), cluster.node(1), cluster.node(2)];

      await t.test('a killed mount worker is replaced: open files, unlinked ones and locks go on', async () => {
        await withAgents(cluster, async ([a, b]) => {
          assert.ok(a !== undefined && b !== undefined);
          const open = await a.sys.open('open', NEW);
          const unlinked = await a.sys.open('unlinked', NEW);
          const locked = await a.sys.open('locked', NEW);
          await a.sys.write(open, 'before ');
          await a.sys.write(unlinked, 'unlinked ');
          await a.sys.unlink('unlinked');
          await a.sys.fcntlLock(locked, F.OFD_SETLK, LOCK.WRITE, 0, 0);
          for (let round = 0; round < amount(2, 10); round++) {
            const begin = performance.now();
            await killAndWait(cluster.mountWorker(first));
            await a.sys.write(open, `${round}`);
            await a.sys.write(unlinked, `${round}`);
            assert.ok(performance.now() - begin < STALL_MS_PROCESS, `the pause was ${performance.now() - begin} ms`);
            const other = await b.sys.open('locked', O.RDWR);
            await assert.rejects(b.sys.fcntlLock(other, F.OFD_SETLK, LOCK.WRITE, 0, 0), (e) => e instanceof PosixError && e.code === 'EAGAIN');
            await b.sys.close(other);
            assert.match(await b.sys.pread(await b.sys.open('open', O.RDONLY), 100, 0), new RegExp(`^before .*${round}$`));
          }
          assert.match(await a.sys.pread(unlinked, 100, 0), /^unlinked \d+$/);
          assert.equal((await a.sys.fstat(unlinked)).nlink, 0);
          await a.sys.close(unlinked);
          await a.sys.close(locked);
          await a.sys.mkdir('after the worker');
          assert.ok((await b.sys.readdir('.')).includes('after the worker'));
        });
        await cluster.assertHealedAndEqual();
      });

      await t.test('a killed worker under load: no write is lost or done twice', async () => {
        await withAgents(cluster, async ([a, b]) => {
          assert.ok(a !== undefined && b !== undefined);
          await a.sys.mkdir('load');
          const writer = new Writer(a, 'load/records');
          const creator = new Agent(first.mountPoint);
          let stop = false;
          let made = 0;
          const creating = (async () => {
            for (; !stop; made++) {
              const fd = await creator.sys.open(`load/f${made}`, NEW);
              await creator.sys.close(fd);
              await creator.sys.rename(`load/f${made}`, `load/g${made}`);
              if (made % 3 === 0) await creator.sys.unlink(`load/g${made}`);
            }
          })();
          creating.catch(() => undefined);
          for (let round = 0; round < amount(3, 15); round++) {
            await writer.progress(20, 30_000);
            await killAndWait(cluster.mountWorker(first));
          }
          await writer.progress(20, 30_000);
          stop = true;
          await creating;
          await writer.end();
          await creator.kill();
          await verify(b, 'load/records', writer.written);
          const wanted = ['records', ...Array.from({ length: made }, (_, i) => i).filter((i) => i % 3 !== 0).map((i) => `g${i}`)];
          assert.deepEqual(await b.sys.readdir('load'), wanted.sort());
        });
        await cluster.assertHealedAndEqual();
      });

      await t.test('bricks are killed one after the other under a writer: a short pause, no error', async () => {
        await withAgents(cluster, async ([a, , c]) => {
          assert.ok(a !== undefined && c !== undefined);
          const writer = new Writer(a, 'bricks-killed');
          for (let round = 0; round < amount(2, 12); round++) {
            await writer.progress(20, 30_000);
            const victim = round % 2 === 0 ? await cluster.primary() : await cluster.secondary();
            const pid = await cluster.killBrick(victim);
            await writer.progress(20, 30_000);
            await brickBack(cluster, victim, pid);
            await cluster.waitUntilHealed();
          }
          await writer.end();
          t.diagnostic(`longest pause with a brick killed: ${writer.longestMs.toFixed(0)} ms`);
          assert.ok(writer.longestMs < STALL_MS_PROCESS, `the longest pause was ${writer.longestMs} ms`);
          await verify(c, 'bricks-killed', writer.written);
        });
        await cluster.assertHealedAndEqual();
      });

      await t.test('an unlinked open file survives the restart of every brick, and vanishes with its close', async () => {
        await withAgents(cluster, async ([a]) => {
          assert.ok(a !== undefined);
          const fd = await a.sys.open('gone', NEW);
          await a.sys.fill(fd, 0, 1 << 20, 1);
          await a.sys.unlink('gone');
          for (const node of cluster.nodes) {
            const pid = await cluster.killBrick(node);
            await brickBack(cluster, node, pid);
            await cluster.waitUntilHealed();
            assert.equal(await a.sys.check(fd, 0, 1 << 20, 1), -1);
            await a.sys.pwrite(fd, `after node ${node.index + 1}`, 1 << 20);
          }
          assert.equal(await a.sys.pread(fd, 100, 1 << 20), 'after node 3');
          await a.sys.close(fd);
        });
        await cluster.assertHealedAndEqual();
      });

      await t.test('a killed gluond interrupts nothing, and finds its brick again', async () => {
        await withAgents(cluster, async ([a, b]) => {
          assert.ok(a !== undefined && b !== undefined);
          const writer = new Writer(a, 'daemon-killed');
          const before = await cluster.waitForBrick(first);
          await writer.progress(10, 30_000);
          await cluster.killDaemon(first);
          await writer.progress(50, 30_000);
          await cluster.startDaemon(first);
          assert.equal(await cluster.waitForBrick(first), before, 'the same brick process');
          await writer.progress(50, 30_000);
          await writer.end();
          assert.ok(writer.longestMs < STALL_MS_PROCESS, `the longest pause was ${writer.longestMs} ms`);
          await verify(b, 'daemon-killed', writer.written);
        });
        await cluster.assertHealedAndEqual();
      });

      await t.test('a node that dies whole: the others go on, its locks go, and it heals when it is back', async () => {
        const [a, b, c] = cluster.nodes.map((node) => new Agent(node.mountPoint)) as [Agent, Agent, Agent];
        const held = await c.sys.open('held by node 3', NEW);
        await c.sys.fcntlLock(held, F.SETLK, LOCK.WRITE, 0, 0);
        const writer = new Writer(a, 'node-killed');
        await writer.progress(10, 30_000);
        await cluster.killNode(third);
        await writer.progress(50, 30_000);
        const fd = await b.sys.open('held by node 3', O.RDWR);
        await waitFor('the lock of the dead node to go', (PING_TIMEOUT_S + 20) * 1000, async () => {
          await b.sys.fcntlLock(fd, F.SETLK, LOCK.WRITE, 0, 0);
          return true;
        });
        await run('umount', ['-l', third.mountPoint], { accept: 'any' });
        await c.kill();
        await cluster.startDaemon(third);
        await cluster.mount(third);
        await cluster.waitUntilHealed();
        await writer.progress(20, 30_000);
        await writer.end();
        t.diagnostic(`longest pause with a node killed: ${writer.longestMs.toFixed(0)} ms`);
        assert.ok(writer.longestMs < PING_TIMEOUT_S * 1000 + STALL_MS_PROCESS, `the longest pause was ${writer.longestMs} ms`);
        const reader = new Agent(third.mountPoint);
        await verify(reader, 'node-killed', writer.written);
        for (const agent of [a, b, reader]) await agent.kill();
        await cluster.assertHealedAndEqual();
      });

      await t.test('without a majority writes wait, and go on by themselves when it is back', async () => {
        const a = new Agent(first.mountPoint);
        const writer = new Writer(a, 'no-majority');
        await writer.progress(10, 30_000);
        await Promise.all([cluster.killNode(second), cluster.killNode(third)]);
        await sleep(PING_TIMEOUT_S * 1000 + 3000);
        const stuck = writer.written;
        await sleep(2000);
        assert.equal(writer.written, stuck, 'nothing is acknowledged without a majority');
        for (const node of [second, third]) await run('umount', ['-l', node.mountPoint], { accept: 'any' });
        await Promise.all([cluster.startDaemon(second), cluster.startDaemon(third)]);
        await writer.progress(20, 60_000);
        await writer.end();
        for (const node of [second, third]) await cluster.mount(node);
        const b = new Agent(second.mountPoint);
        await verify(b, 'no-majority', writer.written);
        await a.kill();
        await b.kill();
        await cluster.assertHealedAndEqual();
      });

      await t.test('a volume that is stopped under I/O: it waits or fails cleanly, umount works, and a start brings it back', async () => {
        const [a, b] = [new Agent(first.mountPoint), new Agent(second.mountPoint)];
        const fd = await a.sys.open('stopped', NEW);
        await a.sys.write(fd, 'before');
        const writer = new Writer(b, 'under-way');
        await writer.progress(10, 30_000);
        await cluster.gluon(first, ['volume', 'stop', cluster.volume]);
        const state = await stateOf(a.sys.pwrite(fd, 'x', 100), 3000);
        assert.ok(['waiting', 'ENOTCONN', 'EIO', 'ESTALE', 'ETIMEDOUT', 'ESHUTDOWN'].includes(state), state);
        await cluster.gluon(first, ['volume', 'start', cluster.volume]);
        await waitFor('I/O to go on after the start', 60_000, async () => {
          const again = new Agent(first.mountPoint);
          try {
            const f = await again.sys.open('again', O.RDWR | O.CREAT);
            await again.sys.pwrite(f, 'again', 0);
            return true;
          } finally {
            await again.kill();
          }
        });
        await writer.end().catch((error: unknown) => assert.ok(error instanceof PosixError, String(error)));
        await a.kill();
        await b.kill();
        await cluster.assertHealedAndEqual();
      });

      await t.test('umount ends the processes of a mount, also while the volume is stopped', async () => {
        assert.ok(cluster.mountProcesses(third.mountPoint).length >= 2);
        await cluster.unmount(third);
        assert.equal(cluster.mountProcesses(third.mountPoint).length, 0);
        await cluster.gluon(first, ['volume', 'stop', cluster.volume]);
        await cluster.unmount(second);
        await cluster.gluon(first, ['volume', 'start', cluster.volume]);
        await cluster.mount(third);
        assert.match((await run('ls', [third.mountPoint])).stdout, /again/);
        const other = join(third.directory, 'second');
        await cluster.mount(third, other);
        await cluster.unmount(third, other);
        assert.ok(cluster.mountProcesses(third.mountPoint).length >= 2, 'another mount of the same node goes on');
      });
    },
  );
});
