/** One command from its words to its output and exit status: 0 done (or not wanted after all), 1 failed. */
import { CommandFailure, UsageError, type Answer, type Json } from './answer.js';
import { NoAnswerError, RefusedError } from './client.js';
import type { Command, Context, Prepared } from './command.js';
import { match } from './grammar.js';
import { printable } from './printable.js';
import { failureDocument, successDocument } from './xml/document.js';

/** EINVAL: what a document says about words that are no command. */
const USAGE_ERRNO = 22;

export async function runWords(commands: Command[], words: string[], context: Context): Promise<0 | 1> {
  let name = words.join(' ');
  try {
    const { command, rest } = match(commands, words);
    name = command.words.join(' ');
    const prepared = prepare(command, rest);
    if (!(await confirmed(prepared, context))) return 0;
    tell(name, await answerOf(prepared, context), context);
    return 0;
  } catch (error) {
    fail(name, error, context);
    return 1;
  }
}

function prepare(command: Command, rest: string[]): Prepared {
  try {
    return command.prepare(rest);
  } catch (error) {
    if (error instanceof RefusedError) throw failure(command.words.join(' '), error);
    throw error;
  }
}

async function answerOf(prepared: Prepared, context: Context): Promise<Answer> {
  try {
    return await prepared.run(context);
  } catch (error) {
    if (error instanceof RefusedError || error instanceof NoAnswerError) throw failure(prepared.operation, error);
    throw error;
  }
}

function failure(operation: string, error: RefusedError | NoAnswerError): CommandFailure {
  return new CommandFailure(operation, printable(error.message), error.errno, { cause: error });
}

/** Only `y` and `yes` are a yes; other words are asked again, the end of stdin is a no. */
async function confirmed(prepared: Prepared, { script, terminal, form }: Context): Promise<boolean> {
  if (prepared.question === undefined || script) return true;
  if (prepared.asksPeopleOnly === true && !terminal.inputIsTerminal) return true;
  for (let attempts = 0; attempts < 10; attempts++) {
    const answer = (await terminal.question(`${prepared.question} (y/n) `, form === 'text' ? 'stdout' : 'stderr'))
      ?.trim()
      .toLowerCase();
    if (answer === 'y' || answer === 'yes') return true;
    if (answer === undefined || answer === 'n' || answer === 'no') return false;
    terminal.err(["Please answer 'y' or 'n'."]);
  }
  return false;
}

function tell(name: string, answer: Answer, { form, terminal }: Context): void {
  if (form === 'xml') terminal.out(successDocument(answer.xml()));
  else if (form === 'json') terminal.out(jsonLines({ ok: true, command: name, result: answer.json() }));
  else {
    const lines = answer.text();
    if (lines.length > 0) terminal.out(lines);
    if (answer.notes !== undefined && answer.notes.length > 0) terminal.err(answer.notes);
  }
}

function fail(name: string, error: unknown, { form, terminal }: Context): void {
  const usage = error instanceof UsageError ? error.usage : [];
  const expected = error instanceof UsageError || error instanceof CommandFailure;
  // What is no answer of gluond and no word of the user is a fault of gluon itself: say so, and where.
  const message = expected
    ? error.message
    : `internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  const errno = error instanceof CommandFailure ? error.errno : USAGE_ERRNO;
  const reason = error instanceof CommandFailure ? error.reason : message;
  if (form === 'xml') terminal.out(failureDocument(reason, errno));
  if (form === 'json')
    terminal.out(jsonLines({ ok: false, command: printable(name), error: { message: reason, errno } }));
  if (form !== 'text' && expected && usage.length === 0) return;
  const prefix = error instanceof CommandFailure ? '' : 'gluon: ';
  terminal.err([...`${prefix}${message}`.split('\n').map(printable), ...usageLines(usage)]);
}

function usageLines(usage: string[]): string[] {
  if (usage.length === 0) return [];
  if (usage.length === 1) return ['', `Usage: gluon ${usage[0]}`];
  return ['', 'Usage:', ...usage.map((line) => `  gluon ${line}`)];
}

function jsonLines(value: Json): string[] {
  return JSON.stringify(value, null, 2).split('\n');
}
