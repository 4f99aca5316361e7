import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LargeBuffers } from '../../../src/base/large-buffers.js';

describe('buffers that are used again', () => {
  it('are the same memory again after they were given back, for every size', () => {
    const buffers = new LargeBuffers();
    for (const bytes of [1024, 4096, 10_000, 65_536, 1 << 20]) {
      const first = buffers.take(bytes);
      assert.equal(first.byteLength, bytes);
      buffers.give(first.subarray(10));
      assert.equal(buffers.take(bytes).buffer, first.buffer);
    }
  });

  it('are never handed out twice, also when they are given back twice', () => {
    const buffers = new LargeBuffers();
    const first = buffers.take(4096);
    buffers.give(first);
    buffers.give(first);
    assert.notEqual(buffers.take(4096).buffer, buffers.take(4096).buffer);
  });

  it('are not taken from what others made', () => {
    const buffers = new LargeBuffers();
    for (const bytes of [4096, 16_384, 65_536, 131_072, 1 << 20]) {
      const foreign = Buffer.allocUnsafeSlow(bytes);
      buffers.give(foreign);
      assert.notEqual(buffers.take(bytes).buffer, foreign.buffer);
    }
  });

  it('hold a copy that does not change with what was copied', () => {
    const buffers = new LargeBuffers();
    const source = Buffer.alloc(4096, 1);
    const copy = buffers.copy(source);
    source.fill(2);
    assert.ok(copy.equals(Buffer.alloc(4096, 1)));
  });
});
