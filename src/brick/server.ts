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
import { join } from './relay.js';

/** Connections that have not proved themselves yet. When one more comes, the oldest goes: an honest caller needs milliseconds. */
const STRANGERS_MAX = 256;
const CONNECTIONS_MAX = 4096;
/** Of clients at one address: a machine with as many mounts does not exist, one that keeps others out might. */
const CONNECTIONS_PER_ADDRESS_MAX = 256;
/** Refused connections are told of once in so long. */
const REFUSALS_TOLD_MS = 1_000;
/** Data of writes of one client that were not answered yet; our own clients keep to a quarter of it. */
const CLIENT_BYTES_MAX = 256 << 20;
/** Requests of one client that were not answered yet, waiting locks among them. */
const CLIENT_REQUESTS_MAX = 65_536;

export interface BrickServerOptions {
  brick: BrickId;
  /** The whole set; it changes when a brick is replaced. */
  bricks(): readonly BrickId[];
  volume: string;
  /** 64 hex digits; of clients. */
  secret: string;
  /** Of sibling bricks; the same as `secret` when absent. */
  brickSecret?: string | undefined;
  clock: Clock;
  random: Random;
  log: Log;
  view(): View;
  replica(): Replica | undefined;
  /** A connection to a sibling brick, for a client that cannot reach it: nothing was said on it yet. Rejects with LostError. */
  connect?(brick: BrickId): Promise<Channel<Message>>;
  /** False for a client address that the volume's options refuse. */
  admits(remote: string): boolean;
}

export class BrickServer {
  readonly #options: BrickServerOptions;
  readonly #channels = new Set<Channel<Message>>();
  /** Oldest first. */
  readonly #strangers = new Set<Channel<Message>>();
  /** Clients by address. */
  readonly #connections = new Map<string, number>();
  #refusals = 0;
  #refusalsTold = -REFUSALS_TOLD_MS;

  constructor(options: BrickServerOptions) {
    this.#options = options;
  }

