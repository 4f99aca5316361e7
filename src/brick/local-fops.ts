/**
 * File operations on one store, without replication: for a single directory, and to test what stands on `Fops` against a real disk. One
 * session; opens, orphans and locks are kept in memory.
 */
import { Errno, FsError } from '../base/errno.js';
import { hex, type Gfid } from '../base/ids.js';
import type { Clock, Random } from '../env/clock.js';
import type { Args, Fops, Result } from '../fops/ops.js';
import { FileLocks, LOCK_NONE, type LockRequest } from '../replica/file-locks.js';
import { LockWaiters } from '../replica/lock-waiters.js';
import type { Stamp, Store } from '../replica/store.js';

const SESSION = 'local';

interface Waiting {
  grant(): void;
  refuse(error: FsError): void;
}

function checkLock(lock: { kind: number; type: number; start: number; end: number }): void {
  if (lock.kind > 1 || lock.type > LOCK_NONE || lock.end < lock.start) throw new FsError(Errno.EINVAL, 'lock');
}

export class LocalFops implements Fops {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #opens = new Map<Gfid, number>();
  readonly #locks = new FileLocks();
  readonly #waiters = new LockWaiters(this.#locks);

  /** What an earlier process left open is removed: nobody has it open now. */
  constructor(store: Store, clock: Clock, random: Random) {
    this.#store = store;
    this.#clock = clock;
    this.#random = random;
    for (const gfid of store.orphans()) store.purge(gfid);
  }

  #stamp(creates = false, purge = true): Stamp {
    return { time: this.#clock.wall(), gfid: creates ? hex(this.#random.bytes(16)) : '', purge };
  }

