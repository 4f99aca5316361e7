/**
 * What a session needs of /dev/fuse. Implemented over two descriptors of one connection by platform/, and by tests.
 *
 * The kernel keeps the requests it handed out in a list of their own for each descriptor: a reply must go to the descriptor that its
 * request came from, so every message carries the descriptor's number (`channel`).
 */

/** One request as it was read. Belongs to whoever `take` gave it to, until `recycle`. */
export interface RequestBuffer {
  readonly bytes: Buffer;
  readonly view: DataView;
}

/**
 * Called for every request, on the thread that answers. Returns true when it keeps the buffer beyond the call; it then calls `recycle`.
 * Must not throw.
 */
export type RequestSink = (buffer: RequestBuffer, length: number, channel: number) => boolean;

/** Why the device ended: `unmounted` is the ordinary way, `aborted` when somebody cut the connection through /sys/fs/fuse. */
export type DeviceEnd = 'unmounted' | 'aborted' | 'stopped';

export interface FuseDevice {
  /** Reads requests until the filesystem is unmounted. */
  run(sink: RequestSink): Promise<DeviceEnd>;
  /** Hands over what the kernel has queued now, without waiting; copies are passed, so the sink may keep every buffer. */
  drainCopies(sink: (buffer: RequestBuffer, length: number, channel: number) => void): void;
  recycle(buffer: RequestBuffer): void;
  /**
   * Writes one whole reply, synchronously. An answer that nobody waits for any more is dropped silently; any other failure is returned as
   * errno (the caller may then answer with an error instead).
   */
  reply(channel: number, reply: Buffer, length: number): number;
  /** The same for a reply in two pieces: the first `headLength` bytes of `head`, then `data`. */
  replyData(channel: number, head: Buffer, headLength: number, data: Uint8Array): number;
  /** Sends a notification from the thread pool, because the kernel may make it wait for answers that this thread must give. Resolves with 0 or an errno. */
  notify(message: Uint8Array): Promise<number>;
  /** Sends a notification at once; only for those that never wait (RESEND). */
  notifyNow(message: Uint8Array): number;
}
