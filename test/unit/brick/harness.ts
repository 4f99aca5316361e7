/** A brick in a directory of its own: below BRICK_TEST_DIR where that is set (a loop image of another filesystem), else below the system's. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hex, type Gfid, type Name } from '../../../src/base/ids.js';
import type { Time } from '../../../src/base/time.js';
import { initialiseBrick, openBrick, type OpenBrick } from '../../../src/brick/store/identity.js';
import type { DirectoryStore } from '../../../src/brick/store/store.js';
import { TREE_LIMITS, type TreeLimits } from '../../../src/brick/store/tree.js';
import type { Attr } from '../../../src/fops/fields.js';
import type { Args, Result } from '../../../src/fops/ops.js';
import { RealRandom } from '../../../src/platform/clock.js';
import { LibcDisk } from '../../../src/platform/libc.js';
import type { Stamp, StoreOp } from '../../../src/replica/store.js';

export const VOLUME = 'a'.repeat(32);
export const BRICK = 'b'.repeat(32);
export const disk = new LibcDisk();
const random = new RealRandom();

export function newDirectory(): string {
  return mkdtempSync(join(process.env['BRICK_TEST_DIR'] ?? tmpdir(), 'gluon-brick-'));
}

export function newGfid(): Gfid {
  return hex(random.bytes(16));
}

/** A store with a clock that goes on by one second and one nanosecond with every mutation. */
export class TestBrick {
  readonly path: string;
  readonly #limits: TreeLimits;
  brick: OpenBrick;
  time: Time = { sec: 1_500_000_000, nsec: 1 };

  constructor(limits: Partial<TreeLimits> = {}) {
    this.path = newDirectory();
    this.#limits = { ...TREE_LIMITS, ...limits };
    initialiseBrick(disk, this.path, { volumeId: VOLUME, brickId: BRICK, bootId: '' });
    this.brick = this.open();
  }

  open(): OpenBrick {
    return openBrick(disk, this.path, VOLUME, BRICK, this.#limits);
  }

  get store(): DirectoryStore {
    return this.brick.store;
  }

  stamp(purge = true): Stamp {
    this.time = { sec: this.time.sec + 1, nsec: this.time.nsec + 1 };
    return { time: this.time, gfid: newGfid(), purge };
  }

  apply<K extends StoreOp>(op: K, args: Args<K>, purge = true): Result<K> {
    return this.store.apply(op, args, this.stamp(purge));
  }

  file(parent: Gfid, name: Name, mode = 0o644, uid = 0, gid = 0): Attr {
    return this.apply('create', { parent, name, mode, exclusive: true, truncate: false, uid, gid }).attr;
  }

  directory(parent: Gfid, name: Name, mode = 0o755): Attr {
    return this.apply('mkdir', { parent, name, mode, uid: 0, gid: 0 }).attr;
  }

  write(gfid: Gfid, offset: number, data: string | Uint8Array): void {
    this.apply('write', { gfid, offset, append: false, sync: false, killPriv: false, data: Buffer.from(data) });
  }

  async read(gfid: Gfid, offset = 0, size = 1 << 20): Promise<string> {
    return Buffer.from(await this.store.read(gfid, offset, size)).toString('latin1');
  }

  rename(parent: Gfid, name: Name, newParent: Gfid, newName: Name, flags = 0, purge = true): void {
    this.apply('rename', { parent, name, newParent, newName, flags }, purge);
  }

  names(gfid: Gfid): Name[] {
    return this.store.readdir(gfid, '', 4096, false).entries.map((entry) => entry.name);
  }

  /** Closes it as on a shutdown and opens it again: everything comes from the disk. */
  reopen(): void {
    this.brick.close();
    this.brick = this.open();
  }

  remove(): void {
    this.brick.close();
    rmSync(this.path, { recursive: true, force: true });
  }
}

export function errnoFrom(action: () => unknown): number {
  try {
    action();
  } catch (error) {
    return (error as { errno?: number }).errno ?? -1;
  }
  return 0;
}
