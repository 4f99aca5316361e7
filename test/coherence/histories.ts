/** Histories that programs on several mounts recorded, all with hot caches, must be linearizable. */
import assert from 'node:assert/strict';
import { amount } from '../support/size.js';
import { checkLinearizable, partition, type Model, type Operation } from '../support/linearizability.js';
import {
  blockModel, fileModel, lockModel, namesModel, type BlockInput, type FileInput, type FileOutput, type LockInput, type LockOutput, type NamesInput, type NamesOutput,
} from '../support/sequential-models.js';
import type { Access, LockWay, Outcome } from './jobs.js';
import { BLOCK_BYTES } from './work-data.js';
import { quantile, type CoherenceClaims, type CoherenceFixture } from './suite.js';

const STEPS_MAX = 4_000_000;
const AROUND_NS = 15e6;
/** Of each program; fewer prove nothing: then something else is wrong, such as programs that wait for each other most of the time. */
const OPERATIONS_MIN = 120;

export function merged<I, O>(outcomes: readonly Outcome[]): Operation<I, O>[] {
  return outcomes.flatMap((outcome) => outcome.operations) as Operation<I, O>[];
}

/** What is wrong with the history, '' for nothing. */
export function problem<S, I, O>(what: string, model: Model<S, I, O>, history: readonly Operation<I, O>[]): string {
  const verdict = checkLinearizable(model, history, STEPS_MAX);
  if (verdict.kind === 'linearizable') return '';
  if (verdict.kind === 'undecided') return `${what}: no verdict on ${history.length} operations after ${verdict.steps} steps`;
  return `${what}: no order explains ${history.length} operations; after ${verdict.reached} of them: ${verdict.stuck}\n${around(history, verdict.at)}`;
}

/** What was asked and told at that time, in microseconds from then. */
function around<I, O>(history: readonly Operation<I, O>[], at: number): string {
  const near = history.filter(({ call, return: end }) => Math.abs(call - at) < AROUND_NS || Math.abs(end - at) < AROUND_NS).toSorted((a, b) => a.call - b.call);
  const us = (instant: number): number => Math.round((instant - at) / 1000);
  return near.map(({ client, input, output, call, return: end }) => `${client} ${us(call)}..${us(end)} ${JSON.stringify(input)} → ${JSON.stringify(output)}`).join('\n');
}

export function blockProblems(history: readonly Operation<BlockInput, string>[], initial: (block: string) => string = () => ''): string[] {
  return [...partition(history, (input) => input.block)].map(([block, part]) => problem(`block ${block}`, blockModel(initial(block)), part)).filter((text) => text !== '');
}

function enough(t: CoherenceFixture, outcomes: readonly Outcome[]): void {
  const counts = outcomes.map((outcome) => outcome.operations.length);
  const took = outcomes.flatMap(({ operations }) => operations.map((operation) => (operation.return - operation.call) / 1e6));
  t.tell(`${t.name}: ${counts.join(' + ')} operations, median ${quantile(took, 0.5).toFixed(1)} ms, p99 ${quantile(took, 0.99).toFixed(1)} ms, longest ${quantile(took, 1).toFixed(1)} ms`);
  for (const count of counts) assert.ok(count >= OPERATIONS_MIN, `each program got on: ${counts.join(', ')} operations`);
}

const BLOCKS = 3;
export const MANY = 24;

const bounds = { operationsMin: OPERATIONS_MIN };

async function blocks(t: CoherenceFixture, files: number, accesses: readonly Access[], bursts = false): Promise<void> {
  for (let i = 0; i < files; i++) {
    await t.file(`f${i}`);
    await t.a.truncate(`f${i}`, BLOCKS * BLOCK_BYTES);
  }
  const outcomes = await t.run(accesses.map((access) => ({ kind: 'blocks', files, blocks: files > 1 && !bursts ? 1 : BLOCKS, access, bursts })), bounds);
  enough(t, outcomes);
  assert.deepEqual(blockProblems(merged(outcomes)), []);
}

