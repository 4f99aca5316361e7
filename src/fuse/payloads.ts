/**
 * Buffers for the data of writes. A request is read into a buffer of more than 1 MiB; a small write must not keep that while it is under
 * way, so its data is copied into one of a fitting size. All are used again, last in first out, so that few of them stay warm.
 */
const SIZES = [4096, 16_384, 65_536] as const;
const KEPT_MAX = 512;

/** Larger payloads stay in the buffer they were read into. */
export const COPIED_BYTES_MAX = 65_536;

export class PayloadPool {
  readonly #free: Buffer[][] = SIZES.map(() => []);

  /** A copy of bytes from..to; `give` it back when it is not needed any more. The view may be shorter than the pooled buffer. */
  copy(source: Buffer, from: number, to: number): Buffer {
    const bytes = to - from;
    const size = SIZES.findIndex((s) => s >= bytes);
    const buffer = (this.#free[size] as Buffer[]).pop() ?? Buffer.allocUnsafeSlow(SIZES[size] as number);
    source.copy(buffer, 0, from, to);
    return buffer;
  }

  give(buffer: Buffer): void {
    const free = this.#free[SIZES.indexOf(buffer.length as (typeof SIZES)[number])];
    if (free !== undefined && free.length < KEPT_MAX) free.push(buffer);
  }
}
