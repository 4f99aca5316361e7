/**
 * `gluon brick`: one brick process. gluond starts it; what it must know comes over the control connection, so no secret is in its arguments.
 *
 * Exit status: 0 stopped on request, 2 wrong arguments, 3 the directory is not the brick (the reason was told to gluond), 70 a bug.
 */
import { rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { matchesAddress } from '../base/address-pattern.js';
import { endOnBug } from '../platform/end-on-bug.js';
import { makeDirectories } from '../platform/make-directories.js';
import { LostError } from '../base/errno.js';
import { LargeBuffers } from '../base/large-buffers.js';
import { BrickServer } from '../brick/server.js';
import { openBrick, type OpenBrick } from '../brick/store/identity.js';
import type { Address, Channel } from '../env/channel.js';
import type { Log } from '../env/log.js';
import type { BrickId, View } from '../fops/view.js';
import { bootId } from '../platform/boot-id.js';
import { BrickControl, type BrickConfig } from '../platform/brick-control.js';
import { RealClock, RealRandom } from '../platform/clock.js';
import { BrickBitrot } from './brick-bitrot.js';
import { LibcDisk } from '../platform/libc.js';
import { descriptorSink, fileSink, isLogLevel, JsonLog } from '../platform/log.js';
import { TcpNetwork } from '../platform/tcp.js';
import { Replica } from '../replica/replica.js';
import { dialBrick } from '../wire/dial.js';
import { secretOfClients } from '../wire/handshake.js';
import type { Message } from '../wire/messages.js';

const DIAL_MS = 2000;
const PRESENCE_MS = 1000;
/** Small writes of one client to a file, one after the other, before it gets an exclusive lease on it. */
const DIRECT_AFTER = 16;
const FLUSH_MS = 1000;
const FLUSH_TIMES_MAX = 2000;
const STOP_SYNC_MS = 20_000;
const FAILED_LINGER_MS = 500;
const PING_TIMEOUT_S_DEFAULT = 10;

const USAGE =
  'usage: gluon brick --control SOCKET --volume ID --brick ID --path DIRECTORY [--log-file FILE] [--log-level LEVEL]';

interface Arguments {
  control: string;
  volume: string;
  brick: BrickId;
  path: string;
}

class BrickProcess {
  readonly #args: Arguments;
  readonly #log: Log;
  readonly #clock = new RealClock();
  readonly #random = new RealRandom();
  readonly #buffers = new LargeBuffers();
  readonly #network = new TcpNetwork(this.#buffers);
  readonly #control: BrickControl;
  #open: OpenBrick | undefined;
  #bitrot: BrickBitrot | undefined;
  #replica: Replica | undefined;
  #config: BrickConfig | undefined;
  #server: BrickServer | undefined;
  #listeners: { close(): Promise<void> }[] = [];
  #pendingView: View | undefined;
  #pendingLeaseUntil = 0;
  #ending = false;

  constructor(args: Arguments, log: Log) {
    this.#args = args;
    this.#log = log;
    this.#control = new BrickControl({
      socket: args.control,
      volume: args.volume,
      brick: args.brick,
      log,
      handlers: {
        onConfig: (config) => this.#configured(config),
        onView: (view) => this.#viewed(view),
        onLease: (ms) => this.#leased(ms),
        onQuery: () => {
          const status = this.#replica?.status();
          return status === undefined ? undefined : { ...status, scrub: this.#bitrot?.status() };
        },
        onOrder: (order) => {
          if (order === 'stop') void this.end(0, 'ordered to stop');
          else if (order === 'checkpoint') void this.#replica?.checkpoint();
          else if (order === 'heal-full') this.#replica?.compareWhole();
          else if (order === 'scrub') this.#bitrot?.scrub();
        },
        onRefused: (reason) => void this.end(0, `gluond refuses this process: ${reason}`),
      },
    });
  }

  start(): void {
    this.#control.start();
    try {
      this.#open = openBrick(new LibcDisk(this.#buffers), this.#args.path, this.#args.volume, this.#args.brick);
      this.#bitrot = new BrickBitrot(this.#open, bootId(), this.#clock, this.#log);
    } catch (error) {
      this.#fail(error instanceof Error ? error.message : String(error));
      return;
    }
    this.#every(PRESENCE_MS, () => this.#checkPresence());
    this.#every(FLUSH_MS, () => this.#open?.store.flushTimes(FLUSH_TIMES_MAX));
  }

  /** Stops serving, syncs the disk, exits. */
  async end(status: number, reason: string): Promise<void> {
    if (this.#ending) return;
    this.#ending = true;
    this.#log.info('stopping', { reason, status });
    setTimeout(() => process.exit(status === 0 ? 1 : status), STOP_SYNC_MS).unref();
    this.#control.setState('stopping', { reason });
    this.#replica?.stop();
    this.#server?.close('the brick stops');
    for (const listener of this.#listeners) void listener.close();
    try {
      await this.#bitrot?.stop();
      if (status === 0 && this.#open !== undefined) {
        await this.#open.store.sync();
        this.#replica?.closeCleanly();
      }
      this.#open?.close();
    } catch (error) {
      this.#log.error('the disk could not be synced', { error: String(error) });
    }
    this.#control.close();
    process.exit(status);
  }

  #fail(reason: string): void {
    this.#log.error('cannot serve', { reason });
    this.#control.setState('failed', { reason });
    // Time for gluond to hear why.
    setTimeout(() => void this.end(3, reason), FAILED_LINGER_MS);
  }

  #checkPresence(): void {
    const problem = this.#open?.checkPresence();
    if (problem !== undefined && !this.#ending) this.#fail(problem);
  }

  #configured(config: BrickConfig): void {
    const first = this.#config === undefined;
    this.#config = config;
    this.#bitrot?.configure(config.spec.options);
    this.#replica?.setBricks(config.spec.bricks.map((spec) => spec.id));
    if (first && this.#open !== undefined)
      this.#serve(config).catch((error: unknown) => this.#fail(`cannot listen: ${String(error)}`));
  }

  async #serve(config: BrickConfig): Promise<void> {
    const { brick, volume } = this.#args;
    const open = this.#open as OpenBrick;
    const bricks = (): BrickId[] => (this.#config ?? config).spec.bricks.map((spec) => spec.id);
    this.#server = new BrickServer({
      brick,
      bricks,
      volume,
      secret: secretOfClients(config.spec.secret),
      brickSecret: config.spec.secret,
      clock: this.#clock,
      random: this.#random,
      log: this.#log,
      view: () => this.#replica?.view ?? { epoch: 0, primary: '', inSync: [], catchingUp: [] },
      replica: () => this.#replica,
      admits: (remote) => admits(this.#config as BrickConfig, remote),
      connect: (sibling) => this.#connect(sibling),
    });
    const server = this.#server;
    const accept = (channel: Channel<Message>): void => server.accept(channel);
    const tcp = await this.#listenTcp(config, accept);
    this.#listeners.push(tcp);
    if (config.socket !== '') {
      makeDirectories(dirname(config.socket), 0o700);
      rmSync(config.socket, { force: true });
      this.#listeners.push(await this.#network.listen({ path: config.socket }, accept));
    }
    this.#replica = new Replica({
      brick,
      bricks: bricks(),
      store: open.store,
      journalDisk: open.journal,
      bootId: bootId(),
      clock: this.#clock,
      random: this.#random,
      log: this.#log,
      authority: this.#control,
      dial: (sibling) => this.#dial(sibling),
      pingTimeoutMs: () => pingTimeoutMs(this.#config as BrickConfig),
      healThrottle: () => this.#config?.spec.options['cluster.heal-throttle'] !== 'off',
      lockLeases: () => this.#config?.spec.options['client.lock-leases'] !== 'off',
      directAfter: () => (this.#config?.spec.options['client.direct-writes'] === 'off' ? 0 : DIRECT_AFTER),
      giveBack: (data) => this.#buffers.give(data),
      copyOf: (data) => this.#buffers.copy(data),
    });
    if (this.#pendingView !== undefined) this.#replica.setView(this.#pendingView);
    if (this.#pendingLeaseUntil > this.#clock.now())
      this.#replica.renewLease(this.#pendingLeaseUntil - this.#clock.now());
    const { port } = tcp.address as { port: number };
    this.#control.setState('serving', { port, socket: config.socket });
    this.#log.info('serving', { path: this.#args.path, host: config.listenHost, port, socket: config.socket });
  }

  /** The port it had before, or any other when that is taken. */
  async #listenTcp(
    config: BrickConfig,
    accept: (channel: Channel<Message>) => void,
  ): Promise<{ address: Address; close(): Promise<void> }> {
    try {
      return await this.#network.listen({ host: config.listenHost, port: config.port }, accept);
    } catch (error) {
      if (config.port === 0) throw error;
      this.#log.warn('the port is taken, choosing another', { port: config.port, error: String(error) });
      return await this.#network.listen({ host: config.listenHost, port: 0 }, accept);
    }
  }

  #placeOf(sibling: BrickId): Address {
    const spec = this.#config?.spec.bricks.find((candidate) => candidate.id === sibling);
    if (spec === undefined || spec.port === 0) throw new LostError(`brick ${sibling}: its port is not known yet`);
    return { host: spec.host, port: spec.port };
  }

  async #connect(sibling: BrickId): Promise<Channel<Message>> {
    return await this.#network.connect(this.#placeOf(sibling), DIAL_MS);
  }

  async #dial(sibling: BrickId): Promise<Channel<Message>> {
    const config = this.#config as BrickConfig;
    const { brick, volume } = this.#args;
    const env = { network: this.#network, clock: this.#clock, random: this.#random };
    return await dialBrick(env, this.#placeOf(sibling), DIAL_MS, {
      role: 'brick',
      id: brick,
      brick: sibling,
      volume,
      secret: config.spec.secret,
    });
  }

  #viewed(view: View): void {
    if (this.#replica !== undefined) this.#replica.setView(view);
    else this.#pendingView = view;
  }

  #leased(ms: number): void {
    if (this.#replica !== undefined) this.#replica.renewLease(ms);
    else this.#pendingLeaseUntil = this.#clock.now() + ms;
  }

  #every(ms: number, callback: () => void): void {
    setInterval(() => {
      if (!this.#ending) callback();
    }, ms);
  }
}

