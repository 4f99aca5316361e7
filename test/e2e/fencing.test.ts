/** A mount that is stopped for longer than the ping timeout, with writes under way: nothing of it takes effect after others went on (G5). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Agent, PosixError } from '../conformance/posix/client.js';
import { F, LOCK, NEW, O } from '../conformance/posix/suite.js';
import { Cluster, withCluster, type Node } from '../support/cluster.js';
import { signal } from '../support/processes.js';
import { sleep, waitFor } from '../support/wait.js';

const PING_TIMEOUT_S = 4;
const SILENT_MS = (PING_TIMEOUT_S + 3) * 1000;
const BLOCK = 4096;
const BLOCKS = 64;
const WRITERS = 4;

/** Writes blocks of old bytes for as long as it may. */
class OldWriter {
  readonly agent: Agent;
  fd = -1;
  written = 0;
  /** The code of the error that ended it. */
  ended = '';

  constructor(directory: string) {
    this.agent = new Agent(directory);
  }

  async open(name: string): Promise<void> {
    this.fd = await this.agent.sys.open(name, O.RDWR);
  }

  async loop(offset: number): Promise<void> {
    try {
      for (;; this.written++) await this.agent.sys.pwrite(this.fd, 'o'.repeat(BLOCK), ((offset + this.written * WRITERS) % BLOCKS) * BLOCK);
    } catch (error) {
      this.ended = error instanceof PosixError ? error.code : String(error);
    }
  }
}

function stopMount(cluster: Cluster, node: Node): { wake(): void } {
  const pids = cluster.mountProcesses(node.mountPoint).map((process) => process.pid);
  assert.ok(pids.length >= 2, 'a worker and its supervisor');
  for (const pid of pids) signal(pid, 'SIGSTOP');
  return {
    wake: () => {
      for (const pid of pids) signal(pid, 'SIGCONT');
    },
  };
}

async function allNew(agent: Agent, name: string): Promise<void> {
  const fd = await agent.sys.open(name, O.RDONLY);
  for (let block = 0; block < BLOCKS; block++) {
    const text = await agent.sys.pread(fd, BLOCK, block * BLOCK);
    assert.equal(text, 'n'.repeat(BLOCK), `block ${block} of ${name} in ${agent.directory}: ${text.slice(0, 8)}…`);
  }
  await agent.sys.close(fd);
}

/** `while stopped` runs after the silence and before the other mount's writes. */
async function fencedOut(cluster: Cluster, name: string, whileStopped: () => Promise<void>, beforeWake: () => Promise<void>): Promise<void> {
  const [first, second] = [cluster.node(0), cluster.node(1)];
  const other = new Agent(second.mountPoint);
  const made = await other.sys.open(name, NEW);
  await other.sys.close(made);
  const writers = Array.from({ length: WRITERS }, () => new OldWriter(first.mountPoint));
  try {
    for (const writer of writers) await writer.open(name);
    const loops = writers.map((writer, i) => writer.loop(i));
    await waitFor('the old writers to write', 20_000, () => writers.every((writer) => writer.written > 20), 10);
    const stopped = stopMount(cluster, first);
    try {
      await sleep(SILENT_MS);
      await whileStopped();
      const fd = await other.sys.open(name, O.RDWR);
      for (let block = 0; block < BLOCKS; block++) await other.sys.pwrite(fd, 'n'.repeat(BLOCK), block * BLOCK);
      await other.sys.fsync(fd);
      await other.sys.close(fd);
      await beforeWake();
    } finally {
      stopped.wake();
    }
    await Promise.all(loops);
    assert.deepEqual(writers.map((writer) => writer.ended), Array<string>(WRITERS).fill('EIO'));
    await allNew(other, name);
    const [old] = writers as [OldWriter];
    await assert.rejects(old.agent.sys.pwrite(old.fd, 'o', 0), (error: PosixError) => error.code === 'EIO', 'a file of before');
    await assert.rejects(old.agent.sys.fsync(old.fd), (error: PosixError) => error.code === 'EIO');
    await assert.rejects(old.agent.sys.ftruncate(old.fd, 0), (error: PosixError) => error.code === 'EIO');
    assert.equal(await old.agent.sys.pread(old.fd, 4, 0), 'nnnn', 'what is read through it is the present');
    await old.agent.sys.close(old.fd);
    await allNew(old.agent, name);
    const again = await old.agent.sys.open(name, O.RDWR);
    await old.agent.sys.pwrite(again, 'x', 0);
    await old.agent.sys.fsync(again);
    await old.agent.sys.close(again);
    const fresh = await other.sys.open(name, O.RDONLY);
    assert.equal(await other.sys.pread(fresh, 2, 0), 'xn', 'a file that was opened anew');
    await other.sys.close(fresh);
  } finally {
    for (const writer of writers) await writer.agent.kill();
    await other.kill();
  }
}

