/**
 * Keys of the change journal: what a mutation is about to touch.
 *
 *   n<parent gfid><name>     a name in a directory
 *   i<gfid>                  an inode: attributes, xattrs, size, existence
 *   d<gfid><index>           a region of 1 MiB of a file's data
 *   f<gfid>                  all data of a file (where naming the regions would take too many keys)
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

export function fileKey(gfid: Gfid): Key {
  return `f${gfid}`;
}

/** What differs between two copies when one of them purged an inode without names. */
export function purgeKeys(gfid: Gfid): Key[] {
  return [inodeKey(gfid), fileKey(gfid)];
}

export type ParsedKey = { kind: 'name'; parent: Gfid; name: Name } | { kind: 'inode'; gfid: Gfid } | { kind: 'region'; gfid: Gfid; index: number } | { kind: 'file'; gfid: Gfid };

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
    case 'f':
      return rest === '' ? { kind: 'file', gfid } : undefined;
    case 'd':
      return /^\d{1,10}$/.test(rest) ? { kind: 'region', gfid, index: Number(rest) } : undefined;
    default:
      return undefined;
  }
}

/** Keys, or records of the journal, of one message, and the bytes that they take in it: names of 255 bytes fill it sooner than the others. */
export const PAGE_MAX = 20_000;
const PAGE_BYTES_MAX = 1 << 20;
const LENGTH_BYTES = 3;

/** The first of them, as many as fit one message. */
export function pageOf(texts: Iterable<string>, most = PAGE_MAX, bytesMax = PAGE_BYTES_MAX): string[] {
  const page: string[] = [];
  let bytes = 0;
  for (const text of texts) {
    bytes += LENGTH_BYTES + Buffer.byteLength(text);
    if (page.length === most || bytes > bytesMax) break;
    page.push(text);
  }
  return page;
}

const REGION_KEYS_MAX = 32;

/** Adds the keys of the regions that [offset, end) touches; one key for the whole file where they are many. */
export function addRegionKeys(keys: Key[], gfid: Gfid, offset: number, end: number): void {
  if (end <= offset) return;
  const first = Math.floor(offset / REGION_BYTES);
  const last = Math.floor((end - 1) / REGION_BYTES);
  if (last - first >= REGION_KEYS_MAX) {
    keys.push(fileKey(gfid));
    return;
  }
  for (let index = first; index <= last; index++) keys.push(regionKey(gfid, index));
}

/** Keys of a data write: computed alike on every brick, so they need not travel. */
export function writeKeys(gfid: Gfid, offset: number, length: number): Key[] {
  const keys: Key[] = [inodeKey(gfid)];
  addRegionKeys(keys, gfid, Math.floor(offset / REGION_BYTES) * REGION_BYTES, offset + length);
  return keys;
}
