/**
 * What the primary asks of another brick of the set, beside the stream of mutations: sealing, durability, checkpoints, resync.
 * Same table form as the file operations.
 */
import { f, optional, packAttr, unpackAttr, type Fields, type InodeState, type Kind, type Values } from '../fops/fields.js';
import { viewKind } from './kinds.js';

/** Ranges of one answer to `damage`. */
export const DAMAGED_RANGES_MAX = 256;

const keyList: Kind<string[]> = {
  label: 'keys',
  check: (v) => Array.isArray(v) && v.length <= 65_536 && v.every((k) => typeof k === 'string' && k.length <= 600),
};

const blob: Kind<Uint8Array> = { label: 'blob', check: (v) => v instanceof Uint8Array && v.byteLength <= 1 << 20, payload: true };

function isXattrs(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.length <= 4096 &&
    value.every((x) => Array.isArray(x) && x.length === 2 && f.xattrName.check(x[0]) && f.bytes.check(x[1]))
  );
}

const inodeState: Kind<InodeState> = {
  label: 'inode state',
  check: (v) => Array.isArray(v) && v.length === 3 && f.attr.check(v[0]) && (v[1] === null || f.target.check(v[1])) && isXattrs(v[2]),
  pack: (s) => [packAttr(s.attr), s.target ?? null, s.xattrs],
  unpack: (v) => {
    const [attr, target, xattrs] = v as [unknown, string | null, [string, Uint8Array][]];
    return { attr: unpackAttr(attr), target: target ?? undefined, xattrs };
  },
};

const ranges: Kind<[number, number][]> = {
  label: 'ranges',
  check: (v) => Array.isArray(v) && v.length <= 4096 && v.every((r) => Array.isArray(r) && r.length === 2 && f.size.check(r[0]) && f.size.check(r[1])),
};

const damagedRanges: Kind<[string, number, number][]> = {
  label: 'damaged ranges',
  check: (v) =>
    Array.isArray(v) && v.length <= DAMAGED_RANGES_MAX && v.every((r) => Array.isArray(r) && r.length === 3 && f.gfid.check(r[0]) && f.size.check(r[1]) && f.size.check(r[2])),
};

/** Request number, offset, length of each write. */
const writes: Kind<[number, number, number][]> = {
  label: 'writes',
  check: (v) => Array.isArray(v) && v.length <= 65_536 && v.every((w) => Array.isArray(w) && w.length === 3 && w.every((n) => f.size.check(n))),
};

const numbers: Kind<number[]> = { label: 'numbers', check: (v) => Array.isArray(v) && v.length <= 65_536 && v.every((n) => f.size.check(n)) };

export interface PeerOpSpec<A extends Fields = Fields, R extends Fields = Fields> {
  readonly code: number;
  readonly args: A;
  readonly result: R;
}

function op<A extends Fields, R extends Fields>(code: number, args: A, result: R) {
  return { code, args, result };
}

