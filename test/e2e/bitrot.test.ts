/** A disk damages files of a brick while everything runs: readers get the right bytes, the brick's files become right again. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Cluster, withCluster, type Node } from '../support/cluster.js';
import { run, start } from '../support/exec.js';
import { waitFor } from '../support/wait.js';

const FILE_MIB = 24;
const SCRUB_MS = 60_000;

interface ScrubReport {
  state: string;
  endedSec: number;
  files: number;
  corrupted: number;
  torn: number;
  repaired: number;
  damaged: number;
  lost: number;
  unchecked: number;
}

interface Scrub {
  scrub: string;
  bricks: { host: string; path: string; scrub: ScrubReport | null }[];
}

async function scrubStatus(cluster: Cluster): Promise<Scrub> {
  const { stdout } = await cluster.gluon(cluster.node(0), ['volume', 'bitrot', cluster.volume, 'scrub', 'status', '--json']);
  return (JSON.parse(stdout) as { result: Scrub }).result;
}

async function reportOf(cluster: Cluster, node: Node): Promise<ScrubReport | null | undefined> {
  return (await scrubStatus(cluster)).bricks.find((brick) => brick.path === node.brickPath && brick.host === node.network.address)?.scrub;
}

async function sha256(path: string): Promise<string> {
  const { stdout } = await run('sha256sum', [path]);
  return stdout.slice(0, 64);
}

/** Overwrites bytes of the file on the disk and has the kernel forget what it cached of it. */
async function damage(path: string, offsets: number[]): Promise<void> {
  for (const offset of offsets)
    await run('dd', [`of=${path}`, 'bs=1', `seek=${offset}`, 'conv=notrunc,fdatasync', 'status=none'], { input: 'ROT' });
  await run('dd', [`if=${path}`, 'iflag=nocache', 'count=0', 'status=none']);
}

function places(seed: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => ((seed * 7919 + i * 104_729) * 4099) % (FILE_MIB * 1024 * 1024 - 8));
}

async function bricksHold(cluster: Cluster, name: string, digest: string): Promise<void> {
  for (const node of cluster.nodes)
    await waitFor(`${name} to be right on node ${node.index + 1}`, SCRUB_MS, async () => (await sha256(join(node.brickPath, name))) === digest, 300);
}

test('damaged bytes of bricks', { timeout: 600_000 }, async (t) => {
  await withCluster(
    () => Cluster.mounted({}),
    async (cluster) => {
      const [first, second] = [cluster.node(0), cluster.node(1)];
      const command = (...words: string[]) => cluster.gluon(first, ['volume', 'bitrot', cluster.volume, ...words]);
      const write = (node: Node, name: string, mib: number) =>
        run('dd', ['if=/dev/urandom', `of=${join(node.mountPoint, name)}`, 'bs=1M', `count=${mib}`, 'conv=fsync', 'status=none'], { boundMs: 60_000 });
      await write(first, 'before', FILE_MIB);
      const before = await sha256(join(first.brickPath, 'before'));

      await t.test('checksums are made for the files that are there', async () => {
        await command('scrub-throttle', 'aggressive');
        await command('enable');
        await waitFor('every brick to have looked at everything', SCRUB_MS, async () => {
          const { bricks } = await scrubStatus(cluster);
          return bricks.every(({ scrub }) => scrub !== null && scrub.endedSec > 0 && scrub.unchecked === 0 && scrub.files === 1);
        });
        assert.ok(existsSync(join(first.brickPath, '.gluon/sums')));
      });

      await t.test('a reader gets the right bytes from a damaged primary, whose file is repaired', async () => {
        await write(first, 'after', FILE_MIB);
        const after = await sha256(join(first.brickPath, 'after'));
        const primary = await cluster.primary();
        await damage(join(primary.brickPath, 'before'), places(1, 20));
        await damage(join(primary.brickPath, 'after'), places(2, 20));
        const reader = cluster.nodes.find((node) => node !== first) as Node;
        assert.equal(await sha256(join(reader.mountPoint, 'before')), before);
        assert.equal(await sha256(join(reader.mountPoint, 'after')), after);
        await bricksHold(cluster, 'before', before);
        await bricksHold(cluster, 'after', after);
        const report = await reportOf(cluster, primary);
        assert.ok(report !== null && report !== undefined && report.corrupted >= 40 && report.repaired === report.corrupted, JSON.stringify(report));
      });

      await t.test('the scrubber finds what nobody reads, and it is repaired', async () => {
        const primary = await cluster.primary();
        const member = cluster.nodes.find((node) => node !== primary) as Node;
        await damage(join(member.brickPath, 'before'), places(3, 30));
        await command('scrub', 'ondemand');
        await bricksHold(cluster, 'before', before);
        const report = await waitFor('the repair to be told', SCRUB_MS, async () => {
          const found = await reportOf(cluster, member);
          return found?.damaged === 0 && found.repaired > 0 ? found : undefined;
        });
        assert.ok(report.corrupted >= 25, JSON.stringify(report));
        assert.equal(report.lost, 0);
        const { stdout } = await command('scrub', 'status');
        assert.match(stdout, /State of scrub: Active[^]*Error count: 0/);
      });

      await t.test('a brick that is killed while it writes has no damage afterwards', async () => {
        const sum = (bricks: Scrub['bricks']): number => bricks.reduce((all, { scrub }) => all + (scrub?.corrupted ?? 0), 0);
        const counted = sum((await scrubStatus(cluster)).bricks);
        const load = start('fio', [
          '--name=load', `--filename=${join(second.mountPoint, 'load')}`, '--rw=randwrite', '--bsrange=512-64k', '--size=16M', '--time_based', '--runtime=12', '--output-format=terse',
        ], { boundMs: 60_000 });
        for (let i = 0; i < 3; i++) {
          const primary = await cluster.primary();
          const killed = await cluster.killBrick(primary);
          await waitFor('the brick to be back', 60_000, async () => {
            const pid = await cluster.brickPid(primary);
            return pid !== undefined && pid !== killed;
          });
          await cluster.waitUntilHealed();
        }
        await load.done;
        await command('scrub', 'ondemand');
        await waitFor('the scrubbers to end', SCRUB_MS, async () => {
          const { bricks } = await scrubStatus(cluster);
          return bricks.every(({ scrub }) => scrub !== null && scrub.state === 'waiting' && scrub.files >= 3 && scrub.damaged === 0 && scrub.lost === 0);
        });
        const { bricks } = await scrubStatus(cluster);
        assert.equal(sum(bricks), counted, JSON.stringify(bricks));
        await cluster.assertHealedAndEqual();
      });

      await t.test('pause, resume, and without the option nothing is left', async () => {
        await command('scrub', 'pause');
        assert.match((await command('scrub', 'status')).stdout, /State of scrub: Paused/);
        await command('scrub', 'resume');
        await command('disable');
        await waitFor('the checksums to be gone', SCRUB_MS, () => cluster.nodes.every((node) => !existsSync(join(node.brickPath, '.gluon/sums'))));
        const refused = await cluster.gluon(first, ['volume', 'bitrot', cluster.volume, 'scrub', 'status'], { accept: [1] });
        assert.match(refused.stderr, /keeps no checksums/);
      });
    },
  );
});
