import type { XmlNode } from './xml/tree.js';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** What a command that succeeded has to say, in the three forms; only the one that was asked for is made. */
export interface Answer {
  /** Lines for stdout. */
  text: () => string[];
  /** What follows the result code inside `<cliOutput>`. */
  xml: () => XmlNode[];
  json: () => Json;
  /** Lines for stderr, in text form only: what is worth knowing and is no result. */
  notes?: string[];
}

/** The command failed: `OPERATION: failed: REASON`. */
export class CommandFailure extends Error {
  readonly reason: string;
  readonly errno: number;

  constructor(operation: string, reason: string, errno: number, options?: ErrorOptions) {
    super(`${operation}: failed: ${reason}`, options);
    this.name = 'CommandFailure';
    this.reason = reason;
    this.errno = errno;
  }
}

/** The words given are no command: `message` says which, `usage` what could be there instead. */
export class UsageError extends Error {
  readonly usage: string[];

  constructor(message: string, usage: string[]) {
    super(message);
    this.name = 'UsageError';
    this.usage = usage;
  }
}

/** Success with one sentence, as most commands that change something answer. */
export function done(sentence: string, xml: XmlNode[], json: Json = {}, notes: string[] = []): Answer {
  return { text: () => [sentence], xml: () => xml, json: () => json, notes };
}
