/**
 * The mount command's arguments: `HOST[,HOST2...]:VOLUME[/SUBDIR]` and the comma-separated options of mount(8) and fstab(5).
 * Every option is either carried out, handed to the kernel, one of those that fstab carries for others, or refused. None is ignored in silence.
 */
import type { LogLevel } from '../env/log.js';

export interface ServerAddress {
  host: string;
  /** 0: the default port. */
  port: number;
}

export interface MountSource {
  /** As given: what the mount table shows. */
  text: string;
  /** Tried in this order for what is known of the volume. */
  servers: ServerAddress[];
  volume: string;
  /** Directory of the volume to mount, as names; empty for its root. */
  subdirectory: string[];
}

export interface MountOptions {
  readOnly: boolean;
  logFile: string | undefined;
  logLevel: LogLevel;
  /** The mount shows as `fuse.<subtype>`. */
  subtype: string;
  backupServers: ServerAddress[];
  /** Where gluond listens on the servers that were given without a port; 0: the default. */
  serverPort: number;
  /** Change the flags of the mount that is there, and nothing else. */
  remount: boolean;
  /** Leaves the page cache out for every file, not only for those opened with O_DIRECT. */
  directIo: boolean;
  /** For mount(8). */
  kernel: string[];
  /** Sentences for the user: what was asked for and is so anyway, or has no effect. */
  notes: string[];
}

/** What is wrong with the arguments and what to do, in one sentence. */
export class MountUsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'MountUsageError';
  }
}

const HOST = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})$/;
const IPV6 = /^[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9._-]{1,32})?$/;
const VOLUME = /^[A-Za-z0-9_-]{1,255}$/;
const SUBTYPE = /^[A-Za-z0-9_.-]{1,32}$/;
const SERVERS_MAX = 64;
const PORT_MAX = 65_535;

/** Reads `host`, `host:port` where ports are allowed, or `[v6]`. */
function parseServer(text: string, what: string): ServerAddress {
  const bracketed = /^\[([^\]]*)\](?::(\d{1,5}))?$/.exec(text);
  const host = bracketed?.[1] ?? text;
  const port = Number(bracketed?.[2] ?? 0);
  const valid = bracketed === null ? HOST.test(host) : IPV6.test(host);
  if (!valid || port > PORT_MAX)
    throw new MountUsageError(
      `${what}: ${JSON.stringify(text)} is not a host name or address (write IPv6 addresses in brackets)`,
    );
  return { host, port };
}

function splitHosts(text: string): string[] {
  return text.split(/,(?![^[]*\])/).filter((part) => part !== '');
}

export function parseMountSource(text: string): MountSource {
  const match = /^((?:\[[^\]]*\]|[^:[\]])+):\/?([^/]*)(?:\/(.*))?$/s.exec(text);
  if (match === null)
    throw new MountUsageError(
      `${JSON.stringify(text)} does not name a volume: write HOST:VOLUME, for example localhost:vm-instances`,
    );
  const [, hosts = '', volume = '', rest = ''] = match;
  const servers = splitHosts(hosts).map((host) => parseServer(host, 'server'));
  if (servers.length === 0 || servers.length > SERVERS_MAX)
    throw new MountUsageError(`${JSON.stringify(text)} names no server, or more than ${SERVERS_MAX}`);
  if (!VOLUME.test(volume))
    throw new MountUsageError(`${JSON.stringify(volume)} is not a volume name (letters, digits, '-' and '_')`);
  const subdirectory = rest.split('/').filter((name) => name !== '');
  if (subdirectory.some((name) => name === '.' || name === '..' || name.length > 255))
    throw new MountUsageError(`${JSON.stringify(rest)} is not a directory of the volume`);
  return { text, servers, volume, subdirectory };
}

const YES = new Set(['enable', 'on', 'yes', 'true', '1']);
const NO = new Set(['disable', 'off', 'no', 'false', '0']);

const LOG_LEVELS: Readonly<Record<string, LogLevel>> = {
  trace: 'debug',
  debug: 'debug',
  info: 'info',
  warning: 'warn',
  warn: 'warn',
  error: 'error',
  critical: 'error',
  none: 'error',
};

type Apply = (options: MountOptions, value: string, name: string) => void;

function onKernel(options: MountOptions, _value: string, name: string): void {
  options.kernel.push(name);
}

/** An option without a value; with one it is a mistake. */
function flag(apply: Apply): Apply {
  return (options, value, name) => {
    if (value !== '') throw new MountUsageError(`option ${name} takes no value`);
    apply(options, value, name);
  };
}

function valued(apply: Apply): Apply {
  return (options, value, name) => {
    if (value === '') throw new MountUsageError(`option ${name} needs a value: ${name}=...`);
    apply(options, value, name);
  };
}

const forOthers = (): void => undefined;

function timeout(options: MountOptions, value: string, name: string): void {
  if (!/^\d+(?:\.\d+)?$/.test(value))
    throw new MountUsageError(`option ${name}: ${JSON.stringify(value)} is not a number of seconds`);
  if (Number(value) > 0)
    options.notes.push(
      `${name} has no effect: what one node changes, the others see at once, so nothing is cached for a time`,
    );
}

