import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { describe, it } from 'node:test';
import { FsError } from '../../../src/base/errno.js';
import { hex, ROOT_GFID, type Gfid } from '../../../src/base/ids.js';
import { initialiseBrick, openBrick, type OpenBrick } from '../../../src/brick/store/identity.js';
import { TREE_LIMITS } from '../../../src/brick/store/tree.js';
import { RENAME_EXCHANGE, S_IFDIR, S_IFMT } from '../../../src/fops/ops.js';
import type { Stamp, Store, StoreOp } from '../../../src/replica/store.js';
import { BRICK, newDirectory, VOLUME } from './harness.js';
import { Crash, FaultyDisk } from './faulty-disk.js';

/** Small repeatable pseudo-random numbers (xorshift), so that a failure is repeated by its seed. */
class Dice {
  #state: number;
  constructor(seed: number) {
    this.#state = (seed * 2_654_435_761 + 1) >>> 0 || 1;
  }
  below(n: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state % n;
  }
  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
  gfid(): Gfid {
    return hex(Uint8Array.from({ length: 16 }, () => this.below(256)));
  }
}

interface Step {
  op: StoreOp;
  args: Record<string, unknown>;
  stamp: Stamp;
}

function run(store: Store, step: Step): unknown {
  try {
    return store.apply(step.op, step.args as never, step.stamp);
  } catch (error) {
    if (error instanceof FsError) return error.errno;
    throw error;
  }
}

function strip(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (key, v: unknown) => (key === 'blocks' ? undefined : v)));
}

/** Paths, identities and states; times only where asked for. */
function snapshot(store: Store, times: boolean): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  const walk = (gfid: Gfid, path: string): void => {
    const state = store.describe(gfid);
    assert.ok(state, path);
    const { atime, mtime, ctime, blocks, ...attr } = state.attr;
    // A directory that a crash left without identity is invisible, but the disk counts it.
    if (!times && (attr.mode & S_IFMT) === S_IFDIR) attr.nlink = 2;
    out[path] = {
      ...attr,
      target: state.target,
      xattrs: state.xattrs.map(([n, v]) => `${n}=${Buffer.from(v).toString('hex')}`),
      ...(times ? { atime, mtime, ctime } : {}),
    };
    assert.ok(blocks >= 0);
    if ((state.attr.mode & S_IFMT) !== S_IFDIR) return;
    for (const entry of store.readdir(gfid, '', 4096, false).entries) walk(entry.gfid, `${path}/${entry.name}`);
  };
  walk(ROOT_GFID, '');
  out['orphans'] = store.orphans().toSorted();
  return out;
}

const NAMES = ['a', 'b', 'c', 'd', 'e'];

/** Identities that exist or existed; the steps choose among them. */
class World {
  readonly dice: Dice;
  readonly directories: Gfid[] = [ROOT_GFID];
  readonly files: Gfid[] = [];
  #clock = 1_600_000_000;

  constructor(seed: number) {
    this.dice = new Dice(seed);
  }

