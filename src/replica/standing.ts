/**
 * How good a brick's copy is. The best of the copies in sync becomes the truth, so a new primary hands over to one that stands better.
 *
 * A copy that another was being made equal to is neither what it was nor what that other is: half of a rename may be undone. Its own disk remembers that
 * (`unsettled`) until it is equal.
 */
export const Standing = {
  /** Unsynced data may be gone. */
  LostData: 0,
  /** It was being made equal to a primary, in sync already, when that one was lost. */
  Unsettled: 1,
  /** Its disk refused a change in the middle, and the range holds neither what it held nor what was written. */
  HalfWritten: 2,
  /** The process was started again, and found all that the one before had applied. */
  Intact: 3,
  /** This process was in sync without a break since it last heard of the set. */
  Continuous: 4,
} as const;
