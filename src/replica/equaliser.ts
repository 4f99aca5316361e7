/**
 * Makes one key after the other equal at another brick: by state, under the key's lock, idempotent, in any order.
 *
 * A lock is held for HOLD_MS at most: a brick that answers slowly must not hold up clients. What changes after that makes the key lacking again.
 */
import { Errno, FsError } from '../base/errno.js';
import type { Gfid, Name } from '../base/ids.js';
import { REGION_BYTES, S_IFDIR, S_IFMT, S_IFREG, SEEK_DATA } from '../fops/ops.js';
import type { Caller } from './followers.js';
import { COMPARE_COST_MS, KEY_COST_MS, SEND_COST_MS } from './heal-pace.js';
import { Mode, rangeLock, readLock, type Lock } from './inode-locks.js';
import { fileKey, inodeKey, nameKey, parseKey, regionKey, type Key } from './keys.js';
import type { Lacking } from './lacking.js';
import type { Primary } from './primary.js';
import { compareRegion, copyAt, type Difference } from './region-difference.js';
import { DamagedError, Soundness, SUM_BLOCK_BYTES } from './soundness.js';

const LOCK_WAIT_MS = 500;
const HOLD_MS = 60;
const PAGE = 1000;
const CALLS_AT_ONCE = 64;
/** Regions that are found in a file before others get their turn. */
const REGIONS_PER_LOOK = 256;

export class Equaliser {
  readonly #primary: Primary;
  readonly #call: Caller;
  readonly #lacking: Lacking;
  /** True for a brick that the view lists as in sync: nothing is acknowledged until it is equal, so no locks are needed. */
  readonly #member: boolean;
  readonly #check: () => void;
  readonly #forget = new Set<Gfid>();

  /** `call`: of the brick that is made equal, over the connection of this attempt. `check` throws when the work is over before its end. */
  constructor(primary: Primary, call: Caller, lacking: Lacking, member: boolean, check: () => void) {
    this.#primary = primary;
    this.#call = call;
    this.#lacking = lacking;
    this.#member = member;
    this.#check = check;
  }

  /** Makes a key equal that was taken from what is lacking. Resolves with what it cost; see heal-pace.ts. */
  async equalise(key: Key): Promise<number> {
    const parsed = parseKey(key);
    if (parsed === undefined) {
      this.#lacking.done(key);
      return 0;
    }
    if (parsed.kind === 'name') await this.#underLocks(key, [readLock(parsed.parent)], () => this.#placeName(parsed.parent, parsed.name));
    else if (parsed.kind === 'inode') await this.#underLocks(key, [readLock(parsed.gfid)], () => this.#putInode(parsed.gfid));
    else if (parsed.kind === 'file') await this.#searchFile(key, parsed.gfid);
    else return await this.#syncSound(key, parsed.gfid, parsed.index);
    return KEY_COST_MS;
  }

