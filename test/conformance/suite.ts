/**
 * One conformance suite for everything that implements `Fops`: a single store, the client over three bricks, a simulated cluster.
 * A test is data: a claim as its name, and a function that proves it in a fresh directory.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoName, FsError } from '../../src/base/errno.js';
import { ROOT_GFID, type Gfid, type Name } from '../../src/base/ids.js';
import type { Time } from '../../src/base/time.js';
import type { Attr, DirEntry } from '../../src/fops/fields.js';
import { S_IFREG, type Args, type Fops } from '../../src/fops/ops.js';

export interface Session {
  fops: Fops;
  /** The session ends: its opens and locks go. */
  close(): Promise<void>;
}

/** A volume under test. */
export interface Subject {
  /** A further session on the same volume; for subjects that know no sessions, the same one again. */
  open(): Promise<Session>;
  /** Different sessions are really different: their locks conflict and end with them. */
  readonly manySessions: boolean;
  /** `requestNumber` is honoured. */
  readonly exactlyOnce: boolean;
  /** An inode that lost its last name and user is gone after so many milliseconds at most. */
  readonly goneMs: number;
  close(): Promise<void>;
}

export type ConformanceTest = (t: Fixture) => Promise<void>;
export type ConformanceTests = Record<string, ConformanceTest>;

/** A skipped test is a claim that this subject cannot make at all. */
export class NotApplicable extends Error {}

export const OWNER = { uid: 0, gid: 0 };
export const NO_CHANGE = { atimeNow: false, mtimeNow: false, killPriv: false };

export function bytes(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

/** Bytes that differ at every position and seed, so that a shifted or stale block shows. */
export function pattern(size: number, seed: number): Buffer {
  const out = Buffer.allocUnsafe(size);
  let x = (seed * 2_654_435_761 + 1) >>> 0;
  for (let i = 0; i < size; i++) {
    x = (Math.imul(x, 1_664_525) + 1_013_904_223) >>> 0;
    out[i] = x >>> 24;
  }
  return out;
}

export function equalBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  if (Buffer.compare(actual, expected) === 0) return;
  const length = Math.min(actual.length, expected.length);
  let at = 0;
  while (at < length && actual[at] === expected[at]) at++;
  assert.fail(`${what}: ${actual.length} bytes, expected ${expected.length}; first difference at ${at}`);
}

/** Expects a definite answer with one of these error numbers. */
export async function fails(errno: number | number[], work: Promise<unknown>, what = ''): Promise<void> {
  const wanted = Array.isArray(errno) ? errno : [errno];
  let result: unknown;
  try {
    result = await work;
  } catch (error) {
    if (error instanceof FsError && wanted.includes(error.errno)) return;
    throw new Error(`${what} expected ${wanted.map(errnoName).join(' or ')}, got ${String(error)}`, { cause: error });
  }
  assert.fail(`${what} expected ${wanted.map(errnoName).join(' or ')}, but it succeeded with ${JSON.stringify(result)}`);
}

export function isAfter(later: Time, earlier: Time): boolean {
  return later.sec > earlier.sec || (later.sec === earlier.sec && later.nsec > earlier.nsec);
}

let counter = 0;

/** What a test gets: a session, its own directory, and short forms of the usual calls. */
export class Fixture {
  private readonly sessions: Session[] = [];

  private constructor(
    readonly subject: Subject,
    readonly fops: Fops,
    /** The test's own, empty directory. */
    readonly dir: Gfid,
    readonly dirName: Name,
  ) {}

  static async make(subject: Subject): Promise<Fixture> {
    const session = await subject.open();
    const name = `t${process.pid}-${++counter}`;
    const { attr } = await session.fops.mkdir({ parent: ROOT_GFID, name, mode: 0o755, ...OWNER });
    const fixture = new Fixture(subject, session.fops, attr.gfid, name);
    fixture.sessions.push(session);
    return fixture;
  }

  async end(): Promise<void> {
    for (const session of this.sessions) await session.close();
  }

  /** Another session on the volume, closed with the test. */
  async session(): Promise<Session> {
    const session = await this.subject.open();
    let open = true;
    const once: Session = {
      fops: session.fops,
      close: async () => {
        if (open) await session.close();
        open = false;
      },
    };
    this.sessions.push(once);
    return once;
  }

