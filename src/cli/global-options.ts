/** What stands on the command line besides the words of the command: options that begin with `--`, anywhere. */
import { Command as Program, CommanderError, InvalidArgumentError, Option } from 'commander';
import { GLOBAL_HELP } from './commands/help.js';

export interface GlobalOptions {
  mode: 'script' | 'interactive';
  xml: boolean;
  json: boolean;
  remoteHost: string | undefined;
  /** Of gluond, where not `gluond.sock` in the state directory. */
  socket: string | undefined;
  stateDirectory: string;
  logFile: string | undefined;
  logLevel: string;
  timeoutMs: number;
  ignoreWarnings: boolean;
  joinToken: string;
}

export type CommandLine =
  | { kind: 'command'; words: string[]; options: GlobalOptions }
  /** --help, --version: print and end with 0. */
  | { kind: 'told'; lines: string[] }
  | { kind: 'wrong'; message: string };

export const STATE_DIRECTORY = '/var/lib/gluon';
const TIMEOUT_SECONDS_DEFAULT = 120;
const TIMEOUT_SECONDS_MAX = 86_400;

const LOG_LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL', 'NONE'];

function timeout(text: string): number {
  const seconds = Number(text);
  if (!/^[0-9]+(\.[0-9]+)?$/.test(text) || seconds <= 0 || seconds > TIMEOUT_SECONDS_MAX) {
    throw new InvalidArgumentError(`It must be a number of seconds, above 0 and at most ${TIMEOUT_SECONDS_MAX}.`);
  }
  return seconds * 1000;
}

function logLevel(text: string): string {
  const level = text.toUpperCase();
  if (!LOG_LEVELS.includes(level)) throw new InvalidArgumentError(`Known: ${LOG_LEVELS.join(', ')}.`);
  return level;
}

function notEmpty(text: string): string {
  if (text === '') throw new InvalidArgumentError('It must not be empty.');
  return text;
}

function program(version: string, out: (text: string) => void, err: (text: string) => void): Program {
  return new Program('gluon')
    .exitOverride()
    .configureOutput({ writeOut: out, writeErr: err })
    .version(`gluon ${version}`, '--version')
    .helpOption('--help')
    .addOption(new Option('--mode <mode>').choices(['script', 'interactive']).default('interactive'))
    .option('--xml')
    .option('--json')
    .option('--remote-host <host>', '', notEmpty)
    .option('--gluond-sock <path>', '', notEmpty)
    .option('--glusterd-sock <path>', '', notEmpty)
    .option('--state-dir <directory>', '', notEmpty, STATE_DIRECTORY)
    .option('--log-file <path>', '', notEmpty)
    .option('--log-level <level>', '', logLevel, 'INFO')
    .option('--timeout <seconds>', '', timeout, TIMEOUT_SECONDS_DEFAULT * 1000)
    .option('--join-token <token>', '', notEmpty)
    .option('--wignore');
}

const WITH_VALUE = new Set([
  '--mode',
  '--remote-host',
  '--gluond-sock',
  '--glusterd-sock',
  '--state-dir',
  '--log-file',
  '--log-level',
  '--timeout',
  '--join-token',
]);

/** Only words with two dashes are options: `volume set NAME key -1` sets -1. After `--` everything is a word. */
function separate(given: string[]): { options: string[]; words: string[] } {
  const options: string[] = [];
  const words: string[] = [];
  for (let at = 0; at < given.length; at++) {
    const word = given[at] ?? '';
    if (word === '--') {
      words.push(...given.slice(at + 1));
      break;
    }
    if (word === '-h' || !word.startsWith('--'))
      (word === '-h' ? options : words).push(word === '-h' ? '--help' : word);
    else {
      options.push(word);
      const value = given[at + 1];
      if (WITH_VALUE.has(word) && value !== undefined) {
        options.push(value);
        at++;
      }
    }
  }
  return { options, words };
}

interface Parsed {
  mode: 'script' | 'interactive';
  xml?: boolean;
  json?: boolean;
  remoteHost?: string;
  gluondSock?: string;
  glusterdSock?: string;
  stateDir: string;
  logFile?: string;
  logLevel: string;
  timeout: number;
  wignore?: boolean;
  joinToken?: string;
}

/** Understands the arguments of `gluon`. */
export function parseCommandLine(given: string[], version: string): CommandLine {
  const { options, words } = separate(given);
  if (options.includes('--help')) return { kind: 'told', lines: HELP };
  const told: string[] = [];
  const complaints: string[] = [];
  const parser = program(
    version,
    (text) => told.push(text),
    (text) => complaints.push(text),
  );
  try {
    parser.parse(options, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { kind: 'told', lines: told.join('').trimEnd().split('\n') };
    return { kind: 'wrong', message: error.message.replace(/^error: /, '') };
  }
  const parsed = parser.opts<Parsed>();
  if (parsed.xml === true && parsed.json === true)
    return { kind: 'wrong', message: '--xml and --json exclude each other' };
  return {
    kind: 'command',
    words,
    options: {
      mode: parsed.mode,
      xml: parsed.xml ?? false,
      json: parsed.json ?? false,
      remoteHost: parsed.remoteHost,
      socket: parsed.gluondSock ?? parsed.glusterdSock,
      stateDirectory: parsed.stateDir,
      logFile: parsed.logFile,
      logLevel: parsed.logLevel,
      timeoutMs: parsed.timeout,
      ignoreWarnings: parsed.wignore ?? false,
      joinToken: parsed.joinToken ?? '',
    },
  };
}

const HELP = [
  'Usage: gluon [options] <command> ...',
  '',
  "Manages the pool of nodes and its volumes. 'gluon help' lists the commands; without a command it asks for one after the other.",
  "'gluon mount HOST:VOLUME DIRECTORY' mounts in the foreground ('gluon mount --help').",
  'Words of a command may be abbreviated while they are unambiguous: gluon v i.',
  '',
  ...GLOBAL_HELP,
];
