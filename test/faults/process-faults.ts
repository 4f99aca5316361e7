/** Processes that end, or stop for a while. */
import { isAlive, killAndWait, signal } from '../support/processes.js';
import { waitFor } from '../support/wait.js';
import { nameOf } from './bed.js';
import { FENCED, KILLED_MS, type Fault, type Scene } from './fault.js';

const RESTART_MS = 60_000;

async function killBrick({ bed, victim, note }: Scene): Promise<void> {
  const pid = bed.brickPid(victim);
  await killAndWait(pid);
  note(`kill -9 of brick ${pid} on ${nameOf(victim)}`);
}

/** gluond starts it again by itself. */
export async function bricksAreBack({ bed, victims }: Scene): Promise<void> {
  for (const node of victims) await bed.waitForBrick(node);
}

/** Stops processes; they go on at the repair, or when the round ends. */
function pause(name: string, what: string, pidsOf: (scene: Scene) => number[], rest: Pick<Fault, 'short' | 'victim' | 'holdS' | 'stallMs'> & Partial<Fault>): Fault {
  let stopped: number[] = [];
  return {
    name,
    what,
    inject: (scene) => {
      stopped = pidsOf(scene);
      for (const pid of stopped) signal(pid, 'SIGSTOP');
      scene.note(`SIGSTOP of ${stopped.join(', ')} on ${scene.victims.map(nameOf).join(', ')}`);
      scene.atEnd(() => {
        for (const pid of stopped) signal(pid, 'SIGCONT');
      });
      return Promise.resolve();
    },
    repair: async (scene) => {
      for (const pid of stopped) signal(pid, 'SIGCONT');
      if (rest.victim !== 'client host') await bricksAreBack(scene);
    },
    ...rest,
  };
}

const BRIEFLY = { short: 1, full: [0, 4] } as const;
const UNNOTICED_OR_NOT = { short: 7, full: [1, 60] } as const;

export const PROCESS_FAULTS: readonly Fault[] = [
  {
    name: 'nothing',
    what: 'no fault at all: what the load and the checks say of a healthy volume',
    short: false,
    victim: 'any node',
    inject: () => Promise.resolve(),
    holdS: { short: 4, full: [4, 10] },
    stallMs: () => KILLED_MS,
  },
  {
    name: 'kill-primary-brick',
    guest: true,
    what: 'kill -9 of the brick that orders all changes',
    short: true,
    victim: 'primary',
    inject: killBrick,
    holdS: BRIEFLY,
    repair: bricksAreBack,
    stallMs: () => KILLED_MS,
  },
  {
    name: 'kill-member-brick',
    what: 'kill -9 of another brick',
    short: false,
    victim: 'member',
    inject: killBrick,
    holdS: BRIEFLY,
    repair: bricksAreBack,
    stallMs: () => KILLED_MS,
  },
  {
    name: 'kill-gluond',
    what: 'kill -9 of the management daemon; it is started again',
    short: false,
    victim: 'any node',
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
    victim: 'any node',
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
    victim: 'any client',
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
    victim: 'any client',
    inject: async ({ bed, victim, note }) => {
      const { supervisor } = bed.mountPids(victim);
      await killAndWait(supervisor);
      note(`kill -9 of mount supervisor ${supervisor} on ${nameOf(victim)}`);
    },
    holdS: { short: 1, full: [0, 3] },
    stallMs: () => KILLED_MS,
  },
  {
    name: 'kill-client',
    what: 'a client host ends in the middle of its writes, programs and mount at once',
    short: false,
    victim: 'client host',
    inject: async ({ bed, victim, note }) => {
      await bed.killNode(victim);
      note(`kill -9 of everything on ${nameOf(victim)}`);
    },
    holdS: { short: 6, full: [0, 15] },
    repair: async ({ bed, victim }) => bed.mountAgain(victim),
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
    onVictim: 'dies',
  },
  {
    name: 'kill-node',
    guest: true,
    what: 'all processes of a node end at once, programs on its mount included',
    short: true,
    victim: 'any node',
    inject: async ({ bed, victim, note }) => {
      await bed.killNode(victim);
      note(`kill -9 of everything on ${nameOf(victim)}`);
    },
    holdS: { short: 7, full: [1, 20] },
    repair: async ({ bed, victim }) => bed.startNode(victim),
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
    onVictim: 'dies',
  },
  {
    name: 'kill-two-nodes',
    what: 'two nodes end: without a majority everything waits, and goes on when they are back',
    short: false,
    victim: 'two nodes',
    inject: async ({ bed, victims, note }) => {
      await Promise.all(victims.map((node) => bed.killNode(node)));
      note(`kill -9 of everything on ${victims.map(nameOf).join(', ')}`);
    },
    holdS: { short: 6, full: [1, 30] },
    repair: async ({ bed, victims }) => bed.startNodes(victims),
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
    waits: true,
    onVictim: 'dies',
  },
  pause('stop-brick', 'SIGSTOP of the primary brick for a while', ({ bed, victim }) => [bed.brickPid(victim)], {
    short: true,
    victim: 'primary',
    holdS: UNNOTICED_OR_NOT,
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
  }),
  pause('stop-member-brick', 'SIGSTOP of another brick for a while', ({ bed, victim }) => [bed.brickPid(victim)], {
    short: false,
    victim: 'member',
    holdS: UNNOTICED_OR_NOT,
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
  }),
  pause('stop-gluond', 'SIGSTOP of a management daemon for a while', ({ bed, victim }) => [bed.gluondPid(victim)], {
    short: false,
    victim: 'any node',
    holdS: UNNOTICED_OR_NOT,
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
  }),
  pause('stop-gluond-of-primary', 'SIGSTOP of the management daemon of the brick that orders all changes, and a client there', ({ bed, victim }) => [bed.gluondPid(victim)], {
    short: false,
    victim: 'primary',
    clientOnVictim: true,
    holdS: { short: 7, full: [20, 40] },
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
  }),
  pause('stop-etcd-majority', 'SIGSTOP of two etcd members: no view can change, no lease be renewed', ({ bed, victims }) => victims.map((node) => bed.etcdPid(node)), {
    short: false,
    victim: 'two nodes',
    holdS: { short: 4, full: [1, 30] },
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
    waits: true,
  }),
  pause('stop-node', 'a node is paused whole, programs on its mount included, and goes on', ({ bed, victim }) => bed.cluster.processesOf(victim).map(({ pid }) => pid), {
    short: false,
    victim: 'any node',
    holdS: UNNOTICED_OR_NOT,
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
    onVictim: 'waits',
    errorsOnVictim: FENCED,
  }),
  pause('stop-client', 'a client host is paused whole, and goes on', ({ bed, victim }) => bed.cluster.processesOf(victim).map(({ pid }) => pid), {
    short: false,
    victim: 'client host',
    holdS: UNNOTICED_OR_NOT,
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
    onVictim: 'waits',
    errorsOnVictim: FENCED,
  }),
];
