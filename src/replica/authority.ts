import type { BrickId, View } from '../fops/view.js';
import type { ViewChange } from './view.js';

/** What a brick asks of the one who keeps the views (its gluond, over the cluster store). */
export interface Authority {
  /**
   * Asks for a change of the view that has `epoch`. Resolves with the view in force afterwards, whether or not it was this change that made it;
   * rejects with LostError when the authority cannot say (no quorum of the cluster store, gluond down): ask again later.
   */
  change(epoch: number, change: ViewChange): Promise<View>;
}

/** What a brick tells of itself: the source of `volume status`, `heal info` and `volume status clients`. */
export interface ReplicaStatus {
  brick: BrickId;
  view: View;
  role: 'primary' | 'member' | 'catchingUp' | 'absent' | 'stopped';
  /** This process is a full copy without a break since it joined; false from a start until it was made equal. */
  continuous: boolean;
  /** Only at the primary: true once it serves. */
  serving: boolean;
  /** Only at the primary, one for each brick that is not in sync. */
  heals: HealStatus[];
  clients: ClientStatus[];
  /** Of the scrubber, where the volume keeps checksums; the replica does not know it. */
  scrub?: ScrubReport | undefined;
}

/** What the scrubber of a brick tells; see brick/scrubber.ts. Times are seconds of the wall clock, 0 for never. */
export interface ScrubReport {
  state: 'waiting' | 'running' | 'paused';
  beganSec: number;
  endedSec: number;
  durationSec: number;
  files: number;
  bytes: number;
  filesNow: number;
  bytesNow: number;
  corrupted: number;
  torn: number;
  repaired: number;
  damaged: number;
  lost: number;
  unchecked: number;
  unreadable: number;
  /** Identities of files with damage, at most 100. */
  damagedFiles: string[];
}

export interface HealStatus {
  brick: BrickId;
  /** `full`: it waits for space on its disk. */
  state: 'absent' | 'walking' | 'copying' | 'full' | 'done';
  /** Keys that still differ or may differ. */
  keysLeft: number;
  /** Regions count whole: what was written in them is found when they are compared. */
  bytesLeft: number;
  /** Made equal in this heal, whether it had to be copied or not. */
  bytesDone: number;
  /** At the speed of this heal until now; -1 while that cannot be told. */
  secondsLeft: number;
  /** Paths from the volume's root (byte strings) of inodes with keys left, at most 1,000. */
  paths: string[];
}

export interface ClientStatus {
  session: string;
  remote: string;
  bytesRead: number;
  bytesWritten: number;
  opens: number;
  locks: number;
}
