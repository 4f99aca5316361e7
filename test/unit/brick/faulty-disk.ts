/** A disk on which one call goes wrong: by an error, or because the process died there. */
import { Errno } from '../../../src/base/errno.js';
import { O_CREAT, type Disk } from '../../../src/brick/disk.js';
import { LibcDisk } from '../../../src/platform/libc.js';

/** What a call that changes the disk throws at and after the crash. */
export class Crash extends Error {}

const CHANGES = new Set<keyof Disk>([
  'mkdirAt',
  'mknodAt',
  'symlinkAt',
  'linkAt',
  'unlinkAt',
  'rmdirAt',
  'renameAt',
  'chmod',
  'chmodAt',
  'chown',
  'chownAt',
  'setXattr',
  'setXattrAt',
  'removeXattr',
  'removeXattrAt',
  'write',
  'writeStream',
  'truncate',
  'allocate',
]);
const OPENS = new Set<keyof Disk>(['openRoot', 'openFile', 'openDirectory', 'openAppend']);

export class FaultyDisk {
  readonly disk: Disk;
  readonly #real = new LibcDisk();
  readonly #open = new Set<number>();
  /** Changes counted since `arm`. */
  changes = 0;
  #at = 0;
  #mode: 'none' | 'crash' | 'error' = 'none';

  constructor() {
    this.disk = new Proxy<Disk>(this.#real, {
      get:
        (_, key: keyof Disk) =>
        (...args: unknown[]) =>
          this.#call(key, args),
    });
  }

  /** The change with this number (from 1) and, after a crash, all that follow go wrong. 0: none. */
  arm(at: number, mode: 'crash' | 'error'): void {
    this.changes = 0;
    this.#at = at;
    this.#mode = mode;
  }

  /** The process is gone: what it had open is closed by the kernel. */
  die(): void {
    for (const fd of this.#open) this.#real.close(fd);
    this.#open.clear();
    this.#mode = 'none';
    this.#at = 0;
  }

  #call(key: keyof Disk, args: unknown[]): unknown {
    const change = CHANGES.has(key) || (key === 'openFile' && ((args[2] as number) & O_CREAT) !== 0);
    if (change) {
      this.changes++;
      if (this.#at > 0 && this.#mode === 'error' && this.changes === this.#at) return -Errno.ENOSPC;
      if (this.#at > 0 && this.#mode === 'crash' && this.changes >= this.#at) throw new Crash();
    }
    if (key === 'close' || key === 'closeInPool') this.#open.delete(args[0] as number);
    const result = (this.#real[key] as (...a: unknown[]) => unknown)(...args);
    if (OPENS.has(key) && (result as number) >= 0) this.#open.add(result as number);
    return result;
  }
}
