import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errno, FsError, LostError } from '../../../src/base/errno.js';
import { AttrOut, EntryOut, InitOut } from '../../../src/fuse/abi.js';
import { InitFlag, Notify, O_APPEND, O_DIRECT, Opcode } from '../../../src/fuse/abi-constants.js';
import { MUTATIONS_PER_UNIQUE } from '../../../src/fuse/message.js';
import type { Gfid } from '../../../src/base/ids.js';
import type { Fops } from '../../../src/fops/ops.js';
import { HeapStateMemory } from '../../../src/fuse/state-memory.js';
import { FakeKernel, words, type Reply } from '../../support/fake-kernel.js';
import { MemoryVolume } from '../../support/memory-fops.js';
import { CAPTURED } from './captured-requests.js';

const ROOT = 1;
const RESEND_BIT = 0x8000_0000;

function nodeOf(reply: Reply): number {
  assert.equal(reply.errno, 0);
  return Number(reply.body.readBigUInt64LE(EntryOut.at.nodeid));
}

function fhOf(reply: Reply, at = 0): number {
  assert.equal(reply.errno, 0);
  return Number(reply.body.readBigUInt64LE(at));
}

async function createFile(kernel: FakeKernel, name: string, flags = 2): Promise<{ nodeid: number; fh: number }> {
  const reply = await kernel.call(Opcode.CREATE, ROOT, [words(flags, 0o100644, 0o22, 0), name]);
  return { nodeid: nodeOf(reply), fh: fhOf(reply, EntryOut.bytes) };
}

function writeIn(fh: number, offset: number, data: Buffer, flags = 0, writeFlags = 0): Buffer[] {
  return [words(BigInt(fh), BigInt(offset), data.length, writeFlags, 0n, flags, 0), data];
}

function lockIn(fh: number, owner: bigint, type: number, start: bigint, end: bigint, flock = 0): Buffer[] {
  return [words(BigInt(fh), owner, start, end, type, 77, flock, 0)];
}

function readIn(fh: number, offset: number, size: number): Buffer[] {
  return [words(BigInt(fh), BigInt(offset), size, 0, 0n, 0, 0)];
}

interface Listed {
  name: string;
  cookie: number;
  type: number;
  nodeid: number;
}

function parseListing(body: Buffer, plus: boolean): Listed[] {
  const out: Listed[] = [];
  const head = plus ? EntryOut.bytes : 0;
  for (let at = 0; at < body.length;) {
    const nodeid = plus ? Number(body.readBigUInt64LE(at)) : 0;
    const cookie = Number(body.readBigUInt64LE(at + head + 8));
    const length = body.readUInt32LE(at + head + 16);
    const type = body.readUInt32LE(at + head + 20);
    out.push({ name: body.toString('latin1', at + head + 24, at + head + 24 + length), cookie, type, nodeid });
    at += (head + 24 + length + 7) & ~7;
  }
  return out;
}

test('INIT agrees on what is wanted and offered, and never on WRITEBACK_CACHE', async () => {
  const kernel = new FakeKernel(new MemoryVolume().fops());
  const reply = await kernel.send(Buffer.from(CAPTURED['INIT'] ?? '', 'hex'));
  assert.equal(reply.body.length, InitOut.bytes);
  const flags = reply.body.readUInt32LE(InitOut.at.flags);
  const has = (bit: number): boolean => (flags & (1 << bit)) !== 0;
  for (const bit of [
    InitFlag.POSIX_LOCKS,
    InitFlag.FLOCK_LOCKS,
    InitFlag.ATOMIC_O_TRUNC,
    InitFlag.MAX_PAGES,
    InitFlag.AUTO_INVAL_DATA,
    InitFlag.HANDLE_KILLPRIV_V2,
  ])
    assert.ok(has(bit));
  assert.ok(!has(16) && !has(25), 'WRITEBACK_CACHE and EXPLICIT_INVAL_DATA');
  assert.equal(
    reply.body.readUInt32LE(InitOut.at.flags2) & (1 << (InitFlag.DIRECT_IO_ALLOW_MMAP - 32)),
    1 << (InitFlag.DIRECT_IO_ALLOW_MMAP - 32),
  );
  assert.equal(reply.body.readUInt32LE(InitOut.at.max_write), 1 << 20);
  assert.equal(reply.body.readUInt16LE(InitOut.at.max_pages), 256);
});

