/**
 * `npm run test:faults`: real faults on real processes, disks and networks, judged from outside.
 *
 * Exit status: 0 nothing was found, 1 a violation, 2 wrong arguments.
 */
import { cpSync, mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { Bed } from './bed.js';
import { diceOf } from './dice.js';
import { EXERCISES, type Exercise } from './exercises.js';
import { resultTable, type Row } from './report.js';
import { settle, type RoundResult } from './round.js';
import { say, stopWhenTold, UsageError, wholeNumber } from '../support/command.js';

const USAGE = `usage: npm run test:faults -- [--short] [--only NAME]... [--rounds N] [--seed N] [--keep DIRECTORY] [--list]
  --short    a representative set with short pauses (network.ping-timeout 6 s), for every build
  --only     this fault (may be given more than once)
  --rounds   rounds of each fault (1)
  --seed     the same seed injects the same faults (1)
  --keep     logs and histories of rounds that failed are copied there
  --list     the names of all faults`;

const PING_TIMEOUT_S = 10;
/** Shorter ones do not hold when the leader of etcd dies or a brick hangs: see DESIGN.md. */
const PING_TIMEOUT_S_SHORT = 6;
const SETTLE_MS = 120_000;

interface Options {
  short: boolean;
  exercises: Exercise[];
  rounds: number;
  seed: number;
  keep: string | undefined;
}

function parse(argv: string[]): Options | undefined {
  const string = { type: 'string' } as const;
  const boolean = { type: 'boolean' } as const;
  const { values } = parseArgs({ args: argv, options: { short: boolean, only: { ...string, multiple: true }, rounds: string, seed: string, keep: string, list: boolean } });
  if (values.list === true) return undefined;
  const short = values.short === true;
  const named = values.only?.map((name) => {
    const exercise = EXERCISES.find((candidate) => candidate.name === name);
    if (exercise === undefined) throw new UsageError(`--only ${name}: there is no such fault; --list names them`);
    return exercise;
  });
  const exercises = named ?? EXERCISES.filter((exercise) => !short || exercise.short);
  return { short, exercises, rounds: wholeNumber(values.rounds ?? '1', 'rounds', 1), seed: wholeNumber(values.seed ?? '1', 'seed', 0), keep: values.keep };
}

class Runner {
  private bed: Bed | undefined;
  private round = 0;
  private stopping = false;

  constructor(private readonly options: Options) {}

  async run(): Promise<Row[]> {
    const rows: Row[] = [];
    for (const exercise of this.options.exercises) {
      const row: Row = { fault: exercise.name, results: [], failed: 0 };
      rows.push(row);
      for (let round = 0; round < this.options.rounds && !this.stopping; round++) await this.once(exercise, row);
    }
    return rows;
  }

  /** Everything that was started ends. The round at hand fails. */
  async stop(): Promise<void> {
    this.stopping = true;
    const { bed } = this;
    this.bed = undefined;
    await bed?.close();
  }

  private async once(exercise: Exercise, row: Row): Promise<void> {
    const { short, seed } = this.options;
    const number = ++this.round;
    // Each round has numbers of its own: --only finds the same ones as the whole run.
    const dice = diceOf(seed * 1_000_003 + [...`${exercise.name}#${row.results.length + row.failed}`].reduce((sum, char) => Math.imul(sum, 31) + (char.codePointAt(0) ?? 0), 7));
    const pingTimeoutS = short ? PING_TIMEOUT_S_SHORT : PING_TIMEOUT_S;
    try {
      this.bed ??= await Bed.start({ 'network.ping-timeout': String(pingTimeoutS) });
      await settle(this.bed, SETTLE_MS);
      const note = (text: string): void => say(`  ${text}`);
      say(`${exercise.name}: ${exercise.what}`);
      const result = await exercise.round(this.bed, `round-${number}`, dice, { pingTimeoutMs: pingTimeoutS * 1000, short, seed: Math.floor(dice.between(1, 1e9)), note });
      row.results.push(result);
      this.tell(exercise, result);
      if (result.violations.length > 0) await this.failed(row, number);
    } catch (error) {
      if (this.stopping) return;
      say(`  VIOLATION ${exercise.name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
      await this.failed(row, number);
    }
  }

  private tell({ name }: Exercise, { acknowledged, stallMs, boundMs, healS, violations }: RoundResult): void {
    say(`  ${acknowledged} acknowledged, longest stall ${stallMs.toFixed(0)} of ${boundMs.toFixed(0)} ms, healed in ${healS.toFixed(1)} s`);
    for (const violation of violations.slice(0, 20)) say(`  VIOLATION ${name}: ${violation}`);
    if (violations.length > 20) say(`  VIOLATION ${name}: and ${violations.length - 20} more`);
  }

  /** The next round begins with a new cluster: this one may be in any state. */
  private async failed(row: Row, number: number): Promise<void> {
    row.failed++;
    const { bed } = this;
    this.bed = undefined;
    if (bed === undefined) return;
    if (this.options.keep !== undefined) this.keepEvidence(bed, join(this.options.keep, `${row.fault}-${number}`));
    await bed.close();
  }

  private keepEvidence(bed: Bed, into: string): void {
    mkdirSync(into, { recursive: true });
    cpSync(join(bed.cluster.root, 'histories'), join(into, 'histories'), { recursive: true });
    for (const host of bed.hosts) {
      const logs = (path: string): boolean => !/\.(?:img|old|sock)$|\/(?:mnt|disk|sys)$/.test(path);
      cpSync(host.directory, join(into, basename(host.directory)), { recursive: true, filter: logs });
      // The node's own mounts: what gluond, the brick and etcd logged.
      if (host.network.mountsOf === undefined) continue;
      const state = `/proc/${host.network.mountsOf}/root${host.stateDirectory}/log`;
      cpSync(state, join(into, basename(host.directory), 'log'), { recursive: true, force: true });
    }
    say(`  kept in ${into}`);
  }
}

async function main(): Promise<number> {
  let options: Options | undefined;
  try {
    options = parse(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}\n`);
    return 2;
  }
  if (options === undefined) {
    for (const { name, short, what } of EXERCISES) process.stdout.write(`${name.padEnd(26)} ${short ? 'short ' : '      '} ${what}\n`);
    return 0;
  }
  const runner = new Runner(options);
  stopWhenTold(() => runner.stop());
  const rows = await runner.run();
  await runner.stop().catch((error: unknown) => say(`VIOLATION at the end: ${String(error)}`));
  const failed = rows.reduce((sum, row) => sum + row.failed, 0);
  process.stdout.write(`\n${resultTable(rows)}\n\nseed ${options.seed}: ${failed === 0 ? 'no violation' : `${failed} round(s) with violations`}\n`);
  return failed === 0 ? 0 : 1;
}

process.exit(await main());
