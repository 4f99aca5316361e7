/**
 * The etcd member of this node: its configuration, and the process, which is started, watched and restarted, and survives its gluond.
 *
 *   <directory>/member.json   ports and addresses, and how it joined
 *   <directory>/data          etcd's own
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeDurably } from './durable-file.js';
import { makeDirectories } from './make-directories.js';
import { Errno, FsError, LostError } from '../base/errno.js';
import type { Log } from '../env/log.js';
import {
  isRunning,
  readPidFile,
  removePidFile,
  sendSignal,
  spawnDetached,
  waitForEnd,
  type ProcessIdentity,
} from './processes.js';
import { formatHostPort } from './target.js';

export interface EtcdMemberConfig {
  /** Node id. */
  name: string;
  /** Numeric address that the other members reach this one by. */
  host: string;
  clientPort: number;
  peerPort: number;
  /** name=url,name=url: only of meaning at the first start. */
  initialCluster: string;
  initialState: 'new' | 'existing';
  pool: string;
}

export interface EtcdMemberFiles {
  directory: string;
  /** Of etcd's output. */
  logFile: string;
  caFile: string;
  certificateFile: string;
  keyFile: string;
}

/** A slow disk or a busy processor calls for no election with these: see DESIGN.md of cluster/. */
const HEARTBEAT_MS = 150;
const ELECTION_MS = 1_500;
const TXN_OPERATIONS_MAX = 4_096;
const RESTART_MS_MIN = 200;
const RESTART_MS_MAX = 10_000;
const WATCH_MS = 1_000;
/** etcd tries to hand its leadership over, which does not end where there is no quorum; it is safe to kill. */
const STOP_MS = 2_000;

/** Two ports that were free a moment ago on this address. */
export async function freePorts(host: string, count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const server = createServer();
      return new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
        server.once('error', reject);
        server.listen(0, host, () => resolve(server));
      });
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

export class EtcdMember {
  readonly #files: EtcdMemberFiles;
  readonly #log: Log;
  #config: EtcdMemberConfig | undefined;
  #process: ProcessIdentity | undefined;
  #wanted = false;
  #restartMs = RESTART_MS_MIN;
  #startedAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #lastExit = '';

  constructor(files: EtcdMemberFiles, log: Log) {
    this.#files = files;
    this.#log = log.child({ part: 'etcd' });
    const path = this.#configPath();
    if (existsSync(path)) this.#config = JSON.parse(readFileSync(path, 'utf8')) as EtcdMemberConfig;
  }

  /** Undefined while this node has no member. */
  get config(): EtcdMemberConfig | undefined {
    return this.#config;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  clientAddress(): string {
    return this.#config === undefined ? '' : formatHostPort({ host: this.#config.host, port: this.#config.clientPort });
  }

  peerUrl(): string {
    return this.#config === undefined
      ? ''
      : `https://${formatHostPort({ host: this.#config.host, port: this.#config.peerPort })}`;
  }

