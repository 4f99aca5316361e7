/** Arbitrary and fixed values for every field kind, found by the kind's label, and messages made of them for every row of the tables. */
import fc from 'fast-check';
import type { Fields, Kind } from '../../../src/fops/fields.js';
import { OPS, OP_NAMES } from '../../../src/fops/ops.js';
import { MESSAGES, type Message, type MessageKind } from '../../../src/wire/messages.js';
import { PEER_OPS, type PeerOpName } from '../../../src/wire/peer-ops.js';

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const size = fc.oneof(u32, fc.maxSafeNat());
const hexId = fc.array(fc.constantFrom(...'0123456789abcdef'), { minLength: 32, maxLength: 32 }).map((c) => c.join(''));
const byteChar = fc.integer({ min: 1, max: 255 }).map((c) => String.fromCharCode(c));
const byteString = (maxLength: number, minLength = 0) =>
  fc.array(byteChar, { minLength, maxLength }).map((c) => c.join(''));
const name = byteString(255, 1)
  .map((s) => s.replaceAll('/', '_'))
  .filter((s) => s !== '.' && s !== '..');
const time = fc.record(
  { sec: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }), nsec: fc.integer({ min: 0, max: 999_999_999 }) },
  { noNullPrototype: true },
);
const attr = fc.record(
  {
    gfid: hexId,
    mode: u32,
    nlink: u32,
    uid: u32,
    gid: u32,
    rdev: u32,
    size,
    blocks: size,
    atime: time,
    mtime: time,
    ctime: time,
  },
  { noNullPrototype: true },
);
const bytes = fc.uint8Array({ maxLength: 300 }).map((b) => Buffer.from(b));
const target = byteString(300, 1);
const xattrName = byteString(255, 1);
const few = <T>(value: fc.Arbitrary<T>) => fc.array(value, { maxLength: 20 });

const ARBITRARY: Record<string, fc.Arbitrary<unknown>> = {
  gfid: hexId,
  'gfid or none': fc.oneof(fc.constant(''), hexId),
  gfids: few(hexId),
  writes: few(fc.tuple(size, size, size)),
  numbers: few(size),
  'brick ids': few(hexId),
  name,
  'name or none': fc.oneof(fc.constant(''), name),
  u32,
  size,
  flag: fc.boolean(),
  time,
  attr,
  'link target': target,
  'xattr name': xattrName,
  'xattr names': few(xattrName),
  bytes,
  token: byteString(64),
  'directory entries': few(
    fc.record({ name, gfid: hexId, type: u32, attr: fc.option(attr, { nil: undefined }) }, { noNullPrototype: true }),
  ),
  data: fc.uint8Array({ maxLength: 5000 }).map((b) => Buffer.from(b)),
  blob: bytes,
  keys: few(byteString(600)),
  role: fc.constantFrom('client', 'brick'),
  view: fc.record(
    { epoch: size, primary: fc.oneof(fc.constant(''), hexId), inSync: few(hexId), catchingUp: few(hexId) },
    { noNullPrototype: true },
  ),
  locks: few(
    fc.record(
      { gfid: hexId, owner: byteString(64), kind: u32, type: u32, start: size, end: size, pid: u32 },
      { noNullPrototype: true },
    ),
  ),
  ranges: few(fc.tuple(size, size)),
  'damaged ranges': few(fc.tuple(hexId, size, size)),
  'inode state': fc.record(
    { attr, target: fc.option(target, { nil: undefined }), xattrs: few(fc.tuple(xattrName, bytes)) },
    { noNullPrototype: true },
  ),
};

const GFID = '0123456789abcdef0123456789abcdef';
const OTHER = 'fedcba9876543210fedcba9876543210';
const ATTR = {
  gfid: GFID,
  mode: 0o100644,
  nlink: 1,
  uid: 1000,
  gid: 100_000,
  rdev: 0,
  size: 2 ** 33 + 1,
  blocks: 16,
  atime: { sec: 1_700_000_000, nsec: 1 },
  mtime: { sec: -5, nsec: 999_999_999 },
  ctime: { sec: 2 ** 33, nsec: 0 },
};

