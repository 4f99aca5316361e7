import { writeSync } from 'node:fs';
import { createInterface, type Interface } from 'node:readline';
import { isatty } from 'node:tty';
import type { Terminal } from '../cli/command.js';

/** stdin, stdout and stderr of this process. stdin is only touched by the first question. */
export class ProcessTerminal implements Terminal {
  readonly outputIsTerminal = isatty(1);
  readonly inputIsTerminal = isatty(0);
  #reader: Interface | undefined;
  #ended = false;
  /** Lines that came before they were asked for. */
  readonly #lines: string[] = [];
  #waiting: ((line: string | undefined) => void) | undefined;

  /** Shows the text, and waits for a line for as long as the user takes. */
  question(text: string, on: 'stdout' | 'stderr' = 'stdout'): Promise<string | undefined> {
    const reader = this.#open();
    reader.setPrompt(text);
    // On a terminal readline must know the prompt, to redraw it when the line is edited.
    const stream = on === 'stdout' ? 1 : 2;
    if (this.inputIsTerminal && this.outputIsTerminal && !this.#ended) reader.prompt();
    else write(stream, text);
    const line = this.#lines.shift();
    if (line !== undefined || this.#ended) {
      if (!this.outputIsTerminal || line === undefined) write(stream, '\n');
      return Promise.resolve(line);
    }
    return new Promise((resolve) => {
      this.#waiting = (answer) => {
        // What was typed on a terminal ended its line there; anything else did not.
        if (!this.inputIsTerminal || answer === undefined) write(stream, '\n');
        resolve(answer);
      };
    });
  }

  out(lines: string[]): void {
    write(1, `${lines.join('\n')}\n`);
  }

  err(lines: string[]): void {
    write(2, `${lines.join('\n')}\n`);
  }

  close(): void {
    if (this.#reader === undefined) return;
    this.#reader.close();
    process.stdin.destroy();
  }

  #open(): Interface {
    if (this.#reader !== undefined) return this.#reader;
    const terminal = this.inputIsTerminal && this.outputIsTerminal;
    this.#reader = createInterface({ input: process.stdin, ...(terminal ? { output: process.stdout } : {}), terminal });
    this.#reader.on('line', (line) => {
      const waiting = this.#waiting;
      this.#waiting = undefined;
      if (waiting === undefined) this.#lines.push(line);
      else waiting(line);
    });
    this.#reader.on('close', () => {
      this.#ended = true;
      const waiting = this.#waiting;
      this.#waiting = undefined;
      waiting?.(undefined);
    });
    return this.#reader;
  }
}

/** Writes all of it, also to a pipe that is full or not blocking. A reader that went away (`gluon ... | head`) ends the output silently. */
function write(descriptor: number, text: string): void {
  let rest: Uint8Array = Buffer.from(text, 'utf8');
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(descriptor, rest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EPIPE') return;
      if (code !== 'EAGAIN') throw error;
      // Nothing else is to be done before the reader has caught up.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}
