/**
 * What a brick lacks, as keys. It outlives connections: a heal that was interrupted goes on where it was, as long as the same primary serves.
 *
 *   names      a name in a directory
 *   inodes     existence, type, size
 *   data       regions and whole files; after their inode
 *   attributes inodes of which only times, owner, mode or xattrs may differ; last, because they change with every write
 *
 * A change is passed on to the brick when none of the keys it depends on is lacking, so a busy volume adds nothing to what is left; otherwise its
 * keys are noted. During a walk of the whole tree it is not known what is equal: all changes are noted, and worked off after the walk.
 *
 * Keys that were made equal since the brick's disk was synced last are kept as well: after an interruption they are made equal again, because the
 * brick may have lost them.
 */
import { ROOT_GFID, type Gfid, type Name } from '../base/ids.js';
import type { Args, OpName } from '../fops/ops.js';
import type { Change } from './copy.js';
import { fileKey, inodeKey, nameKey, pageOf, parseKey, type Key } from './keys.js';

/** Changes that read what may be lacking: their outcome here would not be the primary's. */
const NEVER_PASSED = new Set<OpName>(['copyFileRange']);

/** Inodes of which the change alters nothing but attributes. */
function attributesOnly(change: Change): Gfid[] {
  const { gfid, parent, newParent, size } = change.args as { gfid?: Gfid; parent?: Gfid; newParent?: Gfid; size?: number };
  switch (change.op) {
    case 'write':
    case 'setxattr':
    case 'removexattr':
      return [gfid as Gfid];
    case 'setattr':
      return size === undefined ? [gfid as Gfid] : [];
    case 'link':
      return [newParent as Gfid, (change.args as Args<'link'>).gfid];
    default:
      return [parent, newParent].filter((inode) => inode !== undefined);
  }
}

function gfidOf(key: Key): Gfid {
  return key.slice(1, 33);
}

const NAMING = new Set<OpName>(['create', 'mkdir', 'mknod', 'symlink', 'tmpfile', 'link', 'unlink', 'rmdir', 'rename']);
/** Keys that are looked at for one that may be done now. */
const LOOKED_AT_MAX = 64;
/** A speed is not told after less. */
const RATE_SECONDS_MIN = 0.5;

export class Lacking {
  /** Where a directory is; undefined for the root and for what is none. */
  readonly #placeOf: (gfid: Gfid) => { parent: Gfid; name: Name } | undefined;
  readonly names = new Set<Key>();
  readonly inodes = new Set<Key>();
  readonly data = new Set<Key>();
  readonly attributes = new Set<Key>();
  /** Names that go, when all that are made are there. */
  readonly #removals = new Set<Key>();
  /** Keys that are being made equal; true when the primary's state of them was read. */
  readonly #busy = new Map<Key, boolean>();
  /** Regions of which the brick is known to hold only a hole. */
  readonly #blank = new Set<Key>();
  /** Files that the brick had not at all: made, and empty. */
  readonly #made = new Set<Gfid>();
  /** Where the search of a file for data goes on. */
  readonly #cursors = new Map<Gfid, number>();
  /** Where it was at the last sync: the holes that were made since may be lost. */
  #settledCursors = new Map<Gfid, number>();
  /** Directories that the walk has still to look into, and all it ever met; undefined where there is no walk. */
  #walk: { queue: Gfid[]; met: Set<Gfid> } | undefined;
  /** Changed during the walk. */
  readonly #later = new Set<Key>();
  #loading = true;
  #unsettled = new Set<Key>();
  /** Keys that the brick's own journal must have when it is admitted: told to it, and not yet. */
  readonly #told = new Set<Key>();
  readonly #untold = new Set<Key>();
  /** Bytes of data that were compared, and those of them that were sent. */
  bytesCompared = 0;
  bytesSent = 0;
  /** The brick's checkpoint at its last sync during this heal: a lower one means that it was rolled back. */
  checkpoint = 0;
  #keysDone = 0;
  #begun = { at: 0, bytes: 0, keys: 0 };

  constructor(placeOf: (gfid: Gfid) => { parent: Gfid; name: Name } | undefined) {
    this.#placeOf = placeOf;
  }

  get size(): number {
    return this.names.size + this.inodes.size + this.data.size + this.attributes.size + this.#removals.size + this.#later.size + this.#busy.size;
  }

  get walking(): boolean {
    return this.#walk !== undefined;
  }

  /** Every key that is known to be lacking. */
  *keys(): Generator<Key> {
    yield* this.names;
    yield* this.#removals;
    yield* this.inodes;
    yield* this.data;
    yield* this.attributes;
    yield* this.#later;
    yield* this.#busy.keys();
  }

  // ---------------------------------------------------------------- beginning

  /** These keys may differ; the brick's journal is to have them too. */
  load(keys: Iterable<Key>): void {
    for (const key of keys) {
      this.add(key);
      this.#untold.add(key);
    }
  }

  /** The whole tree is compared from these directories on. */
  beginWalk(top: Gfid): void {
    this.#walk = { queue: [top], met: new Set([top]) };
  }

