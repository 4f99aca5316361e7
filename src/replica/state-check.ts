/** What one brick tells another of sessions, answers and locks is looked at before anything of it is taken over. */
import { Errno, FsError } from '../base/errno.js';
import type { Gfid } from '../base/ids.js';
import { f, type Fields, type Kind } from '../fops/fields.js';
import { HELD_LOCK } from '../fops/held-lock.js';
import { OPS, type OpName } from '../fops/ops.js';
import type { LockRequest } from './file-locks.js';
import { parseKey, type Key } from './keys.js';
import type { Answer } from './results.js';
import { SESSIONS_MAX } from './session-table.js';

export interface CopyState {
  /** See SessionTable.export. */
  sessions: string[];
  locks: LockRequest[];
  /** See Copy.locksKnown. */
  locksKnown: boolean;
  results: [session: string, acknowledged: number, answers: [number, Answer][]][];
  /** See Copy.lockLeases. */
  lockLeases?: { gfid: Gfid; lease: number; session: string }[];
  /** See Copy.losses. */
  losses?: number;
  /** What was applied and may not be on every brick. A brick of before this field does not tell. */
  doubt?: Doubt[];
}

/** A change by its number in the primary's stream, and the keys that it touched. */
export interface Doubt {
  sequence: number;
  keys: Key[];
}

const LOCK_FIELDS: Fields = { ...HELD_LOCK, session: f.token };

const LEASE_FIELDS: Fields = { gfid: f.gfid, lease: f.size, session: f.token };

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function fits(fields: Fields, values: unknown): boolean {
  if (!isRecord(values)) return false;
  return Object.entries(fields).every(([key, kind]: [string, Kind<unknown>]) => {
    try {
      return kind.check(kind.pack === undefined ? values[key] : kind.pack(values[key]));
    } catch {
      // It does not even have the parts that are packed.
      return false;
    }
  });
}

export function isLockRequest(value: unknown): value is LockRequest {
  return fits(LOCK_FIELDS, value);
}

function isAnswer(value: unknown): boolean {
  if (!isRecord(value)) return false;
  const { op, errno, result, gfid, value: number, range, doubtful } = value;
  if (typeof op !== 'string' || !Object.hasOwn(OPS, op) || !f.u32.check(errno) || !f.size.check(number) || (gfid !== '' && !f.gfid.check(gfid))) return false;
  if (range !== undefined && (!Array.isArray(range) || range.length !== 2 || !range.every((n) => f.size.check(n)))) return false;
  if (doubtful !== undefined && typeof doubtful !== 'boolean') return false;
  return result === undefined || fits(OPS[op as OpName].result, result);
}

function isSession(value: unknown): boolean {
  if (!Array.isArray(value) || value.length !== 3) return false;
  const [session, acknowledged, answers] = value as unknown[];
  if (!f.token.check(session) || !f.size.check(acknowledged) || !Array.isArray(answers)) return false;
  return answers.every((entry) => Array.isArray(entry) && entry.length === 2 && f.size.check(entry[0]) && isAnswer(entry[1]));
}

function isDoubt(value: unknown): boolean {
  if (!isRecord(value)) return false;
  const { sequence, keys } = value;
  return f.size.check(sequence) && Array.isArray(keys) && keys.every((key) => typeof key === 'string' && parseKey(key) !== undefined);
}

/** EPROTO for anything that no brick would write. */
export function parseState(text: string): CopyState {
  let state: unknown;
  try {
    state = JSON.parse(text);
  } catch (error) {
    throw new FsError(Errno.EPROTO, 'settle', 'the state is not readable', { cause: error });
  }
  const { sessions, locks, locksKnown, lockLeases, results, losses, doubt } = isRecord(state) ? state : {};
  if (!Array.isArray(sessions) || sessions.length > SESSIONS_MAX || !sessions.every((line) => f.token.check(line)) || !Array.isArray(locks) || !locks.every(isLockRequest) || typeof locksKnown !== 'boolean' || !Array.isArray(results) || !results.every(isSession) || (losses !== undefined && !f.size.check(losses)) || (lockLeases !== undefined && (!Array.isArray(lockLeases) || !lockLeases.every((lease) => fits(LEASE_FIELDS, lease)))) || (doubt !== undefined && (!Array.isArray(doubt) || !doubt.every(isDoubt))))
    throw new FsError(Errno.EPROTO, 'settle', 'the state is malformed');
  return state as CopyState;
}
