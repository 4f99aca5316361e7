/** POSIX: fcntl, OFD and flock locks between processes on two mounts. */
import assert from 'node:assert/strict';
import { waitFor } from '../../support/wait.js';
import { stateOf, type Agent } from './client.js';
import { F, fails, FLOCK, LOCK, NEW, O, type PosixFixture, type PosixTests } from './suite.js';

type Sys = Agent['sys'];

interface Way {
  name: string;
  exclusive: (sys: Sys, fd: number, wait?: boolean) => Promise<unknown>;
  shared: (sys: Sys, fd: number) => Promise<unknown>;
  unlock: (sys: Sys, fd: number) => Promise<unknown>;
}

const WAYS: Way[] = [
  {
    name: 'fcntl',
    exclusive: (sys, fd, wait = false) => sys.fcntlLock(fd, wait ? F.SETLKW : F.SETLK, LOCK.WRITE, 0, 0),
    shared: (sys, fd) => sys.fcntlLock(fd, F.SETLK, LOCK.READ, 0, 0),
    unlock: (sys, fd) => sys.fcntlLock(fd, F.SETLK, LOCK.UNLOCK, 0, 0),
  },
  {
    name: 'OFD',
    exclusive: (sys, fd, wait = false) => sys.fcntlLock(fd, wait ? F.OFD_SETLKW : F.OFD_SETLK, LOCK.WRITE, 0, 0),
    shared: (sys, fd) => sys.fcntlLock(fd, F.OFD_SETLK, LOCK.READ, 0, 0),
    unlock: (sys, fd) => sys.fcntlLock(fd, F.OFD_SETLK, LOCK.UNLOCK, 0, 0),
  },
  {
    name: 'flock',
    exclusive: (sys, fd, wait = false) => sys.flock(fd, FLOCK.EXCLUSIVE | (wait ? 0 : FLOCK.NOWAIT)),
    shared: (sys, fd) => sys.flock(fd, FLOCK.SHARED | FLOCK.NOWAIT),
    unlock: (sys, fd) => sys.flock(fd, FLOCK.UNLOCK),
  },
];

async function eventually(what: string, work: () => Promise<unknown>): Promise<void> {
  await waitFor(what, 5000, async () => {
    await work();
    return true;
  }, 20);
}

async function open(t: PosixFixture, name: string): Promise<[number, number]> {
  const a = await t.a.open(name, NEW, 0o666);
  return [a, await t.b.open(name, O.RDWR)];
}

const perWay: PosixTests = Object.fromEntries(
  WAYS.flatMap((way): [string, (t: PosixFixture) => Promise<void>][] => [
    [
      `${way.name}: writers exclude each other and readers across mounts, readers share`,
      async (t) => {
        const [a, b] = await open(t, 'f');
        await way.exclusive(t.a, a);
        await fails(['EAGAIN', 'EACCES'], way.exclusive(t.b, b));
        await fails(['EAGAIN', 'EACCES'], way.shared(t.b, b));
        await way.unlock(t.a, a);
        await way.shared(t.b, b);
        await way.shared(t.a, a);
        await fails(['EAGAIN', 'EACCES'], way.exclusive(t.a, a));
        await way.unlock(t.b, b);
        await way.exclusive(t.a, a);
      },
    ],
    [
      `${way.name}: the lock goes when the file is closed`,
      async (t) => {
        const [a, b] = await open(t, 'f');
        await way.exclusive(t.a, a);
        await t.a.close(a);
        await eventually('the lock of a closed file to go', () => way.exclusive(t.b, b));
      },
    ],
    [
      `${way.name}: the lock goes when its owner is killed`,
      async (t) => {
        const [, b] = await open(t, 'f');
        const owner = t.agent(0);
        await way.exclusive(owner.sys, await owner.sys.open('f', O.RDWR));
        await fails(['EAGAIN', 'EACCES'], way.exclusive(t.b, b));
        await owner.kill();
        await eventually('the lock of a killed process to go', () => way.exclusive(t.b, b));
      },
    ],
    [
      `${way.name}: a wait gets the lock when it is free, on the other mount`,
      async (t) => {
        const [a, b] = await open(t, 'f');
        await way.exclusive(t.a, a);
        const waiting = way.exclusive(t.b, b, true);
        assert.equal(await stateOf(waiting), 'waiting');
        await way.unlock(t.a, a);
        await waiting;
        await fails(['EAGAIN', 'EACCES'], way.exclusive(t.a, a));
      },
    ],
    [
      `${way.name}: a process that waits for a lock can be killed, and does not get it`,
      async (t) => {
        const [a, b] = await open(t, 'f');
        await way.exclusive(t.a, a);
        const waiter = t.agent(1);
        const fd = await waiter.sys.open('f', O.RDWR);
        const waiting = way.exclusive(waiter.sys, fd, true);
        assert.equal(await stateOf(waiting), 'waiting');
        await waiter.kill();
        await way.unlock(t.a, a);
        await eventually('the killed waiter to hold nothing', () => way.exclusive(t.b, b));
      },
    ],
  ]),
);

