/**
 * What the kernel believes of files that were opened through the page cache: which state its pages are of, and whether it would ask before it uses them.
 *
 * The kernel drops pages by itself when a reply brings another size or mtime. There are four ways in which it goes on with pages, or a size, of before:
 *
 *   a change left size and mtime as they were (a program that writes, then sets the old mtime again)   ─▶ `deceives`: ctime tells; the pages are dropped first
 *   SETATTR: its reply is taken as it is, without a look at the pages                                  ─▶ `disbelieved`: the reply carries an mtime that is not true,
 *                                                                                                         so the next GETATTR brings another one
 *   GETATTR, while other requests of the file are under way: its attributes are ignored                ─▶ `mayBeIgnored`: the pages are dropped first
 *   GETATTR, while its attributes are taken back (INVAL_INODE): they are ignored too, and pages and    ─▶ `deceives` where the size is the same; `recalled`: attributes
 *   size stay what they were before                                                                       that are not valid are not taken back, those with a size that
 *                                                                                                         was just told are taken back a moment later
 *
 * The kernel ignores the answer to a GETATTR where another answer about the inode was taken since it was asked: of a change, another GETATTR, or one that named the inode.
 *
 * Dropping pages is a notification too, so the size that comes with the third is ignored: several processes of one machine that use a file whose
 * size another machine changes at that instant may see the size of before.
 */
import { compareTime, type Time } from '../base/time.js';
import type { Gfid } from '../base/ids.js';
import type { Attr } from '../fops/fields.js';

/** A thread that was answered takes the answer within so long, or it was not run. */
const TAKEN_MS = 5;
/** The same for a size, where nothing else would put it right. */
const SIZE_TAKEN_MS = 40;

/** Attributes that the kernel was told before the file was opened are not valid for longer. */
const VALID_MS_MAX = 1000;

interface Version {
  ctime: Time;
  mtime: Time;
  size: number;
  /** The kernel has this size, and did not change it by itself since. */
  sizeCertain: boolean;
  sizeToldAt: number;
  /** The kernel asks before it uses its pages from then on. */
  validUntil: number;
  /** The leases that the pages were read under: once they are not those of now, another node may have changed the file without a recall to tell of it. */
  guardedBy: number | undefined;
  /** How many recalls there were. */
  recalls: number;
  /** Of files that a worker before this one served: which state the pages are of is not known. */
  unknown: boolean;
  /** Requests under way at whose end the kernel ignores the attributes that it asked for before. */
  underWay: number;
  /** How many have ended, when the last one did, and which thread's it was. */
  ended: number;
  endedAt: number;
  endedBy: number;
}

/** A request under way, as it was when it began. */
export interface Asking {
  readonly version: Version;
  readonly thread: number;
  readonly ended: number;
  readonly crowded: boolean;
}

/** Nothing was told of it or asked for yet. */
function begun(now: number): Omit<Version, 'ctime' | 'mtime' | 'size' | 'guardedBy' | 'unknown'> {
  return { sizeCertain: false, sizeToldAt: 0, validUntil: now + VALID_MS_MAX, underWay: 0, ended: 0, endedAt: 0, endedBy: 0, recalls: 0 };
}

/** What held when the kernel began to drop pages. */
export interface Guard {
  readonly leases: number;
  readonly recalls: number;
}

export class PageVersions {
  readonly #versions = new Map<Gfid, Version>();
  readonly #now: () => number;
  readonly #leases: () => number | undefined;

  /** `now`: the monotonic clock in milliseconds. `leases`: another number each time that all leases went; undefined while none hold. */
  constructor(now: () => number, leases: () => number | undefined) {
    this.#now = now;
    this.#leases = leases;
  }

