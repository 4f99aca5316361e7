/** What a scenario is, and what is common to all: a guest at work is moved about, then it ends, and everything is looked at. */
import { diceOf } from '../faults/dice.js';
import type { Dice } from '../faults/fault.js';
import { diskProblems, makeDisk, type DiskKind } from './guest-disk.js';
import type { Console } from './console.js';
import { Machine, type Migration } from './machine.js';
import type { Stage } from './stage.js';

export interface Circumstances {
  stage: Stage;
  rounds: number;
  dice: Dice;
  pingTimeoutMs: number;
  note(text: string): void;
  /** Called when the scenario is over, whatever happened. */
  atEnd(undo: () => void | Promise<void>): void;
}

export interface Outcome {
  migrations: Migration[];
  guestErrors: string[];
  verified: number;
  /** What differs between the bricks; empty when nothing does. */
  bricks: string;
  /** All that makes the scenario fail. */
  violations: string[];
  /** A sentence for the table's reader. */
  remark?: string;
}

export interface Scenario {
  name: string;
  what: string;
  /** Rounds of the full form. */
  rounds: number;
  run(circumstances: Circumstances): Promise<Outcome>;
}

/** One round: where to, and what happens meanwhile. */
export type Round = (machine: Machine, round: number) => Promise<Migration[]>;

/** Boots a guest on a disk of this kind, does the rounds, and judges. */
export async function guestRounds(scene: Circumstances, kind: DiskKind, round: Round, parent = scene.stage.instances): Promise<Outcome> {
  const { stage, dice, rounds, note } = scene;
  const folder = folderName(dice);
  const disk = await makeDisk(stage, stage.node(0), folder, kind, parent);
  const machine = await Machine.boot(stage, stage.node(0), disk, { seed: Math.floor(dice.between(1, 1e9)) });
  scene.atEnd(() => machine.kill());
  const outcome: Outcome = { migrations: [], guestErrors: [], verified: 0, bricks: '', violations: [] };
  try {
    await machine.ready();
    await machine.progress();
    for (let n = 0; n < rounds; n++) {
      const done = await round(machine, n);
      outcome.migrations.push(...done);
      for (const { downtimeMs, totalMs } of done) note(`now on n${machine.node.index + 1}: downtime ${downtimeMs.toFixed(0)} ms of ${totalMs.toFixed(0)} ms, ${machine.console.progress?.verified ?? 0} blocks verified`);
    }
    await machine.end();
    outcome.violations.push(...(await diskProblems(stage, machine.node, disk)));
  } catch (error) {
    outcome.violations.push(error instanceof Error ? error.message : String(error));
    await machine.kill();
  }
  await judge(stage, [machine], outcome);
  return outcome;
}

/** The guests have ended. */
export async function judge(stage: Stage, guests: readonly { console: Console }[], outcome: Outcome): Promise<void> {
  for (const { console } of guests) {
    outcome.guestErrors.push(...console.errors);
    outcome.verified += verifiedBy(console);
  }
  outcome.violations.push(...outcome.guestErrors.map((line) => `the guest says: ${line}`));
  if (outcome.verified === 0) outcome.violations.push('the guest verified nothing: the rounds prove nothing');
  await stage.bed.cluster.waitUntilHealed().catch((error: unknown) => outcome.violations.push(String(error)));
  outcome.bricks = await stage.bed.brickDifferences();
  if (outcome.bricks !== '') outcome.violations.push(`the bricks differ: ${outcome.bricks}`);
}

function verifiedBy(console: Console): number {
  const last = /GUEST-END (\d+)/.exec(console.text)?.[1];
  return last === undefined ? (console.progress?.verified ?? 0) : Number(last);
}

/** As Nova names the folder of an instance. */
export function folderName(dice: Dice): string {
  const digits = Array.from({ length: 32 }, () => Math.floor(dice.next() * 16).toString(16)).join('');
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

export interface RunOptions {
  rounds: number;
  seed: number;
  pingTimeoutS: number;
  note(text: string): void;
}

/** Whatever happens, what the scenario started is gone afterwards, and what went wrong is among the violations. */
export async function runScenario(stage: Stage, scenario: Scenario, { rounds, seed, pingTimeoutS, note }: RunOptions): Promise<Outcome> {
  const undos: (() => void | Promise<void>)[] = [];
  // Each scenario has numbers of its own: --only finds the same ones as the whole run.
  const dice = diceOf(seed * 1_000_003 + [...scenario.name].reduce((sum, char) => Math.imul(sum, 31) + (char.codePointAt(0) ?? 0), 7));
  let outcome: Outcome;
  try {
    await stage.bed.cluster.waitUntilHealed();
    outcome = await scenario.run({ stage, rounds, dice, pingTimeoutMs: pingTimeoutS * 1000, note, atEnd: (undo) => void undos.push(undo) });
  } catch (error) {
    outcome = failure(error);
  }
  for (const undo of undos.reverse())
    try {
      await undo();
    } catch (error) {
      outcome.violations.push(`at the end: ${String(error)}`);
    }
  return outcome;
}

export function failure(error: unknown): Outcome {
  return { migrations: [], guestErrors: [], verified: 0, bricks: '', violations: [error instanceof Error ? (error.stack ?? error.message) : String(error)] };
}
