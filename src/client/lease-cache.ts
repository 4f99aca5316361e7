/**
 * What this client knows of inodes and names under read leases, so that it can answer without asking.
 *
 * The order of messages on one connection carries the proof: a reply that grants a lease is learnt in the very call that receives it, so a recall
 * that was sent later is always seen later. Everything goes when the connection or the view changes. Nothing is answered once the lease time is over.
 */
import { Errno, FsError } from '../base/errno.js';
import type { Gfid, Name } from '../base/ids.js';
import type { Attr } from '../fops/fields.js';
import { isDirectory, S_IFMT, type Args, type OpName, type Result } from '../fops/ops.js';

/** Inodes remembered, at most; the oldest go first. */
const INODES_MAX = 50_000;
const NAMES_PER_DIRECTORY_MAX = 50_000;
const XATTRS_PER_INODE_MAX = 32;
/** More inodes than that are not taken back one by one: their time is waited for. */
const BELIEVED_MAX = 1000;

/** A directory's names under its lease; null for a name that does not exist. */
type Names = Map<Name, Gfid | null>;

/**
 * A name that the kernel was told is good for so long, and may be used for this much longer: the kernel counts in ticks, and from when the thread that
 * asked runs again.
 */
const NAME_MS = 20;
const NAME_SLACK_MS = 60;
/**
 * After a recall of an inode, names in it or of it are not told for a while: somebody else uses it too, and would wait for each. Where somebody had to wait, none are told in the
 * whole directory, and for twice as long each time that it happens again soon after.
 */
const SHARED_MS = 1000;
const SHARED_MS_MAX = 32_000;
const SHARED_SOON = 4;
const SHARED_MAX = 10_000;

interface Shared {
  ms: number;
  until: number;
}

interface Known {
  attr: Attr | undefined;
  names: Names | undefined;
  target: string | undefined;
  /** The kernel may use names in it, or of it, until then. */
  toldUntil: number;
  /** The directory in which its name was told last. */
  toldIn: Gfid;
  /** The kernel may believe its attributes until then, unless they are taken back. */
  believedUntil: number;
  /** null for one that does not exist. */
  xattrs: Map<string, Uint8Array | null> | undefined;
}

/** What the kernel may still believe of leases that are over, in monotonic milliseconds. */
export interface Believed {
  /** Their attributes are to be taken back. */
  gfids: Gfid[];
  /** What is not taken back is over then. */
  otherwiseUntil: number;
  /** All of it is over then by itself. */
  until: number;
}

export class LeaseCache {
  readonly #inodes = new Map<Gfid, Known>();
  readonly #now: () => number;
  #leaseUntil = 0;
  #ended = 0;
  /** The latest `toldUntil` of all. */
  #toldUntil = 0;
  /** The latest `toldUntil` of what is not remembered any more. */
  #lostUntil = 0;
  /** Inodes not remembered any more whose attributes the kernel may believe, and until when. */
  readonly #gone = new Map<Gfid, number>();
  /** The same of those that there was no room for. */
  #goneUntil = 0;
  /** Inodes that were recalled lately. */
  readonly #shared = new Map<Gfid, Shared>();

