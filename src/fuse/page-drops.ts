/**
 * Takes all pages of an inode from the kernel. It waits for pages that are being read, and those reads may need a thread of the pool that notifications wait in: so only a few
 * are under way at once, and one of each inode. Whoever asks meanwhile shares the next one, which begins after they asked.
 */
import { encodeDropPages } from './invalidator.js';
import type { FuseDevice } from './device.js';

/** Well below the threads of the pool (mount-supervisor.sh). */
const AT_ONCE = 3;

interface Drop {
  readonly nodeid: number;
  readonly done: Promise<void>;
  readonly end: () => void;
}

export class PageDrops {
  readonly #device: Pick<FuseDevice, 'notify'>;
  /** Not begun, by inode, in the order in which they were asked for. */
  readonly #waiting = new Map<number, Drop>();
  readonly #underWay = new Set<number>();

  constructor(device: Pick<FuseDevice, 'notify'>) {
    this.#device = device;
  }

  /** Resolves when the kernel has none of the pages any more that it had at the time of the call. */
  drop(nodeid: number): Promise<void> {
    let drop = this.#waiting.get(nodeid);
    if (drop === undefined) {
      let end = (): void => undefined;
      const done = new Promise<void>((resolve) => (end = resolve));
      this.#waiting.set(nodeid, (drop = { nodeid, done, end }));
      this.#begin();
    }
    return drop.done;
  }

  #begin(): void {
    for (const drop of this.#waiting.values()) {
      if (this.#underWay.size >= AT_ONCE) return;
      if (!this.#underWay.has(drop.nodeid)) void this.#run(drop);
    }
  }

  async #run(drop: Drop): Promise<void> {
    this.#waiting.delete(drop.nodeid);
    this.#underWay.add(drop.nodeid);
    // Refused only where the kernel has no such inode, and no pages of it.
    await this.#device.notify(encodeDropPages(drop.nodeid));
    this.#underWay.delete(drop.nodeid);
    drop.end();
    this.#begin();
  }
}
