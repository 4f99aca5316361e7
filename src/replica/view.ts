/**
 * The rules by which the view of a replica set may change, as one pure function.
 *
 *   absent ──catchUp──▶ catchingUp ──admit──▶ inSync ──drop──▶ absent
 *      ▲                    │                    │
 *      └──────abandon───────┘                    └──succeed / handOver / resume: who of them is primary
 *
 * Every change is one compare-and-set in the cluster store with epoch + 1. Invariants of every view after `form`:
 *   - inSync holds a majority of the set and at least one member of the previous inSync;
 *   - the primary is in inSync; catchingUp and inSync have no common member.
 * A member of inSync that died where dropping it would leave less than a majority stays listed: nothing can be acknowledged without it, so it
 * need not be fenced; it is replaced in the same change that admits another brick (`admit … without`).
 */
import type { BrickId, View } from '../fops/view.js';

export type ViewChange =
  /** First start of a volume: all bricks are empty, hence equal. */
  | { kind: 'form' }
  /** The brick stopped serving: it confirmed so, is known dead, or its serving lease ran out. Not for the primary. */
  | { kind: 'drop'; brick: BrickId }
  /**
   * The primary stopped serving (as for drop), or is worse than `successor` (it lost unsynced data). The successor takes the role; the
   * old primary leaves inSync where a majority remains without it.
   */
  | { kind: 'succeed'; successor: BrickId }
  /** The brick is back and asks to be made equal. */
  | { kind: 'catchUp'; brick: BrickId }
  /** The brick gives up catching up, or is gone again. */
  | { kind: 'abandon'; brick: BrickId }
  /** The primary made the brick equal. Members in `without` stopped serving and leave in the same step. */
  | { kind: 'admit'; brick: BrickId; without: BrickId[] }
  /** The primary hands over to a member that is in sync, both alive; it stays in sync. */
  | { kind: 'handOver'; successor: BrickId };

export type ViewAnswer = { view: View } | { refused: string };

export function majority(bricks: number): number {
  return Math.floor(bricks / 2) + 1;
}

function refused(reason: string): ViewAnswer {
  return { refused: reason };
}

function without(list: readonly BrickId[], ...gone: BrickId[]): BrickId[] {
  return list.filter((brick) => !gone.includes(brick));
}

/**
 * The view when a brick that has stopped serving gives its place in the set away, or is kept out of it. The brick that takes the place is absent: it
 * catches up like any other. `successor` is needed where the brick is the primary.
 */
export function viewWithout(view: View, bricks: number, brick: BrickId, successor: BrickId | undefined): ViewAnswer {
  const epoch = view.epoch + 1;
  const inSync = without(view.inSync, brick);
  if (inSync.length !== view.inSync.length && inSync.length < majority(bricks)) return refused('no majority would remain in sync');
  const primary = view.primary === brick ? successor : view.primary;
  if (primary === undefined || !inSync.includes(primary)) return refused('no other brick could take the role of the primary');
  return { view: { epoch, primary, inSync, catchingUp: without(view.catchingUp, brick) } };
}

/** The view after `change`, or why the change is not allowed. `bricks` is the whole replica set. */
export function nextView(view: View, bricks: readonly BrickId[], change: ViewChange): ViewAnswer {
  const epoch = view.epoch + 1;
  const quorum = majority(bricks.length);
  if (change.kind === 'form') {
    if (view.epoch !== 0) return refused('the replica set was formed before');
    const primary = [...bricks].toSorted()[0];
    if (primary === undefined) return refused('the replica set has no bricks');
    return { view: { epoch, primary, inSync: [...bricks], catchingUp: [] } };
  }
  if (view.epoch === 0) return refused('the replica set was not formed yet');
  switch (change.kind) {
    case 'drop': {
      if (change.brick === view.primary) return refused('the primary is replaced by its successor, not dropped');
      if (!view.inSync.includes(change.brick)) return refused('the brick is not in sync');
      const inSync = without(view.inSync, change.brick);
      if (inSync.length < quorum) return refused('no majority would remain in sync');
      return { view: { ...view, epoch, inSync } };
    }
    case 'succeed': {
      if (change.successor === view.primary) return refused('the brick is the primary already');
      if (!view.inSync.includes(change.successor)) return refused('the successor is not in sync');
      const remaining = without(view.inSync, view.primary);
      const inSync = remaining.length >= quorum ? remaining : view.inSync;
      return { view: { epoch, primary: change.successor, inSync, catchingUp: view.catchingUp } };
    }
    case 'handOver': {
      if (change.successor === view.primary) return refused('the brick is the primary already');
      if (!view.inSync.includes(change.successor)) return refused('the successor is not in sync');
      return { view: { ...view, epoch, primary: change.successor } };
    }
    case 'catchUp': {
      if (!bricks.includes(change.brick)) return refused('the brick is not of this replica set');
      if (view.inSync.includes(change.brick)) return refused('the brick is in sync');
      if (view.catchingUp.includes(change.brick)) return refused('the brick is catching up already');
      return { view: { ...view, epoch, catchingUp: [...view.catchingUp, change.brick] } };
    }
    case 'abandon': {
      if (!view.catchingUp.includes(change.brick)) return refused('the brick is not catching up');
      return { view: { ...view, epoch, catchingUp: without(view.catchingUp, change.brick) } };
    }
    case 'admit': {
      if (!view.catchingUp.includes(change.brick)) return refused('the brick is not catching up');
      if (change.without.includes(view.primary)) return refused('the primary cannot leave by this change');
      const inSync = [...without(view.inSync, ...change.without), change.brick];
      if (inSync.length < quorum) return refused('no majority would be in sync');
      return { view: { ...view, epoch, inSync, catchingUp: without(view.catchingUp, change.brick) } };
    }
  }
}
