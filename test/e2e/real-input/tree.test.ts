/** A tree of real files, copied by the tools people use, is the same on every mount and on every brick. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Cluster, compareTrees, withCluster } from '../../support/cluster.js';
import { run, shell } from '../../support/exec.js';
import { entriesIn, victimText, withVictim, type Victim } from '../../support/faults.js';
import { amount } from '../../support/size.js';

const FILES_MIN = amount(300, 20_500);
const COPY_MS = amount(180_000, 1_800_000);

/** Copies directories of /usr/share to $1 until there are at least $2 entries; the small ones first, so that many are of many packages. */
const COLLECT = `
mkdir -p "$1/share"
total=0
while read -r kib dir; do
  cp -a "$dir" "$1/share/"
  total=$(find "$1/share" | wc -l)
  [ "$total" -ge "$2" ] && exit 0
done < <(du -xsk /usr/share/zoneinfo /usr/share/man /usr/share/locale /usr/share/perl /usr/share/doc /usr/share/bash-completion /usr/share/* 2>/dev/null | awk '!seen[$2]++ && NR <= 200' | sort -n | awk '$1 >= 300')
echo "only $total entries below /usr/share, $2 are needed" >&2
exit 1
`;

/** What real trees seldom hold, but a filesystem must keep. */
const ODD = `
cd "$1"
mkdir odd; cd odd
echo data > file; ln file hard1; mkdir sub; ln file sub/hard2; ln -s file link; ln -s /nonexistent/target dangling; ln -s "$(printf 'x%.0s' {1..1000})" long
mkfifo fifo; mknod null c 1 3; mknod disk b 8 17
python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.bind("socket")'
printf suid > suid; chmod 6755 suid; mkdir sticky; chmod 1777 sticky; mkdir setgid; chmod 2750 setgid; touch none; chmod 0 none
chown 1234:5678 file sub link -h
truncate -s 50M sparse; echo end >> sparse; dd if=/dev/urandom of=sparse bs=4k count=3 seek=1000 conv=notrunc status=none
touch -d '1965-03-04 05:06:07.123456789' old; touch -d '2100-01-01 00:00:00.000000001' future
touch -h -d '2001-02-03 04:05:06.789012345' link
setfattr -n user.comment -v value file; setfattr -n user.empty file; setfattr -n user.binary -v 0x00ff10 sub; setfattr -h -n trusted.note -v t link
setfattr -n security.test -v s hard1; setfattr -n user.big -v "$(head -c 1500 /dev/zero | tr '\\0' x)" none
touch -- -rf '*' ' ' $'new\\nline' $'\\x01\\x1b[31m' $'\\xff\\xfe' $'e\\xcc\\x81' $'\\xc3\\xa9' "$(printf 'n%.0s' {1..255})"
mkdir -p "$(printf 'deep/%.0s' {1..60})"
touch -d '2020-02-02 02:02:02.020202020' sub . ..
`;

let source: string;

before(async () => {
  source = mkdtempSync(join(tmpdir(), 'gluon-tree-'));
  await shell(COLLECT, [source, String(FILES_MIN)], { boundMs: 300_000 });
  await shell(ODD, [source]);
});
after(() => rmSync(source, { recursive: true, force: true }));

const ALL_WAYS: { name: string; victim: Victim; copy: (from: string, to: string) => Promise<unknown> }[] = [
  { name: 'cp -a', victim: 'secondary', copy: (from, to) => run('cp', ['-a', from, to], { boundMs: COPY_MS }) },
  {
    name: 'rsync -a',
    victim: 'primary',
    copy: (from, to) => run('rsync', ['-aHAX', '--devices', '--specials', `${from}/`, `${to}/`], { boundMs: COPY_MS }),
  },
  {
    name: 'tar',
    victim: 'none',
    copy: async (from, to) => {
      const pipe = 'tar -C "$1" --xattrs --xattrs-include="*" --format=posix -cf - . | tar -C "$2" --xattrs --xattrs-include="*" -xpf -';
      await shell(pipe, [from, to], { boundMs: COPY_MS });
    },
  },
];

/** The short form has the first one only. */
const WAYS = ALL_WAYS.slice(0, amount(1, ALL_WAYS.length));

/** tar stores no sockets. */
async function sourceFor(way: { name: string }): Promise<string> {
  if (way.name === 'tar') await shell('rm -f "$1/odd/socket"; touch -d "2020-02-02 02:02:02.020202020" "$1/odd"', [source]);
  return source;
}

async function mustBeEqual(what: string, trees: string[]): Promise<void> {
  const result = await compareTrees([], trees);
  if (result.status !== 0) throw new Error(`${what}:\n${result.stdout}${result.stderr}`);
}

test('a tree of real files is copied to the volume', async (t) => {
  await withCluster(
    () => Cluster.mounted(),
    async (cluster) => {
      for (const way of WAYS) {
        await t.test(`by ${way.name}${victimText(way.victim)}, and is the same on the mounts and bricks`, async () => {
          const name = way.name.replaceAll(/\W+/g, '');
          const source = await sourceFor(way);
          const target = join(cluster.node(0).mountPoint, name);
          // node:test must not touch the mount itself where it could hang: the copy is made by child processes.
          const copy = async (): Promise<void> => {
            if (way.name === 'tar') await run('mkdir', [target]);
            await way.copy(source, target);
          };
          await withVictim(cluster, way.victim, copy, entriesIn(join(cluster.node(2).brickPath, name, 'share'), 2));
          const mounts = cluster.nodes.slice(1).map((node) => join(node.mountPoint, name));
          await mustBeEqual('the mounts of the other nodes differ from the source', [source, ...mounts]);
          await cluster.waitUntilHealed();
          const bricks = cluster.nodes.map((node) => join(node.brickPath, name));
          await mustBeEqual('the brick directories differ from the source', [source, ...bricks]);
          await cluster.assertBricksEqual();
        });
      }
      await t.test('removed again with rm -r on another node, nothing stays on any brick', async () => {
        const copies = WAYS.filter(({ name }) => name !== 'tar').map(({ name }) => join(cluster.node(1).mountPoint, name.replaceAll(/\W+/g, '')));
        await run('rm', ['-r', ...copies], { boundMs: COPY_MS });
        await cluster.waitUntilHealed();
        await cluster.assertBricksEqual();
        for (const node of cluster.nodes) {
          const { stdout } = await shell('ls "$1"', [node.brickPath]);
          if (stdout.trim() !== (WAYS.length === ALL_WAYS.length ? 'tar' : '')) throw new Error(`the brick of node ${node.index + 1} still holds: ${stdout}`);
        }
      });
    },
  );
});
