import { assert } from './assert.js';

/** Identity of an inode: 128 bits as 32 lower-case hex digits. */
export type Gfid = string;

/** One path component as a byte string: every character is one byte (0..255), so names are kept byte for byte. */
export type Name = string;

/** The root directory of every volume. */
export const ROOT_GFID: Gfid = '00000000000000000000000000000001';

const GFID = /^[0-9a-f]{32}$/;

export function isGfid(value: unknown): value is Gfid {
  return typeof value === 'string' && GFID.test(value);
}

export const NAME_BYTES_MAX = 255;

/** What is wrong with a path component, or undefined: empty, `.`, `..`, with `/` or NUL, too long, not a byte string. */
export function nameProblem(name: string): 'empty' | 'dot' | 'character' | 'too long' | undefined {
  if (name.length === 0) return 'empty';
  if (name === '.' || name === '..') return 'dot';
  if (name.length > NAME_BYTES_MAX) return 'too long';
  for (let i = 0; i < name.length; i++) {
    const c = name.charCodeAt(i);
    if (c === 0 || c === 47 || c > 255) return 'character';
  }
  return undefined;
}

export function nameBytes(name: Name): Buffer {
  return Buffer.from(name, 'latin1');
}

export function nameFromBytes(bytes: Uint8Array): Name {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** A name for logs and tables: UTF-8 where it is valid, control and invalid bytes as \xNN, so that it cannot drive a terminal. */
export function printableName(name: Name): string {
  const text = nameBytes(name).toString('utf8');
  const valid = !text.includes('\ufffd');
  let out = '';
  for (const ch of valid ? text : name) {
    const c = ch.codePointAt(0) ?? 0;
    const control = c < 0x20 || c === 0x7f || (c >= 0x80 && c < 0xa0) || c === 0x2028 || c === 0x2029 || (c >= 0x202a && c <= 0x202e) || (!valid && c > 0x7e);
    out += control ? `\\x${c.toString(16).padStart(2, '0')}` : ch;
  }
  return out;
}

/** Formats 16 random bytes as an identity. */
export function hex(bytes: Uint8Array): string {
  assert(bytes.byteLength === 16, 'an identity has 16 bytes');
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

/** The same identity in the usual 8-4-4-4-12 notation, for people. */
export function uuidText(id: string): string {
  return `${id.slice(0, 8)}-${id.slice(8, 12)}-${id.slice(12, 16)}-${id.slice(16, 20)}-${id.slice(20)}`;
}
