/**
 * Changes recorded frames: their bytes (flipped, cut, continued, spliced, lengths that lie, msgpack bombs) and their parts (a number, a name, an
 * identity or a whole list in the place of another), so that most of what comes out gets past the decoder and into the code behind it.
 */
import { PackBuffer } from '../../src/wire/pack.js';
import { FRAME_PREFIX_BYTES } from '../../src/wire/codec.js';
import { Scanner } from '../../src/wire/scan.js';
import type { SeededRandom } from '../sim/world.js';

/** A frame taken apart: the items of its header and its payload. */
export interface Parts {
  items: unknown[];
  payload: Buffer;
}

const scanner = new Scanner();

export function takeApart(frame: Buffer): Parts {
  const headerEnd = FRAME_PREFIX_BYTES + frame.readUInt32LE(4);
  return { items: scanner.readArray(frame, FRAME_PREFIX_BYTES, headerEnd), payload: frame.subarray(headerEnd) };
}

export function putTogether({ items, payload }: Parts): Buffer {
  const out = new PackBuffer(256);
  out.at = FRAME_PREFIX_BYTES;
  out.value(items);
  const header = out.at - FRAME_PREFIX_BYTES;
  out.raw(payload);
  const frame = out.bytes.subarray(0, out.at);
  frame.writeUInt32LE(4 + header + payload.length, 0);
  frame.writeUInt32LE(header, 4);
  return frame;
}

const NUMBERS = [
  0, 1, 2, 3, 7, 16, 255, 256, 4095, 4096, 65_535, 65_536, 1 << 20, (1 << 20) + 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40, 2 ** 44 - 4096,
  2 ** 44, 2 ** 52, Number.MAX_SAFE_INTEGER, -1, -2, -(2 ** 31), -(2 ** 31) - 1, Number.MIN_SAFE_INTEGER,
];

/** Names that broke other file systems, and those of our own that no client may reach. */
export const NAMES = [
  '', '.', '..', '../x', '../../../../tmp/x', 'a/b', '/', '/etc/passwd', 'a\0b', '\0', '%2e%2e', '%s%n%x', '${x}', '\u00c0\u00af', '\u00c0\u00ae\u00c0\u00ae', '\x1b[31m', 'new\nline',
  'x'.repeat(255), 'x'.repeat(256), 'x'.repeat(4096), '\u00ff'.repeat(255), ' ', '-rf', '.gluon', '.gluon/db', 'brick.json', 'handles', 'trap', 'trap-absolute', 'lost+found', '__proto__', 'constructor',
  'one', 'two', 'three', 'directory',
];

const XATTRS = [
  'trusted.gluon.gfid', 'trusted.gluon.volume', 'trusted.gluon.', 'trusted.gluon', 'trusted.glusterfs.volume-id', 'trusted.gfid', 'trusted.', 'system.posix_acl_access', 'system.posix_acl_default',
  'system.nfs4_acl', 'user.', 'user.x', 'security.capability', 'security.selinux', 'glusterfs.pathinfo', 'io-stats-dump', 'user/x', 'TRUSTED.GLUON.GFID', `user.${'x'.repeat(251)}`,
];

const TARGETS = ['/etc/passwd', '../canary/secret', '..', '../../canary/secret', '/', 'x'.repeat(4095), 'x'.repeat(4096), '.gluon/brick.json', 'trap'];

const GFID = /^[0-9a-f]{32}$/;

export class Mutator {
  readonly random: SeededRandom;
  /** Identities that were seen; a few of them are in most frames. */
  readonly #gfids: string[] = ['00000000000000000000000000000001', '00000000000000000000000000000000', 'f'.repeat(32)];
  #next = 0;

  constructor(random: SeededRandom) {
    this.random = random;
  }

  /** Remembers the identities in a header. */
  learn(value: unknown): void {
    if (typeof value === 'string' && GFID.test(value)) this.#gfids[3 + (this.#next++ % 500)] = value;
    else if (Array.isArray(value)) for (const item of value) this.learn(item);
  }

  gfid(): string {
    return this.random.chance(0.05) ? Buffer.from(this.random.bytes(16)).toString('hex') : this.random.pick(this.#gfids);
  }

  /** Some parts replaced; `from` is the first item that may change. */
  parts({ items, payload }: Parts, from: number): Parts {
    const { random } = this;
    const changed = structuredClone(items);
    for (let i = from; i < changed.length; i++) if (typeof changed[i] === 'string' && GFID.test(changed[i] as string) && random.chance(0.95)) changed[i] = this.gfid();
    for (let n = random.below(3); n > 0; n--) this.#replaceOne(changed, from);
    if (random.chance(0.03)) changed.splice(from + random.below(Math.max(1, changed.length - from)), 1);
    if (random.chance(0.03)) changed.push(this.#value(0));
    const data = payload.length === 0 && !random.chance(0.02) ? payload : random.chance(0.8) ? payload : Buffer.alloc(random.pick([0, 1, 4096, 65_536, 1 << 20]), random.below(256));
    return { items: changed, payload: data };
  }

  #replaceOne(list: unknown[], from: number): void {
    if (list.length <= from) return;
    const at = from + this.random.below(list.length - from);
    const old = list[at];
    if (Array.isArray(old) && old.length > 0 && this.random.chance(0.7)) this.#replaceOne(old, 0);
    else list[at] = this.random.chance(0.85) ? this.#like(old) : this.#value(0);
  }

  /** A value of the same kind. */
  #like(old: unknown): unknown {
    const { random } = this;
    if (typeof old === 'number') return random.chance(0.3) && Math.abs(old) < Number.MAX_SAFE_INTEGER ? old + random.pick([-1, 1]) : random.chance(0.2) ? random.next() : random.pick(NUMBERS);
    if (typeof old === 'boolean') return !old;
    if (typeof old === 'string') return this.#string(old);
    if (old instanceof Uint8Array) return Buffer.alloc(random.pick([0, 1, 31, 32, 33, 255, 65_536, 65_537]), random.below(256));
    if (Array.isArray(old)) {
      const [first] = old as unknown[];
      return random.chance(0.5) ? [] : Array.from({ length: random.pick(Array.isArray(first) ? [1, 2, 65] : [1, 2, 65, 5000]) }, () => first ?? 7);
    }
    return this.#value(0);
  }

