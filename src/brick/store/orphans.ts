/** Inodes that are kept without a name, each with a mark on the disk so that it is found again after a restart. */
import { Errno, FsError } from '../../base/errno.js';
import { isGfid, type Gfid } from '../../base/ids.js';
import { S_IFLNK, S_IFMT, S_IFREG } from '../../fops/ops.js';
import { DiskStat, type Disk } from '../disk.js';
import { check } from './check.js';
import type { Handles } from './handles.js';

const MARK_MODE = S_IFREG | 0o600;

export class Orphans {
  readonly #disk: Disk;
  readonly #handles: Handles;
  readonly #fd: number;
  readonly #known = new Set<Gfid>();

  /** Reads the marks; those that a crash left behind wrongly are dropped. */
  constructor(disk: Disk, handles: Handles, privateFd: number) {
    this.#disk = disk;
    this.#handles = handles;
    this.#fd = check(disk.openDirectory(privateFd, 'orphans'), 'open orphans');
    const names = disk.list(this.#fd);
    if (typeof names === 'number') throw new FsError(-names, 'list orphans');
    for (const name of names) {
      if (this.#isKept(name)) this.#known.add(name);
      else disk.unlinkAt(this.#fd, name);
    }
  }

  close(): void {
    this.#disk.close(this.#fd);
  }

  #isKept(name: string): boolean {
    if (!isGfid(name)) return false;
    const dir = this.#handles.fd(name);
    const stat = new DiskStat();
    if (this.#disk.statAt(dir, name, stat) !== 0 || stat.nlink !== 1) return false;
    if (this.#handles.gfidAt(dir, name) === name) return true;
    // A crash came while it was made, or the handle is that of a directory, which is never an orphan.
    if ((stat.mode & S_IFMT) !== S_IFLNK) this.#disk.unlinkAt(dir, name);
    return false;
  }

  has(gfid: Gfid): boolean {
    return this.#known.has(gfid);
  }

  all(): Gfid[] {
    return [...this.#known];
  }

  /** Before an inode has no name. */
  mark(gfid: Gfid, op: string): void {
    const result = this.#disk.mknodAt(this.#fd, gfid, MARK_MODE, 0);
    if (result !== -Errno.EEXIST) check(result, op);
    this.#known.add(gfid);
  }

  /** It has a name again, or is gone. A mark that stays is found to be wrong at the next start. */
  unmark(gfid: Gfid): void {
    if (this.#known.delete(gfid)) this.#disk.unlinkAt(this.#fd, gfid);
  }
}
