import type { Gfid } from '../base/ids.js';
import { ROOT_NODEID } from './abi-constants.js';
import type { StateTable } from './state-memory.js';

const GFID_AT = 0;
const GFID_BYTES = 16;
/** In 8-byte units: the kernel's lookup count; 0 means the record is free. */
const LOOKUPS = 2;
/** In words: distinguishes successive uses of one record. */
const GENERATION = 6;

/** Record 0 is node 2, because 1 is the root, which is never forgotten. */
const FIRST_NODEID = 2;

/**
 * The inodes that the kernel knows, by the number it knows them by. Each reply that names an inode counts one lookup, each FORGET takes
 * some back; an inode without lookups leaves the table. A worker killed between counting and replying leaves a count too high, which costs
 * one record; the other order could forget what the kernel still uses.
 */
export class NodeTable {
  readonly #table: StateTable;
  readonly #gfids: (Gfid | undefined)[] = [];
  readonly #byGfid = new Map<Gfid, number>();

  constructor(table: StateTable, root: Gfid) {
    this.#table = table;
    this.#remember(ROOT_NODEID, root);
    table.open(
      (index) => table.getDouble(index, LOOKUPS) > 0,
      (index) => this.#remember(index + FIRST_NODEID, table.getText(index, GFID_AT, GFID_BYTES, 'hex')),
    );
  }

  /** Only before the kernel asked for anything. */
  setRoot(gfid: Gfid): void {
    this.#byGfid.delete(this.#gfids[ROOT_NODEID] as Gfid);
    this.#remember(ROOT_NODEID, gfid);
  }

  /** How many inodes the kernel knows, the root included. */
  get size(): number {
    return this.#byGfid.size;
  }

  /** The inode behind a node number; undefined when the kernel was never told of it, or forgot it. */
  gfid(nodeid: number): Gfid | undefined {
    return this.#gfids[nodeid];
  }

  /** The number by which the kernel knows an inode, or undefined. */
  nodeid(gfid: Gfid): number | undefined {
    return this.#byGfid.get(gfid);
  }

  generation(nodeid: number): number {
    return nodeid === ROOT_NODEID ? 0 : this.#table.getWord(nodeid - FIRST_NODEID, GENERATION);
  }

  /** Counts one lookup and returns the inode's number; -1 when the table is full. */
  look(gfid: Gfid): number {
    const known = this.#byGfid.get(gfid);
    if (known !== undefined) {
      if (known !== ROOT_NODEID) this.#count(known - FIRST_NODEID, 1);
      return known;
    }
    const index = this.#table.allocate();
    if (index < 0) return -1;
    this.#table.setText(index, GFID_AT, gfid, 'hex');
    this.#table.setWord(index, GENERATION, this.#table.getWord(index, GENERATION) + 1);
    this.#table.setDouble(index, LOOKUPS, 1);
    this.#remember(index + FIRST_NODEID, gfid);
    return index + FIRST_NODEID;
  }

  /** Takes lookups back; returns the inode when it left the table. */
  forget(nodeid: number, lookups: number): Gfid | undefined {
    const gfid = this.#gfids[nodeid];
    if (gfid === undefined || nodeid === ROOT_NODEID) return undefined;
    if (this.#count(nodeid - FIRST_NODEID, -lookups) > 0) return undefined;
    this.#gfids[nodeid] = undefined;
    this.#byGfid.delete(gfid);
    this.#table.free(nodeid - FIRST_NODEID);
    return gfid;
  }

  #remember(nodeid: number, gfid: Gfid): void {
    this.#gfids[nodeid] = gfid;
    this.#byGfid.set(gfid, nodeid);
  }

  #count(index: number, by: number): number {
    const lookups = Math.max(0, this.#table.getDouble(index, LOOKUPS) + by);
    this.#table.setDouble(index, LOOKUPS, lookups);
    return lookups;
  }
}
