/** Clients that do not let go: others go on without them. */
import assert from 'node:assert/strict';
import { Agent } from '../conformance/posix/client.js';
import { F, fails, FLOCK, LOCK, NEW, O, TYPE } from '../conformance/posix/suite.js';
import { run } from '../support/exec.js';
import { killAndWait, signal } from '../support/processes.js';
import { waitFor } from '../support/wait.js';
import { attributeProblems, MANY } from './histories.js';
import { KEEPS_WHAT_IS_RECALLED, NEVER_ANSWERS, withPlantedMount } from './planted.js';
import { quantile, type CoherenceClaims, type CoherenceFixture } from './suite.js';

/** The shared cluster's network.ping-timeout. */
export const PING_TIMEOUT_S = 4;
/** A lease that is not given back runs out after 550 ms; the machine is shared. */
const LEASE_OVER_MS = 3000;
const FILES = 20;
const BUSY = ['EAGAIN', 'EACCES'];

/** Writes a byte to each of these files; the milliseconds that each write took. */
async function writeEach(sys: Agent['sys'], files: readonly number[], byte: string): Promise<number[]> {
  const took: number[] = [];
  for (const fd of files) {
    const begin = performance.now();
    await sys.pwrite(fd, byte, 0);
    took.push(performance.now() - begin);
  }
  return took;
}

async function opened(t: CoherenceFixture): Promise<number[]> {
  const files: number[] = [];
  for (let i = 0; i < FILES; i++) files.push(await t.a.open(`f${i}`, NEW));
  return files;
}

async function statEach(agent: Agent): Promise<void> {
  for (let i = 0; i < FILES; i++) await agent.sys.stat(`f${i}`);
}

