/** What Nova does with the instances folder. */
import assert from 'node:assert/strict';
import type { Check } from './check.js';

const PROBES = 15;

export const NOVA: readonly Check[] = [
  {
    sentence: 'Nova: a probe file that the destination makes in the instances folder is there for the source at once, and gone at once, also when the source looked for it before',
    run: async ({ stage, source, target, python }) => {
      const [here, there] = [python(source), python(target)];
      for (let n = 0; n < PROBES; n++) {
        const [maker, looker] = n % 2 === 0 ? [there, here] : [here, there];
        const path = `${stage.instances}/tmp-probe-${n}`;
        assert.equal(await looker.ask(`os.path.exists('${path}')`), false);
        assert.equal(await maker.ask(`os.close(os.open('${path}', os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))`), null);
        assert.equal(await looker.ask(`os.utime('${stage.instances}', None)`), null);
        assert.equal(await looker.ask(`os.path.exists('${path}')`), true, `probe ${n} is not seen on the other node`);
        assert.equal(await maker.ask(`os.unlink('${path}')`), null);
        assert.equal(await looker.ask(`os.path.exists('${path}')`), false, `probe ${n} is still seen on the other node`);
      }
    },
  },
  {
    sentence: 'Nova: a random name from mkstemp in an instance\'s folder (cold migration, resize, evacuation) is seen by the other node',
    run: async ({ folder, source, target, python }) => {
      const [here, there] = [python(source), python(target)];
      await here.ask(`os.listdir('${folder}')`);
      const path = String(await there.ask(`tempfile.mkstemp(dir='${folder}')[1]`));
      assert.equal(await here.ask(`os.path.exists('${path}')`), true);
      assert.deepEqual(await here.ask(`os.listdir('${folder}')`), [path.slice(folder.length + 1)]);
    },
  },
  {
    sentence: 'Nova: utimes on the root of the mount takes effect, and the other node sees it',
    run: async ({ stage, source, target, python }) => {
      const [here, there] = [python(source), python(target)];
      await there.ask(`os.stat('${stage.instances}').st_mtime_ns`);
      await here.ask(`os.utime('${stage.instances}', ns=(1111111111, 987654321000))`);
      assert.equal(await there.ask(`os.stat('${stage.instances}').st_mtime_ns`), 987_654_321_000);
      const before = Number(await here.ask('time.time_ns()'));
      await here.ask(`os.utime('${stage.instances}', None)`);
      assert.ok(Math.abs(Number(await there.ask(`os.stat('${stage.instances}').st_mtime_ns`)) - before) < 60e9);
    },
  },
  {
    sentence: 'Nova: the probe for direct I/O (O_CREAT, O_WRONLY, O_DIRECT, 4096 aligned bytes) succeeds, so that Nova chooses cache=none',
    run: async ({ folder, source, target, python }) => {
      const here = python(source);
      const path = `${folder}/.directio.test.4711`;
      const fd = Number(await here.ask(`os.open('${path}', os.O_CREAT | os.O_WRONLY | os.O_DIRECT)`));
      assert.equal(await here.ask(`os.write(${fd}, aligned(97, 4096))`), 4096);
      assert.equal(await here.ask(`os.close(${fd})`), null);
      assert.equal(await python(target).ask(`open('${path}').read() == 'a' * 4096`), true);
      assert.equal(await here.ask(`os.unlink('${path}')`), null);
    },
  },
  {
    sentence: 'Nova: the locks of oslo (fcntl) in instances/locks hold between nodes, and end with a holder that was killed',
    run: async ({ folder, source, target, python }) => {
      const [here, there] = [python(source), python(target)];
      for (const process of [here, there]) await process.ask(`known.update(f=open('${folder}/storage-registry-lock', 'a'))`);
      assert.equal(await here.ask('fcntl.lockf(known["f"], fcntl.LOCK_EX | fcntl.LOCK_NB)'), null);
      assert.equal(await there.ask('fcntl.lockf(known["f"], fcntl.LOCK_EX | fcntl.LOCK_NB)'), 'EAGAIN');
      await here.kill();
      assert.equal(await there.ask('fcntl.lockf(known["f"], fcntl.LOCK_EX | fcntl.LOCK_NB)'), null, 'the lock of a killed process is held');
    },
  },
  {
    sentence: 'Nova: preallocate_images=space (`fallocate -n -l`) keeps the size and takes the room',
    run: async ({ stage, folder, source, target }) => {
      const path = `${folder}/disk`;
      await stage.on(source, ['truncate', '-s', '1M', path]);
      await stage.on(source, ['fallocate', '-n', '-l', '8M', path]);
      const [size, blocks] = (await stage.on(target, ['stat', '-c', '%s %b', path])).stdout.split(' ').map(Number);
      assert.equal(size, 1 << 20);
      assert.ok((blocks ?? 0) * 512 >= 8 << 20, `${blocks} blocks are allocated`);
    },
  },
  {
    sentence: 'Nova: the image cache touches a base image, and the other nodes see its age; qemu-img convert -t none makes one',
    run: async ({ stage, folder, source, target }) => {
      const path = `${folder}/base`;
      await stage.on(source, ['qemu-img', 'convert', '-t', 'none', '-f', 'raw', '-O', 'raw', stage.rootImage, path]);
      const same = await stage.on(target, ['cmp', stage.rootImage, path], { accept: 'any' });
      assert.equal(same.status, 0, same.stderr + same.stdout);
      await stage.on(target, ['stat', path]);
      await stage.on(source, ['touch', '-d', '@1000000000', path]);
      assert.equal((await stage.on(target, ['stat', '-c', '%Y', path])).stdout.trim(), '1000000000');
      await stage.on(source, ['touch', path]);
      assert.ok(Math.abs(Number((await stage.on(target, ['stat', '-c', '%Y', path])).stdout) * 1000 - Date.now()) < 60_000);
    },
  },
];
