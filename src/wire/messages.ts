/**
 * Messages of the brick protocol (data plane), as tables. A frame is
 *
 *   u32le bytes that follow · u32le header bytes · header (msgpack array) · raw payload
 *
 * and the header is [code, field, field, ..., (opcode, args or result of that operation)].
 *
 * Handshake, for clients and sibling bricks alike (both ends prove that they know the volume's secret, which never travels):
 *
 *   caller  hello {version, volume, role, id, nonce}
 *   brick   challenge {brick, nonce, proof = HMAC-SHA256(secret, 'brick' role id brick callerNonce brickNonce)}
 *   caller  prove {proof = HMAC-SHA256(secret, 'caller' role id brick callerNonce brickNonce)}
 *   brick   welcome {view}
 *
 * Client session: `request` → `reply` | `redirect`, in any order. A client that (re)connects to a primary, or learns of a new epoch, sends
 * `reclaim` with its open inodes and locks before anything else. A session that the set does not know (it was revoked) is told `fenced` instead of any answer.
 */
import type { Gfid } from '../base/ids.js';
import { f, type Fields, type Kind, type Values } from '../fops/fields.js';
import { heldLocks } from '../fops/held-lock.js';
import type { Args, OpName, Result } from '../fops/ops.js';
import { brickIds, viewKind } from './kinds.js';
import type { PeerArgs, PeerOpName, PeerResult } from './peer-ops.js';

export const PROTOCOL_VERSION = 7;
/** Header bytes of one frame, at most. */
export const HEADER_BYTES_MAX = 4 << 20;
/** Payload bytes of one frame, at most. */
export const PAYLOAD_BYTES_MAX = 1 << 20;

/** Files that one session may have open, at most: one message must be able to tell all. */
export const OPENS_MAX = 65_536;

const gfids: Kind<Gfid[]> = { label: 'gfids', check: (v) => Array.isArray(v) && v.length <= OPENS_MAX && v.every((x) => f.gfid.check(x)) };

interface MessageSpec<F extends Fields = Fields> {
  readonly code: number;
  readonly fields: F;
  /** What follows the fields: an operation code with its arguments, or with its result (only when errno is 0). */
  readonly tail?: 'args' | 'result' | 'peerArgs' | 'peerResult';
}

function message<F extends Fields>(code: number, fields: F): { code: number; fields: F } {
  return { code, fields };
}

const role: Kind<'client' | 'brick'> = { label: 'role', check: (v) => v === 'client' || v === 'brick' };