  /** Takes a new connection; closes it when it cannot prove that it belongs to the volume. */
  accept(channel: Channel<Message>): void {
    if (this.#channels.size >= CONNECTIONS_MAX) {
      channel.close('too many connections');
      return;
    }
    if (this.#strangers.size >= STRANGERS_MAX) {
      const [oldest] = this.#strangers;
      oldest?.close('too many connections that prove nothing');
    }
    this.#strangers.add(channel);
    const { brick, volume, secret, brickSecret, view } = this.#options;
    answerHandshake(
      this.#options,
      channel,
      { brick, volume, secret, brickSecret, view, refuse: (caller) => this.#refusal(channel, caller) },
      (caller) => {
        this.#strangers.delete(channel);
        this.#admit(channel, caller);
      },
      (reason) => {
        this.#strangers.delete(channel);
        this.#tell(channel.remote, reason);
      },
    );
  }

  /** A flood of connections is not a flood of lines. */
  #tell(remote: string, reason: string): void {
    const { clock, log } = this.#options;
    this.#refusals++;
    if (clock.now() - this.#refusalsTold < REFUSALS_TOLD_MS) return;
    log.warn('connections were refused', { remote, reason, count: this.#refusals });
    this.#refusals = 0;
    this.#refusalsTold = clock.now();
  }

  #count(channel: Channel<Message>, change: number): void {
    const host = hostOf(channel);
    const count = (this.#connections.get(host) ?? 0) + change;
    if (count === 0) this.#connections.delete(host);
    else this.#connections.set(host, count);
  }

  close(reason: string): void {
    for (const channel of [...this.#strangers, ...this.#channels]) channel.close(reason);
  }

  #refusal(channel: Channel<Message>, caller: Caller): { errno: number; reason: string } | undefined {
    if (this.#options.replica() === undefined) return { errno: Errno.EAGAIN, reason: 'the brick does not serve yet' };
    if (caller.role === 'brick' && !this.#options.bricks().includes(caller.id)) return { errno: Errno.EACCES, reason: 'not a brick of this volume' };
    if (caller.role === 'client' && !this.#options.admits(channel.remote)) return { errno: Errno.EACCES, reason: 'the volume does not admit this address (auth.allow, auth.reject)' };
    if (caller.role === 'client' && (this.#connections.get(hostOf(channel)) ?? 0) >= CONNECTIONS_PER_ADDRESS_MAX)
      return { errno: Errno.EAGAIN, reason: `${CONNECTIONS_PER_ADDRESS_MAX} clients of this address are connected` };
    return undefined;
  }

  #admit(channel: Channel<Message>, caller: Caller): void {
    const replica = this.#options.replica() as Replica;
    this.#channels.add(channel);
    if (caller.role === 'brick') replica.attachPeer(caller.id, channel);
    else {
      this.#count(channel, 1);
      replica.attachClient(caller.id, channel);
      meter(channel);
    }
    const { onClose } = channel;
    channel.onClose = (reason) => {
      this.#channels.delete(channel);
      if (caller.role === 'client') this.#count(channel, -1);
      onClose(reason);
    };
    if (caller.role !== 'client') return;
    const { onMessage } = channel;
    channel.onMessage = (message) => {
      if (message.kind === 'relay') this.#relay(channel, message.brick);
      else onMessage(message);
    };
  }

  /** It is no client of this brick, but counts as one for the limits. */
  #relay(channel: Channel<Message>, brick: BrickId): void {
    const { connect, bricks, brick: own } = this.#options;
    channel.onClose('it wants another brick');
    this.#channels.add(channel);
    this.#count(channel, 1);
    let over = false;
    const ended = (): void => {
      over = true;
      this.#channels.delete(channel);
      this.#count(channel, -1);
    };
    channel.onMessage = () => channel.close('it spoke before it was connected');
    channel.onClose = ended;
    if (connect === undefined || brick === own || !bricks().includes(brick)) {
      channel.close('no brick to pass on to');
      return;
    }
    connect(brick).then(
      (far) => (over ? far.close('not needed any more') : join(channel, far, ended)),
      (error: unknown) => channel.close(String(error)),
    );
  }
}

function hostOf(channel: Channel<Message>): string {
  return channel.remote.replace(/:\d+$/, '');
}

/** Closes the connection of a client that asks for more at once than its share of memory. */
function meter(channel: Channel<Message>): void {
  const { onMessage } = channel;
  const send = channel.send.bind(channel);
  /** What a request is counted as, by its id: a mutation by its number, as often as it is asked for again; a read by itself. */
  const asked = new Map<number, number>();
  /** Bytes of data by the number of the mutation. */
  const mutations = new Map<number, number>();
  let bytes = 0;
  let reads = 0;
  channel.onMessage = (message) => {
    if (message.kind === 'request') {
      const number = message.requestNumber;
      if (number === 0) reads++;
      else if (!mutations.has(number)) {
        const size = message.op === 'write' ? message.args.data.byteLength : message.op === 'setxattr' ? message.args.value.byteLength : 0;
        mutations.set(number, size);
        bytes += size;
      }
      asked.set(message.id, number);
      if (bytes > CLIENT_BYTES_MAX || asked.size > CLIENT_REQUESTS_MAX || mutations.size > CLIENT_REQUESTS_MAX || reads > CLIENT_REQUESTS_MAX) {
        channel.close('too many requests at once');
        return;
      }
    }
    onMessage(message);
  };
  channel.send = (message) => {
    if (message.kind === 'reply' || message.kind === 'redirect') {
      const number = asked.get(message.id);
      asked.delete(message.id);
      if (number === 0) reads = Math.max(0, reads - 1);
      else if (number !== undefined) {
        bytes -= mutations.get(number) ?? 0;
        mutations.delete(number);
      }
    }
    send(message);
  };
}
