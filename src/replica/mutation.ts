/** One mutation on its way through the primary, and what is plain from its arguments alone. */
import { assert } from '../base/assert.js';
import type { Gfid } from '../base/ids.js';
import { OWN_PAYLOAD_BYTES } from '../env/channel.js';
import { OPS, type Args, type OpName } from '../fops/ops.js';
import type { MessageOf } from '../wire/messages.js';
import { LOCK_NONE } from './file-locks.js';
import { readLock, type Lock } from './inode-locks.js';
import type { Plan } from './plan.js';
import type { Answer } from './results.js';
import type { Session } from './sessions.js';

export interface Mutation {
  session: Session;
  sessionId: string;
  id: number;
  requestNumber: number;
  acknowledged: number;
  op: OpName;
  args: unknown;
  /** When it came, monotonic milliseconds. */
  begun: number;
  /** There is space for it, as far as the bricks have told. */
  spaceChecked?: boolean;
  /** This disk may have made a part of it. The locks are kept until all of it is made, also when its session is revoked: nobody has seen the range since. */
  halfMade?: boolean;
  /** A lock that is not waited for any more. */
  cancelled?: boolean;
  /** Sessions that were asked whether they gave up what stands against it. */
  askedOf?: Set<string>;
}

/** A request that goes by the data of a file, or changes it. */
export interface DataAccess {
  gfid: Gfid;
  changes: boolean;
}

/** Undefined for requests that have nothing to do with a file's data. `existing`: the inode that a `create` opens. */
export function dataAccess(op: OpName, args: unknown, existing: Gfid | ''): DataAccess | undefined {
  switch (op) {
    case 'write':
    case 'fallocate':
      return { gfid: (args as Args<'write'>).gfid, changes: true };
    case 'setattr':
      return (args as Args<'setattr'>).size === undefined ? undefined : { gfid: (args as Args<'setattr'>).gfid, changes: true };
    case 'copyFileRange':
      return { gfid: (args as Args<'copyFileRange'>).target, changes: true };
    case 'open':
      return { gfid: (args as Args<'open'>).gfid, changes: (args as Args<'open'>).truncate };
    case 'create':
      return existing === '' ? undefined : { gfid: existing, changes: (args as Args<'create'>).truncate };
    case 'read':
      return { gfid: (args as Args<'read'>).gfid, changes: false };
    default:
      return undefined;
  }
}

/** Operations of which a disk that refuses may have made a part. */
export const MADE_BY_HALVES = new Set<OpName>(['write', 'fallocate', 'copyFileRange']);

/** Operations whose success leaves the inode open. */
export const OPENING = new Set<OpName>(['create', 'open', 'tmpfile']);

/** What must outlive the call that received it; large payloads have a buffer of their own already. */
export function own(message: MessageOf<'request'>, copyOf: (data: Uint8Array) => Uint8Array): MessageOf<'request'> {
  return { ...message, args: ownArgs(message.op, message.args, copyOf) } as MessageOf<'request'>;
}

export function ownArgs(op: OpName, args: unknown, copyOf: (data: Uint8Array) => Uint8Array): unknown {
  if (op === 'write') {
    const write = args as Args<'write'>;
    return write.data.byteLength >= OWN_PAYLOAD_BYTES ? write : { ...write, data: copyOf(write.data) };
  }
  if (op === 'setxattr') return { ...(args as Args<'setxattr'>), value: Buffer.from((args as Args<'setxattr'>).value) };
  return args;
}

/** The answer to `op` where the change that was made is of another kind (open and create with truncation). */
export function asResultOf(op: OpName, result: unknown): unknown {
  const { attr, created, copied } = result as { attr?: unknown; created?: boolean; copied?: number };
  if (op === 'create') return { attr, created: created ?? false };
  return op === 'open' || op === 'tmpfile' ? { attr } : op === 'copyFileRange' ? { copied, attr } : result;
}

/** False where a client gave one number to two requests: the answer is to the other one, and its result of another form. */
export function isAnswerTo(op: OpName, answer: Answer): boolean {
  return answer.op === op || (OPENING.has(op) && answer.op === 'setattr');
}

export function unlocks(op: OpName, args: unknown): boolean {
  return op === 'dropLocks' || (op === 'setLock' && (args as Args<'setLock'>).type === LOCK_NONE && (args as Args<'setLock'>).granted === undefined);
}

/** The inode that the mutation opens, '' for none. */
export function openedBy(op: OpName, plan: Plan, newGfid: Gfid): Gfid {
  if (!OPENING.has(op)) return '';
  if (plan.creates) return newGfid;
  return plan.existing === '' ? (plan.locks[0]?.gfid ?? '') : plan.existing;
}

/** Where a change under way could make the outcome another one. */
export function parentLocks(op: OpName, args: unknown): Lock[] {
  const { parent, newParent, gfid } = args as { parent?: Gfid; newParent?: Gfid; gfid?: Gfid };
  assert(op in OPS, 'a known operation');
  const inodes = [parent, newParent, gfid].filter((inode) => inode !== undefined);
  return [...new Set(inodes)].map(readLock);
}
