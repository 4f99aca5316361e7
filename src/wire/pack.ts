/**
 * Writes the msgpack subset of the brick protocol into one growing buffer: nil, bool, integers, float64 for integers beyond 32 bits,
 * str, bin, array. Written by hand, because frames of one turn of the event loop go into the same buffer, with their length prefixes,
 * and leave in one system call; the bytes are what msgpackr writes for the same values.
 *
 * Every string is a byte string (one byte per character, stored as UTF-8 of U+0000..U+00FF).
 */
import { assert } from '../base/assert.js';

const GROWTH_FACTOR = 2;

export class PackBuffer {
  bytes: Buffer;
  /** Where the next byte goes. */
  at = 0;

  constructor(capacityBytes: number) {
    this.bytes = Buffer.allocUnsafeSlow(capacityBytes);
  }

  /** Makes room for `count` more bytes; what was written so far stays (in a new buffer where the old one is too small). */
  reserve(count: number): void {
    if (this.at + count <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.bytes.length * GROWTH_FACTOR, this.at + count));
    this.bytes.copy(grown, 0, 0, this.at);
    this.bytes = grown;
  }

  raw(bytes: Uint8Array): void {
    this.reserve(bytes.byteLength);
    this.bytes.set(bytes, this.at);
    this.at += bytes.byteLength;
  }

  /** A value of the subset; arrays are written with what they hold. */
  value(value: unknown): void {
    switch (typeof value) {
      case 'number':
        this.number(value);
        return;
      case 'string':
        this.string(value);
        return;
      case 'boolean':
        this.reserve(1);
        this.bytes[this.at++] = value ? 0xc3 : 0xc2;
        return;
      default:
        break;
    }
    if (value === null) {
      this.reserve(1);
      this.bytes[this.at++] = 0xc0;
    } else if (Array.isArray(value)) {
      this.arrayStart(value.length);
      for (const item of value) this.value(item);
    } else {
      assert(value instanceof Uint8Array, 'only nil, booleans, numbers, strings, bytes and arrays are packed');
      this.binary(value);
    }
  }

  number(value: number): void {
    this.reserve(9);
    const bytes = this.bytes;
    if (value >= 0 && Math.floor(value) === value && value <= 0xffff_ffff) {
      if (value < 0x80) bytes[this.at++] = value;
      else if (value < 0x100) {
        bytes[this.at++] = 0xcc;
        bytes[this.at++] = value;
      } else if (value < 0x1_0000) {
        bytes[this.at++] = 0xcd;
        bytes[this.at++] = value >>> 8;
        bytes[this.at++] = value & 0xff;
      } else {
        bytes[this.at++] = 0xce;
        this.#u32(value);
      }
      return;
    }
    assert(Number.isSafeInteger(value), 'only safe integers are packed');
    if (value < 0 && value >= -0x8000_0000) {
      if (value >= -32) bytes[this.at++] = 0x100 + value;
      else if (value >= -128) {
        bytes[this.at++] = 0xd0;
        bytes[this.at++] = value & 0xff;
      } else if (value >= -32_768) {
        bytes[this.at++] = 0xd1;
        bytes[this.at++] = (value >>> 8) & 0xff;
        bytes[this.at++] = value & 0xff;
      } else {
        bytes[this.at++] = 0xd2;
        this.#u32(value);
      }
      return;
    }
    bytes[this.at++] = 0xcb;
    bytes.writeDoubleBE(value, this.at);
    this.at += 8;
  }

  arrayStart(length: number): void {
    this.reserve(5);
    if (length < 16) this.bytes[this.at++] = 0x90 | length;
    else if (length < 0x1_0000) {
      this.bytes[this.at++] = 0xdc;
      this.#u16(length);
    } else {
      this.bytes[this.at++] = 0xdd;
      this.#u32(length);
    }
  }

  string(value: string): void {
    const length = value.length;
    // Twice the length: a character beyond 0x7f takes two bytes.
    this.reserve(5 + 2 * length);
    let byteLength = length;
    for (let i = 0; i < length; i++) {
      const c = value.charCodeAt(i);
      if (c > 0x7f) {
        assert(c <= 0xff, 'strings on the wire are byte strings');
        byteLength++;
      }
    }
    const bytes = this.bytes;
    if (byteLength < 32) bytes[this.at++] = 0xa0 | byteLength;
    else if (byteLength < 0x100) {
      bytes[this.at++] = 0xd9;
      bytes[this.at++] = byteLength;
    } else if (byteLength < 0x1_0000) {
      bytes[this.at++] = 0xda;
      this.#u16(byteLength);
    } else {
      bytes[this.at++] = 0xdb;
      this.#u32(byteLength);
    }
    let at = this.at;
    for (let i = 0; i < length; i++) {
      const c = value.charCodeAt(i);
      if (c <= 0x7f) bytes[at++] = c;
      else {
        bytes[at++] = 0xc0 | (c >>> 6);
        bytes[at++] = 0x80 | (c & 0x3f);
      }
    }
    this.at = at;
  }

  binary(value: Uint8Array): void {
    const length = value.byteLength;
    this.reserve(5);
    if (length < 0x100) {
      this.bytes[this.at++] = 0xc4;
      this.bytes[this.at++] = length;
    } else if (length < 0x1_0000) {
      this.bytes[this.at++] = 0xc5;
      this.#u16(length);
    } else {
      this.bytes[this.at++] = 0xc6;
      this.#u32(length);
    }
    this.raw(value);
  }

  #u16(value: number): void {
    this.bytes[this.at++] = value >>> 8;
    this.bytes[this.at++] = value & 0xff;
  }

  #u32(value: number): void {
    this.bytes[this.at++] = (value >>> 24) & 0xff;
    this.bytes[this.at++] = (value >>> 16) & 0xff;
    this.bytes[this.at++] = (value >>> 8) & 0xff;
    this.bytes[this.at++] = value & 0xff;
  }
}
