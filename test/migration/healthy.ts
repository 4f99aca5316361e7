/** Migrations on a healthy volume: each disk format and cache mode that Nova and libvirt use. */
import type { DiskKind } from './guest-disk.js';
import { makeDisk } from './guest-disk.js';
import { Machine, type Migration } from './machine.js';
import { folderName, guestRounds, judge, type Circumstances, type Outcome, type Scenario } from './scenario.js';

const KINDS: readonly DiskKind[] = (['raw', 'qcow2'] as const).flatMap((format) => [
  { format, cache: 'none', aio: 'threads' },
  { format, cache: 'none', aio: 'native' },
  { format, cache: 'writeback', aio: 'threads' },
  { format, cache: 'writethrough', aio: 'threads' },
]);

const PAUSE_MS_MAX = 300;
/** The goal for an idle guest: this much of the downtime on a local directory. */
const IDLE_RATIO = 1.2;
/** Where a few milliseconds of a busy machine are more than that share. */
const IDLE_SLACK_MS = 15;

/** To the next node, in a circle, at any point of the guest's work. */
async function toNextNode({ stage, dice }: Circumstances, machine: Machine): Promise<Migration[]> {
  await new Promise((resolve) => setTimeout(resolve, dice.between(0, PAUSE_MS_MAX)));
  const migration = await machine.migrate(stage.node((machine.node.index + 1) % stage.nodes.length));
  await machine.progress();
  return [migration];
}

export const HEALTHY: readonly Scenario[] = KINDS.map((kind) => ({
  name: `${kind.format}-${kind.cache}-${kind.aio}`,
  what: `a ${kind.format} disk, cache ${kind.cache}, aio ${kind.aio}: QMP migrates a guest at work from node to node`,
  rounds: 10,
  run: (scene) => guestRounds(scene, kind, (machine) => toNextNode(scene, machine)),
}));

/** What QEMU itself does: a guest that fails here fails without gluon. */
export const CONTROL: Scenario = {
  name: 'control-local',
  what: 'the same on a local directory that all nodes share, without the volume: what QEMU itself does to a guest',
  rounds: 10,
  run: (scene) => guestRounds(scene, { format: 'raw', cache: 'none', aio: 'native' }, (machine) => toNextNode(scene, machine), scene.stage.local),
};

async function idle(scene: Circumstances): Promise<Outcome> {
  const { stage, dice, rounds, note } = scene;
  const outcome: Outcome = { migrations: [], guestErrors: [], verified: 0, bricks: '', violations: [] };
  const boot = async (parent: string): Promise<Machine> => {
    const disk = await makeDisk(stage, stage.node(0), folderName(dice), { format: 'qcow2', cache: 'none', aio: 'native' }, parent);
    const machine = await Machine.boot(stage, stage.node(0), disk, { seed: 1, idle: true });
    scene.atEnd(() => machine.kill());
    await machine.ready();
    return machine;
  };
  const onVolume = await boot(stage.instances);
  const onLocal = await boot(stage.local);
  const local: Migration[] = [];
  // In turns, so that a busy moment of the machine meets both.
  for (let n = 0; n < rounds; n++) {
    for (const [machine, into] of [[onVolume, outcome.migrations], [onLocal, local]] as const) {
      into.push(await machine.migrate(stage.node((machine.node.index + 1) % stage.nodes.length)));
      await machine.progress();
    }
    note(`downtime ${outcome.migrations.at(-1)?.downtimeMs.toFixed(0)} ms on the volume, ${local.at(-1)?.downtimeMs.toFixed(0)} ms on the local directory`);
  }
  const [here, there] = [median(outcome.migrations.map(({ downtimeMs }) => downtimeMs)), median(local.map(({ downtimeMs }) => downtimeMs))];
  outcome.remark = `idle guest: ${here.toFixed(0)} ms on the volume, ${there.toFixed(0)} ms on a local directory (medians of ${rounds})`;
  note(outcome.remark);
  if (here > there * IDLE_RATIO + IDLE_SLACK_MS) outcome.violations.push(`${outcome.remark}: more than ${IDLE_RATIO} of it and ${IDLE_SLACK_MS} ms`);
  outcome.verified = onVolume.console.beats;
  for (const machine of [onVolume, onLocal]) await machine.end();
  await judge(stage, [onVolume], outcome);
  return outcome;
}

export const IDLE: Scenario = {
  name: 'idle-beside-local',
  what: 'an idle guest on the volume and one on a local directory that both nodes share, in turns: the downtimes beside each other',
  rounds: 12,
  run: idle,
};

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length === 0 ? 0 : sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}
