/**
 * Making this copy equal to another one, key by key, in any order and as often as needed. What is in the way is put aside, never
 * deleted, until all keys are done: a directory may be needed by a key that comes later.
 */
import { Errno, FsError } from '../../base/errno.js';
import { isGfid, ROOT_GFID, type Gfid, type Name } from '../../base/ids.js';
import type { InodeState } from '../../fops/fields.js';
import { RENAME_NOREPLACE, S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT } from '../../fops/ops.js';
import type { Child } from '../../replica/store.js';
import type { Attributes } from './attributes.js';
import type { Data } from './data.js';
import type { Inode } from './inode.js';
import { ASIDE, XATTR_GFID } from './layout.js';
import type { Namespace } from './namespace.js';
import { check, checkNewName } from './check.js';
import { gfidBytes, type Place } from './handles.js';
import type { Tree } from './tree.js';
import type { Xattrs } from './xattrs.js';

const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;

export class Resync {
  readonly #tree: Tree;
  readonly #names: Namespace;
  readonly #data: Data;
  readonly #attributes: Attributes;
  readonly #xattrs: Xattrs;
  /** Names given to device nodes whose numbers are not known yet: `putInode` brings them. */
  readonly #devices = new Map<Gfid, Place[]>();

  constructor(tree: Tree, names: Namespace, data: Data, attributes: Attributes, xattrs: Xattrs) {
    this.#tree = tree;
    this.#names = names;
    this.#data = data;
    this.#attributes = attributes;
    this.#xattrs = xattrs;
  }

  child(parent: Gfid, name: Name): Child | undefined {
    const directory = this.#tree.find(parent);
    if (directory === undefined || !directory.isDirectory) return undefined;
    const inode = this.#tree.child(parent, name, 'child');
    return inode === undefined ? undefined : { gfid: inode.gfid, type: inode.type };
  }

  describe(gfid: Gfid, readlink: (inode: Inode) => string): InodeState | undefined {
    const inode = this.#tree.find(gfid);
    if (inode === undefined) return undefined;
    return {
      attr: this.#tree.refresh(inode).attr(),
      target: inode.isSymlink ? readlink(inode) : undefined,
      xattrs: this.#xattrs.all(inode),
    };
  }

  // --- names

  /** True when the inode was created. */
  place(parent: Gfid, name: Name, child: Child | undefined, target: string | undefined): boolean {
    checkNewName(parent, name, 'place');
    const tree = this.#tree;
    if (tree.findDirectory(parent) === undefined) throw new FsError(Errno.ENOENT, 'place', 'the parent does not exist');
    const present = tree.child(parent, name, 'place');
    if (present !== undefined && present.gfid === child?.gfid) return false;
    if (child?.gfid === parent || child?.gfid === ROOT_GFID) throw new FsError(Errno.EINVAL, 'place', 'no place for that directory');
    if (child?.type === S_IFDIR && this.#names.isWithin(parent, child.gfid)) {
      // The directory shall go below one that is below it now: that one waits aside for its own key.
      this.#setAside(parent);
      if (this.#names.isWithin(parent, child.gfid)) throw new FsError(Errno.EINVAL, 'place', 'no place for that directory');
      return this.place(parent, name, child, target);
    }
    if (present !== undefined) this.#vacate(parent, name, present);
    if (child === undefined) return false;
    const created =
      child.type === S_IFDIR
        ? this.#placeDirectory(parent, name, child.gfid)
        : this.#placeOther(parent, name, child, target);
    this.#entryChanged(parent);
    return created;
  }

  #vacate(parent: Gfid, name: Name, present: Inode): void {
    if (present.isDirectory) this.#setAside(present.gfid);
    else this.#names.removeName(present, parent, name, false, 'place');
    this.#entryChanged(parent);
  }

