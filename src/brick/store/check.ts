import { Errno, FsError } from '../../base/errno.js';
import { nameProblem, ROOT_GFID, type Gfid, type Name } from '../../base/ids.js';
import { PRIVATE_NAME } from './layout.js';

/** Throws the error of a call that failed; its result otherwise. */
export function check(result: number, op: string): number {
  if (result < 0) throw new FsError(-result, op);
  return result;
}

/** Refuses what cannot be one component of a path. */
export function checkName(name: Name, op: string): void {
  const problem = nameProblem(name);
  if (problem === undefined) return;
  throw new FsError(problem === 'too long' ? Errno.ENAMETOOLONG : Errno.EINVAL, op, `name is ${problem}`);
}

/** A new name must also not be the private one. */
export function checkNewName(parent: Gfid, name: Name, op: string): void {
  checkName(name, op);
  if (parent === ROOT_GFID && name === PRIVATE_NAME) throw new FsError(Errno.EPERM, op, `${PRIVATE_NAME} is reserved`);
}
