/** The brick's small state (.gluon/brick.json), its table of sessions (.gluon/sessions) and its change journal (.gluon/journal/<generation>). */
import { Errno, FsError } from '../../base/errno.js';
import type { BrickMeta, JournalDisk } from '../../replica/store.js';
import { DiskStat, O_CREAT, O_RDONLY, O_RDWR, type Disk } from '../disk.js';
import { Ballast } from './ballast.js';
import { META_NAME, SESSIONS_NAME } from './layout.js';
import { check } from './check.js';

const O_TRUNC = 0o1000;
const FILE_MODE = 0o600;
const GENERATION = /^[0-9]{1,15}$/;
const META_BYTES_MAX = 65_536;
const SESSIONS_BYTES_MAX = 16 << 20;

/** The whole of a small file; a negative error number when it cannot be read. */
export function readFile(disk: Disk, dir: number, name: string, bytesMax: number): Uint8Array | number {
  const fd = disk.openFile(dir, name, O_RDONLY, 0);
  if (fd < 0) return fd;
  try {
    const stat = new DiskStat();
    const known = disk.stat(fd, stat);
    if (known < 0) return known;
    if (stat.size > bytesMax) return -Errno.EFBIG;
    const out = Buffer.alloc(stat.size);
    let at = 0;
    while (at < out.byteLength) {
      const count = disk.read(fd, out.subarray(at), out.byteLength - at, at);
      if (count < 0) return count;
      if (count === 0) break;
      at += count;
    }
    return out.subarray(0, at);
  } finally {
    disk.close(fd);
  }
}

/** Replaces a small file as one step, durable on return. */
export function replaceFile(disk: Disk, dir: number, name: string, data: Uint8Array, op: string): void {
  const fresh = `${name}.new`;
  const fd = check(disk.openFile(dir, fresh, O_CREAT | O_TRUNC | O_RDWR, FILE_MODE), op);
  try {
    const written = check(disk.write(fd, data, data.byteLength, 0), op);
    if (written !== data.byteLength) throw new FsError(Errno.ENOSPC, op, `${name} could not be written whole`);
    check(disk.sync(fd), op);
  } finally {
    disk.close(fd);
  }
  check(disk.renameAt(dir, fresh, dir, name, 0), op);
  check(disk.sync(dir), op);
}

function isMeta(value: unknown): value is BrickMeta {
  if (typeof value !== 'object' || value === null) return false;
  const meta = value as Record<string, unknown>;
  const counts = ['formatVersion', 'checkpoint', 'base', 'sealedEpoch'];
  const texts = ['volumeId', 'brickId', 'bootId'];
  return (
    counts.every((key) => Number.isSafeInteger(meta[key]) && (meta[key] as number) >= 0) &&
    texts.every((key) => typeof meta[key] === 'string') &&
    typeof meta['incomplete'] === 'boolean'
  );
}

/** Reads brick.json; undefined where there is none. EIO, with what is wrong, when it is damaged. */
export function readMeta(disk: Disk, privateFd: number): BrickMeta | undefined {
  const bytes = readFile(disk, privateFd, META_NAME, META_BYTES_MAX);
  if (bytes === -Errno.ENOENT) return undefined;
  if (typeof bytes === 'number') throw new FsError(-bytes, 'read brick.json');
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (cause) {
    throw new FsError(Errno.EIO, 'read brick.json', 'it is not JSON', { cause });
  }
  if (!isMeta(value)) throw new FsError(Errno.EIO, 'read brick.json', 'a field is missing or of the wrong type');
  // Bricks of before these fields were added are settled.
  const { unsettled, halfWritten } = value as Partial<BrickMeta>;
  return { ...value, unsettled: unsettled === true, halfWritten: halfWritten === true };
}

export function writeMeta(disk: Disk, privateFd: number, meta: BrickMeta): void {
  replaceFile(disk, privateFd, META_NAME, Buffer.from(`${JSON.stringify(meta, undefined, 2)}\n`), 'write brick.json');
}

