/** One sync of a descriptor that is under way. */
interface Running {
  done: Promise<number>;
  /** What another one was told meanwhile, 0 for nothing. */
  errno: number;
}

/** The kernel tells of an error that it met while it wrote once for each descriptor: of several syncs at the same time one hears of it, and all are to. */
export class OverlappingSyncs {
  readonly #running = new Map<number, Set<Running>>();

  /** `start` begins a sync of `fd`, which answers 0 or a negative errno. Resolves with that, or with what one was answered that ran at the same time. */
  async run(fd: number, start: (done: (result: number) => void) => void): Promise<number> {
    const sync: Running = { done: new Promise(start), errno: 0 };
    const running = this.#running.get(fd) ?? new Set();
    this.#running.set(fd, running.add(sync));
    const result = await sync.done;
    running.delete(sync);
    if (running.size === 0) {
      this.#running.delete(fd);
      return result < 0 ? result : sync.errno;
    }
    if (result < 0) {
      for (const other of running) other.errno = result;
      return result;
    }
    if (sync.errno < 0) return sync.errno;
    const others = await Promise.all([...running].map(({ done }) => done));
    return others.find((other) => other < 0) ?? result;
  }
}
