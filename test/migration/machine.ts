/** A guest whichever node runs it: booted by QEMU on one, migrated by QMP to others, at last asked to end. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream, existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Node } from '../support/cluster.js';
import { onHost } from '../support/network.js';
import { killChild } from '../support/processes.js';
import { waitFor } from '../support/wait.js';
import { Console, type Progress } from './console.js';
import type { GuestDisk } from './guest-disk.js';
import { Qmp } from './qmp.js';
import type { Stage } from './stage.js';

const LISTEN_MS = 60_000;
const BOOT_MS = 120_000;
const MIGRATE_MS = 120_000;
const PROGRESS_MS = 60_000;
const END_MS = 120_000;
const MEMORY_MIB = 112;
/**
 * Without KVM, QEMU 7.2 loses changes of the guest's memory when a migration goes over it more than once: every few migrations the guest's kernel panics, also
 * when its disk is on a local directory and gluon has no part in it. With a limit that no migration reaches there is one pass, then the stop: none
 * of 80 migrations failed that way, while seven series without it all ended within seven.
 */
export const DOWNTIME_LIMIT_MS = 20_000;

export interface BootOptions {
  seed: number;
  idle?: boolean;
  /** For each earlier boot and writer, the first step and the last one that was synced. */
  earlier?: string;
  /** What QEMU does when a write fails; its own default is enospc. */
  werror?: string;
}

/** One QEMU process. */
export class Qemu {
  private constructor(
    readonly node: Node,
    private readonly child: ChildProcess,
    private readonly log: string,
    readonly qmp: Qmp,
    readonly input: string,
  ) {}