test('a kernel that is too old is refused', async () => {
  const kernel = new FakeKernel(new MemoryVolume().fops());
  assert.equal((await kernel.call(Opcode.INIT, 0, [words(7, 20, 0, 0)])).errno, Errno.EPROTO);
});

test('nothing is cached: names and attributes are valid for no time', async () => {
  const kernel = new FakeKernel(new MemoryVolume().fops());
  const made = await kernel.call(Opcode.MKDIR, ROOT, [words(0o755, 0), 'd']);
  for (const at of [EntryOut.at.entry_valid, EntryOut.at.attr_valid]) assert.equal(made.body.readBigUInt64LE(at), 0n);
  for (const at of [EntryOut.at.entry_valid_nsec, EntryOut.at.attr_valid_nsec])
    assert.equal(made.body.readUInt32LE(at), 0);
  const stat = await kernel.call(Opcode.GETATTR, nodeOf(made), [words(0, 0, 0n)]);
  assert.equal(stat.body.length, AttrOut.bytes);
  assert.equal(stat.body.readBigUInt64LE(AttrOut.at.attr_valid), 0n);
});

test('a name that does not exist is an error, not a negative entry', async () => {
  const kernel = new FakeKernel(new MemoryVolume().fops());
  assert.equal((await kernel.call(Opcode.LOOKUP, ROOT, ['none'])).errno, Errno.ENOENT);
});

test('names that no file can have are refused before anybody is asked', async () => {
  const volume = new MemoryVolume();
  const kernel = new FakeKernel(volume.fops());
  assert.equal((await kernel.call(Opcode.LOOKUP, ROOT, ['x'.repeat(256)])).errno, Errno.ENAMETOOLONG);
  assert.equal((await kernel.call(Opcode.LOOKUP, ROOT, ['a/b'])).errno, Errno.EINVAL);
  assert.equal((await kernel.call(Opcode.MKDIR, ROOT, [words(0o755, 0), '..'])).errno, Errno.EINVAL);
  assert.equal((await kernel.call(Opcode.MKDIR, ROOT, [words(0o755, 0), ''])).errno, Errno.EINVAL);
  const odd = '\x01\x1b[31m\xff\xfe';
  await kernel.call(Opcode.MKDIR, ROOT, [words(0o755, 0), odd]);
  assert.ok(nodeOf(await kernel.call(Opcode.LOOKUP, ROOT, [odd])) > 1, 'any other byte is part of a name');
});

test('an inode that the kernel was never told of is stale', async () => {
  const kernel = new FakeKernel(new MemoryVolume().fops());
  assert.equal((await kernel.call(Opcode.GETATTR, 4711, [words(0, 0, 0n)])).errno, Errno.ESTALE);
});

test('forgetting all lookups ends what is known of an inode', async () => {
  const kernel = new FakeKernel(new MemoryVolume().fops());
  const node = nodeOf(await kernel.call(Opcode.MKDIR, ROOT, [words(0o755, 0), 'd']));
  nodeOf(await kernel.call(Opcode.LOOKUP, ROOT, ['d']));
  kernel.tell(Opcode.FORGET, node, [words(1n)]);
  assert.equal((await kernel.call(Opcode.GETATTR, node, [words(0, 0, 0n)])).errno, 0);
  kernel.tell(Opcode.BATCH_FORGET, 0, [words(2, 0, BigInt(node), 1n, 4711n, 5n)]);
  assert.equal((await kernel.call(Opcode.GETATTR, node, [words(0, 0, 0n)])).errno, Errno.ESTALE);
  kernel.tell(Opcode.BATCH_FORGET, 0, [words(1000, 0, 1n)]);
});

