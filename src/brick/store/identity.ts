/**
 * Making a directory a brick, and telling whether a directory is the brick that it should be. A brick that is not what the volume
 * expects never serves: an unmounted disk or another volume's data would otherwise be taken for the truth.
 */
import { Errno, FsError } from '../../base/errno.js';
import { ROOT_GFID } from '../../base/ids.js';
import type { Time } from '../../base/time.js';
import type { BrickMeta } from '../../replica/store.js';
import { DiskStat, O_CREAT, O_RDONLY, type Disk } from '../disk.js';
import {
  FORMAT_VERSION,
  HANDLE_DIRECTORIES,
  handleDirectoryName,
  LOCK_NAME,
  META_NAME,
  PRIVATE_DIRECTORIES,
  PRIVATE_NAME,
  XATTR_GFID,
  XATTR_VOLUME,
} from './layout.js';
import { DirectoryJournal, readMeta, writeMeta } from './meta.js';
import { DirectoryStore } from './store.js';
import { check } from './check.js';
import { gfidBytes } from './handles.js';
import { Tree, TREE_LIMITS, type TreeLimits } from './tree.js';

export type BrickProblem =
  | 'missing'
  | 'not a directory'
  | 'empty'
  | 'not empty'
  | 'other volume'
  | 'other brick'
  | 'no xattrs'
  | 'format'
  | 'damaged'
  | 'in use';

/** A directory that cannot be served as the brick it should be. The message is for people and says what to do. */
export class BrickError extends Error {
  readonly problem: BrickProblem;

  constructor(problem: BrickProblem, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'BrickError';
    this.problem = problem;
  }
}

/** What a new brick is told; the rest of its meta starts at zero. */
export interface BrickIdentity extends Pick<BrickMeta, 'volumeId' | 'brickId' | 'bootId'> {
  /** Times of the empty root, the same on every brick: when the volume was created. The epoch when absent. */
  created?: Time;
  /** It takes the place of another brick of a volume that is in use: it holds nothing of it yet, and is compared as a whole. */
  incomplete?: boolean;
}

const PRIVATE_MODE = 0o700;
const ROOT_MODE = 0o755;
/** mkfs puts it into the root of ext4. */
const IGNORED_NAMES = new Set(['lost+found']);
const XATTR_PROBE = 'trusted.gluon.probe';

function openRoot(disk: Disk, path: string): number {
  const fd = disk.openRoot(path);
  if (fd === -Errno.ENOENT) throw new BrickError('missing', `${path}: no such directory; is its disk mounted?`);
  if (fd === -Errno.ENOTDIR) throw new BrickError('not a directory', `${path}: not a directory`);
  return check(fd, `open ${path}`);
}

function volumeOf(disk: Disk, root: number, path: string): string | undefined {
  const value = disk.getXattr(root, XATTR_VOLUME);
  if (typeof value !== 'number') return Buffer.from(value).toString('latin1');
  if (value === -Errno.ENODATA) return undefined;
  if (value === -Errno.EOPNOTSUPP || value === -Errno.EPERM) throw noXattrs(path);
  throw new FsError(-value, 'getxattr');
}

function noXattrs(path: string): BrickError {
  return new BrickError(
    'no xattrs',
    `${path}: the filesystem does not keep trusted extended attributes; use ext4, XFS or btrfs, as root`,
  );
}

function privateDirectory(disk: Disk, root: number): number {
  const fd = disk.openDirectory(root, PRIVATE_NAME);
  return fd === -Errno.ENOENT ? -1 : check(fd, `open ${PRIVATE_NAME}`);
}

/**
 * Makes an existing directory the brick of a volume: creates .gluon and marks the root. Durable on return. Does nothing when it is that
 * brick already. Refuses a directory of another volume or brick, and one that holds other files unless `force` (they stay where they
 * are, invisible to the volume).
 */
