/** The pool and the volume are changed while something is amiss. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Node } from '../support/cluster.js';
import { killAndWait, signal } from '../support/processes.js';
import { waitFor } from '../support/wait.js';
import { nameOf } from './bed.js';
import { FENCED, type Fault, type Scene } from './fault.js';
import { drop, passAll } from './packet-rules.js';

const COMMAND_MS = 60_000;
const LEARN_MS = 60_000;
const RESTORE_MS = 120_000;
const OPTION = 'cluster.heal-throttle';
const VALUE = 'off';
/** Numbers the places of bricks: a directory that was a brick is not taken for another one. */
let places = 0;

/** A command of an operator, who gives it again when the pool says that it cannot now. */
async function operate({ bed, note }: Scene, on: Node, words: string[]): Promise<void> {
  await waitFor(`gluon ${words.join(' ')}`, COMMAND_MS, async () => {
    const { status, stderr } = await bed.cluster.gluon(on, words, { accept: 'any' });
    if (status !== 0) throw new Error(stderr);
    return true;
  });
  note(`${nameOf(on)}: gluon ${words.join(' ')}`);
}

/** Everything that an operator may do about a node that is gone: another one joins, takes the place of its brick, and an option is set. */
async function changeMembers(scene: Scene): Promise<void> {
  const { bed, victim, dice } = scene;
  const { cluster, client: spare } = bed;
  const operator = dice.pick(cluster.nodes.filter((node) => node !== victim));
  spare.brickPath = join(spare.directory, `brick-${++places}`);
  const changes = [
    async () => {
      await operate(scene, operator, ['peer', 'probe', spare.network.address]);
      await operate(scene, operator, ['volume', 'replace-brick', cluster.volume, cluster.brickName(victim), cluster.brickName(spare), 'commit', 'force']);
    },
    () => operate(scene, operator, ['volume', 'set', cluster.volume, OPTION, VALUE]),
  ];
  if (dice.next() < 0.5) changes.reverse();
  for (const change of changes) await change();
  cluster.brickHosts = cluster.nodes.map((node) => (node === victim ? spare : node));
}

/** The node that was away knows what was changed without it: its brick does not run any more. */
async function victimLearns({ bed, victim }: Scene): Promise<void> {
  const { cluster } = bed;
  await waitFor(`the replaced brick of ${nameOf(victim)} to end`, LEARN_MS, () => !cluster.processesOf(victim).some(({ command }) => command.includes('--brick')));
  const told = async (words: string[], what: string): Promise<boolean> => (await cluster.gluon(victim, words, { accept: 'any' })).stdout.includes(what);
  await waitFor(`${nameOf(victim)} to know the option`, LEARN_MS, () => told(['volume', 'get', cluster.volume, OPTION], VALUE));
  await waitFor(`${nameOf(victim)} to see the new peer`, LEARN_MS, () => told(['pool', 'list'], bed.client.network.address));
}

/** The volume on the three nodes again, the client host no more than a client. */
async function restoreMembers(scene: Scene): Promise<void> {
  const { bed, victim } = scene;
  const { cluster, client: spare } = bed;
  const { brickPath: replaced } = victim;
  const source = cluster.brickName(spare);
  // It has left the volume. After a whole list of faults the disk has not room for two copies.
  await cluster.on(victim, ['rm', '-rf', replaced]);
  victim.brickPath = join(bed.disksOf(victim).brick.at, `brick-${++places}`);
  await operate(scene, victim, ['volume', 'replace-brick', cluster.volume, source, cluster.brickName(victim), 'commit', 'force']);
  cluster.brickHosts = cluster.nodes;
  await cluster.waitUntilHealed(RESTORE_MS);
  await operate(scene, victim, ['volume', 'reset', cluster.volume, OPTION]);
  await operate(scene, victim, ['peer', 'detach', spare.network.address]);
  await endSpare(scene);
}

async function endSpare({ bed }: Scene): Promise<void> {
  const { cluster, client: spare } = bed;
  signal(bed.gluondPid(spare), 'SIGINT');
  await waitFor('the gluond of the client host to end', RESTORE_MS, () => spare.daemon?.exitCode !== null);
  for (const { pid, command } of cluster.processesOf(spare)) if (!command.some((word) => word.includes(spare.mountPoint))) await killAndWait(pid);
  for (const path of [spare.brickPath, spare.stateDirectory]) rmSync(path, { recursive: true, force: true });
}

export const MEMBER_FAULTS: readonly Fault[] = [
  {
    name: 'members-change-under-fault',
    what: 'a node is cut off; another joins the pool, takes the place of its brick, and an option is set; then it returns',
    short: false,
    victim: 'any node',
    prepare: ({ bed }) => bed.cluster.startDaemon(bed.client),
    inject: async (scene) => {
      scene.atEnd(() => passAll(scene.victim));
      await drop(scene.victim, ['in', 'out']);
      scene.note(`${nameOf(scene.victim)}: no packet`);
      await changeMembers(scene);
    },
    holdS: { short: 2, full: [0, 10] },
    repair: async (scene) => {
      await passAll(scene.victim);
      await victimLearns(scene);
      scene.atEnd(() => restoreMembers(scene));
    },
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
    onVictim: 'waits',
    errorsOnVictim: FENCED,
  },
];
