/**
 * `npm run test:migration`: guests are live-migrated between three nodes while they write and verify, on a healthy and on a degraded volume.
 *
 * Exit status: 0 nothing was found, 1 a violation, 2 wrong arguments.
 */
import { cpSync, lstatSync, mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { resultTable, type Row } from './report.js';
import { failure, runScenario, type Outcome, type Scenario } from './scenario.js';
import { SCENARIOS, SHORT_ROUNDS } from './scenarios.js';
import { Stage } from './stage.js';
import { say, stopWhenTold, UsageError, wholeNumber } from '../support/command.js';

const USAGE = `usage: npm run test:migration -- [--short] [--only NAME]... [--rounds N] [--seed N] [--keep DIRECTORY] [--list]
  --short    a few scenarios with few rounds, for every build
  --only     this scenario (may be given more than once)
  --rounds   rounds of each scenario, instead of its own number
  --seed     the same seed makes the same choices (1)
  --keep     logs and consoles of scenarios that failed are copied there
  --list     the names of all scenarios`;

const PING_TIMEOUT_S = 6;

interface Options {
  scenarios: Scenario[];
  rounds(scenario: Scenario): number;
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
    const scenario = SCENARIOS.find((candidate) => candidate.name === name);
    if (scenario === undefined) throw new UsageError(`--only ${name}: there is no such scenario; --list names them`);
    return scenario;
  });
  const rounds = values.rounds === undefined ? undefined : wholeNumber(values.rounds, 'rounds', 1);
  return {
    scenarios: named ?? SCENARIOS.filter(({ name }) => !short || SHORT_ROUNDS.has(name)),
    rounds: (scenario) => rounds ?? (short ? (SHORT_ROUNDS.get(scenario.name) ?? 1) : scenario.rounds),
    seed: wholeNumber(values.seed ?? '1', 'seed', 0),
    keep: values.keep,
  };
}

class Runner {
  private stage: Stage | undefined;
  private stopping = false;

  constructor(private readonly options: Options) {}

  async run(): Promise<Row[]> {
    const rows: Row[] = [];
    for (const scenario of this.options.scenarios) {
      if (this.stopping) break;
      rows.push({ scenario: scenario.name, outcome: await this.once(scenario) });
    }
    return rows;
  }

  /** Everything that was started ends. */
  async stop(): Promise<void> {
    this.stopping = true;
    const { stage } = this;
    this.stage = undefined;
    await stage?.close();
  }

  private async once(scenario: Scenario): Promise<Outcome> {
    const { seed, rounds } = this.options;
    say(`${scenario.name}: ${scenario.what}`);
    let outcome: Outcome;
    try {
      this.stage ??= await Stage.start(PING_TIMEOUT_S);
      outcome = await runScenario(this.stage, scenario, { rounds: rounds(scenario), seed, pingTimeoutS: PING_TIMEOUT_S, note: (text) => say(`  ${text}`) });
    } catch (error) {
      outcome = failure(error);
    }
    for (const violation of outcome.violations.slice(0, 20)) say(`  VIOLATION ${scenario.name}: ${violation}`);
    if (outcome.violations.length > 0) await this.failed(scenario.name);
    return outcome;
  }

  /** The next scenario begins with a new cluster: this one may be in any state. */
  private async failed(name: string): Promise<void> {
    const { stage } = this;
    this.stage = undefined;
    if (stage === undefined) return;
    if (this.options.keep !== undefined) keepEvidence(stage, join(this.options.keep, name));
    await stage.close();
  }
}

function keepEvidence({ bed }: Stage, into: string): void {
  mkdirSync(into, { recursive: true });
  const small = (path: string): boolean => !/\.(?:img|raw)$|\/(?:mnt|disk|sys|instances|local|boot)$/.test(path) && !lstatSync(path).isSocket();
  cpSync(bed.cluster.root, into, { recursive: true, filter: small });
  for (const node of bed.cluster.nodes) {
    const state = `/proc/${node.network.mountsOf}/root${node.stateDirectory}/log`;
    cpSync(state, join(into, basename(node.directory), 'log'), { recursive: true, force: true });
  }
  say(`  kept in ${into}`);
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
    for (const { name, what } of SCENARIOS) process.stdout.write(`${name.padEnd(26)} ${SHORT_ROUNDS.has(name) ? 'short ' : '      '} ${what}\n`);
    return 0;
  }
  const runner = new Runner(options);
  stopWhenTold(() => runner.stop());
  const rows = await runner.run();
  await runner.stop().catch((error: unknown) => say(`VIOLATION at the end: ${String(error)}`));
  const failed = rows.filter(({ outcome }) => outcome.violations.length > 0).length;
  const migrations = rows.reduce((sum, { outcome }) => sum + outcome.migrations.length, 0);
  const remarks = rows.map(({ outcome }) => outcome.remark).filter((remark) => remark !== undefined);
  process.stdout.write(`\n${resultTable(rows)}\n\n${remarks.map((remark) => `${remark}\n`).join('')}seed ${options.seed}: ${migrations} migrations, ${failed === 0 ? 'no violation' : `${failed} scenario(s) with violations`}\n`);
  return failed === 0 ? 0 : 1;
}

process.exit(await main());
