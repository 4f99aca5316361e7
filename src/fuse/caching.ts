import type { Gfid, Name } from '../base/ids.js';
import type { Attr } from '../fops/fields.js';

/** For how long the kernel may answer by itself, in seconds and nanoseconds. */
export interface Validity {
  sec: number;
  nsec: number;
}

/**
 * The one place that decides what the kernel may cache. Attributes that this allows must be taken back by `Invalidator.invalidate` before another
 * node's change is acknowledged.
 */
export interface CachePolicy {
  /** For a name that the kernel is told now: it was just looked up, made or listed. Not taken back, so whoever allows it waits until it is over. */
  entry(parent: Gfid, name: Name, attr: Attr): Validity;
  attributes(attr: Attr): Validity;
  /** Attributes that are known to hold at this moment, if they are. */
  known(gfid: Gfid): Attr | undefined;
  /** Another number each time that all leases went; undefined while none hold. */
  leases(): number | undefined;
  /** The kernel may keep names at all: only then does a listing with attributes pay. */
  readonly names: boolean;
  /** Fops keeps attributes that it listed, so that the stat calls that follow a listing need not ask for each. */
  readonly prefetchAttributes: boolean;
}

export const NOT_VALID: Validity = { sec: 0, nsec: 0 };

/** Nothing is cached: every lookup and every stat asks, so what one mount did the others see at once. */
export const noCaching: CachePolicy = {
  entry: () => NOT_VALID,
  attributes: () => NOT_VALID,
  known: () => undefined,
  leases: () => undefined,
  names: false,
  prefetchAttributes: false,
};

/** What a policy asks: each in milliseconds from now, 0 where nothing may be kept. */
export interface Leased {
  /** For a name that the kernel is told now. */
  tellName(parent: Gfid, name: Name, child: Gfid): number;
  attrValidMs(gfid: Gfid): number;
  attr(gfid: Gfid): Attr | undefined;
  readonly live: boolean;
  /** How many times all leases went. */
  readonly ended: number;
}

function validity(ms: number): Validity {
  return ms <= 0 ? NOT_VALID : { sec: Math.floor(ms / 1000), nsec: Math.floor((ms % 1000) * 1e6) };
}

export function milliseconds({ sec, nsec }: Validity): number {
  return sec * 1000 + nsec / 1e6;
}

/** The kernel keeps what is leased, attributes less a margin for the way there: its time runs from the moment it takes the answer. */
export function leaseCaching(leased: () => Leased | undefined, marginMs: number): CachePolicy {
  return {
    entry: (parent, name, attr) => validity(leased()?.tellName(parent, name, attr.gfid) ?? 0),
    attributes: (attr) => validity((leased()?.attrValidMs(attr.gfid) ?? 0) - marginMs),
    known: (gfid) => leased()?.attr(gfid),
    leases: () => {
      const leases = leased();
      return leases?.live === true ? leases.ended : undefined;
    },
    names: true,
    prefetchAttributes: true,
  };
}
