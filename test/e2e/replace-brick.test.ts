/** Bricks are replaced while programs write: another place, an emptied disk, and an old disk that comes back. */
import assert from 'node:assert/strict';
import { mkdirSync, renameSync } from 'node:fs';
import { test } from 'node:test';
import { Agent } from '../conformance/posix/client.js';
import { NEW } from '../conformance/posix/suite.js';
import { Cluster, withCluster, type Node } from '../support/cluster.js';
import { waitFor } from '../support/wait.js';

const RECORD_BYTES = 16;

/** Writes and syncs numbered records until it is stopped. */
class Writer {
  #stopped = false;
  written = 0;
  longestMs = 0;
  readonly #done: Promise<void>;

  constructor(agent: Agent, name: string) {
    this.#done = this.#loop(agent, name);
    this.#done.catch(() => undefined);
  }

  async #loop({ sys }: Agent, name: string): Promise<void> {
    const fd = await sys.open(name, NEW);
    while (!this.#stopped) {
      const begin = performance.now();
      await sys.pwrite(fd, String(this.written).padStart(RECORD_BYTES, '0'), this.written * RECORD_BYTES);
      await sys.fdatasync(fd);
      this.longestMs = Math.max(this.longestMs, performance.now() - begin);
      this.written++;
    }
    await sys.close(fd);
  }

  async goesOn(): Promise<void> {
    const goal = this.written + 20;
    await waitFor('the writer to go on', 30_000, () => this.written >= goal, 20);
  }

  async end(): Promise<void> {
    this.#stopped = true;
    await this.#done;
  }
}

async function refused(cluster: Cluster, words: string[], reason: RegExp): Promise<void> {
  const result = await cluster.gluon(cluster.node(0), words, { accept: 'any' });
  assert.equal(result.status, 1, `gluon ${words.join(' ')} should have been refused: ${result.stdout}`);
  assert.match(result.stderr, reason);
}

async function fill(cluster: Cluster): Promise<void> {
  const script = [
    `cd ${cluster.node(0).mountPoint}`,
    'mkdir -p d/e',
    'for i in $(seq 60); do head -c 3000 /dev/urandom > d/e/f$i; done',
    'truncate -s 4G disk',
    'dd if=/dev/urandom of=disk bs=1M count=8 seek=1000 conv=notrunc status=none',
    'ln d/e/f1 d/g; ln -s g d/h; sync disk',
  ].join('; ');
  await cluster.on(cluster.node(0), ['sh', '-ec', script], { boundMs: 120_000 });
}

function gluon(cluster: Cluster, ...words: string[]): Promise<{ stdout: string }> {
  return cluster.gluon(cluster.node(0), words);
}

test('bricks are replaced while a program writes', { timeout: 600_000 }, async () => {
  await withCluster(
    () => Cluster.mounted({ options: { 'network.ping-timeout': '4' } }),
    async (cluster) => {
      const { volume } = cluster;
      await fill(cluster);
      const agent = new Agent(cluster.node(0).mountPoint);
      try {
        const writer = new Writer(agent, 'records');
        await writer.goesOn();

        // A live brick, the primary's: the view changes, the new brick is filled.
        const moved: Node = await cluster.primary();
        const before = cluster.brickName(moved);
        const target = `${before}-new`;
        await refused(cluster, ['volume', 'replace-brick', volume, `${before}x`, target, 'commit', 'force'], /has no brick/);
        await refused(cluster, ['volume', 'replace-brick', volume, before, before, 'commit', 'force'], /reset-brick/);
        await refused(cluster, ['volume', 'replace-brick', volume, before, `${before}/below`, 'commit', 'force'], /lies in/);
        await refused(cluster, ['volume', 'replace-brick', 'nothing', before, target, 'commit', 'force'], /does not exist/);
        const { stdout } = await gluon(cluster, 'volume', 'replace-brick', volume, before, target, 'commit', 'force');
        assert.equal(stdout, 'volume replace-brick: success: replace-brick commit force operation successful\n');
        moved.brickPath = `${moved.brickPath}-new`;
        await writer.goesOn();
        await cluster.waitUntilHealed();
        await writer.goesOn();
        const info = (await gluon(cluster, 'volume', 'info', volume)).stdout;
        assert.ok(info.includes(`: ${target}\n`) && !info.includes(`: ${before}\n`), info);
        // Its identity is that of no brick any more, and its directory is not taken for another.
        await refused(cluster, ['volume', 'replace-brick', volume, target, before, 'commit', 'force'], /already brick/);

        // An emptied disk in the same place.
        const reset = cluster.node((moved.index + 1) % 3);
        const name = cluster.brickName(reset);
        await refused(cluster, ['volume', 'reset-brick', volume, name, name, 'commit', 'force'], /is not being reset/);
        await gluon(cluster, 'volume', 'reset-brick', volume, name, 'start');
        assert.equal(await cluster.brickPid(reset), undefined);
        const other = cluster.brickName(cluster.node((moved.index + 2) % 3));
        await refused(cluster, ['volume', 'reset-brick', volume, other, 'start'], /no majority/);
        await writer.goesOn();
        await refused(cluster, ['volume', 'reset-brick', volume, name, name, 'commit'], /still holds this brick/);
        const old = `${reset.brickPath}-old`;
        renameSync(reset.brickPath, old);
        mkdirSync(reset.brickPath);
        const xml = (await gluon(cluster, '--xml', 'volume', 'reset-brick', volume, name, name, 'commit', 'force')).stdout;
        assert.match(xml, /<volResetBrick>/);
        await cluster.waitUntilHealed();
        await writer.goesOn();

        // The same brick again, as it is.
        await gluon(cluster, 'volume', 'reset-brick', volume, other, 'start');
        await writer.goesOn();
        await gluon(cluster, 'volume', 'reset-brick', volume, other, other, 'commit', 'force');
        await cluster.waitUntilHealed();

        // The old disk comes back: it is refused, and nothing of it is believed.
        const kept = `${reset.brickPath}-kept`;
        renameSync(reset.brickPath, kept);
        renameSync(old, reset.brickPath);
        await waitFor('the old disk to be refused', 60_000, async () => {
          const status = (await gluon(cluster, '--json', 'volume', 'status', volume)).stdout;
          return /is brick [0-9a-f]+ of the volume, not/.test(status);
        });
        await writer.goesOn();
        renameSync(reset.brickPath, old);
        renameSync(kept, reset.brickPath);
        await gluon(cluster, 'volume', 'start', volume, 'force');
        await cluster.waitUntilHealed();

        await writer.end();
        assert.ok(writer.longestMs < 10_000, `a write took ${Math.round(writer.longestMs)} ms`);
      } finally {
        await agent.kill();
      }
      await cluster.assertHealedAndEqual();
    },
  );
});
