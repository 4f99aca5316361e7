/**
 * The view of a replica set and the rules by which it may change.
 *
 *   absent ──catchUp──▶ catchingUp ──admit──▶ inSync ──drop──▶ absent
 *                                               │
 *                                            promote (another member becomes primary)
 *
 * Every change is one compare-and-set in the cluster store with epoch + 1.
 */
import type { BrickId, View } from '../fops/view.js';

export type ViewChange =
  /** First start of a volume: all bricks are empty, hence equal. */
  | { kind: 'form' }
  /** The brick stopped serving: it confirmed so, is known dead, or its serving lease ran out. */
  | { kind: 'drop'; brick: BrickId }
  /** The primary stopped serving (as for drop) and `successor` takes its place; the old primary leaves inSync. */
  | { kind: 'succeed'; successor: BrickId }
  /** The brick is back and asks to be made equal. */
  | { kind: 'catchUp'; brick: BrickId }
  /** The brick gives up catching up. */
  | { kind: 'abandon'; brick: BrickId }
  /** The primary made the brick equal. */
  | { kind: 'admit'; brick: BrickId }
  /** The primary hands over to a member that is in sync, both alive. */
  | { kind: 'handOver'; successor: BrickId }
  /** No primary serves (all were stopped); the member takes the role. Only a member of the last inSync may. */
  | { kind: 'resume'; successor: BrickId };

export type ViewAnswer = { view: View } | { refused: string };

export function majority(bricks: number): number {
  return Math.floor(bricks / 2) + 1;
}
