/**
 * What of a mount outlives its worker, and where it is in state memory:
 *
 *   0          header: magic, layout, INIT result, session id, table sizes
 *   64 KiB     file locks that were given and not confirmed, twice
 *   1 MiB      nodes: what the kernel knows by nodeid
 *   + 1 GiB    handles: open files
 *   + 128 MiB  lock owners: who took locks through which handle
 *   + 128 MiB  directory handles: where each scan stands
 *
 * The memory is sparse: only what was used takes room.
 */
import { assert } from '../base/assert.js';
import { ROOT_GFID, type Gfid } from '../base/ids.js';
import { DirectoryTable } from './directories.js';
import { HandleTable } from './handles.js';
import { LockOwners } from './lock-owners.js';
import { lateNumber } from './message.js';
import { NodeTable } from './nodes.js';
import { StateTable, type StateMemory } from './state-memory.js';

const MAGIC = 0x676c756e;
const LAYOUT = 2;
const HEADER_BYTES = 65_536;
const MIB = 1 << 20;

const NODE_BYTES = 32;
const HANDLE_BYTES = 32;
const OWNER_BYTES = 32;
const DIRECTORY_BYTES = 1024;

const NODES_MAX = (1 << 30) / NODE_BYTES;
const HANDLES_MAX = (128 * MIB) / HANDLE_BYTES;
const OWNERS_MAX = (128 * MIB) / OWNER_BYTES;
const DIRECTORIES_MAX = (128 * MIB) / DIRECTORY_BYTES;

const NODES_AT = MIB;
const HANDLES_AT = NODES_AT + (1 << 30);
const OWNERS_AT = HANDLES_AT + 128 * MIB;
const DIRECTORIES_AT = OWNERS_AT + 128 * MIB;

/** Size of the whole state memory. */
export const STATE_BYTES = DIRECTORIES_AT + 128 * MIB;

const SESSION_AT = 128;
const SESSION_CHARS = 32;
const ROOT_AT = 160;
const ROOT_BYTES = 16;
const NOTE_AT = 4096;
const NOTE_BYTES_MAX = HEADER_BYTES - NOTE_AT;
const GIVEN_AT = HEADER_BYTES;
const GIVEN_BYTES_MAX = 65_536;
const NO_GFID = '0'.repeat(32);

const Word = {
  magic: 0,
  layout: 1,
  minor: 2,
  flags: 3,
  flags2: 4,
  takeovers: 5,
  noteBytes: 6,
  nodes: 8,
  handles: 9,
  owners: 10,
  directories: 11,
  /** 1: the bricks have confirmed the session. */
  begun: 12,
  /** These take two words each, the lower one first. */
  newest: 13,
  revoked: 15,
  /** Which of the two places holds the file locks that were given and not confirmed: 0 for none, 1 or 2. */
  givenPlace: 17,
  givenBytes1: 18,
  givenBytes2: 19,
  /** Two words. */
  late: 20,
} as const;
const TWO_TO_32 = 0x1_0000_0000;

export class KeptState {
  readonly #words: Uint32Array;
  readonly #bytes: Buffer;
  readonly #given: Buffer;
  readonly nodes: NodeTable;
  readonly handles: HandleTable;
  readonly owners: LockOwners;
  readonly directories: DirectoryTable;

