#!/usr/bin/env node
/** `npm run bench`: the rows of DESIGN §10 on gluon, beside the bare disk and other systems on the same disk. See --help. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { assertNode, ensurePackages } from '../scripts/lib/setup.mjs';
import { progress, script, StepError } from '../scripts/lib/steps.mjs';
import { measure, ROWS } from './rows.mjs';
import { median, numberText, resultTable, standing } from './table.mjs';
import { DiskSystem } from './systems/disk.mjs';
import { GlusterSystem } from './systems/gluster.mjs';
import { GluonSystem } from './systems/gluon.mjs';
import { MooseSystem } from './systems/moosefs.mjs';

const HELP = `usage: npm run bench -- [option…]

  --only ROW,…        only these rows: ${ROWS.map(({ row }) => row).join(', ')}
  --systems NAME,…    of: disk, glusterfs-default, glusterfs-virt, moosefs (three copies; its fsync reaches no disk), gluon, gluon-bitrot
                      (the same volume with features.bitrot on, switched off afterwards); default: all but the last, GlusterFS and
                      MooseFS when their Debian packages are installed
  --rounds N          measure everything N times and take the median (default 1)
  --dir DIR           folder for bricks and files of the other systems, on the disk that holds gluon's bricks (default /var/tmp/gluon-bench)
  --mount DIR         measure gluon on this mount (default: the quickstart's first; it is started when it is not up)
  --quickstart DIR    folder of the quickstart, when not its usual one
  --baseline FILE     take systems that are not measured now from the JSON of an earlier run on this machine
  --json FILE         also write the results as JSON
  --heal              measure what a brick costs that was away (see bench/heal.mjs)
  --heal-data MIB     data in its image (default 4096; 0: none)
  --heal-load SECONDS how long synced writes are measured before they go on while a brick heals (default 5; 0: not at all)
  --heal-files N,…    files of the volume in which nothing changed (default 1000,100000)
  --memory            measure memory after 100,000 files instead of speed (see bench/memory.mjs)

Exit status 1 when a row fails, or when gluon is below the better GlusterFS profile in a row; MooseFS does not count.
`;

const SYSTEMS = {
  disk: (options) => new DiskSystem(options.dir),
  'glusterfs-default': (options) => new GlusterSystem('default', options.dir),
  'glusterfs-virt': (options) => new GlusterSystem('virt', options.dir),
  moosefs: (options) => new MooseSystem(options.dir),
  gluon: (options) => new GluonSystem(options.mount, options.quickstart),
  'gluon-bitrot': (options) => new GluonSystem(options.mount, options.quickstart, true),
};

/** Systems that are measured by default where they are installed, which is left to the user: no package of theirs is needed otherwise. */
const OTHERS = [
  { title: 'GlusterFS', prefix: 'glusterfs', packages: ['glusterfs-server'], available: () => GlusterSystem.available() },
  { title: 'MooseFS', prefix: 'moosefs', packages: ['moosefs-master', 'moosefs-chunkserver', 'moosefs-client'], available: () => MooseSystem.available() },
];

function otherOf(system) {
  return OTHERS.find(({ prefix }) => system.startsWith(prefix));
}

function measuredByDefault(system) {
  return system !== 'gluon-bitrot' && (otherOf(system)?.available() ?? true);
}

function parse() {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        only: { type: 'string' },
        systems: { type: 'string' },
        rounds: { type: 'string', default: '1' },
        dir: { type: 'string', default: '/var/tmp/gluon-bench' },
        mount: { type: 'string' },
        quickstart: { type: 'string' },
        baseline: { type: 'string' },
        json: { type: 'string' },
        memory: { type: 'boolean', default: false },
        heal: { type: 'boolean', default: false },
        'heal-data': { type: 'string', default: '4096' },
        'heal-load': { type: 'string', default: '5' },
        'heal-files': { type: 'string', default: '1000,100000' },
        help: { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    throw new StepError(`${error.message}\n${HELP}`);
  }
  const pick = (text, known, what) => {
    const words = text.split(',').filter((word) => word !== '');
    for (const word of words) if (!known.includes(word)) throw new StepError(`unknown ${what} '${word}'; known: ${known.join(', ')}`);
    return words;
  };
  const rowNames = ROWS.map(({ row }) => row);
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 100) throw new StepError(`--rounds ${values.rounds}: a number from 1 to 100 is needed`);
  return {
    ...values,
    rounds,
    dir: resolve(values.dir),
    wanted: new Set(values.only === undefined ? rowNames : pick(values.only, rowNames, 'row')),
    systems: values.systems === undefined ? Object.keys(SYSTEMS).filter(measuredByDefault) : pick(values.systems, Object.keys(SYSTEMS), 'system'),
  };
}

