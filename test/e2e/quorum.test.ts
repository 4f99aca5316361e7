/** Fewer than a majority of the copies are there: what a user sees meanwhile, and how waiting is turned into an error. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Agent, PosixError, stateOf } from '../conformance/posix/client.js';
import { NEW } from '../conformance/posix/suite.js';
import { Cluster, withCluster } from '../support/cluster.js';
import { run } from '../support/exec.js';
import { signal } from '../support/processes.js';
import { waitFor } from '../support/wait.js';

const PING_TIMEOUT_S = 4;
const DF_MS_MAX = 3000;

function times(text: string, words: string): number {
  return text.split(words).length - 1;
}

test('two of three bricks stand still', async () => {
  await withCluster(
    () => Cluster.mounted({ options: { 'network.ping-timeout': String(PING_TIMEOUT_S) } }),
    async (cluster) => {
      const primary = await cluster.primary();
      const secondary = await cluster.secondary();
      const third = cluster.nodes.find((node) => node !== primary && node !== secondary);
      assert.ok(third !== undefined);
      const log = `${third.directory}/mount.log`;
      await cluster.unmount(third);
      await cluster.mount(third, third.mountPoint, [`log-file=${log}`]);
      const [agent, lister] = [new Agent(third.mountPoint), new Agent(third.mountPoint)];
      const fd = await agent.sys.open('waits', NEW);
      await agent.sys.pwrite(fd, 'before', 0);
      const pids = await Promise.all([primary, secondary].map((node) => cluster.waitForBrick(node)));
      for (const pid of pids) signal(pid, 'SIGSTOP');
      try {
        const write = agent.sys.pwrite(fd, 'after ', 0);
        write.catch(() => undefined);

        await waitFor('volume status to say what the volume waits for', 40_000, async () => {
          const { stdout } = await cluster.gluon(third, ['volume', 'status', cluster.volume], { accept: 'any' });
          return stdout.includes('the volume waits for this brick');
        });
        const info = await cluster.gluon(third, ['volume', 'heal', cluster.volume, 'info']);
        assert.match(info.stdout, /the volume waits for this brick/);
        assert.equal(await stateOf(write), 'waiting');

        const began = performance.now();
        const df = await run('df', [third.mountPoint], { boundMs: 20_000 });
        assert.ok(performance.now() - began < DF_MS_MAX, `df took ${performance.now() - began} ms`);
        assert.match(df.stdout, /%/);
        assert.equal(await stateOf(lister.sys.readdir('.'), 2000), 'waiting');

        await waitFor('the mount log to say that requests wait', 20_000, () => readFileSync(log, 'utf8').includes('the volume does not answer'));
        await cluster.gluon(third, ['volume', 'set', cluster.volume, 'network.frame-timeout', '5']);
        await assert.rejects(write, (error: unknown) => error instanceof PosixError && error.code === 'EIO', 'waiting became an error');
        await cluster.gluon(third, ['volume', 'reset', cluster.volume, 'network.frame-timeout']);
      } catch (error) {
        await Promise.all([agent.kill(), lister.kill()]);
        throw error;
      } finally {
        for (const pid of pids) signal(pid, 'SIGCONT');
      }
      await agent.sys.pwrite(fd, 'again!', 0);
      assert.equal(await agent.sys.pread(fd, 6, 0), 'again!');
      await Promise.all([agent.kill(), lister.kill()]);
      await cluster.assertHealedAndEqual();
      const said = readFileSync(log, 'utf8');
      assert.ok(times(said, 'the volume does not answer') <= 3, 'a line for each outage, not for each request');
      assert.ok(times(said, 'the volume answers again') >= 1);
    },
  );
});
