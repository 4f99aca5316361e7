/** Says once when requests wait for long, and once when they go on: not for each of them. */
import type { Log, LogFields } from '../env/log.js';

const NOTICE_MS = 5000;

export class WaitingNotice {
  #since: number | undefined;

  /** Called from time to time. `oldest`: when the request began that waits longest, undefined when none waits. */
  look(log: Log, now: number, oldest: number | undefined, fields: () => LogFields): void {
    const waits = oldest !== undefined && now - oldest >= NOTICE_MS;
    if (waits && this.#since === undefined) {
      this.#since = oldest;
      log.warn('the volume does not answer: requests wait, and go on by themselves', fields());
    } else if (!waits && this.#since !== undefined) {
      log.info('the volume answers again', { waitedMs: Math.round(now - this.#since) });
      this.#since = undefined;
    }
  }
}
