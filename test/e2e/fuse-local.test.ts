/** The kernel's side of a mount, on a real mount over a local directory. Only child processes touch the mount. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { run, start } from '../support/exec.js';
import { mountLocal, type LocalMount } from '../support/local-mount.js';
import { BUILD_ROOT, PACKAGE_ROOT, SUPPORT_SOURCE } from '../support/paths.js';
import { killAndWait } from '../support/processes.js';
import { amount } from '../support/size.js';
import { sleep, waitFor, within } from '../support/wait.js';

const EXERCISE = join(SUPPORT_SOURCE, 'mount-exercise.py');
const APPENDS = `
import os, sys, time
fd = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)
gone = os.open(sys.argv[1] + '.gone', os.O_CREAT | os.O_RDWR)
end = time.time() + float(sys.argv[2])
n, worst = 0, 0
while time.time() < end:
    began = time.time()
    os.pwrite(fd, b'%08d' % n, 8 * n)
    assert os.pread(fd, 8, 8 * n) == b'%08d' % n
    n += 1
    worst = max(worst, time.time() - began)
assert os.fstat(fd).st_size == 8 * n
print(n, worst)
`;

/** The short form runs beside other tests, on as many processors as there are: there a restart takes longer. */
const RESTART_S_MAX = amount(6, 2.5);

describe('a mount over a local directory', { timeout: 120_000 }, () => {
  let mount: LocalMount;
  before(async () => {
    mount = await mountLocal();
  });
  after(async () => mount.remove());

  for (const name of ['names', 'listing', 'attributes', 'data', 'locks']) {
    test(`${name}: every operation does what Linux documents`, async () => {
      const { stdout } = await run('python3', [EXERCISE, name, mount.directory], { boundMs: 60_000 });
      assert.match(stdout, /done/);
    });
  }

  test('it shows as fuse.glusterfs with its source, and no error was logged', async () => {
    const { stdout } = await run('findmnt', ['-n', '-o', 'SOURCE,FSTYPE', mount.directory]);
    assert.match(stdout, /localhost:test\s+fuse\.glusterfs/);
    assert.doesNotMatch(readFileSync(mount.log, 'utf8'), /"level":"error"/);
  });
});

describe('crashes', { timeout: 180_000 }, () => {
  let mount: LocalMount;
  before(async () => {
    mount = await mountLocal();
  });
  after(async () => mount.remove());

  test('a killed worker is replaced and open files go on, three times in a row', async () => {
    const writer = start('python3', ['-c', APPENDS, join(mount.directory, 'numbers'), '6'], { boundMs: 60_000 });
    const dd = start(
      'dd',
      ['if=/dev/zero', `of=${join(mount.directory, 'zeros')}`, 'bs=256k', 'count=4000', 'oflag=direct'],
      { boundMs: 60_000 },
    );
    for (let i = 0; i < 3; i++) {
      await sleep(1200);
      const worker = await waitFor('a worker', 5000, () => mount.worker(), 20);
      await killAndWait(worker.pid);
    }
    const { stdout } = await writer.done;
    const [count = 0, worst_s = 0] = stdout.split(' ').map(Number);
    assert.ok(count > 100);
    assert.ok(worst_s < RESTART_S_MAX, `no operation waited longer than a restart takes (${worst_s} s)`);
    await dd.done;
    assert.equal(
      (await run('stat', ['-c', '%s', join(mount.directory, 'zeros')])).stdout.trim(),
      String(4000 * 256 * 1024),
    );
  });

  test('a killed supervisor is replaced by the worker, and the new one replaces the worker', async () => {
    const first = await waitFor('a supervisor', 5000, () => mount.supervisor());
    await killAndWait(first.pid);
    const second = await waitFor('another supervisor', 5000, () => mount.supervisor());
    assert.notEqual(second.pid, first.pid);
    const worker = await waitFor('a worker', 5000, () => mount.worker());
    await killAndWait(worker.pid);
    await run('touch', [join(mount.directory, 'after')], { boundMs: 10_000 });
    const third = await waitFor('the adopted worker', 5000, () => mount.worker());
    assert.equal(third.parent, second.pid);
    await killAndWait(second.pid);
    await waitFor('a third supervisor', 5000, () => mount.supervisor());
  });

  test('a request that kills every worker is refused after a few, and the mount goes on', async () => {
    const result = await run('mkdir', [join(mount.directory, 'die-of-a-bug')], { accept: 'any', boundMs: 30_000 });
    assert.match(result.stderr, /Input\/output error/);
    await run('mkdir', [join(mount.directory, 'fine')], { boundMs: 10_000 });
  });

  test('umount ends worker and supervisor', async () => {
    await waitFor(
      'the mount to be idle',
      10_000,
      async () => (await run('umount', [mount.directory], { accept: 'any' })).status === 0,
    );
    await waitFor('all processes to end', 10_000, () => mount.processes().length === 0);
    assert.equal(mount.isMounted(), false);
  });
});

