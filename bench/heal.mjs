/**
 * `npm run bench -- --heal`: what a brick costs that was away. A sparse image, a part of it data; one brick is away while a 64th of the data changes in
 * random writes of 4 KiB. From its return on: bytes over the network until it is in sync, and seconds. Then the same for a volume of many files in
 * which nothing changed. Beside GlusterFS when its Debian package is installed.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { must, progress, run, sleep, waitFor } from '../scripts/lib/steps.mjs';
import { HealGluon, SETTLE_MS } from './systems/heal-gluon.mjs';
import { HealGluster } from './systems/heal-gluster.mjs';
import { GlusterSystem } from './systems/gluster.mjs';
import { alignedTable } from './table.mjs';

const MIB = 1 << 20;
const IMAGE_FACTOR = 5;
const CHANGED_FRACTION = 64;
const BYTES_FACTOR_MAX = 4;
const STEP_TIMEOUT_MS = 1_800_000;
const HEAL_TIMEOUT_MS = 1_200_000;
/** What a returning brick may cost more with a hundred times the files. */
const FILES_BYTES_MAX = 4 * MIB;

const MAKE_IMAGE = `
import os, sys
path, data, spread = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
os.ftruncate(fd, data * spread)
block = os.urandom(1 << 20)
for at in range(0, data, 1 << 20):
    os.pwrite(fd, at.to_bytes(8, "little") + block[8:], (at // (16 << 20)) * (16 << 20) * spread + at % (16 << 20))
os.fsync(fd)
`;
const CHANGE_IMAGE = `
import os, random, sys
path, data, spread, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
random.seed(1)
fd = os.open(path, os.O_WRONLY)
for _ in range(count):
    at = random.randrange(data // 4096) * 4096
    os.pwrite(fd, os.urandom(4096), (at // (16 << 20)) * (16 << 20) * spread + at % (16 << 20))
os.fsync(fd)
`;
const MAKE_FILES = `
import os, sys
root, files = sys.argv[1], int(sys.argv[2])
for f in range(files):
    if f % 1000 == 0:
        path = f"{root}/d{f // 1000:03d}"
        os.mkdir(path)
    os.close(os.open(f"{path}/f{f:06d}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
`;

/** Writes 4 KiB at random until the file `stop` is there, at most a time; prints count, p50, p99 and the longest, in ms. */
const LOAD = `
import os, random, sys, time
path, stop, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_DSYNC, 0o644)
block, took, until = os.urandom(4096), [], time.monotonic() + seconds
while time.monotonic() < until and not os.path.exists(stop):
    begin = time.monotonic()
    os.pwrite(fd, block, random.randrange(4096) * 4096)
    took.append((time.monotonic() - begin) * 1000)
took.sort()
print(len(took), took[len(took) // 2], took[int((len(took) - 1) * 0.99)], took[-1])
`;

const COMPARE = `
import os, sys
def ranges(fd, size):
    at, found = 0, set()
    while at < size:
        try:
            data = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            break
        at = os.lseek(fd, data, os.SEEK_HOLE)
        found.update(range(data >> 20, (at + (1 << 20) - 1) >> 20))
    return found
fds = [os.open(path, os.O_RDONLY) for path in sys.argv[1:]]
sizes = {os.fstat(fd).st_size for fd in fds}
if len(sizes) != 1:
    sys.exit(f"sizes differ: {sizes}")
size = sizes.pop()
for piece in sorted(ranges(fds[0], size) | ranges(fds[1], size)):
    if os.pread(fds[0], 1 << 20, piece << 20) != os.pread(fds[1], 1 << 20, piece << 20):
        sys.exit(f"mebibyte {piece} differs")
`;

async function load(mount, stop, seconds) {
  const { stdout } = await python(LOAD, join(mount, 'load'), stop, seconds);
  const [count, p50, p99, longest] = stdout.trim().split(' ').map(Number);
  return { count, p50, p99, longest };
}

function python(text, ...words) {
  return must(['/usr/bin/python3', '-c', text, ...words.map(String)], { timeoutMs: STEP_TIMEOUT_MS });
}

/** Seconds and bytes from the return of the brick until it is in sync. Asking costs the measured ones something: seldom, while they are timed. */
async function heal(system, askEveryMs = 500) {
  const before = await system.network.bytes();
  const begin = Date.now();
  await system.bringBrickBack();
  await waitFor('the brick to be in sync', HEAL_TIMEOUT_MS, () => system.inSync(), askEveryMs);
  const seconds = (Date.now() - begin) / 1000;
  return { seconds, bytes: (await system.network.bytes()) - before };
}

/** Byte for byte, where either has data. */
async function assertSame(system, name) {
  for (const number of [2, 3]) await python(COMPARE, join(system.brick(1), name), join(system.brick(number), name));
}