let current;

async function measureSystem(name, options) {
  const system = SYSTEMS[name](options);
  current = system;
  const samples = {};
  const failures = [];
  try {
    const directory = await system.up();
    for (let round = 1; round <= options.rounds; round++) {
      progress(`${name}${options.rounds > 1 ? `, round ${round} of ${options.rounds}` : ''} in ${directory}`);
      await measure(join(directory, `gluon-bench-${process.pid}`), options.wanted, (row, value) => {
        const { title, unit } = ROWS.find((known) => known.row === row);
        if (value instanceof Error) {
          failures.push(`${name} ${row}: ${value.message}`);
          progress(`  ${title}: FAILED: ${value.message.split('\n')[0]}`);
          return;
        }
        (samples[row] ??= []).push(value);
        progress(`  ${title}: ${numberText(value)} ${unit}`);
      });
    }
  } finally {
    await system.down();
    current = undefined;
  }
  return { values: Object.fromEntries(Object.entries(samples).map(([row, values]) => [row, median(values)])), samples, failures };
}

async function main() {
  const options = parse();
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  assertNode();
  if (process.getuid() !== 0) throw new StepError('root is needed: page caches are dropped and filesystems mounted');
  if (options.memory) {
    const { measureMemory } = await import('./memory.mjs');
    return measureMemory(options);
  }
  if (options.heal) {
    await ensurePackages(['python3', 'iproute2']);
    const { measureHeal } = await import('./heal.mjs');
    return measureHeal(options, (system) => (current = system));
  }
  const others = OTHERS.filter((other) => options.systems.some((system) => otherOf(system) === other));
  await ensurePackages(['fio', 'python3', ...(others.length > 0 ? ['iproute2'] : [])]);
  for (const { title, packages, available } of others) {
    if (!available()) throw new StepError(`${title} is not installed: apt-get install ${packages.join(' ')}, or leave it out of --systems`);
  }
  const baseline = options.baseline === undefined ? {} : JSON.parse(readFileSync(options.baseline, 'utf8')).results;
  const results = {};
  const samples = {};
  const failures = [];
  mkdirSync(options.dir, { recursive: true });
  for (const name of Object.keys(SYSTEMS)) {
    if (!options.systems.includes(name)) {
      if (baseline[name] !== undefined) results[name] = baseline[name];
      continue;
    }
    const measured = await measureSystem(name, options);
    results[name] = measured.values;
    samples[name] = measured.samples;
    failures.push(...measured.failures);
  }
  if (existsSync(options.dir)) rmSync(options.dir, { recursive: true, force: true });
  process.stdout.write(`\n${resultTable(results, options.wanted)}\n`);
  const below = ROWS.filter((row) => options.wanted.has(row.row) && standing(results, row).verdict === 'BELOW').map(({ row }) => row);
  if (options.json !== undefined) {
    const machine = { cpus: cpus().length, model: cpus()[0]?.model, kernel: release(), memoryBytes: totalmem(), node: process.version };
    writeFileSync(options.json, `${JSON.stringify({ date: new Date().toISOString(), machine, rounds: options.rounds, results, samples, below, failures }, undefined, 2)}\n`);
  }
  for (const failure of failures) process.stderr.write(`failed: ${failure}\n`);
  if (below.length > 0) process.stderr.write(`gluon is below the better GlusterFS profile in: ${below.join(', ')}\n`);
  return failures.length > 0 || below.length > 0 ? 1 : 0;
}

await script(main, async () => {
  await current?.down();
});
