import { libcFunction } from './libc.js';

const exit = libcFunction('void _exit(int)');

/**
 * Ends the process at once. `process.exit` waits for the thread pool, and with it for a thread that waits in the kernel for the next request of
 * a mount, which may never come.
 */
export function exitNow(status: number): never {
  exit(status);
  throw new Error('_exit returned');
}
