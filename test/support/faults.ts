/** Faults in the middle of a program's work. */
import { readdirSync, statSync } from 'node:fs';
import type { Cluster, Node } from './cluster.js';
import { killAndWait } from './processes.js';
import { SHORT } from './size.js';
import { waitFor } from './wait.js';

/** Whose brick is killed with SIGKILL while the program runs. */
export type Victim = 'none' | 'primary' | 'secondary';

/** The full form without a fault and with each; the short form with this victim only: what goes wrong without a fault goes wrong then too. */
export function victims(short: Victim): Victim[] {
  return SHORT ? [short] : ['none', 'primary', 'secondary'];
}

export function victimText(victim: Victim): string {
  return victim === 'none' ? '' : `, with the ${victim} brick killed meanwhile`;
}

async function pick(cluster: Cluster, victim: Victim): Promise<Node> {
  return victim === 'primary' ? cluster.primary() : cluster.secondary();
}

/**
 * Runs `work`. As soon as `begun` says that the work is under way, kills the victim's brick. No error may reach the work. The brick comes
 * back by itself. Fails when the work was over before the brick was killed: then nothing was proved.
 */
export async function withVictim(cluster: Cluster, victim: Victim, work: () => Promise<void>, begun: () => boolean): Promise<void> {
  if (victim === 'none') return work();
  const node = await pick(cluster, victim);
  const pid = await cluster.waitForBrick(node);
  let over = false;
  const running = work().finally(() => {
    over = true;
  });
  running.catch(() => undefined);
  await waitFor('the work to be under way', 60_000, () => over || begun(), 10);
  const tooLate = over;
  await killAndWait(pid);
  await running;
  if (tooLate) throw new Error('the work was over before the brick was killed: nothing was proved');
  await waitFor(`the killed brick of node ${node.index + 1} to be restarted by itself`, 30_000, async () => {
    const now = await cluster.brickPid(node);
    return now !== undefined && now !== pid;
  });
}

/** True once at least `count` entries exist in a directory of a brick (looked at on the disk, not through a mount). */
export function entriesIn(directory: string, count: number): () => boolean {
  return () => {
    try {
      return readdirSync(directory).length >= count;
    } catch {
      return false;
    }
  };
}

/** True once the file on the brick's disk has this many bytes. */
export function bytesIn(path: string, size: number): () => boolean {
  return () => {
    try {
      return statSync(path).size >= size;
    } catch {
      return false;
    }
  };
}

/** True once the file on the brick's disk has been written after this was asked the first time. */
export function changes(path: string): () => boolean {
  let first: bigint | undefined;
  return () => {
    try {
      const now = statSync(path, { bigint: true }).mtimeNs;
      first ??= now;
      return now !== first;
    } catch {
      return false;
    }
  };
}

/** True a moment after the first question: for work without a trace on disk. */
export function after(ms: number): () => boolean {
  const end = performance.now() + ms;
  return () => performance.now() >= end;
}