export const DEAD_CLIENTS: CoherenceClaims = {
  'the suite sees a client that keeps what is recalled': async (t) => {
    const third = t.cluster.node(2);
    await withPlantedMount(t.cluster, third, KEEPS_WHAT_IS_RECALLED, async (at) => {
      const planted = t.over([...t.mounts.slice(0, 2), at]);
      try {
        const problems = await attributeProblems(planted, MANY);
        assert.match(problems.join('\n'), /no order explains/, 'a stale answer was not seen');
      } finally {
        await planted.end();
      }
    });
  },

  'a client that never answers a recall holds a change up once, for the time of its lease': async (t) => {
    const third = t.cluster.node(2);
    const files = await opened(t);
    await withPlantedMount(t.cluster, third, NEVER_ANSWERS, async (at) => {
      const mute = new Agent(`${at}/${t.name}`);
      try {
        await statEach(mute);
        const [first, ...others] = await writeEach(t.a, files, 'x');
        assert.ok((first ?? 0) < LEASE_OVER_MS, `the first write took ${first} ms`);
        // It goes on asking, and gets no more leases while it owes an answer.
        const asking = (async () => {
          for (let round = 0; round < 5; round++) await statEach(mute);
        })();
        const again = await writeEach(t.a, files, 'y');
        await asking;
        const laterMs = [...others, ...again].reduce((sum, ms) => sum + ms, 0);
        assert.ok(laterMs < LEASE_OVER_MS, `later writes took ${[...others, ...again].map(Math.round).join(', ')} ms`);
        t.tell(`${t.name}: the first write took ${first?.toFixed(0)} ms, the others ${quantile([...others, ...again], 0.5).toFixed(1)} ms, the longest ${Math.max(...others, ...again).toFixed(0)} ms`);
      } finally {
        await mute.kill();
      }
    });
  },

  'a mount that is stopped with leases holds a change up for the time of its leases, and sees the change when it goes on': async (t) => {
    const third = t.cluster.node(2);
    const files = await opened(t);
    const stopped = t.agent(2);
    await statEach(stopped);
    const pids = t.cluster.mountProcesses(third.mountPoint).map((process) => process.pid);
    for (const pid of pids) signal(pid, 'SIGSTOP');
    try {
      const took = await writeEach(t.a, files, 'longer than before');
      t.tell(`${t.name}: the first write took ${took[0]?.toFixed(0)} ms, all ${took.reduce((sum, ms) => sum + ms, 0).toFixed(0)} ms`);
      assert.ok(took.reduce((sum, ms) => sum + ms, 0) < LEASE_OVER_MS, `the writes took ${took.map(Math.round).join(', ')} ms`);
    } finally {
      for (const pid of pids) signal(pid, 'SIGCONT');
    }
    for (let i = 0; i < FILES; i++) assert.equal((await stopped.sys.stat(`f${i}`)).size, 18);
  },

  'a lock wait is ended by a signal, and nothing of it is left': async (t) => {
    const a = await t.a.open('f', NEW);
    await t.a.fcntlLock(a, F.SETLK, LOCK.WRITE, 0, 0);
    await t.a.flock(a, FLOCK.EXCLUSIVE);
    const program = [
      'import fcntl, signal, sys',
      'class Ended(Exception): pass',
      'def end(*_): raise Ended()',
      'signal.signal(signal.SIGALRM, end)',
      "f = open(sys.argv[1], 'r+')",
      'for lock in (fcntl.lockf, fcntl.flock):',
      '    signal.setitimer(signal.ITIMER_REAL, 0.3)',
      '    try: lock(f, fcntl.LOCK_EX)',
      "    except Ended: print('ended')",
    ].join('\n');
    const { stdout } = await run('python3', ['-c', program, `${t.mounts[1]}/${t.name}/f`], { boundMs: 20_000 });
    assert.equal(stdout, 'ended\nended\n');
    await t.a.close(a);
    const c = await t.agent(2).sys.open('f', O.RDWR);
    const other = t.agent(2).sys;
    const d = await other.open('f', O.RDWR);
    assert.ok(c >= 0);
    await waitFor('the lock to be free', 5000, async () => {
      await other.fcntlLock(d, F.SETLK, LOCK.WRITE, 0, 0);
      await other.flock(d, FLOCK.EXCLUSIVE | FLOCK.NOWAIT);
      return true;
    });
  },

  'locks of all kinds outlive the primary, the mount\'s worker and a restart of the volume': async (t) => {
    const { cluster } = t;
    const [a, b] = [t.a, t.b];
    for (const name of ['fcntl', 'OFD', 'flock']) await t.file(name);
    const held = { fcntl: await a.open('fcntl', O.RDWR), OFD: await a.open('OFD', O.RDWR), flock: await a.open('flock', O.RDWR) };
    const wanted = { fcntl: await b.open('fcntl', O.RDWR), OFD: await b.open('OFD', O.RDWR), flock: await b.open('flock', O.RDWR) };
    await a.fcntlLock(held.fcntl, F.SETLK, LOCK.WRITE, 10, 10);
    await a.fcntlLock(held.OFD, F.OFD_SETLK, LOCK.WRITE, 0, 0);
    await a.flock(held.flock, FLOCK.EXCLUSIVE);
    const excluded = async (what: string): Promise<void> => {
      await fails(BUSY, b.fcntlLock(wanted.fcntl, F.SETLK, LOCK.READ, 19, 1), what);
      await fails(BUSY, b.fcntlLock(wanted.OFD, F.OFD_SETLK, LOCK.READ, 0, 0), what);
      await fails(BUSY, b.flock(wanted.flock, FLOCK.SHARED | FLOCK.NOWAIT), what);
    };
    await excluded('at first');
    const primary = await cluster.primary();
    const pid = await cluster.killBrick(primary);
    await excluded('after the primary was killed');
    await waitFor('the brick to be restarted', 30_000, async () => ![undefined, pid].includes(await cluster.brickPid(primary)));
    await killAndWait(cluster.mountWorker(cluster.node(0)));
    await excluded('after the worker was killed');
    await cluster.waitUntilHealed();
    await cluster.gluon(cluster.node(0), ['volume', 'stop', cluster.volume]);
    await cluster.gluon(cluster.node(0), ['volume', 'start', cluster.volume]);
    await excluded('after the volume was restarted');
    for (const fd of Object.values(held)) await a.close(fd);
    await waitFor('the locks to go with their files', 10_000, async () => {
      await b.fcntlLock(wanted.fcntl, F.SETLK, LOCK.WRITE, 0, 0);
      await b.fcntlLock(wanted.OFD, F.OFD_SETLK, LOCK.WRITE, 0, 0);
      await b.flock(wanted.flock, FLOCK.EXCLUSIVE | FLOCK.NOWAIT);
      return true;
    });
  },

  'a mount that is killed while it holds locks, open files and leases: others go on': async (t) => {
    const { cluster } = t;
    const third = cluster.node(2);
    const files = await opened(t);
    const victim = t.agent(2);
    await statEach(victim);
    const unlinked = await victim.sys.open('unlinked', NEW);
    await victim.sys.pwrite(unlinked, 'x', 0);
    await victim.sys.unlink('unlinked');
    const waiting: Promise<unknown>[] = [];
    const [fcntl, flock] = [await victim.sys.open('f0', O.RDWR), await victim.sys.open('f1', O.RDWR)];
    await victim.sys.fcntlLock(fcntl, F.OFD_SETLK, LOCK.WRITE, 0, 0);
    await victim.sys.flock(flock, FLOCK.EXCLUSIVE);
    // Again and again: of the two, each starts the other anew.
    await waitFor('the mount\'s processes to be gone', 20_000, () => {
      const left = cluster.mountProcesses(third.mountPoint);
      for (const { pid } of left) signal(pid, 'SIGKILL');
      return left.length === 0;
    }, 5);
    const killedAt = performance.now();
    const [b, c] = [t.agent(1), t.agent(1)];
    const [wantsFcntl, wantsFlock] = [await b.sys.open('f0', O.RDWR), await c.sys.open('f1', O.RDWR)];
    waiting.push(b.sys.fcntlLock(wantsFcntl, F.OFD_SETLKW, LOCK.WRITE, 0, 0), c.sys.flock(wantsFlock, FLOCK.EXCLUSIVE));
    const took = await writeEach(t.a, files, 'y');
    assert.ok(took.reduce((sum, ms) => sum + ms, 0) < LEASE_OVER_MS, `writes took ${took.map(Math.round).join(', ')} ms`);
    await t.a.mknod('new', TYPE.FILE | 0o644);
    await Promise.all(waiting);
    const lockedMs = performance.now() - killedAt;
    t.tell(`${t.name}: writes went on after ${Math.max(...took).toFixed(0)} ms, the locks after ${lockedMs.toFixed(0)} ms`);
    assert.ok(lockedMs < (PING_TIMEOUT_S + 3) * 1000, `the locks were there after ${lockedMs} ms`);
    await victim.kill();
    await run('umount', ['-l', third.mountPoint], { accept: 'any' });
    await cluster.mount(third);
    const fresh = t.agent(2);
    assert.equal(await fresh.sys.pread(await fresh.sys.open('f0', O.RDONLY), 1, 0), 'y');
  },
};
