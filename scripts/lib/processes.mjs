/** Finding the processes and mounts that belong to a run, without trusting pid files: pids are used again after a crash. */
import { readdirSync, readFileSync } from 'node:fs';
import { sleep } from './steps.mjs';

/** `{pid, words, command}` of the live processes (except this one) that `wanted(pid)` accepts; it may throw for one that has just ended. */
export function processesWhere(wanted) {
  const found = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) continue;
    try {
      if (!wanted(Number(entry))) continue;
      const words = readFileSync(`/proc/${entry}/cmdline`, 'latin1').split('\0').slice(0, -1);
      // A process that ended and was not collected yet has no words.
      if (words.length > 0) found.push({ pid: Number(entry), words, command: words.join(' ') });
    } catch {
      // It ended while we looked, or belongs to the kernel.
    }
  }
  return found;
}

/** Live processes (except this one) whose environment holds `NAME=value`: the mark is inherited by everything they start. */
export function markedProcesses(name, value) {
  const mark = `${name}=${value}`;
  return processesWhere((pid) => readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(mark));
}

export function signalAll(processes, signal) {
  for (const { pid } of processes) {
    try {
      process.kill(pid, signal);
    } catch {
      // It ended by itself in between.
    }
  }
}

/** Ends what `find` returns: SIGTERM first, SIGKILL after `graceMs`. Resolves with what even that did not end. */
export async function endAll(find, graceMs) {
  for (const [signal, waitMs] of [
    ['SIGTERM', graceMs],
    ['SIGKILL', 5_000],
  ]) {
    const deadline = Date.now() + waitMs;
    signalAll(find(), signal);
    while (Date.now() < deadline) {
      if (find().length === 0) return [];
      await sleep(100);
      if (signal === 'SIGKILL') signalAll(find(), signal);
    }
  }
  return find();
}

/** `{source, path, type}` of every mount that `wanted` accepts, the innermost first. */
export function mounts(wanted) {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [source, path, type] = line.split(' ').map((word) => word.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(parseInt(octal, 8))));
      return { source, path, type };
    })
    .filter(wanted)
    .reverse();
}
