/**
 * A number that is the same on every brick for the same change of the same state: the primary compares the members' with its own, so that a copy that differs leaves
 * the set before it is primary. Left out is what disks are free in: blocks, times (those of before a crash), sizes and link counts of directories.
 */
import type { Attr } from '../fops/fields.js';
import { isDirectory } from '../fops/ops.js';

const PRIME = 0x0100_0193;
const TWO_TO_32 = 0x1_0000_0000;

function mix(check: number, value: number): number {
  return Math.imul(check ^ value, PRIME);
}

/** Of one change's result; any 32-bit number. Those of several changes are added. */
export function resultCheck(result: unknown): number {
  const { attr, offset, copied } = result as { attr?: Attr; offset?: number; copied?: number };
  let check = mix(mix(0x811c_9dc5, offset ?? 0), copied ?? 0);
  if (attr === undefined) return check;
  check = mix(mix(mix(check, attr.mode), attr.uid), attr.gid);
  if (isDirectory(attr.mode)) return check;
  return mix(mix(mix(check, attr.nlink), attr.size % TWO_TO_32 | 0), (attr.size / TWO_TO_32) | 0);
}
