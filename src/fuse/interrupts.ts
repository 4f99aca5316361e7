import type { Cancel, Clock } from '../env/clock.js';
import type { Request } from './message.js';

export interface Processes {
  /** True when the thread was sent SIGKILL, or another signal that ends it, and only waits for its system call to end; also when it is gone. */
  isDying(thread: number): boolean;
}

/** Between two looks at the threads whose request was interrupted. */
const LOOK_MS = 200;

/**
 * Requests whose caller got a signal while it waited. A lock wait ends with EINTR. Any other request goes on, as on a local disk, because
 * programs do not expect EINTR from them; but when the signal kills the caller, nobody will see the answer, so it gets EINTR at once and the
 * process can go, even while the volume waits for its quorum. The kernel tells of the first signal only, hence the repeated looks.
 */
export class Interrupts {
  readonly #clock: Clock;
  readonly #processes: Processes;
  readonly #end: (request: Request) => void;
  #watched: Request[] = [];
  #timer: Cancel | undefined;

  constructor(clock: Clock, processes: Processes, end: (request: Request) => void) {
    this.#clock = clock;
    this.#processes = processes;
    this.#end = end;
  }

  interrupt(request: Request): void {
    if (request.interrupted) return;
    request.interrupted = true;
    request.cancel?.();
    if (request.answered) return;
    this.#watched.push(request);
    this.#look();
  }

  close(): void {
    this.#timer?.();
    this.#watched = [];
  }

  #look(): void {
    this.#timer?.();
    this.#timer = undefined;
    this.#watched = this.#watched.filter((request) => !request.answered);
    for (const request of this.#watched) if (this.#processes.isDying(request.pid)) this.#end(request);
    this.#watched = this.#watched.filter((request) => !request.answered);
    if (this.#watched.length > 0) this.#timer = this.#clock.after(LOOK_MS, () => this.#look());
  }
}