const FIXED: Record<string, unknown> = {
  gfid: GFID,
  'gfid or none': GFID,
  gfids: [GFID, OTHER],
  writes: [[7, 4096, 512]],
  numbers: [7, 2 ** 40],
  'brick ids': [GFID, OTHER],
  name: 'na\u00efve\n',
  'name or none': '',
  u32: 0xffff_fffe,
  size: Number.MAX_SAFE_INTEGER,
  flag: true,
  time: ATTR.atime,
  attr: ATTR,
  'link target': '../a',
  'xattr name': 'user.k',
  'xattr names': ['user.k', 'trusted.x'],
  bytes: Buffer.from([0, 1, 254, 255]),
  token: 'owner-1',
  'directory entries': [
    { name: 'a', gfid: GFID, type: 0o040000, attr: undefined },
    { name: 'b', gfid: OTHER, type: 0o100000, attr: ATTR },
  ],
  data: Buffer.from('payload'),
  blob: Buffer.from('blob'),
  keys: [`i${GFID}`, `n${GFID}name`],
  role: 'client',
  view: { epoch: 7, primary: GFID, inSync: [GFID, OTHER], catchingUp: [] },
  locks: [{ gfid: GFID, owner: 'o', kind: 1, type: 1, start: 0, end: Number.MAX_SAFE_INTEGER, pid: 4242 }],
  ranges: [
    [0, 65_536],
    [2 ** 40, 1],
  ],
  'damaged ranges': [[GFID, 4096, 8192]],
  'inode state': { attr: ATTR, target: undefined, xattrs: [['user.k', Buffer.from('v')]] },
};

function arbitraryOf(kind: Kind<unknown>): fc.Arbitrary<unknown> {
  const optional = kind.label.endsWith('?');
  const found = ARBITRARY[optional ? kind.label.slice(0, -1) : kind.label];
  if (found === undefined) throw new Error(`no arbitrary for the kind ${kind.label}`);
  return optional ? fc.option(found, { nil: undefined }) : found;
}

function arbitraryFields(fields: Fields): fc.Arbitrary<Record<string, unknown>> {
  const record: Record<string, fc.Arbitrary<unknown>> = {};
  for (const [key, kind] of Object.entries(fields)) record[key] = arbitraryOf(kind);
  return fc.record(record, { noNullPrototype: true });
}

function fixedFields(fields: Fields): Record<string, unknown> {
  const record: Record<string, unknown> = {};
  for (const [key, kind] of Object.entries(fields)) record[key] = FIXED[kind.label.replace(/\?$/, '')];
  return record;
}

/** One row of the tables: a message, with an operation where it carries one, with a result or an error. */
interface Row {
  label: string;
  kind: MessageKind;
  fields: Fields;
  op?: string;
  tail?: { key: 'args' | 'result'; fields: Fields } | undefined;
  failed?: boolean;
}

function rowsOf(kind: MessageKind): Row[] {
  const spec: { fields: Fields; tail?: string } = MESSAGES[kind];
  if (spec.tail === undefined) return [{ label: kind, kind, fields: spec.fields }];
  const peer = spec.tail.startsWith('peer');
  const names: string[] = peer ? Object.keys(PEER_OPS) : OP_NAMES;
  const rows: Row[] = [];
  for (const op of names) {
    const table = (peer ? PEER_OPS[op as PeerOpName] : OPS[op as keyof typeof OPS]) as { args: Fields; result: Fields };
    const key = spec.tail === 'args' || spec.tail === 'peerArgs' ? 'args' : 'result';
    rows.push({ label: `${kind} ${op}`, kind, fields: spec.fields, op, tail: { key, fields: table[key] } });
    if (key === 'result') rows.push({ label: `${kind} ${op} failed`, kind, fields: spec.fields, op, failed: true });
  }
  return rows;
}

const ROWS: Row[] = (Object.keys(MESSAGES) as MessageKind[]).flatMap(rowsOf);

function assemble(row: Row, fields: Record<string, unknown>, tail: Record<string, unknown> | undefined): Message {
  const message: Record<string, unknown> = { kind: row.kind, ...fields };
  if (row.op !== undefined) {
    message['op'] = row.op;
    if (row.failed === true) {
      message['errno'] = 2;
      message['result'] = undefined;
    } else {
      if (row.tail?.key === 'result') message['errno'] = 0;
      message[row.tail?.key ?? 'args'] = tail;
    }
  }
  return message as unknown as Message;
}

/** Any message of the tables. */
export const anyMessage: fc.Arbitrary<Message> = fc.oneof(
  ...ROWS.map((row) =>
    fc
      .tuple(
        arbitraryFields(row.fields),
        row.tail === undefined ? fc.constant(undefined) : arbitraryFields(row.tail.fields),
      )
      .map(([fields, tail]) => assemble(row, fields, tail)),
  ),
);

/** One fixed message for each row, for golden vectors and as seeds of mutation. */
export function fixedMessages(): { label: string; message: Message }[] {
  return ROWS.map((row) => ({
    label: row.label,
    message: assemble(row, fixedFields(row.fields), row.tail === undefined ? undefined : fixedFields(row.tail.fields)),
  }));
}
