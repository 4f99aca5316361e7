/**
 * Running programs from the project's scripts: every program has a time limit and ends with its whole process group, every failure names
 * the command. Uses node's own modules only: the scripts run before anything is installed.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

export const PROJECT_ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** A failure that the user can act on: printed without a stack. */
export class StepError extends Error {
  constructor(message, options) {
    super(message, options);
    this.name = 'StepError';
  }
}

/** One line of progress, with the seconds since the script began. */
const begin = process.hrtime.bigint();
export function progress(text) {
  const seconds = Number((process.hrtime.bigint() - begin) / 1_000_000_000n);
  process.stdout.write(`[${String(seconds).padStart(4)} s] ${text}\n`);
}

/** The words of a command as one could paste them into a shell. */
export function shellText(words) {
  return words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(' ');
}

const running = new Set();

function killGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** Ends every program that `run` started and that still runs. */
export function killRunning() {
  for (const child of running) killGroup(child, 'SIGKILL');
}

/**
 * Runs a program and resolves with `{status, signal, stdout, stderr, timedOut}`; output is collected unless `show`, then it goes
 * to the terminal as it comes. With `holdInput` the program's standard input ends when this process does. Never rejects for an exit status; rejects with StepError when the program cannot be started.
 */
export function run(words, { cwd = PROJECT_ROOT, env = process.env, timeoutMs = 120_000, show = false, input, holdInput = false } = {}) {
  return new Promise((resolve, reject) => {
    const output = show ? 'inherit' : 'pipe';
    const child = spawn(words[0], words.slice(1), { cwd, env, detached: true, stdio: [input === undefined && !holdInput ? 'ignore' : 'pipe', output, output] });
    running.add(child);
    let stdout = '';
    let stderr = '';
    let timedOut = false;
    child.stdout?.setEncoding('utf8').on('data', (text) => (stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text) => (stderr += text));
    if (input !== undefined) child.stdin.on('error', () => undefined).end(input);
    const timer = setTimeout(() => {
      timedOut = true;
      killGroup(child, 'SIGTERM');
      setTimeout(() => killGroup(child, 'SIGKILL'), 5_000).unref();
    }, timeoutMs);
    const end = () => {
      clearTimeout(timer);
      running.delete(child);
    };
    child.on('error', (error) => {
      end();
      reject(new StepError(`cannot run ${words[0]}: ${error.code !== 'ENOENT' ? error.message : existsSync(cwd) ? 'no such program' : `the directory ${cwd} is gone`}`));
    });
    // 'exit' and not 'close': a daemon that the program leaves behind may keep the pipes open.
    child.on('exit', (status, signal) => {
      end();
      setTimeout(() => {
        child.stdout?.destroy();
        child.stderr?.destroy();
        resolve({ status, signal, stdout, stderr, timedOut });
      }, 20);
    });
  });
}

/** Like `run`, but anything except status 0 is a StepError that ends with the last lines of the output. */
export async function must(words, options = {}) {
  const result = await run(words, options);
  if (result.status === 0) return result;
  const how = result.timedOut ? `ran longer than ${(options.timeoutMs ?? 120_000) / 1000} s` : result.signal !== null ? `ended by ${result.signal}` : `exit status ${result.status}`;
  const tail = `${result.stdout}${result.stderr}`.trimEnd().split('\n').slice(-25).join('\n');
  throw new StepError(`${shellText(words)}: ${how}${tail === '' ? '' : `\n${tail}`}`);
}

export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Calls `probe` until it answers something other than undefined or false; StepError naming `what` after `timeoutMs`. */
export async function waitFor(what, timeoutMs, probe, everyMs = 200) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const answer = await probe();
    if (answer !== undefined && answer !== false) return answer;
    if (Date.now() > deadline) throw new StepError(`waited ${timeoutMs / 1000} s for ${what}`);
    await sleep(everyMs);
  }
}

/** Runs a script's main function: StepErrors become one message and status 1; on a signal all started programs end first. */
export async function script(main, cleanUp = async () => undefined) {
  let ending = false;
  const onSignal = (signal) => {
    if (ending) process.exit(130);
    ending = true;
    process.stderr.write(`\n${signal}: cleaning up\n`);
    killRunning();
    cleanUp().then(
      () => process.exit(130),
      (error) => {
        process.stderr.write(`${error.message}\n`);
        process.exit(130);
      },
    );
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => onSignal(signal));
  try {
    const status = await main();
    if (!ending) process.exit(typeof status === 'number' ? status : 0);
  } catch (error) {
    if (ending) return;
    process.stderr.write(error instanceof StepError ? `error: ${error.message}\n` : `${error.stack}\n`);
    process.exit(1);
  }
}
