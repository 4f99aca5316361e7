/** A connection in one process, bytes on one side: what is delivered is decoded as a socket's bytes are, what is sent must be encodable. */
import { ProtocolError } from '../../src/base/protocol-error.js';
import type { Channel } from '../../src/env/channel.js';
import { decodeFrame, encodeFrame, FRAME_BYTES_MAX } from '../../src/wire/codec.js';
import type { Message } from '../../src/wire/messages.js';

/** As for a connection over TCP whose other end has not proved who it is. */
const STRANGER_FRAME_BYTES_MAX = 4096;

export class PipeChannel implements Channel<Message> {
  readonly remote = '192.0.2.1:1';
  readonly queuedBytes = 0;
  closed = false;
  reason = '';
  other: PipeChannel | undefined;
  onMessage: (message: Message) => void = () => undefined;
  onClose: (reason: string) => void = () => undefined;
  #frameBytesMax = STRANGER_FRAME_BYTES_MAX;
  readonly #sent: (message: Message, frame: Buffer) => void;

  /** `sent` gets what the owner of the channel sends. */
  constructor(sent: (message: Message, frame: Buffer) => void) {
    this.#sent = sent;
  }

  trust(): void {
    this.#frameBytesMax = FRAME_BYTES_MAX;
  }

  send(message: Message): void {
    if (!this.closed) this.#sent(message, encodeFrame(message));
  }

  /** Bytes that no encoder wrote, to the other end. */
  raw(frame: Buffer): void {
    if (!this.closed) this.#sent(undefined as never, frame);
  }

  close(reason: string): void {
    if (this.closed) return;
    this.closed = true;
    this.reason = reason;
    this.onClose(reason);
    this.other?.close('closed by the other end');
  }

  /** One frame arrives. False when it is not one: the connection is closed then. */
  deliver(frame: Buffer): boolean {
    if (this.closed) return false;
    try {
      this.onMessage(decodeFrame(frame, this.#frameBytesMax));
      return true;
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.close(`protocol error: ${error.message}`);
      return false;
    }
  }
}

/** Two ends for a handshake in one turn: what `far` sends goes to `near` until the welcome, then to `onMessage`. */
export function answersOf(onMessage: (message: Message) => void): { near: PipeChannel; far: PipeChannel } {
  let welcomed = false;
  const near: PipeChannel = new PipeChannel((_, frame) => void far.deliver(frame));
  const far: PipeChannel = new PipeChannel((message, frame) => {
    if (welcomed) return onMessage(message);
    welcomed = message.kind === 'welcome';
    near.deliver(frame);
  });
  near.trust();
  return { near, far };
}

/** Both ends of a connection between two that trust each other; what one closes is closed for the other. */
export function pair(): { near: PipeChannel; far: PipeChannel } {
  const near: PipeChannel = new PipeChannel((_, frame) => queueMicrotask(() => far.deliver(frame)));
  const far: PipeChannel = new PipeChannel((_, frame) => queueMicrotask(() => near.deliver(frame)));
  near.other = far;
  far.other = near;
  near.trust();
  far.trust();
  return { near, far };
}
