/**
 * The change journal: which keys were touched since the last checkpoint that the whole set completed, and the answers that were given.
 *
 * A record is `u16le length · key bytes · u8 check`; a torn tail ends the reading. Generation files are named by the checkpoint at whose
 * rotation they began; a key is written once per generation, *before* the change it announces. Answers (records that begin with r, a, v or x, see
 * results.ts) and file locks (lock-records.ts) are written before the acknowledgement leaves; a new generation begins with all that are still kept.
 */
import { FsError } from '../base/errno.js';
import { parseKey, type Key } from './keys.js';
import { isLockRecord } from './lock-records.js';
import type { BrickMeta, JournalDisk } from './store.js';

const ANSWERS_WAITING_MAX = 10_000;
const KEYS_PER_TURN = 20_000;
/** Checkpoints of one primary, at most: one in 30 s for 24 days, then epochs and numbers may meet. */
const NUMBERS_PER_EPOCH = 65_536;

function checkByte(bytes: Uint8Array, start: number, end: number): number {
  let check = 0x5a;
  for (let i = start; i < end; i++) check = ((check << 1) | (check >>> 7)) & 0xff ^ (bytes[i] as number);
  return check;
}

function encodeRecords(keys: readonly string[]): Uint8Array {
  let length = 0;
  for (const key of keys) length += key.length + 3;
  const record = Buffer.allocUnsafe(length);
  let at = 0;
  for (const key of keys) {
    record.writeUInt16LE(key.length, at);
    record.write(key, at + 2, 'latin1');
    const end = at + 2 + key.length;
    record[end] = checkByte(record, at + 2, end);
    at = end + 1;
  }
  return record;
}

/** The records of one generation file; what follows a torn or damaged one is not read. */
export function decodeRecords(bytes: Uint8Array): string[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const records: string[] = [];
  let at = 0;
  while (at + 3 <= buffer.length) {
    const end = at + 2 + buffer.readUInt16LE(at);
    if (end >= buffer.length || buffer[end] !== checkByte(buffer, at + 2, end)) break;
    records.push(buffer.toString('latin1', at + 2, end));
    at = end + 1;
  }
  return records;
}

export function isAnswerRecord(record: string): boolean {
  return record.startsWith('r') || record.startsWith('a') || record.startsWith('v') || record === 'x';
}

function isKept(record: string): boolean {
  return isAnswerRecord(record) || isLockRecord(record);
}

function keysIn(bytes: Uint8Array): Key[] {
  return decodeRecords(bytes).filter((record) => parseKey(record) !== undefined);
}

interface Count {
  keys: number;
  regions: number;
}

function count(keys: Iterable<Key>): Count {
  const found = { keys: 0, regions: 0 };
  for (const key of keys) {
    found.keys++;
    if (key.startsWith('d')) found.regions++;
  }
  return found;
}

function sum(a: Count, b: Count): Count {
  return { keys: a.keys + b.keys, regions: a.regions + b.regions };
}

export class Journal {
  readonly #disk: JournalDisk;
  #meta: BrickMeta;
  /** The disk has an older one. */
  #unwritten = false;
  /** Of `sealedEpoch`, what is on the disk. */
  #promised: number;
  #generation: number;
  /** Keys already in the current generation. */
  #current: Set<Key>;
  #dirty = false;
  /** Keys and regions of the generations before the current one; undefined until somebody asks. */
  #older: Count | undefined;
  /** Older generations were made one so many times. */
  #compactions = 0;
  /** Of older generations nothing waits to be written any more; 0 where this process has not synced yet. */
  #unsyncedFrom = 0;
  #answers: string[] = [];

  constructor(disk: JournalDisk) {
    this.#disk = disk;
    this.#meta = disk.readMeta();
    this.#promised = this.#meta.sealedEpoch;
    const newest = disk.generations().at(-1);
    this.#generation = newest ?? this.#meta.checkpoint;
    this.#current = new Set(newest === undefined ? [] : this.#openNewest(newest));
  }

