/** fio writes patterns and verifies every block, on the node that wrote and on another one. */
import { join } from 'node:path';
import { test } from 'node:test';
import { Cluster, withCluster } from '../../support/cluster.js';
import { run } from '../../support/exec.js';
import { changes, victims, victimText, withVictim } from '../../support/faults.js';
import { amount } from '../../support/size.js';

const SIZE_MIB = amount(16, 512);
const SECONDS_MIN = amount(3, 30);

interface Job {
  name: string;
  options: string[];
}

const JOBS: Job[] = [
  { name: 'random writes without page cache, 16 at a time', options: ['--ioengine=libaio', '--direct=1', '--iodepth=16', '--rw=randwrite', '--bs=4k'] },
  { name: 'buffered mixed sizes with fsync', options: ['--ioengine=psync', '--rw=randwrite', '--bsrange=512-128k', '--blockalign=512', '--fsync=32'] },
  { name: 'mapped memory', options: ['--ioengine=mmap', '--rw=randwrite', '--bs=4k', '--fsync=64'] },
];

function command(job: Job, path: string, more: string[]): string[] {
  const verify = ['--verify=crc32c', '--verify_fatal=1', '--verify_backlog=0', '--do_verify=0', '--randseed=7', '--output-format=terse'];
  return ['--name=job', `--filename=${path}`, `--size=${SIZE_MIB}M`, ...verify, ...job.options, ...more];
}

test('fio --verify finds every block', async (t) => {
  await withCluster(
    () => Cluster.mounted(),
    async (cluster) => {
      for (const victim of victims('secondary')) {
        for (const [index, job] of JOBS.entries()) {
          await t.test(`${job.name}${victimText(victim)}`, async () => {
            const name = `fio-${index}-${victim}`;
            const path = (node: number): string => join(cluster.node(node).mountPoint, name);
            // The same offsets are written again and again with the same generation, so that the last state can be verified.
            const rounds = async (): Promise<void> => {
              const end = performance.now() + (victim === 'none' ? 0 : SECONDS_MIN * 1000);
              do await run('fio', command(job, path(0), []), { boundMs: 600_000 });
              while (performance.now() < end);
            };
            await withVictim(cluster, victim, rounds, changes(join(cluster.node(2).brickPath, name)));
            for (const node of [0, 1, 2]) await run('fio', command(job, path(node), ['--verify_only=1']), { boundMs: 600_000 });
            await cluster.assertHealedAndEqual();
          });
        }
      }
    },
  );
});
