import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ROOT_GFID } from '../../../src/base/ids.js';
import { KeptState } from '../../../src/fuse/kept-state.js';
import { ownerToken, OWNERS_PER_HANDLE_MAX } from '../../../src/fuse/lock-owners.js';
import { lateNumber, MUTATIONS_PER_UNIQUE } from '../../../src/fuse/message.js';
import { PayloadPool } from '../../../src/fuse/payloads.js';
import { HeapStateMemory } from '../../../src/fuse/state-memory.js';

function gfid(n: number): string {
  return `f${n.toString(16).padStart(31, '0')}`;
}

test('an inode is known from its first lookup until all lookups are taken back', () => {
  const { nodes } = new KeptState(new HeapStateMemory());
  const a = nodes.look(gfid(1));
  assert.equal(nodes.look(gfid(1)), a);
  assert.equal(nodes.gfid(a), gfid(1));
  assert.equal(nodes.forget(a, 1), undefined);
  assert.equal(nodes.gfid(a), gfid(1));
  assert.equal(nodes.forget(a, 1), gfid(1));
  assert.equal(nodes.gfid(a), undefined);
  assert.equal(nodes.nodeid(gfid(1)), undefined);
  assert.equal(nodes.forget(a, 5), undefined);
});

test('the root is never forgotten', () => {
  const { nodes } = new KeptState(new HeapStateMemory());
  assert.equal(nodes.look(ROOT_GFID), 1);
  nodes.forget(1, 100);
  assert.equal(nodes.gfid(1), ROOT_GFID);
});

test('a number that is used again has another generation', () => {
  const { nodes } = new KeptState(new HeapStateMemory());
  const a = nodes.look(gfid(1));
  const before = nodes.generation(a);
  nodes.forget(a, 1);
  assert.equal(nodes.look(gfid(2)), a);
  assert.notEqual(nodes.generation(a), before);
});

test('a successor knows every inode, handle, lock owner and directory of its predecessor', () => {
  const memory = new HeapStateMemory();
  const first = new KeptState(memory);
  first.session = 'c'.repeat(32);
  first.root = gfid(99);
  first.note = 'what it knew: \u00e9';
  first.given = 'an earlier text';
  first.given = 'what it gave';
  first.newestUnique = 7;
  const late = first.lateNumber();
  first.setAgreed(45, 0xffff_ffff, 7);
  const ids = Array.from({ length: 40_000 }, (_, i) => first.nodes.look(gfid(i + 1000)));
  first.nodes.forget(ids[7] as number, 1);
  first.nodes.look(gfid(1001));
  const fh = first.handles.add(gfid(1000));
  const gone = first.handles.add(gfid(1001));
  first.handles.remove(gone);
  first.owners.record(ids[0] as number, fh, 0xffff_fff1, 0x8000_0001, 0);
  const directory = first.directories.add(gfid(1002));
  directory?.endedAt(12, 'name\xff');

  const second = new KeptState(memory);
  assert.equal(second.given, 'what it gave');
  assert.ok(second.lateNumber() > late);
  assert.equal(second.session, 'c'.repeat(32));
  assert.equal(second.root, gfid(99));
  assert.equal(second.note, 'what it knew: \u00e9');
  assert.deepEqual(second.agreed, { minor: 45, flags: 0xffff_ffff, flags2: 7 });
  assert.equal(second.nodes.size, 40_000);
  assert.equal(second.nodes.gfid(1), gfid(99));
  for (const i of [0, 1, 39_999]) assert.equal(second.nodes.gfid(ids[i] as number), gfid(i + 1000));
  assert.equal(second.nodes.gfid(ids[7] as number), undefined);
  assert.equal(second.nodes.forget(ids[1] as number, 1), undefined, 'the second lookup is still counted');
  assert.deepEqual(second.handles.opens(), [gfid(1000)]);
  assert.deepEqual(
    second.owners.find(ids[0] as number)?.records.map((r) => [r.fh, r.owner, r.kind]),
    [[fh, ownerToken(0xffff_fff1, 0x8000_0001), 0]],
  );
  assert.deepEqual(second.directories.get(directory?.fh ?? 0)?.position(12), {
    after: 'name\xff',
    skip: 0,
    chunk: undefined,
    from: 0,
  });
  assert.equal(second.nodes.look(gfid(5)), ids[7], 'a freed number is used again');
  assert.equal(second.handles.add(gfid(5)), gone);
});

test('state memory of something else is refused', () => {
  const memory = new HeapStateMemory();
  new Uint32Array(memory.map(0, 65_536))[0] = 1;
  assert.throws(() => new KeptState(memory), /not that of a gluon mount/);
});

test('one handle has a limit of lock owners', () => {
  const { owners } = new KeptState(new HeapStateMemory());
  for (let i = 0; i < OWNERS_PER_HANDLE_MAX; i++) assert.equal(owners.record(2, 1, i, 0, 0), true);
  assert.equal(owners.record(2, 1, 5, 0, 0), true, 'a known owner is no further one');
  assert.equal(owners.record(2, 1, 1000, 0, 0), false);
  assert.equal(owners.record(2, 2, 1000, 0, 0), true);
  owners.erase(2, [...(owners.find(2)?.records ?? [])]);
  assert.equal(owners.size, 0);
});

test('late numbers grow, lie above the newest request and never meet the numbers of a request', () => {
  const newest = 1000;
  let last = newest * MUTATIONS_PER_UNIQUE + 127;
  for (let i = 0; i < 384; i++) {
    const number = lateNumber(last, newest);
    assert.ok(number > last && number < (newest + 2) * MUTATIONS_PER_UNIQUE);
    last = number;
  }
});

test('payload buffers are used again and hold exactly what was given', () => {
  const pool = new PayloadPool();
  const source = Buffer.from('0123456789');
  const a = pool.copy(source, 2, 5);
  assert.equal(a.toString('latin1', 0, 3), '234');
  pool.give(a);
  assert.equal(pool.copy(source, 0, 4), a);
  assert.equal(pool.copy(Buffer.alloc(65_536), 0, 65_536).length, 65_536);
});