  /** All that was there before is loaded: what is not lacking is equal. */
  endLoading(): void {
    this.#loading = false;
  }

  get loaded(): boolean {
    return !this.#loading;
  }

  /** After an interruption: what the brick may have lost is made equal again. */
  resume(): void {
    const again = [...this.#unsettled, ...this.#busy.keys()];
    const cursors = [...this.#settledCursors];
    this.#unsettled.clear();
    this.#busy.clear();
    this.#blank.clear();
    this.#made.clear();
    this.#cursors.clear();
    for (const key of again) this.add(key);
    for (const [gfid, at] of cursors) if (this.data.has(fileKey(gfid))) this.#cursors.set(gfid, at);
    for (const key of this.#told) this.#untold.add(key);
    this.#told.clear();
  }

  // ---------------------------------------------------------------- changes that go on meanwhile

  /** True when the brick can have this change; otherwise it is noted. */
  passes(change: Change): boolean {
    if (this.#loading || this.walking || NEVER_PASSED.has(change.op) || this.#dependsOnLacking(change)) {
      this.missed(change);
      return false;
    }
    this.passed(change);
    return true;
  }

  passed(change: Change): void {
    for (const key of change.keys) this.#unsettled.add(key);
  }

  /** The brick does not get this change. */
  missed(change: Change): void {
    // A directory may move from where the walk was not yet to where it was.
    if (this.walking && change.op === 'rename') for (const key of change.keys) if (this.#isDirectory(key, [])) this.meet(gfidOf(key));
    const attributes = new Set(attributesOnly(change).map(inodeKey));
    for (const key of change.keys) {
      this.#untold.add(key);
      if (this.walking) this.#later.add(key);
      else if (attributes.has(key) && !this.inodes.has(key) && !this.#busy.has(key)) this.attributes.add(key);
      else this.add(key);
    }
  }

  /** Keys that changed by other ways than the stream. */
  touch(keys: Iterable<Key>): void {
    for (const key of keys) {
      this.#untold.add(key);
      if (this.walking) this.#later.add(key);
      else this.add(key);
    }
  }

  #dependsOnLacking(change: Change): boolean {
    if (!NAMING.has(change.op)) return change.keys.some((key) => this.#lacks(key));
    // A name that is not lacking leads to an inode that is there, whatever else that lacks.
    if (change.keys.some((key) => key.startsWith('n') && this.#lacks(key))) return true;
    const { parent, newParent, gfid } = change.args as { parent?: Gfid; newParent?: Gfid; gfid?: Gfid };
    const parents = [parent, newParent].filter((directory) => directory !== undefined);
    if (parents.some((directory) => this.#mayNotExist(directory))) return true;
    if (change.op === 'link') return this.#lacks(inodeKey(gfid as Gfid));
    // A directory that is empty, or not above another, at the primary need not be so there while names are lacking.
    const directories = change.op === 'rmdir' || (change.op === 'rename' && change.keys.some((key) => this.#isDirectory(key, parents)));
    return directories && this.#namesLacking();
  }

  #mayNotExist(directory: Gfid): boolean {
    if (directory === ROOT_GFID) return false;
    const place = this.#placeOf(directory);
    return place === undefined || this.#lacks(nameKey(place.parent, place.name));
  }

  #isDirectory(key: Key, parents: readonly Gfid[]): boolean {
    return key.startsWith('i') && !parents.includes(gfidOf(key)) && this.#placeOf(gfidOf(key)) !== undefined;
  }

  #namesLacking(): boolean {
    if (this.names.size + this.#removals.size > 0) return true;
    for (const key of this.#busy.keys()) if (key.startsWith('n')) return true;
    return false;
  }

  #lacks(key: Key): boolean {
    if (this.names.has(key) || this.#removals.has(key) || this.inodes.has(key) || this.data.has(key) || this.#busy.has(key)) return true;
    if (!key.startsWith('d')) return false;
    const file = fileKey(gfidOf(key));
    return this.data.has(file) || this.#busy.has(file);
  }

  // ---------------------------------------------------------------- the work

  /** To be made equal (again). */
  add(key: Key): void {
    // Its state was not read yet: what is read will be the new one.
    if (this.#busy.get(key) === false) return;
    this.#blank.delete(key);
    if (key.startsWith('n')) this.names.add(key);
    else if (key.startsWith('i')) this.inodes.add(key);
    else {
      if (key.startsWith('f')) {
        this.fileDone(gfidOf(key));
        this.#settledCursors.delete(gfidOf(key));
      }
      this.data.add(key);
    }
  }

  /** A region that holds data at the primary; `blank` where the brick's file was just made. */
  addRegion(key: Key, blank: boolean): void {
    const known = this.data.has(key) || this.#busy.has(key);
    this.data.add(key);
    if (blank && !known) this.#blank.add(key);
  }

  takeBlank(key: Key): boolean {
    return this.#blank.delete(key);
  }

  cursor(gfid: Gfid): number {
    return this.#cursors.get(gfid) ?? 0;
  }

  /** The search of this file goes on there later. */
  continueFile(gfid: Gfid, offset: number): void {
    this.data.add(fileKey(gfid));
    this.#cursors.set(gfid, offset);
  }

  fileDone(gfid: Gfid): void {
    this.#cursors.delete(gfid);
    this.#made.delete(gfid);
  }

  /** The brick has just made this file; its data is lacking. */
  made(gfid: Gfid): void {
    this.#made.add(gfid);
  }

  wasMade(gfid: Gfid): boolean {
    return this.#made.has(gfid);
  }

  /** Takes one out of its set, if there is one that may be done now; `done` or `failed` must follow. */
  take(keys: Set<Key>): Key | undefined {
    let looked = 0;
    for (const key of keys) {
      // One that is at work still may have read what is old by now, and must not write it over what is sent now.
      if (this.#busy.has(key) || (keys === this.data && this.#lacks(inodeKey(gfidOf(key))))) {
        if (++looked === LOOKED_AT_MAX) return undefined;
        continue;
      }
      keys.delete(key);
      // Its attributes may change while they are put: no change depends on them.
      if (keys !== this.attributes) this.#busy.set(key, false);
      if (keys === this.inodes) this.attributes.delete(key);
      return key;
    }
    return undefined;
  }

  /**
   * True for a name that was taken and is none at the primary, while others are to be made: should the work end in between (a full disk, say), an inode
   * has one name too many rather than none.
   */
  postponed(key: Key, exists: (parent: Gfid, name: Name) => boolean): boolean {
    const parsed = parseKey(key);
    if (parsed?.kind !== 'name' || this.names.size === 0 || exists(parsed.parent, parsed.name)) return false;
    this.#busy.delete(key);
    this.#removals.add(key);
    return true;
  }

  /** A postponed name, when there are no others. */
  takeRemoval(): Key | undefined {
    if (this.names.size > 0) return undefined;
    for (const key of this.#busy.keys()) if (key.startsWith('n')) return undefined;
    return this.take(this.#removals);
  }

  /** From now on the state of this key is read: a change after this moment is another one. */
  reading(key: Key): void {
    if (this.#busy.has(key)) this.#busy.set(key, true);
  }

  /** Something is being made equal at this moment. */
  get working(): boolean {
    return this.#busy.size > 0;
  }

  done(key: Key): void {
    this.#keysDone++;
    this.#busy.delete(key);
    this.#unsettled.add(key);
  }

  failed(key: Key): void {
    this.#busy.delete(key);
    this.add(key);
  }

  /** The next directory of the walk. */
  nextDirectory(): Gfid | undefined {
    return this.#walk?.queue.pop();
  }

  /** A directory that the walk met: it is looked into later, once. */
  meet(gfid: Gfid): void {
    if (this.#walk === undefined || this.#walk.met.has(gfid)) return;
    this.#walk.met.add(gfid);
    this.#walk.queue.push(gfid);
  }

  /** Looks into it again: the walk was interrupted there. */
  returnDirectory(gfid: Gfid): void {
    this.#walk?.queue.push(gfid);
  }

  endWalk(): void {
    this.#walk = undefined;
    for (const key of this.#later) this.add(key);
    this.#later.clear();
  }

  // ---------------------------------------------------------------- what is safe

  /** The brick begins to sync its disk; the answer takes note of the outcome. */
  beginSync(): (checkpoint: number | undefined) => void {
    const before = this.#unsettled;
    const cursors = [...this.#cursors];
    this.#unsettled = new Set();
    return (checkpoint) => {
      if (checkpoint === undefined) {
        for (const key of before) this.#unsettled.add(key);
        return;
      }
      this.checkpoint = checkpoint;
      // Not of a file that is searched from its beginning since.
      this.#settledCursors = new Map(cursors.filter(([gfid, at]) => this.cursor(gfid) >= at));
    };
  }

  /** An attempt begins, at this moment (monotonic milliseconds). */
  begun(now: number): void {
    this.#begun = { at: now, bytes: this.bytesCompared, keys: this.#keysDone };
  }

  /** How long the rest takes at the speed of this attempt; -1 while that cannot be told. */
  secondsLeft(now: number, bytesLeft: number): number {
    const { at, bytes, keys } = this.#begun;
    const seconds = (now - at) / 1000;
    if (this.size === 0) return 0;
    if (seconds < RATE_SECONDS_MIN) return -1;
    const ofBytes = this.bytesCompared > bytes ? (bytesLeft * seconds) / (this.bytesCompared - bytes) : bytesLeft === 0 ? 0 : -1;
    const ofKeys = this.#keysDone > keys ? (this.size * seconds) / (this.#keysDone - keys) : -1;
    return Math.ceil(bytesLeft > 0 ? ofBytes : ofKeys);
  }

  get unsettled(): number {
    return this.#unsettled.size;
  }

  /** Keys for the brick's journal, as many as fit one message; they count as told. */
  tell(): Key[] {
    const keys = pageOf(this.#untold);
    for (const key of keys) {
      this.#untold.delete(key);
      this.#told.add(key);
    }
    return keys;
  }

  get untold(): number {
    return this.#untold.size;
  }
}