  /** `now` is the monotonic clock in milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** What a pong says: leases are good until then. True when there was a time without, in which changes were made without asking this client. */
  extend(until: number): boolean {
    const lapsed = this.#leaseUntil <= this.#now();
    // What was known from before must not come to life again.
    if (lapsed) {
      this.#ended++;
      this.#forgetAll();
    }
    if (until > this.#leaseUntil) this.#leaseUntil = until;
    return lapsed;
  }

  /** The connection or the view changed. */
  clear(): Believed {
    this.#ended++;
    this.#forgetAll();
    this.#leaseUntil = 0;
    this.#dropOver(this.#now());
    const gfids = [...this.#gone.keys()];
    const otherwiseUntil = Math.max(this.#lostUntil, this.#goneUntil);
    const until = Math.max(otherwiseUntil, ...this.#gone.values());
    this.#gone.clear();
    return { gfids, otherwiseUntil, until };
  }

  /** A recall. Returns the milliseconds for which the kernel may still use names in these inodes, or of them. */
  forget(gfids: readonly Gfid[]): number {
    const now = this.#now();
    if (this.#shared.size > SHARED_MAX) this.#shared.clear();
    let until = this.#lostUntil;
    const waited = new Set<Gfid>();
    for (const gfid of gfids) {
      const known = this.#inodes.get(gfid);
      const toldUntil = known?.toldUntil ?? 0;
      until = Math.max(until, toldUntil);
      this.#leave(gfid, now);
      if (toldUntil <= now) this.#share(gfid, now, false);
      else {
        waited.add(gfid);
        if (known !== undefined && known.toldIn !== '') waited.add(known.toldIn);
      }
    }
    for (const gfid of waited) this.#share(gfid, now, true);
    return Math.max(0, until - now);
  }

  #share(gfid: Gfid, now: number, waited: boolean): void {
    const last = this.#shared.get(gfid);
    const again = last !== undefined && now < last.until + SHARED_SOON * last.ms;
    const ms = !again ? SHARED_MS : waited ? Math.min(2 * last.ms, SHARED_MS_MAX) : last.ms;
    this.#shared.set(gfid, { ms, until: Math.max(waited || last === undefined ? 0 : last.until, now + (waited ? ms : SHARED_MS)) });
  }

  get size(): number {
    return this.#inodes.size;
  }

  /** Milliseconds for which the attributes of this inode may be trusted; 0 when they are not known under a lease. */
  attrValidMs(gfid: Gfid): number {
    const known = this.#inodes.get(gfid);
    if (known?.attr === undefined) return 0;
    known.believedUntil = this.#leaseUntil;
    return Math.max(0, this.#leaseUntil - this.#now());
  }

  /**
   * The kernel is told now that this name leads to `child`: for how many milliseconds it may believe that. A name is short-lived rather than taken back,
   * because the kernel cannot forget one while it changes the directory. With it goes the inode's owner and mode, which the kernel does not ask for again
   * when it comes by a name that it believes: a recall of either inode waits until the name is over.
   */
  tellName(parent: Gfid, name: Name, child: Gfid): number {
    const now = this.#now();
    const directory = this.#inodes.get(parent);
    const inode = this.#inodes.get(child);
    if (directory?.names?.get(name) !== child || inode?.attr === undefined) return 0;
    if (this.#leaseUntil < now + NAME_MS + NAME_SLACK_MS || this.#isShared(parent, now) || this.#isShared(child, now)) return 0;
    directory.toldUntil = inode.toldUntil = this.#toldUntil = now + NAME_MS + NAME_SLACK_MS;
    inode.toldIn = parent;
    return NAME_MS;
  }

  #isShared(gfid: Gfid, now: number): boolean {
    const shared = this.#shared.get(gfid);
    return shared !== undefined && shared.until > now;
  }

  /** The inode of this name, null for none; undefined when it is not known. Good enough only for what need not be sure. */
  child(parent: Gfid, name: Name): Gfid | null | undefined {
    return this.#inodes.get(parent)?.names?.get(name);
  }

  /** How many times all leases went. */
  get ended(): number {
    return this.#ended;
  }

  /** What was learnt under leases holds at this moment. */
  get live(): boolean {
    return this.#leaseUntil > this.#now();
  }

  /** Attributes that hold at this moment. */
  attr(gfid: Gfid): Attr | undefined {
    return this.#leaseUntil <= this.#now() ? undefined : this.#inodes.get(gfid)?.attr;
  }

  /** The answer to a read from memory, undefined when it must be asked for. Throws FsError where absence is known. */
  answer(op: OpName, args: unknown): unknown {
    if (this.#leaseUntil <= this.#now()) return undefined;
    switch (op) {
      case 'lookup': {
        const { parent, name } = args as Args<'lookup'>;
        const child = this.#inodes.get(parent)?.names?.get(name);
        if (child === null) throw new FsError(Errno.ENOENT, op);
        const attr = child === undefined ? undefined : this.#inodes.get(child)?.attr;
        return attr === undefined ? undefined : { attr };
      }
      case 'getattr': {
        const attr = this.#inodes.get((args as Args<'getattr'>).gfid)?.attr;
        return attr === undefined ? undefined : { attr };
      }
      case 'readlink': {
        const target = this.#inodes.get((args as Args<'readlink'>).gfid)?.target;
        return target === undefined ? undefined : { target };
      }
      case 'getxattr': {
        const { gfid, name } = args as Args<'getxattr'>;
        const value = this.#inodes.get(gfid)?.xattrs?.get(name);
        if (value === null) throw new FsError(Errno.ENODATA, op);
        return value === undefined ? undefined : { value };
      }
      default:
        return undefined;
    }
  }

  /**
   * A reply arrived, in order. Called for every operation, before anyone hears of the result; `lease` as in the reply. A mutation of this client's own
   * leaves its leases in place, so what it changed is put right here. `again`: it was asked for on an earlier connection as well, so it may have been made long ago, and others may
   * have changed the same names since.
   */
  learn(op: OpName, args: unknown, errno: number, result: unknown, lease: boolean, again = false): void {
    switch (op) {
      case 'lookup': {
        const { parent, name } = args as Args<'lookup'>;
        if (!lease) return;
        if (errno === 0) {
          const { attr } = result as Result<'lookup'>;
          this.#name(parent, name, attr.gfid, true);
          this.#attr(attr);
        } else if (errno === Errno.ENOENT) this.#name(parent, name, null, true);
        return;
      }
      case 'getattr':
        if (lease && errno === 0) this.#attr((result as Result<'getattr'>).attr);
        return;
      case 'readlink':
        if (lease && errno === 0) this.#known((args as Args<'readlink'>).gfid).target = (result as Result<'readlink'>).target;
        return;
      case 'getxattr': {
        const { gfid, name } = args as Args<'getxattr'>;
        if (lease && errno === 0) this.#xattr(gfid, name, Uint8Array.from((result as Result<'getxattr'>).value));
        else if (lease && errno === Errno.ENODATA) this.#xattr(gfid, name, null);
        return;
      }
      case 'readdir': {
        const { gfid, attributes } = args as Args<'readdir'>;
        if (!lease || errno !== 0 || !attributes) return;
        for (const entry of (result as Result<'readdir'>).entries) {
          this.#name(gfid, entry.name, entry.gfid, true);
          if (entry.attr !== undefined) this.#attr(entry.attr);
        }
        return;
      }
      default:
        if (errno !== 0) return;
        this.#learnChange(op, args, result, lease);
        if (again) this.#doubtNames(args);
    }
  }

  /** Whatever was learnt of the names that this changed. */
  #doubtNames(args: unknown): void {
    const { parent, name, newParent, newName } = args as Partial<Args<'rename'>>;
    if (parent !== undefined && name !== undefined) this.#inodes.get(parent)?.names?.delete(name);
    if (newParent !== undefined && newName !== undefined) this.#inodes.get(newParent)?.names?.delete(newName);
  }

  #learnChange(op: OpName, args: unknown, result: unknown, lease: boolean): void {
    const { attr } = result as { attr?: Attr };
    switch (op) {
      case 'create':
      case 'mkdir':
      case 'mknod':
      case 'symlink': {
        const { parent, name } = args as Args<'mkdir'>;
        this.#dropAttr(parent);
        if (attr !== undefined) this.#name(parent, name, attr.gfid, false);
        break;
      }
      case 'link': {
        const { newParent, newName } = args as Args<'link'>;
        this.#dropAttr(newParent);
        if (attr !== undefined) this.#name(newParent, newName, attr.gfid, false);
        break;
      }
      case 'unlink':
      case 'rmdir': {
        const { parent, name } = args as Args<'unlink'>;
        const child = this.#inodes.get(parent)?.names?.get(name);
        if (typeof child === 'string') this.#delete(child);
        else this.#dropAllBut(parent);
        this.#dropAttr(parent);
        this.#name(parent, name, null, false);
        return;
      }
      case 'rename':
        this.#learnRename(args as Args<'rename'>);
        return;
      case 'setxattr':
      case 'removexattr':
        this.#delete((args as Args<'setxattr'>).gfid);
        return;
      case 'release': {
        const { gfid } = args as Args<'release'>;
        if (this.#inodes.get(gfid)?.attr?.nlink === 0) this.#delete(gfid);
        break;
      }
      case 'write':
        if (attr === undefined) this.#dropAttr((args as Args<'write'>).gfid);
        break;
      case 'copyFileRange':
        this.#dropAttr((args as Args<'copyFileRange'>).target);
        break;
      default:
        break;
    }
    if (attr === undefined) return;
    if (lease) this.#attr(attr);
    else this.#dropAttr(attr.gfid);
  }

  /** Which inodes moved, and what the target was, is only known for names under a lease; otherwise everything that may be concerned goes. */
  #learnRename(args: Args<'rename'>): void {
    const { parent, name, newParent, newName, flags } = args;
    const moved = this.#inodes.get(parent)?.names?.get(name);
    const replaced = this.#inodes.get(newParent)?.names?.get(newName);
    if (typeof moved !== 'string' || replaced === undefined) {
      this.#forgetAll();
      return;
    }
    this.#delete(moved);
    if (replaced !== null) this.#delete(replaced);
    this.#dropAttr(parent);
    this.#dropAttr(newParent);
    if (flags !== 0 || moved === replaced) {
      this.#inodes.get(parent)?.names?.delete(name);
      this.#inodes.get(newParent)?.names?.delete(newName);
      return;
    }
    this.#name(parent, name, null, false);
    this.#name(newParent, newName, moved, false);
  }

  #forgetAll(): void {
    this.#lostUntil = this.#toldUntil;
    const now = this.#now();
    for (const gfid of this.#inodes.keys()) this.#leave(gfid, now);
  }

  #delete(gfid: Gfid): void {
    this.#lostUntil = Math.max(this.#lostUntil, this.#inodes.get(gfid)?.toldUntil ?? 0);
    this.#leave(gfid);
  }

  /** It is not remembered any more; the kernel may still believe its attributes. */
  #leave(gfid: Gfid, now = this.#now()): void {
    const until = this.#inodes.get(gfid)?.believedUntil ?? 0;
    this.#inodes.delete(gfid);
    if (until <= now) return;
    // Once there was no room, the time is waited for anyhow: those that are over are not looked for with each that follows.
    if (this.#gone.size >= BELIEVED_MAX && this.#goneUntil <= now) this.#dropOver(now);
    if (this.#gone.size >= BELIEVED_MAX) this.#goneUntil = Math.max(this.#goneUntil, until);
    else this.#gone.set(gfid, Math.max(until, this.#gone.get(gfid) ?? 0));
  }

  #dropOver(now: number): void {
    for (const [gfid, until] of this.#gone) if (until <= now) this.#gone.delete(gfid);
  }

  /** An unlinked name of unknown inode: its link count changed, so no attribute of a non-directory can be trusted. */
  #dropAllBut(keep: Gfid): void {
    for (const [gfid, known] of this.#inodes) if (gfid !== keep && known.attr !== undefined && !isDirectory(known.attr.mode & S_IFMT)) known.attr = undefined;
  }

  #known(gfid: Gfid): Known {
    let known = this.#inodes.get(gfid);
    if (known === undefined) {
      if (this.#inodes.size >= INODES_MAX) this.#delete(this.#inodes.keys().next().value as Gfid);
      this.#inodes.set(gfid, (known = { attr: undefined, names: undefined, target: undefined, xattrs: undefined, toldUntil: 0, toldIn: '', believedUntil: 0 }));
    }
    return known;
  }

  #attr(attr: Attr): void {
    this.#known(attr.gfid).attr = attr;
  }

  #dropAttr(gfid: Gfid): void {
    const known = this.#inodes.get(gfid);
    if (known !== undefined) known.attr = undefined;
  }

  /** `leased`: this reply gave a lease on the directory. Otherwise the name is only put right where the directory's names are known. */
  #name(parent: Gfid, name: Name, child: Gfid | null, leased: boolean): void {
    const known = leased ? this.#known(parent) : this.#inodes.get(parent);
    if (known === undefined || (!leased && known.names === undefined)) return;
    known.names ??= new Map();
    if (known.names.size >= NAMES_PER_DIRECTORY_MAX && !known.names.has(name)) known.names.delete(known.names.keys().next().value as Name);
    known.names.set(name, child);
  }

  #xattr(gfid: Gfid, name: string, value: Uint8Array | null): void {
    const known = this.#known(gfid);
    known.xattrs ??= new Map();
    if (known.xattrs.size < XATTRS_PER_INODE_MAX) known.xattrs.set(name, value);
  }
}