  /** What a crash tore off at the end goes now: records behind it would never be read. */
  #openNewest(generation: number): Key[] {
    const bytes = this.#disk.readGeneration(generation);
    const records = decodeRecords(bytes);
    const whole = encodeRecords(records);
    if (whole.byteLength !== bytes.byteLength) this.#disk.replaceGeneration(generation, whole);
    return records.filter((record) => parseKey(record) !== undefined);
  }

  /** While a brick is absent, generations pile up: the older ones are made one, without the answers. */
  #compact(): void {
    const older = this.#disk.generations().filter((generation) => generation < this.#generation);
    const newest = older.at(-1);
    if (newest === undefined || older.length < 2) return;
    const keys = new Set(older.flatMap((generation) => keysIn(this.#disk.readGeneration(generation))));
    this.#compactions++;
    this.#older = count(keys);
    this.#disk.replaceGeneration(newest, encodeRecords([...keys]));
    for (const generation of older.slice(0, -1)) this.#disk.dropGeneration(generation);
  }

  /** The answers and file locks that were written, oldest first. */
  answers(): string[] {
    return this.#disk.generations().flatMap((generation) => decodeRecords(this.#disk.readGeneration(generation)).filter(isKept));
  }

  /** What was written last, before this process: its change may not have been made. */
  lastRecord(): string | undefined {
    const newest = this.#disk.generations().at(-1);
    return newest === undefined ? undefined : decodeRecords(this.#disk.readGeneration(newest)).at(-1);
  }

  /** An answer to be written with the next `flushAnswers`, at the end of this turn of the event loop at the latest. */
  noteAnswer(record: string): void {
    if (this.#answers.length === 0) queueMicrotask(() => this.flushAnswers());
    this.#answers.push(record);
  }

  /**
   * Called before an acknowledgement leaves: one write for all answers since the last time. A disk that is full keeps them waiting; until they are
   * written, only a restart of the whole set at once could make a repeated request happen twice.
   */
  flushAnswers(): void {
    try {
      this.writeAnswers();
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      if (this.#answers.length > ANSWERS_WAITING_MAX) this.#answers = this.#answers.slice(-ANSWERS_WAITING_MAX);
    }
  }

  /** The same where nothing may go on without them: throws FsError when the disk refuses. */
  writeAnswers(): void {
    if (this.#answers.length === 0) return;
    this.#disk.append(this.#generation, encodeRecords(this.#answers));
    this.#answers = [];
  }

  get meta(): Readonly<BrickMeta> {
    return this.#meta;
  }

  /**
   * The number of a new checkpoint: one that no brick has ever had, also not from an attempt of another primary that was not finished. Otherwise
   * a brick that was absent could pass for one that took part.
   */
  nextNumber(epoch: number): number {
    const { checkpoint, base } = this.#meta;
    return Math.max(checkpoint, base, this.#generation, epoch * NUMBERS_PER_EPOCH) + 1;
  }

  /** Something changed since the last rotation. */
  get dirty(): boolean {
    return this.#dirty;
  }

  /** This brick obeys no view of a lower epoch from now on, also after a restart. Durable on return; throws FsError when it is not. */
  promise(epoch: number): void {
    if (epoch <= this.#promised) return;
    this.updateMeta({ sealedEpoch: epoch });
    this.#promised = epoch;
  }

  /** Counts in this process also when the disk refuses, and it throws FsError. */
  updateMeta(change: Partial<BrickMeta>): void {
    this.#meta = { ...this.#meta, ...change };
    this.#unwritten = true;
    this.#disk.writeMeta(this.#meta);
    this.#unwritten = false;
  }

  /** What the disk refused to write down is tried again. */
  writeAgain(): void {
    if (!this.#unwritten) return;
    try {
      this.updateMeta({});
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
    }
  }

  /** Announces that these keys are about to be touched. On return the keys survive the end of this process. */
  note(keys: readonly Key[]): void {
    this.#dirty = true;
    const fresh = this.#fresh(keys);
    if (fresh.length > 0) this.#append(fresh, []);
  }

  /** Announces a change with its keys and the answer that it will have, in one write, behind the answers that wait. */
  intend(keys: readonly Key[], answer: string): void {
    this.#dirty = true;
    this.#appendBehindAnswers(this.#fresh(keys), answer);
  }

  /** Records of what is about to be done, behind the answers that wait. When the disk refuses, FsError, and nothing of them waits to be written. */
  noteNow(...records: readonly string[]): void {
    this.#appendBehindAnswers([], ...records);
  }

  #appendBehindAnswers(keys: readonly Key[], ...records: readonly string[]): void {
    this.#append(keys, [...this.#answers, ...records]);
    this.#answers = [];
  }

  #fresh(keys: readonly Key[]): Key[] {
    const fresh = new Set<Key>();
    for (const key of keys) if (!this.#current.has(key)) fresh.add(key);
    return [...fresh];
  }

  /** Keys count as written only when they are. */
  #append(keys: readonly Key[], answers: readonly string[]): void {
    this.#disk.append(this.#generation, encodeRecords([...keys, ...answers]));
    for (const key of keys) this.#current.add(key);
  }

  /** Later changes go to the generation of checkpoint `number`, which begins with the answers that are kept. */
  rotate(number: number, answers: readonly string[]): void {
    if (number <= this.#generation) return;
    this.#compact();
    if (this.#older !== undefined) this.#older = sum(this.#older, count(this.#current));
    this.#generation = number;
    this.#current = new Set();
    this.#dirty = false;
    // Where the disk refuses they wait: the older generations may be without them.
    this.#answers = [...answers];
    this.writeAnswers();
  }

  /** The disk holds everything from before the rotation to checkpoint `number`. */
  synced(number: number): void {
    this.#unsyncedFrom = Math.max(this.#unsyncedFrom, number);
    if (number > this.#meta.checkpoint) this.updateMeta({ checkpoint: number });
  }

  /** Checkpoint `number` is complete on the whole set: nothing older can differ anywhere. */
  complete(number: number): void {
    if (number <= this.#meta.base) return;
    this.updateMeta({ base: number, torn: false });
    this.#older = undefined;
    for (const generation of this.#disk.generations()) if (generation < number && generation !== this.#generation) this.#disk.dropGeneration(generation);
  }

  /** Every key that may differ from another brick's state. */
  keys(): Set<Key> {
    return this.#keysFrom(0);
  }

  /** Of everything that changed since the disk was synced as a whole, and of more. Throws FsError when the disk cannot be read. */
  unsyncedKeys(): Set<Key> {
    return this.#keysFrom(this.#unsyncedFrom);
  }

  #keysFrom(oldest: number): Set<Key> {
    const all = new Set<Key>();
    for (const generation of this.#disk.generations()) {
      if (generation === this.#generation || generation < oldest) continue;
      for (const key of keysIn(this.#disk.readGeneration(generation))) all.add(key);
    }
    for (const key of this.#current) all.add(key);
    return all;
  }

  /**
   * Every key that may differ from another brick's state, in parts, with pauses between them: a large journal must not hold up clients. Keys that are
   * noted meanwhile may be among them or not.
   */
  async read(take: (keys: Iterable<Key>) => void, pause: () => Promise<void>): Promise<void> {
    take(this.#current);
    let compactions = -1;
    const read = new Set<number>();
    for (;;) {
      // What was read before may have been put together with what was not.
      if (compactions !== this.#compactions) read.clear();
      compactions = this.#compactions;
      const next = this.#disk.generations().find((generation) => !read.has(generation));
      if (next === undefined) return;
      read.add(next);
      const keys = keysIn(this.#disk.readGeneration(next));
      for (let at = 0; at < keys.length; at += KEYS_PER_TURN) {
        await pause();
        take(keys.slice(at, at + KEYS_PER_TURN));
      }
    }
  }

  /** How many keys there are, how many of them are regions of files (both at most), and the first of them. */
  summary(most: number): { keys: number; regions: number; first: Key[] } {
    if (this.#older === undefined) {
      const older = this.#disk.generations().filter((generation) => generation !== this.#generation);
      this.#older = older.map((generation) => count(keysIn(this.#disk.readGeneration(generation)))).reduce(sum, { keys: 0, regions: 0 });
    }
    const first: Key[] = [];
    for (const key of this.#current) {
      if (first.length === most) break;
      first.push(key);
    }
    for (const generation of this.#disk.generations()) {
      if (first.length >= most) break;
      if (generation !== this.#generation) first.push(...keysIn(this.#disk.readGeneration(generation)).slice(0, most - first.length));
    }
    return { ...sum(this.#older, count(this.#current)), first };
  }

  /** The disk was synced and nothing follows: the next start may trust this copy, also after a reboot. */
  closeCleanly(): void {
    this.flushAnswers();
    this.updateMeta({ bootId: '' });
  }

  /** After a resync: this brick's changes are as the source's, whose journal covers what is since `base`. */
  adopt(checkpoint: number, base: number): void {
    this.updateMeta({ checkpoint, base, incomplete: false, torn: false });
  }
}