  async differentSession(): Promise<Session> {
    if (!this.subject.manySessions) throw new NotApplicable('the subject has one session only');
    return this.session();
  }

  async file(name: Name, data?: Uint8Array, parent = this.dir): Promise<Gfid> {
    const { attr } = await this.fops.mknod({ parent, name, mode: S_IFREG | 0o644, rdev: 0, ...OWNER });
    if (data !== undefined) await this.write(attr.gfid, 0, data);
    return attr.gfid;
  }

  async mkdir(name: Name, parent = this.dir): Promise<Gfid> {
    return (await this.fops.mkdir({ parent, name, mode: 0o755, ...OWNER })).attr.gfid;
  }

  async symlink(name: Name, target: string, parent = this.dir): Promise<Gfid> {
    return (await this.fops.symlink({ parent, name, target, ...OWNER })).attr.gfid;
  }

  async attr(gfid: Gfid): Promise<Attr> {
    return (await this.fops.getattr({ gfid })).attr;
  }

  async lookup(name: Name, parent = this.dir): Promise<Attr> {
    return (await this.fops.lookup({ parent, name })).attr;
  }

  async exists(name: Name, parent = this.dir): Promise<boolean> {
    try {
      await this.fops.lookup({ parent, name });
      return true;
    } catch (error) {
      if (error instanceof FsError && error.code === 'ENOENT') return false;
      throw error;
    }
  }

  /** The inode is gone; while bricks come and go it may stay a little, without a name. */
  async gone(gfid: Gfid, what = ''): Promise<void> {
    const end = performance.now() + this.subject.goneMs;
    for (;;) {
      try {
        const { nlink } = await this.attr(gfid);
        assert.equal(nlink, 0, `${what}: an inode without a name has no links`);
      } catch (error) {
        if (error instanceof FsError && (error.code === 'ESTALE' || error.code === 'ENOENT')) return;
        throw error;
      }
      assert.ok(performance.now() < end, `${what}: the inode is gone within ${this.subject.goneMs} ms`);
      await sleep(50);
    }
  }

  async setattr(gfid: Gfid, change: Partial<Args<'setattr'>>): Promise<Attr> {
    return (await this.fops.setattr({ gfid, ...NO_CHANGE, ...change })).attr;
  }

  /** Any size; split as the kernel would. */
  async write(gfid: Gfid, offset: number, data: Uint8Array): Promise<void> {
    for (let at = 0; at < data.length || at === 0; at += 1 << 20) {
      const part = data.subarray(at, at + (1 << 20));
      await this.fops.write({ gfid, offset: offset + at, append: false, sync: false, killPriv: false, data: part });
    }
  }

  async append(gfid: Gfid, data: Uint8Array): Promise<number> {
    return (await this.fops.write({ gfid, offset: 0, append: true, sync: false, killPriv: false, data })).offset;
  }

  async read(gfid: Gfid, offset: number, size: number): Promise<Buffer> {
    const { data } = await this.fops.read({ gfid, offset, size });
    return Buffer.from(data);
  }

  async content(gfid: Gfid): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let offset = 0; ; ) {
      const part = await this.read(gfid, offset, 1 << 20);
      if (part.length === 0) return Buffer.concat(parts);
      parts.push(part);
      offset += part.length;
    }
  }

  async entries(dir: Gfid, limit = 100, attributes = false): Promise<DirEntry[]> {
    const all: DirEntry[] = [];
    for (let after = ''; ; ) {
      const page = await this.fops.readdir({ gfid: dir, after, limit, attributes });
      all.push(...page.entries);
      if (page.end) return all;
      const last = page.entries.at(-1);
      assert.ok(last !== undefined, 'a page that is not the last one has entries');
      after = last.name;
    }
  }

  async names(dir = this.dir, limit = 100): Promise<Name[]> {
    return (await this.entries(dir, limit)).map((entry) => entry.name);
  }

  rename(name: Name, newName: Name, flags = 0, parent = this.dir, newParent = this.dir): Promise<object> {
    return this.fops.rename({ parent, name, newParent, newName, flags });
  }

  unlink(name: Name, parent = this.dir): Promise<object> {
    return this.fops.unlink({ parent, name });
  }

  rmdir(name: Name, parent = this.dir): Promise<object> {
    return this.fops.rmdir({ parent, name });
  }
}
