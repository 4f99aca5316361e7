/**
 * What a command of gluon prints, run in this process. For looks that are taken again and again: starting a process costs a fifth of a second of processor each,
 * which those need that the tests wait for.
 */
import { COMMANDS } from '../../src/cli/commands/table.js';
import type { Context, Form } from '../../src/cli/command.js';
import { runWords } from '../../src/cli/run.js';
import { GrpcManagementClient } from '../../src/platform/management-client.js';

/** How long a look may take, unless it is told otherwise. */
export const LOOK_MS = 30_000;

/** Rejects when the status is not 0, with what it says then. `socket` is that of a gluond. */
export async function look(socket: string, words: string[], form: Form, timeoutMs = LOOK_MS): Promise<string> {
  const [out, err]: [string[], string[]] = [[], []];
  const client = new GrpcManagementClient({ address: { path: socket }, timeoutMs });
  const context: Context = {
    client, form, script: true, ignoreWarnings: false, joinToken: '', version: '', now: () => Math.floor(Date.now() / 1000),
    terminal: {
      outputIsTerminal: false, inputIsTerminal: false,
      question: () => Promise.resolve(undefined),
      out: (lines) => void out.push(...lines),
      err: (lines) => void err.push(...lines),
    },
    files: { write: () => Promise.reject(new Error('a look writes no file')) },
  };
  try {
    const status = await runWords(COMMANDS, words, context);
    if (status !== 0) throw new Error(`gluon ${words.join(' ')}: status ${status}: ${[...err, ...out].join('\n')}`);
    return out.join('\n');
  } finally {
    client.close();
  }
}
