/** Processes that end, or stop for a while. */
import { isAlive, killAndWait, signal } from '../support/processes.js';
import { waitFor } from '../support/wait.js';
import { nameOf } from './bed.js';
import type { Fault, Scene } from './fault.js';

/** The promise of G6 for a process that is killed. */
const KILLED_MS = 1000;
const RESTART_MS = 60_000;

async function killBrick({ bed, victim, note }: Scene): Promise<void> {
  const pid = bed.brickPid(victim);
  await killAndWait(pid);
  note(`kill -9 of brick ${pid} on ${nameOf(victim)}`);
}

/** gluond starts it again by itself. */
async function brickIsBack({ bed, victim }: Scene): Promise<void> {
  await bed.waitForBrick(victim);
}

export const PROCESS_FAULTS: readonly Fault[] = [
  {
    name: 'kill-primary-brick',
    what: 'kill -9 of the brick that orders all changes',
    short: true,
    victim: 'primary',
    inject: killBrick,
    holdS: { short: 1, full: [1, 4] },
    repair: brickIsBack,
    stallMs: () => KILLED_MS,
  },
  {
    name: 'kill-member-brick',
    what: 'kill -9 of another brick',
    short: false,
    victim: 'member',
    inject: killBrick,
    holdS: { short: 1, full: [1, 4] },
    repair: brickIsBack,
    stallMs: () => KILLED_MS,
  },
  {
    name: 'kill-gluond',
    what: 'kill -9 of the management daemon; it is started again',
    short: false,
    victim: 'any',
    inject: async ({ bed, victim, note }) => {
      await bed.cluster.killDaemon(victim);
      note(`kill -9 of gluond on ${nameOf(victim)}`);
    },
    holdS: { short: 1, full: [0, 3] },
    repair: async ({ bed, victim }) => bed.cluster.startDaemon(victim),
    stallMs: () => KILLED_MS,
  },
  {
    name: 'kill-etcd',
    what: 'kill -9 of an etcd member; gluond starts it again',
    short: false,
    victim: 'any',
    inject: async ({ bed, victim, note }) => {
      const pid = bed.etcdPid(victim);
      await killAndWait(pid);
      note(`kill -9 of etcd ${pid} on ${nameOf(victim)}`);
    },
    holdS: { short: 2, full: [1, 5] },
    repair: async ({ bed, victim }) => {
      await waitFor(`etcd of ${nameOf(victim)} to be started again`, RESTART_MS, () => isAlive(bed.etcdPid(victim)));
    },
    stallMs: () => KILLED_MS,
  },
  {
    name: 'kill-mount-worker',
    what: 'kill -9 of the process that serves a mount',
    short: true,
    victim: 'client',
    inject: async ({ bed, victim, note }) => {
      const { worker } = bed.mountPids(victim);
      await killAndWait(worker);
      note(`kill -9 of mount worker ${worker} on ${nameOf(victim)}`);
    },
    holdS: { short: 1, full: [0, 3] },
    stallMs: () => KILLED_MS,
  },
  {
    name: 'kill-mount-supervisor',
    what: 'kill -9 of the process that keeps a mount',
    short: false,
    victim: 'client',
    inject: async ({ bed, victim, note }) => {
      const { supervisor } = bed.mountPids(victim);
      await killAndWait(supervisor);
      note(`kill -9 of mount supervisor ${supervisor} on ${nameOf(victim)}`);
    },
    holdS: { short: 1, full: [0, 3] },
    stallMs: () => KILLED_MS,
  },
  {
    name: 'kill-node',
    what: 'all processes of a node end at once, programs on its mount included',
    short: true,
    victim: 'any',
    inject: async ({ bed, victim, note }) => {
      await bed.killNode(victim);
      note(`kill -9 of everything on ${nameOf(victim)}`);
    },
    holdS: { short: 6, full: [1, 20] },
    repair: async ({ bed, victim }) => bed.startNode(victim),
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
    onVictim: 'dies',
  },
  ...(['brick', 'gluond'] as const).map((what): Fault => {
    const pidOf = ({ bed, victim }: Scene): number => (what === 'brick' ? bed.brickPid(victim) : bed.gluondPid(victim));
    let stopped = 0;
    return {
      name: `stop-${what}`,
      what: `SIGSTOP of ${what === 'brick' ? 'the primary brick' : 'a gluond'} for a while`,
      short: what === 'brick',
      victim: what === 'brick' ? 'primary' : 'any',
      inject: (scene) => {
        stopped = pidOf(scene);
        signal(stopped, 'SIGSTOP');
        scene.note(`SIGSTOP of ${what} ${stopped} on ${nameOf(scene.victim)}`);
        return Promise.resolve();
      },
      holdS: { short: 6, full: [1, 60] },
      repair: async (scene) => {
        signal(stopped, 'SIGCONT');
        await brickIsBack(scene);
      },
      stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
    };
  }),
];