  constructor(memory: StateMemory) {
    const header = memory.map(0, HEADER_BYTES);
    this.#words = new Uint32Array(header);
    this.#bytes = Buffer.from(header);
    this.#given = Buffer.from(memory.map(GIVEN_AT, 2 * GIVEN_BYTES_MAX));
    if (this.#get(Word.magic) === 0) {
      this.#words[Word.layout] = LAYOUT;
      this.#words[Word.magic] = MAGIC;
    }
    assert(this.#get(Word.magic) === MAGIC, 'the state memory is not that of a gluon mount');
    assert(
      this.#get(Word.layout) === LAYOUT,
      'the state memory was written by another version: unmount and mount again',
    );
    this.nodes = new NodeTable(
      new StateTable(memory, NODES_AT, NODE_BYTES, NODES_MAX, this.#words, Word.nodes),
      this.root,
    );
    this.handles = new HandleTable(
      new StateTable(memory, HANDLES_AT, HANDLE_BYTES, HANDLES_MAX, this.#words, Word.handles),
    );
    this.owners = new LockOwners(new StateTable(memory, OWNERS_AT, OWNER_BYTES, OWNERS_MAX, this.#words, Word.owners));
    this.directories = new DirectoryTable(
      new StateTable(memory, DIRECTORIES_AT, DIRECTORY_BYTES, DIRECTORIES_MAX, this.#words, Word.directories),
    );
  }

  #get(word: number): number {
    return this.#words[word] as number;
  }

  #number(word: number): number {
    return this.#get(word + 1) * TWO_TO_32 + this.#get(word);
  }

  #setNumber(word: number, number: number): void {
    this.#words[word + 1] = Math.floor(number / TWO_TO_32);
    this.#words[word] = number % TWO_TO_32;
  }

  /** The session that bricks know this mount by; '' before it was chosen. It stays until it is revoked. */
  get session(): string {
    const text = this.#bytes.toString('latin1', SESSION_AT, SESSION_AT + SESSION_CHARS);
    return text.startsWith('\0') ? '' : text;
  }

  set session(id: string) {
    assert(id.length === SESSION_CHARS, 'a session id has 32 characters');
    this.#bytes.write(id, SESSION_AT, 'latin1');
  }

  /** The bricks have confirmed the session. */
  get begun(): boolean {
    return this.#get(Word.begun) === 1;
  }

  set begun(begun: boolean) {
    this.#words[Word.begun] = begun ? 1 : 0;
  }

  /** The highest request number of the kernel that was read. */
  get newestUnique(): number {
    return this.#number(Word.newest);
  }

  set newestUnique(unique: number) {
    this.#setNumber(Word.newest, unique);
  }

  /** The number of a mutation that begins after later requests may have begun theirs; no worker of this mount gives it again. */
  lateNumber(): number {
    const number = lateNumber(this.#number(Word.late), this.newestUnique);
    this.#setNumber(Word.late, number);
    return number;
  }

  /** Requests up to this number may have been sent under a session that was revoked: they must not be sent under another. */
  get revokedUpTo(): number {
    return this.#number(Word.revoked);
  }

  /**
   * The session was revoked: every file that is open is lost, and what was asked for with it. A worker that dies in the middle leaves the old session, or a
   * new one that no brick knows: its successor is told that it was revoked, and does this again.
   */
  revoked(successor: string): void {
    this.#setNumber(Word.revoked, this.newestUnique);
    this.handles.loseAll();
    this.session = successor;
    this.begun = false;
  }

  /** The directory that is mounted: the volume's root, or another one of it. Set before the kernel asks for anything. */
  get root(): Gfid {
    const gfid = this.#bytes.toString('hex', ROOT_AT, ROOT_AT + ROOT_BYTES);
    return gfid === NO_GFID ? ROOT_GFID : gfid;
  }

  set root(gfid: Gfid) {
    this.#bytes.write(gfid, ROOT_AT, 'hex');
    this.nodes.setRoot(gfid);
  }

  /** A text that one worker leaves for the next; '' when there is none. */
  get note(): string {
    return this.#bytes.toString('utf8', NOTE_AT, NOTE_AT + this.#get(Word.noteBytes));
  }

  /** A text that does not fit is not kept. */
  set note(text: string) {
    const bytes = Buffer.byteLength(text);
    this.#words[Word.noteBytes] = 0;
    if (bytes > NOTE_BYTES_MAX) return;
    this.#bytes.write(text, NOTE_AT, 'utf8');
    this.#words[Word.noteBytes] = bytes;
  }

  /** File locks that a worker gave and no brick has confirmed, as text; '' for none. */
  get given(): string {
    const place = this.#get(Word.givenPlace);
    if (place === 0) return '';
    const at = (place - 1) * GIVEN_BYTES_MAX;
    return this.#given.toString('latin1', at, at + this.#get(Word.givenPlace + place));
  }

  /** Whole or not at all, also when the process ends in the middle. Throws where the text has no room. */
  set given(text: string) {
    assert(text.length <= GIVEN_BYTES_MAX, 'the file locks that are not confirmed have room');
    const place = this.#get(Word.givenPlace) === 1 ? 2 : 1;
    this.#given.write(text, (place - 1) * GIVEN_BYTES_MAX, 'latin1');
    this.#words[Word.givenPlace + place] = text.length;
    this.#words[Word.givenPlace] = place;
  }

  /** What INIT agreed on; minor 0 before the kernel asked. INIT is not sent again after a takeover. */
  get agreed(): { minor: number; flags: number; flags2: number } {
    return { minor: this.#get(Word.minor), flags: this.#get(Word.flags), flags2: this.#get(Word.flags2) };
  }

  /** The minor version is stored last: it says that the rest is there. */
  setAgreed(minor: number, flags: number, flags2: number): void {
    this.#words[Word.flags] = flags >>> 0;
    this.#words[Word.flags2] = flags2 >>> 0;
    this.#words[Word.minor] = minor;
  }

  /** How many workers took over from another so far. */
  get takeovers(): number {
    return this.#get(Word.takeovers);
  }

  countTakeover(): number {
    const count = this.takeovers + 1;
    this.#words[Word.takeovers] = count;
    return count;
  }
}
