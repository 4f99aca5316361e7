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
  /** Fops keeps attributes that it listed, so that the stat calls that follow a listing need not ask for each. */
  readonly prefetchAttributes: boolean;
}

const NONE: Validity = { sec: 0, nsec: 0 };

/** Nothing is cached: every lookup and every stat asks, so what one mount did the others see at once. */
export const noCaching: CachePolicy = {
  entry: () => NONE,
  attributes: () => NONE,
  listAttributes: false,
  prefetchAttributes: false,
};

/** Attributes may be kept for `validMs`, names not at all. */
export function attributeCaching(validMs: (attr: Attr) => number): CachePolicy {
  return {
    entry: () => NONE,
    attributes: (attr) => {
      const ms = validMs(attr);
      return ms <= 0 ? NONE : { sec: Math.floor(ms / 1000), nsec: Math.floor((ms % 1000) * 1e6) };
    },
    listAttributes: false,
    prefetchAttributes: true,
  };
}
