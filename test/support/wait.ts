/** Waiting in tests: always bounded, and the error says what was waited for. */
import { setTimeout as sleep } from 'node:timers/promises';

export { sleep };

const LOOK_PAUSE_MS_MAX = 1000;

export class WaitError extends Error {
  constructor(what: string, boundMs: number, last: string) {
    super(`waited ${boundMs} ms for ${what}${last === '' ? '' : `; last seen: ${last}`}`);
    this.name = 'WaitError';
  }
}

/**
 * Polls `probe` until it returns something other than undefined or false. A probe that throws counts as "not yet", and its message
 * is part of the error when the time is over.
 */
export async function waitFor<T>(what: string, boundMs: number, probe: () => T | undefined | false | Promise<T | undefined | false>, everyMs = 100): Promise<T> {
  const end = performance.now() + boundMs;
  let last = '';
  for (;;) {
    const begun = performance.now();
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      last = error instanceof Error ? error.message : String(error);
    }
    if (performance.now() >= end) throw new WaitError(what, boundMs, last);
    // A look that costs much, such as a command, is taken less often: what is waited for may need the processor.
    await sleep(Math.max(everyMs, Math.min(LOOK_PAUSE_MS_MAX, 2 * (performance.now() - begun))));
  }
}

/** The promise's result, or a WaitError. The work itself goes on; the caller ends it. */
export async function within<T>(what: string, boundMs: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const bound = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new WaitError(what, boundMs, '')), boundMs);
  });
  try {
    return await Promise.race([work, bound]);
  } finally {
    clearTimeout(timer);
  }
}
