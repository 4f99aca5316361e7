/**
 * Microseconds per operation of the brick's store, without network and replication; also those of the processor, which other load on the machine
 * changes less.
 *
 *   node dist/bench/store-micro.js [DIRECTORY] [FILES] [sums]
 *
 * `sums`: with checksums of the blocks (features.bitrot).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hex, ROOT_GFID, type Gfid } from '../src/base/ids.js';
import { initialiseBrick, openBrick } from '../src/brick/store/identity.js';
import { RealClock, RealRandom } from '../src/platform/clock.js';
import { LibcDisk } from '../src/platform/libc.js';
import type { Stamp } from '../src/replica/store.js';

const path = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'gluon-store-'));
const files = Number(process.argv[3] ?? 20_000);
const disk = new LibcDisk();
const clock = new RealClock();
const random = new RealRandom();
const identity = { volumeId: 'v', brickId: 'b', bootId: '' };
initialiseBrick(disk, path, identity);
const { store, close } = (() => {
  const brick = openBrick(disk, path, 'v', 'b');
  if (process.argv[4] === 'sums') brick.store.keepSums({ found: () => undefined, lost: () => undefined });
  return { store: brick.store, close: () => brick.close() };
})();

function measure(name: string, count: number, action: (i: number) => void): void {
  const start = clock.now();
  const before = process.cpuUsage();
  for (let i = 0; i < count; i++) action(i);
  const each_us = ((clock.now() - start) * 1000) / count;
  const { user, system } = process.cpuUsage(before);
  const cpu_us = (user + system) / count;
  process.stdout.write(`${name.padEnd(44)} ${each_us.toFixed(2).padStart(9)} µs, ${cpu_us.toFixed(2).padStart(9)} µs of processor\n`);
}

const identities = Array.from({ length: files }, () => hex(random.bytes(16)));
function stamp(gfid: Gfid | '' = ''): Stamp {
  return { time: clock.wall(), gfid, purge: true };
}

const directory = store.apply(
  'mkdir',
  { parent: ROOT_GFID, name: 'd', mode: 0o755, uid: 0, gid: 0 },
  stamp(hex(random.bytes(16))),
).attr.gfid;
const name = (i: number): string => `file-${i}`;
const block = Buffer.alloc(4096, 7);
const large = Buffer.alloc(1 << 20, 7);
const written = (i: number): Gfid => identities[i % 500] as Gfid;

measure('create', files, (i) => {
  store.apply(
    'create',
    { parent: directory, name: name(i), mode: 0o644, exclusive: true, truncate: false, uid: 0, gid: 0 },
    stamp(identities[i] as Gfid),
  );
});
measure('write 4 KiB, new files', files, (i) => {
  store.apply(
    'write',
    { gfid: identities[i] as Gfid, offset: 0, append: false, sync: false, killPriv: false, data: block },
    stamp(),
  );
});
measure('write 4 KiB over 500 open files', files, (i) => {
  store.apply(
    'write',
    { gfid: written(i), offset: 0, append: false, sync: false, killPriv: false, data: block },
    stamp(),
  );
});
measure('write 4 KiB, one file, next offset', files, (i) => {
  store.apply(
    'write',
    { gfid: identities[0] as Gfid, offset: i * 4096, append: false, sync: false, killPriv: false, data: block },
    stamp(),
  );
});
measure('write 100 bytes, one file, next offset', files, (i) => {
  store.apply(
    'write',
    { gfid: identities[1] as Gfid, offset: i * 100, append: false, sync: false, killPriv: false, data: block.subarray(0, 100) },
    stamp(),
  );
});
measure('write 1 MiB, one file, next offset', 200, (i) => {
  store.apply(
    'write',
    { gfid: identities[2] as Gfid, offset: (i % 8) << 20, append: false, sync: false, killPriv: false, data: large },
    stamp(),
  );
});
measure('read 4 KiB, one file', files, (i) => void store.read(identities[0] as Gfid, i * 4096, 4096));
const megabytes = Math.floor((files * 4096) / (1 << 20));
measure('read 1 MiB', megabytes * 5, (i) => void store.read(identities[0] as Gfid, (i % megabytes) << 20, 1 << 20));
measure('digests of a region (1 MiB)', megabytes, (i) => void store.digests(identities[0] as Gfid, i));
measure('read 4 KiB, all files', files, (i) => void store.read(identities[i] as Gfid, 0, 4096));
measure('lookup, cached', files, (i) => void store.lookup(directory, name(i)));
measure('lookup of a name that does not exist', files, (i) => {
  try {
    store.lookup(directory, `no-${i}`);
  } catch {
    // ENOENT is what is measured.
  }
});
measure('getattr, cached', files, (i) => void store.getattr(identities[i] as Gfid));
const waiting_ms = clock.now();
const flushed = store.flushTimes(0);
store.flushTimes(Number.MAX_SAFE_INTEGER);
process.stdout.write(
  `${'flush of times, each'.padEnd(44)} ${(((clock.now() - waiting_ms) * 1000) / flushed).toFixed(2).padStart(9)} µs\n`,
);
store.dropCaches();
measure('lookup, not in memory', files, (i) => void store.lookup(directory, name(i)));
store.dropCaches();
const list = (): void => {
  let after = '';
  for (let end = false; !end;) {
    const page = store.readdir(directory, after, 1000, true);
    after = page.entries.at(-1)?.name ?? '';
    end = page.end;
  }
};
const perEntry = (label: string): void => {
  const start = clock.now();
  list();
  process.stdout.write(`${label.padEnd(44)} ${(((clock.now() - start) * 1000) / files).toFixed(2).padStart(9)} µs\n`);
};
perEntry('readdir with attributes, not in memory, each');
perEntry('readdir with attributes, cached, each');
measure('rename', files, (i) => {
  store.apply(
    'rename',
    { parent: directory, name: name(i), newParent: directory, newName: `renamed-${i}`, flags: 0 },
    stamp(),
  );
});
measure('setattr mode', files, (i) => {
  store.apply(
    'setattr',
    { gfid: identities[i] as Gfid, mode: 0o600, atimeNow: false, mtimeNow: false, killPriv: false },
    stamp(),
  );
});
measure('unlink', files, (i) => void store.apply('unlink', { parent: directory, name: `renamed-${i}` }, stamp()));
process.stdout.write(`resident ${(process.memoryUsage().rss / (1 << 20)).toFixed(0)} MiB\n`);
close();
rmSync(path, { recursive: true, force: true });
