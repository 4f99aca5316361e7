/**
 * A brick's store in memory, over a disk that loses what was not synced: for the simulator.
 *
 * The page cache is one tree, the disk another that is behind it. Changes of metadata reach the disk in their order, as with a journalling file system: an fsync
 * brings all of them up to the last that concerns the inode or the directories that lead to it, and the data of that file only. When power is lost, some more
 * of the metadata may be on the disk, and any sectors of data that was not synced: a file can have its size and zeros, or half of a write.
 */
import { createHash } from 'node:crypto';
import { Errno, FsError } from '../../src/base/errno.js';
import type { Gfid, Name } from '../../src/base/ids.js';
import type { Attr, DirEntry, InodeState } from '../../src/fops/fields.js';
import { REGION_BYTES, SEEK_DATA, type Args, type Result } from '../../src/fops/ops.js';
import { BLOCK_BYTES, DIGEST_BYTES, FINE_BYTES, type BrickMeta, type Child, type JournalDisk, type Stamp, type Store, type StoreOp } from '../../src/replica/store.js';
import { fail, MemoryTree } from './memory-tree.js';
import type { SeededRandom } from './world.js';

const SECTOR_BYTES = 512;
const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);
const DISK_BLOCKS = 1e6;

/** What a disk does beside its work. */
export interface DiskBehaviour {
  /** Before a call is carried out, and after; may throw FsError, or end the process that called. */
  before(call: string): void;
  after(call: string): void;
  /** How long a call that goes to the disk takes; 0: it is done at once. */
  delay_ms(call: string): number;
  sleep(ms: number): Promise<void>;
  /** Part of the space that is left, from 0 to 1. */
  spare(): number;
  /** A failed sync loses what it was to write, as with the kernel's page cache. */
  losesPages(): boolean;
}

export const IDLE_DISK: DiskBehaviour = {
  before: () => undefined,
  after: () => undefined,
  delay_ms: () => 0,
  sleep: () => Promise.resolve(),
  spare: () => 1,
  losesPages: () => false,
};

/** One change that is in the page cache and not yet on the disk. */
interface Pending {
  inodes: Gfid[];
  replay(tree: MemoryTree): void;
}

export class MemoryStore implements Store {
  #cache = new MemoryTree();
  #disk = new MemoryTree();
  #pending: Pending[] = [];
  /** Changes that reached the disk so far. */
  #written = 0;
  /** Files with data that may not be on the disk. */
  readonly #dirty = new Set<Gfid>();
  behaviour: DiskBehaviour = IDLE_DISK;
  /** What memory showed and what the disk held when sectors were lost, and where they begin. */
  readonly #lost = new Map<Gfid, { cache: Buffer; disk: Buffer; sectors: Set<number> }>();
  /** Syncs what is beside the tree on the same disk. */
  onSync: () => void = () => undefined;