export class DirectoryJournal implements JournalDisk {
  readonly #disk: Disk;
  readonly #privateFd: number;
  readonly #dir: number;
  readonly #ballast: Ballast;
  /** The generation that is open for appending, usually the newest. */
  #open: { generation: number; fd: number; size: number } | undefined;

  /** `privateFd` stays the caller's. */
  constructor(disk: Disk, privateFd: number) {
    this.#disk = disk;
    this.#privateFd = privateFd;
    this.#dir = check(disk.openDirectory(privateFd, 'journal'), 'open journal');
    this.#ballast = new Ballast(disk, privateFd);
  }

  close(): void {
    this.#closeOpen();
    this.#disk.close(this.#dir);
  }

  writeMeta(meta: BrickMeta): void {
    this.#ballast.with(() => writeMeta(this.#disk, this.#privateFd, meta));
    this.#ballast.take();
  }

  readMeta(): BrickMeta {
    const meta = readMeta(this.#disk, this.#privateFd);
    if (meta === undefined) throw new FsError(Errno.ENOENT, 'read brick.json');
    return meta;
  }

  writeSessions(table: Uint8Array): void {
    this.#ballast.with(() => replaceFile(this.#disk, this.#privateFd, SESSIONS_NAME, table, 'write sessions'));
  }

  readSessions(): Uint8Array {
    const bytes = readFile(this.#disk, this.#privateFd, SESSIONS_NAME, SESSIONS_BYTES_MAX);
    if (bytes === -Errno.ENOENT) return new Uint8Array();
    if (typeof bytes === 'number') throw new FsError(-bytes, 'read sessions');
    return bytes;
  }

  generations(): number[] {
    const names = this.#disk.list(this.#dir);
    if (typeof names === 'number') throw new FsError(-names, 'list journal');
    return names
      .filter((name) => GENERATION.test(name))
      .map(Number)
      .toSorted((a, b) => a - b);
  }

  append(generation: number, record: Uint8Array): void {
    this.#ballast.with(() => this.#append(generation, record));
  }

  #append(generation: number, record: Uint8Array): void {
    const open = this.#opened(generation);
    const result = this.#disk.append(open.fd, record);
    if (result === record.byteLength) {
      open.size += result;
      return;
    }
    // Half a record in the middle would end the journal for its reader.
    this.#disk.truncate(open.fd, open.size);
    throw new FsError(result < 0 ? -result : Errno.ENOSPC, 'append to journal');
  }

  #opened(generation: number): { generation: number; fd: number; size: number } {
    if (this.#open?.generation === generation) return this.#open;
    this.#closeOpen();
    const fd = check(this.#disk.openAppend(this.#dir, String(generation)), 'open journal generation');
    const stat = new DiskStat();
    check(this.#disk.stat(fd, stat), 'stat journal generation');
    this.#open = { generation, fd, size: stat.size };
    return this.#open;
  }

  #closeOpen(): void {
    if (this.#open !== undefined) this.#disk.close(this.#open.fd);
    this.#open = undefined;
  }

  readGeneration(generation: number): Uint8Array {
    const bytes = readFile(this.#disk, this.#dir, String(generation), Number.MAX_SAFE_INTEGER);
    if (typeof bytes === 'number') throw new FsError(-bytes, 'read journal generation');
    return bytes;
  }

  replaceGeneration(generation: number, records: Uint8Array): void {
    if (this.#open?.generation === generation) this.#closeOpen();
    replaceFile(this.#disk, this.#dir, String(generation), records, 'replace journal generation');
  }

  dropGeneration(generation: number): void {
    if (this.#open?.generation === generation) this.#closeOpen();
    const result = this.#disk.unlinkAt(this.#dir, String(generation));
    if (result !== -Errno.ENOENT) check(result, 'drop journal generation');
  }
}