async function measureImage(system, mount, dataBytes, options) {
  const image = join(mount, 'image');
  const changes = Math.floor(dataBytes / CHANGED_FRACTION / 4096);
  progress(`${system.name}: an image of ${(dataBytes * IMAGE_FACTOR) / MIB} MiB with ${dataBytes / MIB} MiB of data`);
  await python(MAKE_IMAGE, image, dataBytes, IMAGE_FACTOR);
  await sleep(5_000);
  await system.takeBrickAway();
  progress(`${system.name}: one brick is away, ${changes} writes of 4 KiB`);
  await python(CHANGE_IMAGE, image, dataBytes, IMAGE_FACTOR, changes);
  const result = await heal(system);
  progress(`${system.name}: in sync after ${result.seconds.toFixed(1)} s, ${(result.bytes / MIB).toFixed(1)} MiB over the network`);
  await assertSame(system, 'image');
  const seconds = Number(options['heal-load']);
  const underLoad = seconds > 0 ? await measureUnderLoad(system, mount, options, seconds, () => python(CHANGE_IMAGE, image, dataBytes, IMAGE_FACTOR, changes)) : undefined;
  if (underLoad !== undefined) await assertSame(system, 'image');
  const { stdout } = await must(['du', '-k', join(system.brick(3), 'image')]);
  const allocated = Number(stdout.split('\t')[0]) * 1024;
  if (allocated > dataBytes * 1.2) throw new Error(`${system.name}: the image takes ${allocated} bytes on the healed brick`);
  await run(['rm', '-f', image], { timeoutMs: STEP_TIMEOUT_MS });
  return { ...result, changedBytes: changes * 4096, underLoad };
}

async function measureUnderLoad(system, mount, options, seconds, change) {
  await system.takeBrickAway();
  await change();
  const stop = join(options.dir, 'stop');
  const calm = await load(mount, stop, seconds);
  const loaded = load(mount, stop, HEAL_TIMEOUT_MS / 1000);
  const under = await heal(system, 2000);
  writeFileSync(stop, '');
  const busy = await loaded;
  rmSync(stop);
  const ms = (value) => `${value.toFixed(1)} ms`;
  progress(`${system.name}: under load in sync after ${under.seconds.toFixed(1)} s; synced writes p99 ${ms(calm.p99)} before, ${ms(busy.p99)} meanwhile, longest ${ms(busy.longest)}`);
  return { under, calm, busy };
}

async function measureFiles(system, mount, files) {
  const root = join(mount, `files-${files}`);
  mkdirSync(root);
  progress(`${system.name}: making ${files} files`);
  await python(MAKE_FILES, root, files);
  await sleep(SETTLE_MS);
  await system.takeBrickAway();
  const result = await heal(system);
  progress(`${system.name}: with ${files} files more, in sync after ${result.seconds.toFixed(1)} s, ${(result.bytes / MIB).toFixed(2)} MiB`);
  return { files, ...result };
}

/** `onSystem` is told what must be taken down, should the run be broken off. Exit status 1 when more crossed the network than four times what changed, or when the number of files shows. */
export async function measureHeal(options, onSystem) {
  const dataBytes = Number(options['heal-data']) * MIB;
  const counts = String(options['heal-files']).split(',').filter((word) => word !== '').map(Number);
  const systems = [new HealGluon(options.dir)];
  if (GlusterSystem.available() && options.systems.some((name) => name.startsWith('glusterfs'))) systems.push(new HealGluster(options.dir, 'default'));
  mkdirSync(options.dir, { recursive: true });
  const results = [];
  for (const system of systems) {
    onSystem(system);
    try {
      const mount = await system.up();
      const image = dataBytes > 0 ? await measureImage(system, mount, dataBytes, options) : undefined;
      const files = [];
      if (system.name === 'gluon') for (const count of counts) files.push(await measureFiles(system, mount, count));
      results.push({ system: system.name, image, files });
    } finally {
      await system.down();
      onSystem(undefined);
    }
  }
  const rows = results.flatMap(({ system, image, files }) => [
    ...(image === undefined
      ? []
      : [
          [system, `${image.changedBytes / MIB} MiB changed of ${dataBytes / MIB}`, image.seconds.toFixed(1), (image.bytes / MIB).toFixed(1), ''],
          ...(image.underLoad === undefined
            ? []
            : [[system, 'the same under synced writes', image.underLoad.under.seconds.toFixed(1), '', `${image.underLoad.calm.p99.toFixed(1)} → ${image.underLoad.busy.p99.toFixed(1)}`]]),
        ]),
    ...files.map((one) => [system, `nothing changed, ${one.files} files more`, one.seconds.toFixed(1), (one.bytes / MIB).toFixed(2), '']),
  ]);
  process.stdout.write(`\n${alignedTable([['system', 'while a brick was away', 'seconds', 'MiB', 'p99 of writes, ms'], ...rows])}\n`);
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify({ dataBytes, results }, undefined, 2)}\n`);
  const gluon = results[0];
  const tooMuch = gluon.image !== undefined && gluon.image.bytes > gluon.image.changedBytes * BYTES_FACTOR_MAX;
  if (tooMuch) process.stderr.write(`more than ${BYTES_FACTOR_MAX} times what changed crossed the network\n`);
  const [first, ...others] = gluon.files;
  const grows = others.some((one) => one.bytes > first.bytes + FILES_BYTES_MAX);
  if (grows) process.stderr.write('what an idle volume costs a returning brick grows with its files\n');
  return tooMuch || grows ? 1 : 0;
}