test('a mount that was stopped', async (t) => {
  await withCluster(
    () => Cluster.mounted({ options: { 'network.ping-timeout': String(PING_TIMEOUT_S) } }),
    async (cluster) => {
      const nothing = (): Promise<void> => Promise.resolve();

      await t.test('goes on without an error when nobody wanted its files', async () => {
        const a = new Agent(cluster.node(0).mountPoint);
        const fd = await a.sys.open('left alone', NEW);
        await a.sys.fcntlLock(fd, F.OFD_SETLK, LOCK.WRITE, 0, 0);
        await a.sys.pwrite(fd, 'before', 0);
        const stopped = stopMount(cluster, cluster.node(0));
        const write = a.sys.pwrite(fd, 'after ', 0);
        await sleep(SILENT_MS);
        stopped.wake();
        await write;
        await a.sys.fsync(fd);
        assert.equal(await a.sys.pread(fd, 10, 0), 'after ');
        await a.kill();
      });

      await t.test('cannot change what another wrote meanwhile', () => fencedOut(cluster, 'plain', nothing, nothing));

      await t.test('cannot at a primary that came between', () =>
        fencedOut(
          cluster,
          'takeover',
          async () => {
            const before = await cluster.primary();
            await cluster.killBrick(before);
            await waitFor('another primary', 30_000, async () => (await cluster.primary()) !== before);
          },
          nothing,
        ),
      );

      await t.test('cannot at a brick that was absent at the revocation', async () => {
        await cluster.waitUntilHealed();
        const third = cluster.node(2);
        await cluster.unmount(third);
        await fencedOut(
          cluster,
          'absent',
          async () => {
            await cluster.killNode(third);
            await sleep((PING_TIMEOUT_S + 1) * 1000);
          },
          async () => {
            await cluster.startDaemon(third);
            await cluster.waitForBrick(third);
            await cluster.waitUntilHealed();
            // Every brick but this one restarts: whoever is primary then had the table from its disk, or was given it.
            for (const node of [cluster.node(0), cluster.node(1)]) {
              const pid = await cluster.killBrick(node);
              await waitFor('the brick to be restarted', 30_000, async () => {
                const now = await cluster.brickPid(node);
                return now !== undefined && now !== pid;
              });
              await cluster.waitUntilHealed();
            }
          },
        );
        await cluster.mount(third);
      });

      await t.test('loses the lock that another waits for', async () => {
        const [a, b] = [new Agent(cluster.node(0).mountPoint), new Agent(cluster.node(1).mountPoint)];
        const held = await a.sys.open('locked', NEW);
        await a.sys.fcntlLock(held, F.OFD_SETLK, LOCK.WRITE, 0, 0);
        const stopped = stopMount(cluster, cluster.node(0));
        const fd = await b.sys.open('locked', O.RDWR);
        await b.sys.fcntlLock(fd, F.OFD_SETLKW, LOCK.WRITE, 0, 0);
        await b.sys.pwrite(fd, 'mine', 0);
        stopped.wake();
        await assert.rejects(a.sys.pwrite(held, 'old!', 0), (error: PosixError) => error.code === 'EIO');
        assert.equal(await b.sys.pread(fd, 10, 0), 'mine');
        await a.kill();
        await b.kill();
      });

      await cluster.assertHealedAndEqual();
    },
  );
});