test('malformed requests are refused and the session goes on', async () => {
  const kernel = new FakeKernel(new MemoryVolume().fops());
  void kernel.send(Buffer.alloc(0));
  void kernel.send(Buffer.alloc(39));
  const whole = kernel.request(Opcode.WRITE, ROOT, writeIn(1, 0, Buffer.from('hello')));
  for (let length = 40; length < whole.length; length++) {
    const cut = Buffer.from(whole.subarray(0, length));
    cut.writeUInt32LE(length, 0);
    cut.writeUInt32LE(100_000 + 2 * length, 8);
    assert.ok((await kernel.send(cut)).errno > 0, `cut at ${length}`);
  }
  const lying = Buffer.from(whole);
  lying.writeUInt32LE(99, 0);
  lying.writeUInt32LE(200_000, 8);
  assert.equal((await kernel.send(lying)).errno, Errno.EIO);
  const extended = Buffer.from(whole);
  extended.writeUInt16LE(0xffff, 36);
  extended.writeUInt32LE(200_002, 8);
  assert.equal((await kernel.send(extended)).errno, Errno.EIO);
  assert.equal((await kernel.call(Opcode.LOOKUP, ROOT, [Buffer.from('no end')])).errno, Errno.EIO);
  assert.equal((await kernel.call(60, ROOT)).errno, Errno.ENOSYS);
  assert.equal((await kernel.call(4_000_000_000, ROOT)).errno, Errno.ENOSYS);
  assert.equal((await kernel.call(Opcode.GETATTR, ROOT, [words(0, 0, 0n)])).errno, 0);
  assert.equal(kernel.session.outstanding, 0);
});

test('an error goes through by its number, an unknown one becomes EIO, and none becomes ENOSYS', async () => {
  const failing = (error: Error): Fops => ({ ...new MemoryVolume().fops(), getattr: () => Promise.reject(error) });
  const errnoFor = async (error: Error): Promise<number> =>
    (await new FakeKernel(failing(error)).call(Opcode.GETATTR, ROOT, [words(0, 0, 0n)])).errno;
  assert.equal(await errnoFor(new FsError(Errno.ENOSPC, 'x')), Errno.ENOSPC);
  assert.equal(await errnoFor(new FsError(Errno.ENOSYS, 'x')), Errno.EOPNOTSUPP);
  assert.equal(await errnoFor(new LostError('gone')), Errno.EIO);
  assert.equal(await errnoFor(new FsError(Errno.ENOTCONN, 'stopped')), Errno.EIO, 'ENOTCONN is for dead mounts');
  assert.equal(await errnoFor(new TypeError('bug')), Errno.EIO);
});

test('mutations are numbered by the request, also when it comes again', async () => {
  const volume = new MemoryVolume();
  const kernel = new FakeKernel(volume.fops());
  const bytes = kernel.request(Opcode.MKDIR, ROOT, [words(0o755, 0), 'd']);
  const unique = bytes.readUInt32LE(8);
  assert.equal((await kernel.send(bytes)).errno, 0);
  assert.deepEqual(volume.numbers, [unique * MUTATIONS_PER_UNIQUE]);
  kernel.replies.clear();
  bytes.writeUInt32LE(RESEND_BIT, 12);
  const again = await kernel.send(bytes);
  assert.equal(again.errno, 0, 'the first answer, not EEXIST');
  assert.equal(again.uniqueHigh, RESEND_BIT, 'the kernel wants the bit back');
  assert.deepEqual(volume.numbers, [unique * MUTATIONS_PER_UNIQUE, unique * MUTATIONS_PER_UNIQUE]);
});

