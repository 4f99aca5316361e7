/**
 * What is told from memory while the volume does not answer, so that `df` comes back: the space of the volume, and the attributes of its root (which `df` asks for
 * first). Both as they were last.
 */
import { ROOT_GFID } from '../base/ids.js';
import type { Args, OpName, Result } from '../fops/ops.js';

export class LastKnown {
  #space: Result<'statfs'> | undefined;
  #root: Result<'getattr'> | undefined;

  learn(op: OpName, args: unknown, result: unknown): void {
    if (op === 'statfs') this.#space = result as Result<'statfs'>;
    else if (op === 'getattr' && (args as Args<'getattr'>).gfid === ROOT_GFID) this.#root = result as Result<'getattr'>;
  }

  /** Undefined for everything else, and before it was known. */
  of(op: OpName, args: unknown): unknown {
    if (op === 'statfs') return this.#space;
    return op === 'getattr' && (args as Args<'getattr'>).gfid === ROOT_GFID ? this.#root : undefined;
  }
}
