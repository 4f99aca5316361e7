/** One client that wants more than its share is refused; others do not notice. Long: in the full form only. `test/unit/replica/limits.test.ts` has the bricks' own limits. */
import assert from 'node:assert/strict';
import { F, LOCK, O } from '../conformance/posix/suite.js';
import { quantile, type CoherenceClaims, type CoherenceFixture } from './suite.js';

const MILLION = 1_000_000;
const SECONDS_MAX = 30;
/** On one mount, at once. */
const PROGRAMS = 6;

async function greedy(t: CoherenceFixture, what: 'locks' | 'opens', refused: string, countMax: number): Promise<void> {
  for (let i = 0; i < PROGRAMS; i++) await t.file(`f${i}`);
  await t.file('other');
  const { b } = t;
  const fd = await b.open('other', O.RDWR);
  const other = t.agent(1);
  const took: number[] = [];
  let over = false;
  const others = async (): Promise<void> => {
    while (!over) {
      const begin = performance.now();
      await b.fcntlLock(fd, F.SETLKW, LOCK.WRITE, 0, 0);
      await b.fcntlLock(fd, F.SETLK, LOCK.UNLOCK, 0, 0);
      await other.sys.close(await other.sys.open('f0', O.RDONLY));
      took.push(performance.now() - begin);
    }
  };
  const working = others();
  working.catch(() => undefined);
  const works = Array.from({ length: PROGRAMS }, (_, i) => ({ kind: 'greedy', file: `f${i}`, what, count: MILLION }) as const);
  const outcomes = await t.over(t.mounts.slice(0, 1)).run(works, { seconds: SECONDS_MAX });
  over = true;
  await working;
  const count = outcomes.reduce((sum, outcome) => sum + outcome.count, 0);
  for (const outcome of outcomes) assert.equal(outcome.refused, refused, `after ${count} ${what}`);
  assert.ok(count > 1000 && count <= countMax, `${count} ${what}`);
  t.tell(`${t.name}: ${count} ${what}, then ${refused}; another node meanwhile: median ${quantile(took, 0.5).toFixed(1)} ms, longest ${quantile(took, 1).toFixed(0)} ms`);
  assert.ok(quantile(took, 0.9) < 500, 'others go on');
  // What it had went with it.
  const fresh = await t.a.open('f0', O.RDWR);
  await t.a.fcntlLock(fresh, F.SETLKW, LOCK.WRITE, 0, 0);
}

export const GREED: CoherenceClaims = {
  'a million locks of one client end in ENOLCK': (t) => greedy(t, 'locks', 'ENOLCK', 16_384),
  'a million open files of one client end in ENFILE': (t) => greedy(t, 'opens', 'ENFILE', 65_536),
};