function backupServers(options: MountOptions, value: string, name: string): void {
  options.backupServers.push(
    ...value
      .split(/:(?![^[]*\])/)
      .filter((host) => host !== '')
      .map((host) => parseServer(host, `option ${name}`)),
  );
}

const KERNEL_FLAGS = [
  'rw',
  'atime',
  'noatime',
  'diratime',
  'nodiratime',
  'relatime',
  'norelatime',
  'strictatime',
  'nostrictatime',
  'lazytime',
  'nolazytime',
  'suid',
  'nosuid',
  'dev',
  'nodev',
  'exec',
  'noexec',
  'sync',
  'async',
  'dirsync',
  'silent',
  'loud',
  'nosymfollow',
  'mand',
  'nomand',
];
/** SELinux labels of the whole mount. */
const KERNEL_VALUES = ['context', 'fscontext', 'defcontext', 'rootcontext'];
/** Read by mount(8), systemd and the boot scripts. */
const FSTAB_FLAGS = ['defaults', 'auto', 'noauto', 'user', 'nouser', 'users', 'owner', 'group', '_netdev', 'nofail'];
/** What every mount has. */
const ALWAYS_FLAGS = ['allow_other', 'default_permissions'];

const OPTIONS: Readonly<Record<string, Apply>> = {
  ...Object.fromEntries(KERNEL_FLAGS.map((name) => [name, flag(onKernel)])),
  ...Object.fromEntries(KERNEL_VALUES.map((name) => [name, valued((o, value) => o.kernel.push(`${name}=${value}`))])),
  ...Object.fromEntries([...FSTAB_FLAGS, ...ALWAYS_FLAGS].map((name) => [name, flag(forOthers)])),
  comment: forOthers,
  ro: flag((o, value, name) => {
    o.readOnly = true;
    onKernel(o, value, name);
  }),
  remount: flag((o) => {
    o.remount = true;
  }),
  'log-file': valued((o, value) => {
    if (!value.startsWith('/'))
      throw new MountUsageError('option log-file: give a path from the root, such as /var/log/gluon/mount.log');
    o.logFile = value;
  }),
  'log-level': valued((o, value) => {
    const level = LOG_LEVELS[value.toLowerCase()];
    if (level === undefined)
      throw new MountUsageError(`option log-level: ${JSON.stringify(value)} is none of debug, info, warning, error`);
    o.logLevel = level;
  }),
  subtype: valued((o, value) => {
    if (!SUBTYPE.test(value)) throw new MountUsageError(`option subtype: ${JSON.stringify(value)} is not a short word`);
    o.subtype = value;
  }),
  'backup-volfile-servers': valued(backupServers),
  'backupvolfile-server': valued(backupServers),
  'server-port': valued((o, value) => {
    if (!/^\d{1,5}$/.test(value) || Number(value) < 1 || Number(value) > PORT_MAX)
      throw new MountUsageError(`option server-port: ${JSON.stringify(value)} is not a port`);
    o.serverPort = Number(value);
  }),
  'direct-io-mode': valued((o, value) => {
    if (!YES.has(value) && !NO.has(value) && value !== 'auto')
      throw new MountUsageError('option direct-io-mode: write enable or disable');
    o.directIo = YES.has(value);
  }),
  'attribute-timeout': valued(timeout),
  'entry-timeout': valued(timeout),
  'negative-timeout': valued(timeout),
  acl: flag(() => {
    throw new MountUsageError('option acl: POSIX access control lists are not kept by gluon volumes; mount without it');
  }),
};

/** Options of fstab that are somebody else's business by their prefix. */
function isForOthers(name: string): boolean {
  return name.startsWith('x-') || name.startsWith('X-');
}

/**
 * Reads the options in order; the last word counts where two contradict. `text` may be empty. `sloppy` (mount -s) turns unknown options into
 * notes.
 */
export function parseMountOptions(text: string, sloppy = false): MountOptions {
  const options: MountOptions = {
    readOnly: false,
    logFile: undefined,
    logLevel: 'info',
    subtype: 'glusterfs',
    backupServers: [],
    serverPort: 0,
    directIo: false,
    remount: false,
    kernel: [],
    notes: [],
  };
  for (const item of splitOptions(text)) {
    const equals = item.indexOf('=');
    const name = equals < 0 ? item : item.slice(0, equals);
    if (isForOthers(name)) continue;
    const apply = Object.hasOwn(OPTIONS, name) ? OPTIONS[name] : undefined;
    if (apply === undefined) {
      const problem = `option ${JSON.stringify(name)} is not known to gluon`;
      if (!sloppy) throw new MountUsageError(`${problem}: see gluon mount --help`);
      options.notes.push(`${problem} and was left out`);
      continue;
    }
    if (name === 'rw') options.readOnly = false;
    apply(options, equals < 0 ? '' : item.slice(equals + 1), name);
  }
  return options;
}

/** Commas within double quotes do not separate (SELinux labels hold them). */
function splitOptions(text: string): string[] {
  return (text.match(/(?:"[^"]*"|[^,"])+/g) ?? []).map((item) => item.trim()).filter((item) => item !== '');
}
