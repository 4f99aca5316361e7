/** The command line of gluond. */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { parseArgs } from 'node:util';
import { Errno, FsError } from '../base/errno.js';
import type { LogLevel } from '../env/log.js';
import { isLogLevel } from '../platform/log.js';
import { VERSION } from '../platform/package-root.js';
import { parseHostPort, type HostPort } from '../platform/target.js';

export const USAGE = `usage: gluond [--listen ADDRESS[:PORT]] [--name NAME] [--state-dir DIRECTORY] [--log-level LEVEL] [--log-file FILE]
              [--join-token TOKEN] [--stop-bricks]
  --listen       where the management service listens (0.0.0.0:24007)
  --name         name of this node in the pool (the host name)
  --state-dir    state of this node (/var/lib/gluon)
  --log-level    debug, info, warn or error (info)
  --log-file     JSON lines are appended here (standard error)
  --join-token   this node joins a pool only when the probe brings the same token; @FILE reads it from a file
  --stop-bricks  SIGTERM stops bricks and etcd too, as SIGINT does`;

export interface Arguments {
  listen: HostPort;
  name: string;
  stateDirectory: string;
  joinToken: string;
  logLevel: LogLevel;
  /** Undefined: standard error. */
  logFile: string | undefined;
  stopBricks: boolean;
}

/** A token in a file does not show in the process list. */
function tokenOf(text: string): string {
  return text.startsWith('@') ? readFileSync(text.slice(1), 'utf8').trim() : text;
}

/** FsError EINVAL when the words are wrong. Ends the process for --help and --version. */
export function parseArguments(argv: string[]): Arguments {
  const string = { type: 'string' } as const;
  const boolean = { type: 'boolean' } as const;
  const { values } = parseArgs({
    args: argv,
    options: {
      listen: string,
      name: string,
      'state-dir': string,
      'log-level': string,
      'log-file': string,
      'join-token': string,
      'stop-bricks': boolean,
      help: boolean,
      version: boolean,
    },
  });
  if (values.help === true || values.version === true) {
    process.stdout.write(values.help === true ? `${USAGE}\n` : `gluond ${VERSION}\n`);
    process.exit(0);
  }
  const logLevel = (values['log-level'] ?? 'info').toLowerCase();
  if (!isLogLevel(logLevel))
    throw new FsError(
      Errno.EINVAL,
      'gluond',
      `--log-level ${logLevel} is not a log level: give debug, info, warn or error`,
    );
  return {
    listen: parseHostPort(values.listen ?? '0.0.0.0'),
    name: values.name ?? hostname(),
    stateDirectory: values['state-dir'] ?? '/var/lib/gluon',
    joinToken: tokenOf(values['join-token'] ?? ''),
    logLevel,
    stopBricks: values['stop-bricks'] === true,
    logFile: values['log-file'],
  };
}
