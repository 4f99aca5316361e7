/** A mount's worker over a plain directory (GLUON_TEST_DIRECTORY) with one store and no replicas, to test the kernel's side on a real disk. */
import { LocalFops } from '../../src/brick/local-fops.js';
import { initialiseBrick, openBrick } from '../../src/brick/store/identity.js';
import { serveMount } from '../../src/main/mount-worker.js';
import { RealClock, RealRandom } from '../../src/platform/clock.js';
import { LibcDisk } from '../../src/platform/libc.js';

const VOLUME = '1'.repeat(32);
const BRICK = '2'.repeat(32);

await serveMount(({ takeover }) => {
  const directory = process.env['GLUON_TEST_DIRECTORY'] ?? '';
  const disk = new LibcDisk();
  if (!takeover) initialiseBrick(disk, directory, { volumeId: VOLUME, brickId: BRICK, bootId: '' }, { force: true });
  const brick = openBrick(disk, directory, VOLUME, BRICK);
  const fops = new LocalFops(brick.store, new RealClock(), new RealRandom());
  // A bug that a test can call for by a name.
  const mkdir = fops.mkdir.bind(fops);
  fops.mkdir = (args) => {
    if (args.name === 'die-of-a-bug') process.nextTick(() => JSON.parse('no'));
    return args.name === 'die-of-a-bug' ? new Promise(() => undefined) : mkdir(args);
  };
  return Promise.resolve({
    fops,
    close: () => {
      brick.close();
      return Promise.resolve();
    },
  });
});