export const PEER_OPS = {
  /**
   * Adopt this view and promise to refuse lower epochs; ESTALE where a higher one was promised. `standing`: see
   * replica/standing.ts. `doubt` are the keys of
   * what it applied and may not be on every brick.
   */
  seal: op(1, { view: viewKind }, { standing: f.u32, doubt: keyList, checkpoint: f.size, base: f.size, incomplete: f.flag }),
  /** The in-doubt keys are settled: results of requests and locks as the new primary has them, JSON in the payload, possibly in parts. */
  settle: op(2, { part: f.u32, last: f.flag, state: blob }, {}),
  fsync: op(3, { gfid: f.gfid, dataOnly: f.flag }, {}),
  /** Begin a new journal generation, then sync the disk. */
  checkpoint: op(4, { number: f.size }, {}),
  /** The checkpoint is complete on the whole set: older journal generations go. */
  checkpointDone: op(5, { number: f.size }, {}),
  /** Keys of the brick's own journal, `after` as a page marker. */
  journalKeys: op(7, { from: f.size }, { keys: keyList, next: f.size }),
  /** Adds keys to the brick's journal: what it must know to bring others up to date later. */
  addKeys: op(8, { keys: keyList }, {}),
  /** The tree is about to be, or is no longer, incomplete. */
  markIncomplete: op(9, { incomplete: f.flag }, {}),
  child: op(10, { parent: f.gfid, name: f.name }, { gfid: f.gfidOrNone, type: f.u32 }),
  place: op(11, { parent: f.gfid, name: f.name, gfid: f.gfidOrNone, type: f.u32, target: optional(f.target) }, { created: f.flag }),
  describe: op(12, { gfid: f.gfid }, { state: optional(inodeState) }),
  putInode: op(13, { state: inodeState }, { created: f.flag }),
  digests: op(14, { gfid: f.gfid, region: f.size }, { digests: f.bytes, ranges }),
  patch: op(15, { gfid: f.gfid, offset: f.size, data: f.data }, {}),
  punch: op(16, { gfid: f.gfid, offset: f.size, length: f.size }, {}),
  forget: op(17, { gfid: f.gfid }, {}),
  list: op(18, { gfid: f.gfid, after: f.nameOrNone }, { entries: f.entries, end: f.flag }),
  clearAside: op(19, {}, {}),
  orphans: op(20, {}, { gfids: keyList }),
  purge: op(21, { gfid: f.gfid }, {}),
  /** Sync the disk and become a full copy: the primary is about to ask for the view change that admits this brick. */
  resyncEnd: op(22, { checkpoint: f.size, base: f.size }, {}),
  /** What became of a session, see SessionState in replica/session-table.ts: durable on return. With its end, its locks and answers go. */
  session: op(23, { session: f.token, state: f.u32 }, {}),
  /** Bytes that this brick can give away; 0 when only its reserve is left. */
  space: op(25, {}, { spare: f.size }),
  /** Ranges that do not match this brick's checksums and wait for the right bytes (`patch`). */
  damage: op(26, {}, { damage: damagedRanges }),
  /** The bytes of a range (at most 1 MiB, from the beginning of a block) as they are on this brick, with a Soundness (replica/soundness.ts) for each block. */
  blocks: op(27, { gfid: f.gfid, offset: f.size, length: f.size }, { blocks: f.bytes, data: blob }),
  /** Nobody knows the bytes of this range: it must not be served from this brick either. */
  taint: op(28, { gfid: f.gfid, offset: f.size, length: f.size }, {}),
  /** See Store.fineDigests. */
  fineDigests: op(29, { gfid: f.gfid, region: f.size, blocks: f.u32 }, { digests: f.bytes }),
  /** Makes holes, then writes the ranges, whose bytes are in `data` one after the other. EINVAL when their lengths do not fit. */
  patchRanges: op(30, { gfid: f.gfid, holes: ranges, ranges, data: f.data }, {}),
  /** Directories that were put aside. */
  asides: op(31, {}, { gfids: keyList }),
  /** After a restart of all bricks: every client has claimed the locks that it holds, and this brick was sent them. */
  locksKnown: op(32, {}, {}),
  /** This session may write to this inode without the primary (see replica/exclusives.ts), in this epoch. */
  grantLease: op(33, { lease: f.size, gfid: f.gfid, session: f.token }, {}),
  /** Nothing more is taken under the lease. `writes`: those that may not be on every brick. */
  endLease: op(34, { lease: f.size }, { writes }),
  /** Nothing of the lease is in doubt. */
  dropLease: op(35, { lease: f.size }, {}),
  /** What these requests did is about to be undone: they may come again. */
  forgetAnswers: op(36, { session: f.token, numbers }, {}),
  /** The lock lease of this number on the inode is over. */
  lockLeaseOver: op(37, { gfid: f.gfid, lease: f.size }, {}),
  /** The answers that the brick keeps, as records of its journal (see replica/results.ts); `from` is a page marker, 0 for the first and, as `next`, after the last. */
  answers: op(38, { from: f.size }, { records: keyList, next: f.size }),
  /** Answers to changes that the brick may be given when it is made equal (see replica/supposed.ts), as records of a journal. */
  suppose: op(39, { records: keyList }, {}),
  /** This session is about to get this lock lease on the inode. */
  lockLeaseGiven: op(40, { gfid: f.gfid, lease: f.size, session: f.token }, {}),
} satisfies Record<string, PeerOpSpec>;

export type PeerOpName = keyof typeof PEER_OPS;
export type PeerArgs<K extends PeerOpName> = Values<(typeof PEER_OPS)[K]['args']>;
export type PeerResult<K extends PeerOpName> = Values<(typeof PEER_OPS)[K]['result']>;
