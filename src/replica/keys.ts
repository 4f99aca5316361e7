/**
 * Keys of the change journal: what a mutation is about to touch.
 *
 *   n<parent gfid><name>     a name in a directory
 *   i<gfid>                  an inode: attributes, xattrs, size, existence
 *   d<gfid><index>           a region of 1 MiB of a file's data
 *
 * Keys are byte strings; a name is at the end, so any byte may be in it.
 */
import type { Gfid, Name } from '../base/ids.js';
import { REGION_BYTES } from '../fops/ops.js';

export type Key = string;

const GFID_END = 33;

export function nameKey(parent: Gfid, name: Name): Key {
  return `n${parent}${name}`;
}

export function inodeKey(gfid: Gfid): Key {
  return `i${gfid}`;
}

export function regionKey(gfid: Gfid, index: number): Key {
  return `d${gfid}${index}`;
}

export type ParsedKey = { kind: 'name'; parent: Gfid; name: Name } | { kind: 'inode'; gfid: Gfid } | { kind: 'region'; gfid: Gfid; index: number };

/** Undefined for what is not a key (a torn journal record, a malformed message). */
export function parseKey(key: Key): ParsedKey | undefined {
  const gfid = key.slice(1, GFID_END);
  if (!/^[0-9a-f]{32}$/.test(gfid)) return undefined;
  const rest = key.slice(GFID_END);
  switch (key[0]) {
    case 'n':
      return rest === '' ? undefined : { kind: 'name', parent: gfid, name: rest };
    case 'i':
      return rest === '' ? { kind: 'inode', gfid } : undefined;
    case 'd':
      return /^\d{1,10}$/.test(rest) ? { kind: 'region', gfid, index: Number(rest) } : undefined;
    default:
      return undefined;
  }
}

/** Adds the keys of the regions that [offset, offset + length) touches. */
export function addRegionKeys(keys: Key[], gfid: Gfid, offset: number, length: number): void {
  if (length <= 0) return;
  const last = Math.floor((offset + length - 1) / REGION_BYTES);
  for (let index = Math.floor(offset / REGION_BYTES); index <= last; index++) keys.push(regionKey(gfid, index));
}