test('a successor takes over: what comes again is carried out in its first order, and what was open stays open', async () => {
  const volume = new MemoryVolume();
  const first = new FakeKernel(volume.fops());
  await first.send(Buffer.from(CAPTURED['INIT'] ?? '', 'hex'));
  const { nodeid, fh } = await createFile(first, 'f');
  const resent = ['b', 'a', 'c'].map((name) => first.request(Opcode.MKDIR, ROOT, [words(0o755, 0), name]));
  for (const bytes of resent) bytes.writeUInt32LE(RESEND_BIT, 12);
  const write = first.request(Opcode.WRITE, nodeid, writeIn(fh, 0, Buffer.alloc(100_000, 7)));
  write.writeUInt32LE(RESEND_BIT, 12);
  volume.numbers.length = 0;
  const second = new FakeKernel(volume.fops(), first.memory, {}, [resent[2], write, resent[0], resent[1]] as Buffer[]);
  await second.session.run();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(second.notifications[0]?.readInt32LE(4), Notify.RESEND);
  assert.deepEqual(
    volume.numbers,
    [...volume.numbers].sort((a, b) => a - b),
  );
  assert.equal(second.replies.size, 4);
  const read = await second.call(Opcode.READ, nodeid, readIn(fh, 0, 10));
  assert.deepEqual(read.body, Buffer.alloc(10, 7));
});

test('after workers that died of a request, what comes again is refused and what is new is served', async () => {
  const volume = new MemoryVolume();
  const kernel = new FakeKernel(volume.fops(), undefined, { refuseResent: true });
  const bytes = kernel.request(Opcode.MKDIR, ROOT, [words(0o755, 0), 'd']);
  bytes.writeUInt32LE(RESEND_BIT, 12);
  assert.equal((await kernel.send(bytes)).errno, Errno.EIO);
  assert.equal((await kernel.call(Opcode.MKDIR, ROOT, [words(0o755, 0), 'd'])).errno, 0);
});

test('writes: offset, append, sync and set-user-id bits come from the flags, and page writes know none of them', async () => {
  const volume = new MemoryVolume();
  const seen: object[] = [];
  volume.before = (op, args) => void (op === 'write' ? seen.push({ ...args, data: 0 }) : 0);
  const kernel = new FakeKernel(volume.fops());
  const { nodeid, fh } = await createFile(kernel, 'f');
  const gfid = [...volume.inodes.keys()][1];
  await kernel.call(Opcode.WRITE, nodeid, writeIn(fh, 3, Buffer.from('abc'), O_APPEND | 0o10000, 4));
  await kernel.call(Opcode.WRITE, nodeid, writeIn(fh, 1, Buffer.from('xy'), O_APPEND | 0o10000, 1));
  assert.deepEqual(seen, [
    { gfid, offset: 3, append: true, sync: true, killPriv: true, data: 0 },
    { gfid, offset: 1, append: false, sync: false, killPriv: false, data: 0 },
  ]);
  assert.equal((await kernel.call(Opcode.READ, nodeid, readIn(fh, 0, 100))).body.toString('latin1'), 'axy');
});

test('the data of a write is untouched until it settled, and its buffer comes back', async () => {
  const volume = new MemoryVolume();
  let release = (): void => undefined;
  volume.before = (op) => (op === 'write' ? new Promise((resolve) => (release = resolve)) : undefined);
  const kernel = new FakeKernel(volume.fops());
  const { nodeid, fh } = await createFile(kernel, 'f');
  for (const size of [5, 4096, 200_000]) {
    const answer = kernel.call(Opcode.WRITE, nodeid, writeIn(fh, 0, Buffer.alloc(size, size)));
    assert.equal(kernel.kept, size > 65_536 ? 1 : 0);
    release();
    assert.equal((await answer).body.readUInt32LE(0), size);
    assert.equal(kernel.kept, 0);
    assert.equal((await kernel.call(Opcode.READ, nodeid, readIn(fh, size - 1, 1))).body[0], size & 0xff);
  }
});

