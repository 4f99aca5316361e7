/** Programs that take locks. */
import { errnoName } from '../../src/base/errno.js';
import { aligned, c, CallError, calls } from '../conformance/posix/calls.js';
import { F, FLOCK, LOCK, O } from '../conformance/posix/suite.js';
import type { LockInput, LockOutput } from '../support/sequential-models.js';
import type { LockWay, Work } from './jobs.js';
import type { Recorder } from './recorder.js';
import { BLOCK_BYTES } from './work-data.js';

const LOCKS: Record<LockWay, { lock: (fd: number) => void; attempt: (fd: number) => void; unlock: (fd: number) => void }> = {
  fcntl: {
    attempt: (fd) => void calls.fcntlLock(fd, F.SETLK, LOCK.WRITE, 0, 0),
    lock: (fd) => void calls.fcntlLock(fd, F.SETLKW, LOCK.WRITE, 0, 0),
    unlock: (fd) => void calls.fcntlLock(fd, F.SETLK, LOCK.UNLOCK, 0, 0),
  },
  OFD: {
    attempt: (fd) => void calls.fcntlLock(fd, F.OFD_SETLK, LOCK.WRITE, 0, 0),
    lock: (fd) => void calls.fcntlLock(fd, F.OFD_SETLKW, LOCK.WRITE, 0, 0),
    unlock: (fd) => void calls.fcntlLock(fd, F.OFD_SETLK, LOCK.UNLOCK, 0, 0),
  },
  flock: {
    attempt: (fd) => void calls.flock(fd, FLOCK.EXCLUSIVE | FLOCK.NOWAIT),
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

export function locks(recorder: Recorder, work: Work & { kind: 'locks' }): void {
  const { attempt, unlock } = LOCKS[work.way];
  const fd = calls.open(work.file, O.RDWR);
  const granted = (): LockOutput => {
    try {
      attempt(fd);
      return 'granted';
    } catch (error) {
      if (error instanceof CallError && errnoName(error.errno) === 'EAGAIN') return 'refused';
      throw error;
    }
  };
  while (!recorder.over) {
    if (recorder.note<LockInput, LockOutput>({ lock: recorder.client }, granted) === 'granted') {
      recorder.note<LockInput, LockOutput>({ unlock: recorder.client }, () => (unlock(fd), 'granted'));
    }
  }
  calls.close(fd);
}

export function greedy(recorder: Recorder, work: Work & { kind: 'greedy' }): void {
  const { outcome } = recorder;
  const fd = calls.open(work.file, O.RDWR);
  try {
    for (; outcome.count < work.count; outcome.count++) {
      // Apart from each other, so that they are not joined.
      if (work.what === 'locks') calls.fcntlLock(fd, F.SETLK, LOCK.WRITE, 2 * outcome.count, 1);
      else calls.open(work.file, O.RDONLY);
    }
  } catch (error) {
    if (!(error instanceof CallError)) throw error;
    outcome.refused = errnoName(error.errno);
  }
}
