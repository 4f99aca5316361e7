import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { Packr, Unpackr } from 'msgpackr';
import { ProtocolError } from '../../../src/base/protocol-error.js';
import { decodeFrame, encodeFrame, encodeMessage, frameBytes } from '../../../src/wire/codec.js';
import { PackBuffer } from '../../../src/wire/pack.js';
import { Scanner } from '../../../src/wire/scan.js';
import { packageRoot } from '../../support/package-root.js';
import { anyMessage, fixedMessages } from './samples.js';

const GOLDEN = join(packageRoot(), 'test/unit/wire/golden.txt');

test('what is decoded is what was encoded, for every message and operation', () => {
  fc.assert(
    fc.property(anyMessage, (message) => assert.deepEqual(decodeFrame(encodeFrame(message)), message)),
    { numRuns: 3000 },
  );
});

test('frames have the bytes they always had', () => {
  const lines = fixedMessages().map(({ label, message }) => `${label}: ${encodeFrame(message).toString('hex')}`);
  // New rows are added with GOLDEN_WRITE=1; a changed line is a change of the protocol.
  if (process.env['GOLDEN_WRITE'] === '1') writeFileSync(GOLDEN, `${lines.join('\n')}\n`);
  assert.deepEqual(lines, readFileSync(GOLDEN, 'utf8').trimEnd().split('\n'));
});

test('the header is what msgpackr writes and reads', () => {
  const packr = new Packr({ useRecords: false });
  const unpackr = new Unpackr({ useRecords: false });
  const scanner = new Scanner();
  const leaf = fc.oneof(
    fc.constant(null),
    fc.boolean(),
    fc.integer({ min: -(2 ** 31), max: 2 ** 32 - 1 }),
    fc.maxSafeInteger(),
    fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 400 }).map((c) => String.fromCharCode(...c)),
    fc.uint8Array({ maxLength: 300 }).map((b) => Buffer.from(b)),
  );
  const value = fc.array(fc.oneof(leaf, fc.array(leaf, { maxLength: 20 })), { maxLength: 20 });
  fc.assert(
    fc.property(value, (items) => {
      const out = new PackBuffer(16);
      out.value(items);
      const bytes = out.bytes.subarray(0, out.at);
      assert.deepEqual(unpackr.unpack(bytes), items);
      const theirs = packr.pack(items);
      assert.deepEqual(scanner.readArray(theirs, 0, theirs.length), items);
    }),
    { numRuns: 1000 },
  );
});

test('a truncated frame is a protocol error at every length', () => {
  for (const { message } of fixedMessages()) {
    const frame = encodeFrame(message);
    for (let length = 0; length < frame.length; length++) {
      const cut = Buffer.from(frame.subarray(0, length));
      assert.throws(() => decodeFrame(cut), ProtocolError);
      if (length < 12) continue;
      // The same with a length field that agrees: the header itself ends too early, or the payload is shorter (which is well formed).
      cut.writeUInt32LE(length - 4, 0);
      if (cut.readUInt32LE(4) > length - 8) cut.writeUInt32LE(length - 8, 4);
      decodesOrRefuses(cut);
    }
  }
});

function decodesOrRefuses(bytes: Buffer): boolean {
  try {
    decodeFrame(bytes);
    return true;
  } catch (error) {
    assert.ok(error instanceof ProtocolError, `not a ProtocolError: ${String(error)}`);
    return false;
  }
}

test('100,000 mutated frames decode or are refused, and nothing else happens', () => {
  const frames = fixedMessages().map(({ message }) => encodeFrame(message));
  let seed = 12345;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const before = process.memoryUsage();
  let refused = 0;
  for (let run = 0; run < 100_000; run++) {
    const frame = Buffer.from(frames[random(frames.length)] as Buffer);
    for (let changes = 1 + random(4); changes > 0; changes--)
      frame[random(2) === 0 ? 8 + random(frame.length - 8) : random(frame.length)] = random(256);
    if (!decodesOrRefuses(frame)) refused++;
  }
  assert.ok(refused > 10_000, `${refused} refused`);
  const grown = process.memoryUsage().rss - before.rss;
  assert.ok(grown < 300 << 20, `memory grew by ${grown} bytes`);
});

