/**
 * Changes that must not be made twice have their answer written to the journal *before* they are made, in the same write as their keys: so a copy's answers
 * agree with its state whenever its process ends. Only the last answer in a journal can stand for a change that was not made; the copy itself
 * then tells whether it was, by the trace that the change would have left:
 *
 *   creations                 the new inode is there
 *   link                      the name leads to the inode            trace: key of the name
 *   unlink, rmdir, rename     the name leads to it no more           trace: key of the (old) name
 *   a write that extends      the file is that long                  trace: length
 *   truncation                the file is just that long             trace: length
 *
 * The answers of other changes are written after them, in the same turn: they leave no such trace. Where a process ends in between and its copy becomes the truth
 * all the same, another brick has the answer (lost-answers.ts).
 */
import { FsError } from '../base/errno.js';
import type { Gfid, Name } from '../base/ids.js';
import type { Args, OpName } from '../fops/ops.js';
import { nameKey, parseKey } from './keys.js';
import { parseResult, type Answer } from './results.js';
import type { Store } from './store.js';

export interface Intent {
  session: string;
  requestNumber: number;
  op: OpName;
  gfid: Gfid;
  trace: string;
}

/** The trace of a creation. */
export const NEW = 'new';

const CREATIONS = new Set<OpName>(['create', 'mkdir', 'mknod', 'symlink', 'tmpfile']);
const REMOVALS = new Set<OpName>(['unlink', 'rmdir', 'rename']);

/** The answer that the change will have, and its trace; undefined where it may be made twice, or will fail anyhow. */
export function intentOf(store: Store, change: { op: OpName; args: unknown; newGfid: string }): { answer: Answer; trace: string } | undefined {
  const { op, newGfid } = change;
  const { parent, name, gfid, newParent, newName } = change.args as { parent: Gfid; name: Name; gfid: Gfid; newParent: Gfid; newName: Name };
  const intent = (inode: Gfid, value: number, trace: string) => ({ answer: { op, errno: 0, result: undefined, gfid: inode, value }, trace });
  if (CREATIONS.has(op)) return intent(newGfid, 0, NEW);
  if (op === 'link') return intent(gfid, 0, nameKey(newParent, newName));
  if (REMOVALS.has(op)) {
    const child = childOf(store, parent, name);
    return child === undefined ? undefined : intent(child, 0, nameKey(parent, name));
  }
  if (op === 'setattr') {
    const { size } = change.args as Args<'setattr'>;
    return size === undefined || sizeOf(store, gfid) === undefined ? undefined : intent(gfid, 0, String(size));
  }
  if (op !== 'write') return undefined;
  const { offset, data } = change.args as Args<'write'>;
  const end = offset + data.byteLength;
  const size = sizeOf(store, gfid);
  return size === undefined || end <= size ? undefined : intent(gfid, offset, String(end));
}

/** Undefined for a record that is no answer, or of a change that was made before its answer was written. */
export function parseIntent(record: string | undefined): Intent | undefined {
  const given = parseResult(record ?? '');
  if (given === undefined || given.trace === '') return undefined;
  const { session, requestNumber, answer, trace } = given;
  return { session, requestNumber, op: answer.op, gfid: answer.gfid, trace };
}

/** True when the copy shows the trace of the change. */
export function wasMade(store: Store, { op, gfid, trace }: Pick<Intent, 'op' | 'gfid' | 'trace'>): boolean {
  if (CREATIONS.has(op)) return store.describe(gfid) !== undefined;
  if (op === 'write') return (sizeOf(store, gfid) ?? 0) >= Number(trace);
  if (op === 'setattr') return sizeOf(store, gfid) === Number(trace);
  const key = parseKey(trace);
  if (key?.kind !== 'name') return true;
  const leads = childOf(store, key.parent, key.name) === gfid;
  return op === 'link' ? leads : !leads;
}

function childOf(store: Store, parent: Gfid, name: Name): Gfid | undefined {
  return orUndefined(() => store.child(parent, name)?.gfid);
}

function sizeOf(store: Store, gfid: Gfid): number | undefined {
  return orUndefined(() => store.size?.(gfid) ?? store.getattr(gfid).size);
}

function orUndefined<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch (error) {
    if (error instanceof FsError) return undefined;
    throw error;
  }
}
