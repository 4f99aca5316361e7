import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as abi from '../../../src/fuse/abi.js';
import { InHeader } from '../../../src/fuse/abi.js';
import { struct } from '../../../src/fuse/abi-struct.js';
import { Opcode } from '../../../src/fuse/abi-constants.js';
import { Message, readU64, Request, write64 } from '../../../src/fuse/message.js';
import { OPERATIONS } from '../../../src/fuse/operations.js';
import { FsError } from '../../../src/base/errno.js';
import { CAPTURED } from './captured-requests.js';

function aimed(label: string): { request: Request; message: Message } {
  const bytes = Buffer.from(CAPTURED[label] ?? '', 'hex');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const message = new Message();
  message.aim(bytes, view, bytes.length);
  const operation = OPERATIONS[Opcode[label as keyof typeof Opcode]];
  assert.ok(operation !== undefined && message.takeBody(operation.bodyBytes));
  if (operation.strings > 0) message.name0 = message.takeString() ?? '';
  if (operation.strings > 1) message.name1 = message.takeString() ?? '';
  return { request: new Request(view, 3), message };
}

test("a structure whose fields do not add up to the kernel's size does not load", () => {
  assert.throws(() => struct('Bad', 16, { a: 'u32', b: 'u64' }), /not aligned/);
  assert.throws(() => struct('Bad', 24, { a: 'u64', b: 'u64' }), /16 bytes, the kernel says 24/);
});

test('every captured request has an operation, a whole body and its own length in the header', () => {
  for (const label of Object.keys(CAPTURED)) {
    const { request, message } = aimed(label);
    assert.equal(request.opcode, Opcode[label as keyof typeof Opcode], label);
    assert.equal(message.view.getUint32(InHeader.at.len, true), message.end, label);
  }
});

test('the fields of captured requests are where the tables say', () => {
  const setattr = aimed('SETATTR').message;
  assert.equal(setattr.u32(abi.SetattrIn.at.valid), 0x30);
  assert.equal(setattr.i64(abi.SetattrIn.at.mtime), 2);
  assert.equal(setattr.u32(abi.SetattrIn.at.atimensec), 1);
  assert.equal(setattr.u32(abi.SetattrIn.at.mtimensec), 3);
  const write = aimed('WRITE').message;
  assert.equal(write.u32(abi.WriteIn.at.size), 5);
  assert.equal(write.bytes.toString('latin1', write.rest, write.end), 'hello');
  const lock = aimed('SETLK').message;
  assert.equal(lock.u64(abi.LkIn.at.lk + abi.FileLock.at.start), 100);
  assert.equal(lock.lockEnd(abi.LkIn.at.lk + abi.FileLock.at.end), 100);
  assert.equal(lock.u32(abi.LkIn.at.lk + abi.FileLock.at.type), 1);
  const flock = aimed('SETLKW').message;
  assert.equal(flock.lockEnd(abi.LkIn.at.lk + abi.FileLock.at.end), Number.MAX_SAFE_INTEGER);
  assert.equal(flock.u32(abi.LkIn.at.lk_flags), 1);
  const rename = aimed('RENAME2').message;
  assert.deepEqual([rename.u32(abi.Rename2In.at.flags), rename.name0, rename.name1], [2, 'soft', 'sym']);
  const symlink = aimed('SYMLINK').message;
  assert.deepEqual([symlink.name0, symlink.name1], ['sym', 'target/x']);
  const create = aimed('CREATE').message;
  assert.deepEqual([create.u32(abi.CreateIn.at.mode) & 0o777, create.name0], [0o640, 'file']);
  const init = aimed('INIT').message;
  assert.deepEqual([init.u32(abi.InitIn.at.major), init.u32(abi.InitIn.at.minor)], [7, 45]);
  const copy = aimed('COPY_FILE_RANGE_64').message;
  assert.deepEqual([copy.u64(abi.CopyFileRangeIn.at.nodeid_out), copy.u64(abi.CopyFileRangeIn.at.len)], [6, 3]);
  assert.equal(aimed('FALLOCATE').message.u64(abi.FallocateIn.at.length), 4096);
  assert.equal(aimed('LSEEK').message.u32(abi.LseekIn.at.whence), 3);
});

test('64-bit numbers keep their value up to 2^53 and below zero, and larger ones are refused', () => {
  const view = new DataView(new ArrayBuffer(8));
  for (const value of [0, 1, 0xffff_ffff, 0x1_0000_0000, Number.MAX_SAFE_INTEGER]) {
    write64(view, 0, value);
    assert.equal(readU64(view, 0), value);
  }
  write64(view, 0, -2);
  assert.equal(view.getBigInt64(0, true), -2n);
  assert.throws(() => readU64(view, 0), FsError);
});
