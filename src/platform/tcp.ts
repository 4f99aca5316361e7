/**
 * `Network<Message>` over TCP and unix sockets.
 *
 * Sending: the frames of one turn of the event loop leave in one system call, but a frame that is alone goes at once (a channel that sent one
 * frame in its last busy turn does not wait for the end of this one). Small payloads are copied behind their header, large ones are
 * handed to the socket as they are.
 *
 * Receiving: reads go straight into a buffer of this file's choice. Small frames lie in a shared receive buffer; a frame with a large
 * payload gets a buffer of its own as soon as its lengths are known and checked, and the kernel fills the rest of it directly.
 */
import { chmodSync, unlinkSync } from 'node:fs';
import { connect as netConnect, createServer, Socket, type Server } from 'node:net';
import koffi from 'koffi';
import { assert } from '../base/assert.js';
import { Errno, LostError } from '../base/errno.js';
import { LargeBuffers } from '../base/large-buffers.js';
import { ProtocolError } from '../base/protocol-error.js';
import { OWN_PAYLOAD_BYTES, type Address, type Channel, type Network } from '../env/channel.js';
import { decodeMessage, encodeMessage, FRAME_BYTES_MAX, FRAME_PREFIX_BYTES, frameBytes } from '../wire/codec.js';
import type { Message } from '../wire/messages.js';
import { PackBuffer } from '../wire/pack.js';
import { libcFunction } from './libc.js';
import { presentTurn, turnBegins } from './turn.js';

const RECEIVE_BYTES = 128 << 10;
/** A frame of at least this size gets a buffer of its own; anything below fits into the receive buffer. */
const OWN_FRAME_BYTES = OWN_PAYLOAD_BYTES;
const SEND_SLAB_BYTES = 64 << 10;
/** Payloads up to this size are copied behind their header. */
const COPY_BYTES_MAX = 16 << 10;
/** What waits for the end of the turn is sent earlier when it is more than this. */
const FLUSH_BYTES = 64 << 10;
/** Frames of a connection whose other end has not proved who it is. */
const STRANGER_FRAME_BYTES_MAX = 4096;
/** A connection whose other end does not read is closed when this much is queued. */
const QUEUE_BYTES_MAX = 256 << 20;
/** An accepted connection is not read while this much waits to be sent on it. */
const PAUSE_BYTES = 16 << 20;
const CLOSE_MS = 2_000;
/** A TCP connection on which the other machine confirms nothing for so long is lost; otherwise TCP would go on trying for a quarter of an hour. */
const UNCONFIRMED_MS = 6_000;
const KEEPALIVE_IDLE_MS = 2_000;
const IPPROTO_TCP = 6;
const TCP_USER_TIMEOUT = 18;
const CONNECTIONS_MAX = 1_024;
const SOL_SOCKET = 1;
const SO_RCVLOWAT = 18;
const SO_SNDBUFFORCE = 32;
/** Room for large frames in the kernel (which doubles it), so that one goes by one call. */
const SEND_BUFFER_BYTES = 2 << 20;
/** While a large frame arrives, the kernel wakes this process for so much of it at a time. */
const WAKE_BYTES_MAX = 1 << 20;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** More pieces than this are left to the stream. */
const GATHERED_MAX = 64;
const NOTHING: Uint8Array[] = [];
/** sun_path, without its terminating NUL. */
const SOCKET_PATH_BYTES_MAX = 107;

class TcpChannel implements Channel<Message> {
  readonly remote: string;
  closed = false;
  onMessage: (message: Message) => void = () => undefined;
  onClose: (reason: string) => void = () => undefined;
  readonly #accepted: boolean;
  readonly #buffers: LargeBuffers;
  /** Payloads that nobody else refers to: given back when the kernel has them. */
  readonly #ownPayloads = new Set<Uint8Array>();
  #socket!: Socket;
  /** -1: the stream does all the writing. */
  #descriptor = -1;
  #frameBytesMax: number;

  #out = new PackBuffer(SEND_SLAB_BYTES);
  /** Start of what is in `#out` and was not handed to the socket. */
  #outStart = 0;
  #chunks: Uint8Array[] = [];
  #pendingBytes = 0;
  #sentThisTurn = 0;
  #sentInTurn = -1;
  #batching = false;
  #turnArmed = false;
  readonly #endTurn = (): void => this.#turnEnded();

