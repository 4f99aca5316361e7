import { Errno, errnoName } from '../base/errno.js';
import type { Gfid, Name } from '../base/ids.js';
import type { Log } from '../env/log.js';
import { NotifyInvalEntryOut, NotifyInvalInodeOut, OutHeader } from './abi.js';
import { Notify } from './abi-constants.js';
import type { FuseDevice } from './device.js';
import { write64 } from './message.js';
import type { NodeTable } from './nodes.js';

/** An inode whose attributes the kernel shall forget, or one name of a directory. */
export type Stale = { gfid: Gfid } | { parent: Gfid; name: Name };

/**
 * Makes the kernel forget. Notifications go through the thread pool, because the kernel may hold one back until requests are answered that
 * this very process has in hand: nobody may delay an answer on the same inode or directory until an `invalidate` is through.
 */
export class Invalidator {
  readonly #device: FuseDevice;
  readonly #nodes: NodeTable;
  readonly #log: Log;

  constructor(device: FuseDevice, nodes: NodeTable, log: Log) {
    this.#device = device;
    this.#nodes = nodes;
    this.#log = log;
  }

  /** Resolves when the kernel has forgotten all of it. What the kernel does not know needs no telling. */
  async invalidate(stale: readonly Stale[]): Promise<void> {
    const sent: Promise<void>[] = [];
    for (const what of stale) {
      const nodeid = this.#nodes.nodeid('gfid' in what ? what.gfid : what.parent);
      if (nodeid === undefined) continue;
      sent.push(this.#send('gfid' in what ? encodeInvalInode(nodeid) : encodeInvalEntry(nodeid, what.name)));
    }
    await Promise.all(sent);
  }

  async #send(message: Uint8Array): Promise<void> {
    const errno = await this.#device.notify(message);
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
  const { bytes, view } = notification(Notify.INVAL_INODE, NotifyInvalInodeOut.bytes);
  write64(view, OutHeader.bytes + NotifyInvalInodeOut.at.ino, nodeid);
  view.setBigInt64(OutHeader.bytes + NotifyInvalInodeOut.at.off, -1n, true);
  write64(view, OutHeader.bytes + NotifyInvalInodeOut.at.len, 0);
  return bytes;
}

/** One name of a directory. */
export function encodeInvalEntry(parent: number, name: Name): Buffer {
  const { bytes, view } = notification(Notify.INVAL_ENTRY, NotifyInvalEntryOut.bytes + name.length + 1);
  write64(view, OutHeader.bytes + NotifyInvalEntryOut.at.parent, parent);
  view.setUint32(OutHeader.bytes + NotifyInvalEntryOut.at.namelen, name.length, true);
  bytes.write(name, OutHeader.bytes + NotifyInvalEntryOut.bytes, 'latin1');
  return bytes;
}
