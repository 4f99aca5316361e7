/** Memory behind a descriptor, mapped into this process: what is stored in it outlives the process as long as somebody holds the descriptor. */
import koffi from 'koffi';
import { assert } from '../base/assert.js';
import { errnoName } from '../base/errno.js';
import type { StateMemory } from '../fuse/state-memory.js';
import { libcFunction } from './libc.js';

const memfdCreate = libcFunction('int memfd_create(const char *, unsigned int)');
const ftruncate = libcFunction('int ftruncate(int, int64_t)');
const mmap = libcFunction('void *mmap(void *, size_t, int, int, int, int64_t)');

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MFD_CLOEXEC = 1;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/** A new piece of sparse, zeroed memory; the descriptor is inherited by child processes that are given it, and by no others. */
export function createSharedMemory(name: string, bytes: number): number {
  const descriptor = memfdCreate(name, MFD_CLOEXEC) as number;
  if (descriptor < 0) throw new Error(`memfd_create: ${errnoName(koffi.errno())}`);
  if ((ftruncate(descriptor, bytes) as number) < 0)
    throw new Error(`ftruncate of the state memory: ${errnoName(koffi.errno())}`);
  return descriptor;
}

export class SharedMemory implements StateMemory {
  readonly #descriptor: number;
  readonly #parts = new Map<number, ArrayBuffer>();

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  map(offset: number, bytes: number): ArrayBuffer {
    let part = this.#parts.get(offset);
    if (part === undefined) {
      const address = mmap(null, bytes, PROT_READ_WRITE, MAP_SHARED, this.#descriptor, offset) as unknown as
        bigint | null;
      assert(
        address !== null && address !== MAP_FAILED,
        `the state memory cannot be mapped: ${errnoName(koffi.errno())}`,
      );
      part = koffi.view(address, bytes);
      this.#parts.set(offset, part);
    }
    return part;
  }
}
