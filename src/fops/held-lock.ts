/** A file lock as its session knows it: what requests, claims, leases and tables of locks are made of. */
import { f, type Kind, type Values } from './fields.js';

/** `end` is inclusive. */
export const HELD_LOCK = { gfid: f.gfid, owner: f.token, kind: f.u32, type: f.u32, start: f.size, end: f.size, pid: f.u32 };

export type HeldLock = Values<typeof HELD_LOCK>;

const LOCKS_MAX = 65_536;
const KINDS: readonly Kind<never>[] = Object.values(HELD_LOCK) as Kind<never>[];

/** The lock alone, of something that has its fields and others. */
export function heldLock({ gfid, owner, kind, type, start, end, pid }: HeldLock): HeldLock {
  return { gfid, owner, kind, type, start, end, pid };
}

export const heldLocks: Kind<HeldLock[]> = {
  label: 'locks',
  check: (v) =>
    Array.isArray(v) && v.length <= LOCKS_MAX && v.every((x) => Array.isArray(x) && x.length === KINDS.length && KINDS.every((kind, i) => kind.check(x[i]))),
  pack: (v) => v.map(({ gfid, owner, kind, type, start, end, pid }) => [gfid, owner, kind, type, start, end, pid]),
  unpack: (v) =>
    (v as [string, string, number, number, number, number, number][]).map(([gfid, owner, kind, type, start, end, pid]) => ({ gfid, owner, kind, type, start, end, pid })),
};
