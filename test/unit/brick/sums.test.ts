import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { crc32 } from 'node:zlib';
import { FsError } from '../../../src/base/errno.js';
import { ROOT_GFID, type Gfid } from '../../../src/base/ids.js';
import { initialiseBrick, openBrick, type OpenBrick } from '../../../src/brick/store/identity.js';
import type { DirectoryStore } from '../../../src/brick/store/store.js';
import type { Sums } from '../../../src/brick/store/sums.js';
import {
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  REGION_BYTES,
  SEEK_DATA,
  SEEK_HOLE,
} from '../../../src/fops/ops.js';
import { regionKey } from '../../../src/replica/keys.js';
import { DamagedError, Soundness, SUM_BLOCK_BYTES as BLOCK } from '../../../src/replica/soundness.js';
import { Crash, FaultyDisk } from './faulty-disk.js';
import { BRICK, newDirectory, newGfid, TestBrick, VOLUME } from './harness.js';

const setattr = { atimeNow: false, mtimeNow: false, killPriv: false };
const quiet = { found: () => undefined, lost: () => undefined };
const FILES = ['a', 'b', 'c'];

/** Small repeatable pseudo-random numbers. */
function dice(seed: number): (below: number) => number {
  let state = (seed * 2_654_435_761 + 1) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** The checksums as the format says, computed by other means. */
function expectedSums(content: Buffer): number[] {
  const zeros = crc32(Buffer.alloc(BLOCK));
  const sums: number[] = [];
  for (let at = 0; at < content.length; at += BLOCK) {
    const block = Buffer.alloc(BLOCK);
    content.copy(block, 0, at, Math.min(content.length, at + BLOCK));
    sums.push((crc32(block) ^ zeros) >>> 0);
  }
  return sums;
}

function sumsFile(path: string, gfid: Gfid): string {
  return join(path, '.gluon/sums', gfid.slice(0, 2), gfid);
}

function storedSums(path: string, gfid: Gfid): number[] {
  if (!existsSync(sumsFile(path, gfid))) return [];
  const bytes = readFileSync(sumsFile(path, gfid));
  return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readUInt32LE(i * 4));
}

/** Numbers of blocks whose checksum on the disk is not that of the bytes on the disk. */
function wrongBlocks(path: string, name: string, gfid: Gfid): number[] {
  const expected = expectedSums(readFileSync(join(path, name)));
  const stored = storedSums(path, gfid);
  const wrong: number[] = [];
  for (let block = 0; block < Math.max(expected.length, stored.length); block++)
    if ((expected[block] ?? 0) !== (stored[block] ?? 0)) wrong.push(block);
  return wrong;
}

/** Changes bytes of the file behind the brick's back. */
function flip(path: string, name: string, offset: number, bit = 1): void {
  const file = join(path, name);
  const bytes = readFileSync(file);
  bytes[offset] = (bytes[offset] as number) ^ bit;
  writeFileSync(file, bytes);
}

interface Change {
  what: string;
  run(): void;
  /** The same on the model. */
  model(): void;
  /** Blocks of the target that may be neither as before nor as after when it is interrupted. */
  file: string;
}

/** Random changes of bytes over every way by which they can come. */
class Changes {
  readonly contents = new Map<string, Buffer>(FILES.map((name) => [name, Buffer.alloc(0)]));
  readonly #below: (n: number) => number;
  readonly #apply: TestBrick['apply'];
  readonly #store: () => DirectoryStore;
  readonly #gfid: (name: string) => Gfid;

  constructor(seed: number, apply: TestBrick['apply'], store: () => DirectoryStore, gfid: (name: string) => Gfid) {
    this.#below = dice(seed);
    this.#apply = apply;
    this.#store = store;
    this.#gfid = gfid;
  }

