/** Programs on all mounts that want the same at the same time: exactly one gets it. And what must be seen with caches hot. */
import assert from 'node:assert/strict';
import { NEW, O, TYPE } from '../conformance/posix/suite.js';
import { amount } from '../support/size.js';
import type { LockWay, Outcome, Work } from './jobs.js';
import { quantile, type CoherenceClaims, type CoherenceFixture } from './suite.js';

const COUNT = amount(30, 400);
const CLIENTS = ['A', 'B', 'C'];

type How = (Work & { kind: 'claims' })['how'];

async function claim(t: CoherenceFixture, how: How, prepare: (n: number) => Promise<unknown>): Promise<Outcome[]> {
  await t.a.mkdir('d');
  for (let n = 0; n < COUNT; n++) await prepare(n);
  return t.run({ kind: 'claims', directory: 'd', count: COUNT, how }, { seconds: 30 });
}

/** For each number who won it. */
function winners(outcomes: readonly Outcome[]): string[] {
  return Array.from({ length: COUNT }, (_, n) => outcomes.map(({ won }, i) => (won.includes(n) ? CLIENTS[i] : '')).join(''));
}

function oneEach(t: CoherenceFixture, outcomes: readonly Outcome[]): void {
  const won = winners(outcomes);
  assert.deepEqual(won.filter((clients) => clients.length !== 1), [], `one wins each: ${won.join(' ')}`);
  t.tell(`${t.name}: won by ${CLIENTS.map((client) => `${client} ${won.filter((clients) => clients === client).length}`).join(', ')}`);
}

const nothing = (): Promise<void> => Promise.resolve();

async function counts(t: CoherenceFixture, way: LockWay, access: 'buffered' | 'direct'): Promise<void> {
  const each = amount(20, 500);
  await t.file('counter');
  await t.a.truncate('counter', 4096);
  const outcomes = await t.run({ kind: 'counter', file: 'counter', way, count: each, access }, { seconds: 30 });
  const bytes = await t.content('counter', t.b);
  assert.equal(Buffer.from(bytes, 'latin1').readUInt32LE(0), each * outcomes.length, 'no increment is lost');
  const took = outcomes.flatMap(({ latencies_us }) => latencies_us);
  t.tell(`${t.name}: lock, read, write, unlock under contention of three: median ${quantile(took, 0.5)} us, p99 ${quantile(took, 0.99)} us`);
}

export const RACES: CoherenceClaims = {
  'of three that create one name, one wins': async (t) => oneEach(t, await claim(t, 'create', nothing)),
  'of three that make one directory, one wins': async (t) => oneEach(t, await claim(t, 'mkdir', nothing)),
  'of three that link to one name, one wins': async (t) => oneEach(t, await claim(t, 'link', (n) => (n === 0 ? t.file('d/source') : nothing()))),
  'of three that rename theirs to a name that must not exist, one wins': async (t) => {
    oneEach(t, await claim(t, 'rename', async (n) => {
      for (const client of CLIENTS) await t.a.mkdir(`d/of-${client}-${n}`);
    }));
  },
  'of three that take one name away, one wins': async (t) => {
    oneEach(t, await claim(t, 'take', (n) => t.a.mknod(`d/n${n}`, TYPE.FILE | 0o644)));
    assert.equal((await t.b.readdir('d')).length, COUNT);
  },
  'of three that remove one directory, one wins': async (t) => {
    oneEach(t, await claim(t, 'rmdir', (n) => t.a.mkdir(`d/n${n}`)));
    assert.deepEqual(await t.b.readdir('d'), []);
  },
  'a directory is removed or filled': async (t) => {
    const won = winners(await claim(t, 'fill', (n) => t.a.mkdir(`d/n${n}`)));
    assert.deepEqual(won.filter((clients) => clients !== 'A' && clients !== 'BC'), [], won.join(' '));
    assert.equal((await t.b.readdir('d')).length, won.filter((clients) => clients === 'BC').length);
  },

  'a counter under an fcntl lock, through page caches': (t) => counts(t, 'fcntl', 'buffered'),
  'a counter under an OFD lock, with O_DIRECT': (t) => counts(t, 'OFD', 'direct'),
  'a counter under a flock, through page caches': (t) => counts(t, 'flock', 'buffered'),

  'what is synced of a mapping is seen by reads and by mappings that are made then': async (t) => {
    await t.file('f');
    await t.a.truncate('f', 3 * 4096);
    const [a, b] = [await t.a.open('f', O.RDWR), await t.b.open('f', O.RDWR)];
    for (let round = 10; round < 10 + amount(15, 90); round++) {
      await t.a.mapWrite(a, 4090, `one ${round}`);
      assert.equal(await t.b.pread(b, 6, 4090), `one ${round}`);
      const fresh = await t.b.open('f', O.RDWR);
      assert.equal(await t.b.mapRead(fresh, 4090, 6), `one ${round}`);
      await t.b.mapWrite(fresh, 4090, `two ${round}`);
      await t.b.close(fresh);
      assert.equal(await t.a.pread(a, 6, 4090), `two ${round}`);
    }
  },

  'a change that leaves size and times as they were is seen': async (t) => {
    const a = await t.a.open('f', NEW);
    await t.a.pwrite(a, 'first', 0);
    await t.a.utimens('f', [5, 0], [5, 0]);
    const b = await t.b.open('f', O.RDWR);
    for (let round = 10; round < 10 + amount(12, 50); round++) {
      assert.equal((await t.a.pread(a, 5, 0)).length, 5);
      await t.b.pwrite(b, `re ${round}`, 0);
      await t.b.utimens('f', [5, 0], [5, 0]);
      assert.equal(await t.a.pread(a, 5, 0), `re ${round}`);
    }
  },

  'what the other node wrote is seen by who changes the attributes first': async (t) => {
    const a = await t.a.open('f', NEW);
    await t.a.pwrite(a, 'first', 0);
    const b = await t.b.open('f', O.RDWR);
    for (let round = 10; round < 10 + amount(12, 50); round++) {
      assert.equal((await t.a.pread(a, 5, 0)).length, 5);
      await t.b.pwrite(b, `re ${round}`, 0);
      if (round % 3 === 0) await t.a.chmod('f', 0o600 + (round % 7));
      if (round % 3 === 1) await t.a.ftruncate(a, 5);
      if (round % 3 === 2) await t.a.utimens('f', [round, 0], [round, 0]);
      assert.equal(await t.a.pread(a, 5, 0), `re ${round}`);
    }
  },
};
