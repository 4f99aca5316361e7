/**
 * Reads of this node's brick without asking anybody: its files are opened directly.
 *
 * A read lease on the inode is the proof: while it holds, nobody else changes the file, and every brick that the primary counts as equal has its last
 * state. What this client itself is changing is not under the lease's protection, so such a range is asked for at the primary. All of this is looked at again when the
 * bytes are there.
 */
import type { Gfid } from '../base/ids.js';
import type { Attr } from '../fops/fields.js';
import { isRegular, type Args, type OpName } from '../fops/ops.js';
import type { BrickId } from '../fops/view.js';
import type { BrickSpec, VolumeSpec } from '../fops/volume.js';
import type { LeaseCache } from './lease-cache.js';

/** The files of a brick on this node. */
export interface LocalCopy {
  /** Exactly `size` bytes, which are there when the file is what its lease says; undefined where it cannot be read here. */
  read(gfid: Gfid, offset: number, size: number): Uint8Array | Promise<Uint8Array | undefined> | undefined;
  close(): void;
}

/** Undefined for a brick of another node, and where the directory is not that brick or cannot be reached. */
export type OpenLocalCopy = (spec: VolumeSpec, brick: BrickSpec) => LocalCopy | undefined;

/** Bytes of a file that a request under way changes. */
interface Changing {
  gfid: Gfid;
  start: number;
  end: number;
}

/** A file without a lease is not asked for one more often. */
const ASK_MS = 100;
const ASKED_MAX = 1024;

const NOTHING = new Uint8Array(0);

export class LocalReads {
  readonly #open: OpenLocalCopy | undefined;
  readonly #cache: LeaseCache;
  readonly #now: () => number;
  /** Bricks that might be read, as they were said last. */
  #allowed = '';
  #copy: LocalCopy | undefined;
  /** By the id of the request. */
  readonly #changes = new Map<number, Changing>();
  readonly #changesOf = new Map<Gfid, Set<Changing>>();
  /** Requests that may cut a file which is not known. */
  #unknown = 0;
  readonly #asked = new Map<Gfid, number>();

  constructor(open: OpenLocalCopy | undefined, cache: LeaseCache, now: () => number) {
    this.#open = open;
    this.#cache = cache;
    this.#now = now;
  }

  /** The primary says which bricks are equal to it, and that reads need not be told to it. */
  allow(spec: VolumeSpec | undefined, equal: readonly BrickId[]): void {
    if (this.#open === undefined) return;
    const allowed = spec !== undefined && mayReadLocally(spec) ? equal : [];
    const key = allowed.join(' ');
    if (key === this.#allowed) return;
    this.forbid();
    this.#allowed = key;
    for (const brick of spec?.bricks ?? []) {
      if (!allowed.includes(brick.id)) continue;
      this.#copy = this.#open(spec as VolumeSpec, brick);
      if (this.#copy !== undefined) return;
    }
  }

  /** Another view, or no connection: until the primary says so again. */
  forbid(): void {
    this.#copy?.close();
    this.#copy = undefined;
    this.#allowed = '';
  }

  /** The answer to a read, where it can be given here; a promise of undefined when it has to be asked for after all. */
  read({ gfid, offset, size }: Args<'read'>): Uint8Array | Promise<Uint8Array | undefined> | undefined {
    const copy = this.#copy;
    const attr = copy === undefined ? undefined : this.#cache.attr(gfid);
    if (copy === undefined || attr === undefined || !isRegular(attr.mode)) return undefined;
    const wanted = Math.max(0, Math.min(size, attr.size - offset));
    if (this.#isChanging(gfid, offset, offset + wanted)) return undefined;
    if (wanted === 0) return NOTHING;
    const data = copy.read(gfid, offset, wanted);
    if (!(data instanceof Promise)) return data;
    return data.then((bytes) => (this.#stands(copy, attr, offset, offset + wanted) ? bytes : undefined));
  }

  /** True when it would pay to ask for the attributes of this file, with which a lease comes. */
  lacksLease(gfid: Gfid): boolean {
    if (this.#copy === undefined || this.#unknown > 0 || this.#changesOf.has(gfid) || this.#cache.attr(gfid) !== undefined) return false;
    const now = this.#now();
    const asked = this.#asked.get(gfid);
    if (asked !== undefined && now - asked < ASK_MS) return false;
    if (this.#asked.size >= ASKED_MAX) this.#asked.clear();
    this.#asked.set(gfid, now);
    return true;
  }

  /** Every reply of this client's own that changes attributes brings others, and a recall takes them. */
  #stands(copy: LocalCopy, attr: Attr, start: number, end: number): boolean {
    return this.#copy === copy && this.#cache.attr(attr.gfid) === attr && !this.#isChanging(attr.gfid, start, end);
  }

  // ---------------------------------------------------------------- what this client is changing

  /** A request is about to be asked for, under this id. */
  began(id: number, op: OpName, args: unknown): void {
    const changing = changedBy(op, args);
    if (changing === undefined) return;
    this.#changes.set(id, changing);
    if (changing.gfid === '') this.#unknown++;
    else {
      const changes = this.#changesOf.get(changing.gfid);
      if (changes === undefined) this.#changesOf.set(changing.gfid, new Set([changing]));
      else changes.add(changing);
    }
  }

  /** It is answered, or never was sent: one that was sent and given up may be carried out still, until its answer comes. */
  ended(id: number): void {
    const changing = this.#changes.get(id);
    if (changing === undefined) return;
    this.#changes.delete(id);
    if (changing.gfid === '') this.#unknown--;
    else {
      const changes = this.#changesOf.get(changing.gfid);
      changes?.delete(changing);
      if (changes?.size === 0) this.#changesOf.delete(changing.gfid);
    }
  }

  /** The session was revoked: nothing that was asked for under it takes effect any more. */
  endAll(): void {
    this.#changes.clear();
    this.#changesOf.clear();
    this.#unknown = 0;
  }

  #isChanging(gfid: Gfid, start: number, end: number): boolean {
    if (this.#unknown > 0) return true;
    const changes = this.#changesOf.get(gfid);
    if (changes === undefined) return false;
    for (const change of changes) if (change.start < end && start < change.end) return true;
    return false;
  }
}

/** Checksums are compared by the brick's own process. */
function mayReadLocally({ options }: VolumeSpec): boolean {
  return options['cluster.choose-local'] !== 'off' && options['features.bitrot'] !== 'on';
}

/** '' for a file that is not known. */
function changedBy(op: OpName, args: unknown): Changing | undefined {
  switch (op) {
    case 'write': {
      const { gfid, offset, append, data } = args as Args<'write'>;
      return append ? whole(gfid) : { gfid, start: offset, end: offset + data.byteLength };
    }
    case 'setattr': {
      const { gfid, size } = args as Args<'setattr'>;
      return size === undefined ? undefined : whole(gfid);
    }
    case 'open': {
      const { gfid, truncate } = args as Args<'open'>;
      return truncate ? whole(gfid) : undefined;
    }
    case 'create':
      return (args as Args<'create'>).truncate ? whole('') : undefined;
    case 'fallocate':
      return whole((args as Args<'fallocate'>).gfid);
    case 'copyFileRange':
      return whole((args as Args<'copyFileRange'>).target);
    default:
      return undefined;
  }
}

function whole(gfid: Gfid): Changing {
  return { gfid, start: 0, end: Infinity };
}
