import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { InHeader } from '../../../src/fuse/abi.js';
import { OPERATIONS } from '../../../src/fuse/operations.js';
import { FakeKernel, requestBuffer } from '../../support/fake-kernel.js';
import { MemoryVolume } from '../../support/memory-fops.js';
import { CAPTURED } from './captured-requests.js';

/** A captured request with some bytes of its body changed and its end cut or continued; the header stays consistent. */
const damaged = fc
  .record({
    label: fc.constantFrom(...Object.keys(CAPTURED)),
    changes: fc.array(fc.record({ at: fc.nat(400), value: fc.nat(255) }), { maxLength: 8 }),
    cut: fc.nat(120),
    more: fc.uint8Array({ maxLength: 64 }),
    nodeid: fc.constantFrom(0, 1, 2, 3, 0xffff_ffff),
  })
  .map(({ label, changes, cut, more, nodeid }) => {
    const whole = Buffer.from(CAPTURED[label] ?? '', 'hex');
    const bytes = Buffer.concat([whole.subarray(0, Math.max(InHeader.bytes, whole.length - cut)), more]);
    for (const { at, value } of changes) if (InHeader.bytes + at < bytes.length) bytes[InHeader.bytes + at] = value;
    bytes.writeUInt32LE(bytes.length, InHeader.at.len);
    bytes.writeUInt32LE(nodeid, InHeader.at.nodeid);
    return bytes;
  });

test('whatever a request holds, it is answered once, or not at all where no answer belongs, and the session lives', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(damaged, { minLength: 1, maxLength: 20 }), async (requests) => {
      const kernel = new FakeKernel(new MemoryVolume().fops());
      const answered: number[] = [];
      requests.forEach((bytes, i) => {
        const unique = 100 + 2 * i;
        bytes.writeUInt32LE(unique, InHeader.at.unique);
        if (OPERATIONS[bytes.readUInt32LE(InHeader.at.opcode)]?.silent !== true) answered.push(unique);
        kernel.session.receive(requestBuffer(bytes), bytes.length, 3);
      });
      await new Promise((resolve) => setTimeout(resolve, 2));
      // A lock that waits for another one has no answer yet.
      const waiting = kernel.session.outstanding;
      assert.equal(kernel.replies.size + waiting, answered.length);
      for (const unique of kernel.replies.keys()) assert.ok(answered.includes(unique));
    }),
    { numRuns: 400 },
  );
});

test('bytes that are no request at all do no harm', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
      const kernel = new FakeKernel(new MemoryVolume().fops());
      kernel.session.receive(requestBuffer(Buffer.from(noise)), noise.length, 3);
    }),
    { numRuns: 1000 },
  );
});
