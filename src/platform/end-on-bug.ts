/**
 * A bug ends the process: an assertion or an error that nobody expected leaves a state that nobody has thought about. Whoever supervises it starts it again,
 * and the others take it for a crash.
 */
import { writeSync } from 'node:fs';
import type { Log } from '../env/log.js';
import { exitNow } from './exit-now.js';

/** EX_SOFTWARE of sysexits.h. */
export const BUG_STATUS = 70;

/**
 * From now on, an error that nobody caught is the last line of the log, and (where the log is a file) of stderr, and the process ends with `status`. It ends
 * at once, whatever its threads wait for.
 */
export function endOnBug(name: string, log: Log, options: { logIsFile: boolean; status?: number }): void {
  const end = (error: unknown): void => {
    try {
      log.error('a bug: the process ends', { process: name, error: error instanceof Error ? error : new Error(String(error)) });
      if (options.logIsFile) writeSync(2, `${name}: a bug: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`.split('\n', 1)[0] + '\n');
    } catch {
      // The disk of the log is full, or stderr is gone: the end matters more than its announcement.
    }
    exitNow(options.status ?? BUG_STATUS);
  };
  process.on('uncaughtException', end);
  process.on('unhandledRejection', end);
}
