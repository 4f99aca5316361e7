/**
 * The checksum of one block: CRC-32 of its bytes, filled up with zeros, combined with the CRC-32 of a block of zeros. So a block of zeros has
 * the checksum 0, in a hole or not: a file that grows or gets a hole needs no checksums written, and those of a sparse file are sparse.
 */
import { crc32 } from 'node:zlib';
import { SUM_BLOCK_BYTES } from '../../replica/soundness.js';

export const SUM_BYTES = 4;

const zeros = Buffer.alloc(SUM_BLOCK_BYTES);
const ZEROS_CRC = crc32(zeros);

/** Of bytes [at, at + length) of `data`, which begin a block and may end before it does. */
export function blockSum(data: Uint8Array, at: number, length: number): number {
  const whole = at === 0 && length === data.byteLength ? data : data.subarray(at, at + length);
  const crc = crc32(whole);
  return ((length === SUM_BLOCK_BYTES ? crc : crc32(zeros.subarray(length), crc)) ^ ZEROS_CRC) >>> 0;
}

/** Number of the block that holds a byte. */
export function blockOf(offset: number): number {
  return Math.floor(offset / SUM_BLOCK_BYTES);
}

/** Blocks of a file of this size. */
export function blocksIn(size: number): number {
  return Math.ceil(size / SUM_BLOCK_BYTES);
}
