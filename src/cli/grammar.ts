/**
 * From words to a command. The fixed words of all commands form a tree; a word stands for the one branch it is equal to or, while that is
 * unambiguous, begins. What follows the fixed words is the command's own to understand, with `Arguments`.
 */
import { UsageError } from './answer.js';
import { usageOf, type Command } from './command.js';
import { nearest } from '../base/nearest.js';
import { printable } from './printable.js';

export interface Match {
  command: Command;
  rest: string[];
}

/** The words that may stand at `depth` in these commands, and whether only secondary commands have them there. */
function branches(commands: Command[], depth: number): Map<string, boolean> {
  const words = new Map<string, boolean>();
  for (const command of commands) {
    const word = command.words[depth];
    if (word !== undefined) words.set(word, (words.get(word) ?? true) && command.secondary === true);
  }
  return words;
}

/** The words among `known` that `word` may mean: the equal one, else all it begins, primary ones before secondary ones. */
export function expand(word: string, known: Map<string, boolean>): string[] {
  if (known.has(word)) return [word];
  const fitting = [...known.keys()].filter((candidate) => word !== '' && candidate.startsWith(word));
  const primary = fitting.filter((candidate) => known.get(candidate) === false);
  return primary.length > 0 ? primary : fitting;
}

function usages(commands: Command[]): string[] {
  return commands.filter((command) => command.secondary !== true).map(usageOf);
}

/** Throws UsageError when no command begins with these words. */
export function match(commands: Command[], words: string[]): Match {
  let candidates = commands;
  const taken: string[] = [];
  for (let depth = 0; ; depth++) {
    const word = words[depth];
    const known = branches(candidates, depth);
    const complete = candidates.find((command) => command.words.length === depth);
    if (known.size === 0 || word === undefined) {
      if (complete !== undefined) return { command: complete, rest: words.slice(depth) };
      throw new UsageError(`'${taken.join(' ')}' needs another word`, usages(candidates));
    }
    const found = expand(word, known);
    if (found.length === 1) {
      candidates = candidates.filter((command) => command.words[depth] === found[0]);
      taken.push(found[0] ?? '');
      continue;
    }
    if (complete !== undefined) return { command: complete, rest: words.slice(depth) };
    throw unknownWord(word, found, known, taken, candidates);
  }
}

function unknownWord(
  word: string,
  found: string[],
  known: Map<string, boolean>,
  taken: string[],
  candidates: Command[],
): UsageError {
  const where = taken.length === 0 ? '' : ` after '${taken.join(' ')}'`;
  if (found.length > 1) {
    const fitting = candidates.filter((command) => found.includes(command.words[taken.length] ?? ''));
    return new UsageError(
      `ambiguous word '${printable(word)}'${where}: it could be ${found.join(', ')}`,
      usages(fitting),
    );
  }
  const near = nearest(word, [...known.keys()]);
  const hint = near === undefined ? '' : `; did you mean '${near}'?`;
  if (taken.length > 0)
    return new UsageError(`unrecognized word '${printable(word)}'${where}${hint}`, usages(candidates));
  return new UsageError(
    `unrecognized word '${printable(word)}'${hint === '' ? "; 'gluon help' lists the commands" : hint}`,
    [],
  );
}
