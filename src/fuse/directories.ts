/**
 * Directory scans. The kernel addresses a position by a cookie, Fops by the name before it. Cookie 1 is behind `.`, 2 behind `..`, and
 * 2 + n behind the n-th name of this scan. Names are fetched in chunks and kept, so that seekdir finds what telldir meant; of very long
 * scans only the recent chunks and the places where the others begin are kept.
 */
import type { Gfid, Name } from '../base/ids.js';
import type { DirEntry } from '../fops/fields.js';
import type { StateTable } from './state-memory.js';

export const COOKIE_DOT = 1;
export const COOKIE_DOTS = 2;
const CHUNKS_KEPT_MAX = 64;

/** A run of names as they were read, the first of them being number `first` of the scan. */
export interface Chunk {
  readonly first: number;
  /** The name before the first one, '' at the start of the directory. */
  readonly after: Name | '';
  entries: DirEntry[] | undefined;
  readonly count: number;
  /** The directory ends with this chunk. */
  readonly end: boolean;
}

/** Where to go on reading: after `after`, leaving out the first `skip` names. */
export interface Position {
  after: Name | '';
  skip: number;
  /** Names already fetched for this position, from `from` on. */
  chunk: Chunk | undefined;
  from: number;
}

const Word = { used: 0 } as const;
const GFID_AT = 32;
const GFID_BYTES = 16;
/** Two places where a reply ended lately: cookie (a double), length of the name (a word), name. */
const PLACE_AT = [64, 512] as const;
const PLACE_COOKIE = 0;
const PLACE_LENGTH = 8;
const PLACE_NAME = 16;

interface Place {
  cookie: number;
  name: Name | '';
}

export class DirectoryHandle {
  readonly gfid: Gfid;
  readonly fh: number;
  readonly #table: StateTable;
  #chunks: Chunk[] = [];
  /** Restored from a predecessor: where its replies ended. */
  #places: Place[];
  #nextPlace = 0;

  constructor(table: StateTable, fh: number, gfid: Gfid, places: Place[]) {
    this.#table = table;
    this.fh = fh;
    this.gfid = gfid;
    this.#places = places;
  }

  /** Forgets the names: the scan starts again. */
  rewind(): void {
    this.#chunks = [];
    this.#places = [];
  }

  /** Keeps what was fetched for position `first`. */
  keep(chunk: Chunk): void {
    this.#chunks = this.#chunks.filter((c) => c.first < chunk.first);
    this.#chunks.push(chunk);
    const old = this.#chunks[this.#chunks.length - 1 - CHUNKS_KEPT_MAX];
    if (old !== undefined) old.entries = undefined;
  }

  /** Where a cookie behind `..` or a name points to. */
  position(cookie: number): Position {
    const number = cookie - COOKIE_DOTS;
    for (let i = this.#chunks.length - 1; i >= 0; i--) {
      const chunk = this.#chunks[i] as Chunk;
      const into = number - chunk.first;
      if (into < 0 || into > chunk.count) continue;
      if (into < chunk.count || chunk.end) {
        if (chunk.entries === undefined) return { after: chunk.after, skip: into, chunk: undefined, from: 0 };
        return { after: '', skip: 0, chunk, from: into };
      }
      const last = chunk.entries?.at(-1);
      if (last !== undefined) return { after: last.name, skip: 0, chunk: undefined, from: 0 };
      return { after: chunk.after, skip: into, chunk: undefined, from: 0 };
    }
    const place = this.#places.find((p) => p.cookie === cookie);
    if (place !== undefined) return { after: place.name, skip: 0, chunk: undefined, from: 0 };
    return { after: '', skip: Math.max(0, number), chunk: undefined, from: 0 };
  }

  /** Remembers, for a successor of this worker, the name behind which a reply ended. */
  endedAt(cookie: number, name: Name | ''): void {
    const index = this.fh - 1;
    const at = PLACE_AT[this.#nextPlace] as number;
    this.#nextPlace ^= 1;
    this.#table.setWord(index, (at + PLACE_LENGTH) / 4, 0);
    this.#table.setText(index, at + PLACE_NAME, name, 'latin1');
    this.#table.setDouble(index, (at + PLACE_COOKIE) / 8, cookie);
    this.#table.setWord(index, (at + PLACE_LENGTH) / 4, name.length);
  }
}

/** Open directories by handle number. */
export class DirectoryTable {
  readonly #table: StateTable;
  readonly #handles = new Map<number, DirectoryHandle>();

  constructor(table: StateTable) {
    this.#table = table;
    table.open(
      (index) => table.getWord(index, Word.used) === 1,
      (index) => {
        const places: Place[] = [];
        for (const at of PLACE_AT) {
          const length = table.getWord(index, (at + PLACE_LENGTH) / 4);
          if (length === 0) continue;
          places.push({
            cookie: table.getDouble(index, (at + PLACE_COOKIE) / 8),
            name: table.getText(index, at + PLACE_NAME, length, 'latin1'),
          });
        }
        const gfid = table.getText(index, GFID_AT, GFID_BYTES, 'hex');
        this.#handles.set(index + 1, new DirectoryHandle(table, index + 1, gfid, places));
      },
    );
  }

  get size(): number {
    return this.#handles.size;
  }

  get(fh: number): DirectoryHandle | undefined {
    return this.#handles.get(fh);
  }

  /** A new handle; undefined when the table is full. */
  add(gfid: Gfid): DirectoryHandle | undefined {
    const index = this.#table.allocate();
    if (index < 0) return undefined;
    this.#table.setText(index, GFID_AT, gfid, 'hex');
    for (const at of PLACE_AT) this.#table.setWord(index, (at + PLACE_LENGTH) / 4, 0);
    this.#table.setWord(index, Word.used, 1);
    const handle = new DirectoryHandle(this.#table, index + 1, gfid, []);
    this.#handles.set(handle.fh, handle);
    return handle;
  }

  remove(fh: number): void {
    if (!this.#handles.delete(fh)) return;
    this.#table.setWord(fh - 1, Word.used, 0);
    this.#table.free(fh - 1);
  }
}
