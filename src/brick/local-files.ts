/** The files of a brick as another process on its node reads them: a client that knows by its lease that nobody changes them. */
import { Errno, FsError } from '../base/errno.js';
import type { Gfid } from '../base/ids.js';
import { O_RDONLY, type Disk } from './disk.js';
import { check } from './store/check.js';
import { Descriptors, type Descriptor } from './store/descriptors.js';
import { BrickError, openIdentified } from './store/identity.js';
import { handleDirectoryName } from './store/layout.js';
import { readMeta } from './store/meta.js';
import { isWhole } from '../replica/store.js';

const DESCRIPTORS_MAX = 512;
/** Larger reads go to the thread pool also when the page cache has them: copying so much takes longer than changing threads. */
const POOL_BYTES_MIN = 128 << 10;

export class LocalFiles {
  readonly #disk: Disk;
  readonly #handles: number;
  readonly #files: Descriptors;
  #closed = false;

  private constructor(disk: Disk, handles: number) {
    this.#disk = disk;
    this.#handles = handles;
    this.#files = new Descriptors(disk, DESCRIPTORS_MAX);
  }

  /**
   * Undefined, with a reason for the log, when the directory is not that brick, or holds a copy that cannot be equal: its machine lost power, and the primary that said so
   * has not heard of it yet.
   */
  static open(disk: Disk, path: string, volumeId: string, brickId: string, bootId: string, refused: (reason: string) => void): LocalFiles | undefined {
    try {
      const { rootFd, privateFd } = openIdentified(disk, path, volumeId, brickId);
      try {
        const meta = readMeta(disk, privateFd);
        if (meta === undefined || meta.bootId !== bootId || !isWhole(meta)) {
          refused('its copy is not whole since this machine was started');
          return undefined;
        }
        return new LocalFiles(disk, check(disk.openDirectory(privateFd, 'handles'), 'open handles'));
      } finally {
        disk.close(privateFd);
        disk.close(rootFd);
      }
    } catch (error) {
      if (!(error instanceof BrickError) && !(error instanceof FsError)) throw error;
      refused(error.message);
      return undefined;
    }
  }

  /** Exactly `size` bytes, or undefined: the disk refuses, or the file is shorter. */
  read(gfid: Gfid, offset: number, size: number): Uint8Array | Promise<Uint8Array | undefined> | undefined {
    const file = this.#closed ? undefined : this.#file(gfid);
    if (file === undefined) return undefined;
    const disk = this.#disk;
    const target = disk.takeBuffer(size);
    if (size >= POOL_BYTES_MIN) return this.#readRest(file, target, 0, offset);
    let have = Math.max(0, disk.readCached(file.fd, target, size, offset));
    if (have < size) have += Math.max(0, disk.readAlone(file.fd, target, have, size - have, offset + have));
    if (have === size) return target;
    return this.#readRest(file, target, have, offset);
  }

  #readRest(file: Descriptor, target: Buffer, have: number, offset: number): Promise<Uint8Array | undefined> {
    const size = target.byteLength;
    this.#files.pin(file);
    return new Promise((resolve) => {
      this.#disk.readInPool(file.fd, target, have, size - have, offset + have, (result) => {
        this.#files.unpin(file);
        if (have + result === size) resolve(target);
        else {
          this.#disk.giveBuffer(target);
          resolve(undefined);
        }
      });
    });
  }

  #file(gfid: Gfid): Descriptor | undefined {
    const known = this.#files.get(gfid);
    if (known !== undefined) return known;
    const name = `${handleDirectoryName(Number.parseInt(gfid.slice(0, 2), 16))}/${gfid}`;
    let fd = this.#disk.openFile(this.#handles, name, O_RDONLY, 0);
    if (fd === -Errno.EMFILE) {
      this.#files.halve();
      fd = this.#disk.openFile(this.#handles, name, O_RDONLY, 0);
    }
    return fd < 0 ? undefined : this.#files.add(gfid, fd, false);
  }

  /** Nothing of the brick's disk is open any more once reads under way have ended. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#files.clear();
    this.#disk.close(this.#handles);
  }
}
