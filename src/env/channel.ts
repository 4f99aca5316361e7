/**
 * An ordered, reliable, message-preserving connection between two processes. Messages arrive in the order sent or not at all;
 * when the channel closes, what was not delivered is lost and the fate of what was sent is unknown.
 * `M` is the message type (the brick protocol's `Message`).
 */
export interface Channel<M> {
  /** For logs: the address of the other end. */
  readonly remote: string;
  readonly closed: boolean;
  /**
   * Queues a message. After `close` it does nothing. The channel may keep a reference to binary payloads until they are
   * written: the caller does not change them afterwards.
   */
  send(message: M): void;
  /** Bytes queued here and not yet taken by the operating system. */
  readonly queuedBytes: number;
  /**
   * Set before the first turn of the event loop after the channel was handed out. A payload is only valid during the call unless it is
   * copied (`keepPayload`).
   */
  onMessage: (message: M) => void;
  /** Called once, also when closed by this side (then during the call of `close`). */
  onClose: (reason: string) => void;
  /** Ends the connection; what was sent before still goes out if the other end takes it soon. */
  close(reason: string): void;
  /** The other end has proved who it is: until then a channel that was accepted takes small frames only. Absent where there is no such limit. */
  trust?(): void;
}

/** Payloads of at least this size come in a buffer of their own. */
export const OWN_PAYLOAD_BYTES = 65_536;

/** The payload of a received message in a form that stays valid after `onMessage`: copied unless it has a buffer of its own. */
export function keepPayload(payload: Uint8Array): Uint8Array {
  return payload.byteLength >= OWN_PAYLOAD_BYTES ? payload : new Uint8Array(payload);
}

/** A copy of what was received whose payloads stay valid after `onMessage`. */
export function keepPayloads(values: Record<string, unknown>): Record<string, unknown> {
  const own: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(values)) own[key] = value instanceof Uint8Array ? keepPayload(value) : value;
  return own;
}

/** `tcp` host and port, or a unix socket path on this machine. */
export type Address = { host: string; port: number } | { path: string };

export interface Network<M> {
  /** Rejects with LostError when no connection is made within `timeoutMs`. */
  connect(address: Address, timeoutMs: number): Promise<Channel<M>>;
  /** Accepts until closed. The returned address has the port that was chosen when 0 was asked for. */
  listen(address: Address, accept: (channel: Channel<M>) => void): Promise<{ address: Address; close(): Promise<void> }>;
}
