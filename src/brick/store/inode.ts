import type { Gfid } from '../../base/ids.js';
import type { Time } from '../../base/time.js';
import type { Attr } from '../../fops/fields.js';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../fops/ops.js';
import type { DiskStat } from '../disk.js';

/** Sizes of directories differ between disks and with their history: every brick shows the same. */
const DIRECTORY_BYTES = 4096;
const DIRECTORY_BLOCKS = 8;

/** What the store knows of an inode. Times are newer than the disk's while `pending`. */
export class Inode {
  readonly gfid: Gfid;
  /** Inode number on the disk. */
  number: number;
  mode: number;
  /** Names in the tree: the handle does not count. For directories as the disk has it. */
  nlink: number;
  uid: number;
  gid: number;
  rdev: number;
  size: number;
  blocks: number;
  atime: Time;
  mtime: Time;
  ctime: Time;
  /** The disk has XATTR_CTIME for this inode. */
  ctimeStored: boolean;
  /** Times have to be written to the disk. */
  pending = false;
  /** `blocks` of a file, `nlink` of a directory: the disk changes it with the data or the entries, and knows better. */
  volatile = false;
  /** Of a symbolic link, once it was read. */
  target: string | undefined = undefined;

  constructor(gfid: Gfid, stat: DiskStat, ctime: Time | undefined) {
    this.gfid = gfid;
    this.number = stat.inode;
    this.mode = stat.mode;
    this.uid = stat.uid;
    this.gid = stat.gid;
    this.rdev = stat.rdev;
    this.size = stat.size;
    this.blocks = stat.blocks;
    this.nlink = stat.nlink;
    if ((stat.mode & S_IFMT) === S_IFDIR) {
      this.size = DIRECTORY_BYTES;
      this.blocks = DIRECTORY_BLOCKS;
    } else this.nlink--;
    this.atime = { sec: stat.atimeSec, nsec: stat.atimeNsec };
    this.mtime = { sec: stat.mtimeSec, nsec: stat.mtimeNsec };
    this.ctime = ctime ?? this.mtime;
    this.ctimeStored = ctime !== undefined;
  }

  get type(): number {
    return this.mode & S_IFMT;
  }

  get isDirectory(): boolean {
    return (this.mode & S_IFMT) === S_IFDIR;
  }

  get isRegular(): boolean {
    return (this.mode & S_IFMT) === S_IFREG;
  }

  get isSymlink(): boolean {
    return (this.mode & S_IFMT) === S_IFLNK;
  }

  attr(): Attr {
    return {
      gfid: this.gfid,
      mode: this.mode,
      nlink: this.nlink,
      uid: this.uid,
      gid: this.gid,
      rdev: this.rdev,
      size: this.size,
      blocks: this.blocks,
      atime: this.atime,
      mtime: this.mtime,
      ctime: this.ctime,
    };
  }
}
