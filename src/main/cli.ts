/** `gluon COMMAND ...`: parses the command line, connects what the commands need, and ends with their status. */
import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { COMMANDS } from '../cli/commands/table.js';
import { RefusedError } from '../cli/client.js';
import type { Context, ReportFiles } from '../cli/command.js';
import { parseCommandLine, type GlobalOptions } from '../cli/global-options.js';
import { runWords } from '../cli/run.js';
import { runShell } from '../cli/shell.js';
import { managementCredentials } from '../platform/management-credentials.js';
import { GrpcManagementClient, type ManagementAddress } from '../platform/management-client.js';
import { makeDirectories } from '../platform/make-directories.js';
import { VERSION } from '../platform/package-root.js';
import { parseHostPort } from '../platform/target.js';
import { ProcessTerminal } from '../platform/terminal.js';

const files: ReportFiles = {
  async write(directory, name, text) {
    const path = join(directory, name);
    try {
      makeDirectories(directory, 0o755);
      await writeFile(path, text, { mode: 0o600 });
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
      throw new RefusedError(`cannot write ${path} (${code}): choose another place with 'odir' and 'file'`, 5);
    }
    return path;
  },
};

function addressOf(options: GlobalOptions): ManagementAddress {
  if (options.remoteHost !== undefined) return parseHostPort(options.remoteHost);
  return { path: options.socket ?? join(options.stateDirectory, 'gluond.sock') };
}

/** --log-file: one JSON line for each command, when it is over. */
async function note(options: GlobalOptions, words: string[], status: number): Promise<string | undefined> {
  if (options.logFile === undefined || options.logLevel === 'NONE') return undefined;
  const failed = status !== 0;
  if (!failed && ['WARNING', 'ERROR', 'CRITICAL'].includes(options.logLevel)) return undefined;
  const line = { time: new Date().toISOString(), level: failed ? 'error' : 'info', message: 'command', words, status };
  try {
    await appendFile(options.logFile, `${JSON.stringify(line)}\n`, { mode: 0o600 });
    return undefined;
  } catch (error) {
    return `gluon: cannot write the log file: ${(error as Error).message}`;
  }
}

/** Runs `gluon` with these arguments; resolves with the exit status. */
export async function main(given: string[]): Promise<number> {
  const terminal = new ProcessTerminal();
  const line = parseCommandLine(given, VERSION);
  if (line.kind === 'told') {
    terminal.out(line.lines);
    return 0;
  }
  if (line.kind === 'wrong') {
    terminal.err([`gluon: ${line.message}`, "See 'gluon --help'."]);
    return 1;
  }
  const { options, words } = line;
  let address: ManagementAddress;
  try {
    address = addressOf(options);
  } catch (error) {
    terminal.err([`gluon: --remote-host: ${(error as Error).message}`]);
    return 1;
  }
  const client = new GrpcManagementClient({
    address,
    timeoutMs: options.timeoutMs,
    ...('path' in address ? {} : { credentials: () => managementCredentials(options.stateDirectory) }),
  });
  const context: Context = {
    client,
    terminal,
    files,
    form: options.xml ? 'xml' : options.json ? 'json' : 'text',
    script: options.mode === 'script',
    ignoreWarnings: options.ignoreWarnings,
    joinToken: options.joinToken === '' ? (process.env['GLUON_JOIN_TOKEN'] ?? '') : options.joinToken,
    now: () => Math.floor(Date.now() / 1000),
    version: VERSION,
  };
  try {
    const status = words.length === 0 ? await runShell(COMMANDS, context) : await runWords(COMMANDS, words, context);
    const complaint = await note(options, words, status);
    if (complaint !== undefined) terminal.err([complaint]);
    return status;
  } finally {
    client.close();
    terminal.close();
  }
}
