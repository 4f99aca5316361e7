/** Disks that lose, refuse or delay what is written, or are not the ones they were. */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Node } from '../support/cluster.js';
import { killGroup } from '../support/exec.js';
import { waitFor } from '../support/wait.js';
import { nameOf } from './bed.js';
import { KILLED_MS, type Fault } from './fault.js';
import { nanoseconds } from './history.js';
import { bricksAreBack } from './process-faults.js';

const ATTACH_MS = 10_000;
const SLOW_US = 1_000_000;

/** Runs strace on a brick with an injection, until the repair or the end of the round. */
function tampered(name: string, what: string, injection: string, rest: Pick<Fault, 'short'> & Partial<Fault>): Fault {
  let strace: ChildProcess | undefined;
  const detach = (): void => {
    strace?.kill('SIGTERM');
    strace = undefined;
  };
  return {
    name,
    what,
    victim: 'any node',
    inject: async (scene) => {
      const { bed, victim, note } = scene;
      const pid = bed.brickPid(victim);
      strace = await attach(victim, bed.cluster.environment(victim), pid, injection);
      scene.atEnd(detach);
      note(`brick ${pid} on ${nameOf(victim)}: ${injection}`);
    },
    holdS: { short: 5, full: [3, 20] },
    repair: async (scene) => {
      detach();
      await bricksAreBack(scene);
    },
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
    ...rest,
  };
}