/** The option network.ping-timeout in milliseconds. */
function pingTimeoutMs(config: BrickConfig): number {
  const seconds = Number(config.spec.options['network.ping-timeout'] ?? PING_TIMEOUT_S_DEFAULT);
  return (Number.isFinite(seconds) && seconds > 0 ? seconds : PING_TIMEOUT_S_DEFAULT) * 1000;
}

/** auth.reject and auth.allow: lists of addresses in which * stands for anything; clients on the unix socket are root on this node. */
function admits(config: BrickConfig, remote: string): boolean {
  if (remote.startsWith('/') || remote.startsWith('unix')) return true;
  const host = remote.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  const listed = (option: string | undefined): boolean => matchesAddress(option ?? '', host);
  const { options } = config.spec;
  if (listed(options['auth.reject'])) return false;
  const allow = options['auth.allow'];
  return allow === undefined || allow === '' || listed(allow);
}

function parse(argv: string[]): { args: Arguments; logIsFile: boolean; log: Log } | string {
  try {
    const string = { type: 'string' } as const;
    const { values } = parseArgs({
      args: argv,
      options: {
        control: string,
        volume: string,
        brick: string,
        path: string,
        'log-file': string,
        'log-level': string,
      },
    });
    const { control, volume, brick, path } = values;
    if (control === undefined || volume === undefined || brick === undefined || path === undefined) return USAGE;
    const level = values['log-level'] ?? 'info';
    if (!isLogLevel(level)) return `gluon brick: --log-level ${level}: not a log level (debug, info, warn, error)`;
    const sink = values['log-file'] === undefined ? descriptorSink(2) : fileSink(values['log-file']).sink;
    return { args: { control, volume, brick, path }, logIsFile: values['log-file'] !== undefined, log: new JsonLog(sink, level, { brick, pid: process.pid }) };
  } catch (error) {
    return `gluon brick: ${error instanceof Error ? error.message : String(error)}\n${USAGE}`;
  }
}

export function main(argv: string[]): number | undefined {
  const parsed = parse(argv);
  if (typeof parsed === 'string') {
    process.stderr.write(`${parsed}\n`);
    return 2;
  }
  const { args, log } = parsed;
  endOnBug('gluon brick', log, { logIsFile: parsed.logIsFile });
  const brick = new BrickProcess(args, log);
  process.on('SIGTERM', () => void brick.end(0, 'SIGTERM'));
  process.on('SIGINT', () => void brick.end(0, 'SIGINT'));
  brick.start();
  return undefined;
}
