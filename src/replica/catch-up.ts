/**
 * Makes another brick's copy equal to the primary's, key by key, by state and not by replay.
 *
 *   journal   the keys of both journals, when they reach back to the brick's last checkpoint
 *   walk      the whole tree, when the brick is empty, was rolled back or may have lost unsynced data
 *
 * A key is made equal under its lock (reads go on, changes of it wait). A change that arrives meanwhile is passed on to the brick when none of
 * its keys is still to be done; otherwise its keys are done (again) later. When few are left, mutations are held for a moment, the rest is
 * done, and the view is changed. Idempotent, in any order, interruptible at any point.
 */
import { Errno, FsError, LostError } from '../base/errno.js';
import { ROOT_GFID, type Gfid, type Name } from '../base/ids.js';
import { REGION_BYTES, S_IFDIR, S_IFMT, S_IFREG, SEEK_DATA } from '../fops/ops.js';
import type { HealStatus } from './authority.js';
import { Mode, rangeLock, readLock, type Lock } from './inode-locks.js';
import { fileKey, inodeKey, nameKey, parseKey, regionKey, type Key } from './keys.js';
import type { Follower, Primary } from './primary.js';
import { DamagedError, Soundness, SUM_BLOCK_BYTES } from './soundness.js';
import { Standing } from './standing.js';
import { BLOCK_BYTES, DIGEST_BYTES } from './store.js';

const PARALLEL = 8;
const PAUSE_KEYS_MAX = 64;
const LOCK_WAIT_MS = 500;
/** Mutations are held for part of every period when changes come faster than keys are made equal; the part grows until the work shrinks. */
const PERIOD_MS = 100;
const PERIODS_PER_LOOK = 5;
const HELD_STEP_MS = 20;
const HELD_MS_MAX = 90;
const ZERO_DIGEST = Buffer.alloc(DIGEST_BYTES);
const KEYS_PER_MESSAGE = 20_000;

export class CatchUp {
  readonly #primary: Primary;
  readonly #follower: Follower;
  /** True for a brick that the view lists as in sync: nothing is acknowledged until it is equal, so no locks are needed. */
  readonly #member: boolean;
  readonly #names = new Set<Key>();
  readonly #inodes = new Set<Key>();
  readonly #data = new Set<Key>();
  readonly #busy = new Set<Key>();
  readonly #forget = new Set<Gfid>();
  #walked: Set<Gfid> | undefined;
  #walkQueue: Gfid[] = [];
  #walking = false;
  #sent = 0;
  #acknowledged = 0;
  #stopped = '';
  #bytesDone = 0;
  #wake: (() => void) | undefined;

  constructor(primary: Primary, follower: Follower, member: boolean) {
    this.#primary = primary;
    this.#follower = follower;
    this.#member = member;
  }

  stop(reason: string): void {
    this.#stopped = reason === '' ? 'stopped' : reason;
    this.#wake?.();
  }

  /** A change is about to be sent to the members: may this brick have it too? Otherwise its keys are noted. */
  offer(keys: readonly Key[], sequence: number): boolean {
    if (this.#walking || keys.some((key) => this.#has(key))) {
      this.touch(keys);
      return false;
    }
    this.#sent = sequence;
    return true;
  }

  /** These keys are to be made equal (again). */
  touch(keys: Iterable<Key>): void {
    for (const key of keys) this.#add(key);
  }

  acknowledged(sequence: number): void {
    this.#acknowledged = sequence;
    this.#wake?.();
  }

  get keysLeft(): number {
    return this.#names.size + this.#inodes.size + this.#data.size + this.#busy.size;
  }

