/** What a fault is: how it is injected and repaired, and what programs on the mounts may notice. */
import type { Node } from '../support/cluster.js';
import type { Bed } from './bed.js';

/** Numbers from the seed. */
export interface Dice {
  /** In [0, 1). */
  next(): number;
  between(least: number, most: number): number;
  pick<T>(from: readonly T[]): T;
}

/** One injection. */
export interface Scene {
  bed: Bed;
  dice: Dice;
  /** The host it happens to. */
  victim: Node;
  /** All hosts it happens to. */
  victims: readonly Node[];
  /** Where the load runs: the client host first, then a node. */
  hosts: readonly Node[];
  pingTimeoutMs: number;
  short: boolean;
  /** Written to the log of injections. */
  note(text: string): void;
  /** Called when the round is over, whatever happened: what ends a fault that was not repaired. */
  atEnd(undo: () => void | Promise<void>): void;
  /** A fault of all bricks' power tells when. */
  cut?: { begin: number; end: number };
}

export interface Fault {
  name: string;
  what: string;
  /** Part of the short form. */
  short: boolean;
  victim: 'primary' | 'member' | 'any node' | 'any client' | 'client host' | 'all nodes' | 'two nodes';
  /** Before the load begins. */
  prepare?(scene: Scene): Promise<void>;
  inject(scene: Scene): Promise<void>;
  /** Seconds until the repair: in the short form, and between these in the full one. */
  holdS: { short: number; full: readonly [number, number] };
  repair?(scene: Scene): Promise<void>;
  /**
   * Longest pause of a program on another host, in milliseconds. `waits`: as long as the fault lasts (no majority), then `stallMs` from
   * the repair on.
   */
  stallMs(scene: Scene): number;
  waits?: boolean;
  /** Hosts whose programs notice more than a pause; the victims where nothing else is said. */
  affects?(scene: Scene): readonly Node[];
  /** The second client is on the victim: default false, any node. */
  clientOnVictim?: boolean;
  /** Programs on the affected hosts themselves: go on like all others (default), end with them, or wait until the repair. */
  onVictim?: 'goes on' | 'dies' | 'waits';
  /** Errors that programs may see: everywhere, or on the victims only. */
  errors?: readonly string[];
  errorsOnVictim?: readonly string[];
  /** In the full form a virtual machine works beside the other load. */
  guest?: boolean;
  /** Within this time after the repair nothing is left to heal. */
  healS?: number;
}

/** What a program sees of files that it had open when its host was silent for longer than network.ping-timeout, and others went on with them (G5). */
export const FENCED: readonly string[] = ['EIO', 'ESTALE'];

/** The promise of G6 for a process that is killed. */
export const KILLED_MS = 1000;
export const HEAL_S = 60;
