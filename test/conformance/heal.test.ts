/** How a brick that was away is made equal: what is copied, what stays a hole, what an interruption costs. Three bricks in this process. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { statSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ROOT_GFID, type Gfid } from '../../src/base/ids.js';
import type { VolumeClient } from '../../src/client/client.js';
import { silentLog, type Log } from '../../src/env/log.js';
import type { BrickId } from '../../src/fops/view.js';
import { BrickSet } from '../support/brick-set.js';
import { bricksBecomeEqual } from '../support/cluster.js';
import { sleep, waitFor } from '../support/wait.js';

const MIB = 1 << 20;
const OWNER = { uid: 0, gid: 0 };
const HEAL_MS = 60_000;

interface Line {
  message: string;
  fields: Record<string, unknown>;
}

/** Keeps what the bricks tell. */
function keeping(lines: Line[]): Log {
  const log: Log = {
    ...silentLog,
    child: () => log,
    info: (message, fields) => void lines.push({ message, fields: (fields ?? {}) as Record<string, unknown> }),
  };
  return log;
}

function fields(lines: Line[], message: string): Record<string, unknown>[] {
  return lines.filter((line) => line.message === message).map((line) => line.fields);
}

async function makeFile(client: VolumeClient, name: string, parent = ROOT_GFID): Promise<Gfid> {
  const { attr } = await client.fops.create({ parent, name, mode: 0o644, exclusive: true, truncate: false, ...OWNER });
  return attr.gfid;
}

async function makeDirectory(client: VolumeClient, name: string, parent = ROOT_GFID): Promise<Gfid> {
  const { attr } = await client.fops.mkdir({ parent, name, mode: 0o755, ...OWNER });
  return attr.gfid;
}

async function write(client: VolumeClient, gfid: Gfid, offset: number, data: Buffer): Promise<void> {
  await client.fops.write({ gfid, offset, append: false, sync: false, killPriv: false, data });
}

async function truncate(client: VolumeClient, gfid: Gfid, size: number): Promise<void> {
  await client.fops.setattr({ gfid, size, atimeNow: false, mtimeNow: false, killPriv: false });
}

function member(set: BrickSet): BrickId {
  return set.view.inSync.find((id) => id !== set.view.primary) as BrickId;
}

async function healed(set: BrickSet): Promise<void> {
  await waitFor('all bricks to be in sync', HEAL_MS, () => set.view.inSync.length === 3, 20);
}

async function equal(set: BrickSet): Promise<void> {
  await bricksBecomeEqual(set.spec.bricks.map((brick) => brick.path));
}

async function withSet(body: (set: BrickSet, client: VolumeClient, lines: Line[]) => Promise<void>): Promise<void> {
  const lines: Line[] = [];
  const set = await BrickSet.start(3, keeping(lines));
  try {
    await body(set, set.client(), lines);
  } finally {
    await set.close();
  }
}

/** Blocks of 512 bytes that a file takes on a brick. */
function blocks(set: BrickSet, id: BrickId, name: string): number {
  return statSync(join(set.spec.bricks.find((brick) => brick.id === id)?.path ?? '', name)).blocks;
}

