/**
 * Reads of what is only compared (resync). Nothing is read ahead, and the page cache is left as it was found: nobody asks for these bytes again soon.
 *
 * Read-ahead is begun on the thread that asks next, which is the one that serves: with the 8 MiB that some machines are set to, and a file that
 * goes on with a hole, it cleared pages for 30 ms at a time.
 */
import type { Gfid } from '../../base/ids.js';
import { FsError } from '../../base/errno.js';
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
    return count === length ? target : this.#bring(inode, target, Math.max(0, count), offset);
  }

  #bring(inode: Inode, target: Buffer, have: number, offset: number): Promise<Buffer> {
    const { disk, handles } = this.#tree;
    const { gfid } = inode;
    // Of its own: how the descriptor for clients reads ahead is not to change.
    const fd = check(disk.openFile(handles.fd(gfid), gfid, O_RDONLY, 0), 'compare');
    disk.readNothingAhead(fd);
    const end = (result: Buffer | number, resolve: (bytes: Buffer) => void, reject: (error: FsError) => void): void => {
      disk.close(fd);
      this.#note({ gfid, offset, length: target.byteLength });
      if (typeof result === 'number') reject(new FsError(-result, 'compare'));
      else resolve(result);
    };
    return new Promise((resolve, reject) => {
      const next = (at: number): void => {
        const wanted = Math.min(PIECE_BYTES, target.byteLength - at);
        disk.readInPool(fd, target, at, wanted, offset + at, (result) => {
          if (result < 0) end(result, resolve, reject);
          else if (at + result === target.byteLength) end(target, resolve, reject);
          else if (result < wanted) end(target.subarray(0, at + result), resolve, reject);
          else next(at + result);
        });
      };
      next(have);
    });
  }

  #note(range: Range): void {
    this.#brought.push(range);
    if (this.#brought.length <= RANGES_KEPT) return;
    const { gfid, offset, length } = this.#brought.shift() as Range;
    const { disk, handles } = this.#tree;
    if (this.#tree.find(gfid)?.isRegular !== true) return;
    const fd = disk.openFile(handles.fd(gfid), gfid, O_RDONLY, 0);
    if (fd < 0) return;
    disk.dropCached(fd, offset, length);
    disk.close(fd);
  }
}
