/** A point in time: whole seconds since the epoch and nanoseconds 0..999,999,999. */
export interface Time {
  sec: number;
  nsec: number;
}

/** Negative, zero or positive as `a` is before, equal to or after `b`. */
export function compareTime(a: Time, b: Time): number {
  return a.sec - b.sec || a.nsec - b.nsec;
}
