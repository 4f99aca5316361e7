/**
 * Locks on inodes that order operations at the primary. Held from before an operation is applied until every in-sync brick has it.
 *
 *              read   data-read  write   exclusive
 *   read        yes     yes       no       no          attributes, names, listing
 *   data-read   yes     yes       *        no          bytes of a range
 *   write       no       *        *        no          bytes of a range; sizes and times change
 *   exclusive   no      no        no       no          namespace, attributes
 *                       * where the ranges do not overlap
 *
 * A request names all its locks at once and gets all or waits; requests enter the queues of all their inodes in one step, so the order of any
 * two is the same in every queue and nobody waits in a circle. No request overtakes a conflicting one that came earlier.
 */
import { assert } from '../base/assert.js';
import type { Gfid } from '../base/ids.js';

export const enum Mode {
  Read,
  DataRead,
  Write,
  Exclusive,
}

export interface Lock {
  gfid: Gfid;
  mode: Mode;
  /** Byte range [start, end) of DataRead and Write. */
  start: number;
  end: number;
  /** Session on whose behalf it is held or asked for, where that matters: see `wanted`. */
  of?: string;
  /** A lease (exclusives.ts, lock-leases.ts): no obstacle to its own session. Called whenever somebody else begins to wait for it. */
  wanted?: () => void;
  /** Of a lease: its own session does not wait behind those who wait for it either. */
  overtakes?: boolean;
  /** Of what only gives file locks up: no lease stands against it. */
  letsGo?: boolean;
}

export interface Ticket {
  locks: Lock[];
  granted: boolean;
  /** Called once when all locks are held; never during `acquire`. */
  run: (() => void) | undefined;
}

interface Inode {
  holders: Lock[];
  queue: Ticket[];
}

export function readLock(gfid: Gfid): Lock {
  return { gfid, mode: Mode.Read, start: 0, end: 0 };
}

export function exclusiveLock(gfid: Gfid): Lock {
  return { gfid, mode: Mode.Exclusive, start: 0, end: 0 };
}

export function rangeLock(gfid: Gfid, mode: Mode.DataRead | Mode.Write, start: number, end: number): Lock {
  return { gfid, mode, start, end };
}

function conflict(a: Lock, b: Lock): boolean {
  if ((a.wanted !== undefined || b.wanted !== undefined) && a.of !== undefined && a.of === b.of) return false;
  if ((a.wanted !== undefined && b.letsGo === true) || (b.wanted !== undefined && a.letsGo === true)) return false;
  if (a.mode === Mode.Exclusive || b.mode === Mode.Exclusive) return true;
  if (a.mode !== Mode.Write && b.mode !== Mode.Write) return false;
  if (a.mode === Mode.Read || b.mode === Mode.Read) return true;
  return a.start < b.end && b.start < a.end;
}

function overtakes(holders: readonly Lock[], lock: Lock): boolean {
  return lock.of !== undefined && holders.some((held) => held.overtakes === true && held.of === lock.of);
}

/** Marks locks as asked for by a session. */
export function onBehalf(session: string, locks: readonly Lock[]): void {
  for (const lock of locks) lock.of = session;
}

export class InodeLocks {
  readonly #inodes = new Map<Gfid, Inode>();

  /** True when a new request for these locks would be granted at once. */
  free(...locks: Lock[]): boolean {
    for (const lock of locks) {
      const inode = this.#inodes.get(lock.gfid);
      if (inode === undefined) continue;
      for (const held of inode.holders) if (conflict(held, lock)) return false;
      if (inode.queue.length === 0 || overtakes(inode.holders, lock)) continue;
      for (const waiting of inode.queue) if (waiting.locks.some((l) => l.gfid === lock.gfid && conflict(l, lock))) return false;
    }
    return true;
  }

  /** Takes the locks now, or queues the request and calls `run` when it holds them. */
  acquire(locks: Lock[], run: () => void): Ticket {
    const ticket: Ticket = { locks, granted: false, run: undefined };
    if (this.free(...locks)) {
      this.#grant(ticket);
      return ticket;
    }
    ticket.run = run;
    for (const gfid of new Set(locks.map((lock) => lock.gfid))) this.#inode(gfid).queue.push(ticket);
    this.#callIn(locks);
    return ticket;
  }

  /** Calls `run` when these locks could be held: at once where that is now. They are not held then. */
  whenFree(locks: Lock[], run: () => void): void {
    const ticket = this.acquire(locks, () => {
      this.release(ticket);
      run();
    });
    if (ticket.granted) {
      this.release(ticket);
      run();
    }
  }

  #callIn(locks: readonly Lock[]): void {
    for (const lock of locks) {
      for (const held of this.#inodes.get(lock.gfid)?.holders ?? []) if (held.wanted !== undefined && conflict(held, lock)) held.wanted();
    }
  }

  /** Gives the locks back, or withdraws a request that waits. Grants what became possible. */
  release(ticket: Ticket): void {
    const gfids = new Set(ticket.locks.map((lock) => lock.gfid));
    for (const gfid of gfids) {
      const inode = this.#inodes.get(gfid);
      assert(inode !== undefined, 'a released lock is known');
      if (ticket.granted) inode.holders = inode.holders.filter((held) => !ticket.locks.includes(held));
      else inode.queue = inode.queue.filter((waiting) => waiting !== ticket);
    }
    ticket.granted = false;
    for (const gfid of gfids) this.#wake(gfid);
  }

  /** Inodes with a holder or a waiter. */
  get size(): number {
    return this.#inodes.size;
  }

  #inode(gfid: Gfid): Inode {
    let inode = this.#inodes.get(gfid);
    if (inode === undefined) this.#inodes.set(gfid, (inode = { holders: [], queue: [] }));
    return inode;
  }

  #grant(ticket: Ticket): void {
    for (const lock of ticket.locks) this.#inode(lock.gfid).holders.push(lock);
    ticket.granted = true;
  }

  #wake(gfid: Gfid): void {
    const inode = this.#inodes.get(gfid);
    if (inode === undefined) return;
    // A copy: granting may run code that changes the queue.
    for (const ticket of inode.queue.length === 0 ? [] : [...inode.queue]) {
      if (ticket.granted || ticket.run === undefined || !this.#ready(ticket)) continue;
      const run = ticket.run;
      ticket.run = undefined;
      for (const other of new Set(ticket.locks.map((lock) => lock.gfid))) {
        const queue = this.#inode(other);
        queue.queue = queue.queue.filter((waiting) => waiting !== ticket);
      }
      this.#grant(ticket);
      run();
    }
    if (inode.holders.length === 0 && inode.queue.length === 0 && this.#inodes.get(gfid) === inode) this.#inodes.delete(gfid);
  }

  #ready(ticket: Ticket): boolean {
    for (const lock of ticket.locks) {
      const inode = this.#inodes.get(lock.gfid);
      if (inode === undefined) continue;
      for (const held of inode.holders) if (conflict(held, lock)) return false;
      if (overtakes(inode.holders, lock)) continue;
      for (const waiting of inode.queue) {
        if (waiting === ticket) break;
        if (waiting.locks.some((l) => l.gfid === lock.gfid && conflict(l, lock))) return false;
      }
    }
    return true;
  }
}
