/**
 * Reads of what is only compared (resync). Nothing is read ahead, and the page cache is left as it was found: nobody asks for these bytes again soon.
 *
 * Read-ahead is begun on the thread that asks next, which is the one that serves: with the 8 MiB that some machines are set to, and a file that
 * goes on with a hole, it cleared pages for 30 ms at a time.
 */
import type { Gfid } from '../../base/ids.js';
import { O_RDONLY } from '../disk.js';
import { check } from './check.js';
import type { Inode } from './inode.js';
import type { Tree } from './tree.js';

/** Read by one system call: on kernels that are not preemptible, a long one keeps everybody else off its processor. */
const PIECE_BYTES = 128 << 10;
/** What was read last stays: it is looked at once more where it differs. */
const RANGES_KEPT = 32;

interface Range {
  gfid: Gfid;
  offset: number;
  length: number;
}

export class PassingReads {
  readonly #tree: Tree;
  /** What these reads brought into the page cache, the oldest first. */
  readonly #brought: Range[] = [];

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  /** Up to `length` bytes in a buffer that is to be given back: at once when the page cache has them, otherwise by way of the thread pool. Fewer where the file ends. */
  read(inode: Inode, offset: number, length: number): Buffer | Promise<Buffer> {
    const { disk } = this.#tree;
    const target = disk.takeBuffer(length);
    const count = disk.readCached(this.#tree.file(inode, false, 'compare').fd, target, length, offset);
    return count === length ? target : this.#bring(inode.gfid, target, Math.max(0, count), offset);
  }

  async #bring(gfid: Gfid, target: Buffer, have: number, offset: number): Promise<Buffer> {
    const { disk } = this.#tree;
    // Of its own: how the descriptor for clients reads ahead is not to change.
    const fd = check(this.#open(gfid), 'compare');
    disk.readNothingAhead(fd);
    try {
      for (let at = have; at < target.byteLength; ) {
        const wanted = Math.min(PIECE_BYTES, target.byteLength - at);
        const from = at;
        const count = check(await new Promise<number>((resolve) => disk.readInPool(fd, target, from, wanted, offset + from, resolve)), 'compare');
        at += count;
        if (count < wanted) return target.subarray(0, at);
      }
      return target;
    } finally {
      disk.close(fd);
      this.#note({ gfid, offset: offset + have, length: target.byteLength - have });
    }
  }

  #note(range: Range): void {
    this.#brought.push(range);
    if (this.#brought.length <= RANGES_KEPT) return;
    const { gfid, offset, length } = this.#brought.shift() as Range;
    if (this.#tree.find(gfid)?.isRegular !== true) return;
    const fd = this.#open(gfid);
    if (fd < 0) return;
    this.#tree.disk.dropCached(fd, offset, length);
    this.#tree.disk.close(fd);
  }

  #open(gfid: Gfid): number {
    const { disk, handles } = this.#tree;
    return disk.openFile(handles.fd(gfid), gfid, O_RDONLY, 0);
  }
}