  /** Writes the configuration; what an earlier membership left is removed. */
  configure(config: EtcdMemberConfig): void {
    rmSync(join(this.#files.directory, 'data'), { recursive: true, force: true });
    makeDirectories(this.#files.directory, 0o700);
    writeDurably(this.#configPath(), JSON.stringify(config, undefined, 2));
    this.#config = config;
  }

  /** Starts it, or takes over one that runs, and keeps it running. */
  start(): void {
    if (this.#config === undefined)
      throw new FsError(Errno.EINVAL, 'etcd', 'this node has no member of the cluster store');
    this.#wanted = true;
    clearInterval(this.#timer);
    this.#process = readPidFile(this.#pidPath());
    if (this.#process === undefined) this.#spawn(this.#config);
    else this.#log.info('etcd runs already', { pid: this.#process.pid });
    this.#timer = setInterval(() => this.#check(), WATCH_MS);
  }

  /** gluond ends, etcd goes on. */
  leaveRunning(): void {
    this.#wanted = false;
    clearInterval(this.#timer);
  }

  async stop(): Promise<void> {
    this.#wanted = false;
    clearInterval(this.#timer);
    const running = this.#process ?? readPidFile(this.#pidPath());
    if (running !== undefined) {
      sendSignal(running, 'SIGTERM');
      if (!(await waitForEnd(running, STOP_MS))) {
        sendSignal(running, 'SIGKILL');
        await waitForEnd(running, STOP_MS);
      }
    }
    this.#process = undefined;
    removePidFile(this.#pidPath());
  }

  /** Stops it and forgets that there was one. */
  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.#files.directory, { recursive: true, force: true });
    this.#config = undefined;
  }

  /** Rejects with LostError, naming what etcd last said, when `ready` does not come true in time. */
  async waitReady(ready: () => Promise<boolean>, timeoutMs: number): Promise<void> {
    const until = performance.now() + timeoutMs;
    while (performance.now() < until) {
      if (await ready().catch(() => false)) return;
      await sleep(50);
    }
    const how = this.#lastExit === '' ? '' : ` (etcd ended: ${this.#lastExit})`;
    throw new LostError(
      `the cluster store did not answer within ${timeoutMs} ms${how}; see ${this.#files.logFile}`,
      Errno.ETIMEDOUT,
    );
  }

  #configPath(): string {
    return join(this.#files.directory, 'member.json');
  }

  #pidPath(): string {
    return join(this.#files.directory, 'etcd.pid');
  }

  #check(): void {
    if (!this.#wanted || this.#config === undefined) return;
    if (this.#process !== undefined && isRunning(this.#process)) {
      if (performance.now() - this.#startedAt > RESTART_MS_MAX) this.#restartMs = RESTART_MS_MIN;
      return;
    }
    if (performance.now() - this.#startedAt < this.#restartMs) return;
    this.#restartMs = Math.min(RESTART_MS_MAX, this.#restartMs * 2);
    this.#log.warn('etcd is not running: it is started again', { how: this.#lastExit });
    this.#spawn(this.#config);
  }

  #spawn(config: EtcdMemberConfig): void {
    this.#startedAt = performance.now();
    const url = (port: number): string => `https://${formatHostPort({ host: config.host, port })}`;
    const { caFile, certificateFile, keyFile, directory } = this.#files;
    const args = Object.entries({
      name: config.name,
      'data-dir': join(directory, 'data'),
      'listen-client-urls': url(config.clientPort),
      'advertise-client-urls': url(config.clientPort),
      'listen-peer-urls': url(config.peerPort),
      'initial-advertise-peer-urls': url(config.peerPort),
      'initial-cluster': config.initialCluster,
      'initial-cluster-state': config.initialState,
      'initial-cluster-token': config.pool,
      'heartbeat-interval': HEARTBEAT_MS,
      'election-timeout': ELECTION_MS,
      // A member that was cut off does not depose the leader when it is back.
      'pre-vote': 'true',
      'auto-compaction-mode': 'revision',
      'auto-compaction-retention': '10000',
      'snapshot-count': '10000',
      'cert-file': certificateFile,
      'key-file': keyFile,
      'trusted-ca-file': caFile,
      'client-cert-auth': 'true',
      'peer-cert-file': certificateFile,
      'peer-key-file': keyFile,
      'peer-trusted-ca-file': caFile,
      'peer-client-cert-auth': 'true',
      // A member is known by its certificate; its connections may come from any of its addresses.
      'experimental-peer-skip-client-san-verification': 'true',
      // It would refuse a second probe within five seconds of the first. New members begin as learners, and a detach counts who is left.
      'strict-reconfig-check': 'false',
      'log-level': 'warn',
      // A sign of life compares the view of each volume that has a brick here.
      'max-txn-ops': TXN_OPERATIONS_MAX,
      logger: 'zap',
    }).map(([name, value]) => `--${name}=${value}`);
    try {
      const started = spawnDetached(
        {
          program: 'etcd',
          args,
          logFile: this.#files.logFile,
          pidFile: this.#pidPath(),
          environment: { ETCD_UNSUPPORTED_ARCH: process.arch },
        },
        (how) => {
          this.#lastExit = how;
          if (this.#wanted && this.#process === started) {
            this.#log.warn('etcd ended', { pid: started.pid, how });
            this.#process = undefined;
            setTimeout(() => this.#check(), this.#restartMs);
          }
        },
      );
      this.#process = started;
      this.#log.info('etcd started', { pid: started.pid, client: url(config.clientPort) });
    } catch (error) {
      this.#lastExit = error instanceof Error ? error.message : String(error);
      this.#log.error('etcd could not be started: is the package etcd-server installed?', { error });
    }
  }
}