export function initialiseBrick(
  disk: Disk,
  path: string,
  identity: BrickIdentity,
  options: { force?: boolean } = {},
): void {
  const root = openRoot(disk, path);
  try {
    if (disk.setXattr(root, XATTR_PROBE, Buffer.from('1'), 0) < 0) throw noXattrs(path);
    disk.removeXattr(root, XATTR_PROBE);
    if (isBrickAlready(disk, root, path, identity)) return;
    refuseContents(disk, root, path, options.force === true);
    makeLayout(disk, root);
    const privateFd = check(disk.openDirectory(root, PRIVATE_NAME), 'open .gluon');
    try {
      const { volumeId, brickId, bootId } = identity;
      writeMeta(disk, privateFd, {
        formatVersion: FORMAT_VERSION,
        volumeId,
        brickId,
        bootId,
        checkpoint: 0,
        base: 0,
        sealedEpoch: 0,
        incomplete: identity.incomplete === true,
        unsettled: false,
      });
    } finally {
      disk.close(privateFd);
    }
    check(disk.setXattr(root, XATTR_GFID, gfidBytes(ROOT_GFID), 0), 'setxattr');
    // All bricks of a new volume are equal: so are their roots.
    const created = identity.created ?? { sec: 0, nsec: 0 };
    check(disk.chown(root, 0, 0), 'chown');
    check(disk.chmod(root, ROOT_MODE), 'chmod');
    check(disk.setTimes(root, created, created), 'utimens');
    // The last step: without it the directory is not a brick, and this can be done again.
    check(disk.setXattr(root, XATTR_VOLUME, Buffer.from(identity.volumeId, 'latin1'), 0), 'setxattr');
    check(disk.sync(root), 'fsync');
  } finally {
    disk.close(root);
  }
}

function isBrickAlready(disk: Disk, root: number, path: string, identity: BrickIdentity): boolean {
  const volume = volumeOf(disk, root, path);
  if (volume !== undefined && volume !== identity.volumeId) {
    throw new BrickError(
      'other volume',
      `${path}: already part of volume ${volume}; choose another directory, or remove ${PRIVATE_NAME} and its xattr ${XATTR_VOLUME}`,
    );
  }
  const privateFd = privateDirectory(disk, root);
  if (privateFd < 0) return false;
  try {
    const meta = readMeta(disk, privateFd);
    if (meta === undefined) return false;
    if (meta.volumeId !== identity.volumeId) {
      throw new BrickError(
        'other volume',
        `${path}: already part of volume ${meta.volumeId}; choose another directory, or remove ${PRIVATE_NAME}`,
      );
    }
    if (meta.brickId !== identity.brickId) {
      throw new BrickError(
        'other brick',
        `${path}: already brick ${meta.brickId} of this volume; choose another directory`,
      );
    }
    return volume === identity.volumeId;
  } finally {
    disk.close(privateFd);
  }
}

function refuseContents(disk: Disk, root: number, path: string, force: boolean): void {
  const names = disk.list(root);
  if (typeof names === 'number') throw new FsError(-names, `list ${path}`);
  const others = names.filter((name) => name !== PRIVATE_NAME && !IGNORED_NAMES.has(name));
  if (others.length === 0 || force) return;
  throw new BrickError(
    'not empty',
    `${path}: holds ${others.length} other files or directories, which the volume would not show; choose an empty directory`,
  );
}

function makeLayout(disk: Disk, root: number): void {
  const made: number[] = [];
  const make = (dir: number, name: string): number => {
    const result = disk.mkdirAt(dir, name, PRIVATE_MODE);
    if (result !== -Errno.EEXIST) check(result, `mkdir ${name}`);
    const fd = check(disk.openDirectory(dir, name), `open ${name}`);
    made.push(fd);
    return fd;
  };
  try {
    const privateFd = make(root, PRIVATE_NAME);
    for (const name of PRIVATE_DIRECTORIES) make(privateFd, name);
    const handles = make(privateFd, 'handles');
    for (let i = 0; i < HANDLE_DIRECTORIES; i++) make(handles, handleDirectoryName(i));
    for (const fd of made.toReversed()) check(disk.sync(fd), 'fsync');
  } finally {
    for (const fd of made) disk.close(fd);
  }
}

/** A brick that is open: its store, its journal, and the lock that keeps other processes out. */
export class OpenBrick {
  readonly store: DirectoryStore;
  readonly journal: DirectoryJournal;
  readonly #disk: Disk;
  readonly #path: string;
  readonly #rootFd: number;
  readonly #privateFd: number;
  readonly #lockFd: number;
  /** When the meta file was written last before it was opened, seconds of the disk's clock: a sign of life from before a power loss. */
  readonly metaWrittenSec: number;
  readonly #stat = new DiskStat();