  step(): Step {
    const { dice } = this;
    const parent = dice.of(this.directories);
    const name = dice.of(NAMES);
    const owner = { uid: dice.below(3), gid: dice.below(3) };
    const stamp = { time: { sec: this.#clock++, nsec: dice.below(1e9) }, gfid: dice.gfid(), purge: dice.below(3) > 0 };
    const file = this.files.length > 0 ? dice.of(this.files) : ROOT_GFID;
    const inode = dice.below(4) === 0 ? parent : file;
    const choices: [StoreOp, Record<string, unknown>][] = [
      [
        'create',
        {
          parent,
          name,
          mode: dice.below(0o10000),
          exclusive: dice.below(2) === 0,
          truncate: dice.below(2) === 0,
          ...owner,
        },
      ],
      ['create', { parent, name, mode: 0o644, exclusive: true, truncate: false, ...owner }],
      ['mkdir', { parent, name, mode: dice.below(0o10000), ...owner }],
      ['mkdir', { parent, name, mode: 0o755, ...owner }],
      ['symlink', { parent, name, target: dice.of(['x', '/etc', `${ROOT_GFID}/a`]), ...owner }],
      ['mknod', { parent, name, mode: dice.of([0o010600, 0o020666, 0o140777, 0o100644]), rdev: 0x0105, ...owner }],
      ['tmpfile', { parent, mode: 0o600, ...owner }],
      ['unlink', { parent, name }],
      ['unlink', { parent, name }],
      ['rmdir', { parent, name }],
      ['rename', { parent, name, newParent: dice.of(this.directories), newName: dice.of(NAMES), flags: dice.below(3) }],
      ['rename', { parent, name, newParent: dice.of(this.directories), newName: dice.of(NAMES), flags: 0 }],
      [
        'rename',
        { parent, name, newParent: dice.of(this.directories), newName: dice.of(NAMES), flags: RENAME_EXCHANGE },
      ],
      ['link', { gfid: file, newParent: parent, newName: name }],
      [
        'setattr',
        {
          gfid: inode,
          mode: dice.below(0o10000),
          uid: dice.below(3),
          atimeNow: false,
          mtimeNow: true,
          killPriv: dice.below(2) === 0,
        },
      ],
      ['setattr', { gfid: file, size: dice.below(10_000), atimeNow: true, mtimeNow: false, killPriv: false }],
      [
        'write',
        {
          gfid: file,
          offset: dice.below(20_000),
          append: dice.below(2) === 0,
          sync: false,
          killPriv: dice.below(2) === 0,
          data: Buffer.alloc(dice.below(5000), 'w'),
        },
      ],
      [
        'setxattr',
        {
          gfid: inode,
          name: dice.of(['user.a', 'trusted.b', 'security.c']),
          value: Buffer.from([dice.below(5)]),
          flags: dice.below(3),
        },
      ],
      ['removexattr', { gfid: inode, name: dice.of(['user.a', 'trusted.b']) }],
    ];
    const [op, args] = dice.of(choices);
    if (op === 'mkdir') this.directories.push(stamp.gfid);
    if (['create', 'symlink', 'mknod', 'tmpfile'].includes(op)) this.files.push(stamp.gfid);
    if (this.directories.length > 12) this.directories.splice(1, 1);
    if (this.files.length > 12) this.files.splice(0, 1);
    return { op, args, stamp };
  }
}

class Instance {
  readonly path = newDirectory();
  readonly faults = new FaultyDisk();
  readonly #small: boolean;
  brick: OpenBrick;

  constructor(small = false) {
    this.#small = small;
    initialiseBrick(this.faults.disk, this.path, { volumeId: VOLUME, brickId: BRICK, bootId: '' });
    this.brick = this.#open();
  }

  #open(): OpenBrick {
    const limits = { directoryDescriptors: 40, fileDescriptors: 2, inodes: 10, listedNames: 10, pendingTimes: 5 };
    return openBrick(this.faults.disk, this.path, VOLUME, BRICK, this.#small ? limits : TREE_LIMITS);
  }

  get store(): Store {
    return this.brick.store;
  }

  reopen(): void {
    this.brick.close();
    this.brick = this.#open();
  }

  crash(): void {
    this.faults.die();
    this.brick = this.#open();
  }

  remove(): void {
    this.faults.die();
    rmSync(this.path, { recursive: true, force: true });
  }
}

const SEEDS = Number(process.env['MODEL_SEEDS'] ?? 4);

describe('any sequence of operations', () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    it(`gives the same results with large caches, small caches and restarts (seed ${seed})`, () => {
      const large = new Instance();
      const small = new Instance(true);
      const world = new World(seed);
      for (let i = 0; i < 600; i++) {
        const step = world.step();
        const expected = strip(run(large.store, step));
        assert.deepEqual(strip(run(small.store, step)), expected, `step ${i}: ${JSON.stringify(step)}`);
        const what = world.dice.below(30);
        if (what === 0) small.reopen();
        else if (what === 1) small.store.dropCaches();
        else if (what === 2)
          for (const gfid of large.store.orphans()) for (const one of [large, small]) one.store.purge(gfid);
        if (i % 100 === 99)
          assert.deepEqual(snapshot(small.store, true), snapshot(large.store, true), `after step ${i}`);
      }
      large.reopen();
      assert.deepEqual(snapshot(large.store, true), snapshot(small.store, true));
      large.remove();
      small.remove();
    });
  }
});

