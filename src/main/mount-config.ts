/** What the mount command hands to its worker, and what both know of the descriptors between them. */
import type { LogLevel } from '../env/log.js';
import type { MountSource } from '../fuse/mount-options.js';

export interface MountConfig {
  source: MountSource;
  /** Absolute, without symbolic links. */
  directory: string;
  /** Undefined: stderr. */
  logFile: string | undefined;
  logLevel: LogLevel;
  directIo: boolean;
}

/** Descriptor numbers in supervisor and worker. */
export const Descriptor = { main: 3, drain: 4, state: 5, report: 6, adoption: 7 } as const;

/** The worker's end, for the supervisor. */
export const ExitStatus = {
  /** The mount is no more. */
  ended: 0,
  /** It never could be served. */
  refused: 3,
  /** Anything that a new worker may get over. */
  failed: 1,
} as const;

/** One line from the first worker to the mount command. */
export type Report = { ready: true } | { failed: string };

/** Written to an adopting supervisor when the mount is no more. */
export const ENDED_WORD = 'ended\n';
