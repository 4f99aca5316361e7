/**
 * The process that really makes the system calls of the POSIX suite, so that the test's own process never touches a mount: it can be
 * killed, blocked or given another user. Usage: agent.js DIRECTORY; one JSON call a line on stdin, one JSON answer a line on stdout:
 *
 *   {"id": 1, "call": "open", "args": ["a", 66, 420]}   →   {"id": 1, "result": 5, "took_us": 210}   or   {"id": 1, "errno": 2}
 *
 * Paths are relative to DIRECTORY; paths and data are byte strings (one character a byte).
 */
import { createInterface } from 'node:readline';
import { CallError, calls, type CallName } from './calls.js';

function errnoOf(error: unknown): number | undefined {
  if (error instanceof CallError) return error.errno;
  const errno = (error as { errno?: unknown }).errno;
  return typeof errno === 'number' ? Math.abs(errno) : undefined;
}

function answer(line: string): object {
  const { id, call, args } = JSON.parse(line) as { id: number; call: CallName; args: unknown[] };
  const begin = performance.now();
  try {
    const result = (calls[call] as (...a: unknown[]) => unknown)(...args);
    return { id, result: result ?? null, took_us: Math.round((performance.now() - begin) * 1000) };
  } catch (error) {
    const errno = errnoOf(error);
    return errno === undefined ? { id, broken: String((error as Error).stack) } : { id, errno };
  }
}

process.umask(0);
process.chdir(process.argv[2] ?? '.');
createInterface({ input: process.stdin }).on('line', (line) => process.stdout.write(`${JSON.stringify(answer(line))}\n`));
