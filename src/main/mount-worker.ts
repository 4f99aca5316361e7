/**
 * The worker: serves one mount until it is unmounted. Its descriptors come from the supervisor, and so does what its predecessor knew.
 *
 *   supervisor dies  →  the worker starts another one, which waits for this worker's end
 *   worker dies      →  the supervisor starts another one, which asks the kernel to send again what was not answered
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { errnoOf, FsError, LostError } from '../base/errno.js';
import { ROOT_GFID, type Gfid } from '../base/ids.js';
import type { Clock } from '../env/clock.js';
import type { Log } from '../env/log.js';
import type { Fops } from '../fops/ops.js';
import { isDirectory } from '../fops/ops.js';
import { noCaching, type CachePolicy } from '../fuse/caching.js';
import { Invalidator } from '../fuse/invalidator.js';
import { KeptState } from '../fuse/kept-state.js';
import { Session } from '../fuse/session.js';
import { RealClock } from '../platform/clock.js';
import { LinuxFuseDevice, LinuxProcesses } from '../platform/fuse-device.js';
import { endOnBug } from '../platform/end-on-bug.js';
import { exitNow } from '../platform/exit-now.js';
import { findMount, setReadahead, unmount } from '../platform/fuse-mount.js';
import { libcFunction } from '../platform/libc.js';
import { descriptorSink, fileSink, JsonLog } from '../platform/log.js';
import { SharedMemory } from '../platform/shared-memory.js';
import { Descriptor, ENDED_WORD, ExitStatus, type MountConfig, type Report } from './mount-config.js';
import { supervisorScript } from './mount-supervisor.js';

export interface VolumeRequest {
  config: MountConfig;
  /** By this the bricks know the mount; the same for every worker of it, until it is revoked. */
  session: string;
  /** The bricks have confirmed the session. */
  begun: boolean;
  onBegun(): void;
  /** The session was revoked: what was open is lost. `successor` takes its place. */
  onRevoked(successor: string): void;
  /** What was changed in these inodes and not synced may be gone. */
  onLoss(gfids: ReadonlySet<Gfid> | 'all'): void;
  /** Inodes that programs have open, once for each open. */
  opens: Gfid[];
  /** File locks that the last worker gave and no brick has confirmed, as it noted them with `onGiven`; '' for none. */
  given: string;
  onGiven(text: string): void;
  /** A number for a request of the client's own. */
  lateNumber(): number;
  /** The session exists already: requests of a worker that died come again under their old numbers. */
  takeover: boolean;
  /** What the last worker noted, '' for nothing; the latest note goes to the next worker. */
  noted: string;
  note(text: string): void;
  log: Log;
  clock: Clock;
}

export interface OpenVolume {
  fops: Fops;
  policy?: CachePolicy;
  /** Memory of data that was read and is not needed any more. */
  giveBack?: (data: Uint8Array) => void;
  /** Sets who is told what the kernel must forget; the promise resolves when it has. */
  onInvalidate?(invalidate: (gfids: readonly Gfid[]) => Promise<void>): void;
  /** Takes back a mutation that was not sent yet. */
  withdraw?(requestNumber: number): void;
  /** Ends the session: locks and opens go. */
  close(): Promise<void>;
}

/** Connects to the volume. Rejects with a sentence for the user when it cannot be reached within its own bound. */
export type VolumeOpener = (request: VolumeRequest) => Promise<OpenVolume>;

const READAHEAD_KIB = 4096;
/** So many workers in a row that died of a bug make the next one refuse what they were asked. */
const BUGS_MAX = 3;
const RETRY_MS_MAX = 5000;
const CLOSE_MS_MAX = 5000;
const PR_SET_PDEATHSIG = 1;
const SIGUSR2 = 12;

function report(line: Report): void {
  try {
    writeSync(Descriptor.report, `${JSON.stringify(line)}\n`);
    closeSync(Descriptor.report);
  } catch {
    // Whoever waited for it is gone.
  }
}

