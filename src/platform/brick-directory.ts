/** The directories of bricks on this node: what `volume create` checks and makes, and what `volume status detail` tells. */
import { existsSync, readFileSync, realpathSync, rmdirSync, rmSync, statfsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makeDirectories } from './make-directories.js';
import { BrickError, initialiseBrick, openBrick } from '../brick/store/identity.js';
import { PRIVATE_NAME, XATTR_GFID, XATTR_VOLUME } from '../brick/store/layout.js';
import type { BrickPlace } from '../cluster/node-service.js';
import { Refused } from '../cluster/refused.js';
import type { BrickDiskMessage } from '../wire/management.js';
import { bootId } from './boot-id.js';
import { LibcDisk } from './libc.js';

/** A directory within a brick of another volume, or with one below its parents, is not seen by comparing names alone. */
function brickAbove(path: string): string | undefined {
  for (let parent = dirname(path); parent !== '/'; parent = dirname(parent))
    if (existsSync(join(parent, PRIVATE_NAME, 'brick.json'))) return parent;
  return undefined;
}

/** Makes the directory a brick. Refused with the reason; `force` allows the root filesystem, a mount point and missing parents. */
export function prepareBrick(place: BrickPlace & { force: boolean; incomplete?: boolean }): { created: boolean } {
  const { path, force } = place;
  const present = statSync(path, { throwIfNoEntry: false });
  if (present !== undefined && !present.isDirectory()) throw new Refused(`${path} is not a directory`, 20);
  const parent = statSync(dirname(path), { throwIfNoEntry: false });
  if (parent === undefined && !force)
    throw new Refused(
      `${dirname(path)} does not exist on this node: mount the brick's disk there, or add 'force' to make the directories`,
    );
  const above = brickAbove(present === undefined ? path : realpathSync(path));
  if (above !== undefined) throw new Refused(`${path} lies in the brick ${above}: choose a directory outside of it`);
  if (!force) checkPlace(path, present?.dev, parent?.dev);
  if (present === undefined) {
    try {
      makeDirectories(path, 0o755);
    } catch (cause) {
      throw new Refused(`${path} cannot be made on this node: ${(cause as Error).message}`, 22, { cause });
    }
  }
  try {
    initialiseBrick(
      new LibcDisk(),
      path,
      { volumeId: place.volume, brickId: place.brick, bootId: bootId(), incomplete: place.incomplete === true },
      { force },
    );
  } catch (error) {
    if (present === undefined) rmSync(path, { recursive: true, force: true });
    if (error instanceof BrickError) throw new Refused(error.message, 22, { cause: error });
    throw error;
  }
  return { created: present === undefined };
}

function checkPlace(path: string, device: number | undefined, parentDevice: number | undefined): void {
  const root = statSync('/').dev;
  if ((device ?? parentDevice) === root) {
    throw new Refused(
      `${path} is on the root filesystem, which a full brick would stop: use a disk of its own, or add 'force'`,
    );
  }
  if (device !== undefined && device !== parentDevice) {
    throw new Refused(
      `${path} is a mount point: if its disk is not mounted one day, the empty directory below would be taken for it. Use a directory on that disk, or add 'force'`,
    );
  }
}

/** Undoes prepareBrick for a volume that never was. */
export function unprepareBrick(place: BrickPlace & { created: boolean }): void {
  const { path } = place;
  const meta = join(path, PRIVATE_NAME, 'brick.json');
  if (!existsSync(meta) || !readFileSync(meta, 'utf8').includes(place.brick)) return;
  const disk = new LibcDisk();
  const root = disk.openRoot(path);
  if (root < 0) return;
  disk.removeXattr(root, XATTR_VOLUME);
  disk.removeXattr(root, XATTR_GFID);
  disk.close(root);
  rmSync(join(path, PRIVATE_NAME), { recursive: true, force: true });
  if (place.created) rmdirSync(path);
}

/** Refused when the directory is not this brick. A brick that is served at the moment is one. */
export function checkBrick(place: BrickPlace): void {
  try {
    openBrick(new LibcDisk(), place.path, place.volume, place.brick).close();
  } catch (error) {
    if (!(error instanceof BrickError)) throw error;
    if (error.problem !== 'in use') throw new Refused(error.message, 22, { cause: error });
  }
}

interface Mount {
  point: string;
  type: string;
  device: string;
  options: string;
}

function unescape(text: string): string {
  return text.replaceAll(/\\(\d{3})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)));
}

/** The mount that holds a path: the last one of the longest mount points. */
function mountOf(path: string): Mount | undefined {
  let found: Mount | undefined;
  for (const line of readFileSync('/proc/self/mounts', 'utf8').split('\n')) {
    const [device = '', rawPoint = '', type = '', options = ''] = line.split(' ');
    const point = unescape(rawPoint);
    if (point === '' || !(point === '/' || path === point || path.startsWith(`${point}/`))) continue;
    if (found === undefined || point.length >= found.point.length)
      found = { point, type, device: unescape(device), options };
  }
  return found;
}

/** Undefined when the directory cannot be read. */
export function diskOf(path: string): BrickDiskMessage | undefined {
  try {
    const stat = statfsSync(path);
    const mount = mountOf(realpathSync(path));
    return {
      fileSystem: mount?.type ?? '',
      device: mount?.device ?? '',
      mountOptions: mount?.options ?? '',
      inodeSize: 0,
      bytesFree: stat.bavail * stat.bsize,
      bytesTotal: stat.blocks * stat.bsize,
      blockBytes: stat.bsize,
      inodesTotal: stat.files,
      inodesFree: stat.ffree,
    };
  } catch {
    return undefined;
  }
}
