/**
 * A connection between two bricks of a set, seen from the one who dialled it (the primary): calls with answers, and the stream of mutations.
 */
import { Errno, FsError, LostError } from '../base/errno.js';
import type { Cancel, Clock } from '../env/clock.js';
import { keepPayloads, type Channel } from '../env/channel.js';
import type { BrickId } from '../fops/view.js';
import type { Message, MessageOf } from '../wire/messages.js';
import type { PeerArgs, PeerOpName, PeerResult } from '../wire/peer-ops.js';

/** The other brick could not do what it was asked. */
export class PeerRefusedError extends FsError {
  readonly brick: BrickId;

  constructor(errno: number, op: string, brick: BrickId) {
    super(errno, op, `brick ${brick}`);
    this.brick = brick;
  }
}

interface Pending {
  op: PeerOpName;
  resolve(result: never): void;
  reject(error: Error): void;
  cancel: Cancel;
}

export class PeerLink {
  readonly brick: BrickId;
  readonly #channel: Channel<Message>;
  readonly #clock: Clock;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  /** Set by the owner. */
  onApplied: (message: MessageOf<'applied'>) => void = () => undefined;
  onClose: (reason: string) => void = () => undefined;

  constructor(brick: BrickId, channel: Channel<Message>, clock: Clock) {
    this.brick = brick;
    this.#channel = channel;
    this.#clock = clock;
    channel.onMessage = (message) => this.#receive(message);
    channel.onClose = (reason) => this.#closed(reason);
  }

  get closed(): boolean {
    return this.#channel.closed;
  }

  get queuedBytes(): number {
    return this.#channel.queuedBytes;
  }

  send(message: Message): void {
    this.#channel.send(message);
  }

  /** Rejects with PeerRefusedError (the brick's answer) or LostError (connection lost, no answer within `timeoutMs`; the link is closed then). */
  call<K extends PeerOpName>(epoch: number, op: K, args: PeerArgs<K>, timeoutMs: number): Promise<PeerResult<K>> {
    return new Promise<PeerResult<K>>((resolve, reject) => {
      if (this.#channel.closed) {
        reject(new LostError(`${op}: no connection to brick ${this.brick}`));
        return;
      }
      const id = this.#nextId++;
      const cancel = this.#clock.after(timeoutMs, () => this.close(`no answer to ${op} within ${timeoutMs} ms`));
      this.#pending.set(id, { op, resolve: resolve as (result: never) => void, reject, cancel });
      this.#channel.send({ kind: 'call', id, epoch, op, args } as Message);
    });
  }

  close(reason: string): void {
    this.#channel.close(reason);
  }

  #receive(message: Message): void {
    if (message.kind === 'applied') {
      this.onApplied(message);
      return;
    }
    if (message.kind !== 'answer') return;
    const pending = this.#pending.get(message.id);
    if (pending === undefined) return;
    this.#pending.delete(message.id);
    pending.cancel();
    if (message.errno !== 0) pending.reject(new PeerRefusedError(message.errno, pending.op, this.brick));
    // It is used after this call.
    else pending.resolve(keepPayloads(message.result as Record<string, unknown>) as never);
  }

  #closed(reason: string): void {
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const entry of pending) {
      entry.cancel();
      entry.reject(new LostError(`${entry.op}: connection to brick ${this.brick} lost: ${reason}`, Errno.ENOTCONN));
    }
    this.onClose(reason);
  }
}
