/** Programs that read and write data. */
import { aligned, c, calls } from '../conformance/posix/calls.js';
import { O } from '../conformance/posix/suite.js';
import type { BlockInput, FileInput, FileOutput } from '../support/sequential-models.js';
import { PLACE_UNKNOWN } from '../support/sequential-models.js';
import type { Access, Work } from './jobs.js';
import type { Recorder } from './recorder.js';

export const BLOCK_BYTES = 4096;
const CELL_BYTES = 16;
export const RECORD_BYTES = 64;
/** All records fit into one page: more than a page is not read at one instant by any file system of Linux. */
export const RECORDS_MAX = BLOCK_BYTES / RECORD_BYTES;
/** One in so many operations closes the file and opens it anew before. */
const REOPEN = 8;

/** A file that is open, with and without O_DIRECT, and is now and then opened anew. */
export class OpenFile {
  readonly #name: string;
  readonly #access: Access;
  readonly #flags: number;
  #cached = -1;
  #direct = -1;

  constructor(name: string, access: Access, flags = O.RDWR) {
    this.#name = name;
    this.#access = access;
    this.#flags = flags;
  }

  fd(recorder: Recorder): number {
    if (recorder.dice.roll(REOPEN) === 0) this.close();
    const direct = this.#access === 'direct' || (this.#access === 'both' && recorder.dice.roll(2) === 0);
    if (direct && this.#direct < 0) this.#direct = calls.open(this.#name, this.#flags | O.DIRECT);
    if (!direct && this.#cached < 0) this.#cached = calls.open(this.#name, this.#flags);
    return direct ? this.#direct : this.#cached;
  }

  close(): void {
    if (this.#cached >= 0) calls.close(this.#cached);
    if (this.#direct >= 0) calls.close(this.#direct);
    this.#cached = this.#direct = -1;
  }
}

function fill(block: Buffer, value: string): void {
  const cell = value.padEnd(CELL_BYTES);
  for (let at = 0; at < block.length; at += CELL_BYTES) block.write(cell, at, 'latin1');
}

/** The value that a block holds in each of its cells; '' for zeros, and what stands where for one that is of several writes. */
export function valueOf(block: Buffer, bytes: number): string {
  if (bytes !== block.length) return `${bytes} bytes`;
  const first = block.toString('latin1', 0, CELL_BYTES);
  for (let at = CELL_BYTES; at < block.length; at += CELL_BYTES) {
    const cell = block.toString('latin1', at, at + CELL_BYTES);
    if (cell !== first) return `torn: ${JSON.stringify(first)}, and ${JSON.stringify(cell)} at ${at}`;
  }
  return first === '\0'.repeat(CELL_BYTES) ? '' : first.trimEnd();
}

/** Writes of one burst. */
const BURST = 60;

export function blocks(recorder: Recorder, work: Work & { kind: 'blocks' }): void {
  const files = Array.from({ length: work.files }, (_, i) => new OpenFile(`f${i}`, work.access));
  const buffer = aligned(BLOCK_BYTES);
  const one = (which: number, writes: boolean): void => {
    const at = recorder.dice.roll(work.blocks);
    const fd = (files[which] as OpenFile).fd(recorder);
    const block = `${which}/${at}`;
    if (writes) {
      const value = recorder.value();
      fill(buffer, value);
      recorder.note<BlockInput, string>({ block, write: value }, () => {
        c.pwrite(fd, buffer, BLOCK_BYTES, at * BLOCK_BYTES);
        return '';
      });
    } else recorder.note<BlockInput, string>({ block, read: true }, () => valueOf(buffer, c.pread(fd, buffer, BLOCK_BYTES, at * BLOCK_BYTES)));
  };
  // Of many files most are read most of the time, so that leases are held.
  const sides = work.bursts ? BURST / 2 : work.files > 1 ? 8 : 3;
  while (!recorder.over) {
    const which = recorder.dice.roll(work.files);
    const writes = recorder.dice.roll(sides) === 0;
    const times = writes && work.bursts ? recorder.dice.roll(2 * BURST) : 1;
    for (let i = 0; i < times && !recorder.over; i++) one(which, writes && (times === 1 || recorder.dice.roll(8) > 0));
  }
  for (const file of files) file.close();
}

export function records(recorder: Recorder, work: Work & { kind: 'records' }): void {
  const file = new OpenFile(work.file, work.access, O.RDWR | O.APPEND);
  const buffer = aligned(BLOCK_BYTES);
  const note = (input: FileInput, ask: () => FileOutput): FileOutput => recorder.note(input, ask);
  const read = (fd: number): string[] => {
    const bytes = c.pread(fd, buffer, BLOCK_BYTES, 0);
    const parts: string[] = [];
    for (let at = 0; at < bytes; at += RECORD_BYTES) parts.push(valueOf(buffer.subarray(at, at + RECORD_BYTES), Math.min(RECORD_BYTES, bytes - at)));
    return parts;
  };
  let size = 0;
  while (!recorder.over) {
    const fd = file.fd(recorder);
    const dice = recorder.dice.roll(8);
    if (size >= RECORDS_MAX - 8 || (dice === 0 && work.truncates)) {
      const truncate = work.truncates ? recorder.dice.roll(6) : 0;
      if (!work.truncates) break;
      note({ truncate }, () => (c.ftruncate(fd, truncate * RECORD_BYTES), 0));
      size = truncate;
    } else if (dice <= 3) {
      const append = recorder.value();
      fill(buffer.subarray(0, RECORD_BYTES), append);
      note({ append }, () => (c.write(fd, buffer, RECORD_BYTES), PLACE_UNKNOWN));
      size++;
    } else if (dice <= 5) size = (note({ read: true, throughPages: work.access !== 'direct' }, () => read(fd)) as string[]).length;
    else size = note({ size: true }, () => calls.fstat(fd).size / RECORD_BYTES) as number;
  }
  file.close();
}

export function storm(recorder: Recorder, work: Work & { kind: 'storm' }): void {
  const flags = (work.access === 'direct' ? O.DIRECT : 0) | (work.append ? O.APPEND : 0);
  const fd = calls.open(work.file, O.RDWR | flags);
  const buffer = aligned(BLOCK_BYTES);
  const writes = work.what.startsWith('write');
  while (!recorder.over) {
    if (writes) {
      fill(buffer, recorder.value());
      recorder.time(() => c.pwrite(fd, buffer, BLOCK_BYTES, 0));
    }
    if (work.what === 'read') recorder.time(() => c.pread(fd, buffer, BLOCK_BYTES, 0));
    if (work.what.endsWith('stat')) recorder.time(() => calls.stat(work.file));
  }
  calls.close(fd);
}