describe('an operation that fails at any system call', () => {
  for (let seed = 101; seed <= 100 + SEEDS; seed++) {
    it(`has changed nothing (seed ${seed})`, () => {
      const instance = new Instance();
      const world = new World(seed);
      let injected = 0;
      for (let i = 0; i < 400; i++) {
        const step = world.step();
        // A change of several attributes is several calls; a write may change the bytes of its range.
        if (step.op !== 'setattr' && step.op !== 'write') {
          for (let at = 1; at < 20; at++) {
            const before = snapshot(instance.store, true);
            instance.faults.arm(at, 'error');
            const result = run(instance.store, step);
            const reached = instance.faults.changes >= at;
            instance.faults.arm(0, 'error');
            if (typeof result !== 'number' || !reached) break;
            injected++;
            assert.deepEqual(snapshot(instance.store, true), before, `step ${i}, call ${at}: ${JSON.stringify(step)}`);
            instance.store.dropCaches();
            assert.deepEqual(
              snapshot(instance.store, true),
              before,
              `step ${i}, call ${at}, from the disk: ${JSON.stringify(step)}`,
            );
          }
        } else run(instance.store, step);
      }
      assert.ok(injected > 20);
      instance.remove();
    });
  }
});

describe('a process that dies at any system call', () => {
  for (let seed = 201; seed <= 200 + SEEDS; seed++) {
    it(`leaves the state before or after, nothing lost, and the operation can be done again (seed ${seed})`, () => {
      const instance = new Instance();
      const world = new World(seed);
      let crashes = 0;
      for (let i = 0; i < 300; i++) {
        const step = world.step();
        if (step.op === 'setattr' || step.op === 'write') {
          run(instance.store, step);
          continue;
        }
        const before = snapshot(instance.store, false);
        for (let at = 1; at < 20; at++) {
          const where = `step ${i}, call ${at}: ${JSON.stringify(step)}`;
          instance.faults.arm(at, 'crash');
          let crashed = false;
          try {
            run(instance.store, step);
          } catch (error) {
            assert.ok(error instanceof Crash, String(error));
            crashed = true;
          }
          instance.faults.arm(0, 'crash');
          if (!crashed) break;
          crashes++;
          instance.crash();
          for (const gfid of world.directories) instance.store.describe(gfid);
          const after = snapshot(instance.store, false);
          assertNothingLost(instance, after, where);
          try {
            assert.deepEqual(after, before, where);
          } catch (error) {
            // Not as before: then as after, which doing it on a state of before shows in the next round; here it must be stable.
            if (!changedAsAsked(step, before, after)) throw error;
            break;
          }
        }
      }
      assert.ok(crashes > 20);
      instance.remove();
    });
  }
});

/** Every handle of a non-directory has a name or a mark. */
function assertNothingLost(instance: Instance, after: Record<string, unknown>, where: string): void {
  const named = new Set(Object.values(after).map((state) => (state as { gfid?: Gfid }).gfid));
  const orphans = new Set(after['orphans'] as Gfid[]);
  for (const gfid of instance.brick.store.handles()) {
    const state = instance.store.describe(gfid);
    if (state === undefined) continue;
    assert.ok(named.has(gfid) || orphans.has(gfid), `${where}: ${gfid} has neither a name nor a mark`);
  }
}

/** The names that the operation speaks of are those after it, and no other state changed. */
function changedAsAsked(step: Step, before: Record<string, unknown>, after: Record<string, unknown>): boolean {
  const { args, stamp } = step;
  const gone = (snapshotOf: Record<string, unknown>, gfid: unknown): boolean =>
    !Object.values(snapshotOf).some((state) => (state as { gfid?: Gfid }).gfid === gfid);
  const keys = (s: Record<string, unknown>): Set<string> => new Set(Object.keys(s).filter((key) => key !== 'orphans'));
  const added = [...keys(after)].filter((key) => !keys(before).has(key));
  const removed = [...keys(before)].filter((key) => !keys(after).has(key));
  switch (step.op) {
    case 'create':
    case 'mkdir':
    case 'mknod':
    case 'symlink': {
      const made = after[added[0] ?? ''] as { uid: number; gid: number; mode: number };
      const owned =
        made.uid === args['uid'] && (made.mode & 0o777) === ((args['mode'] as number | undefined) ?? 0o777) % 0o1000;
      return added.length === 1 && removed.length === 0 && owned && !gone(after, stamp.gfid);
    }
    case 'tmpfile':
      return added.length === 0 && removed.length === 0 && (after['orphans'] as Gfid[]).includes(stamp.gfid as Gfid);
    case 'link':
      return added.length === 1 && removed.length === 0;
    case 'unlink':
      return removed.length === 1 && added.length === 0;
    case 'rmdir':
      return removed.length === 1 && added.length === 0;
    case 'rename':
      return args['flags'] === RENAME_EXCHANGE || removed.length >= 1;
    case 'setxattr':
    case 'removexattr':
      return added.length === 0 && removed.length === 0;
    default:
      return false;
  }
}
