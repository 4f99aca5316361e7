/** What people and programs get wrong, and what disks do: an answer that says so, and nothing else happens. */
import assert from 'node:assert/strict';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Cluster, withCluster, type Node } from '../support/cluster.js';
import { diskFor, pullDisk, putDiskBack } from '../support/disk-image.js';
import { run, shell } from '../support/exec.js';
import { BUILD_ROOT, PACKAGE_ROOT } from '../support/paths.js';
import { isAlive, residentMiB } from '../support/processes.js';
import { waitFor } from '../support/wait.js';

const REFUSAL_MS_MAX = 30_000;

interface Refusal {
  words: string[];
  /** The error must name this. */
  names: RegExp;
}

async function refused(cluster: Cluster, node: Node, { words, names }: Refusal): Promise<void> {
  const begin = performance.now();
  const result = await cluster.gluon(node, words, { accept: 'any' });
  const what = `gluon ${words.join(' ')}: status ${result.status}, ${JSON.stringify(result.stdout + result.stderr)}`;
  assert.equal(result.status, 1, what);
  assert.match(result.stderr, names, what);
  assert.doesNotMatch(result.stderr, /\n\s+at .*\(|undefined|\[object /, `no stack and no leftovers: ${what}`);
  assert.ok(performance.now() - begin < REFUSAL_MS_MAX, `answered in time: ${what}`);
}

function refusals(cluster: Cluster): Refusal[] {
  const brick = (index: number, path = '/tmp/never-made'): string => `${cluster.node(index).network.address}:${path}`;
  const three = [brick(0), brick(1), brick(2)];
  const create = (name: string, bricks: string[], count = '3'): string[] => ['volume', 'create', name, 'replica', count, ...bricks, 'force'];
  return [
    { words: ['nonsense'], names: /nonsense/ },
    { words: ['volume', 'nonsense'], names: /./ },
    { words: ['volume', 'create'], names: /volume create/i },
    { words: ['peer', 'probe'], names: /peer probe/i },
    { words: ['peer', 'probe', 'no-such-host.invalid'], names: /no-such-host\.invalid/ },
    { words: ['peer', 'probe', '10.77.0.99'], names: /10\.77\.0\.99/ },
    { words: ['peer', 'probe', 'bad host name'], names: /bad host name/ },
    { words: ['peer', 'detach', '10.77.0.98'], names: /10\.77\.0\.98/ },
    { words: ['peer', 'detach', cluster.node(1).network.address], names: /brick/i },
    { words: ['volume', 'info', 'nothing'], names: /nothing/ },
    { words: ['volume', 'start', 'nothing'], names: /nothing/ },
    { words: ['volume', 'stop', 'nothing'], names: /nothing/ },
    { words: ['volume', 'delete', 'nothing'], names: /nothing/ },
    { words: ['volume', 'status', 'nothing'], names: /nothing/ },
    { words: ['volume', 'heal', 'nothing'], names: /nothing/ },
    { words: ['volume', 'set', 'nothing', 'network.ping-timeout', '10'], names: /nothing/ },
    { words: ['volume', 'start', cluster.volume], names: /started/i },
    { words: ['volume', 'delete', cluster.volume], names: /started|stop/i },
    { words: ['volume', 'set', cluster.volume, 'network.ping-timeout', 'soon'], names: /soon|ping-timeout/ },
    { words: ['volume', 'set', cluster.volume, 'network.ping-timeout', '-5'], names: /ping-timeout/ },
    { words: ['volume', 'set', cluster.volume, 'network.ping-timeuot', '10'], names: /ping-timeout/ },
    { words: ['volume', 'set', cluster.volume, 'network.ping-timeout'], names: /./ },
    { words: create(cluster.volume, three), names: new RegExp(cluster.volume) },
    { words: create('bad/name', three), names: /bad\/name|name/ },
    { words: create('x'.repeat(300), three), names: /name/ },
    { words: create('two', [brick(0), brick(1)], '3'), names: /brick|multiple|count/i },
    { words: create('one', three, '1'), names: /./ },
    { words: create('many', three, 'many'), names: /many/ },
    { words: create('same', [brick(0), brick(0), brick(1)]), names: /never-made|same|twice/i },
    { words: create('relative', [brick(0, 'relative/path'), brick(1), brick(2)]), names: /relative\/path/ },
    { words: create('nohost', ['/tmp/x', '/tmp/y', '/tmp/z']), names: /\/tmp\/x/ },
    { words: create('stranger', ['10.77.0.99:/tmp/x', brick(1), brick(2)]), names: /10\.77\.0\.99/ },
    { words: create('inside', [brick(0, join(cluster.node(0).brickPath, 'sub')), brick(1), brick(2)]), names: /brick/i },
    { words: create('file', [brick(0, '/etc/passwd'), brick(1), brick(2)]), names: /\/etc\/passwd/ },
  ];
}

async function mountRefused(cluster: Cluster, node: Node, spec: string, at: string, names: RegExp): Promise<void> {
  const words = [join(PACKAGE_ROOT, 'deploy', 'mount.gluon'), spec, at, '-o', `log-file=${join(node.directory, 'refused.log')}`];
  const result = await cluster.on(node, words, { accept: 'any', boundMs: 60_000 });
  assert.notEqual(result.status, 0, `mount ${spec} must fail`);
  assert.match(result.stderr + result.stdout, names, `mount ${spec}`);
  assert.ok(!cluster.mountsBelowRoot().includes(at), 'nothing is mounted');
  await waitFor(`the processes of the refused mount ${at} to end`, 10_000, () => cluster.mountProcesses(at).length === 0);
}

interface Port {
  pid: number;
  address: string[];
}

/** TCP ports and unix sockets on which the node's own processes listen; etcd is Debian's. */
async function ports(cluster: Cluster, node: Node): Promise<Port[]> {
  const own = new Map(cluster.processesOf(node).map((p) => [p.pid, p.command.join(' ')]));
  const { stdout } = await cluster.on(node, ['ss', '-lnxtp']);
  const found: Port[] = [];
  for (const line of stdout.split('\n')) {
    const pid = Number(/pid=(\d+)/.exec(line)?.[1] ?? -1);
    if (!own.has(pid) || (own.get(pid) ?? '').includes('etcd')) continue;
    const local = line.trim().split(/\s+/)[4] ?? '';
    if (line.startsWith('tcp')) {
      const at = local.lastIndexOf(':');
      const host = local.slice(0, at).replace(/%.*$/, '').replaceAll(/[[\]]/g, '');
      found.push({ pid, address: [host === '*' || host === '0.0.0.0' || host === '::' ? node.network.address : host, local.slice(at + 1)] });
    } else if (local.startsWith('/')) found.push({ pid, address: [local] });
  }
  return found;
}

test('wrong words, names and frames', { concurrency: 3 }, async (t) => {
  await withCluster(
    () => Cluster.mounted(),
    async (cluster) => {
      const first = cluster.node(0);

      // Most of their time is waiting.
      const words = t.test('every wrong command is refused with a reason, and changes nothing', async () => {
        const before = await cluster.gluon(first, ['volume', 'info']);
        const all = refusals(cluster);
        const isPeer = ({ words }: Refusal): boolean => words[0] === 'peer';
        // A node does one change of the pool at a time; and it takes its time to find out that nobody answers.
        const [peers, rest] = [all.filter(isPeer), all.filter((refusal) => !isPeer(refusal))];
        const give = async (queue: Refusal[]): Promise<void> => {
          for (let next = queue.shift(); next !== undefined; next = queue.shift()) await refused(cluster, first, next);
        };
        await Promise.all([give(peers), give(rest), give(rest)]);
        assert.equal((await cluster.gluon(first, ['volume', 'info'])).stdout, before.stdout);
      });

      const daemons = t.test('a command to a daemon that does not run says so at once', async () => {
        const nobody = async (...where: string[]): Promise<void> => {
          const begin = performance.now();
          const words = [process.execPath, join(PACKAGE_ROOT, 'bin', 'gluon'), ...where, 'pool', 'list'];
          const result = await cluster.on(first, words, { accept: 'any', boundMs: 60_000 });
          assert.equal(result.status, 1);
          assert.match(result.stderr, /gluond|connect|answer|reach/i);
          assert.ok(performance.now() - begin < REFUSAL_MS_MAX);
        };
        await Promise.all([
          nobody('--state-dir', join(cluster.root, 'nobody')),
          nobody('--remote-host', '10.77.0.99:24007'),
          nobody('--remote-host', `${first.network.address}:1`),
        ]);
      });

      const mounts = t.test('a mount of what does not exist is refused with a reason, and leaves nothing', async () => {
        const host = first.network.address;
        const place = (name: string): string => {
          const path = join(first.directory, name);
          mkdirSync(path);
          return path;
        };
        writeFileSync(join(first.directory, 'file'), '');
        await Promise.all([
          mountRefused(cluster, first, `${host}:nothing`, place('elsewhere'), /nothing/),
          mountRefused(cluster, first, `no-such-host.invalid:${cluster.volume}`, place('nowhere'), /no-such-host/),
          mountRefused(cluster, first, `10.77.0.99:${cluster.volume}`, place('besides'), /10\.77\.0\.99/),
          mountRefused(cluster, first, 'nonsense', place('anywhere'), /nonsense/),
          mountRefused(cluster, first, `${host}:${cluster.volume}`, join(first.directory, 'missing'), /missing/),
          mountRefused(cluster, first, `${host}:${cluster.volume}`, join(first.directory, 'file'), /file/),
        ]);
      });
      await Promise.all([words, daemons, mounts]);

      await t.test('control characters in names reach no terminal', async () => {
        const third = cluster.node(2);
        await cluster.killNode(third);
        await waitFor('a brick to be absent', 60_000, async () => (await cluster.healInfo()).some((b) => b.role !== 'primary' && b.role !== 'in sync'));
        const names = ['\\x1b[31mred', 'new\\nline', '%s%n', '\\xff\\xfe', '\\u202eesrever'];
        await shell(`cd "$1"; mkdir odd; cd odd; for name in "\${@:2}"; do echo x > "$(printf '%b' "$name"; echo .)"; done`, [first.mountPoint, ...names]);
        for (const form of [[], ['--xml'], ['--json']]) {
          const { stdout } = await cluster.gluon(first, ['volume', 'heal', cluster.volume, 'info', ...form]);
          // eslint-disable-next-line no-control-regex
          assert.doesNotMatch(stdout, /[\x00-\x09\x0b-\x1f\x7f\u202e]/, `heal info ${form.join('')}`);
        }
        await cluster.startDaemon(third);
        await cluster.unmount(third).catch(() => run('umount', ['-l', third.mountPoint], { accept: 'any' }));
        await cluster.waitForBrick(third, 60_000);
        await cluster.mount(third);
        await cluster.assertHealedAndEqual();
      });

      await t.test('malformed frames on every port end the connection and nothing else', async () => {
        const before = new Map(cluster.processes().map((p) => [p.pid, residentMiB(p.pid)]));
        const targets = await ports(cluster, first);
        assert.ok(targets.length >= 3, `gluond and a brick listen: ${JSON.stringify(targets)}`);
        const outcomes = await Promise.all(
          targets.map(async ({ address }) => {
            const words = [process.execPath, join(BUILD_ROOT, 'test', 'support', 'intruder.js'), ...address];
            return JSON.parse((await cluster.on(first, words, { boundMs: 120_000 })).stdout) as Record<string, string>;
          }),
        );
        for (const [index, outcome] of outcomes.entries()) {
          const open = Object.entries(outcome).filter(([, what]) => what !== 'closed');
          assert.deepEqual(open, [], `connections that stay open on ${targets[index]?.address.join(':')}`);
        }
        for (const [pid, memory] of before) {
          assert.ok(isAlive(pid), `process ${pid} lives`);
          assert.ok(residentMiB(pid) < memory + 150, `memory of process ${pid} grew from ${memory.toFixed(0)} to ${residentMiB(pid).toFixed(0)} MiB`);
        }
        await shell('echo still here > "$1/after"; sync -f "$1"', [first.mountPoint]);
        assert.equal((await run('cat', [join(cluster.node(1).mountPoint, 'after')])).stdout, 'still here\n');
        await cluster.assertHealedAndEqual();
      });
    },
  );
});

test('full and vanishing disks', async (t) => {
  await withCluster(
    () => Cluster.mounted({ brickPath: (node) => diskFor(node, node.index === 2 ? 96 : 64) }),
    async (cluster) => {
      const [first, second, third] = [cluster.node(0), cluster.node(1), cluster.node(2)];

      await t.test('a full disk is ENOSPC to the caller, and nothing is corrupt', async () => {
        await shell('cd "$1"; mkdir keep; for n in $(seq 20); do head -c 100000 /dev/urandom > keep/$n; done; sha256sum keep/* > sums; sync -f .', [first.mountPoint]);
        const full = await shell('dd if=/dev/zero of="$1/big" bs=1M count=200 conv=fsync', [first.mountPoint], { accept: 'any', boundMs: 180_000 });
        assert.notEqual(full.status, 0, 'dd of 200 MiB onto 64 MiB');
        assert.match(full.stderr, /No space left on device/);
        const small = await shell('for n in $(seq 5000); do head -c 20000 /dev/zero > "$1/small$n" || exit 9; done', [second.mountPoint], { accept: 'any', boundMs: 300_000 });
        if (small.status !== 0) assert.match(small.stderr, /No space left on device/);
        for (const node of [second, third]) await shell('cd "$1"; sha256sum --quiet -c sums', [node.mountPoint]);
        await shell('rm -f "$1"/small* "$1/big"', [first.mountPoint], { boundMs: 300_000 });
        await shell('echo again > "$1/again"; sync -f "$1"', [first.mountPoint]);
        await cluster.assertHealedAndEqual();
      });

      await t.test('a disk that is pulled under a brick leaves the set; nothing is deleted elsewhere; put back, it heals', async () => {
        await pullDisk(second.brickPath);
        await shell('cd "$1"; mkdir without; for n in $(seq 20); do echo $n > without/$n; done; rm keep/1; sync -f .', [first.mountPoint], { boundMs: 60_000 });
        await waitFor('the brick without a disk to leave the set', 90_000, async () => {
          await shell('date > "$1/tick"', [first.mountPoint]);
          const role = (await cluster.healInfo())[1]?.role;
          return role !== 'primary' && role !== 'in sync';
        });
        const { stdout } = await shell('ls "$1/keep" | wc -l; ls "$1/without" | wc -l', [first.mountPoint]);
        assert.equal(stdout, '19\n20\n');
        await shell('test ! -e "$1/.gluon"', [second.brickPath]);
        await putDiskBack(second);
        await cluster.waitForBrick(second, 90_000);
        await cluster.assertHealedAndEqual();
      });

      await t.test('a brick directory that is moved away and replaced by an empty one never serves', async () => {
        const aside = `${third.brickPath}-aside`;
        renameSync(third.brickPath, aside);
        mkdirSync(third.brickPath);
        await shell('cd "$1"; echo more > more; sync -f .', [first.mountPoint], { boundMs: 60_000 });
        // It may have noticed by itself and ended.
        await cluster.killBrick(third).catch((error: unknown) => assert.match(String(error), /the brick of node 3 does not run/));
        await waitFor('the brick with the wrong directory to be out of the set', 90_000, async () => {
          const role = (await cluster.healInfo())[2]?.role;
          return role !== 'primary' && role !== 'in sync';
        });
        const { stdout } = await shell('ls "$1/keep" | wc -l; cat "$1/more"; cd "$1"; tail -n +2 sums | sha256sum --quiet -c -', [third.mountPoint], { accept: 'any' });
        assert.match(stdout, /^19\nmore\n/);
        await run('rmdir', [third.brickPath], { accept: 'any' });
        await shell('rm -rf "$1"', [third.brickPath]);
        renameSync(aside, third.brickPath);
        await cluster.waitForBrick(third, 90_000);
        await cluster.assertHealedAndEqual();
      });
    },
  );
});
