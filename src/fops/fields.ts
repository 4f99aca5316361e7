/**
 * Field kinds of the operation tables. A kind knows its TypeScript type, how it travels in a msgpack header and how it is
 * checked after decoding: nothing that came from a wire is used before its kind has accepted it.
 */
import { isGfid, nameProblem, type Gfid, type Name } from '../base/ids.js';
import type { Time } from '../base/time.js';

/** Attributes of an inode, as every node sees them. `mode` holds the type bits too; `blocks` counts 512-byte units. */
export interface Attr {
  gfid: Gfid;
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  rdev: number;
  size: number;
  blocks: number;
  atime: Time;
  mtime: Time;
  ctime: Time;
}

/** One name of a directory listing. */
export interface DirEntry {
  name: Name;
  gfid: Gfid;
  /** Type bits of the mode (S_IFMT). */
  type: number;
  /** Present when the listing was asked for with attributes. */
  attr?: Attr | undefined;
}

/** Everything about an inode but its data and names. */
export interface InodeState {
  attr: Attr;
  /** Symbolic links. */
  target?: string | undefined;
  /** All client-visible xattrs, sorted by name. */
  xattrs: [string, Uint8Array][];
}

export interface Kind<T> {
  /** Name for error messages. */
  readonly label: string;
  /** True when the value is acceptable. */
  check(value: unknown): boolean;
  /** To the form packed by msgpack; identity when absent. */
  pack?(value: T): unknown;
  /** From the packed form, only called after `check` accepted it. */
  unpack?(value: unknown): T;
  /** Travels as the raw payload of the frame instead of in the header. At most one field of a message. */
  readonly payload?: true;
}

export class FieldError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'FieldError';
  }
}

function isCount(value: unknown, max: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max;
}

const U32_MAX = 0xffff_ffff;
const DATA_MAX = 1 << 20;
const XATTR_NAME_MAX = 255;
const XATTR_VALUE_MAX = 65_536;
const LISTING_MAX = 4096;
const TIME_SEC_MAX = 2 ** 40;

function isTime(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.length === 2 &&
    typeof value[0] === 'number' &&
    Number.isInteger(value[0]) &&
    Math.abs(value[0]) <= TIME_SEC_MAX &&
    isCount(value[1], 999_999_999)
  );
}

function packTime(time: Time): unknown {
  return [time.sec, time.nsec];
}

function unpackTime(value: unknown): Time {
  const [sec, nsec] = value as [number, number];
  return { sec, nsec };
}

const ATTR_FIELDS = 14;

function isAttr(value: unknown): boolean {
  if (!Array.isArray(value) || value.length !== ATTR_FIELDS || !isGfid(value[0])) return false;
  for (let i = 1; i <= 5; i++) if (!isCount(value[i], U32_MAX)) return false;
  for (let i = 6; i <= 7; i++) if (!isCount(value[i], Number.MAX_SAFE_INTEGER)) return false;
  for (let i = 8; i <= 12; i += 2) if (!isTime([value[i], value[i + 1]])) return false;
  return true;
}

export function packAttr(a: Attr): unknown {
  return [
    a.gfid, a.mode, a.nlink, a.uid, a.gid, a.rdev, a.size, a.blocks,
    a.atime.sec, a.atime.nsec, a.mtime.sec, a.mtime.nsec, a.ctime.sec, a.ctime.nsec,
  ];
}

export function unpackAttr(value: unknown): Attr {
  const v = value as [Gfid, ...number[]];
  const n = (i: number): number => v[i] as number;
  return {
    gfid: v[0], mode: n(1), nlink: n(2), uid: n(3), gid: n(4), rdev: n(5), size: n(6), blocks: n(7),
    atime: { sec: n(8), nsec: n(9) }, mtime: { sec: n(10), nsec: n(11) }, ctime: { sec: n(12), nsec: n(13) },
  };
}

function isDirEntry(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.length === 4 &&
    typeof value[0] === 'string' &&
    nameProblem(value[0]) === undefined &&
    isGfid(value[1]) &&
    isCount(value[2], U32_MAX) &&
    (value[3] === null || isAttr(value[3]))
  );
}

function isStringWithin(value: unknown, max: number): value is string {
  return typeof value === 'string' && value.length <= max;
}

