/** qemu-img does on the volume exactly what it does on ext4. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Cluster, withCluster } from '../../support/cluster.js';
import { run, shell } from '../../support/exec.js';
import { entriesIn, victims, victimText, withVictim } from '../../support/faults.js';
import { amount } from '../../support/size.js';

const SIZE_MIB = amount(64, 1024);

/** Makes images in $1 from the data file $2 and tells all that qemu-img sees of them. Names are relative, so that answers can be compared. */
const SCRIPT = `
cd "$1"
cp --sparse=always "$2" source.raw
qemu-img create -q -f qcow2 empty.qcow2 10G
qemu-img create -q -f raw empty.raw 3G
qemu-img create -q -f qcow2 -o preallocation=metadata prealloc.qcow2 256M
qemu-img create -q -f raw -o preallocation=falloc falloc.raw 8M
qemu-img create -q -f raw -o preallocation=full full.raw 8M
qemu-img convert -f raw -O qcow2 source.raw copy.qcow2
qemu-img convert -f raw -O qcow2 -c source.raw packed.qcow2
qemu-img convert -t none -T none -f qcow2 -O raw copy.qcow2 back.raw
qemu-img convert -n -W -f raw -O raw source.raw empty.raw
qemu-img create -q -f qcow2 -b copy.qcow2 -F qcow2 overlay.qcow2
qemu-io -f qcow2 -c 'write -P 0x5a 1M 3M' -c 'discard 2M 1M' -c 'write -z 5M 1M' -c flush overlay.qcow2 > /dev/null
qemu-img snapshot -c first overlay.qcow2
qemu-io -f qcow2 -c 'write -P 0x77 0 128k' -c flush overlay.qcow2 > /dev/null
qemu-img resize -q -f raw back.raw +16M
qemu-img resize -q overlay.qcow2 +128M
qemu-img resize -q --shrink -f raw empty.raw 256M
sync -f .
for image in *; do
  format=\${image##*.}
  echo "== $image"
  qemu-img map --output=json -f $format "$image"
  qemu-img info --output=json -f $format "$image" | grep -v -e actual-size -e date- -e vm-clock
  if [ $format = qcow2 ]; then qemu-img check --output=json -f qcow2 "$image"; fi
done
qemu-img compare -f raw -F qcow2 source.raw copy.qcow2
qemu-img compare -f raw -F qcow2 source.raw packed.qcow2
qemu-img compare -f raw -F raw source.raw back.raw
qemu-img rebase -f qcow2 -b '' overlay.qcow2
qemu-img check overlay.qcow2
qemu-img create -q -f qcow2 -b back.raw -F raw top.qcow2
qemu-io -f qcow2 -c 'write -P 0x33 3M 70k' -c flush top.qcow2 > /dev/null
qemu-img commit -q -f qcow2 top.qcow2
qemu-img convert -f qcow2 -O raw overlay.qcow2 flat.raw
sha256sum *.raw
`;

/** What of a file is data and what is a hole. */
const MAPS = `
cd "$1"; mkdir maps; cd maps
cp --sparse=always "$2" source.raw
qemu-img create -q -f raw empty.raw 3G
qemu-img create -q -f qcow2 -o preallocation=metadata prealloc.qcow2 256M
qemu-img create -q -f raw -o preallocation=falloc falloc.raw 8M
qemu-img create -q -f raw -o preallocation=full full.raw 8M
sync -f .
for image in *; do qemu-img map --output=json -f \${image##*.} "$image"; done
`;

let scratch: string;
let expected: string;
let expectedMaps: string;

/** A heal reads what was allocated and never written, and what was read lies in the page cache and counts as data from then on, on ext4 as on the volume. */
function withoutMaps(output: string): string {
  return output.split('\n').filter((line) => !/^\[?\{ "start"/.test(line)).join('\n');
}

/** Data in islands, with holes between them. */
const DATA = `
truncate -s "$2"M "$1"
for at in 0 3 4 9 31 $(($2 - 1)); do dd if=/dev/urandom of="$1" bs=64k count=5 seek=$((at * 16 + 1)) conv=notrunc status=none; done
`;

before(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'gluon-img-'));
  await shell(DATA, [join(scratch, 'data'), String(SIZE_MIB)]);
  await run('mkdir', [join(scratch, 'plain')]);
  expected = (await shell(SCRIPT, [join(scratch, 'plain'), join(scratch, 'data')])).stdout;
  expectedMaps = (await shell(MAPS, [join(scratch, 'plain'), join(scratch, 'data')])).stdout;
});
after(() => rmSync(scratch, { recursive: true, force: true }));

test('qemu-img on the volume answers as on ext4', async (t) => {
  await withCluster(
    () => Cluster.mounted(),
    async (cluster) => {
      await t.test('maps data and holes', async () => {
        assert.equal((await shell(MAPS, [cluster.node(0).mountPoint, join(scratch, 'data')])).stdout, expectedMaps);
      });
      for (const victim of victims('secondary')) {
        await t.test(`create, convert, resize, snapshot, rebase, commit, map, check, compare${victimText(victim)}`, async () => {
          const directory = join(cluster.node(0).mountPoint, victim);
          await run('mkdir', [directory]);
          let output = '';
          const work = async (): Promise<void> => {
            output = (await shell(SCRIPT, [directory, join(scratch, 'data')], { boundMs: 300_000 })).stdout;
          };
          await withVictim(cluster, victim, work, entriesIn(join(cluster.node(1).brickPath, victim), 3));
          if (victim === 'none') assert.equal(output, expected);
          else assert.equal(withoutMaps(output), withoutMaps(expected));
          for (const node of cluster.nodes.slice(1)) {
            await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', join(scratch, 'plain', 'back.raw'), join(node.mountPoint, victim, 'back.raw')]);
          }
          await cluster.assertHealedAndEqual();
        });
      }
    },
  );
});
