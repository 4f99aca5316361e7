/** Bytes of bricks change behind their back: no reader ever sees it, and every copy is right again. */
import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, readSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT_GFID, type Gfid } from '../../src/base/ids.js';
import { EMPTY_RECORD, Scrubber } from '../../src/brick/scrubber.js';
import type { DirectoryStore } from '../../src/brick/store/store.js';
import type { Sums } from '../../src/brick/store/sums.js';
import { silentLog } from '../../src/env/log.js';
import type { Fops } from '../../src/fops/ops.js';
import type { BrickId } from '../../src/fops/view.js';
import { RealClock } from '../../src/platform/clock.js';
import { BrickSet } from '../support/brick-set.js';
import { bricksBecomeEqual } from '../support/cluster.js';
import { waitFor } from '../support/wait.js';

const FLIPS = 1000;
const FILES = 8;
const FILE_BYTES = 1 << 20;
const HEAL_MS = 60_000;
const owner = { uid: 0, gid: 0 };
const write = { append: false, sync: false, killPriv: false };

interface File {
  name: string;
  gfid: Gfid;
  content: Buffer;
}

function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * below);
  };
}

async function start(): Promise<BrickSet> {
  const set = await BrickSet.start(3);
  set.sums = true;
  for (const { id } of set.spec.bricks) {
    await set.stopBrick(id);
    await set.startBrick(id);
    await waitFor('the brick to be in sync', HEAL_MS, () => set.view.inSync.length === 3, 20);
  }
  return set;
}

async function makeFiles(fops: Fops): Promise<File[]> {
  const below = numbers(4711);
  const files: File[] = [];
  for (let i = 0; i < FILES; i++) {
    const name = `f${i}`;
    const { attr } = await fops.create({ parent: ROOT_GFID, name, mode: 0o644, exclusive: true, truncate: false, ...owner });
    const content = Buffer.from(Uint8Array.from({ length: FILE_BYTES - i * 1000 }, () => below(256)));
    await fops.write({ ...write, gfid: attr.gfid, offset: 0, data: content });
    await fops.fsync({ gfid: attr.gfid, dataOnly: false });
    files.push({ name, gfid: attr.gfid, content });
  }
  return files;
}

function pathOf(set: BrickSet, brick: BrickId, name: string): string {
  return join(set.spec.bricks.find((spec) => spec.id === brick)?.path ?? '', name);
}

/** One byte of a file changes on the disk; in place, as a disk does it. */
function flip(path: string, at: number, by: number): void {
  const fd = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, at);
  writeSync(fd, Buffer.from([(byte[0] as number) ^ by]), 0, 1, at);
  closeSync(fd);
}

/** '' when they are the same, otherwise where they begin to differ and by which bits. */
function difference(got: Uint8Array, wanted: Uint8Array): string {
  if (got.byteLength !== wanted.byteLength) return `${got.byteLength} bytes instead of ${wanted.byteLength}`;
  if (Buffer.compare(got, wanted) === 0) return '';
  const places = Array.from(wanted.keys()).filter((i) => got[i] !== wanted[i]);
  return `${places.length} bytes differ, the first at ${places[0]} by ${((got[places[0] ?? 0] ?? 0) ^ (wanted[places[0] ?? 0] ?? 0)).toString(2)}`;
}

function store(set: BrickSet, brick: BrickId): DirectoryStore {
  return set.store(brick) as DirectoryStore;
}

function sums(set: BrickSet, brick: BrickId): Sums {
  return store(set, brick).sums as Sums;
}

async function scrub(set: BrickSet, brick: BrickId): Promise<Scrubber> {
  const over = new AbortController();
  const scrubber = new Scrubber({
    store: store(set, brick), sums: sums(set, brick), clock: new RealClock(), log: silentLog,
    settings: () => ({ rate: 1e9, paused: false, periodMs: 1e9 }), record: EMPTY_RECORD, save: () => undefined,
  });
  const run = scrubber.run(over.signal);
  await waitFor('the scrubber', HEAL_MS, () => scrubber.status().endedSec > 0, 20);
  over.abort();
  await run;
  return scrubber;
}

