/**
 * What a brick does with connections: the handshake, then the channel goes to the replica by its role. One connection cannot take more than its share.
 */
import { Errno } from '../base/errno.js';
import type { Channel } from '../env/channel.js';
import type { Clock, Random } from '../env/clock.js';
import type { Log } from '../env/log.js';
import type { BrickId, View } from '../fops/view.js';
import { answerHandshake, type Caller } from '../wire/handshake.js';
import type { Message } from '../wire/messages.js';
import type { Replica } from '../replica/replica.js';

/** Connections that have not proved themselves yet. */
const STRANGERS_MAX = 256;
const CONNECTIONS_MAX = 4096;
/** Data of writes of one client that were not answered yet; our own clients keep to a quarter of it. */
const CLIENT_BYTES_MAX = 256 << 20;
/** Requests of one client that were not answered yet, waiting locks among them. */
const CLIENT_REQUESTS_MAX = 65_536;

export interface BrickServerOptions {
  brick: BrickId;
  bricks: readonly BrickId[];
  volume: string;
  /** 64 hex digits. */
  secret: string;
  clock: Clock;
  random: Random;
  log: Log;
  view(): View;
  replica(): Replica | undefined;
  /** False for a client address that the volume's options refuse. */
  admits(remote: string): boolean;
}

export class BrickServer {
  readonly #options: BrickServerOptions;
  readonly #channels = new Set<Channel<Message>>();
  #strangers = 0;

  constructor(options: BrickServerOptions) {
    this.#options = options;
  }

  /** Takes a new connection; closes it when it cannot prove that it belongs to the volume. */
  accept(channel: Channel<Message>): void {
    if (this.#strangers >= STRANGERS_MAX || this.#channels.size >= CONNECTIONS_MAX) {
      channel.close('too many connections');
      return;
    }
    this.#strangers++;
    const { brick, volume, secret, view, log } = this.#options;
    answerHandshake(
      this.#options,
      channel,
      { brick, volume, secret, view, refuse: (caller) => this.#refusal(channel, caller) },
      (caller) => {
        this.#strangers--;
        this.#admit(channel, caller);
      },
      (reason) => {
        this.#strangers--;
        log.warn('a connection was refused', { remote: channel.remote, reason });
      },
    );
  }

  close(reason: string): void {
    for (const channel of this.#channels) channel.close(reason);
  }

  #refusal(channel: Channel<Message>, caller: Caller): { errno: number; reason: string } | undefined {
    if (this.#options.replica() === undefined) return { errno: Errno.EAGAIN, reason: 'the brick does not serve yet' };
    if (caller.role === 'brick' && !this.#options.bricks.includes(caller.id)) return { errno: Errno.EACCES, reason: 'not a brick of this volume' };
    if (caller.role === 'client' && !this.#options.admits(channel.remote)) return { errno: Errno.EACCES, reason: 'the volume does not admit this address (auth.allow, auth.reject)' };
    return undefined;
  }

  #admit(channel: Channel<Message>, caller: Caller): void {
    const replica = this.#options.replica() as Replica;
    this.#channels.add(channel);
    if (caller.role === 'brick') replica.attachPeer(caller.id, channel);
    else {
      replica.attachClient(caller.id, channel);
      meter(channel);
    }
    const { onClose } = channel;
    channel.onClose = (reason) => {
      this.#channels.delete(channel);
      onClose(reason);
    };
  }
}

/** Closes the connection of a client that asks for more at once than its share of memory. */
function meter(channel: Channel<Message>): void {
  const { onMessage } = channel;
  const send = channel.send.bind(channel);
  /** Bytes of data by request. */
  const underWay = new Map<number, number>();
  let bytes = 0;
  channel.onMessage = (message) => {
    if (message.kind === 'request') {
      const size = message.op === 'write' ? message.args.data.byteLength : 0;
      bytes += size - (underWay.get(message.id) ?? 0);
      underWay.set(message.id, size);
      if (bytes > CLIENT_BYTES_MAX || underWay.size > CLIENT_REQUESTS_MAX) {
        channel.close('too many requests at once');
        return;
      }
    }
    onMessage(message);
  };
  channel.send = (message) => {
    if (message.kind === 'reply' || message.kind === 'redirect') {
      bytes -= underWay.get(message.id) ?? 0;
      underWay.delete(message.id);
    }
    send(message);
  };
}
