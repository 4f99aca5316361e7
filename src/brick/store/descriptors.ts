/** A bounded set of open descriptors by identity, closed when others need the room. */
import type { Gfid } from '../../base/ids.js';
import type { Disk } from '../disk.js';

export class Descriptor {
  readonly fd: number;
  /** Opened for writing too. */
  readonly writable: boolean;
  /** Used since the hand of the clock passed. */
  used = true;
  /** Calls in the thread pool that use the descriptor. */
  pins = 0;
  /** Left the set: closes with the last pin. */
  dropped = false;
  /** Freeing the inode's blocks takes long: not on this thread. */
  slow = false;

  constructor(fd: number, writable: boolean) {
    this.fd = fd;
    this.writable = writable;
  }
}

/** Replacement is the clock algorithm: a hit sets a bit, so that the path of every operation touches no list. */
export class Descriptors {
  readonly #disk: Disk;
  readonly #limit: number;
  readonly #open = new Map<Gfid, Descriptor>();

  constructor(disk: Disk, limit: number) {
    this.#disk = disk;
    this.#limit = limit;
  }

  get(gfid: Gfid): Descriptor | undefined {
    const found = this.#open.get(gfid);
    if (found !== undefined) found.used = true;
    return found;
  }

  add(gfid: Gfid, fd: number, writable: boolean): Descriptor {
    this.drop(gfid);
    this.#shrink(this.#limit - 1);
    const descriptor = new Descriptor(fd, writable);
    this.#open.set(gfid, descriptor);
    return descriptor;
  }

  pin(descriptor: Descriptor): void {
    descriptor.pins++;
  }

  unpin(descriptor: Descriptor): void {
    descriptor.pins--;
    if (descriptor.dropped && descriptor.pins === 0) this.#close(descriptor);
  }

  /** `slow`: the inode goes with this descriptor, and it is large. */
  drop(gfid: Gfid, slow = false): void {
    const descriptor = this.#open.get(gfid);
    if (descriptor === undefined) return;
    this.#open.delete(gfid);
    descriptor.slow = slow;
    this.#discard(descriptor);
  }

  /** Gives half of the descriptors back: the process has too many. */
  halve(): void {
    this.#shrink(this.#open.size >>> 1);
  }

  clear(): void {
    this.#shrink(0);
  }

  #shrink(count: number): void {
    for (const [gfid, descriptor] of this.#open) {
      if (this.#open.size <= count) return;
      this.#open.delete(gfid);
      if (descriptor.used && count > 0) {
        descriptor.used = false;
        this.#open.set(gfid, descriptor);
      } else this.#discard(descriptor);
    }
  }

  #discard(descriptor: Descriptor): void {
    descriptor.dropped = true;
    if (descriptor.pins === 0) this.#close(descriptor);
  }

  #close(descriptor: Descriptor): void {
    if (descriptor.slow) this.#disk.closeInPool(descriptor.fd);
    else this.#disk.close(descriptor.fd);
  }
}
