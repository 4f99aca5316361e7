import type { Gfid } from '../base/ids.js';
import type { StateTable } from './state-memory.js';

const GFID_AT = 0;
const GFID_BYTES = 16;
const OPEN = 4;

/**
 * Open files by the handle number given to the kernel. Reads and writes do not come here (they name the inode); the table is what a new
 * worker learns the open files from.
 */
export class HandleTable {
  readonly #table: StateTable;
  readonly #gfids = new Map<number, Gfid>();

  constructor(table: StateTable) {
    this.#table = table;
    table.open(
      (index) => table.getWord(index, OPEN) === 1,
      (index) => this.#gfids.set(index + 1, table.getText(index, GFID_AT, GFID_BYTES, 'hex')),
    );
  }

  get size(): number {
    return this.#gfids.size;
  }

  /** The inodes that are open, once for each handle. */
  opens(): Gfid[] {
    return [...this.#gfids.values()];
  }

  gfid(fh: number): Gfid | undefined {
    return this.#gfids.get(fh);
  }

  /** A new handle; 0 when the table is full. */
  add(gfid: Gfid): number {
    const index = this.#table.allocate();
    if (index < 0) return 0;
    this.#table.setText(index, GFID_AT, gfid, 'hex');
    this.#table.setWord(index, OPEN, 1);
    this.#gfids.set(index + 1, gfid);
    return index + 1;
  }

  remove(fh: number): void {
    if (!this.#gfids.delete(fh)) return;
    this.#table.setWord(fh - 1, OPEN, 0);
    this.#table.free(fh - 1);
  }
}