test('announced lengths beyond what is there allocate nothing', () => {
  const headers = [
    'dd7fffffff',
    'dcffff',
    'dbffffffff',
    'c6ffffffff',
    '91dd00010000',
    '91c5ffff',
    `${'91'.repeat(50)}c0`,
    'de0001',
    'c70100',
    '91cf0000000000000001',
    '91ca00000000',
    '93a3c3',
  ];
  const before = process.memoryUsage();
  for (const hex of headers) {
    const header = Buffer.from(hex, 'hex');
    const frame = Buffer.alloc(8 + header.length);
    frame.writeUInt32LE(4 + header.length, 0);
    frame.writeUInt32LE(header.length, 4);
    header.copy(frame, 8);
    for (let i = 0; i < 200; i++) assert.throws(() => decodeFrame(frame), ProtocolError, hex);
  }
  const after = process.memoryUsage();
  assert.ok(after.external + after.arrayBuffers - before.external - before.arrayBuffers < 32 << 20);
});

test('lengths beyond the limits are refused before the frame is there', () => {
  const prefix = (follow: number, header: number): Buffer => {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32LE(follow, 0);
    bytes.writeUInt32LE(header, 4);
    return bytes;
  };
  const limit = 6 << 20;
  assert.equal(frameBytes(prefix(4 + 10 + (1 << 20), 10), 0, limit), 8 + 10 + (1 << 20));
  for (const [follow, header] of [
    [0, 0],
    [4, 0],
    [3, 1],
    [14, 11],
    [4 + 10 + (1 << 20) + 1, 10],
    [4 + (4 << 20) + 1, (4 << 20) + 1],
    [0xffff_ffff, 10],
    [100, 0xffff_ffff],
  ] as const) {
    assert.throws(() => frameBytes(prefix(follow, header), 0, limit), ProtocolError, `${follow} ${header}`);
  }
  assert.throws(() => frameBytes(prefix(4096, 4092), 0, 4096), ProtocolError);
});

test('a field that is missing, of the wrong kind or too many is named', () => {
  const frame = (items: unknown[]): Buffer => {
    const out = new PackBuffer(64);
    out.at = 8;
    out.value(items);
    out.bytes.writeUInt32LE(out.at - 4, 0);
    out.bytes.writeUInt32LE(out.at - 8, 4);
    return Buffer.from(out.bytes.subarray(0, out.at));
  };
  assert.throws(() => decodeFrame(frame([14])), /ping\.id: missing/);
  assert.throws(() => decodeFrame(frame([14, 'x'])), /ping\.id: not a valid size/);
  assert.throws(() => decodeFrame(frame([14, 1, 2])), /ping: 1 fields too many/);
  assert.throws(() => decodeFrame(frame([99])), /unknown message code 99/);
  assert.throws(() => decodeFrame(frame([10, 1, 1, 0, 0, 77])), /unknown operation code 77/);
  assert.throws(() => decodeFrame(frame([10, 1, 1, 0, 0, 1, 'x', 'y'])), /lookup\.parent/);
});

test('names that would leave the directory do not get through', () => {
  const gfid = '0123456789abcdef0123456789abcdef';
  for (const name of ['..', '.', '', 'a/b', 'a\0', 'x'.repeat(256)]) {
    const frame = encodeFrame({
      kind: 'request',
      id: 1,
      epoch: 1,
      requestNumber: 0,
      acknowledged: 0,
      op: 'lookup',
      args: { parent: gfid, name },
    });
    assert.throws(() => decodeFrame(frame), ProtocolError, name);
  }
});

test('many frames go into one buffer', () => {
  const out = new PackBuffer(16);
  const messages = fixedMessages().map(({ message }) => message);
  for (const message of messages) {
    const payload = encodeMessage(out, message);
    if (payload !== undefined) out.raw(payload);
  }
  let at = 0;
  for (const message of messages) {
    const length = frameBytes(out.bytes, at, 1 << 23);
    assert.deepEqual(decodeFrame(out.bytes.subarray(at, at + length)), message);
    at += length;
  }
  assert.equal(at, out.at);
});