test('O_DIRECT opens leave the page cache out and write in parallel, others do not', async () => {
  const kernel = new FakeKernel(new MemoryVolume().fops());
  const { nodeid } = await createFile(kernel, 'f');
  assert.equal((await kernel.call(Opcode.OPEN, nodeid, [words(2, 0)])).body.readUInt32LE(8) & (1 | 64), 0);
  assert.equal((await kernel.call(Opcode.OPEN, nodeid, [words(2 | O_DIRECT, 0)])).body.readUInt32LE(8), 1 | 64);
});

test('an open that is answered to nobody is closed again', async () => {
  const volume = new MemoryVolume();
  const kernel = new FakeKernel(volume.fops());
  const { nodeid } = await createFile(kernel, 'f');
  const inode = [...volume.inodes.values()][1];
  kernel.replyErrno = Errno.ENOENT;
  void kernel.call(Opcode.OPEN, nodeid, [words(2, 0)]);
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(inode?.opens, 1);
  assert.equal(kernel.session.handles.size, 1);
});

for (const plus of [false, true]) {
  test(`${plus ? 'READDIRPLUS' : 'READDIR'} lists every name once in small pieces, from any cookie, and after a takeover`, async () => {
    const volume = new MemoryVolume();
    const kernel = new FakeKernel(volume.fops());
    const names = Array.from({ length: 2500 }, (_, i) => `file-${String(i).padStart(5, '0')}`);
    for (const name of names) await kernel.call(Opcode.MKNOD, ROOT, [words(0o100644, 0, 0, 0), name]);
    const opcode = plus ? Opcode.READDIRPLUS : Opcode.READDIR;
    const fh = fhOf(await kernel.call(Opcode.OPENDIR, ROOT, [words(0, 0)]));
    let at = kernel;
    const listed: Listed[] = [];
    for (let cookie = 0, round = 0; ; round++) {
      const piece: Listed[] = parseListing((await at.call(opcode, ROOT, readIn(fh, cookie, 4096))).body, plus);
      if (piece.length === 0) break;
      listed.push(...piece);
      cookie = piece.at(-1)?.cookie ?? 0;
      // Names that were listed vanish, and the worker changes, in the middle of the scan.
      if (round === 10) {
        volume.inodes.get('00000000000000000000000000000001')?.children.delete(names[3] as string);
        at = new FakeKernel(volume.fops(), kernel.memory);
      }
    }
    assert.deepEqual(
      listed.map((l) => l.name),
      ['.', '..', ...names],
    );
    const middle = listed[1200] as Listed;
    const from = parseListing((await at.call(opcode, ROOT, readIn(fh, middle.cookie, 4096))).body, plus);
    assert.equal(from[0]?.name, listed[1201]?.name);
    assert.equal((await at.call(Opcode.RELEASEDIR, ROOT, [words(BigInt(fh), 0, 0, 0n)])).errno, 0);
    assert.equal((await at.call(opcode, ROOT, readIn(fh, 0, 4096))).errno, Errno.EBADF);
    if (plus) assert.ok(listed.every((l) => (l.name.startsWith('.') ? l.nodeid === 0 : l.nodeid > 1)));
  });
}

