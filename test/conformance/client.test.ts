/** The conformance suite over clients of three bricks, all in this process: also while a brick leaves and comes back. */
import { describe, test } from 'node:test';
import type { Fops } from '../../src/fops/ops.js';
import { BrickSet } from '../support/brick-set.js';
import { bricksBecomeEqual } from '../support/cluster.js';
import { waitFor } from '../support/wait.js';
import { conformanceOf } from './all.js';
import type { Subject } from './suite.js';

function sessionOf(set: BrickSet): Promise<{ fops: Fops; close(): Promise<void> }> {
  const client = set.client();
  return Promise.resolve({ fops: client.fops, close: async () => set.forget(client) });
}

async function healed(set: BrickSet): Promise<void> {
  await waitFor('all three bricks to be in sync', 60_000, () => set.view.inSync.length === 3, 20);
}

function bricksEqual(set: BrickSet): Promise<void> {
  return bricksBecomeEqual(set.spec.bricks.map((brick) => brick.path));
}

async function threeBricks(): Promise<Subject> {
  const set = await BrickSet.start(3);
  return {
    open: () => sessionOf(set),
    manySessions: true,
    exactlyOnce: true,
    goneMs: 1000,
    close: async () => {
      try {
        await healed(set);
        await bricksEqual(set);
      } finally {
        await set.close();
      }
    },
  };
}

/** After so many changes the bricks rest, for long enough that a new primary removes what nobody has open. */
const CHANGES_IN_A_ROW = 3;
const CHANGING_PING_TIMEOUT_MS = 4000;
/** An inode without a name goes in it, also where a client that ended could not say so: a new primary waits three ping timeouts for it. */
const REST_MS = 3 * CHANGING_PING_TIMEOUT_MS + 4000;

/** A brick stops and comes back, again and again, the primary too, while the suite runs. */
async function changingBricks(): Promise<Subject> {
  const set = await BrickSet.start(3);
  set.pingTimeoutMs = CHANGING_PING_TIMEOUT_MS;
  let over = false;
  const changing = (async () => {
    for (let n = 0; !over; n++) {
      const { primary, inSync } = set.view;
      const victim = n % 2 === 0 ? primary : inSync.find((id) => id !== primary);
      if (victim !== undefined && inSync.length === 3) {
        await set.stopBrick(victim);
        await set.startBrick(victim);
      }
      await waitFor('all bricks in sync, or the end', 60_000, () => over || set.view.inSync.length === 3, 50);
      const restUntil = performance.now() + (n % CHANGES_IN_A_ROW === CHANGES_IN_A_ROW - 1 ? REST_MS : 0);
      await waitFor('the end of the rest', 2 * REST_MS, () => over || performance.now() >= restUntil, 50);
    }
  })();
  changing.catch(() => undefined);
  return {
    open: () => sessionOf(set),
    manySessions: true,
    exactlyOnce: true,
    goneMs: 40_000,
    close: async () => {
      over = true;
      try {
        await changing;
        await healed(set);
        await bricksEqual(set);
      } finally {
        await set.close();
      }
    },
  };
}

conformanceOf('a client of three bricks', threeBricks);
conformanceOf('a client of three bricks that come and go', changingBricks);

describe('the suite leaves nothing running', () => {
  test('a set of bricks closes', async () => {
    const set = await BrickSet.start(3);
    await set.close();
  });
});