  /** From connected and sealed to ready: the whole way. */
  async run(): Promise<void> {
    const primary = this.#primary;
    const follower = this.#follower;
    if (this.#member) {
      await this.makeEqual();
      await primary.sendState(follower);
      if (this.#stopped === '') primary.becomeReady(follower);
      return;
    }
    const theirs = await this.#journalOfFollower();
    await this.#gated(() => {
      this.#begin(theirs);
      follower.state = 'catchingUp';
    });
    if (this.#walked !== undefined) await primary.call(follower, 'markIncomplete', { incomplete: true });
    const endPace = this.#keepPace();
    try {
      await this.#workOff(PAUSE_KEYS_MAX);
    } finally {
      endPace();
    }
    await primary.call(follower, 'checkpoint', { number: primary.host.copy.journal.meta.checkpoint });
    await this.#admit();
  }

  /** Without locks: nothing changes meanwhile. */
  async makeEqual(): Promise<void> {
    this.#begin(await this.#journalOfFollower());
    if (this.#walked !== undefined) await this.#primary.call(this.#follower, 'markIncomplete', { incomplete: true });
    await this.#workOff(0);
    await this.#finish();
  }

  /** Makes just these keys equal, without locks. */
  async settle(keys: readonly Key[]): Promise<void> {
    this.touch(keys);
    await this.#workOff(0);
  }

  static status(primary: Primary, follower: Follower): HealStatus {
    const { catchUp } = follower;
    const left = catchUp === undefined ? [] : [...catchUp.#names, ...catchUp.#inodes, ...catchUp.#data, ...catchUp.#busy];
    const walking = catchUp !== undefined && (catchUp.#walking || catchUp.#walkQueue.length > 0);
    const bytesDone = catchUp === undefined ? 0 : catchUp.#bytesDone;
    return {
      brick: follower.brick,
      state: follower.link === undefined ? 'absent' : walking ? 'walking' : 'copying',
      keysLeft: left.length,
      bytesLeft: left.filter((key) => key.startsWith('d')).length * REGION_BYTES,
      bytesDone,
      paths: primary.paths.of(left),
    };
  }

  static absentStatus(primary: Primary, brick: string): HealStatus {
    const keys = [...primary.host.copy.journal.keys()];
    const bytesLeft = keys.filter((key) => key.startsWith('d')).length * REGION_BYTES;
    return { brick, state: 'absent', keysLeft: keys.length, bytesLeft, bytesDone: 0, paths: primary.paths.of(keys) };
  }

  // ---------------------------------------------------------------- choosing what is to be done

  async #journalOfFollower(): Promise<Key[]> {
    const keys: Key[] = [];
    let from = 0;
    do {
      const page = await this.#primary.call(this.#follower, 'journalKeys', { from });
      keys.push(...page.keys);
      from = page.next;
    } while (from !== 0);
    return keys;
  }

  #begin(theirs: readonly Key[]): void {
    const { journal } = this.#primary.host.copy;
    const { seal } = this.#follower;
    const walk = seal === undefined || seal.standing === Standing.LostData || seal.incomplete || seal.checkpoint < journal.meta.base;
    this.touch(theirs);
    this.touch(journal.keys());
    this.touch(seal?.doubt ?? []);
    if (!walk) return;
    this.#walked = new Set([ROOT_GFID]);
    this.#walkQueue = [ROOT_GFID];
    this.#walking = true;
    for (const gfid of this.#primary.host.copy.store.orphans()) this.touch([inodeKey(gfid), fileKey(gfid)]);
  }

  #has(key: Key): boolean {
    return this.#names.has(key) || this.#inodes.has(key) || this.#data.has(key) || this.#busy.has(key) || (key.startsWith('d') && this.#data.has(fileKey(key.slice(1, 33))));
  }

  #add(key: Key): void {
    if (key.startsWith('n')) this.#names.add(key);
    else if (key.startsWith('i')) this.#inodes.add(key);
    else this.#data.add(key);
  }

  // ---------------------------------------------------------------- the work