describe('ends', { timeout: 120_000 }, () => {
  test('SIGTERM of a worker with open files takes the mount out of sight and ends with the last user', async () => {
    const mount = await mountLocal();
    try {
      const user = start('sh', ['-c', 'exec 3>"$1"; read line', 'sh', join(mount.directory, 'open')], {
        input: '',
        boundMs: 30_000,
        accept: 'any',
      });
      const holder = start('sleep', ['3'], { cwd: mount.directory });
      await sleep(300);
      process.kill((mount.worker() as { pid: number }).pid, 'SIGTERM');
      await waitFor('the mount to be out of sight', 5000, () => !mount.isMounted());
      await within('the users to end', 10_000, Promise.all([user.done, holder.done]));
      await waitFor('all processes to end', 10_000, () => mount.processes().length === 0);
    } finally {
      await mount.remove();
    }
  });

  test('an aborted connection leaves no dead mount behind', async () => {
    const mount = await mountLocal();
    try {
      if (!existsSync('/sys/fs/fuse/connections/.') || readdirSync('/sys/fs/fuse/connections').length === 0) {
        await run('mount', ['-t', 'fusectl', 'fusectl', '/sys/fs/fuse/connections']);
      }
      const { stdout } = await run('findmnt', ['-n', '-o', 'MAJ:MIN', mount.directory]);
      const minor = stdout.trim().split(':')[1] ?? '';
      await run('sh', ['-c', 'echo 1 > "/sys/fs/fuse/connections/$1/abort"', 'sh', minor]);
      await waitFor('the dead mount to be taken away', 5000, () => !mount.isMounted());
      await waitFor('all processes to end', 10_000, () => mount.processes().length === 0);
    } finally {
      await mount.remove();
    }
  });

  test('a mount whose processes were all killed is replaced by the next mount at the same place', async () => {
    const mount = await mountLocal('ro');
    try {
      const supervisor = mount.supervisor() as { pid: number };
      process.kill(supervisor.pid, 'SIGSTOP');
      const worker = mount.worker() as { pid: number };
      await killAndWait(worker.pid);
      await killAndWait(supervisor.pid);
      const dead = await run('ls', [mount.directory], { accept: 'any' });
      assert.match(dead.stderr, /not connected|connection abort/);
      await mount.mountAgain();
      await run('ls', [mount.directory]);
    } finally {
      await mount.remove();
    }
  });

  test('in the foreground it stays until it is told to end, and unmounts', async () => {
    const mount = await mountLocal();
    try {
      await run('umount', [mount.directory]);
      const foreground = start(process.execPath, mount.command, {
        env: { GLUON_TEST_DIRECTORY: mount.brick },
        boundMs: 30_000,
      });
      await waitFor('the mount to be there', 10_000, () => mount.isMounted() && mount.worker() !== undefined);
      await run('ls', [mount.directory]);
      foreground.child.kill('SIGINT');
      await foreground.done;
      assert.equal(mount.isMounted(), false);
    } finally {
      await mount.remove();
    }
  });

  test('a read-only mount refuses every change', async () => {
    const mount = await mountLocal('ro');
    try {
      const result = await run('touch', [join(mount.directory, 'x')], { accept: 'any' });
      assert.match(result.stderr, /Read-only/);
    } finally {
      await mount.remove();
    }
  });
});

describe('the mount command', { timeout: 120_000 }, () => {
  const helper = join(PACKAGE_ROOT, 'deploy', 'mount.gluon');
  const env = { GLUON_BUILD: basename(BUILD_ROOT) };

  test('wrong arguments end with status 1 and say what to write', async () => {
    for (const args of [
      [],
      ['novolume', '/mnt'],
      ['host:vol', '/mnt', '-o', 'log-level=loud'],
      ['host:vol', '/mnt', '-o', 'bogus'],
      ['host:vol', '/mnt', 'more'],
      ['host:vol', '/mnt', '-q'],
    ]) {
      const result = await run(helper, args, { accept: 'any', env });
      assert.equal(result.status, 1, args.join(' '));
      assert.notEqual(result.stderr, '');
    }
  });

  test('what mount and fstab add is tolerated, and -f only checks', async () => {
    await run(
      helper,
      ['host:vol', '/mnt', '-sfnv', '-o', 'rw,_netdev,nofail,x-systemd.requires=a.service,bogus', '-t', 'gluon'],
      { env },
    );
  });

  test('a volume that cannot be reached ends with status 32 and leaves nothing mounted', async () => {
    const directory = '/nowhere/at/all';
    const missing = await run(helper, ['localhost:vol', directory], { accept: 'any', env });
    assert.equal(missing.status, 32);
    assert.match(missing.stderr, /does not exist/);
  });
});