test('an xattr is asked for by size first, and too little room is ERANGE', async () => {
  const kernel = new FakeKernel(new MemoryVolume().fops());
  const { nodeid } = await createFile(kernel, 'f');
  await kernel.call(Opcode.SETXATTR, nodeid, [words(5, 0), 'user.k', Buffer.from('value')]);
  await kernel.call(Opcode.SETXATTR, nodeid, [words(1, 0), 'trusted.t', Buffer.from('x')]);
  assert.equal((await kernel.call(Opcode.GETXATTR, nodeid, [words(0, 0), 'user.k'])).body.readUInt32LE(0), 5);
  assert.equal((await kernel.call(Opcode.GETXATTR, nodeid, [words(4, 0), 'user.k'])).errno, Errno.ERANGE);
  assert.equal((await kernel.call(Opcode.GETXATTR, nodeid, [words(64, 0), 'user.k'])).body.toString(), 'value');
  assert.equal((await kernel.call(Opcode.LISTXATTR, nodeid, [words(64, 0)])).body.toString(), 'user.k\0trusted.t\0');
  assert.equal(
    (await kernel.call(Opcode.LISTXATTR, nodeid, [words(64, 0)], { uid: 1000 })).body.toString(),
    'user.k\0',
  );
  assert.equal(
    (await kernel.call(Opcode.GETXATTR, nodeid, [words(64, 0), 'system.posix_acl_access'])).errno,
    Errno.EOPNOTSUPP,
  );
  assert.equal(
    (await kernel.call(Opcode.SETXATTR, nodeid, [words(500, 0), 'user.k', Buffer.from('value')])).errno,
    Errno.EIO,
  );
});

test('what is not there is refused the way that makes the kernel do it itself', async () => {
  const kernel = new FakeKernel(new MemoryVolume().fops());
  assert.equal((await kernel.call(Opcode.ACCESS, ROOT, [words(4, 0)])).errno, Errno.ENOSYS);
  assert.equal((await kernel.call(Opcode.IOCTL, ROOT, [words(0n, 0, 0, 0n, 0, 0)])).errno, Errno.ENOTTY);
  assert.equal((await kernel.call(Opcode.RENAME2, ROOT, [words(1n, 4, 0), 'a', 'b'])).errno, Errno.EINVAL);
  const { nodeid, fh } = await createFile(kernel, 'f');
  assert.equal(
    (await kernel.call(Opcode.FALLOCATE, nodeid, [words(BigInt(fh), 0n, 1n, 8, 0)])).errno,
    Errno.EOPNOTSUPP,
  );
  assert.equal((await kernel.call(Opcode.LSEEK, nodeid, [words(BigInt(fh), 0n, 1, 0)])).errno, Errno.EINVAL);
});

test('closing drops the locks of the process, releasing drops what was taken through the handle', async () => {
  const volume = new MemoryVolume();
  const kernel = new FakeKernel(volume.fops());
  const { nodeid, fh } = await createFile(kernel, 'f');
  const posix = 0xffff_0000_0000_0001n;
  const ofd = 0x10n;
  assert.equal((await kernel.call(Opcode.SETLK, nodeid, lockIn(fh, posix, 1, 0n, 9n))).errno, 0);
  assert.equal((await kernel.call(Opcode.SETLK, nodeid, lockIn(fh, ofd, 1, 20n, 0x7fff_ffff_ffff_ffffn))).errno, 0);
  assert.equal((await kernel.call(Opcode.SETLK, nodeid, lockIn(fh, 0x11n, 0, 5n, 5n))).errno, Errno.EAGAIN);
  assert.equal(volume.locks.length, 2);
  await kernel.call(Opcode.FLUSH, nodeid, [words(BigInt(fh), 0n, 0x9999n)]);
  assert.equal(volume.locks.length, 2, 'somebody else closed');
  await kernel.call(Opcode.FLUSH, nodeid, [words(BigInt(fh), 0n, posix)]);
  assert.equal(volume.locks.length, 1);
  const conflict = await kernel.call(Opcode.GETLK, nodeid, lockIn(fh, 0x11n, 1, 0n, 100n));
  assert.deepEqual(
    [conflict.body.readBigUInt64LE(0), conflict.body.readBigUInt64LE(8), conflict.body.readUInt32LE(16)],
    [20n, 0x7fff_ffff_ffff_ffffn, 1],
  );
  await kernel.call(Opcode.RELEASE, nodeid, [words(BigInt(fh), 2, 0, 0n)]);
  assert.equal(volume.locks.length, 0);
  assert.equal(kernel.session.owners.size, 0);
  assert.equal(kernel.session.handles.size, 0);
});

