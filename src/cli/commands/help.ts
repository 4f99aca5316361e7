import type { Answer } from '../answer.js';
import { Arguments } from '../arguments.js';
import { usageOf, type Command } from '../command.js';
import { generic } from '../xml/document.js';

export const GLOBAL_HELP = [
  'Options, before, among or after the words of a command:',
  '  --mode=script|interactive  script: every question is answered with yes',
  '  --xml, --json              results as an XML document, as JSON',
  '  --remote-host=HOST[:PORT]  ask the gluond on that node (default: the one on this node)',
  '  --state-dir=DIRECTORY      where the gluond of this node keeps its state and socket (default: /var/lib/gluon)',
  '  --gluond-sock=PATH         the socket of gluond itself (--glusterd-sock means the same)',
  '  --timeout=SECONDS          how long to wait for gluond (default: 120)',
  '  --log-file=PATH, --log-level=LEVEL  note commands and their outcome in this file',
  '  --wignore                  volume create: go on where only a warning speaks against it, as with force',
  '  --join-token=TOKEN         peer probe: what a node that was started with --join-token asks for',
  '  --version, --help',
];

function listing(commands: Command[]): string[] {
  const shown = commands.filter((command) => command.secondary !== true || command.words[0] === 'version');
  return [...shown]
    .sort((a, b) => usageOf(a).localeCompare(usageOf(b)))
    .map((command) => `${usageOf(command)} - ${command.summary}`);
}

function lines(make: () => string[]): Answer {
  return { text: make, xml: () => generic(undefined, make().join('\n')), json: () => ({ help: make() }) };
}

function helpCommand(words: string[], pattern: string, summary: string, make: (rest: Arguments) => string[]): Command {
  return {
    words,
    pattern,
    summary,
    prepare(rest) {
      const given = new Arguments(rest, [...words, pattern].join(' ').trim());
      const shown = make(given);
      given.end();
      return { operation: words.join(' '), run: () => Promise.resolve(lines(() => shown)) };
    },
  };
}

function title(text: string): string[] {
  return ['', text, '='.repeat(text.length), ''];
}

function groupHelp(group: string, commands: Command[]): string[] {
  return [
    ...title(`gluon ${group} commands`),
    ...listing(commands.filter((command) => command.words[0] === group)),
    '',
  ];
}

/** The help commands over `commands`, themselves among what they list. */
export function helpCommands(commands: Command[]): Command[] {
  const all = (): Command[] => [...commands, ...help];
  const group = (word: string): Command =>
    helpCommand([word, 'help'], '', `display help for ${word} commands`, () => groupHelp(word, all()));
  const help: Command[] = [
    group('peer'),
    group('pool'),
    group('volume'),
    group('system::'),
    helpCommand(['global', 'help'], '', 'list the options that every command knows', () => [
      ...title('gluon global options'),
      ...GLOBAL_HELP,
      '',
    ]),
    helpCommand(['help'], '[all]', 'list the commands', (rest) => {
      rest.takeIf('all');
      return [...listing(all()), '', ...GLOBAL_HELP];
    }),
  ];
  return help;
}
