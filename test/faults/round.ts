/** One round: load, fault, repair, heal, and the judgement of everything that can be seen from outside. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Node } from '../support/cluster.js';
import { waitFor } from '../support/wait.js';
import { nameOf, type Bed } from './bed.js';
import { HEAL_S, type Dice, type Fault, type Scene } from './fault.js';
import { GuestLoad } from './guest-load.js';
import { longestStall, machineNoise, nanoseconds } from './history.js';
import { judge } from './judge.js';
import { Load } from './load.js';

/** A round with fewer acknowledged operations proves nothing. */
export const ACKNOWLEDGED_MIN = 150;
const PROGRESS_MS = 60_000;
const STOP_MS = 30_000;
/** The machine is shared with others: a bound grows with what they take, up to this. */
const SLOWNESS_MAX = 3;

const NAME_OPS = new Set(['create', 'rename', 'replace', 'unlink']);
const LOST_WITH_POWER = new Set(['ESTALE', 'ENOENT', 'EIO']);
/** After all power went, the first fsync of what was not synced fails: once for each open file, and a client has two at most. */
const SYNC_OPS = new Set(['fsync', 'log fsync', 'names fsync']);
const TOLD_MAX = 2;

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
  const host = dice.pick(bed.cluster.nodes);
  const victims = await victimsOf(bed, fault, dice, host);
  const [victim] = victims;
  if (victim === undefined) throw new Error('a fault without a victim');
  const undos: (() => void | Promise<void>)[] = [];
  const { pingTimeoutMs, short, note } = options;
  const hosts = [bed.client, fault.clientOnVictim === true ? victim : host];
  const scene: Scene = { bed, dice, victim, victims, hosts, pingTimeoutMs, short, note, atEnd: (undo) => void undos.push(undo) };
  try {
    await fault.prepare?.(scene);
    return await loadedRound(scene, fault, directory, options.seed);
  } finally {
    for (const undo of undos.reverse()) await undo();
  }
}

async function loadedRound(scene: Scene, fault: Fault, directory: string, seed: number): Promise<RoundResult> {
  const { bed, victims } = scene;
  // fio takes any error for a failure, and what a power cut of everything may take too.
  const withFio = fault.errors === undefined && !(fault.victim === 'all nodes' && fault.onVictim === 'dies');
  const load = await Load.start(bed.cluster, directory, scene.hosts, seed, withFio);
  const guest = fault.guest === true && !scene.short ? await GuestLoad.start(bed, directory) : undefined;
  if (guest !== undefined) scene.atEnd(() => guest.kill());
  const violations: string[] = [];
  const affected = fault.affects?.(scene) ?? victims;
  const onAffected = (client: number): boolean => affected.some((host) => load.clientsOn(host).includes(client));
  const timing = await injectAndRepair(scene, fault, load, violations);
  const guestSays = (await guest?.finish()) ?? [];
  const notEnded = await load.stop(STOP_MS);
  violations.push(...notEnded, ...load.complaints());
  const histories = load.read();
  const told = new Map<string, number>();
  const isToldOfLoss = (client: number, op: string): boolean => {
    const times = (told.get(`${client} ${op}`) ?? 0) + 1;
    told.set(`${client} ${op}`, times);
    return times <= TOLD_MAX;
  };
  const verdict = judge(histories, await looks(bed, load), {
    mayFail: ({ outcome = '', client, op, begin, end }) => {
      if (fault.errors?.includes(outcome) === true) return true;
      // It was killed a moment after its mount.
      if (fault.onVictim === 'dies' && onAffected(client) && end > timing.injected) return true;
      // Under way while all power went: the file or the name that it is about was not synced, and went too.
      const { cut } = scene;
      if (cut !== undefined && begin < cut.end && end > cut.begin && NAME_OPS.has(op) && LOST_WITH_POWER.has(outcome)) return true;
      if (cut !== undefined && end > cut.begin && SYNC_OPS.has(op) && outcome === 'EIO' && isToldOfLoss(client, op)) return true;
      return onAffected(client) && fault.errorsOnVictim?.includes(outcome) === true;
    },
    ...(scene.cut === undefined ? {} : { cut: scene.cut }),
  });
  const fioMayFail = affected.includes(bed.client) && (fault.onVictim === 'dies' || fault.errorsOnVictim !== undefined);
  if (!fioMayFail) verdict.wrong.push(...load.fioErrors);
  verdict.wrong.push(...guestSays);
  const differences = await bed.brickDifferences();
  if (differences !== '') verdict.wrong.push(`the brick directories differ: ${differences}`);
  const unaffected = histories.filter(({ client }) => (fault.onVictim ?? 'goes on') === 'goes on' || !onAffected(client));
  const from = fault.waits === true ? timing.repaired : timing.injected;
  const stall = longestStall(unaffected, from, timing.healed);
  const noise = machineNoise(histories, stall.begin, stall.end);
  const boundMs = fault.stallMs(scene) * Math.min(noise.slowness, SLOWNESS_MAX) + noise.lateMs;
  if (stall.ms > boundMs) violations.push(`a pause of ${stall.ms.toFixed(0)} ms where ${boundMs.toFixed(0)} are allowed (${stall.what})`);
  if (verdict.acknowledged < ACKNOWLEDGED_MIN) violations.push(`only ${verdict.acknowledged} operations were acknowledged: the round proves nothing`);
  violations.push(...verdict.lost.map((text) => `lost: ${text}`), ...verdict.wrong.map((text) => `wrong: ${text}`));
  const { acknowledged, lost, wrong } = verdict;
  return { acknowledged, stallMs: stall.ms, boundMs, lost, wrong, healS: (timing.healed - timing.repaired) / 1e9, violations };
}

async function victimsOf(bed: Bed, fault: Fault, dice: Dice, loaded: Node): Promise<Node[]> {
  const { nodes } = bed.cluster;
  const but = (left: Node): Node[] => nodes.filter((node) => node !== left);
  switch (fault.victim) {
    case 'any node':
      return [dice.pick(nodes)];
    case 'any client':
      return [dice.pick([bed.client, loaded])];
    case 'client host':
      return [bed.client];
    case 'all nodes':
      return [...nodes];
    case 'two nodes':
      return but(dice.pick(nodes));
    case 'primary':
      return [await bed.cluster.primary()];
    case 'member':
      return [dice.pick(but(await bed.cluster.primary()))];
  }
}

interface Timing {
  injected: number;
  repaired: number;
  healed: number;
}

async function injectAndRepair(scene: Scene, fault: Fault, load: Load, violations: string[]): Promise<Timing> {
  const { bed, dice, victims, short, note } = scene;
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
  note(`${fault.name}: repaired on ${victims.map(nameOf).join(', ')}`);
  const dead = fault.onVictim === 'dies' ? victims : [];
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
