/**
 * Frames of the brick protocol, driven by the tables MESSAGES, OPS and PEER_OPS.
 *
 *    0        4        8                8 + header                 4 + follow
 *   +--------+--------+----------------+--------------------------+
 *   | follow | header | msgpack array  | raw payload              |      u32le each; follow = 4 + header + payload
 *   +--------+--------+----------------+--------------------------+
 *
 * Header: [code, field, ..., (operation code, its arguments or results)]. The result is there only when `errno` is 0.
 * A field of a payload kind travels as the raw payload; a message has at most one.
 */
import { assert } from '../base/assert.js';
import { ProtocolError } from '../base/protocol-error.js';
import type { Fields, Kind } from '../fops/fields.js';
import { OP_NAMES, OPS, opByCode, type OpName } from '../fops/ops.js';
import { HEADER_BYTES_MAX, MESSAGES, PAYLOAD_BYTES_MAX, type Message, type MessageKind } from './messages.js';
import { PackBuffer } from './pack.js';
import { PEER_OPS, type PeerOpName } from './peer-ops.js';
import { Scanner } from './scan.js';

/** The two lengths at the start of a frame. */
export const FRAME_PREFIX_BYTES = 8;
export const FRAME_BYTES_MAX = FRAME_PREFIX_BYTES + HEADER_BYTES_MAX + PAYLOAD_BYTES_MAX;

const NO_PAYLOAD: Uint8Array = Buffer.alloc(0);

/** A table of fields, flattened so that the hot path walks arrays. */
interface Layout {
  keys: string[];
  kinds: Kind<unknown>[];
  /** Index of the payload field, -1 where there is none. */
  payloadAt: number;
}

function layoutOf(fields: Fields): Layout {
  const keys = Object.keys(fields);
  const kinds = keys.map((key) => fields[key] as Kind<unknown>);
  const payloadAt = kinds.findIndex((kind) => kind.payload === true);
  assert(kinds.filter((kind) => kind.payload === true).length <= 1, 'a message has at most one payload');
  return { keys, kinds, payloadAt };
}

type TailKind = 'args' | 'result' | 'peerArgs' | 'peerResult';

interface MessageLayout {
  kind: MessageKind;
  code: number;
  fields: Layout;
  tail: TailKind | undefined;
}

interface OpLayout {
  code: number;
  args: Layout;
  result: Layout;
}

const MESSAGE_LAYOUTS = new Map<MessageKind, MessageLayout>();
const BY_CODE: (MessageLayout | undefined)[] = [];
for (const kind of Object.keys(MESSAGES) as MessageKind[]) {
  const spec: { code: number; fields: Fields; tail?: string } = MESSAGES[kind];
  const layout: MessageLayout = {
    kind,
    code: spec.code,
    fields: layoutOf(spec.fields),
    tail: spec.tail as TailKind | undefined,
  };
  assert(BY_CODE[spec.code] === undefined, 'message codes are unique');
  assert(layout.fields.payloadAt === -1, 'payloads are in operations only');
  MESSAGE_LAYOUTS.set(kind, layout);
  BY_CODE[spec.code] = layout;
}

const OP_LAYOUTS = new Map<OpName, OpLayout>(
  OP_NAMES.map((name) => [
    name,
    { code: OPS[name].code, args: layoutOf(OPS[name].args), result: layoutOf(OPS[name].result) },
  ]),
);

const PEER_OP_LAYOUTS = new Map<PeerOpName, OpLayout>();
const PEER_OP_BY_CODE = new Map<number, PeerOpName>();
for (const name of Object.keys(PEER_OPS) as PeerOpName[]) {
  const spec = PEER_OPS[name];
  PEER_OP_LAYOUTS.set(name, { code: spec.code, args: layoutOf(spec.args), result: layoutOf(spec.result) });
  PEER_OP_BY_CODE.set(spec.code, name);
}
assert(PEER_OP_BY_CODE.size === PEER_OP_LAYOUTS.size, 'codes of peer operations are unique');

type Loose = Record<string, unknown>;

