/** What the commands of the long suites share (`npm run test:faults`, `npm run test:migration`): numbers given as options, progress, and an end in order. */

export class UsageError extends Error {}

/** The value of an option; throws UsageError for anything but a whole number from `least` on. */
export function wholeNumber(text: string, name: string, least: number): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < least) throw new UsageError(`--${name} ${text}: give a whole number from ${least} on`);
  return value;
}

const began = performance.now();

/** A line of progress, with the seconds since the process began. */
export function say(text: string): void {
  process.stdout.write(`[${((performance.now() - began) / 1000).toFixed(1).padStart(6)} s] ${text}\n`);
}

/** Ends the process with status 130 once `stop` has cleaned up: at a signal, and when the script that started it is gone. */
export function stopWhenTold(stop: () => Promise<void>): void {
  // The script that started this one ends, or is killed: its end of the pipe closes.
  process.stdin.on('end', () => process.kill(process.pid, 'SIGTERM')).resume();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => {
      say(`${signal}: cleaning up`);
      stop().then(
        () => process.exit(130),
        (error: unknown) => {
          process.stderr.write(`${String(error)}\n`);
          process.exit(130);
        },
      );
    });
}