async function attach(node: Node, environment: Record<string, string>, pid: number, injection: string): Promise<ChildProcess> {
  const calls = injection.slice(0, injection.indexOf(':'));
  const child = spawn('strace', ['-f', '-p', String(pid), '-o', '/dev/null', '-e', `trace=${calls}`, '-e', `inject=${injection}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
    env: { ...process.env, ...environment },
  });
  let said = '';
  child.stderr?.on('data', (data: Buffer) => (said += data.toString('latin1')));
  child.on('error', () => undefined);
  await waitFor(`strace to attach to the brick of ${nameOf(node)}`, ATTACH_MS, () => said.includes('attached'), 20).catch((error: unknown) => {
    killGroup(child);
    throw new Error(`${String(error)}: ${said}`);
  });
  return child;
}

const WRITES = 'pwrite64,pwritev,pwritev2,ftruncate,fallocate';
const NAMES = 'mkdirat,linkat,unlinkat,renameat2,symlinkat,mknodat,fsetxattr';
const SYNCS = 'fsync,fdatasync,syncfs';
const READS = 'pread64,preadv,preadv2';

export const DISK_FAULTS: readonly Fault[] = [
  {
    name: 'power-cut-disk',
    what: "a brick's disk loses what was not synced, and its brick ends",
    short: false,
    victim: 'any node',
    inject: async ({ bed, victim, note }) => {
      const { brick } = bed.disksOf(victim);
      await brick.cutPower();
      await bed.withoutBrick(victim, async () => {
        await brick.unmount();
        await brick.mount();
      });
      note(`${nameOf(victim)}: the brick's disk lost what was not synced`);
    },
    holdS: { short: 1, full: [0, 3] },
    repair: bricksAreBack,
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
  },
  {
    name: 'power-cut-node',
    guest: true,
    what: 'a node loses power: nothing runs, what was not synced is gone',
    short: true,
    victim: 'any node',
    inject: async ({ bed, victim, note }) => {
      await bed.cutPower(victim);
      note(`${nameOf(victim)}: power cut`);
    },
    holdS: { short: 5, full: [0, 20] },
    repair: async ({ bed, victim }) => bed.restorePower(victim),
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
    onVictim: 'dies',
  },
  {
    name: 'power-cut-all',
    what: 'all nodes lose power at once: what was synced is there, on all of them alike',
    short: true,
    victim: 'all nodes',
    inject: async (scene) => {
      const { bed, victims, note } = scene;
      const begin = nanoseconds();
      await Promise.all(victims.map((node) => bed.cutPower(node)));
      scene.cut = { begin, end: nanoseconds() };
      note('power cut of all nodes');
    },
    holdS: { short: 1, full: [0, 10] },
    repair: async ({ bed, victims }) => bed.restorePowerOfAll(victims),
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs + 5000,
    waits: true,
    onVictim: 'dies',
  },
  {
    name: 'full-disk',
    what: 'one disk is full',
    short: false,
    victim: 'any node',
    inject: async (scene) => {
      const { bed, victim, note } = scene;
      scene.atEnd(() => bed.disksOf(victim).brick.free());
      await bed.disksOf(victim).brick.fill();
      note(`${nameOf(victim)}: the brick's disk is full`);
    },
    holdS: { short: 4, full: [2, 15] },
    repair: async (scene) => {
      await scene.bed.disksOf(scene.victim).brick.free();
      await bricksAreBack(scene);
    },
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
  },
  {
    name: 'full-disks',
    what: 'all disks are full: programs see ENOSPC and nothing else',
    short: true,
    victim: 'all nodes',
    inject: async (scene) => {
      const { bed, victims, note } = scene;
      scene.atEnd(async () => void (await Promise.all(victims.map((node) => bed.disksOf(node).brick.free()))));
      await Promise.all(victims.map((node) => bed.disksOf(node).brick.fill()));
      note('all disks are full');
    },
    holdS: { short: 3, full: [2, 10] },
    repair: async (scene) => {
      await Promise.all(scene.victims.map((node) => scene.bed.disksOf(node).brick.free()));
      await bricksAreBack(scene);
    },
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
    errors: ['ENOSPC'],
  },
  {
    name: 'read-only-disk',
    what: "a brick's disk comes back read-only, then writable again",
    short: false,
    victim: 'any node',
    inject: async ({ bed, victim, note }) => {
      const { brick } = bed.disksOf(victim);
      await bed.withoutBrick(victim, () => brick.remount('ro'));
      note(`${nameOf(victim)}: the brick's disk is read-only`);
    },
    holdS: { short: 4, full: [2, 15] },
    repair: async (scene) => {
      const { brick } = scene.bed.disksOf(scene.victim);
      await brick.remount('rw');
      await bricksAreBack(scene);
    },
    stallMs: () => KILLED_MS,
  },
  tampered('read-only-calls', 'every change of a disk under a running brick fails with EROFS', `${WRITES},${NAMES}:error=EROFS`, { short: false }),
  tampered('eio-write', 'every third write to a disk fails with EIO', `${WRITES}:error=EIO:when=3+3`, { short: true }),
  tampered('eio-sync', 'every second sync of a disk fails with EIO', `${SYNCS}:error=EIO:when=2+2`, { short: false }),
  tampered('eio-read', 'every second read from a disk fails with EIO', `${READS}:error=EIO:when=2+2`, { short: false }),
  tampered('slow-disk', 'every sync of a disk takes a second longer', `${SYNCS}:delay_enter=${SLOW_US}`, { short: false }),
  tampered('slow-writes', 'every write to a disk takes a second longer', `${WRITES}:delay_enter=${SLOW_US}`, { short: false }),
  {
    name: 'empty-disk',
    what: "a brick's disk is not there, an empty one is in its place: it never serves; the old one comes back",
    short: false,
    victim: 'any node',
    inject: async ({ bed, victim, note }) => {
      const { brick } = bed.disksOf(victim);
      await bed.withoutBrick(victim, async () => {
        await brick.unmount();
        brick.putAside();
        await brick.format();
        await brick.mount();
      });
      note(`${nameOf(victim)}: an empty disk in the place of the brick's`);
    },
    holdS: { short: 5, full: [5, 20] },
    repair: async (scene) => {
      const { brick } = scene.bed.disksOf(scene.victim);
      await brick.unmount();
      brick.putBack();
      await brick.mount();
      await bricksAreBack(scene);
    },
    stallMs: () => KILLED_MS,
  },
  ...([false, true] as const).map((reboot): Fault => ({
    name: reboot ? 'old-disk-reboot' : 'old-disk',
    what: `a brick's disk is as it was before the load${reboot ? ', and its node boots anew' : ''}: it is stale, and healed`,
    short: false,
    victim: 'any node',
    prepare: async (scene) => {
      const { brick } = scene.bed.disksOf(scene.victim);
      scene.atEnd(() => brick.forgetSnapshot());
      await brick.snapshot();
    },
    inject: async ({ bed, victim, note }) => {
      const { brick } = bed.disksOf(victim);
      if (reboot) {
        await bed.cutPower(victim);
        await brick.restoreSnapshot();
        await bed.restorePower(victim);
      } else {
        await bed.withoutBrick(victim, async () => {
          await brick.unmount();
          await brick.restoreSnapshot();
          await brick.mount();
        });
      }
      note(`${nameOf(victim)}: the brick's disk is as it was before the load`);
    },
    holdS: { short: 2, full: [1, 5] },
    repair: bricksAreBack,
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
    onVictim: reboot ? 'dies' : 'goes on',
  })),
];