export const MESSAGES = {
  /** `id`: session id of a client (32 hex digits), brick id of a brick. */
  hello: message(1, { version: f.u32, volume: f.token, role, id: f.gfid, nonce: f.bytes }),
  challenge: message(2, { brick: f.gfid, nonce: f.bytes, proof: f.bytes }),
  prove: message(3, { proof: f.bytes }),
  welcome: message(4, { view: viewKind }),
  /** The connection is refused and closed; `reason` is for people. */
  refused: message(5, { errno: f.u32, reason: f.target }),

  /**
   * `id` names the reply; unique on the connection. `epoch` is the client's view: a brick with another one answers `redirect`.
   * `requestNumber` is 0 for reads; `acknowledged`: the client never asks again for numbers up to this one.
   */
  request: { ...message(10, { id: f.size, epoch: f.size, requestNumber: f.size, acknowledged: f.size }), tail: 'args' },
  /** `lease`: the client may answer from what this reply says until it is recalled or the lease time is over (see `pong`). */
  reply: { ...message(11, { id: f.size, errno: f.u32, lease: f.flag }), tail: 'result' },
  /** Not carried out: this brick is not the serving primary of that epoch. */
  redirect: message(12, { id: f.size, view: viewKind }),
  /** The brick learnt of a newer view. */
  newView: message(13, { view: viewKind }),
  /** Keeps the session alive; a primary answers with `pong` only while its own serving lease lives. */
  ping: message(14, { id: f.size }),
  /**
   * Leases this primary granted to this client are good until `leaseMs` after the moment the ping was *sent*. `equal`: bricks that have all that was acknowledged; a
   * client may read their files itself under a lease. None while reads must be told to the primary. `synced`: how many times, in this epoch, all that was acknowledged at some
   * moment came to be on stable storage of every in-sync brick.
   */
  pong: message(15, { id: f.size, epoch: f.size, leaseMs: f.u32, equal: brickIds, synced: f.size }),
  /** The client forgets what it knows of these inodes (and of the names in these directories), then answers `recalled`. */
  recall: message(16, { id: f.size, gfids }),
  recalled: message(17, { id: f.size }),
  /** `begins`: the session never was confirmed by `reclaimed`, so nothing was ever asked under it; only then may it be unknown. */
  reclaim: message(18, { id: f.size, epoch: f.size, begins: f.flag, opens: gfids, locks: heldLocks }),
  /** `losses`: so many times all bricks in sync lost their power at once, and with it what was acknowledged and not synced. */
  reclaimed: message(19, { id: f.size, errno: f.u32, losses: f.size }),
  /** The session ends: its opens and locks go at once. */
  bye: message(20, {}),
  /**
   * Inodes that the client opened by itself under a lease: told before a recall is answered, before the client itself may remove a name, and after a
   * `reclaim`. `whole`: these are all, what was told or presumed before is void. `closed`: not open any more.
   */
  opens: message(21, { whole: f.flag, held: gfids, closed: gfids }),
  /** The session was revoked: nothing of it that was not answered takes effect from now on, nor anything sent later. The brick closes the connection. */
  fenced: message(22, {}),
  /** The client may write to this inode by `direct` in this epoch, with later times than this; nobody else has it open. */
  exclusive: message(23, { gfid: f.gfid, lease: f.size, epoch: f.size, time: f.time }),
  /** The primary wants the exclusive lease back: `yielded` when what was sent is complete. */
  yield: message(24, { lease: f.size }),
  /** The client writes no more under the lease. `clean`: every `direct` was answered with success by every in-sync brick. */
  yielded: message(25, { lease: f.size, clean: f.flag }),
  /**
   * A write under an exclusive lease, to every in-sync brick at the same time; each answers with `reply`, with ESTALE when it does not know the lease (any more).
   * `order` counts the writes under the lease, up to `complete` every brick has them. `time` is the client's, later than what the inode has.
   */
  direct: { ...message(26, { id: f.size, epoch: f.size, lease: f.size, order: f.size, complete: f.size, requestNumber: f.size, acknowledged: f.size, time: f.time }), tail: 'args' },
  /** As in `direct`, when no other follows to carry it. */
  directComplete: message(27, { lease: f.size, complete: f.size }),
  /**
   * The first message of a client that cannot reach another brick: this one connects to it and answers `relayed`, or closes the connection. From then on it passes every
   * message on, both ways; the client begins with a handshake.
   */
  relay: message(28, { brick: f.gfid }),
  relayed: message(29, {}),
  /** Nothing is left of the leases that the client had before it learnt of this epoch, neither in its own memory nor in its kernel's. */
  unleased: message(8, { epoch: f.size }),

  /**
   * The client may answer requests for locks on this inode itself that nothing stands against, until `recallLocks` or the end of its lease time. `own` are
   * its locks there, `others` those of other clients. It tells what it gives (`granted`) before it yields.
   */
  lockLease: message(6, { gfid: f.gfid, lease: f.size, own: heldLocks, others: heldLocks }),
  /** Of the locks of others so many are left. */
  othersLocks: message(35, { gfid: f.gfid, lease: f.size, others: heldLocks }),
  /** No more of that; `yieldedLocks` when everything it gave or gave up is answered, also when the client does not know this lease. */
  recallLocks: message(7, { gfid: f.gfid, lease: f.size }),
  yieldedLocks: message(9, { gfid: f.gfid, lease: f.size }),

  // --- brick to brick
  /** One mutation in the primary's order. `committed`: every in-sync brick has applied up to this sequence number. */
  replicate: {
    ...message(30, {
      epoch: f.size,
      sequence: f.size,
      committed: f.size,
      session: f.token,
      requestNumber: f.size,
      acknowledged: f.size,
      time: f.time,
      newGfid: f.gfidOrNone,
      purge: f.flag,
      keys: { label: 'keys', check: (v) => Array.isArray(v) && v.length <= 64 && v.every((k) => typeof k === 'string' && k.length <= 600) } as Kind<string[]>,
    }),
    tail: 'args',
  },
  /** `check` is a digest of the result, to find a brick that differs. */
  applied: message(31, { epoch: f.size, sequence: f.size, errno: f.u32, check: f.u32 }),
  call: { ...message(32, { id: f.size, epoch: f.size }), tail: 'peerArgs' },
  answer: { ...message(33, { id: f.size, errno: f.u32 }), tail: 'peerResult' },
  /** Commit notice where no mutation follows to carry it; also the heartbeat between bricks. */
  committed: message(34, { epoch: f.size, sequence: f.size }),
} satisfies Record<string, MessageSpec>;

export type MessageKind = keyof typeof MESSAGES;

type OpArgs = { [K in OpName]: { op: K; args: Args<K> } }[OpName];
type OpResult = { [K in OpName]: { op: K; result: Result<K> | undefined } }[OpName];
type PeerOpArgs = { [K in PeerOpName]: { op: K; args: PeerArgs<K> } }[PeerOpName];
type PeerOpResult = { [K in PeerOpName]: { op: K; result: PeerResult<K> | undefined } }[PeerOpName];

type Tail<S> = S extends { tail: 'args' }
  ? OpArgs
  : S extends { tail: 'result' }
    ? OpResult
    : S extends { tail: 'peerArgs' }
      ? PeerOpArgs
      : S extends { tail: 'peerResult' }
        ? PeerOpResult
        : unknown;

export type MessageOf<K extends MessageKind> = { kind: K } & Values<(typeof MESSAGES)[K]['fields']> & Tail<(typeof MESSAGES)[K]>;
export type Message = { [K in MessageKind]: MessageOf<K> }[MessageKind];