  /** Works until at most `rest` keys are left. */
  async #workOff(rest: number): Promise<void> {
    for (;;) {
      this.#check();
      if (this.#names.size > 0) await this.#each(this.#names, [], 1, (key) => this.#syncName(key));
      else if (this.#inodes.size > 0) await this.#each(this.#inodes, [this.#names], PARALLEL, (key) => this.#syncInode(key));
      else if (this.#data.size > 0) await this.#each(this.#data, [this.#names, this.#inodes], PARALLEL, (key) => this.#syncData(key));
      else if (this.#walkQueue.length > 0) await this.#walkDirectory(this.#walkQueue.pop() as Gfid);
      else if (this.#walking) this.#walking = false;
      else return;
      if (rest > 0 && !this.#walking && this.#walkQueue.length === 0 && this.keysLeft <= rest) return;
    }
  }

  /** Takes keys one after the other, for as long as there is none in `first`: a file made meanwhile must be there before its data is. */
  async #each(keys: Set<Key>, first: readonly Set<Key>[], parallel: number, sync: (key: Key) => Promise<void>): Promise<void> {
    const worker = async (): Promise<void> => {
      for (;;) {
        if (first.some((others) => others.size > 0)) return;
        const next = keys.values().next();
        if (next.done === true || this.#stopped !== '') return;
        const key = next.value;
        keys.delete(key);
        this.#busy.add(key);
        try {
          await sync(key);
        } catch (error) {
          this.#add(key);
          throw error;
        } finally {
          this.#busy.delete(key);
        }
      }
    };
    await Promise.all(Array.from({ length: parallel }, worker));
  }

  async #underLocks(locks: Lock[], work: () => Promise<void>): Promise<void> {
    const { locks: table, host } = this.#primary;
    for (;;) {
      this.#check();
      if (this.#member || this.#primary.stalled || !this.#primary.serving) return await work();
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
      try {
        return await work();
      } finally {
        table.release(ticket);
      }
    }
  }

  async #syncName(key: Key): Promise<void> {
    const parsed = parseKey(key);
    if (parsed?.kind !== 'name') return;
    await this.#underLocks([readLock(parsed.parent)], () => this.#placeName(parsed.parent, parsed.name));
  }

  async #placeName(parent: Gfid, name: Name): Promise<void> {
    const { store } = this.#primary.host.copy;
    if (store.describe(parent) === undefined) return;
    const child = store.child(parent, name);
    const target = child === undefined ? undefined : store.describe(child.gfid)?.target;
    const args = { parent, name, gfid: child?.gfid ?? '', type: child?.type ?? 0, target };
    let created: boolean;
    try {
      ({ created } = await this.#primary.call(this.#follower, 'place', args));
    } catch (error) {
      if (!(error instanceof FsError) || (error.errno !== Errno.ENOENT && error.errno !== Errno.ESTALE)) throw error;
      const place = store.directoryPlace(parent);
      if (place === undefined) return;
      await this.#placeName(place.parent, place.name);
      ({ created } = await this.#primary.call(this.#follower, 'place', args));
    }
    if (child === undefined) return;
    if (created) {
      this.touch([inodeKey(child.gfid)]);
      if (child.type === S_IFREG) this.touch([fileKey(child.gfid)]);
      if (child.type === S_IFDIR) this.#touchChildren(child.gfid);
    }
    if (child.type === S_IFDIR && this.#walked !== undefined && !this.#walked.has(child.gfid)) {
      this.#walked.add(child.gfid);
      this.#walkQueue.push(child.gfid);
    }
  }

  #touchChildren(gfid: Gfid): void {
    const { store } = this.#primary.host.copy;
    let after = '';
    for (;;) {
      const { entries, end } = store.readdir(gfid, after, 1000, false);
      for (const entry of entries) this.touch([nameKey(gfid, entry.name)]);
      if (end || entries.length === 0) return;
      after = (entries.at(-1) as { name: Name }).name;
    }
  }

  async #syncInode(key: Key): Promise<void> {
    const gfid = key.slice(1);
    await this.#underLocks([readLock(gfid)], async () => {
      const state = this.#primary.host.copy.store.describe(gfid);
      if (state === undefined) {
        this.#forget.add(gfid);
        return;
      }
      try {
        const { created } = await this.#primary.call(this.#follower, 'putInode', { state });
        if (created && (state.attr.mode & S_IFMT) === S_IFREG) this.touch([fileKey(gfid)]);
      } catch (error) {
        if (!(error instanceof FsError) || (error.errno !== Errno.ENOENT && error.errno !== Errno.ESTALE)) throw error;
        // A directory that is not there yet: its name creates it, then its state is put again.
        const place = this.#primary.host.copy.store.directoryPlace(gfid);
        if (place === undefined) return;
        this.touch([nameKey(place.parent, place.name), inodeKey(gfid)]);
      }
    });
  }

  async #syncData(key: Key): Promise<void> {
    const parsed = parseKey(key);
    if (parsed?.kind === 'file') await this.#syncFile(parsed.gfid);
    else if (parsed?.kind === 'region') await this.#syncSound(key, parsed.gfid, parsed.index);
  }