test('a lock request waits for a drop that is under way on its inode', async () => {
  const volume = new MemoryVolume();
  let release = (): void => undefined;
  volume.before = (op) => (op === 'dropLocks' ? new Promise((resolve) => (release = resolve)) : undefined);
  const kernel = new FakeKernel(volume.fops());
  const { nodeid, fh } = await createFile(kernel, 'f');
  await kernel.call(Opcode.SETLK, nodeid, lockIn(fh, 1n, 1, 0n, 9n));
  const released = kernel.call(Opcode.RELEASE, nodeid, [words(BigInt(fh), 2, 0, 0n)]);
  const locked = kernel.call(Opcode.SETLK, nodeid, lockIn(fh + 1, 2n, 1, 0n, 9n));
  release();
  assert.equal((await released).errno, 0);
  assert.equal((await locked).errno, 0);
});

test('an interrupted lock wait ends with EINTR', async () => {
  const volume = new MemoryVolume();
  const kernel = new FakeKernel(volume.fops());
  const { nodeid, fh } = await createFile(kernel, 'f');
  await kernel.call(Opcode.SETLK, nodeid, lockIn(fh, 1n, 1, 0n, 9n));
  const waiting = kernel.call(Opcode.SETLKW, nodeid, lockIn(fh, 2n, 1, 0n, 9n));
  const unique = kernel.unique;
  await new Promise((resolve) => setImmediate(resolve));
  kernel.tell(Opcode.INTERRUPT, 0, [words(BigInt(unique))]);
  assert.equal((await waiting).errno, Errno.EINTR);
  kernel.tell(Opcode.INTERRUPT, 0, [words(123_456n)]);
});

test('an interrupted operation goes on, unless its caller is dying', async () => {
  const volume = new MemoryVolume();
  let release = (): void => undefined;
  volume.before = (op) => (op === 'create' ? new Promise((resolve) => (release = resolve)) : undefined);
  const kernel = new FakeKernel(volume.fops());
  const pending = kernel.call(Opcode.CREATE, ROOT, [words(2, 0o100644, 0, 0), 'f'], { pid: 42 });
  kernel.tell(Opcode.INTERRUPT, 0, [words(BigInt(kernel.unique))]);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(kernel.replies.size, 0);
  kernel.dying.add(42);
  assert.equal((await pending).errno, Errno.EINTR);
  release();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal([...volume.inodes.values()][1]?.opens, 0, 'the open that came late was undone');
  assert.equal(kernel.session.nodes.size, 1);
});

test('what a loss of all power may have taken is told by the next fsync of each open file, once, also by a later worker', async () => {
  const memory = new HeapStateMemory();
  const volume = new MemoryVolume();
  const fops = volume.fops();
  const before = new FakeKernel(fops, memory);
  const file = await createFile(before, 'f');
  const again = fhOf(await before.call(Opcode.OPEN, file.nodeid, [words(2, 0)]));
  const other = await createFile(before, 'other');
  const sync = async (kernel: FakeKernel, nodeid: number, fh: number): Promise<number> => (await kernel.call(Opcode.FSYNC, nodeid, [words(BigInt(fh), 0, 0)])).errno;
  const gfid = before.session.handles.gfid(file.fh) as Gfid;
  before.session.handles.doubt(new Set([gfid]));
  assert.equal(await sync(before, other.nodeid, other.fh), 0);
  assert.equal(await sync(before, file.nodeid, file.fh), Errno.EIO);
  assert.equal(await sync(before, file.nodeid, file.fh), 0);
  // The loss is heard of while the fsync is under way.
  volume.before = () => {
    before.session.handles.doubt(new Set([gfid]));
    volume.before = undefined;
    return undefined;
  };
  assert.equal(await sync(before, file.nodeid, file.fh), Errno.EIO);
  assert.equal(await sync(before, file.nodeid, file.fh), 0);
  const after = new FakeKernel(fops, memory);
  assert.equal(await sync(after, file.nodeid, again), Errno.EIO);
  assert.equal(await sync(after, file.nodeid, again), 0);
});

