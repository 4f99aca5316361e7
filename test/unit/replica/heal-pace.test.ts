import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { HealPace } from '../../../src/replica/heal-pace.js';
import { ManualClock, settle } from '../../support/manual-clock.js';

/** A second of clients whose changes take `ms`, while one worker heals pieces of cost 1; how many it healed. */
async function second(clock: ManualClock, pace: HealPace, ms: number, left: () => number): Promise<number> {
  let healed = 0;
  let over = false;
  const worker = async (): Promise<void> => {
    while (!over) {
      await pace.rest(1, left());
      healed++;
      if (pace.share === Infinity) return;
    }
  };
  void worker();
  for (let i = 0; i < 100; i++) {
    for (let n = 0; n < 3; n++) {
      pace.asked(clock.now());
      pace.answered(ms);
    }
    await clock.advance(10);
  }
  over = true;
  await clock.advance(600);
  await settle();
  return healed;
}

void describe('the pace of healing', () => {
  void it('has no limit while no client asks for anything', async () => {
    const clock = new ManualClock();
    const pace = new HealPace(clock, () => true);
    const end = pace.begin();
    assert.equal(pace.share, Infinity);
    for (let i = 0; i < 10_000; i++) await pace.rest(1, 10_000 - i);
    end();
  });

  void it('has none where the option says so', async () => {
    const clock = new ManualClock();
    const pace = new HealPace(clock, () => false);
    pace.begin();
    pace.asked(clock.now());
    for (let i = 0; i < 10_000; i++) await pace.rest(1, 10_000 - i);
  });

  void it('gives way when clients wait three times as long, and comes back when they do not', async () => {
    const clock = new ManualClock();
    const pace = new HealPace(clock, () => true);
    for (let i = 0; i < 200; i++) pace.answered(10);
    pace.begin();
    let left = 1e6;
    const fewer = (): number => left--;
    // It begins near its least: it must have grown before it can give way.
    for (let i = 0; i < 8; i++) await second(clock, pace, 12, fewer);
    const first = await second(clock, pace, 12, fewer);
    await second(clock, pace, 30, fewer);
    await second(clock, pace, 30, fewer);
    const slow = await second(clock, pace, 30, fewer);
    for (let i = 0; i < 8; i++) await second(clock, pace, 12, fewer);
    const fast = await second(clock, pace, 12, fewer);
    assert.ok(slow * 2 < first, `${slow} against ${first}`);
    assert.ok(fast > slow * 4, `${fast} against ${slow}`);
    assert.ok(slow > 50, 'it never stands still');
  });

  void it('does not give way when more is lacking than before: it would never end', async () => {
    const clock = new ManualClock();
    const pace = new HealPace(clock, () => true);
    for (let i = 0; i < 200; i++) pace.answered(10);
    pace.begin();
    let left = 0;
    const more = (): number => left++;
    const first = await second(clock, pace, 100, more);
    for (let i = 0; i < 3; i++) await second(clock, pace, 100, more);
    const last = await second(clock, pace, 100, more);
    assert.ok(last > first, `${last} against ${first}`);
  });
});
