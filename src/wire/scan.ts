/**
 * Reads the msgpack subset of the brick protocol, checking as it goes: every length against the bytes that are there before anything is
 * allocated for it, depth, number of elements, and that the bytes are of the kinds that are used at all (nil, bool, integers of at most
 * 32 bits, float64 for a larger safe integer, str, bin, array; no maps, no extensions). One pass does what a check before a general decoder
 * would do in two, and nothing is built from bytes that were not checked. Every violation is a ProtocolError.
 *
 * Memory: an element takes at least one byte of input and at most one array slot, `ELEMENTS_MAX` in all; strings and bin
 * take what they have in the frame.
 */
import { ProtocolError } from '../base/protocol-error.js';

const DEPTH_MAX = 6;
const ARRAY_LENGTH_MAX = 65_536;
/** Elements in one header, at most: the largest message (a reclaim with all its locks) stays below. */
export const ELEMENTS_MAX = 600_000;

export class Scanner {
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  #end = 0;
  #elements = 0;

  /** The array that fills [start, end) exactly. Nothing in it refers to `bytes`: small binary values are copied. */
  readArray(bytes: Buffer, start: number, end: number): unknown[] {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    this.#elements = 0;
    const value = this.#value(0);
    if (!Array.isArray(value)) throw new ProtocolError('header: not an array');
    if (this.#at !== end) throw new ProtocolError(`header: ${end - this.#at} bytes after its end`);
    return value;
  }

  #value(depth: number): unknown {
    if (this.#at >= this.#end) throw new ProtocolError('header: ends inside a value');
    const bytes = this.#bytes;
    const type = bytes[this.#at++] as number;
    if (type < 0x80) return type;
    if (type >= 0xe0) return type - 0x100;
    if (type >= 0xa0 && type < 0xc0) return this.#string(type & 0x1f);
    if (type >= 0x90 && type < 0xa0) return this.#array(type & 0x0f, depth);
    switch (type) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.#binary(this.#unsigned(1));
      case 0xc5:
        return this.#binary(this.#unsigned(2));
      case 0xc6:
        return this.#binary(this.#unsigned(4));
      case 0xcb:
        return this.#float64();
      case 0xcc:
        return this.#unsigned(1);
      case 0xcd:
        return this.#unsigned(2);
      case 0xce:
        return this.#unsigned(4);
      case 0xd0:
        return (this.#unsigned(1) << 24) >> 24;
      case 0xd1:
        return (this.#unsigned(2) << 16) >> 16;
      case 0xd2:
        return this.#unsigned(4) | 0;
      case 0xd9:
        return this.#string(this.#unsigned(1));
      case 0xda:
        return this.#string(this.#unsigned(2));
      case 0xdb:
        return this.#string(this.#unsigned(4));
      case 0xdc:
        return this.#array(this.#unsigned(2), depth);
      case 0xdd:
        return this.#array(this.#unsigned(4), depth);
      default:
        throw new ProtocolError(`header: type 0x${type.toString(16)} is not of this protocol`);
    }
  }

  #need(count: number): void {
    if (count > this.#end - this.#at)
      throw new ProtocolError(`header: ${count} bytes announced, ${this.#end - this.#at} left`);
  }

  #unsigned(width: 1 | 2 | 4): number {
    this.#need(width);
    const bytes = this.#bytes;
    let value = 0;
    for (let i = 0; i < width; i++) value = value * 256 + (bytes[this.#at++] as number);
    return value;
  }

  #float64(): number {
    this.#need(8);
    const value = this.#bytes.readDoubleBE(this.#at);
    this.#at += 8;
    if (!Number.isSafeInteger(value) || (value >= -0x8000_0000 && value <= 0xffff_ffff))
      throw new ProtocolError('header: a float that is not a large integer');
    return value;
  }

  #binary(length: number): Uint8Array {
    this.#need(length);
    const start = this.#at;
    this.#at += length;
    return Buffer.from(this.#bytes.subarray(start, this.#at));
  }

  #array(length: number, depth: number): unknown[] {
    if (depth >= DEPTH_MAX) throw new ProtocolError('header: nested too deeply');
    if (length > ARRAY_LENGTH_MAX) throw new ProtocolError(`header: an array of ${length} elements`);
    this.#need(length);
    this.#elements += length;
    if (this.#elements > ELEMENTS_MAX) throw new ProtocolError('header: too many elements');
    const items: unknown[] = [];
    for (let i = 0; i < length; i++) items.push(this.#value(depth + 1));
    return items;
  }

  /** Only U+0000..U+00FF: every string of the protocol is a byte string. */
  #string(length: number): string {
    this.#need(length);
    const bytes = this.#bytes;
    const start = this.#at;
    const end = start + length;
    this.#at = end;
    let ascii = true;
    for (let i = start; i < end; i++) {
      const c = bytes[i] as number;
      if (c < 0x80) continue;
      ascii = false;
      const next = i + 1 < end ? (bytes[i + 1] as number) : 0;
      if ((c !== 0xc2 && c !== 0xc3) || (next & 0xc0) !== 0x80)
        throw new ProtocolError('header: a string that is not a byte string');
      i++;
    }
    return bytes.toString(ascii ? 'latin1' : 'utf8', start, end);
  }
}
