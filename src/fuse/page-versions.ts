/**
 * Which state of a file the pages are of that the kernel keeps, for files that were opened through the page cache.
 *
 * The kernel drops pages by itself when a reply brings another size or mtime. A change that left both as they were (a program that writes, then sets
 * the old mtime again, on another node) shows in ctime only, at which the kernel does not look.
 *
 * And it ignores the attributes of a reply when the inode was written or invalidated while it waited for them, and reads on from the pages that it has: what
 * another node had written a millisecond before was not seen (`npm run test:faults -- --only nothing`). So a recall also drops the pages. It is
 * answered before they are gone, because the kernel waits for a page that is being read, and that read may wait at the primary for the very
 * change that the recall is for; but until they are gone, nobody is told the attributes without which the kernel does not use its pages.
 */
import { compareTime, type Time } from '../base/time.js';
import type { Gfid } from '../base/ids.js';
import type { Attr } from '../fops/fields.js';

interface Version {
  ctime: Time;
  mtime: Time;
  size: number;
}

export class PageVersions {
  readonly #versions = new Map<Gfid, Version>();
  readonly #dropped = new Map<Gfid, Promise<void>>();

  /** True when the kernel may keep pages of this file. */
  kept(gfid: Gfid): boolean {
    return this.#versions.has(gfid);
  }

  /** The kernel was told to drop all pages of the file, and has when the promise is resolved. */
  drop(gfid: Gfid, work: Promise<void>): void {
    const dropped = work.finally(() => {
      if (this.#dropped.get(gfid) === dropped) this.#dropped.delete(gfid);
    });
    this.#dropped.set(gfid, dropped);
  }

  /** Resolves when the pages that must go are gone; undefined when none must. */
  dropped(gfid: Gfid): Promise<void> | undefined {
    return this.#dropped.get(gfid);
  }

  /** The file is opened: true when pages kept from before are still right. Otherwise the kernel drops them at the open. */
  opened({ gfid, ctime, mtime, size }: Attr): boolean {
    const version = this.#versions.get(gfid);
    if (version !== undefined && compareTime(version.ctime, ctime) === 0) return true;
    this.#versions.set(gfid, { ctime, mtime, size });
    return false;
  }

  /** These attributes are about to be told. True when the kernel would go on trusting pages that may be of another state. */
  deceives({ gfid, ctime, mtime, size }: Attr): boolean {
    const version = this.#versions.get(gfid);
    if (version === undefined || compareTime(version.ctime, ctime) === 0) return false;
    return version.size === size && compareTime(version.mtime, mtime) === 0;
  }

  /** The kernel has these attributes now, and no older pages. */
  told({ gfid, ctime, mtime, size }: Attr): void {
    const version = this.#versions.get(gfid);
    if (version === undefined) return;
    version.ctime = ctime;
    version.mtime = mtime;
    version.size = size;
  }

  forget(gfid: Gfid): void {
    this.#versions.delete(gfid);
  }
}
