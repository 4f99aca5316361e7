/** Nodes that take the same inode from each other all the time: all get on. What a recall costs. */
import assert from 'node:assert/strict';
import { NEW, O } from '../conformance/posix/suite.js';
import { amount } from '../support/size.js';
import { sleep } from '../support/wait.js';
import type { Outcome, Work } from './jobs.js';
import { quantile, type CoherenceClaims, type CoherenceFixture } from './suite.js';
import { BLOCK_BYTES } from './work-data.js';

/** Operations that each program must make in a second; on a machine that is too busy for that, this part of what it makes on a file of its own. */
const RATE_MIN = 500;
const PART_MIN = 0.35;
/** Others may use the machine for a second. */
const ATTEMPTS = 4;
const SECONDS = amount(0.6, 5);

type Storm = Omit<Work & { kind: 'storm' }, 'kind' | 'file' | 'append'>;

function rate(outcome: Outcome): number {
  return Math.round(outcome.count / SECONDS);
}

function latencies({ latencies_us }: Outcome): string {
  return `median ${quantile(latencies_us, 0.5)} us, p99 ${quantile(latencies_us, 0.99)} us, longest ${quantile(latencies_us, 1)} us`;
}

async function storm(t: CoherenceFixture, storms: readonly Storm[], append = false): Promise<void> {
  const run = async (file: (i: number) => string): Promise<Outcome[]> => {
    for (const name of new Set(storms.map((_, i) => file(i)))) {
      await t.file(name);
      if (!append) await t.a.truncate(name, BLOCK_BYTES);
    }
    return t.run(storms.map((one, i) => ({ kind: 'storm', file: file(i), append, ...one })), { seconds: SECONDS, operationsMax: Number.MAX_SAFE_INTEGER });
  };
  let failed = '';
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const alone = (await run((i) => `own${attempt}-${i}`)).map(rate);
    const outcomes = await run(() => `shared${attempt}`);
    const together = outcomes.map(rate);
    for (const [i, { what, access }] of storms.entries()) t.tell(`${t.name}: ${what} ${access}: ${together[i]}/s, ${latencies(outcomes[i] as Outcome)}; on a file of its own ${alone[i]}/s`);
    if (Math.min(...together) >= Math.min(RATE_MIN, Math.min(...alone) * PART_MIN)) return;
    failed = `${together.join(' and ')} operations a second; on files of their own ${alone.join(' and ')}`;
  }
  assert.fail(`not every program got on: ${failed}`);
}

/** Files for which one recall each is measured. */
const RECALLS = amount(60, 400);
const NAMES_OVER_MS = 200;
const RECALL_US_MAX = 2000;

export const STORMS: CoherenceClaims = {
  'two nodes write one block in turn': (t) => storm(t, [{ what: 'write', access: 'buffered' }, { what: 'write', access: 'buffered' }]),
  'two nodes write one block in turn with O_DIRECT': (t) => storm(t, [{ what: 'write', access: 'direct' }, { what: 'write', access: 'direct' }]),
  'two nodes append to one file': (t) => storm(t, [{ what: 'write', access: 'buffered' }, { what: 'write', access: 'buffered' }], true),
  'one node writes, another asks for the attributes': (t) => storm(t, [{ what: 'write', access: 'buffered' }, { what: 'stat', access: 'buffered' }]),
  'one node writes, another reads': (t) => storm(t, [{ what: 'write', access: 'buffered' }, { what: 'read', access: 'buffered' }]),
  'one node writes, another reads with O_DIRECT': (t) => storm(t, [{ what: 'write', access: 'direct' }, { what: 'read', access: 'direct' }]),
  'two nodes write and ask for the attributes': (t) => storm(t, [{ what: 'write and stat', access: 'buffered' }, { what: 'write and stat', access: 'buffered' }]),

  'a lease is recalled within two milliseconds': async (t) => {
    const [one, two] = [t.agent(0), t.agent(1)];
    const names = Array.from({ length: RECALLS }, (_, i) => `f${i}`);
    const [held, other]: [number[], number[]] = [[], []];
    for (const name of names) held.push(await one.sys.open(name, NEW));
    for (const name of names) other.push(await two.sys.open(name, O.RDWR));
    // The size stays the same: one that was just told is taken back a moment later.
    for (const fd of other) await two.sys.pwrite(fd, 'x', 0);
    for (const fd of held) await one.sys.fstat(fd);
    await sleep(NAMES_OVER_MS);
    const [alone, recalling]: [number[], number[]] = [[], []];
    for (let i = 0; i < RECALLS; i++) {
      // Nobody but the writer has anything of the first; of the second the other node has just got the attributes.
      await two.sys.pwrite(other[i] as number, 'x', 0);
      await two.sys.pwrite(other[i] as number, 'x', 0);
      alone.push(two.took_us);
      await one.sys.fstat(held[i] as number);
      await one.sys.fstat(held[i] as number);
      await two.sys.pwrite(other[i] as number, 'y', 0);
      recalling.push(two.took_us);
      assert.equal(await one.sys.pread(held[i] as number, 1, 0), 'y');
    }
    const write = quantile(alone, 0.5);
    const [median, late] = [quantile(recalling, 0.5) - write, quantile(recalling, 0.99) - write];
    t.tell(`${t.name}: a recall takes ${median} us, p99 ${late} us; the write itself ${write} us, p99 ${quantile(alone, 0.99)} us`);
    assert.ok(median < RECALL_US_MAX, `the median of a recall is ${median} us`);
  },
};
