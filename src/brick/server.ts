/**
 * What a brick does with connections: the handshake, then the channel goes to the replica by its role. One connection cannot take more than its share.
 */
import type { Channel } from '../env/channel.js';
import type { Clock, Random } from '../env/clock.js';
import type { Log } from '../env/log.js';
import type { BrickId, View } from '../fops/view.js';
import { acceptHandshake } from '../wire/handshake.js';
import type { Message } from '../wire/messages.js';
import type { Replica } from '../replica/replica.js';

const HANDSHAKE_MS = 5000;
/** Connections that have not proved themselves yet. */
const STRANGERS_MAX = 256;
const CONNECTIONS_MAX = 4096;

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
    const { brick, volume, secret, clock, random, view, log } = this.#options;
    acceptHandshake(channel, { brick, volume, secret, view, random, clock, timeoutMs: HANDSHAKE_MS }).then(
      ({ role, id }) => {
        this.#strangers--;
        this.#admit(channel, role, id);
      },
      (error: unknown) => {
        this.#strangers--;
        log.warn('a connection was refused', { remote: channel.remote, error: String(error) });
        channel.close('handshake failed');
      },
    );
  }

  close(reason: string): void {
    for (const channel of this.#channels) channel.close(reason);
  }

  #admit(channel: Channel<Message>, role: 'client' | 'brick', id: string): void {
    const replica = this.#options.replica();
    if (channel.closed || replica === undefined) {
      channel.close('the brick does not serve');
      return;
    }
    if (role === 'client' && !this.#options.admits(channel.remote)) {
      this.#options.log.warn('a client was refused by auth.allow or auth.reject', { remote: channel.remote });
      channel.send({ kind: 'refused', errno: 13, reason: 'the volume does not admit this address (auth.allow, auth.reject)' });
      channel.close('not admitted');
      return;
    }
    this.#channels.add(channel);
    if (role === 'brick') replica.attachPeer(id, channel);
    else replica.attachClient(id, channel);
    const { onClose } = channel;
    channel.onClose = (reason) => {
      this.#channels.delete(channel);
      onClose(reason);
    };
  }
}