function packLayout(out: PackBuffer, layout: Layout, values: Loose): void {
  const { keys, kinds, payloadAt } = layout;
  for (let i = 0; i < keys.length; i++) {
    if (i === payloadAt) continue;
    const kind = kinds[i] as Kind<unknown>;
    const value = values[keys[i] as string];
    out.value(kind.pack === undefined ? value : kind.pack(value));
  }
}

function countOf(layout: Layout): number {
  return layout.payloadAt === -1 ? layout.keys.length : layout.keys.length - 1;
}

/**
 * Appends the frame to `out`, all but its payload, which is returned (and not copied) where there is one: it belongs right behind.
 * A message that does not fit its limits is a bug of the sender.
 */
export function encodeMessage(out: PackBuffer, message: Message): Uint8Array | undefined {
  const layout = MESSAGE_LAYOUTS.get(message.kind);
  assert(layout !== undefined, 'the message kind is in the table');
  const start = out.at;
  out.reserve(FRAME_PREFIX_BYTES);
  out.at += FRAME_PREFIX_BYTES;
  const loose = message as unknown as Loose;
  let payload: Uint8Array | undefined;
  if (layout.tail === undefined) {
    out.arrayStart(1 + layout.fields.keys.length);
    out.value(layout.code);
    packLayout(out, layout.fields, loose);
  } else {
    payload = packWithTail(out, layout, layout.tail, loose);
  }
  const headerBytes = out.at - start - FRAME_PREFIX_BYTES;
  const payloadBytes = payload === undefined ? 0 : payload.byteLength;
  assert(headerBytes <= HEADER_BYTES_MAX && payloadBytes <= PAYLOAD_BYTES_MAX, 'a message fits its limits');
  out.bytes.writeUInt32LE(4 + headerBytes + payloadBytes, start);
  out.bytes.writeUInt32LE(headerBytes, start + 4);
  return payloadBytes === 0 ? undefined : payload;
}

function packWithTail(out: PackBuffer, layout: MessageLayout, tail: TailKind, message: Loose): Uint8Array | undefined {
  const peer = tail === 'peerArgs' || tail === 'peerResult';
  const op = peer ? PEER_OP_LAYOUTS.get(message['op'] as PeerOpName) : OP_LAYOUTS.get(message['op'] as OpName);
  assert(op !== undefined, 'the operation is in the table');
  const ofArgs = tail === 'args' || tail === 'peerArgs';
  const fields = ofArgs ? op.args : op.result;
  const values = message[ofArgs ? 'args' : 'result'] as Loose | undefined;
  const present = ofArgs || message['errno'] === 0;
  out.arrayStart(2 + layout.fields.keys.length + (present ? countOf(fields) : 0));
  out.value(layout.code);
  packLayout(out, layout.fields, message);
  out.value(op.code);
  if (!present) return undefined;
  assert(values !== undefined, 'a success has a result');
  packLayout(out, fields, values);
  return fields.payloadAt === -1 ? undefined : (values[fields.keys[fields.payloadAt] as string] as Uint8Array);
}

/** Bytes of the whole frame whose first eight bytes are at `at`; ProtocolError when its lengths are beyond `frameBytesMax` or contradict each other. */
export function frameBytes(bytes: Buffer, at: number, frameBytesMax: number): number {
  const follow = bytes.readUInt32LE(at);
  const header = bytes.readUInt32LE(at + 4);
  if (follow < 4 + header || header === 0)
    throw new ProtocolError(`a frame of ${follow} bytes with a header of ${header} bytes`);
  if (header > HEADER_BYTES_MAX || follow - 4 - header > PAYLOAD_BYTES_MAX || follow + 4 > frameBytesMax) {
    throw new ProtocolError(`a frame of ${follow} bytes with a header of ${header} bytes: beyond the limit`);
  }
  return follow + 4;
}

const scanner = new Scanner();

/**
 * The message of the frame in [at, end); the lengths were checked by `frameBytes`. The payload is a view into `bytes`, nothing else is.
 * ProtocolError for anything that is not exactly a message of the tables.
 */
