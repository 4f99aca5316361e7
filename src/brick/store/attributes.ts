/** Mode, owner, size and times. */
import { Errno, FsError } from '../../base/errno.js';
import { S_IFMT, type Args, type Result } from '../../fops/ops.js';
import type { Stamp } from '../../replica/store.js';
import { withoutPrivileges, type Data } from './data.js';
import type { Inode } from './inode.js';
import { check } from './check.js';
import type { Tree } from './tree.js';

const MODE_BITS = 0o7777;
const SET_ID_BITS = 0o6000;

export class Attributes {
  readonly #tree: Tree;
  readonly #data: Data;

  constructor(tree: Tree, data: Data) {
    this.#tree = tree;
    this.#data = data;
  }

  setattr(args: Args<'setattr'>, stamp: Stamp): Result<'setattr'> {
    const tree = this.#tree;
    const inode = tree.inode(args.gfid, 'setattr');
    let mode = args.mode === undefined ? inode.mode : (args.mode & MODE_BITS) | inode.type;
    if (args.mode !== undefined && inode.isSymlink)
      throw new FsError(Errno.EOPNOTSUPP, 'setattr', 'a symbolic link has no mode');
    if (args.killPriv && !inode.isDirectory) mode = withoutPrivileges(mode);
    if (args.size !== undefined) {
      if (!inode.isRegular)
        throw new FsError(inode.isDirectory ? Errno.EISDIR : Errno.EINVAL, 'setattr', 'has no size');
      // First what a disk may refuse.
      this.#data.resize(inode, args.size, 'setattr');
      inode.mtime = stamp.time;
    }
    if (args.uid !== undefined || args.gid !== undefined)
      this.setOwner(inode, args.uid ?? inode.uid, args.gid ?? inode.gid, mode);
    if (mode !== inode.mode) this.setMode(inode, mode);
    if (args.atimeNow) inode.atime = stamp.time;
    else if (args.atime !== undefined) inode.atime = args.atime;
    if (args.mtimeNow) inode.mtime = stamp.time;
    else if (args.mtime !== undefined) inode.mtime = args.mtime;
    inode.ctime = stamp.time;
    tree.touched(inode);
    return { attr: tree.refresh(inode).attr() };
  }

  /** The mode that `wanted` has too is not lost by the change of owner. */
  setOwner(inode: Inode, uid: number, gid: number, wanted: number): void {
    if (uid === inode.uid && gid === inode.gid) return;
    const tree = this.#tree;
    const { disk } = tree;
    if (inode.isDirectory) check(disk.chown(tree.directoryFd(inode.gfid, 'chown'), uid, gid), 'chown');
    else check(disk.chownAt(tree.handles.fd(inode.gfid), inode.gfid, uid, gid), 'chown');
    inode.uid = uid;
    inode.gid = gid;
    // The kernel took the set-id bits away.
    if (!inode.isDirectory && !inode.isSymlink && (inode.mode & wanted & SET_ID_BITS) !== 0)
      this.setMode(inode, inode.mode);
  }

  setMode(inode: Inode, mode: number): void {
    if (inode.isSymlink) return;
    const tree = this.#tree;
    const { disk } = tree;
    const bits = mode & MODE_BITS;
    if (inode.isDirectory) check(disk.chmod(tree.directoryFd(inode.gfid, 'chmod'), bits), 'chmod');
    else check(disk.chmodAt(tree.handles.fd(inode.gfid), inode.gfid, bits), 'chmod');
    inode.mode = (inode.mode & S_IFMT) | bits;
  }
}
