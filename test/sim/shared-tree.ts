/** The small tree that all clients of a run work on: two directories of names, a file of blocks, one that is appended to, and one that is locked. */
import { createHash } from 'node:crypto';
import { ROOT_GFID, type Gfid } from '../../src/base/ids.js';
import { REGION_BYTES } from '../../src/fops/ops.js';
import type { VolumeClient } from '../../src/client/client.js';
import { isDirectoryId, UNWRITTEN, type Place } from '../support/sequential-models.js';
import type { Content } from './histories.js';

export const DIRECTORIES = ['d', 'e'] as const;
export const NAMES = ['a', 'b', 'c', 'x'] as const;
export const BLOCK_BYTES = 2048;
export const ENTRY_BYTES = 64;
const READ_BYTES = 1 << 16;

export interface SharedTree {
  directories: ReadonlyMap<string, Gfid>;
  /** Offset of every block in the file of blocks. */
  offsets: readonly number[];
  blocks: Gfid;
  file: Gfid;
  lock: Gfid;
}

/** `far`: blocks lie in several regions, one of them across the border. */
export async function makeTree(client: VolumeClient, far: boolean): Promise<SharedTree> {
  const directories = new Map<string, Gfid>();
  for (const name of DIRECTORIES) directories.set(name, (await client.call('mkdir', { parent: ROOT_GFID, name, mode: 0o755, uid: 0, gid: 0 })).attr.gfid);
  const make = async (name: string): Promise<Gfid> => {
    const { attr } = await client.call('create', { parent: ROOT_GFID, name, mode: 0o644, exclusive: true, truncate: false, uid: 0, gid: 0 });
    await client.call('release', { gfid: attr.gfid });
    return attr.gfid;
  };
  const tree = {
    directories, blocks: await make('blocks'), file: await make('file'), lock: await make('lock'),
    offsets: far ? [0, BLOCK_BYTES, REGION_BYTES - 1000, REGION_BYTES + BLOCK_BYTES] : [0, BLOCK_BYTES, 3 * BLOCK_BYTES],
  };
  for (const gfid of [ROOT_GFID, tree.blocks, tree.file, tree.lock, ...directories.values()]) await client.call('fsync', { gfid, dataOnly: false });
  return tree;
}

/** Bytes that hold this value in every part. */
export function valueBytes(value: string, length: number): Buffer {
  return Buffer.alloc(length, `${value};`);
}

/** The value that was written; '' for zeros or nothing, and a name of its own for anything else. */
export function valueOf(bytes: Uint8Array, length: number): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (buffer.every((byte) => byte === 0)) return UNWRITTEN;
  const value = buffer.toString('latin1', 0, buffer.indexOf(';'));
  if (buffer.length === length && buffer.equals(valueBytes(value, length))) return value;
  return `torn ${createHash('md5').update(buffer).digest('hex').slice(0, 8)}`;
}

export function blockName(index: number): string {
  return `block ${index}`;
}

export async function readFile(client: VolumeClient, tree: SharedTree): Promise<string[]> {
  const { data } = await client.call('read', { gfid: tree.file, offset: 0, size: READ_BYTES });
  return Array.from({ length: Math.ceil(data.byteLength / ENTRY_BYTES) }, (_, i) => valueOf(data.subarray(i * ENTRY_BYTES, (i + 1) * ENTRY_BYTES), ENTRY_BYTES));
}

export async function readBlock(client: VolumeClient, tree: SharedTree, index: number): Promise<string> {
  const { data } = await client.call('read', { gfid: tree.blocks, offset: tree.offsets[index] as number, size: BLOCK_BYTES });
  return valueOf(data, BLOCK_BYTES);
}

export function idOf(attr: { gfid: Gfid }, directory: boolean): string {
  return directory ? `${attr.gfid}/` : attr.gfid;
}

export function gfidOf(id: string): Gfid {
  return isDirectoryId(id) ? id.slice(0, -1) : id;
}

/** All there is, read while nobody changes it. */
export async function readAll(client: VolumeClient, tree: SharedTree): Promise<Content> {
  const names = new Map<Place, string>();
  for (const [directory, gfid] of tree.directories) {
    const { entries } = await client.call('readdir', { gfid, after: '', limit: 100, attributes: false });
    for (const entry of entries) names.set(`${directory}/${entry.name}`, idOf(entry, entry.type === 0o040000));
  }
  const blocks = new Map<string, string>();
  for (let index = 0; index < tree.offsets.length; index++) blocks.set(blockName(index), await readBlock(client, tree, index));
  return { names, blocks, file: await readFile(client, tree) };
}