  constructor(disk: Disk, path: string, rootFd: number, privateFd: number, lockFd: number, limits: TreeLimits) {
    this.#disk = disk;
    this.#path = path;
    this.#rootFd = rootFd;
    this.#privateFd = privateFd;
    this.#lockFd = lockFd;
    this.metaWrittenSec = disk.statAt(privateFd, META_NAME, this.#stat) === 0 ? this.#stat.mtimeSec : 0;
    this.journal = new DirectoryJournal(disk, privateFd);
    this.store = new DirectoryStore(new Tree(disk, rootFd, privateFd, limits));
  }

  /** What is wrong with the brick's directory, by its path; undefined while it is the one that was opened. Three system calls. */
  checkPresence(): string | undefined {
    const disk = this.#disk;
    const stat = this.#stat;
    if (disk.stat(this.#rootFd, stat) < 0) return `${this.#path}: the directory cannot be read any more`;
    const { inode, device } = stat;
    if (disk.statPath(this.#path, stat) < 0) return `${this.#path}: the directory is gone`;
    if (stat.inode !== inode || stat.device !== device)
      return `${this.#path}: another directory is there now; was a disk mounted or unmounted?`;
    if (disk.statAt(this.#privateFd, META_NAME, stat) < 0) return `${this.#path}: ${PRIVATE_NAME}/${META_NAME} is gone`;
    return undefined;
  }

  /** Writes what waits in memory and gives the brick free. */
  close(): void {
    this.journal.close();
    this.store.close();
    this.#disk.close(this.#lockFd);
  }
}

/**
 * Descriptors of a directory that is that brick of that volume, and of its private directory; the caller closes them. Throws BrickError where it is anything else. Takes no
 * lock: another process may serve it.
 */
export function openIdentified(disk: Disk, path: string, volumeId: string, brickId: string): { rootFd: number; privateFd: number } {
  const rootFd = openRoot(disk, path);
  const opened = [rootFd];
  try {
    const volume = volumeOf(disk, rootFd, path);
    const privateFd = privateDirectory(disk, rootFd);
    if (privateFd >= 0) opened.push(privateFd);
    const meta = privateFd < 0 ? undefined : metaOf(disk, privateFd, path);
    if (meta === undefined) {
      if (volume !== undefined)
        throw new BrickError(
          'damaged',
          `${path}: marked as a brick of volume ${volume}, but ${PRIVATE_NAME}/${META_NAME} is gone; replace the brick`,
        );
      throw new BrickError(
        'empty',
        `${path}: holds no brick (there is no ${PRIVATE_NAME}); the disk may not be mounted`,
      );
    }
    checkIdentity(path, meta, volume, volumeId, brickId);
    return { rootFd, privateFd };
  } catch (error) {
    for (const fd of opened) disk.close(fd);
    throw error;
  }
}

/**
 * Opens the brick at `path`, if it is brick `brickId` of volume `volumeId`. Throws BrickError, with what to do, when it is not; FsError when
 * the disk fails.
 */
export function openBrick(
  disk: Disk,
  path: string,
  volumeId: string,
  brickId: string,
  limits: TreeLimits = TREE_LIMITS,
): OpenBrick {
  const { rootFd, privateFd } = openIdentified(disk, path, volumeId, brickId);
  const opened = [rootFd, privateFd];
  try {
    const lockFd = check(disk.openFile(privateFd, LOCK_NAME, O_CREAT | O_RDONLY, 0o600), 'open lock');
    opened.push(lockFd);
    if (disk.lock(lockFd) === -Errno.EAGAIN)
      throw new BrickError('in use', `${path}: another process serves this brick`);
    return new OpenBrick(disk, path, rootFd, privateFd, lockFd, limits);
  } catch (error) {
    for (const fd of opened) disk.close(fd);
    throw error;
  }
}

function metaOf(disk: Disk, privateFd: number, path: string): BrickMeta | undefined {
  try {
    return readMeta(disk, privateFd);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BrickError('damaged', `${path}: ${reason}; replace the brick`, { cause });
  }
}

function checkIdentity(
  path: string,
  meta: BrickMeta,
  volume: string | undefined,
  volumeId: string,
  brickId: string,
): void {
  if (meta.formatVersion !== FORMAT_VERSION) {
    throw new BrickError(
      'format',
      `${path}: written in format ${meta.formatVersion}, this gluon reads format ${FORMAT_VERSION}; use the version that wrote it`,
    );
  }
  if (meta.volumeId !== volumeId || (volume !== undefined && volume !== volumeId)) {
    const other = meta.volumeId !== volumeId ? meta.volumeId : volume;
    throw new BrickError(
      'other volume',
      `${path}: belongs to volume ${other}, not to ${volumeId}; is the right disk mounted?`,
    );
  }
  if (meta.brickId !== brickId) {
    throw new BrickError(
      'other brick',
      `${path}: is brick ${meta.brickId} of the volume, not ${brickId}; is the right disk mounted?`,
    );
  }
  if (volume === undefined) {
    throw new BrickError(
      'no xattrs',
      `${path}: its extended attributes are gone (a copy made without them?); replace the brick`,
    );
  }
}
