/**
 * What a mutation needs before it may be carried out: the locks that order it and the journal keys it touches. Computed from the state of the
 * store; when the locks had to be waited for, the plan is made again and must come out the same.
 */
import { Errno, FsError } from '../base/errno.js';
import type { Gfid, Name } from '../base/ids.js';
import type { HeldLock } from '../fops/held-lock.js';
import { isDirectory, RENAME_EXCHANGE, S_IFDIR, type Args, type OpName } from '../fops/ops.js';
import { LOCK_NONE } from './file-locks.js';
import { exclusiveLock, Mode, rangeLock, readLock, type Lock } from './inode-locks.js';
import { addRegionKeys, inodeKey, nameKey, type Key, writeKeys } from './keys.js';
import type { Child, Store } from './store.js';

export interface Plan {
  locks: Lock[];
  keys: Key[];
  /** A new inode comes into being: the primary chooses its gfid. */
  creates: boolean;
  /** The inode that may lose its last name. */
  unlinks: Gfid | '';
  /** `create` of a name that exists: the inode to open instead. */
  existing: Gfid | '';
}

/** Orders renames of directories against each other, so that no two of them together make a circle. */
const RENAME_LOCK: Gfid = 'rename';

/** Orders lock operations on one inode; apart from its other operations. */
export function fileLockLock(gfid: Gfid): Lock {
  return exclusiveLock(`L${gfid}`);
}

function planLocks(gfid: Gfid, locks: readonly HeldLock[]): Plan {
  return plan([{ ...fileLockLock(gfid), letsGo: locks.every(({ type }) => type === LOCK_NONE) }], []);
}

function plan(locks: Lock[], keys: Key[]): Plan {
  return { locks, keys, creates: false, unlinks: '', existing: '' };
}

function needChild(store: Store, parent: Gfid, name: Name, op: OpName): Child {
  const child = store.child(parent, name);
  if (child === undefined) throw new FsError(Errno.ENOENT, op);
  return child;
}

function planNew(store: Store, parent: Gfid, name: Name, op: OpName): Plan {
  if (store.child(parent, name) !== undefined) throw new FsError(Errno.EEXIST, op);
  return { ...plan([exclusiveLock(parent)], [nameKey(parent, name), inodeKey(parent)]), creates: true };
}

function planCreate(store: Store, args: Args<'create'>): Plan {
  const child = store.child(args.parent, args.name);
  if (child === undefined) return planNew(store, args.parent, args.name, 'create');
  if (args.exclusive) throw new FsError(Errno.EEXIST, 'create');
  if (child.type === S_IFDIR) throw new FsError(Errno.EISDIR, 'create');
  const open = planOpen(store, { gfid: child.gfid, truncate: args.truncate, killPriv: args.truncate });
  return { ...open, locks: [readLock(args.parent), ...open.locks], existing: child.gfid };
}

function planOpen(store: Store, args: Args<'open'>): Plan {
  if (!args.truncate) return plan([readLock(args.gfid)], []);
  return planSize(store, args.gfid, 0);
}

/** A change of size touches every region between the old and the new end. */
function planSize(store: Store, gfid: Gfid, size: number): Plan {
  const keys = [inodeKey(gfid)];
  const before = store.getattr(gfid).size;
  if (size < before) addRegionKeys(keys, gfid, size, before);
  return plan([exclusiveLock(gfid)], keys);
}

function planUnlink(store: Store, args: Args<'unlink'>, op: 'unlink' | 'rmdir'): Plan {
  const child = needChild(store, args.parent, args.name, op);
  return {
    ...plan(
      [exclusiveLock(args.parent), exclusiveLock(child.gfid)],
      [nameKey(args.parent, args.name), inodeKey(args.parent), inodeKey(child.gfid)],
    ),
    unlinks: child.gfid,
  };
}

function planRename(store: Store, args: Args<'rename'>): Plan {
  const child = needChild(store, args.parent, args.name, 'rename');
  const target = store.child(args.newParent, args.newName);
  const inodes = new Set([args.parent, args.newParent, child.gfid]);
  if (target !== undefined) inodes.add(target.gfid);
  const locks = [...inodes].map(exclusiveLock);
  const movesDirectory = child.type === S_IFDIR || target?.type === S_IFDIR;
  if (movesDirectory && args.parent !== args.newParent) locks.push(exclusiveLock(RENAME_LOCK));
  const keys = [nameKey(args.parent, args.name), nameKey(args.newParent, args.newName), ...[...inodes].map(inodeKey)];
  const replaced = target !== undefined && (args.flags & RENAME_EXCHANGE) === 0 ? target.gfid : '';
  return { ...plan(locks, keys), unlinks: replaced === child.gfid ? '' : replaced };
}

