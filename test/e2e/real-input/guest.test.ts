/** A Linux guest under QEMU lives on the volume: it writes on one node, and boots on the others with everything there. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Cluster, withCluster } from '../../support/cluster.js';
import { run } from '../../support/exec.js';
import { withVictim, victimText, type Victim } from '../../support/faults.js';
import { guestKernel, makeRootImage, type GuestKernel } from '../../support/guest-image.js';
import { Guest, type GuestDisk, type GuestTask } from '../../support/qemu.js';
import { amount, SHORT } from '../../support/size.js';

const BOOT_MS = 90_000;
const IMAGE_MIB = amount(192, 1024);
const FILES = amount(6, 40);
const FILE_KIB = amount(512, 4096);

let kernel: GuestKernel;
let scratch: string;

before(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'gluon-guest-'));
  kernel = await guestKernel();
  await makeRootImage(join(scratch, 'root.raw'), IMAGE_MIB);
});
after(() => rmSync(scratch, { recursive: true, force: true }));

async function boot(disk: GuestDisk, tasks: GuestTask[], watch: (guest: Guest) => Promise<void> = async () => undefined): Promise<string> {
  const guest = Guest.boot(kernel, disk, tasks);
  try {
    await guest.line(/GUEST-READY/, BOOT_MS);
    await watch(guest);
    await guest.end(BOOT_MS);
    return guest.output;
  } finally {
    guest.kill();
  }
}

function digest(console: string, word: string): string {
  const found = new RegExp(`${word}.* ([0-9a-f]{64})`).exec(console)?.[1];
  assert.ok(found !== undefined, `the guest told a digest after ${word}`);
  return found;
}

interface Variant {
  format: GuestDisk['format'];
  cache: GuestDisk['cache'];
  victim: Victim;
}

/** Node 1 writes, node 2 verifies and writes more, node 3 verifies that. The victim is killed while node 1 writes. */
async function guestMoves(cluster: Cluster, { format, cache, victim }: Variant): Promise<void> {
  const name = `${format}-${victim}.img`;
  const disk = (index: number): GuestDisk => ({ path: join(cluster.node(index).mountPoint, name), format, cache });
  const task = (what: GuestTask['task'], tag: string): GuestTask => ({ task: what, tag, count: FILES, kib: FILE_KIB });
  await run('qemu-img', ['convert', '-f', 'raw', '-O', format, join(scratch, 'root.raw'), disk(0).path]);

  let first = '';
  let begun = false;
  const write = async (): Promise<void> => {
    first = await boot(disk(0), [task('write', 'first')], async (guest) => {
      await guest.line(/GUEST-WROTE first 2/, BOOT_MS);
      begun = true;
    });
  };
  await withVictim(cluster, victim, write, () => begun);
  const second = await boot(disk(1), [task('verify', 'first'), task('write', 'second')]);
  assert.equal(digest(second, 'GUEST-VERIFIED first'), digest(first, 'GUEST-SUM first'), 'node 2 boots what node 1 wrote');
  const third = await boot(disk(2), [task('verify', 'second')]);
  assert.equal(digest(third, 'GUEST-VERIFIED second'), digest(second, 'GUEST-SUM second'), 'node 3 boots what node 2 wrote');

  if (format === 'qcow2') await run('qemu-img', ['check', disk(0).path]);
  const raw = join(scratch, 'check.raw');
  await run('qemu-img', ['convert', '-f', format, '-O', 'raw', disk(0).path, raw]);
  await run('e2fsck', ['-fn', raw]);
  rmSync(raw);
}

const ALL: Variant[] = (['none', 'primary', 'secondary'] as const).flatMap((victim) => [
  { format: 'raw', cache: 'none', victim },
  { format: 'qcow2', cache: 'writeback', victim },
]);
const FEW: Variant[] = [
  { format: 'qcow2', cache: 'writeback', victim: 'primary' },
  { format: 'raw', cache: 'none', victim: 'secondary' },
];

test('a guest writes on one node and boots on the others', async (t) => {
  await withCluster(
    () => Cluster.mounted(),
    async (cluster) => {
      for (const variant of SHORT ? FEW : ALL) {
        await t.test(`${variant.format} image, cache mode ${variant.cache}${victimText(variant.victim)}`, async () => {
          await guestMoves(cluster, variant);
          await cluster.assertHealedAndEqual();
        });
      }
    },
  );
});
