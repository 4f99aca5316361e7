import type { Attr } from '../fops/fields.js';

/** For how long the kernel may answer by itself, in seconds and nanoseconds. */
export interface Validity {
  sec: number;
  nsec: number;
}

/**
 * The one place that decides what the kernel may cache. Whatever this allows must be taken back by `Invalidator.invalidate` before another
 * node's change is acknowledged.
 */
export interface CachePolicy {
  /** For a name that was just looked up or made. */
  entry(attr: Attr): Validity;
  attributes(attr: Attr): Validity;
  /** Listing with attributes only pays where the kernel may keep them. */
  readonly listAttributes: boolean;
}

const NONE: Validity = { sec: 0, nsec: 0 };

/** Nothing is cached: every lookup and every stat asks, so what one mount did the others see at once. */
export const noCaching: CachePolicy = {
  entry: () => NONE,
  attributes: () => NONE,
  listAttributes: false,
};