function planWrite(args: Args<'write'>): Plan {
  if (args.append) return plan([rangeLock(args.gfid, Mode.Write, 0, Number.MAX_SAFE_INTEGER)], []);
  return plan([rangeLock(args.gfid, Mode.Write, args.offset, args.offset + args.data.byteLength)], writeKeys(args.gfid, args.offset, args.data.byteLength));
}

function planCopy(store: Store, args: Args<'copyFileRange'>): Plan {
  const keys = [inodeKey(args.target)];
  addRegionKeys(keys, args.target, Math.min(args.targetOffset, store.getattr(args.target).size), args.targetOffset + args.length);
  const locks = [exclusiveLock(args.target)];
  if (args.source !== args.target) locks.push(rangeLock(args.source, Mode.DataRead, args.sourceOffset, args.sourceOffset + args.length));
  return plan(locks, keys);
}

function planFallocate(args: Args<'fallocate'>): Plan {
  const keys = [inodeKey(args.gfid)];
  addRegionKeys(keys, args.gfid, args.offset, args.offset + args.length);
  return plan([exclusiveLock(args.gfid)], keys);
}

/** False for what is no lock on this inode. */
export function isSoundLock(lock: HeldLock, gfid: Gfid): boolean {
  return lock.kind <= 1 && lock.type <= 2 && lock.start <= lock.end && lock.gfid === gfid;
}

/** Throws FsError where the outcome is plain from the names alone. */
export function planMutation(store: Store, op: OpName, args: unknown): Plan {
  switch (op) {
    case 'setattr': {
      const a = args as Args<'setattr'>;
      return a.size === undefined ? plan([exclusiveLock(a.gfid)], [inodeKey(a.gfid)]) : planSize(store, a.gfid, a.size);
    }
    case 'symlink':
    case 'mknod':
    case 'mkdir': {
      const a = args as Args<'mkdir'>;
      return planNew(store, a.parent, a.name, op);
    }
    case 'create':
      return planCreate(store, args as Args<'create'>);
    case 'tmpfile': {
      const { parent } = args as Args<'tmpfile'>;
      if (!isDirectory(store.getattr(parent).mode)) throw new FsError(Errno.ENOTDIR, op);
      return { ...plan([readLock(parent)], []), creates: true };
    }
    case 'unlink':
    case 'rmdir':
      return planUnlink(store, args as Args<'unlink'>, op);
    case 'rename':
      return planRename(store, args as Args<'rename'>);
    case 'link': {
      const a = args as Args<'link'>;
      if (store.child(a.newParent, a.newName) !== undefined) throw new FsError(Errno.EEXIST, op);
      return plan(
        [exclusiveLock(a.newParent), exclusiveLock(a.gfid)],
        [nameKey(a.newParent, a.newName), inodeKey(a.newParent), inodeKey(a.gfid)],
      );
    }
    case 'open':
      return planOpen(store, args as Args<'open'>);
    case 'write':
      return planWrite(args as Args<'write'>);
    case 'setxattr':
    case 'removexattr': {
      const { gfid } = args as Args<'removexattr'>;
      return plan([exclusiveLock(gfid)], [inodeKey(gfid)]);
    }
    case 'fallocate':
      return planFallocate(args as Args<'fallocate'>);
    case 'copyFileRange':
      return planCopy(store, args as Args<'copyFileRange'>);
    case 'setLock': {
      const { gfid, granted } = args as Args<'setLock'>;
      const locks = granted ?? [args as Args<'setLock'>];
      if (!locks.every((lock) => isSoundLock(lock, gfid))) throw new FsError(Errno.EINVAL, op);
      return planLocks(gfid, locks);
    }
    case 'dropLocks':
      return planLocks((args as Args<'dropLocks'>).gfid, []);
    default:
      throw new FsError(Errno.EPROTO, op, 'not a mutation that is planned');
  }
}

/** True when two plans of one request need the same locks. */
export function sameLocks(a: Plan, b: Plan): boolean {
  return a.existing === b.existing && a.locks.length === b.locks.length && a.locks.every((lock, i) => lock.gfid === (b.locks[i] as Lock).gfid && lock.mode === (b.locks[i] as Lock).mode);
}
