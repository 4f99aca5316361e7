/** Runs the guest of guest-image.ts under QEMU's own CPU emulation, and follows its console. */
import { spawn, type ChildProcess } from 'node:child_process';
import type { GuestKernel } from './guest-image.js';
import { killGroup } from './exec.js';
import { WaitError } from './wait.js';

export interface GuestTask {
  task: 'write' | 'verify';
  tag: string;
  count: number;
  kib: number;
}

export interface GuestDisk {
  path: string;
  format: 'raw' | 'qcow2';
  /** QEMU cache mode: `none` is O_DIRECT. */
  cache: 'none' | 'writeback';
}

/** A running guest. Always `await end()` or `kill()`. */
export class Guest {
  private console = '';
  private readonly waiters = new Set<() => void>();
  private exited: string | undefined;

  private constructor(private readonly child: ChildProcess) {
    const collect = (chunk: Buffer): void => {
      this.console += chunk.toString('latin1');
      this.wake();
    };
    child.stdout?.on('data', collect);
    child.stderr?.on('data', collect);
    child.on('close', (code, signal) => {
      this.exited = signal ?? `status ${code}`;
      this.wake();
    });
    child.on('error', (error) => {
      this.exited = error.message;
      this.wake();
    });
  }

  /** The guest does the tasks in order, then powers off. */
  static boot(kernel: GuestKernel, disk: GuestDisk, tasks: GuestTask[]): Guest {
    const append =
      'console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check nokaslr ' +
      `tasks=${tasks.map((t) => `${t.task}:${t.tag}:${t.count}:${t.kib}`).join(',')}`;
    const drive = `file=${disk.path},format=${disk.format},if=none,id=disk,cache=${disk.cache},discard=unmap,rerror=report,werror=report`;
    const args = ['-accel', 'tcg', '-machine', 'pc', '-cpu', 'max', '-m', '256', '-display', 'none', '-nodefaults', '-no-reboot'];
    args.push('-serial', 'stdio', '-kernel', kernel.kernel, '-initrd', kernel.initrd, '-append', append);
    args.push('-drive', drive, '-device', 'virtio-blk-pci,drive=disk');
    return new Guest(spawn('qemu-system-x86_64', args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true }));
  }

  /** What the console showed so far. */
  get output(): string {
    return this.console;
  }

  /** Waits for a console line; fails at once when the guest reports a failure or ends before. */
  async line(pattern: RegExp, boundMs: number): Promise<RegExpExecArray> {
    const end = performance.now() + boundMs;
    for (;;) {
      const found = pattern.exec(this.console);
      if (found !== null) return found;
      const failure = /GUEST-FAIL[^\r\n]*/.exec(this.console)?.[0];
      if (failure !== undefined) throw new Error(`the guest says ${failure}\n${this.console.slice(-2000)}`);
      if (this.exited !== undefined) throw new Error(`QEMU ended (${this.exited}) before ${pattern}\n${this.console.slice(-2000)}`);
      const left = end - performance.now();
      if (left <= 0) throw new WaitError(`the guest's console to show ${pattern}`, boundMs, this.console.slice(-1000));
      await this.wakeWithin(left);
    }
  }

  /** Waits until the guest has powered off, after GUEST-END. */
  async end(boundMs: number): Promise<void> {
    await this.line(/GUEST-END/, boundMs);
    const end = performance.now() + boundMs;
    while (this.exited === undefined) {
      const left = end - performance.now();
      if (left <= 0) throw new WaitError('QEMU to end after the guest powered off', boundMs, this.console.slice(-1000));
      await this.wakeWithin(left);
    }
    if (this.exited !== 'status 0') throw new Error(`QEMU ended with ${this.exited}\n${this.console.slice(-2000)}`);
    const failure = /GUEST-FAIL[^\r\n]*|I\/O error[^\r\n]*|EXT4-fs error[^\r\n]*/.exec(this.console)?.[0];
    if (failure !== undefined) throw new Error(`the guest saw ${failure}\n${this.console.slice(-2000)}`);
  }

  kill(): void {
    killGroup(this.child);
  }

  private wake(): void {
    for (const waiter of [...this.waiters]) waiter();
  }

  private wakeWithin(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.waiters.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.waiters.add(done);
    });
  }
}
