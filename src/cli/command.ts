import type { Answer } from './answer.js';
import type { ManagementClient } from './client.js';

/** The person or script at the other end. */
export interface Terminal {
  /** stdout is a terminal: progress bars and the like make sense. */
  readonly outputIsTerminal: boolean;
  readonly inputIsTerminal: boolean;
  /** One line of stdin without its end, undefined at its end. The text is shown before, on stderr where stdout is for a document. */
  question(text: string, on?: 'stdout' | 'stderr'): Promise<string | undefined>;
  /** Lines to stdout, to stderr. */
  out(lines: string[]): void;
  err(lines: string[]): void;
}

/** Files on this machine, for `get-state`. */
export interface ReportFiles {
  /** Creates or replaces the file; rejects with an error whose message says why it cannot. */
  write(directory: string, name: string, text: string): Promise<string>;
}

export type Form = 'text' | 'xml' | 'json';

/** What a command runs with. */
export interface Context {
  readonly client: ManagementClient;
  readonly terminal: Terminal;
  readonly files: ReportFiles;
  readonly form: Form;
  /** --mode=script: every question is answered with yes. */
  readonly script: boolean;
  /** --wignore: `volume create` as with `force`. */
  readonly ignoreWarnings: boolean;
  /** What a node that was started with --join-token asks for. */
  readonly joinToken: string;
  /** Seconds since 1970, for file names and reports. */
  readonly now: () => number;
  readonly version: string;
}

/** A command with its words understood, ready to run. */
export interface Prepared {
  /** Asked first, and answered with no: nothing is done, status 0. */
  question?: string | undefined;
  /** Ask only when stdin is a terminal; otherwise go on. */
  asksPeopleOnly?: boolean;
  /** `OPERATION` in `OPERATION: failed: REASON`. */
  operation: string;
  run(context: Context): Promise<Answer>;
}

export interface Command {
  /** The fixed words it begins with. */
  words: readonly string[];
  /** What follows them, in GlusterFS's notation. */
  pattern: string;
  summary: string;
  /** Not offered by gluon, or an alias: loses against others when a word is abbreviated, is not in help. */
  secondary?: boolean;
  /** Understands what follows the fixed words; throws UsageError (see `Arguments`). */
  prepare(rest: string[]): Prepared;
}

/** `volume start <VOLNAME> [force]`. */
export function usageOf(command: Command): string {
  return command.pattern === '' ? command.words.join(' ') : `${command.words.join(' ')} ${command.pattern}`;
}
