/** The interactive prompt: lines of words until `quit`, `exit` or the end of stdin. A command that fails does not end it. */
import { UsageError } from './answer.js';
import type { Command, Context } from './command.js';
import { runWords } from './run.js';

export const PROMPT = 'gluon> ';

/** The words of a line, with '…' and "…" and \x as in a shell. Throws UsageError for a quote that does not end. */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let at = 0; at < line.length; at++) {
    const ch = line.charAt(at);
    if (quote !== '') {
      if (ch === quote) quote = '';
      else word = (word ?? '') + ch;
    } else if (ch === '"' || ch === "'") {
      quote = ch;
      word ??= '';
    } else if (ch === '\\' && at + 1 < line.length) {
      word = (word ?? '') + line.charAt(++at);
    } else if (/\s/.test(ch)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? '') + ch;
    }
  }
  if (quote !== '') throw new UsageError(`the quote ${quote} is not closed`, []);
  if (word !== undefined) words.push(word);
  return words;
}

/** Resolves when the session is over, with the exit status 0. */
export async function runShell(commands: Command[], context: Context): Promise<0> {
  for (;;) {
    const line = await context.terminal.question(PROMPT);
    if (line === undefined) return 0;
    let words: string[];
    try {
      words = splitWords(line);
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      context.terminal.err([`gluon: ${error.message}`]);
      continue;
    }
    if (words[0] === 'gluon') words.shift();
    if (words.length === 0) continue;
    if (words.length === 1 && (words[0] === 'quit' || words[0] === 'exit')) return 0;
    await runWords(commands, words, context);
  }
}
