/**
 * Logging as JSON lines: {"time":"2026-01-02T03:04:05.678Z","level":"info","message":"...", fields...}
 *
 * JSON escapes control characters, so that a file name in a log cannot forge a line. C1 controls, DEL and the characters that
 * reorder text, which JSON leaves as they are, are escaped here.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { Log, LogFields, LogLevel } from '../env/log.js';

const LEVELS: Record<LogLevel, number> = { debug: 10, info: 20, warn: 30, error: 40 };
/** A longer value is cut: one message must not fill the disk. */
const LINE_CHARS_MAX = 16_384;
const STACK_CHARS_MAX = 4096;

/** Takes one complete line with its newline. Must not throw. */
export type LineSink = (line: string) => void;

export function isLogLevel(text: string): text is LogLevel {
  return Object.hasOwn(LEVELS, text);
}

function plain(key: string, value: unknown): unknown {
  if (value instanceof Error) {
    const out: Record<string, unknown> = { error: value.name, message: value.message };
    const errno = (value as { errno?: unknown }).errno;
    if (errno !== undefined) out['errno'] = errno;
    // A definite answer is not a bug: where it was thrown says nothing.
    if (errno === undefined && value.stack !== undefined) out['stack'] = value.stack.slice(0, STACK_CHARS_MAX);
    if (value.cause !== undefined) out['cause'] = value.cause;
    return out;
  }
  if (typeof value === 'bigint') return Number(value);
  if (value instanceof Uint8Array) return `${value.byteLength} bytes`;
  // A Buffer was turned into {type, data} by its toJSON before it came here.
  if (key !== '' && typeof value === 'object' && value !== null && (value as { type?: unknown }).type === 'Buffer')
    return 'bytes';
  return value;
}

// eslint-disable-next-line no-control-regex
const HIDDEN = /[\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff]/g;

function escapeHidden(text: string): string {
  return text.replace(HIDDEN, (ch) => `\\u${ch.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function format(level: LogLevel, message: string, bound: LogFields, fields: LogFields | undefined): string {
  const head = { time: new Date().toISOString(), level, message };
  let text: string;
  try {
    text = JSON.stringify({ ...head, ...bound, ...fields }, plain);
  } catch {
    // A field that refers to itself: the message still goes out.
    text = JSON.stringify({ ...head, fields: 'not printable' });
  }
  if (text.length > LINE_CHARS_MAX) text = JSON.stringify({ ...head, cut: text.slice(0, LINE_CHARS_MAX / 2) });
  return `${escapeHidden(text)}\n`;
}

/** A logger that writes lines of `level` and above. */
export class JsonLog implements Log {
  readonly #sink: LineSink;
  readonly #level: LogLevel;
  readonly #bound: LogFields;

  constructor(sink: LineSink, level: LogLevel, bound: LogFields = {}) {
    this.#sink = sink;
    this.#level = level;
    this.#bound = bound;
  }

  debug(message: string, fields?: LogFields): void {
    this.#write('debug', message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.#write('info', message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.#write('warn', message, fields);
  }

  error(message: string, fields?: LogFields): void {
    this.#write('error', message, fields);
  }

  child(fields: LogFields): Log {
    return new JsonLog(this.#sink, this.#level, { ...this.#bound, ...fields });
  }

  #write(level: LogLevel, message: string, fields: LogFields | undefined): void {
    if (LEVELS[level] < LEVELS[this.#level]) return;
    this.#sink(format(level, message, this.#bound, fields));
  }
}

/** Appends to a descriptor that is open already (2 for stderr). A line that cannot be written is dropped. */
export function descriptorSink(descriptor: number): LineSink {
  return (line) => {
    try {
      writeSync(descriptor, line);
    } catch {
      // A full disk or a closed pipe must not stop a filesystem.
    }
  };
}

/** Appends to a file, made with mode 0600. `reopen` follows a log rotation. Throws when the file cannot be opened. */
export function fileSink(path: string): { sink: LineSink; reopen(): void; close(): void } {
  let descriptor = openSync(path, 'a', 0o600);
  return {
    sink: (line) => descriptorSink(descriptor)(line),
    reopen: () => {
      const next = openSync(path, 'a', 0o600);
      closeSync(descriptor);
      descriptor = next;
    },
    close: () => closeSync(descriptor),
  };
}
