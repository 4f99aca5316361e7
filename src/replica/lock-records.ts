/**
 * File locks in the change journal: one record for each change of the table, beside the answers. A process that ends leaves them to the next one. A lock that was given, and
 * whose holder had not heard of it yet, is known to nobody else after the whole set was restarted, and others may have seen it.
 *
 *   l<lock as JSON>     a range was set or removed
 *   o<owner as JSON>    every lock of an owner on an inode went
 *   m                   the records before it are void
 *
 * Written before the lock is given or goes: a brick whose disk cannot hold the record leaves the set, as with any other change. Otherwise a lock that was given up
 * came back after a restart of the whole set, and stood against who had it since.
 *
 * The end of a session has no record: the table of sessions is on the disk.
 */
import type { FileLocks, LockRequest } from './file-locks.js';
import { isLockRequest, isRecord } from './state-check.js';

const FORGET_LOCKS = 'm';

export interface LockOwner {
  gfid: string;
  session: string;
  owner: string;
  kind: number;
}

export function isLockRecord(record: string): boolean {
  return record.startsWith('l') || record.startsWith('o') || record === FORGET_LOCKS;
}

export function lockRecord({ gfid, session, owner, kind, type, start, end, pid }: LockRequest): string {
  return `l${JSON.stringify({ gfid, session, owner, kind, type, start, end, pid })}`;
}

export function ownerRecord(owner: LockOwner): string {
  return `o${JSON.stringify(owner)}`;
}

/** The whole table: what a new generation begins with. */
export function lockRecords(locks: FileLocks): string[] {
  return [FORGET_LOCKS, ...locks.export().map(lockRecord)];
}

function parse(record: string): unknown {
  try {
    return JSON.parse(record.slice(1));
  } catch {
    return undefined;
  }
}

/** Takes back what was written; what is no record of these is left out. */
export function restoreLocks(locks: FileLocks, records: Iterable<string>): void {
  for (const record of records) {
    if (record === FORGET_LOCKS) locks.import([]);
    else if (record.startsWith('l')) {
      const lock = parse(record);
      if (isLockRequest(lock)) locks.set(lock);
    } else if (record.startsWith('o')) {
      const owner = parse(record);
      if (isRecord(owner)) locks.dropOwner(String(owner['gfid']), String(owner['session']), String(owner['owner']), Number(owner['kind']));
    }
  }
}
