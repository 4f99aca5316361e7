import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Journal } from '../../../src/replica/journal.js';
import { inodeKey, nameKey, regionKey } from '../../../src/replica/keys.js';
import { MemoryJournalDisk } from '../../sim/memory-store.js';

const A = 'a'.repeat(32);
const B = 'b'.repeat(32);

function newDisk(): MemoryJournalDisk {
  return new MemoryJournalDisk({ formatVersion: 1, volumeId: '', brickId: '', checkpoint: 0, base: 0, sealedEpoch: 0, bootId: '', incomplete: false, unsettled: false });
}

void describe('the change journal', () => {
  void it('keeps every key across a restart, whatever bytes a name has', () => {
    const disk = newDisk();
    const keys = [nameKey(A, 'a\nb\xff\x01'), nameKey(A, 'x'.repeat(255)), inodeKey(B), regionKey(B, 77)];
    new Journal(disk).note(keys);
    assert.deepEqual([...new Journal(disk).keys()], keys);
  });

  void it('writes a key once in a generation and again in the next', () => {
    const disk = newDisk();
    const journal = new Journal(disk);
    journal.note([inodeKey(A)]);
    const size = disk.readGeneration(0).byteLength;
    journal.note([inodeKey(A)]);
    assert.equal(disk.readGeneration(0).byteLength, size);
    journal.rotate(1, []);
    journal.note([inodeKey(A)]);
    assert.equal(disk.readGeneration(1).byteLength, size);
  });

  void it('forgets what the whole set has, and only that', () => {
    const disk = newDisk();
    const journal = new Journal(disk);
    journal.note([inodeKey(A)]);
    journal.rotate(1, []);
    journal.note([inodeKey(B)]);
    journal.synced(1);
    assert.deepEqual([...journal.keys()].toSorted(), [inodeKey(A), inodeKey(B)]);
    journal.complete(1);
    assert.deepEqual([...journal.keys()], [inodeKey(B)]);
    assert.equal(journal.meta.base, 1);
  });

  void it('goes on behind a torn tail without losing what comes after it', () => {
    const disk = newDisk();
    new Journal(disk).note([inodeKey(A)]);
    disk.append(0, Buffer.from([33, 0, 105, 1, 2]));
    new Journal(disk).note([inodeKey(B)]);
    assert.deepEqual([...new Journal(disk).keys()], [inodeKey(A), inodeKey(B)]);
  });

  void it('keeps the keys but not the answers of a long absence, in few files', () => {
    const disk = newDisk();
    const journal = new Journal(disk);
    for (let number = 1; number <= 50; number++) {
      journal.note([regionKey(A, number % 10)]);
      for (let i = 0; i < 100; i++) journal.noteAnswer(`r${B} ${number * 100 + i} 17 ${A} 4096`);
      journal.flushAnswers();
      journal.rotate(number, []);
    }
    assert.ok(disk.generations().length <= 3);
    assert.equal(journal.keys().size, 10);
    const bytes = disk.generations().reduce((sum, generation) => sum + disk.readGeneration(generation).byteLength, 0);
    assert.ok(bytes < 20_000, `${bytes} bytes`);
  });
});
