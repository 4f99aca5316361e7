import assert from 'node:assert/strict';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { ROOT_GFID } from '../../../src/base/ids.js';
import { initialiseBrick, openBrick, type OpenBrick } from '../../../src/brick/store/identity.js';
import { silentLog } from '../../../src/env/log.js';
import { BrickBitrot, scrubSettings } from '../../../src/main/brick-bitrot.js';
import { ManualClock, settle } from '../../support/manual-clock.js';
import { FaultyDisk } from '../brick/faulty-disk.js';
import { BRICK, newDirectory, newGfid, VOLUME } from '../brick/harness.js';

const ON = { 'features.bitrot': 'on' };
const MIB = 1 << 20;

let path: string;
let faults: FaultyDisk;
let open: OpenBrick;
let clock: ManualClock;
let bitrot: BrickBitrot;
beforeEach(() => {
  path = newDirectory();
  faults = new FaultyDisk();
  initialiseBrick(faults.disk, path, { volumeId: VOLUME, brickId: BRICK, bootId: '' });
  open = openBrick(faults.disk, path, VOLUME, BRICK);
  clock = new ManualClock();
  bitrot = new BrickBitrot(open, 'boot', clock, silentLog);
});
afterEach(() => {
  faults.die();
  rmSync(path, { recursive: true, force: true });
});

function sums(): boolean {
  return existsSync(join(path, '.gluon/sums'));
}

describe('features.bitrot of a brick', () => {
  it('is obeyed before the first change of bytes, and until it goes off', async () => {
    bitrot.configure(ON);
    assert.ok(open.store.sums !== undefined);
    assert.equal(bitrot.status()?.corrupted, 0);
    bitrot.configure({});
    for (let i = 0; i < 300; i++) await clock.advance(100);
    assert.equal(open.store.sums, undefined);
    assert.equal(bitrot.status(), undefined);
    assert.equal(sums(), false);
    bitrot.configure(ON);
    await settle();
    assert.ok(open.store.sums !== undefined);
  });

  it('leaves nothing behind when it went off while the brick was down', async () => {
    open.store.keepSums({ found: () => undefined, lost: () => undefined });
    open.close();
    open = openBrick(faults.disk, path, VOLUME, BRICK);
    bitrot = new BrickBitrot(open, 'boot', clock, silentLog);
    bitrot.configure({});
    for (let i = 0; i < 300; i++) await clock.advance(100);
    assert.equal(sums(), false);
  });

  it('does not keep a brick from serving whose disk has no room for checksums, and is tried again', async () => {
    faults.arm(1, 'error');
    bitrot.configure(ON);
    faults.arm(0, 'error');
    assert.equal(open.store.sums, undefined);
    const stamp = { time: { sec: 1, nsec: 0 }, gfid: newGfid(), purge: true };
    open.store.apply('create', { parent: ROOT_GFID, name: 'f', mode: 0o644, exclusive: true, truncate: false, uid: 0, gid: 0 }, stamp);
    await clock.advance(61_000);
    assert.ok(open.store.sums !== undefined);
  });

  it('takes its speed from the throttle, or from the rate', () => {
    assert.equal(scrubSettings({}).rate, 8 * MIB);
    assert.equal(scrubSettings({ 'features.scrub-throttle': 'aggressive' }).rate, 128 * MIB);
    assert.equal(scrubSettings({ 'features.scrub-throttle': 'aggressive', 'features.scrub-rate': '1MB' }).rate, MIB);
    assert.equal(scrubSettings({ 'features.scrub': 'pause' }).paused, true);
    assert.equal(scrubSettings({ 'features.scrub-freq': 'hourly' }).periodMs, 3_600_000);
  });
});