  /** Whether the inode that a name leads to may go at once when it loses that name. */
  #mayPurge(parent: Gfid, name: string): boolean {
    const child = this.#store.child(parent, name);
    return child === undefined || !this.#opens.has(child.gfid);
  }

  async lookup(args: Args<'lookup'>): Promise<Result<'lookup'>> {
    return { attr: this.#store.lookup(args.parent, args.name) };
  }

  async getattr(args: Args<'getattr'>): Promise<Result<'getattr'>> {
    return { attr: this.#store.getattr(args.gfid) };
  }

  async setattr(args: Args<'setattr'>): Promise<Result<'setattr'>> {
    return this.#store.apply('setattr', args, this.#stamp());
  }

  async readlink(args: Args<'readlink'>): Promise<Result<'readlink'>> {
    return { target: this.#store.readlink(args.gfid) };
  }

  async symlink(args: Args<'symlink'>): Promise<Result<'symlink'>> {
    return this.#store.apply('symlink', args, this.#stamp(true));
  }

  async mknod(args: Args<'mknod'>): Promise<Result<'mknod'>> {
    return this.#store.apply('mknod', args, this.#stamp(true));
  }

  async mkdir(args: Args<'mkdir'>): Promise<Result<'mkdir'>> {
    return this.#store.apply('mkdir', args, this.#stamp(true));
  }

  async unlink(args: Args<'unlink'>): Promise<Result<'unlink'>> {
    return this.#store.apply('unlink', args, this.#stamp(false, this.#mayPurge(args.parent, args.name)));
  }

  async rmdir(args: Args<'rmdir'>): Promise<Result<'rmdir'>> {
    return this.#store.apply('rmdir', args, this.#stamp());
  }

  async rename(args: Args<'rename'>): Promise<Result<'rename'>> {
    return this.#store.apply('rename', args, this.#stamp(false, this.#mayPurge(args.newParent, args.newName)));
  }

  async link(args: Args<'link'>): Promise<Result<'link'>> {
    return this.#store.apply('link', args, this.#stamp());
  }

  async open(args: Args<'open'>): Promise<Result<'open'>> {
    let attr = this.#store.getattr(args.gfid);
    if (args.truncate) {
      const { gfid, killPriv } = args;
      attr = this.#store.apply(
        'setattr',
        { gfid, size: 0, atimeNow: false, mtimeNow: true, killPriv },
        this.#stamp(),
      ).attr;
    }
    this.#opened(args.gfid);
    return { attr };
  }

  #opened(gfid: Gfid): void {
    this.#opens.set(gfid, (this.#opens.get(gfid) ?? 0) + 1);
  }

  async create(args: Args<'create'>): Promise<Result<'create'>> {
    const result = this.#store.apply('create', args, this.#stamp(true));
    this.#opened(result.attr.gfid);
    return result;
  }

  async tmpfile(args: Args<'tmpfile'>): Promise<Result<'tmpfile'>> {
    const result = this.#store.apply('tmpfile', args, this.#stamp(true));
    this.#opened(result.attr.gfid);
    return result;
  }

  async release(args: Args<'release'>): Promise<Result<'release'>> {
    const left = (this.#opens.get(args.gfid) ?? 0) - 1;
    if (left > 0) this.#opens.set(args.gfid, left);
    else {
      this.#opens.delete(args.gfid);
      this.#store.purge(args.gfid);
    }
    return {};
  }

  async read(args: Args<'read'>): Promise<Result<'read'>> {
    return { data: await this.#store.read(args.gfid, args.offset, args.size) };
  }

  async write(args: Args<'write'>): Promise<Result<'write'>> {
    const result = this.#store.apply('write', args, this.#stamp());
    if (args.sync) await this.#store.fsync(args.gfid, true);
    return result;
  }

  async fsync(args: Args<'fsync'>): Promise<Result<'fsync'>> {
    await this.#store.fsync(args.gfid, args.dataOnly);
    return {};
  }

  async readdir(args: Args<'readdir'>): Promise<Result<'readdir'>> {
    return this.#store.readdir(args.gfid, args.after, args.limit, args.attributes);
  }

  async statfs(): Promise<Result<'statfs'>> {
    return this.#store.statfs();
  }

  async setxattr(args: Args<'setxattr'>): Promise<Result<'setxattr'>> {
    return this.#store.apply('setxattr', args, this.#stamp());
  }

  async getxattr(args: Args<'getxattr'>): Promise<Result<'getxattr'>> {
    return { value: this.#store.getxattr(args.gfid, args.name) };
  }

  async listxattr(args: Args<'listxattr'>): Promise<Result<'listxattr'>> {
    return { names: this.#store.listxattr(args.gfid) };
  }

  async removexattr(args: Args<'removexattr'>): Promise<Result<'removexattr'>> {
    return this.#store.apply('removexattr', args, this.#stamp());
  }

  async fallocate(args: Args<'fallocate'>): Promise<Result<'fallocate'>> {
    return this.#store.apply('fallocate', args, this.#stamp());
  }

  async lseek(args: Args<'lseek'>): Promise<Result<'lseek'>> {
    return { offset: this.#store.lseek(args.gfid, args.offset, args.whence) };
  }

  async copyFileRange(args: Args<'copyFileRange'>): Promise<Result<'copyFileRange'>> {
    return this.#store.apply('copyFileRange', args, this.#stamp());
  }

  // --- locks

  async setLock(args: Args<'setLock'>): Promise<Result<'setLock'>> {
    const { gfid, owner, kind, type, start, end, pid } = args;
    checkLock(args);
    this.#store.getattr(gfid);
    const request: LockRequest = { session: SESSION, gfid, owner, kind, type, start, end, pid };
    const answer = this.#waiters.examine(request);
    if (answer === 'grant') this.#grant(request);
    else if (answer === 'limit') throw new FsError(Errno.ENOLCK, 'setLock');
    else if (!args.wait) throw new FsError(Errno.EAGAIN, 'setLock');
    else if (answer === 'deadlock') throw new FsError(Errno.EDEADLK, 'setLock');
    else {
      await new Promise<void>((resolve, reject) => {
        const waiting: Waiting = { grant: resolve, refuse: reject };
        this.#waiters.add({ request, mutation: waiting });
      });
    }
    return {};
  }

  #grant(request: LockRequest): void {
    this.#locks.set(request);
    // Also a lock that grew weaker may let others in.
    this.#wake(request.gfid);
  }

  #wake(gfid: Gfid): void {
    for (const waiter of this.#waiters.take(gfid)) {
      const waiting = waiter.mutation as Waiting;
      const answer = this.#waiters.examine(waiter.request);
      if (answer === 'grant') {
        this.#locks.set(waiter.request);
        waiting.grant();
      } else if (answer === 'deadlock') waiting.refuse(new FsError(Errno.EDEADLK, 'setLock'));
      else if (answer === 'limit') waiting.refuse(new FsError(Errno.ENOLCK, 'setLock'));
      else this.#waiters.add(waiter);
    }
  }

  async getLock(args: Args<'getLock'>): Promise<Result<'getLock'>> {
    checkLock(args);
    const held = this.#locks.conflict({ ...args, session: SESSION, pid: 0 });
    if (held === undefined) return { type: LOCK_NONE, start: args.start, end: args.end, pid: 0 };
    return { type: held.type, start: held.start, end: held.end, pid: held.pid };
  }

  async dropLocks(args: Args<'dropLocks'>): Promise<Result<'dropLocks'>> {
    if (this.#locks.dropOwner(args.gfid, SESSION, args.owner, args.kind)) this.#wake(args.gfid);
    return {};
  }

  async cancelLock(args: Args<'cancelLock'>): Promise<Result<'cancelLock'>> {
    for (const waiter of this.#waiters.cancel(SESSION, args.gfid, args.owner)) {
      (waiter.mutation as Waiting).refuse(new FsError(Errno.EINTR, 'setLock'));
    }
    return {};
  }
}
