/** A brick that was away is made equal while clients go on making, writing and removing files. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ROOT_GFID } from '../../src/base/ids.js';
import type { Fops } from '../../src/fops/ops.js';
import { BrickSet } from '../support/brick-set.js';
import { bricksBecomeEqual } from '../support/cluster.js';
import { waitFor } from '../support/wait.js';

const CLIENTS = 16;
const NAMES = 50;
const HEAL_MS = 90_000;
const CHANGES = 2;

/** Works in a directory of its own until told to stop; how many rounds it made. */
async function work(fops: Fops, name: string, over: () => boolean): Promise<number> {
  const owner = { uid: 0, gid: 0 };
  const { attr: directory } = await fops.mkdir({ parent: ROOT_GFID, name, mode: 0o755, ...owner });
  let round = 0;
  for (; !over(); round++) {
    const place = { parent: directory.gfid, name: `f${round % NAMES}` };
    const { attr } = await fops.create({ ...place, mode: 0o644, exclusive: false, truncate: false, ...owner });
    const data = Buffer.alloc(4096, round);
    await fops.write({
      gfid: attr.gfid,
      offset: (round % 10) * 4096,
      append: false,
      sync: false,
      killPriv: false,
      data,
    });
    if (round % 7 === 0) await fops.fsync({ gfid: attr.gfid, dataOnly: false });
    await fops.release({ gfid: attr.gfid });
    if (round % 3 === 0) await fops.unlink(place);
    if (round % 11 === 0)
      await fops.rename({ ...place, newParent: directory.gfid, newName: 'latest', flags: 0 }).catch(() => undefined);
  }
  return round;
}

test('bricks that come and go heal while clients write', { timeout: 300_000 }, async () => {
  const set = await BrickSet.start(3);
  try {
    let over = false;
    const workers = Array.from({ length: CLIENTS }, (_, n) => work(set.client().fops, `w${n}`, () => over));
    const failed = Promise.all(workers);
    failed.catch(() => undefined);
    for (let change = 0; change < CHANGES; change++) {
      const { primary, inSync } = set.view;
      const victim = change % 2 === 0 ? (inSync.find((id) => id !== primary) as string) : primary;
      await set.stopBrick(victim);
      await set.startBrick(victim);
      await waitFor('the brick to be in sync again', HEAL_MS, () => set.view.inSync.length === 3, 20);
    }
    over = true;
    const rounds = await failed;
    assert.ok(
      rounds.every((count) => count > 5),
      `rounds: ${rounds.join(' ')}`,
    );
    await bricksBecomeEqual(set.spec.bricks.map((brick) => brick.path));
  } finally {
    await set.close();
  }
});
