/**
 * Which state of a file the pages are of that the kernel keeps, for files that were opened through the page cache.
 *
 * The kernel drops pages by itself when a reply brings another size or mtime. A change that left both as they were (a program that writes, then sets
 * the old mtime again, on another node) shows in ctime only, at which the kernel does not look.
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