export function decodeMessage(bytes: Buffer, at: number, end: number): Message {
  const headerStart = at + FRAME_PREFIX_BYTES;
  const headerEnd = headerStart + bytes.readUInt32LE(at + 4);
  const payload = headerEnd === end ? NO_PAYLOAD : bytes.subarray(headerEnd, end);
  const items = scanner.readArray(bytes, headerStart, headerEnd);
  const code = items[0];
  const layout = typeof code === 'number' ? BY_CODE[code] : undefined;
  if (layout === undefined) throw new ProtocolError(`unknown message code ${String(code)}`);
  const out: Loose = { kind: layout.kind };
  const next = unpackLayout(layout.fields, items, 1, NO_PAYLOAD, out, layout.kind);
  if (layout.tail !== undefined) unpackTail(layout.tail, items, next, payload, out);
  else finish(items, next, payload, false, layout.kind);
  return out as unknown as Message;
}

function unpackTail(tail: TailKind, items: unknown[], at: number, payload: Uint8Array, out: Loose): void {
  const peer = tail === 'peerArgs' || tail === 'peerResult';
  const code = items[at];
  const name = peer ? PEER_OP_BY_CODE.get(code as number) : opByCode(code);
  if (name === undefined) throw new ProtocolError(`unknown operation code ${String(code)}`);
  const op = (peer ? PEER_OP_LAYOUTS.get(name as PeerOpName) : OP_LAYOUTS.get(name as OpName)) as OpLayout;
  out['op'] = name;
  const ofArgs = tail === 'args' || tail === 'peerArgs';
  if (!ofArgs && out['errno'] !== 0) {
    out['result'] = undefined;
    finish(items, at + 1, payload, false, name);
    return;
  }
  const values: Loose = {};
  const fields = ofArgs ? op.args : op.result;
  const next = unpackLayout(fields, items, at + 1, payload, values, name);
  finish(items, next, payload, fields.payloadAt !== -1, name);
  out[ofArgs ? 'args' : 'result'] = values;
}

function unpackLayout(
  layout: Layout,
  items: unknown[],
  at: number,
  payload: Uint8Array,
  out: Loose,
  label: string,
): number {
  const { keys, kinds, payloadAt } = layout;
  let next = at;
  for (let i = 0; i < keys.length; i++) {
    const kind = kinds[i] as Kind<unknown>;
    const key = keys[i] as string;
    // A missing element is not the same as an absent optional value, which is nil.
    const value = i === payloadAt ? payload : next < items.length ? items[next++] : missing(label, key);
    if (!kind.check(value)) throw new ProtocolError(`${label}.${key}: not a valid ${kind.label}`);
    out[key] = kind.unpack === undefined ? value : kind.unpack(value);
  }
  return next;
}

function missing(label: string, key: string): never {
  throw new ProtocolError(`${label}.${key}: missing`);
}

function finish(items: unknown[], next: number, payload: Uint8Array, payloadUsed: boolean, label: string): void {
  if (next !== items.length) throw new ProtocolError(`${label}: ${items.length - next} fields too many`);
  if (!payloadUsed && payload.byteLength !== 0) throw new ProtocolError(`${label}: a payload where none belongs`);
}

/** One whole frame in a buffer of its own (tests, the simulator). */
export function encodeFrame(message: Message): Buffer {
  const out = new PackBuffer(256);
  const payload = encodeMessage(out, message);
  if (payload !== undefined) out.raw(payload);
  return out.bytes.subarray(0, out.at);
}

/** The message of a buffer that holds exactly one frame. */
export function decodeFrame(bytes: Buffer, frameBytesMax = FRAME_BYTES_MAX): Message {
  if (bytes.byteLength < FRAME_PREFIX_BYTES) throw new ProtocolError('a frame that ends inside its lengths');
  const length = frameBytes(bytes, 0, frameBytesMax);
  if (length !== bytes.byteLength) throw new ProtocolError(`a frame of ${length} bytes in ${bytes.byteLength}`);
  return decodeMessage(bytes, 0, length);
}
