/**
 * `Network<Message>` in one process and in virtual time: every message is encoded and decoded as on a wire, and a payload is overwritten after
 * its delivery, as a receive buffer is. Connections can be cut, and messages dropped, by the test.
 */
import { Errno, LostError } from '../../src/base/errno.js';
import { OWN_PAYLOAD_BYTES, type Address, type Channel, type Network } from '../../src/env/channel.js';
import type { Clock } from '../../src/env/clock.js';
import { decodeFrame, encodeFrame } from '../../src/wire/codec.js';
import type { Message } from '../../src/wire/messages.js';
import type { World } from '../sim/world.js';

const DELAY_MS = 0.1;

/** A clock of that world whose owner never stops. */
export function clockOf(world: World): Clock {
  return world.clock(() => true, { name: 'test', stopped: false });
}


function keyOf(address: Address): string {
  return 'path' in address ? address.path : `${address.host}:${address.port}`;
}

export class MemoryChannel implements Channel<Message> {
  closed = false;
  readonly queuedBytes = 0;
  onMessage: (message: Message) => void = () => undefined;
  onClose: (reason: string) => void = () => undefined;
  other!: MemoryChannel;
  /** Messages for which it says true are lost on their way, and everything after them: the connection is cut. */
  loses: (message: Message) => boolean = () => false;

  constructor(
    readonly remote: string,
    readonly world: World,
  ) {}

  send(message: Message): void {
    if (this.closed) return;
    if (this.loses(message)) {
      this.cut();
      return;
    }
    const frame = encodeFrame(message);
    const { other } = this;
    this.world.at(DELAY_MS, () => {
      if (other.closed) return;
      other.onMessage(decodeFrame(frame));
      if (frame.length < OWN_PAYLOAD_BYTES) frame.fill(0xee);
    });
  }

  close(reason: string): void {
    if (this.closed) return;
    this.closed = true;
    this.onClose(reason);
    this.world.at(DELAY_MS, () => this.other.close('closed by the other end'));
  }

  /** Both ends lose the connection now. */
  cut(): void {
    const { other } = this;
    this.world.at(0, () => {
      this.close('cut');
      other.close('cut');
    });
  }
}

export class MemoryNetwork implements Network<Message> {
  readonly #world: World;
  readonly #listeners = new Map<string, (channel: Channel<Message>) => void>();
  /** Addresses in the order in which they were dialled. */
  readonly dialled: string[] = [];
  #nextPort = 50_000;

  constructor(world: World) {
    this.#world = world;
  }

  connect(address: Address, timeoutMs: number): Promise<Channel<Message>> {
    const key = keyOf(address);
    this.dialled.push(key);
    return new Promise((resolve, reject) => {
      this.#world.at(DELAY_MS, () => {
        const accept = this.#listeners.get(key);
        if (accept === undefined) {
          reject(new LostError(`no connection to ${key} within ${timeoutMs} ms`, Errno.ECONNREFUSED));
          return;
        }
        const caller = new MemoryChannel(key, this.#world);
        const callee = new MemoryChannel('caller', this.#world);
        caller.other = callee;
        callee.other = caller;
        accept(callee);
        resolve(caller);
      });
    });
  }

  listen(
    address: Address,
    accept: (channel: Channel<Message>) => void,
  ): Promise<{ address: Address; close(): Promise<void> }> {
    const bound = 'path' in address || address.port !== 0 ? address : { host: address.host, port: this.#nextPort++ };
    this.#listeners.set(keyOf(bound), accept);
    return Promise.resolve({
      address: bound,
      close: () => {
        this.#listeners.delete(keyOf(bound));
        return Promise.resolve();
      },
    });
  }
}
