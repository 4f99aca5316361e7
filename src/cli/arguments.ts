import { UsageError } from './answer.js';
import { printable } from './printable.js';

/** The words after a command's fixed words, taken one by one. Every complaint names the word and shows the command's pattern. */
export class Arguments {
  readonly #words: string[];
  readonly #usage: string;

  constructor(words: string[], usage: string) {
    this.#words = [...words];
    this.#usage = usage;
  }

  get empty(): boolean {
    return this.#words.length === 0;
  }

  /** The next word without taking it. */
  get next(): string | undefined {
    return this.#words[0];
  }

  /** Takes the next word; `what` names it in the complaint when there is none. */
  take(what: string): string {
    const word = this.#words.shift();
    if (word === undefined) throw this.complaint(`${what} is missing`);
    if (word === '') throw this.complaint(`${what} is empty`);
    return word;
  }

  /** Takes the next word if it is `word`. */
  takeIf(word: string): boolean {
    if (this.#words[0] !== word) return false;
    this.#words.shift();
    return true;
  }

  /** Takes the last word if it is `force`. */
  takeForce(): boolean {
    if (this.#words.at(-1) !== 'force') return false;
    this.#words.pop();
    return true;
  }

  /** Takes the next word, which must be one of these or an unambiguous beginning of one. */
  takeKeyword<K extends string>(what: string, known: readonly K[]): K {
    const word = this.take(what);
    const found = known.find((candidate) => candidate === word);
    if (found !== undefined) return found;
    const fitting = known.filter((candidate) => candidate.startsWith(word));
    const [only] = fitting;
    if (only === undefined) throw this.complaint(`'${printable(word)}' is not ${what}; known: ${known.join(', ')}`);
    if (fitting.length > 1)
      throw this.complaint(`ambiguous word '${printable(word)}': it could be ${fitting.join(', ')}`);
    return only;
  }

  takeCount(what: string): number {
    const word = this.take(what);
    if (!/^[0-9]{1,6}$/.test(word)) throw this.complaint(`${what} is '${printable(word)}' and must be a whole number`);
    return Number(word);
  }

  rest(): string[] {
    return this.#words.splice(0);
  }

  /** Complains about words that are left over. */
  end(): void {
    const word = this.#words[0];
    if (word !== undefined) throw this.complaint(`'${printable(word)}' is one word too many`);
  }

  complaint(message: string): UsageError {
    return new UsageError(message, [this.#usage]);
  }
}
