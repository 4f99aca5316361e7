import { Errno, errnoName } from '../base/errno.js';
import type { Gfid } from '../base/ids.js';
import type { Clock } from '../env/clock.js';
import type { Log } from '../env/log.js';
import { NotifyInvalInodeOut, OutHeader } from './abi.js';
import { Notify } from './abi-constants.js';
import type { FuseDevice } from './device.js';
import { write64 } from './message.js';
import type { NodeTable } from './nodes.js';
import type { PageVersions } from './page-versions.js';

/** The kernel learns of an inode a moment after the answer that names it was taken: until then it says that it does not know it. */
const UNKNOWN_RETRIES_MAX = 50;
const UNKNOWN_RETRY_MS = 5;

/**
 * Makes the kernel forget. Notifications go through the thread pool, because the kernel may hold one back until requests are answered that
 * this very process has in hand: nobody may delay an answer on the same inode or directory until an `invalidate` is through.
 */
export class Invalidator {
  readonly #device: FuseDevice;
  readonly #nodes: NodeTable;
  readonly #pages: PageVersions;
  readonly #clock: Clock;
  readonly #log: Log;

  constructor(device: FuseDevice, nodes: NodeTable, pages: PageVersions, clock: Clock, log: Log) {
    this.#device = device;
    this.#nodes = nodes;
    this.#pages = pages;
    this.#clock = clock;
    this.#log = log;
  }

  /** Resolves when the kernel has forgotten the attributes of all these inodes, and asks before it uses their pages. What the kernel does not know needs no telling. */
  async invalidate(gfids: readonly Gfid[]): Promise<void> {
    const sent: Promise<void>[] = [];
    for (const gfid of gfids) {
      const afterMs = this.#pages.recalled(gfid);
      const nodeid = this.#nodes.nodeid(gfid);
      if (nodeid !== undefined && afterMs !== undefined) sent.push(this.#forgetAttributes(gfid, nodeid, afterMs));
    }
    await Promise.all(sent);
  }

  async #forgetAttributes(gfid: Gfid, nodeid: number, afterMs: number): Promise<void> {
    if (afterMs > 0) await this.#sleep(afterMs);
    for (let retry = 0; ; retry++) {
      const errno = await this.#device.notify(encodeInvalInode(nodeid));
      const learning = errno === Errno.ENOENT && this.#nodes.nodeid(gfid) === nodeid && retry < UNKNOWN_RETRIES_MAX;
      if (!learning) {
        this.#check(errno);
        this.#pages.forgotten(gfid);
        return;
      }
      await this.#sleep(UNKNOWN_RETRY_MS);
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise<void>((resolve) => void this.#clock.after(ms, resolve));
  }

  #check(errno: number): void {
    // ENOENT: not cached. ENOTCONN, ENODEV: unmounted meanwhile.
    if (errno === 0 || errno === Errno.ENOENT || errno === Errno.ENOTCONN || errno === Errno.ENODEV) return;
    this.#log.error('the kernel refused to forget', { errno: errnoName(errno) });
  }
}

function notification(code: number, bodyBytes: number): { bytes: Buffer; view: DataView } {
  const bytes = Buffer.alloc(OutHeader.bytes + bodyBytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint32(OutHeader.at.len, bytes.length, true);
  view.setInt32(OutHeader.at.error, code, true);
  return { bytes, view };
}

/**
 * Attributes of one inode (a negative offset leaves the pages alone). The pages follow when the attributes are read again and the mtime is
 * another one (AUTO_INVAL_DATA). Pages themselves are not named, because the kernel would wait for a page that is being read, and that read may
 * wait at the primary for the very change that the invalidation is for.
 */
export function encodeInvalInode(nodeid: number): Buffer {
  return encodeInode(nodeid, -1n);
}

/** All pages of one inode, and its attributes. The kernel waits for pages that are being read. */
export function encodeDropPages(nodeid: number): Buffer {
  return encodeInode(nodeid, 0n);
}

function encodeInode(nodeid: number, offset: bigint): Buffer {
  const { bytes, view } = notification(Notify.INVAL_INODE, NotifyInvalInodeOut.bytes);
  write64(view, OutHeader.bytes + NotifyInvalInodeOut.at.ino, nodeid);
  view.setBigInt64(OutHeader.bytes + NotifyInvalInodeOut.at.off, offset, true);
  write64(view, OutHeader.bytes + NotifyInvalInodeOut.at.len, 0);
  return bytes;
}