  /** What the next process finds when this one is killed: the page cache stays. This store may be used on, by a process that is no more. */
  afterKill(): MemoryStore {
    const next = new MemoryStore();
    next.#cache = this.#cache.clone();
    next.#disk = this.#disk.clone();
    next.#pending = [...this.#pending];
    for (const gfid of this.#dirty) next.#dirty.add(gfid);
    return next;
  }

  /** What is found after a loss of power. */
  afterPowerLoss(random: SeededRandom): MemoryStore {
    const next = new MemoryStore();
    const disk = this.#disk.clone();
    const survivors = random.chance(0.3) ? 0 : random.chance(0.4) ? this.#pending.length : random.below(this.#pending.length + 1);
    for (const { replay } of this.#pending.slice(0, survivors)) replay(disk);
    for (const gfid of this.#dirty) {
      const kept = disk.bytes(gfid);
      const lost = this.#cache.bytes(gfid);
      if (kept === undefined || lost === undefined) continue;
      const share = random.pick([0, 0.5, 1]);
      for (let at = 0; at < Math.min(kept.length, lost.length); at += SECTOR_BYTES) {
        if (share > 0 && random.chance(share)) lost.copy(kept, at, at, Math.min(at + SECTOR_BYTES, kept.length, lost.length));
      }
    }
    next.#cache = disk.clone();
    next.#disk = disk;
    return next;
  }

  /** Everything, for comparing replicas, as it is read once the kernel has let go of what it takes for written. */
  dump(): string {
    for (const gfid of this.#lost.keys()) this.#withoutLost(this.#cache, gfid);
    return this.#cache.dump();
  }

  #change<T>(call: string, inodes: Gfid[], act: (tree: MemoryTree) => T, replay: (tree: MemoryTree) => void = act): T {
    this.behaviour.before(call);
    const result = act(this.#cache);
    this.#pending.push({ inodes, replay });
    this.behaviour.after(call);
    return result;
  }

  // ---------------------------------------------------------------- reads

  lookup(parent: Gfid, name: Name): Attr {
    return this.#cache.lookup(parent, name);
  }

  getattr(gfid: Gfid): Attr {
    return this.#cache.getattr(gfid);
  }

  readlink(gfid: Gfid): string {
    return this.#cache.readlink(gfid);
  }

  readdir(gfid: Gfid, after: Name | '', limit: number, attributes: boolean): { entries: DirEntry[]; end: boolean } {
    return this.#cache.readdir(gfid, after, limit, attributes);
  }

  statfs(): Result<'statfs'> {
    const free = Math.floor(DISK_BLOCKS * this.behaviour.spare());
    return { blockSize: 4096, blocks: DISK_BLOCKS, blocksFree: free, blocksAvailable: free, files: 1e6, filesFree: 1e6, nameMax: 255 };
  }

  getxattr(gfid: Gfid, name: string): Uint8Array {
    return this.#cache.getxattr(gfid, name);
  }

  listxattr(gfid: Gfid): string[] {
    return this.#cache.listxattr(gfid);
  }

  lseek(gfid: Gfid, offset: number, whence: number): number {
    const { size } = this.#cache.getattr(gfid);
    if (offset >= size) fail(Errno.ENXIO, 'lseek');
    return whence === SEEK_DATA ? offset : size;
  }

  read(gfid: Gfid, offset: number, size: number): Uint8Array | Promise<Uint8Array> {
    const ms = this.behaviour.delay_ms('read');
    if (ms === 0) return this.#readNow(gfid, offset, size);
    return this.behaviour.sleep(ms).then(() => this.#readNow(gfid, offset, size));
  }

  /** What another process on the node finds in the file; undefined where it is none. */
  peek(gfid: Gfid, offset: number, size: number): Uint8Array | undefined {
    try {
      return this.#cache.read(gfid, offset, size);
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      return undefined;
    }
  }

  #readNow(gfid: Gfid, offset: number, size: number): Uint8Array {
    this.behaviour.before('read');
    return this.#cache.read(gfid, offset, size);
  }

  // ---------------------------------------------------------------- mutations

  apply<K extends StoreOp>(op: K, args: Args<K>, stamp: Stamp): Result<K> {
    if (op === 'write') return this.#write(args as Args<'write'>, stamp) as Result<K>;
    return this.#change(op, inodesOf(args, stamp), (tree) => tree.apply(op, args, stamp) as Result<K>);
  }

  #write(args: Args<'write'>, stamp: Stamp): Result<'write'> {
    const { gfid, offset } = args;
    // The caller may use the memory again.
    const own = { ...args, data: Buffer.from(args.data) };
    try {
      const result = this.#change(
        'write',
        [gfid],
        (tree) => tree.apply('write', own, stamp) as Result<'write'>,
        (tree) => tree.grow(gfid, offset + own.data.byteLength, stamp.time),
      );
      this.#dirty.add(gfid);
      return result;
    } catch (error) {
      if (error instanceof FsError) this.#writePart(args);
      throw error;
    }
  }

  /** A disk that fails in the middle of a write has changed the first of its bytes. */
  #writePart({ gfid, offset, data }: Args<'write'>): void {
    const bytes = this.#cache.bytes(gfid);
    if (bytes === undefined || offset >= bytes.length || this.behaviour.spare() === 0) return;
    Buffer.from(data).copy(bytes, offset, 0, data.byteLength >> 1);
    this.#dirty.add(gfid);
  }

  purge(gfid: Gfid): void {
    this.#change('purge', [gfid], (tree) => tree.purge(gfid));
  }

  orphans(): Gfid[] {
    return this.#cache.orphans();
  }

