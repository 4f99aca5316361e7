/**
 * Who took locks through which handle.
 *
 * The kernel marks neither OFD locks nor their end: an OFD lock's owner is the open file, and closing it brings only a RELEASE that does
 * not name that owner. So every owner is recorded with the handle it used:
 *
 *   FLUSH(owner)   a process closed a descriptor: its POSIX locks on the inode go, whatever handle took them
 *   RELEASE(fh)    the last descriptor is closed: the locks of every owner recorded for the handle go
 *
 * RELEASE is sent after close returned, so a lock request that follows may overtake what the close has to drop. Each inode therefore counts
 * its drops that are under way, and lock requests wait for them.
 */
import type { StateTable } from './state-memory.js';

const Word = { used: 0, fh: 1, nodeid: 2, ownerLow: 3, ownerHigh: 4, kind: 5 } as const;

export const LOCK_KIND_POSIX = 0;
export const LOCK_KIND_FLOCK = 1;

export interface OwnerRecord {
  readonly index: number;
  readonly fh: number;
  /** 16 hex digits of the kernel's owner number. */
  readonly owner: string;
  readonly kind: number;
}

/** What is known of the locks that this mount's programs took on one inode. */
export interface InodeLocks {
  records: OwnerRecord[];
  /** Drops that were sent and are not confirmed. */
  drops: number;
  /** Grows with every drop; tells a refused request that something was dropped since it was sent. */
  dropCount: number;
  /** Lock requests that are under way. */
  pending: number;
  waiting: (() => void)[];
}

export function ownerToken(low: number, high: number): string {
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0');
}

/** Owners of one handle, at most: each becomes one request when the handle is released, and those have numbers of their own. */
export const OWNERS_PER_HANDLE_MAX = 100;

export class LockOwners {
  readonly #table: StateTable;
  readonly #inodes = new Map<number, InodeLocks>();

  constructor(table: StateTable) {
    this.#table = table;
    table.open(
      (index) => table.getWord(index, Word.used) === 1,
      (index) => {
        const word = (at: number): number => table.getWord(index, at);
        const owner = ownerToken(word(Word.ownerLow), word(Word.ownerHigh));
        this.at(word(Word.nodeid)).records.push({ index, fh: word(Word.fh), owner, kind: word(Word.kind) });
      },
    );
  }

  /** Inodes with something recorded or under way. */
  get size(): number {
    return this.#inodes.size;
  }

  find(nodeid: number): InodeLocks | undefined {
    return this.#inodes.get(nodeid);
  }

  at(nodeid: number): InodeLocks {
    let inode = this.#inodes.get(nodeid);
    if (inode === undefined) {
      inode = { records: [], drops: 0, dropCount: 0, pending: 0, waiting: [] };
      this.#inodes.set(nodeid, inode);
    }
    return inode;
  }

  /** Records that `owner` uses the handle; false when a limit is reached. */
  record(nodeid: number, fh: number, low: number, high: number, kind: number): boolean {
    const inode = this.at(nodeid);
    const owner = ownerToken(low, high);
    let ofHandle = 0;
    for (const known of inode.records) {
      if (known.fh !== fh) continue;
      if (known.owner === owner && known.kind === kind) return true;
      ofHandle++;
    }
    const index = ofHandle < OWNERS_PER_HANDLE_MAX ? this.#table.allocate() : -1;
    if (index < 0) return false;
    this.#table.setWord(index, Word.fh, fh);
    this.#table.setWord(index, Word.nodeid, nodeid);
    this.#table.setWord(index, Word.ownerLow, low);
    this.#table.setWord(index, Word.ownerHigh, high);
    this.#table.setWord(index, Word.kind, kind);
    this.#table.setWord(index, Word.used, 1);
    inode.records.push({ index, fh, owner, kind });
    return true;
  }

  erase(nodeid: number, records: readonly OwnerRecord[]): void {
    const inode = this.#inodes.get(nodeid);
    if (inode === undefined) return;
    for (const record of records) {
      const at = inode.records.indexOf(record);
      if (at < 0) continue;
      inode.records.splice(at, 1);
      this.#table.setWord(record.index, Word.used, 0);
      this.#table.free(record.index);
    }
    this.#tidy(nodeid, inode);
  }

  beginDrop(nodeid: number): void {
    const inode = this.at(nodeid);
    inode.drops++;
    inode.dropCount++;
  }

  endDrop(nodeid: number): void {
    const inode = this.at(nodeid);
    inode.drops--;
    if (inode.drops > 0) return;
    const waiting = inode.waiting;
    inode.waiting = [];
    for (const go of waiting) go();
    this.#tidy(nodeid, inode);
  }

  beginRequest(nodeid: number): void {
    this.at(nodeid).pending++;
  }

  endRequest(nodeid: number): void {
    const inode = this.at(nodeid);
    inode.pending--;
    this.#tidy(nodeid, inode);
  }

  #tidy(nodeid: number, inode: InodeLocks): void {
    if (inode.records.length + inode.drops + inode.pending + inode.waiting.length === 0) this.#inodes.delete(nodeid);
  }
}