  /** The shared receive buffer; bytes [#at, #filled) are not decoded yet. */
  readonly #shared = Buffer.allocUnsafeSlow(RECEIVE_BYTES);
  #at = 0;
  #filled = 0;
  /** A frame with a buffer of its own, filled up to #largeFilled. */
  #large: Buffer | undefined;
  #largeFilled = 0;
  #wakeBytes = 1;
  #paused = false;

  constructor(remote: string, accepted: boolean, buffers: LargeBuffers) {
    this.#buffers = buffers;
    this.remote = remote;
    this.#accepted = accepted;
    this.#frameBytesMax = accepted ? STRANGER_FRAME_BYTES_MAX : FRAME_BYTES_MAX;
  }

  /** Where the next read goes. */
  readonly nextBuffer = (): Buffer => {
    if (this.#large !== undefined) return this.#large.subarray(this.#largeFilled);
    if (this.#at === this.#filled) this.#at = this.#filled = 0;
    return this.#filled === 0 ? this.#shared : this.#shared.subarray(this.#filled);
  };

  /** `count` bytes were read into the buffer of `nextBuffer`. */
  readonly received = (count: number): boolean => {
    if (this.closed) return false;
    turnBegins();
    try {
      if (this.#large !== undefined) {
        this.#largeFilled += count;
        this.#wakeFor(this.#large.length - this.#largeFilled);
        if (this.#largeFilled === this.#large.length) {
          const frame = this.#large;
          this.#large = undefined;
          this.onMessage(decodeMessage(frame, 0, frame.length));
        }
      } else {
        this.#filled += count;
        this.#takeFrames();
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#fail(`protocol error: ${error.message}`);
    }
    return !this.closed;
  };

  attach(socket: Socket): void {
    this.#socket = socket;
    this.#descriptor = descriptorOf(socket);
    if (this.#descriptor >= 0) setOption(this.#descriptor, SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES);
    socket.on('error', (error) => this.#fail(error.message));
    socket.on('end', () => this.#fail('closed by the other end'));
    socket.on('close', () => this.#fail('closed'));
    socket.on('drain', () => this.#resume());
  }

  get queuedBytes(): number {
    return this.#pendingBytes + this.#socket.writableLength;
  }

  trust(): void {
    this.#frameBytesMax = FRAME_BYTES_MAX;
  }

  send(message: Message): void {
    if (this.closed) return;
    if (this.#out.at > SEND_SLAB_BYTES / 2) this.#newSlab();
    const start = this.#out.at;
    const payload = encodeMessage(this.#out, message);
    this.#pendingBytes += this.#out.at - start;
    if (payload !== undefined) {
      this.#addPayload(payload);
      if (message.kind === 'reply') this.#released(payload);
    }
    if (!this.#turnArmed && this.#sentInTurn !== presentTurn()) {
      this.#sentInTurn = presentTurn();
      this.#sentThisTurn = 0;
    }
    this.#sentThisTurn++;
    if (this.#pendingBytes > FLUSH_BYTES || (this.#sentThisTurn === 1 && !this.#batching)) this.#flush();
    // A single message is on its way already; only what follows it in the same turn goes together.
    if (!this.#turnArmed && (this.#sentThisTurn > 1 || this.#pendingBytes > 0)) {
      this.#turnArmed = true;
      setImmediate(this.#endTurn);
    }
  }

  close(reason: string): void {
    if (this.closed) return;
    this.#flush();
    this.#finish(reason);
    const socket = this.#socket;
    socket.destroySoon();
    setTimeout(() => socket.destroy(), CLOSE_MS).unref();
  }

  /** Nobody but this channel refers to the payload of an answer. */
  #released(payload: Uint8Array): void {
    if (payload.byteLength > COPY_BYTES_MAX) this.#ownPayloads.add(payload);
    else this.#buffers.give(payload);
  }

  #addPayload(payload: Uint8Array): void {
    this.#pendingBytes += payload.byteLength;
    if (payload.byteLength <= COPY_BYTES_MAX) {
      this.#out.raw(payload);
      return;
    }
    this.#cut();
    this.#chunks.push(payload);
  }

  /** What is in the slab becomes a chunk. */
  #cut(): void {
    const { at, bytes } = this.#out;
    if (at > this.#outStart) this.#chunks.push(bytes.subarray(this.#outStart, at));
    this.#outStart = at;
  }

  #newSlab(): void {
    this.#cut();
    this.#out = new PackBuffer(SEND_SLAB_BYTES);
    this.#outStart = 0;
  }

  #turnEnded(): void {
    this.#turnArmed = false;
    this.#batching = this.#sentThisTurn > 1;
    this.#sentThisTurn = 0;
    this.#flush();
  }

  #flush(): void {
    if (this.closed || this.#pendingBytes === 0) return;
    this.#cut();
    const socket = this.#socket;
    this.#pendingBytes = 0;
    const chunks = socket.writableLength === 0 ? this.#writeNow(this.#chunks) : this.#chunks;
    if (chunks.length === 0) this.#chunks.length = 0;
    else {
      this.#chunks = [];
      socket.cork();
      for (const chunk of chunks) this.#write(socket, chunk);
      socket.uncork();
    }
    if (socket.writableLength === 0) {
      // The kernel took everything: nobody refers to the slab any more. One that a large header made grow is let go.
      if (this.#out.bytes.length > SEND_SLAB_BYTES) this.#newSlab();
      this.#out.at = 0;
      this.#outStart = 0;
    } else if (socket.writableLength > QUEUE_BYTES_MAX) {
      this.#fail('the other end does not read');
    } else if (this.#accepted && !this.#paused && socket.writableLength > PAUSE_BYTES) {
      // Only the accepting side: if both sides did, they could wait for each other.
      this.#paused = true;
      socket.pause();
    }
  }

  /**
   * Hands the kernel what it takes at once, by one system call and without the stream's machinery; what is left over is answered. Errors are left
   * to the stream, which meets them again.
   */
  #writeNow(chunks: Uint8Array[]): Uint8Array[] {
    // A stream that was destroyed has closed its descriptor, and its number may be somebody else's by now.
    if (this.#descriptor < 0 || this.#socket.destroyed || chunks.length > GATHERED_MAX) return chunks;
    let count = sendNow(this.#descriptor, chunks);
    if (count <= 0) return chunks;
    for (let i = 0; i < chunks.length; i++) {
      const chunk = chunks[i] as Uint8Array;
      if (count < chunk.byteLength) {
        const rest = chunk.subarray(count);
        if (this.#ownPayloads.delete(chunk)) this.#ownPayloads.add(rest);
        return [rest, ...chunks.slice(i + 1)];
      }
      count -= chunk.byteLength;
      if (this.#ownPayloads.delete(chunk)) this.#buffers.give(chunk);
    }
    return NOTHING;
  }

  #write(socket: Socket, chunk: Uint8Array): void {
    if (this.#ownPayloads.delete(chunk)) socket.write(chunk, () => this.#buffers.give(chunk));
    else socket.write(chunk);
  }

  #resume(): void {
    if (!this.#paused || this.closed) return;
    this.#paused = false;
    // What came before the pause and was not looked at.
    this.received(0);
    if (!this.#paused && !this.closed) this.#socket.resume();
  }

  #takeFrames(): void {
    const bytes = this.#shared;
    while (!this.closed && !this.#paused && this.#filled - this.#at >= FRAME_PREFIX_BYTES) {
      const length = frameBytes(bytes, this.#at, this.#frameBytesMax);
      const have = this.#filled - this.#at;
      if (length >= OWN_FRAME_BYTES) {
        const frame = this.#buffers.take(length);
        const copied = Math.min(have, length);
        bytes.copy(frame, 0, this.#at, this.#at + copied);
        this.#at += copied;
        if (copied < length) {
          this.#large = frame;
          this.#largeFilled = copied;
          this.#wakeFor(length - copied);
          return;
        }
        this.onMessage(decodeMessage(frame, 0, length));
      } else {
        if (have < length) break;
        const start = this.#at;
        this.#at += length;
        this.onMessage(decodeMessage(bytes, start, start + length));
      }
    }
    this.#compact();
  }

  /**
   * The kernel need not wake this process before so many bytes are there; without this a mebibyte comes in a dozen pieces. Never more than what is
   * certain to come.
   */
  #wakeFor(bytes: number): void {
    const wanted = Math.max(1, Math.min(bytes, WAKE_BYTES_MAX));
    if (wanted === this.#wakeBytes || this.#descriptor < 0 || this.#socket.destroyed) return;
    this.#wakeBytes = wanted;
    setOption(this.#descriptor, SOL_SOCKET, SO_RCVLOWAT, wanted);
  }

  /** Moves an incomplete frame to the front where the rest of the buffer may be too small for it. */
  #compact(): void {
    if (this.#at === this.#filled) this.#at = this.#filled = 0;
    else if (this.#at > 0 && RECEIVE_BYTES - this.#at < OWN_FRAME_BYTES) {
      this.#shared.copyWithin(0, this.#at, this.#filled);
      this.#filled -= this.#at;
      this.#at = 0;
    }
  }

  #fail(reason: string): void {
    if (this.closed) return;
    this.#finish(reason);
    this.#socket.destroy();
  }

  #finish(reason: string): void {
    if (this.closed) return;
    this.closed = true;
    this.#descriptor = -1;
    this.#large = undefined;
    this.#chunks = [];
    this.#pendingBytes = 0;
    this.onClose(reason);
  }
}

const send = libcFunction('int64_t send(int, void *, size_t, int)');
const sendmsg = libcFunction('int64_t sendmsg(int, void *, int)');
const setsockopt = libcFunction('int setsockopt(int, int, int, void *, unsigned int)');
const optionValue = Buffer.alloc(4);

/** An option that is refused is left as it is: none of those set here changes what is promised. */
function setOption(fd: number, level: number, option: number, value: number): void {
  optionValue.writeInt32LE(value);
  setsockopt(fd, level, option, optionValue, optionValue.length);
}

function descriptorOf(socket: Socket): number {
  return (socket as unknown as { _handle?: { fd?: number } })._handle?.fd ?? -1;
}

const iovec = new BigUint64Array(2 * GATHERED_MAX);
const messageHeader = new BigUint64Array(7);

/** Bytes that the kernel took of these chunks, in order; negative for an error. */
function sendNow(fd: number, chunks: readonly Uint8Array[]): number {
  if (chunks.length === 1) {
    const only = chunks[0] as Uint8Array;
    return send(fd, only, only.byteLength, MSG_DONTWAIT | MSG_NOSIGNAL) as number;
  }
  for (let i = 0; i < chunks.length; i++) {
    const chunk = chunks[i] as Uint8Array;
    iovec[2 * i] = koffi.address(chunk);
    iovec[2 * i + 1] = BigInt(chunk.byteLength);
  }
  // struct msghdr: name, its length, iovec, their number, control, its length, flags.
  messageHeader[2] = koffi.address(iovec);
  messageHeader[3] = BigInt(chunks.length);
  return sendmsg(fd, messageHeader, MSG_DONTWAIT | MSG_NOSIGNAL) as number;
}

/** Node has no call for TCP_USER_TIMEOUT. Without its effect a lost machine is noticed later, by the ping timeout. */
function limitSilence(socket: Socket): void {
  const fd = descriptorOf(socket);
  socket.setKeepAlive(true, KEEPALIVE_IDLE_MS);
  if (fd >= 0) setOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, UNCONFIRMED_MS);
}

function describe(address: Address): string {
  return 'path' in address ? address.path : `${address.host}:${address.port}`;
}

function checkPath(address: Address): void {
  if ('path' in address && Buffer.byteLength(address.path) > SOCKET_PATH_BYTES_MAX) {
    throw new LostError(
      `the unix socket path ${address.path} is longer than ${SOCKET_PATH_BYTES_MAX} bytes: use a shorter directory`,
      Errno.ENAMETOOLONG,
    );
  }
}

function errnoOfSystem(error: NodeJS.ErrnoException): number {
  return typeof error.errno === 'number' && error.errno < 0 ? -error.errno : Errno.ENOTCONN;
}

/**
 * A socket whose reads go into the channel's buffers. Node offers that for sockets it dials; for accepted ones the handle is taken over by a
 * socket made with the option.
 */
function adopt(plain: Socket, channel: TcpChannel): Socket {
  const carrier = plain as unknown as { _handle: unknown };
  const handle = carrier._handle;
  assert(handle !== null && handle !== undefined, 'an accepted socket has a handle');
  carrier._handle = null;
  // Without its handle this only takes the socket off the server's list of connections.
  plain.destroy();
  const options = { handle, onread: { buffer: channel.nextBuffer, callback: channel.received }, allowHalfOpen: false };
  return new Socket(options as unknown as ConstructorParameters<typeof Socket>[0]);
}

export class TcpNetwork implements Network<Message> {
  readonly #buffers: LargeBuffers;

  /** Large frames are received into `buffers`; whoever is done with a large payload may give it back there. */
  constructor(buffers: LargeBuffers = new LargeBuffers()) {
    this.#buffers = buffers;
  }

  connect(address: Address, timeoutMs: number): Promise<Channel<Message>> {
    return new Promise((resolve, reject) => {
      checkPath(address);
      const channel = new TcpChannel(describe(address), false, this.#buffers);
      const onread = { buffer: channel.nextBuffer as unknown as () => Uint8Array, callback: channel.received };
      const socket = netConnect(
        'path' in address
          ? { path: address.path, onread }
          : { host: address.host, port: address.port, noDelay: true, onread },
      );
      const timer = setTimeout(
        () => fail(new LostError(`no connection to ${describe(address)} within ${timeoutMs} ms`, Errno.ETIMEDOUT)),
        timeoutMs,
      );
      const fail = (error: LostError): void => {
        clearTimeout(timer);
        socket.destroy();
        reject(error);
      };
      const onError = (error: NodeJS.ErrnoException): void =>
        fail(new LostError(`no connection to ${describe(address)}: ${error.message}`, errnoOfSystem(error)));
      socket.once('error', onError);
      socket.once('connect', () => {
        clearTimeout(timer);
        socket.off('error', onError);
        if ('host' in address) limitSilence(socket);
        channel.attach(socket);
        resolve(channel);
      });
    });
  }

  async listen(
    address: Address,
    accept: (channel: Channel<Message>) => void,
  ): Promise<{ address: Address; close(): Promise<void> }> {
    checkPath(address);
    const open = new Set<TcpChannel>();
    const sockets = new Set<Socket>();
    const server = createServer({ pauseOnConnect: true, noDelay: true }, (plain) => {
      const remote =
        'path' in address ? `${address.path} (local)` : `${plain.remoteAddress ?? '?'}:${plain.remotePort ?? 0}`;
      if (sockets.size >= CONNECTIONS_MAX) {
        plain.destroy();
        return;
      }
      const channel = new TcpChannel(remote, true, this.#buffers);
      const socket = adopt(plain, channel);
      if ('host' in address) limitSilence(socket);
      channel.attach(socket);
      sockets.add(socket);
      open.add(channel);
      socket.on('close', () => {
        sockets.delete(socket);
        open.delete(channel);
      });
      accept(channel);
    });
    await bind(server, address);
    // A connection that could not be accepted (too many open files) is the caller's loss, not the end of this process.
    server.on('error', () => undefined);
    const bound = server.address();
    const result: Address =
      'path' in address
        ? address
        : { host: address.host, port: typeof bound === 'object' && bound !== null ? bound.port : address.port };
    return {
      address: result,
      close: () =>
        new Promise((resolve) => {
          for (const channel of open) channel.close('the listener closes');
          server.close(() => resolve());
        }),
    };
  }
}

/** Listens; a unix socket that a dead process left behind is replaced, a live one is an error. */
async function bind(server: Server, address: Address): Promise<void> {
  try {
    await listenOnce(server, address);
  } catch (error) {
    if (!('path' in address) || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || (await answers(address.path)))
      throw error;
    unlinkSync(address.path);
    await listenOnce(server, address);
  }
  if ('path' in address) chmodSync(address.path, 0o600);
}

function listenOnce(server: Server, address: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen('path' in address ? { path: address.path } : { host: address.host, port: address.port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = netConnect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