export const LOCK_TESTS: PosixTests = {
  ...perWay,

  'fcntl: ranges conflict where they overlap, and F_GETLK tells where': async (t) => {
    const [a, b] = await open(t, 'f');
    await t.a.fcntlLock(a, F.SETLK, LOCK.WRITE, 100, 100);
    await t.b.fcntlLock(b, F.SETLK, LOCK.WRITE, 0, 100);
    await t.b.fcntlLock(b, F.SETLK, LOCK.WRITE, 200, 0);
    await fails(['EAGAIN', 'EACCES'], t.b.fcntlLock(b, F.SETLK, LOCK.READ, 150, 1));
    const found = await t.b.fcntlLock(b, F.GETLK, LOCK.READ, 0, 0);
    assert.deepEqual([found.type, found.start, found.length], [LOCK.WRITE, 100, 100]);
    assert.equal((await t.a.fcntlLock(a, F.GETLK, LOCK.WRITE, 100, 100)).type, LOCK.UNLOCK);
    await t.a.fcntlLock(a, F.SETLK, LOCK.UNLOCK, 120, 20);
    await t.b.fcntlLock(b, F.SETLK, LOCK.WRITE, 120, 20);
    await fails(['EAGAIN', 'EACCES'], t.b.fcntlLock(b, F.SETLK, LOCK.READ, 119, 1));
  },

  'fcntl: closing any descriptor of the file drops the process\'s locks': async (t) => {
    const [a, b] = await open(t, 'f');
    const second = await t.a.open('f', O.RDONLY);
    await t.a.fcntlLock(a, F.SETLK, LOCK.WRITE, 0, 0);
    await t.a.close(second);
    await eventually('the lock to go', () => t.b.fcntlLock(b, F.SETLK, LOCK.WRITE, 0, 0));
  },

  'OFD: the lock stays until the last duplicate is closed': async (t) => {
    const [a, b] = await open(t, 'f');
    const unrelated = await t.a.open('f', O.RDWR);
    const duplicate = await t.a.dup(a);
    await t.a.fcntlLock(a, F.OFD_SETLK, LOCK.WRITE, 0, 0);
    await fails(['EAGAIN', 'EACCES'], t.a.fcntlLock(unrelated, F.OFD_SETLK, LOCK.WRITE, 0, 0), 'another open of the same process');
    await t.a.close(unrelated);
    await t.a.close(a);
    await fails(['EAGAIN', 'EACCES'], t.b.fcntlLock(b, F.OFD_SETLK, LOCK.WRITE, 0, 0), 'the duplicate still holds it');
    await t.a.close(duplicate);
    await eventually('the lock to go', () => t.b.fcntlLock(b, F.OFD_SETLK, LOCK.WRITE, 0, 0));
  },

  'OFD and fcntl locks see each other': async (t) => {
    const [a, b] = await open(t, 'f');
    await t.a.fcntlLock(a, F.OFD_SETLK, LOCK.WRITE, 100, 1);
    await fails(['EAGAIN', 'EACCES'], t.b.fcntlLock(b, F.SETLK, LOCK.WRITE, 100, 1));
    assert.equal((await t.b.fcntlLock(b, F.OFD_GETLK, LOCK.WRITE, 100, 1)).type, LOCK.WRITE);
  },

  'fcntl: a cycle of waits across mounts is refused with EDEADLK': async (t) => {
    const [a, b] = await open(t, 'f');
    await t.a.fcntlLock(a, F.SETLK, LOCK.WRITE, 0, 1);
    await t.b.fcntlLock(b, F.SETLK, LOCK.WRITE, 1, 1);
    const waiting = t.a.fcntlLock(a, F.SETLKW, LOCK.WRITE, 1, 1);
    assert.equal(await stateOf(waiting), 'waiting');
    await fails('EDEADLK', t.b.fcntlLock(b, F.SETLKW, LOCK.WRITE, 0, 1));
    await t.b.fcntlLock(b, F.SETLK, LOCK.UNLOCK, 0, 0);
    await waiting;
  },

  'QEMU restarts at once: an image whose user was killed can be locked again at once': async (t) => {
    await t.file('image', 'x');
    for (let round = 0; round < 10; round++) {
      const user = t.agent(round % 2);
      const fd = await user.sys.open('image', O.RDWR);
      for (const byte of [100, 101, 103, 201, 203]) {
        await eventually(`byte ${byte} in round ${round}`, () => user.sys.fcntlLock(fd, F.OFD_SETLK, LOCK.READ, byte, 1));
        assert.equal((await user.sys.fcntlLock(fd, F.OFD_GETLK, LOCK.WRITE, byte, 1)).type, LOCK.UNLOCK);
      }
      await user.kill();
    }
  },

  'a lock protects a counter that processes on both mounts increment': async (t) => {
    await t.file('counter', '0');
    const increment = async (sys: Sys): Promise<void> => {
      const fd = await sys.open('counter', O.RDWR);
      for (let i = 0; i < 25; i++) {
        await sys.fcntlLock(fd, F.SETLKW, LOCK.WRITE, 0, 0);
        const value = Number(await sys.pread(fd, 20, 0));
        await sys.pwrite(fd, String(value + 1), 0);
        await sys.fcntlLock(fd, F.SETLK, LOCK.UNLOCK, 0, 0);
      }
      await sys.close(fd);
    };
    await Promise.all([t.agent(0), t.agent(1), t.agent(2)].map((agent) => increment(agent.sys)));
    assert.equal(await t.content('counter', t.b), '75');
  },
};