async function records(t: CoherenceFixture, access: Access): Promise<void> {
  await t.file('f');
  const outcomes = await t.run({ kind: 'records', file: 'f', truncates: true, access }, bounds);
  enough(t, outcomes);
  assert.equal(problem('the file of records', fileModel([]), merged<FileInput, FileOutput>(outcomes)), '');
}

async function names(t: CoherenceFixture, directories: boolean): Promise<void> {
  await t.a.mkdir('d');
  const outcomes = await t.run({ kind: 'names', directory: 'd', names: 4, directories }, bounds);
  enough(t, outcomes);
  const history = merged<NamesInput, NamesOutput>(outcomes);
  const known = new Set(history.flatMap(({ input, output }) => ('create' in input && output?.id !== undefined ? [output.id] : [])));
  assert.equal(problem('names', namesModel(new Map(), known), history), '');
}

async function locks(t: CoherenceFixture, way: LockWay): Promise<void> {
  await t.file('f');
  const outcomes = await t.run({ kind: 'locks', file: 'f', way }, { ...bounds, seconds: amount(0.4, 5) });
  enough(t, outcomes);
  assert.equal(problem('the lock', lockModel, merged<LockInput, LockOutput>(outcomes)), '');
}

/** Each attribute is a register of its own. */
export async function attributeProblems(t: CoherenceFixture, files: number): Promise<string[]> {
  for (let i = 0; i < files; i++) {
    await t.file(`f${i}`);
    await t.a.utimens(`f${i}`, [5, 0], [5, 0]);
    await t.a.lchown(`f${i}`, 6, 7);
    await t.a.setxattr(`f${i}`, 'user.register', '8');
  }
  const outcomes = await t.run({ kind: 'attributes', files }, bounds);
  enough(t, outcomes);
  const initial: Record<string, string> = { mtime: '5', owner: '6', xattr: '8' };
  return blockProblems(merged(outcomes), (block) => initial[block.split(' ')[1] ?? ''] ?? '');
}

export const HISTORIES: CoherenceClaims = {
  'blocks of a file through the page caches of three mounts are registers': (t) => blocks(t, 1, ['buffered', 'buffered', 'buffered']),
  'blocks written and read with O_DIRECT by six processes are registers': (t) => blocks(t, 1, ['direct', 'direct', 'direct', 'direct', 'direct', 'direct']),
  'blocks are registers where one mount goes through its page cache, one around it, one now so and now so': (t) => blocks(t, 1, ['buffered', 'direct', 'both']),

  'blocks of many files that all read under leases, through page caches': (t) => blocks(t, MANY, ['buffered', 'buffered', 'buffered']),
  'blocks of many files that all read under leases, with and without O_DIRECT': (t) => blocks(t, MANY, ['direct', 'both', 'buffered', 'direct']),
  'blocks of files that one mount after the other writes in bursts, with O_DIRECT': (t) => blocks(t, 4, ['direct', 'direct', 'direct'], true),
  'blocks of files that one mount after the other writes in bursts, through page caches': (t) => blocks(t, 4, ['buffered', 'buffered', 'both'], true),
  'records that are appended, read and truncated through page caches': (t) => records(t, 'buffered'),
  'records that are appended, read and truncated with O_DIRECT': (t) => records(t, 'direct'),
  'files that are created, renamed, removed, looked up and listed': (t) => names(t, false),
  'directories that are made, renamed, removed, looked up and listed': (t) => names(t, true),
  'modification time, owner and xattrs of one file are registers': async (t) => assert.deepEqual(await attributeProblems(t, 1), []),
  'modification times, owners and xattrs of many files, kept under leases, are registers': async (t) => assert.deepEqual(await attributeProblems(t, MANY), []),
  'an fcntl lock is held by one at a time': (t) => locks(t, 'fcntl'),
  'an OFD lock is held by one at a time': (t) => locks(t, 'OFD'),
  'a flock is held by one at a time': (t) => locks(t, 'flock'),
};