  async fsync(gfid: Gfid): Promise<void> {
    this.#cache.getattr(gfid);
    const before = this.#written + this.#pending.length;
    await this.#diskTime('fsync');
    try {
      this.behaviour.before('fsync');
    } catch (error) {
      if (this.behaviour.losesPages()) this.#lose(gfid);
      throw error;
    }
    const lineage = this.#cache.lineage(gfid);
    let last = Math.max(0, before - this.#written);
    while (last > 0 && !(this.#pending[last - 1] as Pending).inodes.some((inode) => lineage.has(inode))) last--;
    for (const { replay } of this.#pending.splice(0, last)) replay(this.#disk);
    this.#written += last;
    const kept = this.#disk.bytes(gfid);
    if (kept !== undefined) this.#cache.bytes(gfid)?.copy(kept, 0, 0, kept.length);
    this.#withoutLost(this.#disk, gfid);
    this.behaviour.after('fsync');
  }

  async sync(): Promise<void> {
    await this.#diskTime('sync');
    try {
      this.behaviour.before('sync');
    } catch (error) {
      if (this.behaviour.losesPages()) for (const gfid of this.#dirty) this.#lose(gfid);
      throw error;
    }
    this.#disk = this.#cache.clone();
    for (const gfid of this.#lost.keys()) this.#withoutLost(this.#disk, gfid);
    this.#written += this.#pending.length;
    this.#pending = [];
    this.#dirty.clear();
    this.onSync();
    this.behaviour.after('sync');
  }

  async #diskTime(call: string): Promise<void> {
    const ms = this.behaviour.delay_ms(call);
    if (ms > 0) await this.behaviour.sleep(ms);
  }

  // ---------------------------------------------------------------- resync

  child(parent: Gfid, name: Name): Child | undefined {
    return this.#cache.child(parent, name);
  }

  directoryPlace(gfid: Gfid): { parent: Gfid; name: Name } | undefined {
    return this.#cache.directoryPlace(gfid);
  }

  /** What was to be written is not on the disk and never will be, though the cache shows it. */
  #lose(gfid: Gfid): void {
    const [cache, disk] = [this.#cache.bytes(gfid), this.#disk.bytes(gfid)];
    if (cache === undefined || disk === undefined) return;
    const lost = { cache: Buffer.from(cache), disk: Buffer.from(disk), sectors: new Set<number>() };
    for (let at = 0; at < Math.min(cache.length, disk.length); at += SECTOR_BYTES) {
      if (!cache.subarray(at, at + SECTOR_BYTES).equals(disk.subarray(at, at + SECTOR_BYTES))) lost.sectors.add(at);
    }
    this.#lost.set(gfid, lost);
  }

  /** Also where the bytes are those that were lost. */
  #writtenAnew(gfid: Gfid, offset: number, length: number): void {
    const sectors = this.#lost.get(gfid)?.sectors;
    if (sectors !== undefined) for (const at of sectors) if (at < offset + length && at + SECTOR_BYTES > offset) sectors.delete(at);
  }

  /** Sectors that were lost, and not written since, are what the disk holds. */
  #withoutLost(tree: MemoryTree, gfid: Gfid): void {
    const lost = this.#lost.get(gfid);
    const bytes = tree.bytes(gfid);
    if (lost === undefined || bytes === undefined) return;
    for (const at of lost.sectors) {
      const end = Math.min(at + SECTOR_BYTES, bytes.length);
      if (at < end && bytes.subarray(at, end).equals(lost.cache.subarray(at, end))) lost.disk.copy(bytes, at, at, end);
    }
  }

  describe(gfid: Gfid): InodeState | undefined {
    return this.#cache.describe(gfid);
  }

  digests(gfid: Gfid, region: number): Uint8Array {
    const data = this.#cache.bytes(gfid) ?? Buffer.alloc(0);
    const parts: Buffer[] = [];
    for (let at = region * REGION_BYTES; at < Math.min(data.length, (region + 1) * REGION_BYTES); at += BLOCK_BYTES) {
      const block = data.subarray(at, at + BLOCK_BYTES);
      const zero = block.equals(ZERO_BLOCK.subarray(0, block.length));
      parts.push(zero ? Buffer.alloc(DIGEST_BYTES) : createHash('md5').update(block).digest());
    }
    return Buffer.concat(parts);
  }

  fineDigests(gfid: Gfid, region: number, blocks: number): Uint8Array {
    const data = this.#cache.bytes(gfid) ?? Buffer.alloc(0);
    const parts: Buffer[] = [];
    for (let block = 0; block < REGION_BYTES / BLOCK_BYTES; block++) {
      if ((blocks & (1 << block)) === 0) continue;
      const start = region * REGION_BYTES + block * BLOCK_BYTES;
      for (let at = start; at < start + BLOCK_BYTES; at += FINE_BYTES) {
        const piece = data.subarray(at, at + FINE_BYTES);
        parts.push(piece.equals(ZERO_BLOCK.subarray(0, piece.length)) ? Buffer.alloc(DIGEST_BYTES) : createHash('md5').update(piece).digest());
      }
    }
    return Buffer.concat(parts);
  }

  dataRanges(gfid: Gfid, region: number): [number, number][] {
    const { size } = this.#cache.getattr(gfid);
    const start = region * REGION_BYTES;
    return size <= start ? [] : [[start, Math.min(size - start, REGION_BYTES)]];
  }

  place(parent: Gfid, name: Name, child: Child | undefined, target?: string): boolean {
    return this.#change('place', child === undefined ? [parent] : [parent, child.gfid], (tree) => tree.place(parent, name, child, target));
  }

  putInode(state: InodeState): boolean {
    const { gfid } = state.attr;
    const created = this.#change('putInode', [gfid], (tree) => tree.putInode(state));
    this.#dirty.add(gfid);
    return created;
  }

  patch(gfid: Gfid, offset: number, data: Uint8Array): void {
    const own = Buffer.from(data);
    this.#change('patch', [gfid], (tree) => tree.patch(gfid, offset, own), (tree) => tree.grow(gfid, offset + own.byteLength, undefined));
    this.#writtenAnew(gfid, offset, own.byteLength);
    this.#dirty.add(gfid);
  }

  punch(gfid: Gfid, offset: number, length: number): void {
    this.#change('punch', [gfid], (tree) => tree.punch(gfid, offset, length));
    this.#writtenAnew(gfid, offset, length);
  }

  forget(gfid: Gfid): void {
    this.#change('forget', [gfid], (tree) => tree.forget(gfid));
  }

  asides(): Gfid[] {
    return this.#cache.asides();
  }

  clearAside(): void {
    this.#change('clearAside', [], (tree) => tree.clearAside());
  }

  dropCaches(): void {}

  close(): void {}
}

function inodesOf(args: unknown, stamp: Stamp): Gfid[] {
  const { gfid, parent, newParent } = args as { gfid?: Gfid; parent?: Gfid; newParent?: Gfid };
  return [gfid, parent, newParent, stamp.gfid].filter((inode): inode is Gfid => inode !== undefined && inode !== '');
}

export class MemoryJournalDisk implements JournalDisk {
  #meta: BrickMeta;
  #sessions: Uint8Array = new Uint8Array();
  #generations = new Map<number, Buffer>();
  /** Bytes of each generation that a loss of power leaves. */
  #synced = new Map<number, number>();
  behaviour: DiskBehaviour = IDLE_DISK;

  constructor(meta: BrickMeta) {
    this.#meta = meta;
  }

  afterKill(): MemoryJournalDisk {
    const next = new MemoryJournalDisk({ ...this.#meta });
    next.#sessions = this.#sessions;
    next.#generations = new Map(this.#generations);
    next.#synced = new Map(this.#synced);
    return next;
  }

  /** Appends that were not synced may be gone, the last of them torn. */
  afterPowerLoss(random: SeededRandom): MemoryJournalDisk {
    const next = this.afterKill();
    for (const [generation, bytes] of next.#generations) {
      const synced = Math.min(bytes.length, this.#synced.get(generation) ?? 0);
      const length = synced + random.below(bytes.length - synced + 1);
      const kept = Buffer.from(bytes.subarray(0, length));
      if (length > synced && random.chance(0.5)) kept[length - 1] = (kept[length - 1] as number) ^ 0xff;
      next.#generations.set(generation, kept);
      next.#synced.set(generation, length);
    }
    return next;
  }

  sync(): void {
    for (const [generation, bytes] of this.#generations) this.#synced.set(generation, bytes.length);
  }

  writeMeta(meta: BrickMeta): void {
    this.behaviour.before('meta');
    this.#meta = { ...meta };
    this.behaviour.after('meta');
  }

  readMeta(): BrickMeta {
    return { ...this.#meta };
  }

  /** Durable on return, as the meta. */
  writeSessions(table: Uint8Array): void {
    this.behaviour.before('meta');
    this.#sessions = Buffer.from(table);
    this.behaviour.after('meta');
  }

  readSessions(): Uint8Array {
    return this.#sessions;
  }

  generations(): number[] {
    return [...this.#generations.keys()].toSorted((a, b) => a - b);
  }

  append(generation: number, record: Uint8Array): void {
    this.behaviour.before('journal');
    this.#generations.set(generation, Buffer.concat([this.#generations.get(generation) ?? Buffer.alloc(0), record]));
    this.behaviour.after('journal');
  }

  readGeneration(generation: number): Uint8Array {
    return this.#generations.get(generation) ?? fail(Errno.ENOENT, 'journal');
  }

  replaceGeneration(generation: number, records: Uint8Array): void {
    this.behaviour.before('journal');
    this.#generations.set(generation, Buffer.from(records));
    this.#synced.set(generation, records.byteLength);
  }

  dropGeneration(generation: number): void {
    this.#generations.delete(generation);
    this.#synced.delete(generation);
  }
}
