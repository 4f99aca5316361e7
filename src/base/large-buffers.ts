/**
 * Buffers for file data that are used again. Fresh ones would make the garbage collector run a full cycle every few dozen mebibytes, which costs more
 * than moving the data.
 */
const SLAB_BYTES = (1 << 20) + 8192;
/** Smaller ones are left to the garbage collector. */
const TAKE_BYTES_MIN = 65_536;
const KEPT_MAX = 48;

export class LargeBuffers {
  readonly #free: ArrayBuffer[] = [];
  readonly #isFree = new Set<ArrayBufferLike>();

  /** A buffer of just this length; its content is whatever was there before. */
  take(bytes: number): Buffer {
    if (bytes < TAKE_BYTES_MIN || bytes > SLAB_BYTES) return Buffer.allocUnsafeSlow(bytes);
    const slab = this.#free.pop();
    if (slab === undefined) return Buffer.from(new ArrayBuffer(SLAB_BYTES), 0, bytes);
    this.#isFree.delete(slab);
    return Buffer.from(slab, 0, bytes);
  }

  /** Nobody looks at this view's memory any more. Views of other memory, and of memory that was given back already, are ignored. */
  give(view: Uint8Array): void {
    const { buffer } = view;
    if (buffer.byteLength !== SLAB_BYTES || this.#isFree.has(buffer) || this.#free.length >= KEPT_MAX) return;
    this.#isFree.add(buffer);
    this.#free.push(buffer as ArrayBuffer);
  }
}
