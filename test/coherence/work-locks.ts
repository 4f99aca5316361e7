/** A program that increments a number under a lock. */
import { aligned, c, calls } from '../conformance/posix/calls.js';
import { F, FLOCK, LOCK, O } from '../conformance/posix/suite.js';
import type { LockWay, Work } from './jobs.js';
import type { Recorder } from './recorder.js';
import { BLOCK_BYTES } from './work-data.js';

const LOCKS: Record<LockWay, { lock: (fd: number) => void; unlock: (fd: number) => void }> = {
  fcntl: {
    lock: (fd) => void calls.fcntlLock(fd, F.SETLKW, LOCK.WRITE, 0, 0),
    unlock: (fd) => void calls.fcntlLock(fd, F.SETLK, LOCK.UNLOCK, 0, 0),
  },
  OFD: {
    lock: (fd) => void calls.fcntlLock(fd, F.OFD_SETLKW, LOCK.WRITE, 0, 0),
    unlock: (fd) => void calls.fcntlLock(fd, F.OFD_SETLK, LOCK.UNLOCK, 0, 0),
  },
  flock: {
    lock: (fd) => void calls.flock(fd, FLOCK.EXCLUSIVE),
    unlock: (fd) => void calls.flock(fd, FLOCK.UNLOCK),
  },
};

export function counter(recorder: Recorder, work: Work & { kind: 'counter' }): void {
  const { lock, unlock } = LOCKS[work.way];
  const fd = calls.open(work.file, O.RDWR | (work.access === 'direct' ? O.DIRECT : 0));
  const buffer = aligned(BLOCK_BYTES);
  for (let i = 0; i < work.count; i++) {
    recorder.time(() => {
      lock(fd);
      c.pread(fd, buffer, BLOCK_BYTES, 0);
      buffer.writeUInt32LE(buffer.readUInt32LE(0) + 1, 0);
      c.pwrite(fd, buffer, BLOCK_BYTES, 0);
      unlock(fd);
    });
  }
  calls.close(fd);
}