/** The field kinds. Byte strings (`name`, `target`, `xattrName`) hold one byte in every character. */
export const f = {
  gfid: { label: 'gfid', check: isGfid } as Kind<Gfid>,
  /** An identity, or '' for none. */
  gfidOrNone: { label: 'gfid or none', check: (v) => v === '' || isGfid(v) } as Kind<Gfid>,
  name: { label: 'name', check: (v) => typeof v === 'string' && nameProblem(v) === undefined } as Kind<Name>,
  /** A name, or '' for none. */
  nameOrNone: { label: 'name or none', check: (v) => v === '' || (typeof v === 'string' && nameProblem(v) === undefined) } as Kind<Name>,
  u32: { label: 'u32', check: (v) => isCount(v, U32_MAX) } as Kind<number>,
  /** A size, offset or count up to 2^53 - 1. */
  size: { label: 'size', check: (v) => isCount(v, Number.MAX_SAFE_INTEGER) } as Kind<number>,
  flag: { label: 'flag', check: (v) => typeof v === 'boolean' } as Kind<boolean>,
  time: { label: 'time', check: isTime, pack: packTime, unpack: unpackTime } as Kind<Time>,
  attr: { label: 'attr', check: isAttr, pack: packAttr, unpack: unpackAttr } as Kind<Attr>,
  /** Symbolic link target as a byte string. */
  target: { label: 'link target', check: (v) => isStringWithin(v, 4095) && v.length > 0 && !v.includes('\0') } as Kind<string>,
  xattrName: { label: 'xattr name', check: (v) => isStringWithin(v, XATTR_NAME_MAX) && v.length > 0 && !v.includes('\0') } as Kind<string>,
  xattrNames: {
    label: 'xattr names',
    check: (v) => Array.isArray(v) && v.length <= 4096 && v.every((x) => isStringWithin(x, XATTR_NAME_MAX)),
  } as Kind<string[]>,
  bytes: { label: 'bytes', check: (v) => v instanceof Uint8Array && v.byteLength <= XATTR_VALUE_MAX } as Kind<Uint8Array>,
  /** An opaque owner or session: up to 64 printable characters. */
  token: { label: 'token', check: (v) => isStringWithin(v, 64) } as Kind<string>,
  entries: {
    label: 'directory entries',
    check: (v) => Array.isArray(v) && v.length <= LISTING_MAX && v.every(isDirEntry),
    pack: (v: DirEntry[]) => v.map((e) => [e.name, e.gfid, e.type, e.attr === undefined ? null : packAttr(e.attr)]),
    unpack: (v) =>
      (v as [Name, Gfid, number, unknown][]).map(([name, gfid, type, attr]) => ({
        name, gfid, type, attr: attr === null ? undefined : unpackAttr(attr),
      })),
  } as Kind<DirEntry[]>,
  /** File data: travels as the frame's payload, at most 1 MiB. */
  data: { label: 'data', check: (v) => v instanceof Uint8Array && v.byteLength <= DATA_MAX, payload: true } as Kind<Uint8Array>,
};

/** The same kind, where the value may be absent (undefined, packed as nil). */
export function optional<T>(kind: Kind<T>): Kind<T | undefined> {
  return {
    label: `${kind.label}?`,
    check: (v) => v === null || v === undefined || kind.check(v),
    pack: (v) => (v === undefined ? null : kind.pack === undefined ? v : kind.pack(v)),
    unpack: (v) => (v === null || v === undefined ? undefined : kind.unpack === undefined ? (v as T) : kind.unpack(v)),
  };
}

export type Fields = Record<string, Kind<any>>;

type OptionalKeys<F extends Fields> = { [K in keyof F]: F[K] extends Kind<infer T> ? (undefined extends T ? K : never) : never }[keyof F];

/** The object type that a table of fields describes. */
export type Values<F extends Fields> = {
  [K in Exclude<keyof F, OptionalKeys<F>>]: F[K] extends Kind<infer T> ? T : never;
} & {
  [K in OptionalKeys<F>]?: F[K] extends Kind<infer T> ? T : never;
};

/** Values in table order, without the payload field, ready for msgpack. */
export function packFields(fields: Fields, values: Record<string, unknown>): unknown[] {
  const out: unknown[] = [];
  for (const key in fields) {
    const kind = fields[key] as Kind<unknown>;
    if (kind.payload === true) continue;
    const value = values[key];
    out.push(kind.pack === undefined ? value : kind.pack(value));
  }
  return out;
}

/** Checks and reads values in table order from `items` starting at `at`; throws FieldError naming the field that is wrong. */
export function unpackFields(fields: Fields, items: unknown[], at: number, payload: Uint8Array): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  let i = at;
  let payloadUsed = false;
  for (const key in fields) {
    const kind = fields[key] as Kind<unknown>;
    if (kind.payload === true) {
      if (!kind.check(payload)) throw new FieldError(`${key}: not a valid ${kind.label}`);
      out[key] = payload;
      payloadUsed = true;
      continue;
    }
    const value = items[i++];
    if (!kind.check(value)) throw new FieldError(`${key}: not a valid ${kind.label}`);
    out[key] = kind.unpack === undefined ? value : kind.unpack(value);
  }
  if (i !== items.length) throw new FieldError(`${items.length - i} fields too many`);
  if (!payloadUsed && payload.byteLength !== 0) throw new FieldError('a payload where none belongs');
  return out;
}
