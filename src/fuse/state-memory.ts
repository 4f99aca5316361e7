import { assert } from '../base/assert.js';

/**
 * Memory that outlives the worker process: what one worker stored there, its successor finds. A store is complete as soon as the
 * assignment is done, so a worker killed at any instant leaves every word either old or new.
 */
export interface StateMemory {
  /** The same bytes for the same place, zero before the first use. `offset` and `bytes` are multiples of 64 KiB. */
  map(offset: number, bytes: number): ArrayBuffer;
}

/** A plain twin for tests: hand the same object to a second session to play a takeover. */
export class HeapStateMemory implements StateMemory {
  readonly #parts = new Map<number, ArrayBuffer>();

  map(offset: number, bytes: number): ArrayBuffer {
    let part = this.#parts.get(offset);
    if (part === undefined) {
      part = new ArrayBuffer(bytes);
      this.#parts.set(offset, part);
    }
    assert(part.byteLength === bytes, 'state memory mapped with another size than before');
    return part;
  }
}

const SEGMENT_BYTES = 1 << 20;

/**
 * Records of equal size, numbered from 0, in state memory; grows by segments of 1 MiB. Freed numbers are used again, lowest first after a
 * takeover. Word 0 of a record is its own business: the table only knows which numbers are taken by asking `isTaken` when it is opened.
 */
export class StateTable {
  readonly words: Uint32Array[] = [];
  readonly doubles: Float64Array[] = [];
  readonly bytes: Buffer[] = [];
  readonly perSegment: number;
  readonly recordBytes: number;
  readonly capacity: number;
  readonly #memory: StateMemory;
  readonly #base: number;
  readonly #highWater: Uint32Array;
  readonly #highWaterAt: number;
  readonly #free: number[] = [];

  /** `base`: place of the table in state memory; `highWater[highWaterAt]` remembers how many records were ever used. */
  constructor(
    memory: StateMemory,
    base: number,
    recordBytes: number,
    capacity: number,
    highWater: Uint32Array,
    highWaterAt: number,
  ) {
    assert(SEGMENT_BYTES % recordBytes === 0 && recordBytes % 8 === 0, 'records must fill segments evenly');
    this.#memory = memory;
    this.#base = base;
    this.recordBytes = recordBytes;
    this.perSegment = SEGMENT_BYTES / recordBytes;
    this.capacity = capacity;
    this.#highWater = highWater;
    this.#highWaterAt = highWaterAt;
  }

  /** Finds the records that a predecessor left; calls `found` for those that `isTaken` accepts and frees the others. */
  open(isTaken: (index: number) => boolean, found: (index: number) => void): void {
    const used = this.used;
    if (used > 0) this.#grow(used - 1);
    for (let index = used - 1; index >= 0; index--) {
      if (isTaken(index)) found(index);
      else this.#free.push(index);
    }
  }

  /** How many records were ever used. */
  get used(): number {
    return this.#highWater[this.#highWaterAt] as number;
  }

  /** A free record number, or -1 when the table is full. The record keeps what its last user left in it. */
  allocate(): number {
    const again = this.#free.pop();
    if (again !== undefined) return again;
    const index = this.used;
    if (index >= this.capacity) return -1;
    this.#grow(index);
    this.#highWater[this.#highWaterAt] = index + 1;
    return index;
  }

  free(index: number): void {
    this.#free.push(index);
  }

  getWord(index: number, word: number): number {
    return (this.words[Math.floor(index / this.perSegment)] as Uint32Array)[
      ((index % this.perSegment) * this.recordBytes) / 4 + word
    ] as number;
  }

  setWord(index: number, word: number, value: number): void {
    (this.words[Math.floor(index / this.perSegment)] as Uint32Array)[
      ((index % this.perSegment) * this.recordBytes) / 4 + word
    ] = value;
  }

  /** `at` counts 8-byte units. */
  getDouble(index: number, at: number): number {
    return (this.doubles[Math.floor(index / this.perSegment)] as Float64Array)[
      ((index % this.perSegment) * this.recordBytes) / 8 + at
    ] as number;
  }

  setDouble(index: number, at: number, value: number): void {
    (this.doubles[Math.floor(index / this.perSegment)] as Float64Array)[
      ((index % this.perSegment) * this.recordBytes) / 8 + at
    ] = value;
  }

  /** `encoding` is hex for identities and latin1 for names. */
  getText(index: number, at: number, bytes: number, encoding: 'hex' | 'latin1'): string {
    const start = (index % this.perSegment) * this.recordBytes + at;
    return (this.bytes[Math.floor(index / this.perSegment)] as Buffer).toString(encoding, start, start + bytes);
  }

  setText(index: number, at: number, text: string, encoding: 'hex' | 'latin1'): void {
    const start = (index % this.perSegment) * this.recordBytes + at;
    (this.bytes[Math.floor(index / this.perSegment)] as Buffer).write(text, start, encoding);
  }

  #grow(index: number): void {
    const segment = Math.floor(index / this.perSegment);
    while (this.words.length <= segment) {
      const memory = this.#memory.map(this.#base + this.words.length * SEGMENT_BYTES, SEGMENT_BYTES);
      this.words.push(new Uint32Array(memory));
      this.doubles.push(new Float64Array(memory));
      this.bytes.push(Buffer.from(memory));
    }
  }
}
