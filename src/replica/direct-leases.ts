/**
 * Exclusive leases as every in-sync brick knows them: which session may write to which inode without the primary, and which of its writes may not be on
 * every brick yet. See exclusives.ts.
 */
import type { Gfid } from '../base/ids.js';
import { writeKeys, type Key } from './keys.js';

/** A write that was made here. */
export interface DirectWrite {
  /** The client's count of its writes under the lease. */
  order: number;
  requestNumber: number;
  offset: number;
  length: number;
}

export class DirectLease {
  readonly lease: number;
  readonly gfid: Gfid;
  readonly session: string;
  /** Nothing more is taken under it; what it wrote is in doubt still. */
  over = false;
  /** In the order in which they came. */
  readonly #writes: DirectWrite[] = [];

  constructor(lease: number, gfid: Gfid, session: string) {
    this.lease = lease;
    this.gfid = gfid;
    this.session = session;
  }

  made(write: DirectWrite): void {
    this.#writes.push(write);
  }

  /** The client says: up to this one all are on every brick. */
  complete(order: number): void {
    let done = 0;
    while (done < this.#writes.length && (this.#writes[done] as DirectWrite).order <= order) done++;
    if (done > 0) this.#writes.splice(0, done);
  }

  /** In doubt. */
  get writes(): readonly DirectWrite[] {
    return this.#writes;
  }
}

export class DirectLeases {
  readonly #leases = new Map<number, DirectLease>();

  grant(lease: number, gfid: Gfid, session: string): void {
    if (!this.#leases.has(lease)) this.#leases.set(lease, new DirectLease(lease, gfid, session));
  }

  /** The lease under which this session may write to this inode; undefined when it is none, or over. */
  find(lease: number, gfid: Gfid, session: string): DirectLease | undefined {
    const found = this.#leases.get(lease);
    return found === undefined || found.over || found.gfid !== gfid || found.session !== session ? undefined : found;
  }

  complete(lease: number, session: string, order: number): void {
    const found = this.#leases.get(lease);
    if (found?.session === session) found.complete(order);
  }

  /** Takes no more writes under it, and tells what is in doubt. */
  end(lease: number): readonly DirectWrite[] {
    const found = this.#leases.get(lease);
    if (found === undefined) return [];
    found.over = true;
    return found.writes;
  }

  /** Another primary sealed this brick, or the view changed: no lease of before counts. */
  endAll(): void {
    for (const lease of this.#leases.values()) lease.over = true;
  }

  /** What it wrote is on every brick, or nowhere. */
  drop(lease: number): void {
    this.#leases.delete(lease);
  }

  clear(): void {
    this.#leases.clear();
  }

  /** Keys of what may not be on every brick. */
  keys(): Key[] {
    const keys: Key[] = [];
    for (const { gfid, writes } of this.#leases.values()) for (const { offset, length } of writes) keys.push(...writeKeys(gfid, offset, length));
    return keys;
  }
}
