/**
 * Room that the brick keeps for itself on its disk. When the disk is full to the last block, its own small files could not be written any more: the brick could promise no epoch and take no
 * part in any view, so that a full volume would fall silent instead of answering ENOSPC. Then the ballast is let go, and taken again when there is room.
 */
import { Errno, FsError } from '../../base/errno.js';
import { O_CREAT, O_RDWR, type Disk } from '../disk.js';
import { BALLAST_NAME } from './layout.js';

const BALLAST_BYTES = 2 << 20;
/** It is taken where there is so much. */
const AMPLE_BYTES = 32 << 20;
const FILE_MODE = 0o600;

export class Ballast {
  readonly #disk: Disk;
  readonly #dir: number;
  #held = false;

  /** `dir` stays the caller's. */
  constructor(disk: Disk, dir: number) {
    this.#disk = disk;
    this.#dir = dir;
    this.take();
  }

  /** Takes it, where it is not there and there is room. */
  take(): void {
    if (this.#held) return;
    const space = this.#disk.space(this.#dir);
    if (typeof space === 'number' || space.blocksAvailable * space.blockSize < AMPLE_BYTES) return;
    const fd = this.#disk.openFile(this.#dir, BALLAST_NAME, O_CREAT | O_RDWR, FILE_MODE);
    if (fd < 0) return;
    this.#held = this.#disk.allocate(fd, 0, 0, BALLAST_BYTES) === 0;
    this.#disk.close(fd);
  }

  /** Does the work, once more without the ballast when the disk is full. */
  with<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof FsError) || error.errno !== Errno.ENOSPC || !this.#letGo()) throw error;
      return work();
    }
  }

  /** False when there is none. */
  #letGo(): boolean {
    this.#held = false;
    return this.#disk.unlinkAt(this.#dir, BALLAST_NAME) === 0;
  }
}
