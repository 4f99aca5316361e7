import type { Gfid } from '../base/ids.js';
import type { StateTable } from './state-memory.js';

const GFID_AT = 0;
const GFID_BYTES = 16;
const OPEN = 4;
/** Values of the word at `OPEN`. */
const INTACT = 1;
const LOST = 2;
/** Intact, but see `doubt`. */
const DOUBTED = 3;

/**
 * Open files by the handle number given to the kernel. Reads and writes do not come here (they name the inode); the table is what a new
 * worker learns the open files from.
 */
export class HandleTable {
  readonly #table: StateTable;
  readonly #gfids = new Map<number, Gfid>();
  readonly #lost = new Set<number>();
  readonly #doubted = new Set<number>();

  constructor(table: StateTable) {
    this.#table = table;
    table.open(
      (index) => table.getWord(index, OPEN) !== 0,
      (index) => {
        this.#gfids.set(index + 1, table.getText(index, GFID_AT, GFID_BYTES, 'hex'));
        const word = table.getWord(index, OPEN);
        if (word === LOST) this.#lost.add(index + 1);
        if (word === DOUBTED) this.#doubted.add(index + 1);
      },
    );
  }

  get size(): number {
    return this.#gfids.size;
  }

  /** The inodes that are open, once for each handle that is not lost. */
  opens(): Gfid[] {
    return [...this.#gfids].filter(([fh]) => !this.#lost.has(fh)).map(([, gfid]) => gfid);
  }

  /** The session that opened it was revoked: others may have gone on with the file, so nothing is changed through it any more. */
  isLost(fh: number): boolean {
    return this.#lost.size > 0 && this.#lost.has(fh);
  }

  loseAll(): void {
    for (const fh of this.#gfids.keys()) {
      this.#lost.add(fh);
      this.#doubted.delete(fh);
      this.#table.setWord(fh - 1, OPEN, LOST);
    }
  }

  /** What was changed in these inodes and not synced may be gone from the bricks: each open file says so once, to the next fsync, also one of a later worker. */
  doubt(gfids: ReadonlySet<Gfid> | 'all'): void {
    for (const [fh, gfid] of this.#gfids) {
      if ((gfids !== 'all' && !gfids.has(gfid)) || this.#lost.has(fh)) continue;
      this.#doubted.add(fh);
      this.#table.setWord(fh - 1, OPEN, DOUBTED);
    }
  }

  /** True once for an open file that was doubted. */
  takeDoubt(fh: number): boolean {
    if (this.#doubted.size === 0 || !this.#doubted.delete(fh)) return false;
    this.#table.setWord(fh - 1, OPEN, INTACT);
    return true;
  }

  gfid(fh: number): Gfid | undefined {
    return this.#gfids.get(fh);
  }

  /** A new handle; 0 when the table is full. */
  add(gfid: Gfid): number {
    const index = this.#table.allocate();
    if (index < 0) return 0;
    this.#table.setText(index, GFID_AT, gfid, 'hex');
    this.#table.setWord(index, OPEN, INTACT);
    this.#gfids.set(index + 1, gfid);
    return index + 1;
  }

  remove(fh: number): void {
    if (!this.#gfids.delete(fh)) return;
    this.#lost.delete(fh);
    this.#doubted.delete(fh);
    this.#table.setWord(fh - 1, OPEN, 0);
    this.#table.free(fh - 1);
  }
}