test('memory of what was read is given back, and that of an attribute, which others refer to, is not', async () => {
  const volume = new MemoryVolume();
  const given: number[] = [];
  const kernel = new FakeKernel(volume.fops(), undefined, { giveBack: (data) => void given.push(data.byteLength) });
  const { nodeid, fh } = await createFile(kernel, 'f');
  const value = Buffer.alloc(4128, 1);
  assert.equal((await kernel.call(Opcode.SETXATTR, nodeid, [words(value.length, 0), 'user.x', value])).errno, 0);
  assert.deepEqual((await kernel.call(Opcode.GETXATTR, nodeid, [words(8192, 0), 'user.x'])).body, value);
  assert.deepEqual(given, []);
  await kernel.call(Opcode.WRITE, nodeid, writeIn(fh, 0, Buffer.from('data')));
  await kernel.call(Opcode.READ, nodeid, readIn(fh, 0, 100));
  assert.deepEqual(given, [4]);
});

test('a lock that is given to a program which was killed, and whose locks were dropped, is dropped', async () => {
  const volume = new MemoryVolume();
  let give = (): void => undefined;
  volume.before = (op) => (op === 'setLock' ? new Promise((resolve) => (give = resolve)) : undefined);
  const kernel = new FakeKernel(volume.fops());
  const { nodeid, fh } = await createFile(kernel, 'f');
  const owner = 0x77n;
  const locked = kernel.call(Opcode.SETLK, nodeid, lockIn(fh, owner, 1, 0n, 9n), { pid: 42 });
  kernel.dying.add(42);
  kernel.tell(Opcode.INTERRUPT, 0, [words(BigInt(kernel.unique))]);
  assert.equal((await locked).errno, Errno.EINTR);
  await kernel.call(Opcode.FLUSH, nodeid, [words(BigInt(fh), 0n, owner)]);
  await kernel.call(Opcode.RELEASE, nodeid, [words(BigInt(fh), 2, 0, 0n)]);
  const dropped = new Promise<void>((resolve) => {
    volume.before = (op) => void (op === 'dropLocks' && volume.locks.length === 1 && resolve());
  });
  give();
  await dropped;
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(volume.locks.length, 0);
  assert.equal(kernel.session.owners.size, 0);
});

test('data of a write that is asked for still, though its caller was told that it failed, is not used again', async () => {
  const volume = new MemoryVolume();
  const fops = volume.fops();
  let over = (): void => undefined;
  const lost = new Promise<void>((resolve) => (over = resolve));
  const kernel = new FakeKernel({ ...fops, write: () => Promise.reject(new LostError('no answer', Errno.ETIMEDOUT, { over: lost })) });
  const { nodeid, fh } = await createFile(kernel, 'f');
  assert.notEqual((await kernel.call(Opcode.WRITE, nodeid, writeIn(fh, 0, Buffer.alloc(100_000)))).errno, 0);
  assert.equal(kernel.kept, 1);
  over();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(kernel.kept, 0);
});

test('pages of files that a worker before this one served are dropped before the kernel is told their attributes', async () => {
  const memory = new HeapStateMemory();
  const volume = new MemoryVolume();
  const fops = volume.fops();
  const before = new FakeKernel(fops, memory);
  const { nodeid } = await createFile(before, 'f');
  const after = new FakeKernel(fops, memory);
  assert.equal((await after.call(Opcode.GETATTR, nodeid, [words(0, 0, 0n)])).errno, 0);
  assert.equal(after.notifications.length, 1);
  assert.equal((await after.call(Opcode.GETATTR, nodeid, [words(0, 0, 0n)])).errno, 0);
  assert.equal(after.notifications.length, 1, 'once');
});
