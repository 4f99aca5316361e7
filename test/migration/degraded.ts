/** Migrations while something is broken, and a host that is lost and comes back. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Node } from '../support/cluster.js';
import { killAndWait } from '../support/processes.js';
import { waitFor } from '../support/wait.js';
import { diskProblems, makeDisk, type DiskKind } from './guest-disk.js';
import { Machine, type Migration } from './machine.js';
import { folderName, guestRounds, judge, type Circumstances, type Outcome, type Scenario } from './scenario.js';

const QCOW2: DiskKind = { format: 'qcow2', cache: 'none', aio: 'native' };
const RAW_WRITEBACK: DiskKind = { format: 'raw', cache: 'writeback', aio: 'threads' };

/** Bytes that the absent brick misses: its heal lasts while the guest is moved. */
const MISSED_MIB = 96;
const DOWN_MS = 2_000;
/** Beyond the ping timeout until another host has the disk. */
const FREED_SLACK_MS = 15_000;
const OLD_STEPS = 10_000_000;
const TOGETHER_MS = 4_000;

/** From the node where it is to one that the round does not touch. */
async function between({ stage }: Circumstances, machine: Machine, spared: Node): Promise<Migration> {
  const to = stage.nodes.find((node) => node !== spared && node !== machine.node);
  if (to === undefined) throw new Error('no node to migrate to');
  const migration = await machine.migrate(to);
  await machine.progress();
  return migration;
}

async function awayFrom(scene: Circumstances, machine: Machine, node: Node): Promise<Migration[]> {
  return machine.node === node ? [await between(scene, machine, node)] : [];
}

/** The node's brick is down while the guest moves there and back. */
async function brickDown(scene: Circumstances, machine: Machine, round: number): Promise<Migration[]> {
  const { bed } = scene.stage;
  const primary = await bed.cluster.primary();
  const victim = round % 2 === 0 ? primary : scene.dice.pick(scene.stage.nodes.filter((node) => node !== primary));
  const done = await awayFrom(scene, machine, victim);
  scene.note(`the brick of n${victim.index + 1} is down${victim === primary ? ', it was the primary' : ''}`);
  await bed.withoutBrick(victim, async () => {
    await machine.progress();
    for (let n = 0; n < 2; n++) done.push(await between(scene, machine, victim));
  });
  await bed.waitForBrick(victim);
  return done;
}

/** The node's brick has missed much, and is healed while the guest moves. */
async function brickHealing(scene: Circumstances, machine: Machine, round: number): Promise<Migration[]> {
  const { stage, note } = scene;
  const primary = await stage.bed.cluster.primary();
  const victim = scene.dice.pick(stage.nodes.filter((node) => node !== primary));
  const filler = `${stage.instances}/filler-${round % 2}`;
  await stage.bed.withoutBrick(victim, async () => {
    await sleep(DOWN_MS);
    await stage.on(primary, ['dd', 'if=/dev/urandom', `of=${filler}`, 'bs=1M', `count=${MISSED_MIB}`, 'conv=fsync'], { boundMs: 60_000 });
    await machine.progress();
  });
  await stage.bed.waitForBrick(victim);
  const done: Migration[] = [];
  // Until nothing is left, and at least there and back.
  for (let n = 0; n < 8; n++) {
    const heal = await stage.bed.cluster.healInfo();
    if (n >= 2 && heal.every(({ entryCount }) => entryCount === 0)) break;
    if (n === 0) note(`left to heal on n${victim.index + 1} when the first migration begins: ${heal[victim.index]?.entryCount ?? 'unknown'}`);
    done.push(await machine.migrate(stage.node((machine.node.index + 1) % stage.nodes.length)));
    await machine.progress();
  }
  await stage.bed.cluster.waitUntilHealed();
  return done;
}

/** kill -9 of the primary's brick at any point of a migration. */
async function primaryKilled(scene: Circumstances, machine: Machine): Promise<Migration[]> {
  const { stage, dice, note } = scene;
  const { bed } = stage;
  const primary = await bed.cluster.primary();
  const pid = bed.brickPid(primary);
  const after = dice.between(0, 500);
  let killing: Promise<void> = Promise.resolve();
  const migration = await machine.migrate(stage.node((machine.node.index + 1) % stage.nodes.length), () => {
    killing = sleep(after).then(() => killAndWait(pid));
    killing.catch(() => undefined);
  });
  await killing;
  note(`kill -9 of the primary on n${primary.index + 1}, ${after.toFixed(0)} ms into a migration of ${migration.totalMs.toFixed(0)} ms`);
  await machine.progress();
  await bed.waitForBrick(primary);
  await bed.cluster.waitUntilHealed();
  return [migration];
}