async function bricksAreRight(set: BrickSet, files: File[]): Promise<void> {
  for (const { id } of set.spec.bricks)
    await waitFor(`brick ${id} to be repaired`, HEAL_MS, () => sums(set, id).known.counts.damaged === 0, 50);
  for (const { id } of set.spec.bricks)
    for (const file of files) assert.ok(readFileSync(pathOf(set, id, file.name)).equals(file.content), `${file.name} on ${id}`);
}

test(`${FLIPS} bytes of the primary change while its files are read: no wrong byte is returned, all are repaired`, { timeout: 300_000 }, async () => {
  const set = await start();
  try {
    const { fops } = set.client();
    const files = await makeFiles(fops);
    const below = numbers(1);
    let over = false;
    let reads = 0;
    const reader = async (seed: number): Promise<void> => {
      const any = numbers(seed);
      while (!over) {
        const file = files[any(FILES)] as File;
        const offset = any(file.content.length);
        const size = 1 + any(any(2) === 0 ? 9000 : 300_000);
        const { data } = await fops.read({ gfid: file.gfid, offset, size });
        assert.equal(difference(data, file.content.subarray(offset, offset + size)), '', `${file.name} ${offset}+${size}`);
        reads++;
      }
    };
    const readers = Promise.all([reader(2), reader(3), reader(4)]);
    readers.catch(() => undefined);
    const { primary } = set.view;
    for (let i = 0; i < FLIPS; i++) {
      const file = files[below(FILES)] as File;
      flip(pathOf(set, primary, file.name), below(file.content.length), 1 << below(8));
      if (i % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await waitFor('reads of what changed', HEAL_MS, () => reads > 200, 20);
    over = true;
    await readers;
    await scrub(set, primary);
    await bricksAreRight(set, files);
    const { corrupted, repaired, lost } = sums(set, primary).known.counts;
    assert.ok(corrupted > FLIPS / 2, String(corrupted));
    assert.equal(repaired, corrupted);
    assert.equal(lost, 0);
    assert.equal(set.view.primary, primary);
  } finally {
    await set.close();
  }
});

test(`${FLIPS} bytes of a member change: the scrubber finds every damaged block, the primary repairs them`, { timeout: 300_000 }, async () => {
  const set = await start();
  try {
    const { fops } = set.client();
    const files = await makeFiles(fops);
    const below = numbers(5);
    const member = set.view.inSync.find((id) => id !== set.view.primary) as BrickId;
    const blocks = new Set<string>();
    for (let i = 0; i < FLIPS; i++) {
      const file = files[below(FILES)] as File;
      const at = below(file.content.length);
      const block = `${file.name} ${Math.floor(at / 4096)}`;
      if (blocks.has(block)) continue;
      blocks.add(block);
      flip(pathOf(set, member, file.name), at, 1 << below(8));
    }
    const scrubber = await scrub(set, member);
    assert.equal(scrubber.status().corrupted, blocks.size);
    await bricksAreRight(set, files);
    assert.equal(sums(set, member).known.counts.repaired, blocks.size);
  } finally {
    await set.close();
  }
});

test('damage of the primary is not copied to a brick that returns, nor to one that is compared as a whole', { timeout: 300_000 }, async () => {
  const set = await start();
  try {
    const { fops } = set.client();
    const files = await makeFiles(fops);
    const { primary, inSync } = set.view;
    const away = inSync.find((id) => id !== primary) as BrickId;
    await set.stopBrick(away);
    for (const file of files) {
      file.content.write('changed meanwhile', 100_000);
      await fops.write({ ...write, gfid: file.gfid, offset: 100_000, data: Buffer.from('changed meanwhile') });
      flip(pathOf(set, primary, file.name), 100_010, 4);
      flip(pathOf(set, primary, file.name), 200_010, 4);
    }
    await set.startBrick(away);
    await waitFor('the brick to be in sync again', HEAL_MS, () => set.view.inSync.length === 3, 20);
    for (const file of files) assert.ok(readFileSync(pathOf(set, away, file.name)).equals(file.content), file.name);
    set.replica(away)?.compareWhole();
    await waitFor('the comparison to begin', HEAL_MS, () => set.view.inSync.length === 2, 5);
    await waitFor('the brick to be compared', HEAL_MS, () => set.view.inSync.length === 3, 20);
    await bricksAreRight(set, files);
    await bricksBecomeEqual(set.spec.bricks.map((brick) => brick.path));
  } finally {
    await set.close();
  }
});

test('bytes that no brick has are an error and nothing else, until they are written again', { timeout: 300_000 }, async () => {
  const set = await start();
  try {
    const { fops } = set.client();
    const [file] = (await makeFiles(fops)) as [File];
    set.spec.bricks.forEach(({ id }, i) => flip(pathOf(set, id, file.name), 50_000 + i, 1));
    const read = (): Promise<{ data: Uint8Array }> => fops.read({ gfid: file.gfid, offset: 49_152, size: 4096 });
    await assert.rejects(read(), { code: 'EIO' });
    assert.ok(Buffer.from((await fops.read({ gfid: file.gfid, offset: 0, size: 49_152 })).data).equals(file.content.subarray(0, 49_152)));
    const { primary } = set.view;
    assert.equal(sums(set, primary).known.counts.lost, 1);
    // A brick that is compared with the one that lost them must not give them out either.
    const other = set.view.inSync.find((id) => id !== primary) as BrickId;
    set.replica(other)?.compareWhole();
    await waitFor('the comparison to begin', HEAL_MS, () => set.view.inSync.length === 2, 5);
    await waitFor('the brick to be compared', HEAL_MS, () => set.view.inSync.length === 3, 20);
    await assert.rejects(async () => await store(set, other).read(file.gfid, 49_152, 4096), { code: 'EIO' });
    await fops.write({ ...write, gfid: file.gfid, offset: 49_152, data: file.content.subarray(49_152, 53_248) });
    assert.ok(Buffer.from((await read()).data).equals(file.content.subarray(49_152, 53_248)));
    await bricksAreRight(set, [file]);
  } finally {
    await set.close();
  }
});

test('checksums that are wrong on every brick, as a power loss may leave them, are made anew where the bytes agree', { timeout: 300_000 }, async () => {
  const set = await start();
  try {
    const { fops } = set.client();
    const files = await makeFiles(fops);
    const other = set.view.inSync.find((id) => id !== set.view.primary) as BrickId;
    for (const { id, path } of set.spec.bricks)
      for (const { gfid } of id === other ? files.slice(1) : files) truncateSync(join(path, '.gluon/sums', gfid.slice(0, 2), gfid), 8);
    for (const file of files) {
      const { data } = await fops.read({ gfid: file.gfid, offset: 0, size: 1 << 20 });
      assert.ok(Buffer.from(data).equals(file.content), file.name);
    }
    for (const { id } of set.spec.bricks) await scrub(set, id);
    await bricksAreRight(set, files);
    assert.ok(set.spec.bricks.every(({ id }) => sums(set, id).known.counts.lost === 0));
  } finally {
    await set.close();
  }
});

test('the scrubber makes checksums for files from before, while they change', { timeout: 300_000 }, async () => {
  const set = await BrickSet.start(3);
  try {
    const { fops } = set.client();
    const files = await makeFiles(fops);
    for (const { id } of set.spec.bricks) store(set, id).keepSums({ found: () => undefined, lost: () => undefined });
    const { primary } = set.view;
    let over = false;
    const writer = async (): Promise<void> => {
      const any = numbers(8);
      while (!over) {
        const file = files[any(FILES)] as File;
        const offset = any(file.content.length - 20);
        file.content.write('written meanwhile', offset);
        await fops.write({ ...write, gfid: file.gfid, offset, data: Buffer.from('written meanwhile') });
      }
    };
    const writing = writer();
    const scrubber = await scrub(set, primary);
    over = true;
    await writing;
    assert.equal(scrubber.status().unchecked, 0);
    assert.equal(scrubber.status().files, FILES);
    for (const file of files) {
      flip(pathOf(set, primary, file.name), 5000, 1);
      const { data } = await fops.read({ gfid: file.gfid, offset: 0, size: 100_000 });
      assert.ok(Buffer.from(data).equals(file.content.subarray(0, 100_000)), file.name);
    }
    await bricksAreRight(set, files);
  } finally {
    await set.close();
  }
});
