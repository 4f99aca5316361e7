/** The kernel's side of a session, for unit tests: builds requests, keeps the replies, and counts buffers that were not given back. */
import { InHeader, OutHeader } from '../../src/fuse/abi.js';
import { noCaching } from '../../src/fuse/caching.js';
import type { DeviceEnd, FuseDevice, RequestBuffer, RequestSink } from '../../src/fuse/device.js';
import { KeptState } from '../../src/fuse/kept-state.js';
import { write64 } from '../../src/fuse/message.js';
import { Session, type SessionEnv } from '../../src/fuse/session.js';
import { HeapStateMemory, type StateMemory } from '../../src/fuse/state-memory.js';
import { silentLog } from '../../src/env/log.js';
import { RealClock } from '../../src/platform/clock.js';
import type { Fops } from '../../src/fops/ops.js';

export interface Reply {
  /** 0 or a positive errno. */
  errno: number;
  body: Buffer;
  channel: number;
  uniqueHigh: number;
}

export interface Caller {
  uid?: number;
  gid?: number;
  pid?: number;
}

export function requestBuffer(bytes: Buffer): RequestBuffer {
  const copy = Buffer.alloc(bytes.length);
  bytes.copy(copy);
  return { bytes: copy, view: new DataView(copy.buffer, copy.byteOffset, copy.byteLength) };
}

export class FakeKernel implements FuseDevice {
  readonly memory: StateMemory;
  readonly session: Session;
  readonly dying = new Set<number>();
  readonly notifications: Buffer[] = [];
  readonly replies = new Map<number, Reply>();
  /** What the kernel answers to a reply; 0 takes it. */
  replyErrno = 0;
  notifyErrno = 0;
  /** Requests that a new session finds queued. */
  queued: Buffer[] = [];
  kept = 0;
  #unique = 2;
  readonly #waiting = new Map<number, (reply: Reply) => void>();

  constructor(
    fops: Fops,
    memory: StateMemory = new HeapStateMemory(),
    extra: Partial<SessionEnv> = {},
    queued: Buffer[] = [],
  ) {
    this.memory = memory;
    this.queued = queued;
    this.session = new Session({
      device: this,
      fops,
      log: silentLog,
      clock: new RealClock(),
      state: new KeptState(memory),
      policy: noCaching,
      processes: { isDying: (thread) => this.dying.has(thread) },
      ...extra,
    });
  }

  get unique(): number {
    return this.#unique;
  }

  run(_sink: RequestSink): Promise<DeviceEnd> {
    return Promise.resolve('unmounted');
  }

  drainCopies(sink: (buffer: RequestBuffer, length: number, channel: number) => void): void {
    for (const bytes of this.queued) sink(requestBuffer(bytes), bytes.length, 4);
    this.queued = [];
  }

  recycle(): void {
    this.kept--;
  }

  reply(channel: number, reply: Buffer, length: number): number {
    if (this.replyErrno !== 0) return this.replyErrno;
    const bytes = Buffer.from(reply.subarray(0, length));
    if (bytes.readUInt32LE(OutHeader.at.len) !== length) throw new Error('a reply with a wrong length');
    const low = bytes.readUInt32LE(OutHeader.at.unique);
    const answer = {
      errno: Math.abs(bytes.readInt32LE(OutHeader.at.error)),
      body: bytes.subarray(OutHeader.bytes),
      channel,
      uniqueHigh: bytes.readUInt32LE(OutHeader.at.unique + 4),
    };
    if (this.replies.has(low)) throw new Error('a request was answered twice');
    this.replies.set(low, answer);
    this.#waiting.get(low)?.(answer);
    return 0;
  }

  replyData(channel: number, head: Buffer, headLength: number, data: Uint8Array): number {
    const whole = Buffer.concat([head.subarray(0, headLength), data]);
    return this.reply(channel, whole, whole.length);
  }

  notify(message: Uint8Array): Promise<number> {
    this.notifications.push(Buffer.from(message));
    return Promise.resolve(this.notifyErrno);
  }

  notifyNow(message: Uint8Array): number {
    this.notifications.push(Buffer.from(message));
    return this.notifyErrno;
  }

  /** The bytes of a request; parts that are strings get their NUL. */
  request(opcode: number, nodeid: number, parts: (Buffer | string)[], caller: Caller = {}): Buffer {
    const body = Buffer.concat(
      parts.map((part) => (typeof part === 'string' ? Buffer.from(`${part}\0`, 'latin1') : part)),
    );
    const bytes = Buffer.alloc(InHeader.bytes + body.length);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    view.setUint32(InHeader.at.len, bytes.length, true);
    view.setUint32(InHeader.at.opcode, opcode, true);
    write64(view, InHeader.at.unique, (this.#unique += 2));
    write64(view, InHeader.at.nodeid, nodeid);
    view.setUint32(InHeader.at.uid, caller.uid ?? 0, true);
    view.setUint32(InHeader.at.gid, caller.gid ?? 0, true);
    view.setUint32(InHeader.at.pid, caller.pid ?? 1, true);
    body.copy(bytes, InHeader.bytes);
    return bytes;
  }

  /** Hands over raw bytes; resolves with the reply. */
  send(bytes: Buffer, channel = 3): Promise<Reply> {
    return new Promise((resolve) => {
      if (bytes.length >= InHeader.bytes) this.#waiting.set(bytes.readUInt32LE(InHeader.at.unique), resolve);
      if (this.session.receive(requestBuffer(bytes), bytes.length, channel)) this.kept++;
    });
  }

  call(opcode: number, nodeid: number, parts: (Buffer | string)[] = [], caller: Caller = {}): Promise<Reply> {
    return this.send(this.request(opcode, nodeid, parts, caller));
  }

  /** For requests without an answer. */
  tell(opcode: number, nodeid: number, parts: (Buffer | string)[]): void {
    const bytes = this.request(opcode, nodeid, parts);
    this.session.receive(requestBuffer(bytes), bytes.length, 3);
  }
}

/** Little-endian words and double words: numbers are u32, bigints u64. */
export function words(...values: (number | bigint)[]): Buffer {
  return Buffer.concat(
    values.map((value) => {
      const bytes = Buffer.alloc(typeof value === 'bigint' ? 8 : 4);
      if (typeof value === 'bigint') bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
      else bytes.writeUInt32LE(value >>> 0);
      return bytes;
    }),
  );
}