/** `first step-last synced step` of each writer. */
function toldBy(machine: Machine, boot: number): string {
  const synced = machine.console.progress?.synced ?? [0, 0];
  return synced.map((step) => `${boot * OLD_STEPS + 1}-${step}`).join(',');
}

/** Boots as soon as the lost host's lock is gone; rejects when that takes longer than it may. */
async function bootElsewhere(scene: Circumstances, node: Node, lost: Machine, earlier: string): Promise<Machine> {
  let refused = 0;
  const begin = performance.now();
  const machine = await waitFor('the lost host to lose its image lock', scene.pingTimeoutMs + FREED_SLACK_MS, async () => {
    try {
      return await Machine.boot(scene.stage, node, lost.disk, { seed: lost.seed, earlier });
    } catch (error) {
      refused++;
      throw error;
    }
  });
  scene.atEnd(() => machine.kill());
  scene.note(`on n${node.index + 1} after ${((performance.now() - begin) / 1000).toFixed(1)} s and ${refused} refusals`);
  return machine;
}

/** The guest's host is cut off while it writes; the guest is started on another; then the host is back, with its guest still running. */
async function evacuated(scene: Circumstances, kind: DiskKind): Promise<Outcome> {
  const { stage, dice, note } = scene;
  const outcome: Outcome = { migrations: [], guestErrors: [], verified: 0, bricks: '', violations: [] };
  const { cluster } = stage.bed;
  const disk = await makeDisk(stage, stage.node(0), folderName(dice), kind);
  let machine = await Machine.boot(stage, stage.node(0), disk, { seed: Math.floor(dice.between(1, 1e9)) });
  scene.atEnd(() => machine.kill());
  const guests = [machine];
  let earlier = '';
  await machine.ready();
  try {
    for (let round = 0; round < scene.rounds; round++) {
      await machine.progress();
      const lost = machine;
      const { node } = lost;
      const refuge = dice.pick(stage.nodes.filter((other) => other !== node));
      note(`n${node.index + 1} is cut off`);
      await cluster.setLink(node, false);
      scene.atEnd(() => cluster.setLink(node, true));
      earlier = [earlier, toldBy(lost, round)].filter((word) => word !== '').join(',');
      machine = await bootElsewhere(scene, refuge, lost, earlier);
      guests.push(machine);
      const booted = performance.now();
      await machine.ready();
      await machine.progress();
      note(`it found what was synced and goes on, ${((performance.now() - booted) / 1000).toFixed(1)} s later`);
      await cluster.setLink(node, true);
      note(`n${node.index + 1} is back, its guest still runs`);
      const until = performance.now() + TOGETHER_MS;
      // It reads what it wrote itself, at any rate: one block of the other guest is enough to show.
      while (performance.now() < until) await machine.progress();
      const here = lost.console.errors;
      note(`the guest that was left says: ${here[0] ?? 'nothing'}`);
      await lost.kill();
      await cluster.waitUntilHealed();
      outcome.migrations.push(await machine.migrate(node));
      await machine.progress();
    }
    await machine.end();
    outcome.violations.push(...(await diskProblems(stage, machine.node, disk)));
  } catch (error) {
    outcome.violations.push(error instanceof Error ? error.message : String(error));
  }
  // A program of a host that is cut off does not end while it waits for the volume.
  for (const node of stage.nodes) await cluster.setLink(node, true);
  for (const guest of guests) await guest.kill().catch((error: unknown) => outcome.violations.push(String(error)));
  // What a guest sees that lost its disk is its own matter: only the last one must not see an error, and none may have seen foreign bytes while it had it.
  await judge(stage, [machine], outcome);
  return outcome;
}

export const DEGRADED: readonly Scenario[] = [
  {
    name: 'brick-down',
    what: 'one brick is down, every other time the primary\'s: the guest moves between the other nodes',
    rounds: 4,
    run: (scene) => guestRounds(scene, QCOW2, (machine, round) => brickDown(scene, machine, round)),
  },
  {
    name: 'brick-healing',
    what: 'a brick that was down is healed while the guest moves',
    rounds: 3,
    run: (scene) => guestRounds(scene, RAW_WRITEBACK, (machine, round) => brickHealing(scene, machine, round)),
  },
  {
    name: 'primary-killed',
    what: 'kill -9 of the primary brick at any point of a migration',
    rounds: 12,
    run: (scene) => guestRounds(scene, QCOW2, (machine) => primaryKilled(scene, machine)),
  },
  {
    name: 'evacuated',
    what: 'the host is cut off while its guest writes, the guest is started elsewhere, the host comes back with the old guest running',
    rounds: 3,
    run: (scene) => evacuated(scene, QCOW2),
  },
  {
    name: 'evacuated-writeback',
    what: 'the same with a raw disk and cache writeback',
    rounds: 2,
    run: (scene) => evacuated(scene, RAW_WRITEBACK),
  },
];
