/** A file lock as its session knows it. */
import type { Gfid } from '../base/ids.js';
import { f, type Kind } from './fields.js';

export interface HeldLock {
  gfid: Gfid;
  owner: string;
  kind: number;
  type: number;
  start: number;
  /** Inclusive. */
  end: number;
  pid: number;
}

const LOCKS_MAX = 65_536;
const FIELDS: Kind<never>[] = [f.gfid, f.token, f.u32, f.u32, f.size, f.size, f.u32] as Kind<never>[];

export const heldLocks: Kind<HeldLock[]> = {
  label: 'locks',
  check: (v) =>
    Array.isArray(v) &&
    v.length <= LOCKS_MAX &&
    v.every((x) => Array.isArray(x) && x.length === FIELDS.length && FIELDS.every((kind, i) => kind.check(x[i]))),
  pack: (v) => v.map((l) => [l.gfid, l.owner, l.kind, l.type, l.start, l.end, l.pid]),
  unpack: (v) =>
    (v as [Gfid, string, number, number, number, number, number][]).map(([gfid, owner, kind, type, start, end, pid]) => ({ gfid, owner, kind, type, start, end, pid })),
};