  /** `place` names its sockets and log. Rejects with QEMU's own words when it does not start. */
  static async start(stage: Stage, node: Node, place: string, words: string[]): Promise<Qemu> {
    const socket = `${place}.q`;
    const input = `${place}.in`;
    const log = `${place}.log`;
    const [command = '', ...rest] = onHost(node.network, ['qemu-system-x86_64', ...words, '-qmp', `unix:${socket},server=on,wait=off`]);
    const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'], detached: true, env: { ...process.env, ...stage.bed.cluster.environment(node) } });
    const into = createWriteStream(log);
    child.stdout?.pipe(into);
    child.stderr?.pipe(into);
    child.on('error', () => undefined);
    try {
      return new Qemu(node, child, log, await Qmp.connect(socket, LISTEN_MS, () => child.exitCode === null && child.signalCode === null), input);
    } catch (error) {
      await killChild(child);
      throw new Error(`${String(error)}: ${existsSync(log) ? readFileSync(log, 'utf8').trim() : ''}`, { cause: error });
    }
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get ended(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  get words(): string {
    return existsSync(this.log) ? readFileSync(this.log, 'utf8').trim() : '';
  }

  async kill(): Promise<void> {
    this.qmp.close();
    await killChild(this.child);
  }
}

export interface Migration {
  /** From the stop on the source to the resumption on the destination. */
  downtimeMs: number;
  totalMs: number;
}

let machines = 0;

export class Machine {
  private started = 0;

  private constructor(
    private readonly stage: Stage,
    readonly name: string,
    readonly disk: GuestDisk,
    private readonly options: BootOptions,
    readonly console: Console,
  ) {}

  /** Undefined before the boot and after the end. */
  qemu!: Qemu;

  /** Resolves when QEMU runs; `ready` tells when the guest does. The disk may be in use by a QEMU that is to lose it: then this rejects. */
  static async boot(stage: Stage, node: Node, disk: GuestDisk, options: BootOptions): Promise<Machine> {
    const name = `v${++machines}`;
    const machine = new Machine(stage, name, disk, options, new Console(join(stage.bed.cluster.root, `${name}.console`)));
    machine.qemu = await machine.run(node);
    return machine;
  }

  get node(): Node {
    return this.qemu.node;
  }

  get seed(): number {
    return this.options.seed;
  }

  async ready(): Promise<void> {
    await this.console.line(/GUEST-READY/, BOOT_MS, { gone: () => this.qemu.ended });
  }

  /** Waits until the guest did something after now. */
  async progress(boundMs = PROGRESS_MS): Promise<void> {
    if (this.options.idle === true) {
      const before = this.console.beats;
      await waitFor('the idle guest to tell that it lives', boundMs, () => this.console.beats > before + 1, 20);
      return;
    }
    const before = this.console.progress;
    const moved = ({ synced, verified }: Progress): boolean => synced.every((step, i) => step > (before?.synced[i] ?? 0)) && verified > (before?.verified ?? 0);
    const outcome = await waitFor(
      'the guest to sync and verify more blocks',
      boundMs,
      () => {
        const [failure] = this.console.errors;
        if (failure !== undefined) return `the guest says: ${failure}`;
        if (this.qemu.ended) return `QEMU ended: ${this.qemu.words}`;
        const now = this.console.progress;
        return now !== undefined && moved(now) ? 'moved' : undefined;
      },
      20,
    );
    if (outcome !== 'moved') throw new Error(outcome);
  }

  /** Live, while the guest works. The source's QEMU has ended when this resolves. */
  async migrate(to: Node, during: (source: Qemu, target: Qemu) => void = () => undefined): Promise<Migration> {
    const source = this.qemu;
    const port = this.stage.nextPort();
    const target = await this.run(to, ['-incoming', `tcp:${to.network.address}:${port}`]);
    const begin = performance.now();
    const seen = source.qmp.events.length;
    try {
      await source.qmp.run('migrate-set-parameters', { 'downtime-limit': DOWNTIME_LIMIT_MS });
      await source.qmp.run('migrate', { uri: `tcp:${to.network.address}:${port}` });
      during(source, target);
      const outcome = await waitFor('the migration to end', MIGRATE_MS, () => migrationOutcome(source), 20);
      if (outcome !== 'completed') throw new Error(outcome);
      const resume = await target.qmp.event('RESUME', 0, MIGRATE_MS);
      const stop = await source.qmp.event('STOP', seen, 1000);
      this.qemu = target;
      return { downtimeMs: resume.atMs - stop.atMs, totalMs: performance.now() - begin };
    } catch (error) {
      throw new Error(`migration from n${source.node.index + 1} to n${to.index + 1}: ${String(error)}; source: ${source.words}; destination: ${target.words}`, { cause: error });
    } finally {
      await (this.qemu === target ? source : target).kill();
    }
  }

  /** Asks the guest to verify everything and to power off. */
  async end(): Promise<void> {
    const { qemu } = this;
    const socket = connect(qemu.input);
    socket.on('error', () => undefined).on('data', () => undefined);
    try {
      await waitFor('the console to take input', 5000, () => socket.readyState === 'open');
      socket.write('stop\n');
      await this.console.line(/GUEST-END|GUEST-FAIL/, END_MS, { gone: () => qemu.ended });
      await waitFor('QEMU to end after its guest', END_MS, () => qemu.ended);
    } finally {
      socket.destroy();
      await qemu.kill();
    }
  }

  kill(): Promise<void> {
    return this.qemu.kill();
  }

  private run(node: Node, more: string[] = []): Promise<Qemu> {
    const { disk, options, stage } = this;
    const place = join(stage.bed.cluster.root, `${this.name}-${++this.started}`);
    const { cache, aio, format, path } = disk;
    const words = ['console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check nokaslr', `seed=${options.seed}`];
    if (options.idle === true) words.push('idle=1');
    if (options.earlier !== undefined) words.push(`boots=${options.earlier}`);
    const drive = `file=${path},format=${format},if=none,id=disk,cache=${cache},aio=${aio},discard=unmap${options.werror === undefined ? '' : `,werror=${options.werror}`}`;
    const args = ['-accel', 'tcg', '-machine', 'pc', '-cpu', 'max', '-m', String(MEMORY_MIB), '-display', 'none', '-nodefaults', '-no-reboot'];
    args.push('-kernel', stage.kernel.kernel, '-initrd', stage.kernel.initrd, '-append', words.join(' '));
    args.push('-drive', drive, '-device', 'virtio-blk-pci,drive=disk');
    args.push('-chardev', `socket,id=console,path=${place}.in,server=on,wait=off,logfile=${this.console.path},logappend=on`, '-serial', 'chardev:console');
    return Qemu.start(stage, node, place, [...args, ...more]);
  }
}

/** Undefined while it goes on. */
async function migrationOutcome(source: Qemu): Promise<string | undefined> {
  if (source.ended) return 'QEMU ended';
  const { status, ...rest } = await source.qmp.run<{ status?: string; 'error-desc'?: string }>('query-migrate');
  if (status === 'completed') return status;
  return status === 'failed' || status === 'cancelled' ? `it ${status}: ${rest['error-desc'] ?? 'no reason given'}` : undefined;
}