  async #underLocks(key: Key, locks: Lock[], work: () => Promise<void>): Promise<void> {
    const { locks: table, host } = this.#primary;
    for (;;) {
      this.#check();
      if (this.#member || this.#primary.stalled || !this.#primary.serving) {
        this.#lacking.reading(key);
        await work();
        this.#lacking.done(key);
        return;
      }
      let wake: (() => void) | undefined;
      const ticket = table.acquire(locks, () => wake?.());
      if (!ticket.granted) {
        const cancel = { now: (): void => undefined };
        await new Promise<void>((resolve) => {
          wake = resolve;
          cancel.now = host.clock.after(LOCK_WAIT_MS, resolve);
        });
        cancel.now();
      }
      if (!ticket.granted) {
        table.release(ticket);
        continue;
      }
      let held = true;
      const release = (): void => {
        if (held) table.release(ticket);
        held = false;
      };
      const cancel = host.clock.after(HOLD_MS, release);
      try {
        this.#lacking.reading(key);
        await work();
        // Before the lock goes: the change that waits for it is to be passed on.
        this.#lacking.done(key);
        return;
      } finally {
        cancel();
        release();
      }
    }
  }

  // ---------------------------------------------------------------- names and inodes

  async #placeName(parent: Gfid, name: Name): Promise<void> {
    const { store } = this.#primary.host.copy;
    if (store.describe(parent) === undefined) return;
    const child = store.child(parent, name);
    const target = child === undefined ? undefined : store.describe(child.gfid)?.target;
    const args = { parent, name, gfid: child?.gfid ?? '', type: child?.type ?? 0, target };
    let created: boolean;
    try {
      ({ created } = await this.#call('place', args));
    } catch (error) {
      if (!isAbsent(error)) throw error;
      const place = store.directoryPlace(parent);
      if (place === undefined) return;
      await this.#placeName(place.parent, place.name);
      ({ created } = await this.#call('place', args));
    }
    if (child === undefined) return;
    if (created) {
      this.#lacking.add(inodeKey(child.gfid));
      if (child.type === S_IFREG) this.#lacking.add(fileKey(child.gfid));
      if (child.type === S_IFDIR) this.#addChildren(child.gfid);
      else if (child.type === S_IFREG) this.#lacking.made(child.gfid);
    }
    if (child.type === S_IFDIR) this.#lacking.meet(child.gfid);
  }

  #addChildren(gfid: Gfid): void {
    const { store } = this.#primary.host.copy;
    if (store.describe(gfid) === undefined) return;
    for (let after = '', end = false; !end; ) {
      const page = store.readdir(gfid, after, PAGE, false);
      for (const entry of page.entries) this.#lacking.add(nameKey(gfid, entry.name));
      end = page.end || page.entries.length === 0;
      after = page.entries.at(-1)?.name ?? '';
    }
  }

  async #putInode(gfid: Gfid): Promise<void> {
    const { store } = this.#primary.host.copy;
    const state = store.describe(gfid);
    if (state === undefined) {
      this.#forget.add(gfid);
      return;
    }
    try {
      const { created } = await this.#call('putInode', { state });
      if (!created || (state.attr.mode & S_IFMT) !== S_IFREG) return;
      this.#lacking.add(fileKey(gfid));
      this.#lacking.made(gfid);
    } catch (error) {
      if (!isAbsent(error)) throw error;
      // A directory that is not there yet: its name creates it, then its state is put again.
      const place = store.directoryPlace(gfid);
      if (place === undefined) return;
      this.#lacking.add(nameKey(place.parent, place.name));
      this.#lacking.add(inodeKey(gfid));
    }
  }

  // ---------------------------------------------------------------- data

  /**
   * Finds the regions of a file that hold data, a part at a time; what lies between them becomes a hole. Without a lock: while the file is lacking,
   * no write to it is passed on, and what is sent here leaves in the turn in which it was found.
   */
  async #searchFile(key: Key, gfid: Gfid): Promise<void> {
    const { store } = this.#primary.host.copy;
    this.#check();
    const from = this.#lacking.cursor(gfid);
    this.#lacking.reading(key);
    const state = store.describe(gfid);
    if (state === undefined || (state.attr.mode & S_IFMT) !== S_IFREG) {
      this.#lacking.done(key);
      return;
    }
    const { size } = state.attr;
    const blank = this.#lacking.wasMade(gfid);
    const sent: Promise<unknown>[] = [];
    let found = 0;
    let at = from;
    while (at < size && found < REGIONS_PER_LOOK) {
      const data = this.#nextData(gfid, at, size);
      const gapEnd = data >= size ? size : data - (data % REGION_BYTES);
      if (gapEnd > at && !blank) sent.push(this.#call('punch', { gfid, offset: at, length: gapEnd - at }));
      at = size;
      if (data >= size) break;
      found++;
      this.#lacking.addRegion(regionKey(gfid, gapEnd / REGION_BYTES), blank);
      at = gapEnd + REGION_BYTES;
    }
    if (at < size) this.#lacking.continueFile(gfid, at);
    else this.#lacking.fileDone(gfid);
    await Promise.all(sent.map((call) => call.catch(ignoreAbsent)));
    this.#lacking.done(key);
  }

  #nextData(gfid: Gfid, from: number, size: number): number {
    try {
      return Math.min(size, this.#primary.host.copy.store.lseek(gfid, from, SEEK_DATA));
    } catch (error) {
      if (error instanceof FsError && error.errno === Errno.ENXIO) return size;
      throw error;
    }
  }

  /** Damage is not copied: it is repaired first, or what nobody has is marked as damaged at the target too. */
  async #syncSound(key: Key, gfid: Gfid, index: number): Promise<number> {
    try {
      return await this.#syncRegion(key, gfid, index);
    } catch (error) {
      if (!(error instanceof DamagedError)) throw error;
      if (await this.#primary.mender.mend(error.range, false)) this.#lacking.failed(key);
      else await this.#copyAroundDamage(key, gfid, index);
      return COMPARE_COST_MS + SEND_COST_MS;
    }
  }

  async #copyAroundDamage(key: Key, gfid: Gfid, index: number): Promise<void> {
    const start = index * REGION_BYTES;
    await this.#underLocks(key, [rangeLock(gfid, Mode.DataRead, start, start + REGION_BYTES)], async () => {
      const { store } = this.#primary.host.copy;
      const found = store.sums?.examine(gfid, start, REGION_BYTES);
      if (found === undefined) {
        this.#lacking.add(key);
        return;
      }
      for (let block = 0; block < found.blocks.length; block++) {
        const at = block * SUM_BLOCK_BYTES;
        const data = Buffer.from(found.data.subarray(at, at + SUM_BLOCK_BYTES));
        const args = { gfid, offset: start + at };
        if (found.blocks[block] === Soundness.Damaged) await this.#call('taint', { ...args, length: data.byteLength });
        else await this.#call('patch', { ...args, data });
      }
    });
  }

  async #syncRegion(key: Key, gfid: Gfid, index: number): Promise<number> {
    let cost = KEY_COST_MS;
    const start = index * REGION_BYTES;
    const blank = this.#lacking.takeBlank(key);
    await this.#underLocks(key, [rangeLock(gfid, Mode.DataRead, start, start + REGION_BYTES)], async () => {
      const { store } = this.#primary.host.copy;
      const state = store.describe(gfid);
      if (state === undefined || state.attr.size <= start) return;
      const end = Math.min(state.attr.size, start + REGION_BYTES);
      try {
        const difference = await compareRegion(store, gfid, index, end, blank ? undefined : copyAt(this.#call, gfid));
        const sent = await this.#send(gfid, difference);
        this.#lacking.bytesCompared += end - start;
        cost += (COMPARE_COST_MS * (end - start) + SEND_COST_MS * sent) / REGION_BYTES;
      } catch (error) {
        if (!isAbsent(error)) throw error;
        this.#lacking.add(inodeKey(gfid));
        this.#lacking.add(fileKey(gfid));
      }
    });
    return cost;
  }

  /** How many bytes were sent. */
  async #send(gfid: Gfid, { holes, pieces }: Difference): Promise<number> {
    if (holes.length === 0 && pieces.length === 0) return 0;
    const { store } = this.#primary.host.copy;
    const parts: Uint8Array[] = [];
    for (const [offset, length] of pieces) parts.push(await store.read(gfid, offset, length));
    const data = parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
    const ranges = pieces.map(([offset], i): [number, number] => [offset, (parts[i] as Uint8Array).byteLength]);
    await this.#call('patchRanges', { gfid, holes, ranges, data });
    this.#lacking.bytesSent += data.byteLength;
    for (const part of parts) this.#primary.host.giveBack(part);
    return data.byteLength;
  }

  // ---------------------------------------------------------------- the walk

  /** One directory of the whole-tree walk: names that differ, then every inode in it. */
  async walkDirectory(gfid: Gfid): Promise<void> {
    const { store } = this.#primary.host.copy;
    if (store.describe(gfid) === undefined) return;
    this.#lacking.add(inodeKey(gfid));
    const theirs = await this.#listing(gfid);
    for (let after = '', end = false; !end; ) {
      if (store.describe(gfid) === undefined) return;
      const page = store.readdir(gfid, after, PAGE, false);
      for (const entry of page.entries) {
        if (theirs.get(entry.name) !== entry.gfid) this.#lacking.add(nameKey(gfid, entry.name));
        theirs.delete(entry.name);
        if (entry.type === S_IFDIR) this.#lacking.meet(entry.gfid);
        else {
          this.#lacking.add(inodeKey(entry.gfid));
          if (entry.type === S_IFREG) this.#lacking.add(fileKey(entry.gfid));
        }
      }
      end = page.end || page.entries.length === 0;
      after = page.entries.at(-1)?.name ?? '';
      if (!end) await this.#primary.sleep(0);
    }
    for (const name of theirs.keys()) this.#lacking.add(nameKey(gfid, name));
  }

  async #listing(gfid: Gfid): Promise<Map<Name, Gfid>> {
    const names = new Map<Name, Gfid>();
    for (let after = '', end = false; !end; ) {
      try {
        const page = await this.#call('list', { gfid, after });
        for (const entry of page.entries) names.set(entry.name, entry.gfid);
        end = page.end || page.entries.length === 0;
        after = page.entries.at(-1)?.name ?? '';
      } catch (error) {
        if (!isAbsent(error)) throw error;
        end = true;
      }
    }
    return names;
  }

  // ---------------------------------------------------------------- what is left over

  /** Inodes that the primary has no more go, those without a name that it does not know too. */
  async forgetGone(): Promise<void> {
    const { store } = this.#primary.host.copy;
    const gfids = [...this.#forget];
    this.#forget.clear();
    const { gfids: orphans } = await this.#call('orphans', {});
    const gone = [...new Set([...gfids, ...orphans])].filter((gfid) => store.describe(gfid) === undefined);
    for (let at = 0; at < gone.length; at += CALLS_AT_ONCE)
      await Promise.all(gone.slice(at, at + CALLS_AT_ONCE).map((gfid) => this.#call('forget', { gfid })));
  }

  /**
   * Directories that were put aside, to make room for another, and are still part of the volume: their names are lacking again, although
   * nobody changed them. True when there is none.
   */
  async returnAsides(): Promise<boolean> {
    const { store } = this.#primary.host.copy;
    const { gfids } = await this.#call('asides', {});
    let none = true;
    for (const gfid of gfids) {
      const place = store.describe(gfid) === undefined ? undefined : store.directoryPlace(gfid);
      if (place === undefined) continue;
      this.#lacking.add(nameKey(place.parent, place.name));
      none = false;
    }
    return none;
  }
}

function isAbsent(error: unknown): boolean {
  return error instanceof FsError && (error.errno === Errno.ENOENT || error.errno === Errno.ESTALE);
}

function ignoreAbsent(error: unknown): void {
  if (!isAbsent(error)) throw error;
}
