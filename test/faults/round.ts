/** One round: load, fault, repair, heal, and the judgement of everything that can be seen from outside. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Node } from '../support/cluster.js';
import { waitFor } from '../support/wait.js';
import { nameOf, type Bed } from './bed.js';
import { HEAL_S, type Dice, type Fault, type Scene } from './fault.js';
import { longestStall, machineNoise, nanoseconds } from './history.js';
import { judge } from './judge.js';
import { Load } from './load.js';

/** A round with fewer acknowledged operations proves nothing. */
export const ACKNOWLEDGED_MIN = 150;
const PROGRESS_MS = 60_000;
const STOP_MS = 30_000;
/** The machine is shared with others: a bound grows with what they take, up to this. */
const SLOWNESS_MAX = 4;

export interface RoundOptions {
  pingTimeoutMs: number;
  short: boolean;
  seed: number;
  /** Where each injection is written. */
  note(text: string): void;
}

export interface RoundResult {
  acknowledged: number;
  stallMs: number;
  boundMs: number;
  lost: string[];
  wrong: string[];
  healS: number;
  /** Everything that makes the round fail, lost and wrong included. */
  violations: string[];
}

export async function runRound(bed: Bed, fault: Fault, directory: string, dice: Dice, options: RoundOptions): Promise<RoundResult> {
  const node = dice.pick(bed.cluster.nodes);
  const victim = await victimOf(bed, fault, dice, node);
  const { pingTimeoutMs, short, note } = options;
  const scene: Scene = { bed, dice, victim, pingTimeoutMs, short, note };
  const load = await Load.start(bed.cluster, directory, [bed.client, node], options.seed, fault.errors === undefined);
  const violations: string[] = [];
  const timing = await injectAndRepair(scene, fault, load, violations);
  const notEnded = await load.stop(STOP_MS);
  violations.push(...notEnded, ...load.complaints());
  const histories = load.read();
  const verdict = judge(histories, await looks(bed, load), {
    mayFail: ({ outcome, client }) => {
      const listed = (errors: readonly string[] | undefined): boolean => errors?.includes(outcome ?? '') === true;
      return listed(fault.errors) || (load.clientsOn(victim).includes(client) && listed(fault.errorsOnVictim));
    },
    ...(scene.cut === undefined ? {} : { cut: scene.cut }),
  });
  const fioMayFail = victim === bed.client && (fault.onVictim === 'dies' || fault.errorsOnVictim !== undefined);
  if (!fioMayFail) verdict.wrong.push(...load.fioErrors);
  const differences = await bed.brickDifferences();
  if (differences !== '') verdict.wrong.push(`the brick directories differ: ${differences}`);
  const measured = histories.filter(({ client }) => fault.onVictim === undefined || fault.onVictim === 'goes on' || !load.clientsOn(victim).includes(client));
  const from = fault.waits === true ? timing.repaired : timing.injected;
  const stall = longestStall(measured, from, timing.healed);
  const noise = machineNoise(histories, from, timing.healed);
  const boundMs = fault.stallMs(scene) * Math.min(noise.slowness, SLOWNESS_MAX) + noise.lateMs;
  if (stall.ms > boundMs) violations.push(`a pause of ${stall.ms.toFixed(0)} ms where ${boundMs.toFixed(0)} are allowed (${stall.what})`);
  if (verdict.acknowledged < ACKNOWLEDGED_MIN) violations.push(`only ${verdict.acknowledged} operations were acknowledged: the round proves nothing`);
  violations.push(...verdict.lost.map((text) => `lost: ${text}`), ...verdict.wrong.map((text) => `wrong: ${text}`));
  const { acknowledged, lost, wrong } = verdict;
  return { acknowledged, stallMs: stall.ms, boundMs, lost, wrong, healS: (timing.healed - timing.repaired) / 1e9, violations };
}

async function victimOf(bed: Bed, fault: Fault, dice: Dice, loaded: Node): Promise<Node> {
  if (fault.victim === 'any') return dice.pick(bed.cluster.nodes);
  if (fault.victim === 'client') return dice.pick([bed.client, loaded]);
  const primary = await bed.cluster.primary();
  return fault.victim === 'primary' ? primary : dice.pick(bed.cluster.nodes.filter((node) => node !== primary));
}

interface Timing {
  injected: number;
  repaired: number;
  healed: number;
}

async function injectAndRepair(scene: Scene, fault: Fault, load: Load, violations: string[]): Promise<Timing> {
  const { bed, dice, victim, short, note } = scene;
  await load.progress(PROGRESS_MS);
  await sleep(dice.between(0, short ? 300 : 1500));
  const injected = nanoseconds();
  await fault.inject(scene);
  const [least, most] = fault.holdS.full;
  const holdMs = short ? fault.holdS.short * 1000 : dice.between(least * 1000, most * 1000);
  note(`${fault.name}: holds for ${(holdMs / 1000).toFixed(1)} s`);
  await sleep(holdMs);
  await fault.repair?.(scene);
  const repaired = nanoseconds();
  note(`${fault.name}: repaired on ${nameOf(victim)}`);
  const dead = fault.onVictim === 'dies' ? [victim] : [];
  const going = async (): Promise<void> => {
    try {
      await load.progress(PROGRESS_MS, dead);
    } catch (error) {
      violations.push(`after the repair: ${String(error)}`);
    }
  };
  await going();
  const healMs = (fault.healS ?? HEAL_S) * 1000;
  await bed.cluster.waitUntilHealed(healMs).catch((error: unknown) => violations.push(String(error)));
  const healed = nanoseconds();
  await going();
  return { injected, repaired, healed };
}

/** What each mount shows; the first is the client host's. */
async function looks(bed: Bed, load: Load): Promise<Awaited<ReturnType<Load['look']>>[]> {
  const out = [];
  for (const host of [bed.client, ...bed.cluster.nodes]) out.push(await load.look(host));
  return out;
}

/** The bed as a round must find it. */
export async function settle(bed: Bed, boundMs: number): Promise<void> {
  await bed.cluster.waitUntilHealed(boundMs);
  await waitFor('every host to have its mount', 5000, () => bed.hosts.every((host) => bed.cluster.mountsBelowRoot(host).includes(host.mountPoint)));
}