void describe('healing', { timeout: 300_000 }, () => {
  void it('copies what changed, not what did not: 8 MiB at random in a sparse gibibyte', async () => {
    await withSet(async (set, client, lines) => {
      const gfid = await makeFile(client, 'disk');
      await truncate(client, gfid, 1024 * MIB);
      for (let i = 0; i < 64; i++) await write(client, gfid, i * 16 * MIB, randomBytes(MIB));
      const away = member(set);
      await set.stopBrick(away);
      const changes = 2048;
      for (let i = 0; i < changes; i++) {
        const block = (i * 7919) % (64 * 256);
        await write(client, gfid, Math.floor(block / 256) * 16 * MIB + (block % 256) * 4096, randomBytes(4096));
      }
      await set.startBrick(away);
      await healed(set);
      const [done] = fields(lines, 'a brick is in sync');
      const sent = Number(done?.['bytesSent']);
      assert.ok(sent >= changes * 4096 && sent <= changes * 4096 * 1.1, `${sent} bytes were sent`);
      await equal(set);
    });
  });

  void it('fills an empty brick, and holes stay holes', async () => {
    await withSet(async (set, client, lines) => {
      const directory = await makeDirectory(client, 'd');
      for (let i = 0; i < 50; i++) await write(client, await makeFile(client, `f${i}`, directory), 0, randomBytes(5000));
      const gfid = await makeFile(client, 'disk');
      await truncate(client, gfid, 16 * 1024 * MIB);
      await write(client, gfid, 5 * 1024 * MIB + 12_288, randomBytes(8192));
      await write(client, gfid, 16 * 1024 * MIB - 4096, randomBytes(4096));
      const away = member(set);
      await set.replica(set.view.primary)?.checkpoint();
      await set.stopBrick(away);
      set.emptyBrick(away);
      await set.startBrick(away);
      const begun = performance.now();
      await healed(set);
      assert.ok(performance.now() - begun < 20_000, 'nobody reads 16 GiB of zeros');
      assert.equal(fields(lines, 'a brick is compared as a whole').length, 1);
      assert.ok(blocks(set, away, 'disk') <= 200, `${blocks(set, away, 'disk')} blocks`);
      await equal(set);
    });
  });

  void it('makes a hole again where data was', async () => {
    await withSet(async (set, client) => {
      const gfid = await makeFile(client, 'disk');
      await write(client, gfid, 0, randomBytes(MIB));
      await write(client, gfid, MIB, randomBytes(MIB));
      const away = member(set);
      await set.stopBrick(away);
      await truncate(client, gfid, 4096);
      await truncate(client, gfid, 2 * MIB);
      await set.startBrick(away);
      await healed(set);
      assert.ok(blocks(set, away, 'disk') <= 64, `${blocks(set, away, 'disk')} blocks`);
      await equal(set);
    });
  });

  void it('keeps a directory whose ancestors changed places while its own name did not', async () => {
    await withSet(async (set, client) => {
      const outer = await makeDirectory(client, 'outer');
      const middle = await makeDirectory(client, 'middle', outer);
      const inner = await makeDirectory(client, 'inner', middle);
      await write(client, await makeFile(client, 'file', inner), 0, Buffer.from('kept'));
      const away = member(set);
      await set.stopBrick(away);
      // outer/middle/inner becomes middle/inner/outer; the name of inner in middle is what it was.
      await client.fops.rename({ parent: outer, name: 'middle', newParent: ROOT_GFID, newName: 'middle', flags: 0 });
      await client.fops.rename({ parent: ROOT_GFID, name: 'outer', newParent: inner, newName: 'outer', flags: 0 });
      await set.startBrick(away);
      await healed(set);
      await equal(set);
      const path = set.spec.bricks.find((brick) => brick.id === away)?.path ?? '';
      assert.deepEqual(readdirSync(join(path, 'middle/inner')).toSorted(), ['file', 'outer']);
    });
  });

  void it('goes on where it was when it is interrupted', async () => {
    await withSet(async (set, client, lines) => {
      const total = 192 * MIB;
      const gfid = await makeFile(client, 'disk');
      for (let offset = 0; offset < total; offset += MIB) await write(client, gfid, offset, randomBytes(MIB));
      const away = member(set);
      await set.replica(set.view.primary)?.checkpoint();
      await set.stopBrick(away);
      set.emptyBrick(away);
      let sentBefore = 0;
      await set.startBrick(away);
      const doneOf = (): number => set.replica(set.view.primary)?.status().heals.find((heal) => heal.brick === away)?.bytesDone ?? 0;
      await waitFor('a part of the data', HEAL_MS, () => doneOf() > total / 4, 1);
      sentBefore = doneOf();
      await set.stopBrick(away);
      // What changes meanwhile is not forgotten.
      await write(client, gfid, 0, randomBytes(4096));
      await sleep(100);
      await set.startBrick(away);
      await healed(set);
      assert.ok(sentBefore > 0 && sentBefore < total);
      assert.equal(fields(lines, 'catching up goes on where it was').length, 1);
      assert.equal(fields(lines, 'a brick is compared as a whole').length, 1);
      await equal(set);
    });
  });

  void it('never holds mutations when a volume is idle or its changes are elsewhere', async () => {
    await withSet(async (set, client, lines) => {
      const gfid = await makeFile(client, 'disk');
      for (let i = 0; i < 32; i++) await write(client, gfid, i * MIB, randomBytes(MIB));
      const away = member(set);
      await set.stopBrick(away);
      for (let i = 0; i < 16; i++) await write(client, gfid, i * MIB, randomBytes(4096));
      await set.startBrick(away);
      let over = false;
      let longest = 0;
      const load = (async (): Promise<void> => {
        const other = await makeFile(client, 'other');
        for (let i = 0; !over; i++) {
          const begun = performance.now();
          await write(client, other, (i % 100) * 4096, randomBytes(4096));
          longest = Math.max(longest, performance.now() - begun);
        }
      })();
      await healed(set);
      over = true;
      await load;
      assert.equal(fields(lines, 'a brick is in sync')[0]?.['held'], 0);
      assert.ok(longest < 2000, `a write took ${longest} ms`);
      await equal(set);
    });
  });
});