  #isGuarded({ guardedBy }: Version): boolean {
    return guardedBy !== undefined && guardedBy === this.#leases();
  }

  /** The file was opened at a worker before this one: the kernel may have pages of any state. */
  openedBefore(gfid: Gfid): void {
    const never = { sec: 0, nsec: 0 };
    this.#versions.set(gfid, { ctime: never, mtime: never, size: 0, guardedBy: undefined, unknown: true, ...begun(this.#now()) });
  }

  /** True when the kernel may keep pages of this file. */
  kept(gfid: Gfid): boolean {
    return this.#versions.has(gfid);
  }

  /** The file is opened: true when pages kept from before are still right. Otherwise the kernel drops them at the open; `leased`: a recall will tell of changes from now on. */
  opened({ gfid, ctime, mtime, size }: Attr, leased: boolean): boolean {
    const version = this.#versions.get(gfid);
    if (version === undefined) {
      this.#versions.set(gfid, { ctime, mtime, size, guardedBy: leased ? this.#leases() : undefined, unknown: false, ...begun(this.#now()) });
      return false;
    }
    if (!version.unknown && compareTime(version.ctime, ctime) === 0) return true;
    version.ctime = ctime;
    version.mtime = mtime;
    version.size = size;
    version.sizeCertain = false;
    version.unknown = false;
    version.guardedBy = leased ? this.#leases() : undefined;
    return false;
  }

  /**
   * These attributes are about to be told. True when the kernel may go on with pages of another state: it cannot tell, or a recall that comes right behind the answer
   * would have it ignored. That needs the size to be the one that it has; another size it must take, and a recall waits for that.
   */
  deceives({ gfid, ctime, mtime, size }: Attr): boolean {
    const version = this.#versions.get(gfid);
    if (version?.unknown === true) return true;
    if (version === undefined || compareTime(version.ctime, ctime) === 0) return false;
    return version.size === size && (version.sizeCertain || compareTime(version.mtime, mtime) === 0);
  }

  /** The kernel is told these attributes now, for so many milliseconds, and has no older pages once it took them. */
  told({ gfid, ctime, mtime, size }: Attr, validMs: number): void {
    const version = this.#versions.get(gfid);
    if (version === undefined) return;
    const now = this.#now();
    if (!version.sizeCertain || version.size !== size) version.sizeToldAt = now;
    version.ctime = ctime;
    version.mtime = mtime;
    version.size = size;
    version.sizeCertain = true;
    version.unknown = false;
    version.guardedBy = validMs > 0 ? this.#leases() : undefined;
    version.validUntil = Math.max(version.validUntil, now + validMs);
  }

  /** The kernel takes the size and the mtime of a reply to SETATTR, and goes on with its pages. What to tell it instead, where it may have some. */
  disbelieved(attr: Attr): Attr | undefined {
    const version = this.#versions.get(attr.gfid);
    if (version === undefined) return undefined;
    const mtime = { sec: attr.mtime.sec, nsec: attr.mtime.nsec ^ 1 };
    version.mtime = mtime;
    version.size = attr.size;
    version.sizeCertain = true;
    version.validUntil = Math.min(version.validUntil, this.#now() + TAKEN_MS);
    return { ...attr, mtime };
  }

  /** The lease is recalled: how many milliseconds from now the kernel is told to forget the attributes; undefined when it need not be told. */
  recalled(gfid: Gfid): number | undefined {
    const version = this.#versions.get(gfid);
    if (version === undefined) return 0;
    version.guardedBy = undefined;
    version.recalls++;
    const now = this.#now();
    return version.validUntil <= now ? undefined : Math.max(0, version.sizeToldAt + SIZE_TAKEN_MS - now);
  }

  /** The kernel has forgotten the attributes. */
  forgotten(gfid: Gfid): void {
    const version = this.#versions.get(gfid);
    if (version !== undefined) version.validUntil = 0;
  }

  /** True when the kernel may ignore attributes that come with a name, and go on with pages that nobody guards: it must ask for them by themselves. */
  mustAsk(gfid: Gfid): boolean {
    const version = this.#versions.get(gfid);
    return version !== undefined && !this.#isGuarded(version) && (version.underWay > 0 || this.#now() - version.endedAt < TAKEN_MS);
  }

  /** A request begins after which the kernel ignores attributes that it asked for before; undefined where that does no harm. `end` must follow. */
  begin(gfid: Gfid, thread: number): Asking | undefined {
    const version = this.#versions.get(gfid);
    if (version === undefined) return undefined;
    const crowded = version.underWay > 0 || (version.endedBy !== thread && this.#now() - version.endedAt < TAKEN_MS);
    version.underWay++;
    return { version, thread, ended: version.ended, crowded };
  }

  end({ version, thread }: Asking): void {
    version.underWay--;
    this.#ended(version, thread);
  }

  #ended(version: Version, thread: number): void {
    version.ended++;
    version.endedAt = this.#now();
    version.endedBy = thread;
  }

  /** An answer about the inode was given outside of `begin` and `end`, after which the kernel ignores attributes that it asked for before. */
  answered(gfid: Gfid, thread: number): void {
    const version = this.#versions.get(gfid);
    if (version !== undefined) this.#ended(version, thread);
  }

  /** What holds now, under a lease on the inode; for `guarded`. */
  guard(gfid: Gfid): Guard | undefined {
    const version = this.#versions.get(gfid);
    const leases = this.#leases();
    return version === undefined || leases === undefined ? undefined : { leases, recalls: version.recalls };
  }

  /** The kernel has dropped all pages since, and the inode is under a lease again or still: pages read from then on are guarded, where no recall came in between. */
  guarded(gfid: Gfid, { leases, recalls }: Guard): void {
    const version = this.#versions.get(gfid);
    if (version?.recalls === recalls && leases === this.#leases()) version.guardedBy = leases;
  }

  /** Data was written up to `end`; Infinity where that is not known. Beyond the size, the kernel makes itself a size of its own. */
  written({ version }: Asking, end: number): void {
    if (end > version.size) version.sizeCertain = false;
  }

  /** A read ended at `end`, before what was asked for: where that is less than the size, the kernel takes it for the size. */
  endedAt(gfid: Gfid, end: number): void {
    const version = this.#versions.get(gfid);
    if (version !== undefined && version.size !== end) version.sizeCertain = false;
  }

  /** True when the kernel may ignore the answer to this GETATTR, and go on with pages that nobody guards. */
  mayBeIgnored({ version, ended, crowded }: Asking): boolean {
    return !this.#isGuarded(version) && (crowded || version.ended !== ended || version.underWay > 1);
  }

  forget(gfid: Gfid): void {
    this.#versions.delete(gfid);
  }
}
