/** ctime, which no disk lets anybody set, as an extended attribute: i64 seconds and u32 nanoseconds, little endian. */
import type { Time } from '../../base/time.js';

const CTIME_BYTES = 12;
const NSEC_MAX = 999_999_999;
const scratch = Buffer.allocUnsafeSlow(CTIME_BYTES);

/** Undefined for what cannot be one, and for an error number. */
export function ctimeFrom(value: Uint8Array | number): Time | undefined {
  if (typeof value === 'number' || value.byteLength !== CTIME_BYTES) return undefined;
  const view = new DataView(value.buffer, value.byteOffset, CTIME_BYTES);
  const nsec = view.getUint32(8, true);
  return nsec > NSEC_MAX ? undefined : { sec: Number(view.getBigInt64(0, true)), nsec };
}

/** Valid until the next call. */
export function ctimeBytes(time: Time): Buffer {
  scratch.writeBigInt64LE(BigInt(time.sec), 0);
  scratch.writeUInt32LE(time.nsec, 8);
  return scratch;
}
