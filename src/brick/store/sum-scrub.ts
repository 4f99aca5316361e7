/** What the scrubber does with one file, in steps that leave room for everything else. */
import { FsError } from '../../base/errno.js';
import type { Gfid } from '../../base/ids.js';
import type { Inode } from './inode.js';
import type { Build } from './sum-files.js';
import type { Sums } from './sums.js';
import type { Tree } from './tree.js';

/** One step reads this much. */
export const CHECK_BYTES = 256 << 10;

/** Not two steps at the same time. */
export class SumScrub {
  readonly #tree: Tree;
  readonly #sums: Sums;
  readonly #scrubbed = Buffer.allocUnsafeSlow(CHECK_BYTES);

  constructor(tree: Tree, sums: Sums) {
    this.#tree = tree;
    this.#sums = sums;
  }

  /**
   * Compares bytes as the disk has them (not the page cache, unless they wait to be written) with their checksums; what does not match becomes known as
   * damage. How many bytes were read, at most CHECK_BYTES; 0 when the file is gone, or ends before.
   */
  async check(gfid: Gfid, offset: number): Promise<number> {
    const tree = this.#tree;
    const inode = tree.find(gfid);
    if (inode === undefined || !inode.isRegular || offset >= inode.size) return 0;
    const { disk } = tree;
    const file = tree.file(inode, false, 'scrub');
    const target = this.#scrubbed.subarray(0, Math.min(CHECK_BYTES, inode.size - offset));
    const size = target.byteLength;
    // What programs use stays in the page cache, what only the scrubber reads does not.
    const inUse = disk.readCached(file.fd, target, size, offset) === size;
    disk.dropCached(file.fd, offset, size);
    const count = await this.#load(inode, offset, target);
    if (!inUse) disk.dropCached(file.fd, offset, size);
    await this.#sums.warm(inode, offset, count);
    if (tree.find(gfid) !== inode) return 0;
    this.#sums.damagedIn(inode, offset, target.subarray(0, count));
    return count;
  }

  /** Reads bytes into the page cache, for `buildStep`. */
  async prepare(gfid: Gfid, offset: number): Promise<number> {
    const inode = this.#tree.find(gfid);
    if (inode === undefined || offset >= inode.size) return 0;
    return await this.#load(inode, offset, this.#scrubbed.subarray(0, Math.min(CHECK_BYTES, inode.size - offset)));
  }

  #load(inode: Inode, offset: number, target: Uint8Array): Promise<number> {
    const tree = this.#tree;
    const file = tree.file(inode, false, 'scrub');
    tree.pin(file);
    return new Promise((resolve, reject) => {
      tree.disk.readInPool(file.fd, target, 0, target.byteLength, offset, (result) => {
        tree.unpin(file);
        if (result < 0) reject(new FsError(-result, 'scrub'));
        else resolve(result);
      });
    });
  }

  /** What the scrubber has to do with a file. */
  stateOf(gfid: Gfid): 'none' | 'kept' | 'missing' {
    const inode = this.#tree.find(gfid);
    if (inode === undefined || !inode.isRegular || inode.size === 0) return 'none';
    return this.#sums.has(inode) ? 'kept' : 'missing';
  }

  /** Makes what was built durable before it counts. */
  async finish(build: Build): Promise<void> {
    const result = await new Promise<number>((resolve) => this.#tree.disk.syncInPool(build.fd, false, resolve));
    if (this.#sums.files.building !== build) return;
    if (result < 0) this.#sums.files.endBuild();
    else this.#sums.files.finishBuild(build);
  }
}
