/** Handles: every inode by its identity, one component below a directory that is always open. */
import { Errno, FsError } from '../../base/errno.js';
import { isGfid, nameProblem, type Gfid, type Name } from '../../base/ids.js';
import type { Disk } from '../disk.js';
import { check } from './check.js';
import { ASIDE, HANDLE_DIRECTORIES, handleDirectoryName, XATTR_GFID } from './layout.js';

const GFID_BYTES = 16;

/** Where a directory is. */
export interface Place {
  parent: Gfid;
  name: Name;
}

/** The value of XATTR_GFID. */
export function gfidBytes(gfid: Gfid): Buffer {
  return Buffer.from(gfid, 'hex');
}

function parsePlace(text: string): Place | undefined {
  const slash = text.indexOf('/');
  const parent = text.slice(0, slash);
  const name = text.slice(slash + 1);
  if (slash < 0 || nameProblem(name) !== undefined || !(isGfid(parent) || parent === ASIDE)) return undefined;
  return { parent, name };
}

export class Handles {
  readonly #disk: Disk;
  readonly #fds: number[] = [];

  constructor(disk: Disk, privateFd: number) {
    this.#disk = disk;
    const all = check(disk.openDirectory(privateFd, 'handles'), 'open handles');
    for (let i = 0; i < HANDLE_DIRECTORIES; i++) {
      this.#fds.push(check(disk.openDirectory(all, handleDirectoryName(i)), 'open handle directory'));
    }
    disk.close(all);
  }

  close(): void {
    for (const fd of this.#fds) this.#disk.close(fd);
  }

  /** Descriptor of the directory that holds the handle, whose name there is the gfid. EINVAL for '', which stands for no inode. */
  fd(gfid: Gfid): number {
    const fd = this.#fds[Number.parseInt(gfid.slice(0, 2), 16)];
    if (fd === undefined) throw new FsError(Errno.EINVAL, 'handle', 'no identity');
    return fd;
  }

  /** Identities of all inodes that have a handle. */
  *all(): Generator<Gfid> {
    for (const fd of this.#fds) {
      const names = this.#disk.list(fd);
      if (typeof names === 'number') throw new FsError(-names, 'list handles');
      for (const name of names) if (isGfid(name)) yield name;
    }
  }

  /** Where a directory's handle says that it is; undefined when it has none, or is no directory. */
  text(gfid: Gfid, suffix: '' | '.next'): Place | undefined {
    const text = this.#disk.readlinkAt(this.fd(gfid), gfid + suffix);
    if (typeof text === 'string') return parsePlace(text);
    if (text === -Errno.ENOENT || text === -Errno.EINVAL) return undefined;
    throw new FsError(-text, 'readlink');
  }

  /** Announces where a directory will be (`.next`), or makes the handle of a new one. */
  writeText(gfid: Gfid, place: Place, suffix: '' | '.next', op: string): void {
    const disk = this.#disk;
    const fd = this.fd(gfid);
    const text = `${place.parent}/${place.name}`;
    let result = disk.symlinkAt(text, fd, gfid + suffix);
    if (result === -Errno.EEXIST) {
      // Left over by a crash before the directory was where this says.
      check(disk.unlinkAt(fd, gfid + suffix), op);
      result = disk.symlinkAt(text, fd, gfid + suffix);
    }
    check(result, op);
  }

  /** The directory is where `.next` said. Should the disk refuse, it is still found there. */
  settleText(gfid: Gfid): void {
    const fd = this.fd(gfid);
    this.#disk.renameAt(fd, `${gfid}.next`, fd, gfid, 0);
  }

  remove(gfid: Gfid): number {
    return this.#disk.unlinkAt(this.fd(gfid), gfid);
  }

  /** The identity that an open inode carries. */
  gfidOf(fd: number): Gfid | undefined {
    return gfidFrom(this.#disk.getXattr(fd, XATTR_GFID));
  }

  /** The identity that a name leads to. */
  gfidAt(dir: number, name: string): Gfid | undefined {
    return gfidFrom(this.#disk.getXattrAt(dir, name, XATTR_GFID));
  }
}

function gfidFrom(value: Uint8Array | number): Gfid | undefined {
  if (typeof value !== 'number') {
    if (value.byteLength !== GFID_BYTES) return undefined;
    return Buffer.from(value.buffer, value.byteOffset, GFID_BYTES).toString('hex');
  }
  if (value === -Errno.ENODATA || value === -Errno.ENOENT || value === -Errno.EOPNOTSUPP) return undefined;
  throw new FsError(-value, 'getxattr');
}
