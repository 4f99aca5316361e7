/**
 * /dev/fuse through two descriptors of one connection:
 *
 *   main    blocking; notifications are written to it from the thread pool
 *   drain   O_NONBLOCK, cloned from main; the event loop polls it, and it is read synchronously until nothing is left
 *
 * So a burst of requests costs one wake-up, and a single one costs no change of threads.
 */
import { readFileSync, write as writeInThreadPool } from 'node:fs';
import koffi from 'koffi';
import { Errno, errnoName } from '../base/errno.js';
import type { DeviceEnd, FuseDevice, RequestBuffer, RequestSink } from '../fuse/device.js';
import type { Processes } from '../fuse/interrupts.js';
import { libcFunction } from './libc.js';
import { turnBegins } from './turn.js';

const read = libcFunction('int64_t read(int, void *, size_t)');
const write = libcFunction('int64_t write(int, void *, size_t)');
const writev = libcFunction('int64_t writev(int, void *, int)');

/** The largest request: headers and 1 MiB of data. The kernel refuses to read into less. */
const REQUEST_BYTES_MAX = (1 << 20) + 4096;
/** Large buffers kept for the next request. */
const BUFFERS_KEPT_MAX = 32;
/** Requests taken in one turn, so that network and timers get theirs. */
const DRAIN_MAX = 256;
/** Data up to this size is copied behind the header; beyond it two pieces are cheaper. */
const COPY_BYTES_MAX = 8192;

/** Not documented, but there since Node 0.10: what Node itself does after every callback. */
const continuePromises = (process as { _tickCallback?: () => void })._tickCallback;

export class LinuxFuseDevice implements FuseDevice {
  readonly #main: number;
  readonly #drain: number;
  readonly #free: RequestBuffer[] = [];
  readonly #scratch = Buffer.allocUnsafeSlow(COPY_BYTES_MAX + 4096);
  readonly #pieces = new BigUint64Array(4);
  #sink: RequestSink = () => false;
  #finish: (end: DeviceEnd) => void = () => undefined;
  #fail: (error: Error) => void = () => undefined;
  #poll: ReturnType<typeof koffi.node.poll> | undefined;
  #turnArmed = false;
  readonly #turn = (): void => {
    this.#turnArmed = false;
    if (this.#poll !== undefined) this.#drainSome();
  };

  constructor(main: number, drain: number) {
    this.#main = main;
    this.#drain = drain;
  }

  run(sink: RequestSink): Promise<DeviceEnd> {
    this.#sink = sink;
    return new Promise((resolve, reject) => {
      this.#finish = resolve;
      this.#fail = reject;
      this.#watch();
    });
  }

  drainCopies(sink: (buffer: RequestBuffer, length: number, channel: number) => void): void {
    const buffer = this.#take();
    for (;;) {
      const length = read(this.#drain, buffer.bytes, REQUEST_BYTES_MAX) as number;
      if (length > 0) {
        const bytes = Buffer.allocUnsafeSlow(length);
        buffer.bytes.copy(bytes, 0, 0, length);
        sink({ bytes, view: new DataView(bytes.buffer) }, length, this.#drain);
      } else if (koffi.errno() !== Errno.EINTR && koffi.errno() !== Errno.ENOENT) break;
    }
    this.recycle(buffer);
  }

  recycle(buffer: RequestBuffer): void {
    if (buffer.bytes.length === REQUEST_BYTES_MAX && this.#free.length < BUFFERS_KEPT_MAX) this.#free.push(buffer);
  }

  reply(channel: number, reply: Buffer, length: number): number {
    return write(channel, reply, length) === length ? 0 : koffi.errno();
  }

  replyData(channel: number, head: Buffer, headLength: number, data: Uint8Array): number {
    if (data.byteLength <= COPY_BYTES_MAX) {
      head.copy(this.#scratch, 0, 0, headLength);
      this.#scratch.set(data, headLength);
      return this.reply(channel, this.#scratch, headLength + data.byteLength);
    }
    this.#pieces[0] = koffi.address(head);
    this.#pieces[1] = BigInt(headLength);
    this.#pieces[2] = koffi.address(data);
    this.#pieces[3] = BigInt(data.byteLength);
    return writev(channel, this.#pieces, 2) === headLength + data.byteLength ? 0 : koffi.errno();
  }

  notify(message: Uint8Array): Promise<number> {
    return new Promise((resolve) => {
      writeInThreadPool(this.#main, message, 0, message.byteLength, null, (error) =>
        resolve(error === null ? 0 : Math.abs(error.errno ?? Errno.EIO)),
      );
    });
  }

  notifyNow(message: Uint8Array): number {
    return write(this.#main, message, message.byteLength) === message.byteLength ? 0 : koffi.errno();
  }

  #take(): RequestBuffer {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    const bytes = Buffer.allocUnsafeSlow(REQUEST_BYTES_MAX);
    return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) };
  }

  /**
   * The callback of the poll runs outside of Node's own scopes, where promises are not continued and exceptions go astray. Asking for a turn of the
   * event loop instead (`setImmediate`) costs every request a wait in vain.
   */
  #watch(): void {
    this.#poll = koffi.node.poll(this.#drain, () => {
      if (continuePromises === undefined) return this.#takeTurn();
      try {
        this.#turn();
        continuePromises();
      } catch (error) {
        setImmediate(() => {
          throw error;
        });
      }
    });
  }

  #takeTurn(): void {
    if (this.#turnArmed) return;
    this.#turnArmed = true;
    setImmediate(this.#turn);
  }

  #deliver(buffer: RequestBuffer, length: number, channel: number): void {
    if (!this.#sink(buffer, length, channel)) this.recycle(buffer);
  }

  #drainSome(): void {
    turnBegins();
    for (let taken = 0; taken < DRAIN_MAX; taken++) {
      const buffer = this.#take();
      const length = read(this.#drain, buffer.bytes, REQUEST_BYTES_MAX) as number;
      if (length > 0) {
        this.#deliver(buffer, length, this.#drain);
        continue;
      }
      const errno = koffi.errno();
      this.recycle(buffer);
      // ENOENT: the request was taken back before it was read whole.
      if (errno === Errno.EINTR || errno === Errno.ENOENT) continue;
      if (errno !== Errno.EAGAIN) this.#ended(errno);
      return;
    }
    this.#takeTurn();
  }

  #ended(errno: number): void {
    this.#poll?.close();
    this.#poll = undefined;
    if (errno === Errno.ENODEV) this.#finish('unmounted');
    else if (errno === Errno.ECONNABORTED) this.#finish('aborted');
    else this.#fail(new Error(`reading /dev/fuse failed: ${errnoName(errno)}`));
  }
}

const SIGKILL_BIT = 1n << 8n;

/** Threads as /proc shows them. A thread of another process namespace has no number here and never counts as dying. */
export class LinuxProcesses implements Processes {
  isDying(thread: number): boolean {
    if (thread === 0) return false;
    try {
      const status = readFileSync(`/proc/${thread}/status`, 'latin1');
      const pending = /^SigPnd:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0';
      return (BigInt(`0x${pending}`) & SIGKILL_BIT) !== 0n;
    } catch {
      return true;
    }
  }
}
