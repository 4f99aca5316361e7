import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LeaseCache } from '../../../src/client/lease-cache.js';
import { LocalReads, type LocalCopy } from '../../../src/client/local-reads.js';
import type { Attr } from '../../../src/fops/fields.js';
import type { VolumeSpec } from '../../../src/fops/volume.js';

const GFID = '0123456789abcdef0123456789abcdef';
const NEAR = 'aa'.repeat(16);
const FAR = 'bb'.repeat(16);
const TIME = { sec: 1, nsec: 0 };
const ATTR: Attr = { gfid: GFID, mode: 0o100644, nlink: 1, uid: 0, gid: 0, rdev: 0, size: 10, blocks: 8, atime: TIME, mtime: TIME, ctime: TIME };

function spec(options: Record<string, string> = {}): VolumeSpec {
  const brick = { node: 'n', host: 'h', path: '/brick', port: 1 };
  return { id: 'v', name: 'v', secret: '', started: true, options, bricks: [{ ...brick, id: FAR }, { ...brick, id: NEAR, socket: '/s' }] };
}

/** A local copy whose reads are answered by hand, or at once with `text`. */
class Copy implements LocalCopy {
  text: string | undefined = '0123456789';
  waiting: ((data: Uint8Array | undefined) => void)[] | undefined;
  asked: [number, number][] = [];
  closed = 0;

  read(_: string, offset: number, size: number): Uint8Array | Promise<Uint8Array | undefined> | undefined {
    this.asked.push([offset, size]);
    const { waiting } = this;
    if (waiting !== undefined) return new Promise((resolve) => waiting.push(resolve));
    return this.text === undefined ? undefined : Buffer.from(this.text.slice(offset, offset + size));
  }

  close(): void {
    this.closed++;
  }
}

function begun(options?: Record<string, string>): { cache: LeaseCache; copy: Copy; reads: LocalReads; opened: string[]; clock: { now: number } } {
  const clock = { now: 0 };
  const cache = new LeaseCache(() => clock.now);
  const copy = new Copy();
  const opened: string[] = [];
  const open = (_: VolumeSpec, brick: { id: string; socket?: string | undefined }): LocalCopy | undefined => {
    if (brick.socket === undefined) return undefined;
    opened.push(brick.id);
    return copy;
  };
  const reads = new LocalReads(open, cache, () => clock.now);
  cache.extend(500);
  cache.learn('getattr', { gfid: GFID }, 0, { attr: ATTR }, true);
  reads.allow(spec(options), [NEAR, FAR]);
  return { cache, copy, reads, opened, clock };
}

const read = (offset: number, size: number): { gfid: string; offset: number; size: number } => ({ gfid: GFID, offset, size });

test('a leased file is read from the brick of this node, up to its end', () => {
  const { reads, copy, opened } = begun();
  assert.deepEqual(opened, [NEAR]);
  assert.equal(String(reads.read(read(2, 3)) as Buffer), '234');
  assert.equal(String(reads.read(read(8, 100)) as Buffer), '89');
  assert.deepEqual(copy.asked, [
    [2, 3],
    [8, 2],
  ]);
  assert.equal((reads.read(read(10, 5)) as Uint8Array).byteLength, 0);
});

test('without a lease, or when its time is over, it is asked for', () => {
  const { reads, cache, clock } = begun();
  clock.now = 501;
  assert.equal(reads.read(read(0, 4)), undefined);
  cache.extend(1000);
  assert.equal(reads.read(read(0, 4)), undefined, 'what was known before the gap counts no more');
  assert.ok(reads.lacksLease(GFID));
  assert.ok(!reads.lacksLease(GFID), 'not asked for at every read');
});

test('where the brick is not equal, is not to be read, or keeps checksums, it is asked for', () => {
  for (const [option, value] of [['cluster.choose-local', 'off'], ['features.bitrot', 'on']] as const) assert.equal(begun({ [option]: value }).reads.read(read(0, 4)), undefined);
  const { reads, copy } = begun();
  reads.allow(spec(), [FAR]);
  assert.equal(reads.read(read(0, 4)), undefined);
  assert.equal(copy.closed, 1, 'nothing of the disk stays open');
  reads.allow(spec(), [NEAR, FAR]);
  assert.equal(String(reads.read(read(0, 4)) as Buffer), '0123');
  reads.forbid();
  assert.equal(reads.read(read(0, 4)), undefined);
});

test('bytes that this client is changing are asked for, others are not', () => {
  const { reads } = begun();
  const write = { gfid: GFID, offset: 2, append: false, sync: false, killPriv: false, data: Buffer.from('xy') };
  reads.began(7, 'write', write);
  assert.equal(reads.read(read(0, 3)), undefined);
  assert.equal(String(reads.read(read(4, 3)) as Buffer), '456');
  reads.ended(7);
  assert.equal(String(reads.read(read(0, 3)) as Buffer), '012');
  reads.began(8, 'create', { truncate: true });
  assert.equal(reads.read(read(4, 3)), undefined, 'a file that is not known may be cut');
  reads.endAll();
  assert.equal(String(reads.read(read(4, 3)) as Buffer), '456');
});

test('what the disk gave late counts only where the lease lasted and nothing was changed meanwhile', async () => {
  const outcomes: [string, (begun: { cache: LeaseCache; reads: LocalReads; clock: { now: number } }) => void, boolean][] = [
    ['nothing', () => undefined, true],
    ['a recall', ({ cache }) => cache.forget([GFID]), false],
    ['a recall and a new lease', ({ cache }) => (cache.forget([GFID]), cache.learn('getattr', { gfid: GFID }, 0, { attr: { ...ATTR } }, true)), false],
    ['the end of the lease time', ({ clock }) => (clock.now = 600), false],
    ['another view', ({ reads }) => reads.forbid(), false],
    ['a write of its own', ({ reads }) => reads.began(9, 'write', { gfid: GFID, offset: 0, append: true, data: Buffer.from('x') }), false],
  ];
  for (const [what, happen, counts] of outcomes) {
    const all = begun();
    all.copy.waiting = [];
    const answer = all.reads.read(read(0, 4)) as Promise<Uint8Array | undefined>;
    happen(all);
    (all.copy.waiting[0] as (data: Uint8Array) => void)(Buffer.from('0123'));
    assert.equal((await answer) !== undefined, counts, what);
  }
});