  /** The names changed, the times are those of a later `putInode`; what is in memory now must not be lost to the disk's own. */
  #entryChanged(parent: Gfid): void {
    const inode = this.#tree.find(parent);
    if (inode === undefined) return;
    inode.volatile = true;
    this.#tree.touched(inode);
  }

  #setAside(gfid: Gfid): void {
    const tree = this.#tree;
    const from = tree.directoryPlace(gfid);
    if (from === undefined) return;
    const dir = tree.directoryFd(from.parent, 'place');
    tree.handles.writeText(gfid, { parent: ASIDE, name: gfid }, '.next', 'place');
    check(tree.disk.renameAt(dir, from.name, tree.asideFd, gfid, RENAME_NOREPLACE), 'place');
    tree.handles.settleText(gfid);
    tree.nameRemoved(from.parent, from.name);
    this.#entryChanged(from.parent);
  }

  #placeDirectory(parent: Gfid, name: Name, gfid: Gfid): boolean {
    const tree = this.#tree;
    if (tree.findDirectory(gfid) === undefined) {
      tree.touched(this.#names.makeDirectory(parent, name, gfid, S_IFDIR | DIRECTORY_MODE, 0, 0, 'place'));
      return true;
    }
    const from = tree.directoryPlace(gfid);
    const fromDir = from === undefined ? tree.asideFd : tree.directoryFd(from.parent, 'place');
    tree.handles.writeText(gfid, { parent, name }, '.next', 'place');
    const toDir = tree.directoryFd(parent, 'place');
    const move = (): number => tree.disk.renameAt(fromDir, from?.name ?? gfid, toDir, name, RENAME_NOREPLACE);
    let result = move();
    if (result === -Errno.EEXIST) {
      tree.expelForeign(toDir, name, 'place');
      result = move();
    }
    check(result, 'place');
    tree.handles.settleText(gfid);
    if (from !== undefined) {
      tree.nameRemoved(from.parent, from.name);
      this.#entryChanged(from.parent);
    }
    tree.nameAdded(parent, name, gfid);
    return false;
  }

  #placeOther(parent: Gfid, name: Name, child: Child, target: string | undefined): boolean {
    const tree = this.#tree;
    const known = tree.find(child.gfid);
    if (known !== undefined) {
      if (known.isDirectory) throw new FsError(Errno.EISDIR, 'place', 'the inode is a directory here');
      this.#names.addName(known, parent, name, 'place');
    } else {
      const what = {
        mode: child.type | (child.type === S_IFLNK ? 0o777 : FILE_MODE),
        rdev: 0,
        target: target ?? '?',
        uid: 0,
        gid: 0,
      };
      tree.touched(this.#names.makeInode(parent, name, child.gfid, what, 'place'));
    }
    if (child.type === S_IFCHR || child.type === S_IFBLK) {
      const places = this.#devices.get(child.gfid);
      if (places === undefined) this.#devices.set(child.gfid, [{ parent, name }]);
      else places.push({ parent, name });
    }
    return known === undefined;
  }

  // --- inodes

  /** True when the inode was created. */
  putInode(state: InodeState): boolean {
    const { attr } = state;
    const tree = this.#tree;
    let inode = tree.find(attr.gfid);
    const type = attr.mode & S_IFMT;
    const created = inode === undefined;
    if (inode === undefined) {
      if (type === S_IFDIR) throw new FsError(Errno.ENOENT, 'putInode', 'the directory has no place yet');
      const what = { mode: attr.mode, rdev: attr.rdev, target: state.target ?? '?', uid: attr.uid, gid: attr.gid };
      inode = this.#names.makeUnnamed(attr.gfid, what, 'putInode');
    }
    if (inode.type !== type) throw new FsError(Errno.EIO, 'putInode', 'the inode has another type here');
    if ((type === S_IFCHR || type === S_IFBLK) && inode.rdev !== attr.rdev)
      inode = this.#replaceDevice(inode, attr.rdev);
    if (inode.isRegular && inode.size !== attr.size) this.#data.resize(inode, attr.size, 'putInode');
    this.#attributes.setOwner(inode, attr.uid, attr.gid, attr.mode);
    this.#putXattrs(inode, state.xattrs);
    if (inode.mode !== attr.mode) this.#attributes.setMode(inode, attr.mode);
    inode.atime = attr.atime;
    inode.mtime = attr.mtime;
    inode.ctime = attr.ctime;
    tree.touched(inode);
    return created;
  }

  #putXattrs(inode: Inode, wanted: [string, Uint8Array][]): void {
    const present = new Map(this.#xattrs.all(inode));
    for (const [name, value] of wanted) {
      const old = present.get(name);
      present.delete(name);
      if (old !== undefined && Buffer.from(old).equals(value)) continue;
      check(this.#xattrs.write(inode, name, value, 0), 'putInode');
    }
    for (const name of present.keys()) {
      const result = this.#xattrs.erase(inode, name);
      if (result !== -Errno.ENODATA) check(result, 'putInode');
    }
    if (wanted.length > 0 || present.size > 0) this.#xattrs.reloadMode(inode);
  }

  /** The number of a device node cannot be changed: another node takes its handle and the names that resync gave it. */
  #replaceDevice(inode: Inode, rdev: number): Inode {
    const tree = this.#tree;
    const { disk } = tree;
    const { gfid } = inode;
    const fd = tree.handles.fd(gfid);
    const made = `${gfid}.device`;
    disk.unlinkAt(fd, made);
    check(disk.mknodAt(fd, made, inode.mode, rdev), 'putInode');
    check(disk.setXattrAt(fd, made, XATTR_GFID, gfidBytes(gfid), 0), 'putInode');
    for (const { parent, name } of this.#devices.get(gfid) ?? []) {
      if (tree.child(parent, name, 'putInode')?.gfid !== gfid) continue;
      const spare = `${gfid}.name`;
      disk.unlinkAt(fd, spare);
      check(disk.linkAt(fd, made, fd, spare), 'putInode');
      check(disk.renameAt(fd, spare, tree.directoryFd(parent, 'putInode'), name, 0), 'putInode');
    }
    check(disk.renameAt(fd, made, fd, gfid, 0), 'putInode');
    this.#devices.delete(gfid);
    tree.dismiss(inode);
    return tree.inode(gfid, 'putInode');
  }

  forget(gfid: Gfid): void {
    const inode = this.#tree.find(gfid);
    if (inode !== undefined && !inode.isDirectory && inode.nlink === 0) this.remove(inode);
  }

  /** Removes an inode without a name. */
  remove(inode: Inode): void {
    const tree = this.#tree;
    tree.holdLarge(inode);
    const result = tree.handles.remove(inode.gfid);
    if (result !== -Errno.ENOENT) check(result, 'purge');
    tree.orphans.unmark(inode.gfid);
    tree.dismiss(inode);
  }

  // --- what is left

  asides(): Gfid[] {
    const names = this.#tree.disk.list(this.#tree.asideFd);
    if (typeof names === 'number') throw new FsError(-names, 'asides');
    return names.filter(isGfid);
  }

  /** Files below that lose their last name become orphans: an open one may still be needed. */
  clearAside(): void {
    const tree = this.#tree;
    this.#devices.clear();
    const names = tree.disk.list(tree.asideFd);
    if (typeof names === 'number') throw new FsError(-names, 'clearAside');
    for (const name of names) {
      const inode = isGfid(name) ? tree.find(name) : undefined;
      if (inode === undefined || !inode.isDirectory) tree.expelForeign(tree.asideFd, name, 'clearAside');
      else this.#removeTree(inode, tree.asideFd, name);
    }
  }

  /** Without recursion in the stack: a tree may be deeper than it. */
  #removeTree(top: Inode, dir: number, name: string): void {
    const tree = this.#tree;
    const path: { inode: Inode; parent: Gfid | undefined; name: Name }[] = [{ inode: top, parent: undefined, name }];
    while (path.length > 0) {
      const at = path[path.length - 1] as (typeof path)[0];
      const below = this.#removeFiles(at.inode.gfid);
      if (below !== undefined) {
        path.push(below);
        continue;
      }
      const parentFd = at.parent === undefined ? dir : tree.directoryFd(at.parent, 'clearAside');
      check(tree.disk.rmdirAt(parentFd, at.name), 'clearAside');
      if (at.parent !== undefined) tree.nameRemoved(at.parent, at.name);
      this.#names.directoryGone(at.inode);
      path.pop();
    }
  }

  /** Removes all names of non-directories; the first subdirectory, if there is one. */
  #removeFiles(gfid: Gfid): { inode: Inode; parent: Gfid; name: Name } | undefined {
    const tree = this.#tree;
    const names = tree.disk.list(tree.directoryFd(gfid, 'clearAside'));
    if (typeof names === 'number') throw new FsError(-names, 'clearAside');
    for (const name of names) {
      const inode = tree.child(gfid, name, 'clearAside');
      if (inode === undefined) tree.expelForeign(tree.directoryFd(gfid, 'clearAside'), name, 'clearAside');
      else if (inode.isDirectory) return { inode, parent: gfid, name };
      else this.#names.removeName(inode, gfid, name, false, 'clearAside');
    }
    return undefined;
  }
}