  #string(old: string): string {
    const { random } = this;
    if (GFID.test(old) && random.chance(0.8)) return this.gfid();
    if (/^(?:user|trusted|system|security)\./.test(old) && random.chance(0.8)) return random.pick(XATTRS);
    return random.pick(random.chance(0.7) ? NAMES : random.chance(0.5) ? TARGETS : XATTRS);
  }

  #value(depth: number): unknown {
    const { random } = this;
    switch (random.below(depth > 5 ? 5 : 7)) {
      case 0:
        return null;
      case 1:
        return random.chance(0.5);
      case 2:
        return random.pick(NUMBERS);
      case 3:
        return random.chance(0.5) ? this.gfid() : random.pick(NAMES);
      case 4:
        return Buffer.alloc(random.below(40));
      default:
        return Array.from({ length: random.below(4) }, () => this.#value(depth + 1));
    }
  }

  /** The bytes changed: what no encoder writes. */
  bytes(frame: Buffer, other: Buffer): Buffer {
    const { random } = this;
    const copy = Buffer.from(frame);
    switch (random.below(9)) {
      case 0:
        for (let n = 1 + random.below(4); n > 0; n--) copy[random.below(copy.length)] = random.below(256);
        return copy;
      case 1:
        for (let n = 1 + random.below(3); n > 0; n--) flip(copy, FRAME_PREFIX_BYTES + random.below(Math.max(1, Math.min(copy.length - FRAME_PREFIX_BYTES, 200))), random);
        return copy;
      case 2:
        return copy.subarray(0, random.below(copy.length));
      case 3:
        return withLengths(copy.subarray(0, FRAME_PREFIX_BYTES + random.below(Math.max(1, copy.length - FRAME_PREFIX_BYTES))), undefined);
      case 4:
        return Buffer.concat([copy, random.bytes(1 + random.below(40))]);
      case 5:
        return withLengths(Buffer.concat([copy.subarray(0, random.below(copy.length)), other.subarray(random.below(other.length))]), undefined);
      case 6:
        copy.writeUInt32LE(random.pick([0, 1, 4, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, copy.length, 1 << 20, 4 << 20]), random.pick([0, 4]));
        return copy;
      case 7:
        return withLengths(Buffer.concat([Buffer.alloc(FRAME_PREFIX_BYTES), this.#bomb()]), undefined);
      default:
        return withLengths(copy, random.below(copy.length));
    }
  }

  #bomb(): Buffer {
    const { random } = this;
    const code = random.pick([1, 3, 10, 11, 16, 18, 30, 32, 33]);
    return random.pick([
      () => Buffer.concat([Buffer.alloc(1 + random.below(5000), 0x91), Buffer.from([0xc0])]),
      () => Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff, 1]),
      () => Buffer.from([0x92, code, 0xc6, 0xff, 0xff, 0xff, 0xff, 1]),
      () => Buffer.from([0x92, code, 0xdb, 0x7f, 0xff, 0xff, 0xff, 1]),
      () => Buffer.concat([Buffer.from([0x81, 0xa9]), Buffer.from('__proto__'), Buffer.from([0x80])]),
      () => Buffer.concat([Buffer.from([0x92, code, 0xdc, 0xff, 0xff]), Buffer.alloc(65_535, 0x90)]),
      () => Buffer.concat([Buffer.from([0x92, code, 0xcb]), Buffer.from(random.pick(['7ff8000000000000', '7ff0000000000000', '4340000000000001', '3fe0000000000000', '8000000000000000']), 'hex')]),
      () => Buffer.from([0x92, code, 0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
      () => Buffer.from([0xc7, 0xff, 0x01]),
      () => Buffer.concat([Buffer.from([0x92, code, 0xd9, 0x04]), Buffer.from('c0afe080', 'hex')]),
    ])();
  }
}

function flip(bytes: Buffer, at: number, random: SeededRandom): void {
  if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << random.below(8));
}

/** The lengths made to fit again; `header` of the bytes are called the header, all when undefined. */
function withLengths(frame: Buffer, header: number | undefined): Buffer {
  if (frame.length < FRAME_PREFIX_BYTES) return frame;
  frame.writeUInt32LE(frame.length - 4, 0);
  frame.writeUInt32LE(header === undefined ? frame.length - FRAME_PREFIX_BYTES : Math.min(header, frame.length - FRAME_PREFIX_BYTES), 4);
  return frame;
}