class MountWorker {
  readonly #config: MountConfig;
  readonly #log: Log;
  readonly #clock = new RealClock();
  readonly #state: KeptState;
  /** To a supervisor that this worker started. */
  #adopter: { write(text: string): void } | undefined;

  constructor(config: MountConfig) {
    this.#config = config;
    const { sink, reopen } =
      config.logFile === undefined
        ? { sink: descriptorSink(2), reopen: (): void => undefined }
        : fileSink(config.logFile);
    this.#log = new JsonLog(sink, config.logLevel, { mount: config.directory, pid: process.pid });
    process.on('SIGHUP', reopen);
    this.#state = new KeptState(new SharedMemory(Descriptor.state));
  }

  async run(open: VolumeOpener): Promise<number> {
    this.#watchSupervisor();
    const onSignal = (): void => void this.#unmount();
    process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
    endOnBug('gluon mount worker', this.#log, { logIsFile: this.#config.logFile !== undefined, status: ExitStatus.failed });
    const takeover = this.#state.session !== '' && this.#state.agreed.minor > 0;
    if (this.#state.session === '') this.#state.session = randomBytes(16).toString('hex');
    const volume = takeover ? await this.#openForSure(open) : await this.#openOnce(open);
    if (volume === undefined) return ExitStatus.refused;
    return this.#serve(volume);
  }

  #request(takeover: boolean): VolumeRequest {
    const opens = this.#state.handles.opens();
    const note = (text: string): void => {
      this.#state.note = text;
    };
    return {
      config: this.#config,
      session: this.#state.session,
      begun: this.#state.begun,
      onBegun: (): void => {
        this.#state.begun = true;
      },
      onRevoked: (successor): void => this.#state.revoked(successor),
      onLoss: (gfids): void => this.#state.handles.doubt(gfids),
      opens,
      given: this.#state.given,
      onGiven: (text): void => {
        this.#state.given = text;
      },
      lateNumber: () => this.#state.lateNumber(),
      takeover,
      noted: this.#state.note,
      note,
      log: this.#log,
      clock: this.#clock,
    };
  }

  async #openOnce(open: VolumeOpener): Promise<OpenVolume | undefined> {
    try {
      const volume = await open(this.#request(false));
      this.#state.root = await this.#findRoot(volume.fops);
      return volume;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#log.error('the volume cannot be mounted', { error });
      report({ failed: reason });
      return undefined;
    }
  }

  /** For a mount that was served before: programs wait, so there is no giving up. */
  async #openForSure(open: VolumeOpener): Promise<OpenVolume> {
    this.#log.info('a new worker takes over', { takeovers: this.#state.countTakeover() });
    for (let wait_ms = 100; ; wait_ms = Math.min(2 * wait_ms, RETRY_MS_MAX)) {
      try {
        return await open(this.#request(true));
      } catch (error) {
        this.#log.warn('the volume is out of reach; trying again', { wait_ms, error });
        await new Promise<void>((resolve) => void this.#clock.after(wait_ms, resolve));
      }
    }
  }

  async #findRoot(fops: Fops): Promise<Gfid> {
    let gfid = ROOT_GFID;
    let { attr } = await fops.getattr({ gfid });
    for (const name of this.#config.source.subdirectory) {
      const bytes = Buffer.from(name, 'utf8').toString('latin1');
      attr = (
        await fops.lookup({ parent: gfid, name: bytes }).catch((error: unknown) => {
          const errno = errnoOf(error);
          throw error instanceof FsError || error instanceof LostError
            ? new Error(`directory ${JSON.stringify(name)} of the volume: errno ${errno}`, { cause: error })
            : error;
        })
      ).attr;
      gfid = attr.gfid;
    }
    if (!isDirectory(attr.mode))
      throw new Error(`${JSON.stringify(this.#config.source.subdirectory.join('/'))} is not a directory of the volume`);
    return gfid;
  }

  async #serve(volume: OpenVolume): Promise<number> {
    const device = new LinuxFuseDevice(Descriptor.main, Descriptor.drain);
    const session = new Session({
      device,
      fops: volume.fops,
      log: this.#log,
      clock: this.#clock,
      state: this.#state,
      policy: volume.policy ?? noCaching,
      processes: new LinuxProcesses(),
      directIo: this.#config.directIo,
      refuseResent: Number(process.env['GLUON_WORKER_BUGS'] ?? 0) >= BUGS_MAX,
      ...(volume.withdraw === undefined
        ? {}
        : { withdraw: (requestNumber: number): void => volume.withdraw?.(requestNumber) }),
      ...(volume.giveBack === undefined ? {} : { giveBack: volume.giveBack }),
      onInit: () => this.#ready(),
    });
    const invalidator = new Invalidator(device, session.nodes, session.pages, this.#clock, this.#log);
    volume.onInvalidate?.((gfids) => invalidator.invalidate(gfids));
    process.title = `gluon mount worker ${this.#config.directory}`;
    const end = await session.run();
    this.#log.info('the mount is no more', { reason: end });
    if (end === 'aborted') await unmount(this.#config.directory, true);
    this.#adopter?.write(ENDED_WORD);
    await this.#close(volume);
    return ExitStatus.ended;
  }

  #ready(): void {
    const mount = findMount(this.#config.directory);
    if (mount !== undefined && !setReadahead(mount.device, READAHEAD_KIB))
      this.#log.info('the kernel reads ahead 128 KiB only');
    report({ ready: true });
  }

  async #close(volume: OpenVolume): Promise<void> {
    const cancel = this.#clock.after(CLOSE_MS_MAX, () => exitNow(ExitStatus.ended));
    await volume.close().catch((error: unknown) => this.#log.warn('the session was not ended in order', { error }));
    cancel();
  }

  /** SIGTERM: as umount does; with files open the mount goes out of sight and ends with its last user. */
  async #unmount(): Promise<void> {
    const first = await unmount(this.#config.directory, false);
    if (first.status === 0) return;
    const second = await unmount(this.#config.directory, true);
    this.#log.info('told to end: unmounted as soon as nobody uses it', { busy: first.output, status: second.status });
  }

  /** The kernel sends SIGUSR2 when the supervisor dies. */
  #watchSupervisor(): void {
    process.on('SIGUSR2', () => this.#adopt());
    libcFunction('int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)')(
      PR_SET_PDEATHSIG,
      SIGUSR2,
      0,
      0,
      0,
    );
    if (process.ppid !== Number(process.env['GLUON_SUPERVISOR'])) this.#adopt();
  }

  /** Starts a supervisor that waits for this worker's end, and again when that one dies. */
  #adopt(): void {
    const [, worker = fileURLToPath(import.meta.url), ...rest] = process.argv;
    const command = [supervisorScript(), 'adopt', process.execPath, ...process.execArgv, worker, ...rest];
    const { main, drain, state } = Descriptor;
    const child = spawn('/bin/sh', command, {
      detached: true,
      stdio: ['ignore', 'inherit', 'inherit', main, drain, state, 'ignore', 'pipe'],
    });
    this.#log.warn('the supervisor is gone; another one was started', { supervisor: child.pid });
    const pipe = (child.stdio as readonly unknown[])[Descriptor.adoption] as NodeJS.WritableStream & { unref?(): void };
    pipe.on('error', () => undefined);
    this.#adopter = { write: (text) => void pipe.write(text) };
    child.on('error', (error) => this.#log.error('no supervisor can be started', { error }));
    child.on('exit', () => void this.#clock.after(100, () => this.#adopt()));
    child.unref();
    pipe.unref?.();
  }
}

/** Entry of a worker process: `argv[2]` is the MountConfig as JSON. */
export async function serveMount(open: VolumeOpener): Promise<void> {
  const config = JSON.parse(process.argv[2] ?? '') as MountConfig;
  exitNow(await new MountWorker(config).run(open));
}