  /** Damage is not copied: it is repaired first, or what nobody has is marked as damaged at the target too. */
  async #syncSound(key: Key, gfid: Gfid, index: number): Promise<void> {
    try {
      await this.#syncRegion(gfid, index);
    } catch (error) {
      if (!(error instanceof DamagedError)) throw error;
      if (await this.#primary.mender.mend(error.range, false)) this.touch([key]);
      else await this.#copyAroundDamage(gfid, index);
    }
  }

  async #copyAroundDamage(gfid: Gfid, index: number): Promise<void> {
    const start = index * REGION_BYTES;
    await this.#underLocks([rangeLock(gfid, Mode.DataRead, start, start + REGION_BYTES)], async () => {
      const { store } = this.#primary.host.copy;
      const found = store.sums?.examine(gfid, start, REGION_BYTES);
      if (found === undefined) return this.touch([regionKey(gfid, index)]);
      for (let block = 0; block < found.blocks.length; block++) {
        const at = block * SUM_BLOCK_BYTES;
        const data = Buffer.from(found.data.subarray(at, at + SUM_BLOCK_BYTES));
        const args = { gfid, offset: start + at };
        if (found.blocks[block] === Soundness.Damaged) await this.#primary.call(this.#follower, 'taint', { ...args, length: data.byteLength });
        else await this.#primary.call(this.#follower, 'patch', { ...args, data });
      }
    });
  }

  /** All data of a file: holes are punched, what holds data is compared region by region. */
  async #syncFile(gfid: Gfid): Promise<void> {
    await this.#underLocks([readLock(gfid)], async () => {
      const { store } = this.#primary.host.copy;
      const state = store.describe(gfid);
      if (state === undefined || (state.attr.mode & S_IFMT) !== S_IFREG) return;
      const { size } = state.attr;
      let at = 0;
      while (at < size) {
        const data = this.#nextData(gfid, at, size);
        if (data > at) await this.#primary.call(this.#follower, 'punch', { gfid, offset: at, length: data - at });
        if (data >= size) return;
        const region = Math.floor(data / REGION_BYTES);
        this.touch([regionKey(gfid, region)]);
        at = (region + 1) * REGION_BYTES;
      }
    });
  }

  #nextData(gfid: Gfid, from: number, size: number): number {
    try {
      return Math.min(size, this.#primary.host.copy.store.lseek(gfid, from, SEEK_DATA));
    } catch (error) {
      if (error instanceof FsError && error.errno === Errno.ENXIO) return size;
      throw error;
    }
  }

  async #syncRegion(gfid: Gfid, index: number): Promise<void> {
    const start = index * REGION_BYTES;
    await this.#underLocks([rangeLock(gfid, Mode.DataRead, start, start + REGION_BYTES)], async () => {
      const { store } = this.#primary.host.copy;
      const state = store.describe(gfid);
      if (state === undefined || state.attr.size <= start) return;
      const end = Math.min(state.attr.size, start + REGION_BYTES);
      let theirs: Uint8Array;
      try {
        ({ digests: theirs } = await this.#primary.call(this.#follower, 'digests', { gfid, region: index }));
      } catch (error) {
        if (!(error instanceof FsError) || error.errno !== Errno.ESTALE) throw error;
        this.touch([inodeKey(gfid), fileKey(gfid)]);
        return;
      }
      await this.#copyBlocks(gfid, start, end, Buffer.from(store.digests(gfid, index)), Buffer.from(theirs));
    });
  }

  async #copyBlocks(gfid: Gfid, start: number, end: number, ours: Buffer, theirs: Buffer): Promise<void> {
    const blocks = Math.ceil((end - start) / BLOCK_BYTES);
    const kindOf = (block: number): 'same' | 'zero' | 'data' => {
      const at = block * DIGEST_BYTES;
      const mine = at < ours.length ? ours.subarray(at, at + DIGEST_BYTES) : ZERO_DIGEST;
      const other = at < theirs.length ? theirs.subarray(at, at + DIGEST_BYTES) : ZERO_DIGEST;
      return mine.equals(other) ? 'same' : mine.equals(ZERO_DIGEST) ? 'zero' : 'data';
    };
    for (let block = 0; block < blocks; ) {
      const kind = kindOf(block);
      let next = block + 1;
      while (next < blocks && kindOf(next) === kind) next++;
      const offset = start + block * BLOCK_BYTES;
      const length = Math.min(end, start + next * BLOCK_BYTES) - offset;
      if (kind === 'zero') await this.#primary.call(this.#follower, 'punch', { gfid, offset, length });
      if (kind === 'data') {
        const data = Buffer.from(await this.#primary.host.copy.store.read(gfid, offset, length));
        await this.#primary.call(this.#follower, 'patch', { gfid, offset, data });
        this.#bytesDone += length;
      }
      block = next;
    }
  }

  /** One directory of the whole-tree walk: names that differ, then every inode in it. */
  async #walkDirectory(gfid: Gfid): Promise<void> {
    const { store } = this.#primary.host.copy;
    if (store.describe(gfid) === undefined) return;
    this.touch([inodeKey(gfid)]);
    const theirs = new Map<Name, Gfid>();
    for (let after = '', end = false; !end; ) {
      try {
        const page = await this.#primary.call(this.#follower, 'list', { gfid, after });
        for (const entry of page.entries) theirs.set(entry.name, entry.gfid);
        end = page.end || page.entries.length === 0;
        after = page.entries.at(-1)?.name ?? '';
      } catch (error) {
        if (!(error instanceof FsError) || error.errno !== Errno.ESTALE) throw error;
        end = true;
      }
    }
    for (let after = '', end = false; !end; ) {
      if (store.describe(gfid) === undefined) return;
      const page = store.readdir(gfid, after, 1000, false);
      for (const entry of page.entries) {
        if (theirs.get(entry.name) !== entry.gfid) this.touch([nameKey(gfid, entry.name)]);
        theirs.delete(entry.name);
        if (entry.type === S_IFDIR) {
          if (!this.#walked?.has(entry.gfid)) {
            this.#walked?.add(entry.gfid);
            this.#walkQueue.push(entry.gfid);
          }
        } else this.touch(entry.type === S_IFREG ? [inodeKey(entry.gfid), fileKey(entry.gfid)] : [inodeKey(entry.gfid)]);
      }
      end = page.end || page.entries.length === 0;
      after = page.entries.at(-1)?.name ?? '';
    }
    for (const name of theirs.keys()) this.touch([nameKey(gfid, name)]);
  }

  // ---------------------------------------------------------------- the end

  /** What the source does not have goes; what was moved aside goes; the journal is handed on; the disk is synced. */
  async #finish(): Promise<void> {
    const primary = this.#primary;
    const follower = this.#follower;
    const { journal, store } = primary.host.copy;
    await this.#forgetAll();
    const { gfids } = await primary.call(follower, 'orphans', {});
    for (const gfid of gfids) {
      if (store.describe(gfid) !== undefined) continue;
      await primary.call(follower, 'forget', { gfid });
    }
    await primary.call(follower, 'clearAside', {});
    const keys = [...journal.keys()];
    for (let at = 0; at < keys.length; at += KEYS_PER_MESSAGE) await primary.call(follower, 'addKeys', { keys: keys.slice(at, at + KEYS_PER_MESSAGE) });
    await primary.call(follower, 'resyncEnd', { checkpoint: journal.meta.checkpoint, base: journal.meta.base });
  }

  async #forgetAll(): Promise<void> {
    const gfids = [...this.#forget];
    this.#forget.clear();
    for (const gfid of gfids) await this.#primary.call(this.#follower, 'forget', { gfid });
  }

  /** Slows mutations down while the work does not shrink: without that, a busy volume would never be equal. Ends with the returned function. */
  #keepPace(): () => void {
    const primary = this.#primary;
    const { clock } = primary.host;
    const reason = `pace of ${this.#follower.brick}`;
    let over = false;
    let periods = 0;
    let held_ms = 0;
    let before = Infinity;
    const look = (): void => {
      const left = this.keysLeft;
      if (this.#walking || left < before * 0.9) held_ms = Math.max(0, held_ms - HELD_STEP_MS / 2);
      else if (left >= before) held_ms = Math.min(HELD_MS_MAX, held_ms + HELD_STEP_MS);
      before = left;
    };
    const open = (): void => {
      primary.releaseGate(reason);
      if (!over) clock.after(PERIOD_MS - held_ms, close);
    };
    const close = (): void => {
      if (over || primary.stopped) return;
      if (++periods % PERIODS_PER_LOOK === 0) look();
      if (held_ms === 0) {
        clock.after(PERIOD_MS, close);
        return;
      }
      primary.closeGate(reason);
      clock.after(held_ms, open);
    };
    clock.after(PERIOD_MS, close);
    return () => {
      over = true;
      primary.releaseGate(reason);
    };
  }

  /** Holds mutations for a moment, does the rest, changes the view. */
  async #admit(): Promise<void> {
    const primary = this.#primary;
    const follower = this.#follower;
    await this.#gated(async () => {
      await this.#receivedAll();
      await this.#workOff(0);
      await this.#finish();
      await primary.sendState(follower);
      this.#check();
      const without = primary.view.inSync.filter((brick) => brick !== primary.host.brick && primary.followers.get(brick)?.state !== 'ready');
      const view = await primary.host.authority.change(primary.view.epoch, { kind: 'admit', brick: follower.brick, without });
      this.#check();
      if (view.inSync.includes(follower.brick) && view.primary === primary.host.brick) {
        follower.state = 'ready';
        primary.host.adoptView(view);
        if (!primary.stopped) primary.becomeReady(follower);
      } else {
        primary.host.adoptView(view);
        throw new LostError('the view changed meanwhile');
      }
    });
  }

  async #gated(work: () => void | Promise<void>): Promise<void> {
    const primary = this.#primary;
    const reason = `catch-up of ${this.#follower.brick}`;
    primary.closeGate(reason);
    try {
      await primary.drain();
      this.#check();
      await work();
    } finally {
      primary.releaseGate(reason);
    }
  }

  async #receivedAll(): Promise<void> {
    while (this.#acknowledged < this.#sent) {
      this.#check();
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #check(): void {
    if (this.#stopped !== '') throw new LostError(`catching up ended: ${this.#stopped}`);
    if (this.#primary.stopped) throw new LostError('no longer primary');
  }
}
