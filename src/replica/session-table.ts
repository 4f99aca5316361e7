/**
 * The sessions that may change the volume. Every in-sync brick keeps this table, on its disk, and it goes with the state to a brick that is made equal: what
 * is not in it was revoked (or never began), whoever is primary, and whatever was restarted in between.
 *
 *   (unknown) ──begins──▶ live ⇄ silent ──ended, or in the way of another──▶ (unknown, for ever: a client takes a new id)
 */
import { isGfid } from '../base/ids.js';

export const SessionState = {
  ended: 0,
  live: 1,
  /** No sign of life for the ping timeout: it is revoked as soon as it stands in the way of another. */
  silent: 2,
} as const;
export type SessionState = (typeof SessionState)[keyof typeof SessionState];

export function isSessionState(value: number): value is SessionState {
  return value === SessionState.ended || value === SessionState.live || value === SessionState.silent;
}

export interface SessionDisk {
  writeSessions(table: Uint8Array): void;
  readSessions(): Uint8Array;
}

/** Sessions at a time; a client that would be one more is refused. */
export const SESSIONS_MAX = 16_384;

export class SessionTable {
  readonly #disk: SessionDisk;
  #states = new Map<string, SessionState>();
  #silent = new Set<string>();

  constructor(disk: SessionDisk) {
    this.#disk = disk;
    this.#fill(Buffer.from(disk.readSessions()).toString('latin1').split('\n'));
  }

  get size(): number {
    return this.#states.size;
  }

  has(session: string): boolean {
    return this.#states.has(session);
  }

  state(session: string): SessionState {
    return this.#states.get(session) ?? SessionState.ended;
  }

  all(): Iterable<string> {
    return this.#states.keys();
  }

  get anySilent(): boolean {
    return this.#silent.size > 0;
  }

  silent(): Iterable<string> {
    return this.#silent;
  }

  isSilent(session: string): boolean {
    return this.#silent.has(session);
  }

  /** Durable on return. Throws FsError when the disk refuses: the table in memory has the change all the same. */
  set(session: string, state: SessionState): void {
    if (this.state(session) === state) return;
    this.#put(session, state);
    this.#disk.writeSessions(Buffer.from(this.export().join('\n'), 'latin1'));
  }

  /** The whole table, one line a session: its state and its id. */
  export(): string[] {
    return [...this.#states].map(([session, state]) => `${state}${session}`);
  }

  /** Takes over another brick's table; durable on return. */
  import(lines: readonly string[]): void {
    this.#fill(lines);
    this.#disk.writeSessions(Buffer.from(this.export().join('\n'), 'latin1'));
  }

  #fill(lines: readonly string[]): void {
    this.#states = new Map();
    this.#silent = new Set();
    for (const line of lines) {
      const session = line.slice(1);
      const state = Number(line[0]);
      if (!isGfid(session) || (state !== SessionState.live && state !== SessionState.silent)) continue;
      this.#put(session, state);
    }
  }

  #put(session: string, state: SessionState): void {
    if (state === SessionState.ended) this.#states.delete(session);
    else this.#states.set(session, state);
    if (state === SessionState.silent) this.#silent.add(session);
    else this.#silent.delete(session);
  }
}