  #offset(): number {
    const near = this.#below(3) === 0 ? BLOCK * this.#below(40) : this.#below(40 * BLOCK);
    return this.#below(30) === 0 ? near + (5 << 20) : near;
  }

  #length(): number {
    return [this.#below(200) + 1, BLOCK, BLOCK * (1 + this.#below(20)), 1 + this.#below(90_000)][this.#below(4)] as number;
  }

  #content(name: string): Buffer {
    return this.contents.get(name) as Buffer;
  }

  #resized(name: string, size: number): Buffer {
    const old = this.#content(name);
    const fresh = Buffer.alloc(size);
    old.copy(fresh);
    return fresh;
  }

  #put(name: string, offset: number, data: Buffer): void {
    const content = this.#resized(name, Math.max(this.#content(name).length, offset + data.length));
    data.copy(content, offset);
    this.contents.set(name, content);
  }

  next(): Change {
    const file = FILES[this.#below(FILES.length)] as string;
    const gfid = this.#gfid(file);
    const offset = this.#offset();
    const length = this.#length();
    const data = Buffer.alloc(length);
    const kind = this.#below(9);
    if (this.#below(5) > 0) for (let i = 0; i < length; i++) data[i] = this.#below(256);
    const size = this.#content(file).length;
    const zero = (at: number, end: number): void => {
      this.#content(file).fill(0, Math.min(at, size), Math.min(end, size));
    };
    const fallocate = (mode: number): void =>
      void this.#apply('fallocate', { gfid, offset, length, mode });
    switch (kind) {
      case 0:
        return {
          what: `append ${length}`, file,
          run: () => void this.#apply('write', { gfid, offset: 0, append: true, sync: false, killPriv: false, data }),
          model: () => this.#put(file, size, data),
        };
      case 1: {
        const to = this.#below(3) === 0 ? 0 : this.#offset();
        return {
          what: `size ${size} to ${to}`, file,
          run: () => void this.#apply('setattr', { ...setattr, gfid, size: to }),
          model: () => void this.contents.set(file, this.#resized(file, to)),
        };
      }
      case 2:
        return { what: `punch ${offset}+${length}`, file, run: () => fallocate(FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE), model: () => zero(offset, offset + length) };
      case 3: {
        const keep = this.#below(2) === 0;
        return {
          what: `zero ${offset}+${length}`, file,
          run: () => fallocate(FALLOC_ZERO_RANGE | (keep ? FALLOC_KEEP_SIZE : 0)),
          model: () => {
            zero(offset, offset + length);
            if (!keep) this.contents.set(file, this.#resized(file, Math.max(size, offset + length)));
          },
        };
      }
      case 4:
        return { what: `allocate ${offset}+${length}`, file, run: () => fallocate(0), model: () => void this.contents.set(file, this.#resized(file, Math.max(size, offset + length))) };
      case 5:
      case 6:
        return this.#copy(file, offset, length);
      case 7:
        return this.#below(2) === 0
          ? { what: `patch ${offset}+${length}`, file, run: () => this.#store().patch(gfid, offset, data), model: () => this.#put(file, offset, data) }
          : { what: `resync punch ${offset}+${length}`, file, run: () => this.#store().punch(gfid, offset, length), model: () => zero(offset, offset + length) };
      default:
        return {
          what: `write ${offset}+${length}`, file,
          run: () => void this.#apply('write', { gfid, offset, append: false, sync: false, killPriv: false, data }),
          model: () => this.#put(file, offset, data),
        };
    }
  }

  #copy(file: string, offset: number, length: number): Change {
    const from = FILES[this.#below(FILES.length)] as string;
    const sourceOffset = this.#below(2) === 0 ? this.#below(50_000) : (offset % BLOCK) + BLOCK * this.#below(20);
    const available = Math.max(0, Math.min(length, this.#content(from).length - sourceOffset));
    const overlaps = from === file && sourceOffset < offset + available && offset < sourceOffset + available;
    const args = { source: this.#gfid(from), sourceOffset, target: this.#gfid(file), targetOffset: offset, length };
    return {
      what: `copy ${from} ${sourceOffset} to ${file} ${offset}+${length}`, file,
      run: () => void (overlaps || this.#apply('copyFileRange', args)),
      model: () => {
        if (overlaps || available === 0) return;
        this.#put(file, offset, Buffer.from(this.#content(from).subarray(sourceOffset, sourceOffset + available)));
      },
    };
  }
}

let brick: TestBrick;
let sums: Sums;
let gfid: Gfid;
beforeEach(() => {
  brick = new TestBrick();
  sums = brick.store.keepSums(quiet);
  gfid = brick.file(ROOT_GFID, 'f').gfid;
});
afterEach(() => brick.remove());

function content(bytes: number, seed = 1): Buffer {
  const below = dice(seed);
  return Buffer.from(Uint8Array.from({ length: bytes }, () => 1 + below(255)));
}

async function damagedAt(offset: number, size: number): Promise<DamagedError['range']> {
  try {
    await brick.store.read(gfid, offset, size);
  } catch (error) {
    assert.ok(error instanceof DamagedError, String(error));
    return error.range;
  }
  return assert.fail('bytes that do not match their checksum were returned');
}

describe('checksums of blocks', () => {
  for (let seed = 1; seed <= Number(process.env['MODEL_SEEDS'] ?? 4); seed++) {
    it(`are right after every change of bytes (seed ${seed})`, async () => {
      const gfids = new Map(FILES.map((name) => [name, brick.file(ROOT_GFID, name).gfid]));
      const of = (name: string): Gfid => gfids.get(name) as Gfid;
      const changes = new Changes(seed, (op, args) => brick.apply(op, args), () => brick.store, of);
      const below = dice(seed + 1000);
      for (let i = 0; i < 250; i++) {
        const change = changes.next();
        change.run();
        change.model();
        if (below(20) === 0) {
          brick.reopen();
          brick.store.keepSums(quiet);
        }
        const expected = changes.contents.get(change.file) as Buffer;
        assert.deepEqual(wrongBlocks(brick.path, change.file, of(change.file)), [], `step ${i}: ${change.what}`);
        assert.ok(readFileSync(join(brick.path, change.file)).equals(expected), `step ${i}: ${change.what}`);
        const at = below(expected.length + 1);
        const size = 1 + below(70_000);
        const got = Buffer.from(await brick.store.read(of(change.file), at, size));
        assert.ok(got.equals(expected.subarray(at, at + size)), `step ${i}: ${change.what}, read ${at}+${size}`);
      }
    });
  }

  it('cost nothing on the disk where the file has a hole', () => {
    brick.apply('setattr', { ...setattr, gfid, size: 2 ** 34 });
    brick.write(gfid, 2 ** 34 - 10, 'end');
    assert.deepEqual([...sums.examine(gfid, 0, 2 * BLOCK).blocks], [Soundness.Sound, Soundness.Sound]);
    assert.ok(statSync(sumsFile(brick.path, gfid)).blocks * 512 < 100_000);
  });

  it('go with the file', () => {
    brick.write(gfid, 0, 'x');
    assert.ok(existsSync(sumsFile(brick.path, gfid)));
    brick.apply('unlink', { parent: ROOT_GFID, name: 'f' });
    assert.ok(!existsSync(sumsFile(brick.path, gfid)));
  });

  it('are removed, some with each step, when the volume keeps none any more, also after a crash in between', () => {
    brick.write(gfid, 0, 'x');
    const first = brick.store.dropSums();
    first.next();
    assert.ok(!existsSync(join(brick.path, '.gluon/sums')));
    brick.store.keepSums(quiet);
    brick.write(gfid, 0, 'y');
    for (const step of brick.store.sweepSums()) assert.equal(step, undefined);
    for (const step of brick.store.dropSums()) assert.equal(step, undefined);
    assert.deepEqual(readdirSync(join(brick.path, '.gluon')).filter((name) => name.startsWith('sums')), []);
  });
});

describe('a damaged block', () => {
  it('is never read, wherever the damage is', async () => {
    const data = content(50_000);
    brick.write(gfid, 0, data);
    const below = dice(7);
    for (let i = 0; i < 300; i++) {
      const at = below(data.length);
      flip(brick.path, 'f', at, 1 << below(8));
      const range = await damagedAt(at, 1);
      assert.ok(range.offset <= at && at < range.offset + range.length);
      assert.equal(Buffer.from(await brick.store.read(gfid, at < 8192 ? 8192 : 0, 4096)).length, 4096);
      brick.store.sums?.mend(gfid, range.offset, data.subarray(range.offset, range.offset + range.length));
      assert.ok(Buffer.from(await brick.store.read(gfid, 0, data.length)).equals(data));
    }
    assert.equal(sums.known.counts.corrupted, 300);
    assert.equal(sums.known.counts.repaired, 300);
    assert.equal(sums.known.counts.damaged, 0);
  });

  it('is found where bytes became a hole, and a hole is not told of', async () => {
    const data = content(100_000);
    brick.write(gfid, 0, data);
    brick.store.dropCaches();
    truncateSync(join(brick.path, 'f'), 0);
    truncateSync(join(brick.path, 'f'), data.length);
    await damagedAt(0, 10);
    assert.equal(brick.store.lseek(gfid, 0, SEEK_DATA), 0);
    assert.equal(brick.store.lseek(gfid, 50_000, SEEK_DATA), 50_000);
    assert.equal(brick.store.lseek(gfid, 10, SEEK_HOLE), data.length);
    assert.throws(() => brick.store.digests(gfid, 0), DamagedError);
  });

  it('stays known as damaged when other bytes of it change, and is then what it would have been', async () => {
    const data = content(3 * BLOCK);
    brick.write(gfid, 0, data);
    flip(brick.path, 'f', 5000);
    brick.write(gfid, 6000, 'beside the damage');
    data.write('beside the damage', 6000);
    await damagedAt(4096, 4096);
    // The right block is still recognised by the checksum.
    assert.equal(sums.expects(gfid, BLOCK, data.subarray(BLOCK, 2 * BLOCK)), true);
    brick.write(gfid, 4990, 'over the damage, but not over the whole block');
    await damagedAt(4096, 4096);
    brick.apply('setattr', { ...setattr, gfid, size: 2 * BLOCK - 10 });
    await damagedAt(4096, 10);
    brick.apply('fallocate', { gfid, offset: 4100, length: 50, mode: FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE });
    await damagedAt(4096, 10);
    brick.write(gfid, BLOCK, content(BLOCK - 10));
    assert.ok(Buffer.from(await brick.store.read(gfid, BLOCK, BLOCK)).equals(content(BLOCK - 10)));
  });

  for (const shift of [0, 100])
    it(`makes the block damaged that it is copied to (shifted by ${shift})`, async () => {
      const source = brick.file(ROOT_GFID, 'source').gfid;
      const data = content(10 * BLOCK);
      brick.write(source, 0, data);
      flip(brick.path, 'source', 3 * BLOCK + 17);
      const args = { source, sourceOffset: shift, target: gfid, targetOffset: 0, length: 8 * BLOCK };
      brick.apply('copyFileRange', args);
      assert.ok(Buffer.from(await brick.store.read(gfid, 0, 2 * BLOCK)).equals(data.subarray(shift, shift + 2 * BLOCK)));
      const range = await damagedAt(0, 8 * BLOCK);
      assert.ok(range.offset <= 3 * BLOCK + 17 - shift && range.offset + range.length > 3 * BLOCK + 17 - shift);
      assert.ok(range.length <= 2 * BLOCK);
    });

  it('is copied by a resync when it is at the target, and stops it at the source', async () => {
    brick.write(gfid, 0, content(200_000));
    flip(brick.path, 'f', 70_000);
    const digests = Buffer.from(await brick.store.digests(gfid, 0, true));
    assert.ok(digests.subarray(16, 32).equals(Buffer.alloc(16, 0xff)));
    assert.ok(!digests.subarray(0, 16).equals(Buffer.alloc(16, 0xff)));
    assert.throws(() => brick.store.digests(gfid, 0), DamagedError);
    const fine = Buffer.from(await brick.store.fineDigests(gfid, 0, 0b10, true));
    const damaged = Array.from({ length: 16 }, (_, i) => i).filter((i) => fine.subarray(i * 16, (i + 1) * 16).equals(Buffer.alloc(16, 0xff)));
    assert.deepEqual(damaged, [1]);
    assert.throws(() => brick.store.fineDigests(gfid, 0, 0b10), DamagedError);
  });

  it('is told with its neighbours, and not any more when it is cut off or rewritten', async () => {
    brick.write(gfid, 0, content(20 * BLOCK));
    for (const block of [2, 3, 4, 9]) flip(brick.path, 'f', block * BLOCK + 1);
    await damagedAt(0, 20 * BLOCK);
    assert.deepEqual(sums.damage(10), [
      { gfid, offset: 2 * BLOCK, length: 3 * BLOCK },
      { gfid, offset: 9 * BLOCK, length: BLOCK },
    ]);
    brick.apply('setattr', { ...setattr, gfid, size: 9 * BLOCK });
    brick.write(gfid, 3 * BLOCK, content(BLOCK));
    assert.deepEqual(sums.damage(10), [
      { gfid, offset: 2 * BLOCK, length: BLOCK },
      { gfid, offset: 4 * BLOCK, length: BLOCK },
    ]);
    brick.apply('unlink', { parent: ROOT_GFID, name: 'f' });
    assert.deepEqual(sums.damage(10), []);
  });

  it('can be made of any block on purpose, and be believed', async () => {
    brick.write(gfid, 0, content(2 * BLOCK));
    sums.taint(gfid, BLOCK, BLOCK);
    await damagedAt(BLOCK, 1);
    sums.trust(gfid, BLOCK, BLOCK);
    assert.ok(Buffer.from(await brick.store.read(gfid, 0, 2 * BLOCK)).equals(content(2 * BLOCK)));
  });
});

describe('a file from before checksums', () => {
  beforeEach(() => {
    for (const step of brick.store.dropSums()) assert.equal(step, undefined);
    brick.write(gfid, 0, content(100 * BLOCK));
    sums = brick.store.keepSums(quiet);
  });

  it('is read unchecked until they are made, while it changes', async () => {
    const expected = Buffer.alloc(120 * BLOCK);
    content(100 * BLOCK).copy(expected);
    const put = (offset: number, data: Buffer): void => {
      brick.write(gfid, offset, data);
      data.copy(expected, offset);
    };
    assert.deepEqual([...sums.examine(gfid, 0, BLOCK).blocks], [Soundness.Unknown]);
    const build = sums.files.beginBuild(gfid);
    assert.ok(build);
    assert.equal(sums.buildStep(build, 30), false);
    put(10 * BLOCK + 5, content(9000, 2));
    put(80 * BLOCK + 5, content(9000, 3));
    assert.equal(sums.has(brickInode()), false);
    assert.equal(sums.buildStep(build, 30), false);
    brick.apply('setattr', { ...setattr, gfid, size: 50 * BLOCK });
    expected.fill(0, 50 * BLOCK);
    put(110 * BLOCK, content(10 * BLOCK, 4));
    while (!sums.buildStep(build, 30)) assert.ok(build.next < 200);
    sums.files.finishBuild(build);
    assert.equal(sums.has(brickInode()), true);
    assert.deepEqual(wrongBlocks(brick.path, 'f', gfid), []);
    assert.ok(Buffer.from(await brick.store.read(gfid, 0, expected.length)).equals(expected));
  });

  it('has none still when making them was interrupted', () => {
    const build = sums.files.beginBuild(gfid);
    assert.ok(build);
    sums.buildStep(build, 30);
    brick.reopen();
    sums = brick.store.keepSums(quiet);
    assert.equal(sums.has(brickInode()), false);
    for (const step of sums.files.sweep()) assert.equal(step, undefined);
    assert.deepEqual(readdirSync(join(brick.path, '.gluon/sums', gfid.slice(0, 2))), []);
  });
});

function brickInode(): never {
  // `has` needs the identity and the size alone.
  return { gfid, size: brick.store.getattr(gfid).size } as never;
}

/** A brick on a disk whose calls fail on order. */
class FaultyBrick {
  readonly path = newDirectory();
  readonly faults = new FaultyDisk();
  open: OpenBrick;
  #clock = 1_600_000_000;

  constructor() {
    initialiseBrick(this.faults.disk, this.path, { volumeId: VOLUME, brickId: BRICK, bootId: '' });
    this.open = this.#openAgain();
  }

  #openAgain(): OpenBrick {
    const open = openBrick(this.faults.disk, this.path, VOLUME, BRICK);
    open.store.keepSums(quiet);
    return open;
  }

  crash(): void {
    this.faults.die();
    this.open = this.#openAgain();
  }

  apply: TestBrick['apply'] = (op, args) =>
    this.open.store.apply(op, args, { time: { sec: this.#clock++, nsec: 0 }, gfid: newGfid(), purge: true });

  remove(): void {
    this.faults.die();
    rmSync(this.path, { recursive: true, force: true });
  }
}

describe('a process that dies at any system call of a change of bytes', () => {
  for (let seed = 1; seed <= Number(process.env['MODEL_SEEDS'] ?? 2); seed++)
    it(`leaves every checksum right outside of what the journal names (seed ${seed})`, () => {
      const faulty = new FaultyBrick();
      const gfids = new Map(
        FILES.map((name) => [
          name,
          faulty.apply('create', { parent: ROOT_GFID, name, mode: 0o644, exclusive: true, truncate: false, uid: 0, gid: 0 }).attr.gfid,
        ]),
      );
      const of = (name: string): Gfid => gfids.get(name) as Gfid;
      const changes = new Changes(seed + 50, faulty.apply, () => faulty.open.store, of);
      let crashes = 0;
      let torn = 0;
      for (let i = 0; i < 120; i++) {
        const change = changes.next();
        const before = readFileSync(join(faulty.path, change.file));
        change.model();
        const after = changes.contents.get(change.file) as Buffer;
        for (let at = 1; at < 12; at++) {
          faulty.faults.arm(at, 'crash');
          let crashed = false;
          try {
            change.run();
          } catch (error) {
            assert.ok(error instanceof Crash, `${change.what}: ${String(error)}`);
            crashed = true;
          }
          faulty.faults.arm(0, 'crash');
          if (!crashed) break;
          crashes++;
          faulty.crash();
          const inode = faulty.open.store.getattr(of(change.file));
          // Opening them cuts what lies beyond the end.
          faulty.open.store.sums?.has(inode as never);
          for (const block of wrongBlocks(faulty.path, change.file, of(change.file))) {
            torn++;
            const [start, end] = [block * BLOCK, (block + 1) * BLOCK];
            assert.ok(start < Math.max(inode.size, BLOCK), `${change.what}: a checksum beyond the end`);
            assert.ok(!padded(before, start, end).equals(padded(after, start, end)), `${change.what}: block ${block} did not change`);
          }
          // As a resync does: the bytes are made what they were, whatever the checksums say.
          faulty.apply('setattr', { ...setattr, gfid: of(change.file), size: before.length });
          faulty.open.store.patch(of(change.file), 0, before);
          assert.deepEqual(wrongBlocks(faulty.path, change.file, of(change.file)), [], change.what);
        }
        assert.deepEqual(wrongBlocks(faulty.path, change.file, of(change.file)), [], `${i} ${change.what}`);
      }
      assert.ok(crashes > 100, String(crashes));
      assert.ok(torn > 20, String(torn));
      faulty.remove();
    });

  it('a mismatch in a region that the journal names is no damage', async () => {
    brick.write(gfid, 0, content(3 * REGION_BYTES));
    sums.suspect([regionKey(gfid, 1)]);
    flip(brick.path, 'f', 10);
    flip(brick.path, 'f', REGION_BYTES + 10);
    await damagedAt(0, BLOCK);
    await damagedAt(REGION_BYTES, BLOCK);
    assert.equal(sums.known.counts.corrupted, 1);
    assert.equal(sums.known.counts.torn, 1);
    assert.equal(sums.isSuspect(gfid, REGION_BYTES), true);
    assert.equal(sums.isSuspect(gfid, 2 * REGION_BYTES), false);
  });
});

function padded(content: Buffer, start: number, end: number): Buffer {
  const out = Buffer.alloc(end - start);
  content.copy(out, 0, Math.min(start, content.length), Math.min(end, content.length));
  return out;
}

describe('a disk that refuses', () => {
  for (const name of ['write', 'error at any call'])
    it(`${name}: the bytes and their checksums go together, or the file goes without`, () => {
      const faulty = new FaultyBrick();
      const created = FILES.map((file) => [
        file,
        faulty.apply('create', { parent: ROOT_GFID, name: file, mode: 0o644, exclusive: true, truncate: false, uid: 0, gid: 0 }).attr.gfid,
      ] as const);
      const gfids = new Map(created);
      const of = (file: string): Gfid => gfids.get(file) as Gfid;
      const changes = new Changes(99, faulty.apply, () => faulty.open.store, of);
      let refused = 0;
      for (let i = 0; i < 150; i++) {
        const change = changes.next();
        faulty.faults.arm(1 + (i % 4), 'error');
        try {
          change.run();
        } catch (error) {
          assert.ok(error instanceof FsError, `${change.what}: ${String(error)}`);
          refused++;
        }
        faulty.faults.arm(0, 'error');
        const content = readFileSync(join(faulty.path, change.file));
        changes.contents.set(change.file, content);
        if (existsSync(sumsFile(faulty.path, of(change.file)))) assert.deepEqual(wrongBlocks(faulty.path, change.file, of(change.file)), [], `${i} ${change.what}`);
      }
      assert.ok(refused > 20);
      faulty.remove();
    });
});
