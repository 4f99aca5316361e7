/**
 * Buffers for file data that are used again. Fresh ones would make the garbage collector run a full cycle every few dozen mebibytes, which costs more
 * than moving the data.
 */

/** A kind of buffer by its size; the odd sizes are nobody else's, so that a view tells where its memory came from. */
interface Kind {
  readonly slabBytes: number;
  readonly keptMax: number;
}

const KINDS: readonly Kind[] = [
  { slabBytes: 4096 + 32, keptMax: 512 },
  { slabBytes: 16_384 + 32, keptMax: 128 },
  { slabBytes: 65_536 + 32, keptMax: 64 },
  { slabBytes: (1 << 20) + 8192, keptMax: 48 },
];
/** Smaller ones are left to the garbage collector. */
const TAKE_BYTES_MIN = 1024;

export class LargeBuffers {
  readonly #free: readonly ArrayBuffer[][] = KINDS.map(() => []);
  readonly #isFree = new Set<ArrayBufferLike>();

  /** A buffer of just this length; its content is whatever was there before. */
  take(bytes: number): Buffer {
    const index = bytes < TAKE_BYTES_MIN ? -1 : KINDS.findIndex(({ slabBytes }) => bytes <= slabBytes);
    if (index < 0) return Buffer.allocUnsafeSlow(bytes);
    const slab = (this.#free[index] as ArrayBuffer[]).pop();
    if (slab === undefined) return Buffer.from(new ArrayBuffer((KINDS[index] as Kind).slabBytes), 0, bytes);
    this.#isFree.delete(slab);
    return Buffer.from(slab, 0, bytes);
  }

  /** A copy that is the caller's, to `give` or to forget. */
  copy(data: Uint8Array): Buffer {
    const copy = this.take(data.byteLength);
    copy.set(data);
    return copy;
  }

  /** Nobody looks at this view's memory any more. Views of other memory, and of memory that was given back already, are ignored. */
  give(view: Uint8Array): void {
    const { buffer } = view;
    const index = KINDS.findIndex(({ slabBytes }) => slabBytes === buffer.byteLength);
    if (index < 0) return;
    const free = this.#free[index] as ArrayBuffer[];
    if (free.length >= (KINDS[index] as Kind).keptMax || this.#isFree.has(buffer)) return;
    this.#isFree.add(buffer);
    free.push(buffer as ArrayBuffer);
  }
}
