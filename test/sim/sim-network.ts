/**
 * The network between simulated processes: connections that deliver in order, each with its own latency, until they are reset. Nothing gets past a cut; what is
 * sent to a process that is stopped waits for it. Every message counts as an instant at which a process can be made to crash.
 */
import { LostError } from '../../src/base/errno.js';
import type { Address, Channel, Network } from '../../src/env/channel.js';
import type { Message } from '../../src/wire/messages.js';
import { decodeFrame, encodeFrame } from '../../src/wire/codec.js';
import type { Party, World } from './world.js';

const CUT_CHECK_MS = 10;
/** A connection that gets nothing through for so long is reset, as TCP_USER_TIMEOUT does. */
const RESET_MS = 6000;
const REPLAY_MS_MAX = 200;

/** A process that has connections. */
export interface Host extends Party {
  readonly alive: boolean;
  /** Counts starts: what belongs to an earlier one finds nobody. */
  readonly incarnation: number;
  /** A message was sent by it, or is about to be handled by it: it may crash now. */
  onTraffic(): void;
}

type Item = { at: number; message: Message } | { at: number; end: string };

export class SimNetwork {
  readonly world: World;
  /** Directions in which nothing gets through, as `from>to`; `*` for any. */
  readonly cuts = new Set<string>();
  /** Directions in which no message of more than so many bytes gets through, nor any that was sent after it on that connection, as `from>to`. */
  readonly blackHoles = new Map<string, number>();
  /** More latency in a direction, `from>to`. */
  readonly slow = new Map<string, number>();
  /** Every message is encoded and decoded, and the memory it came in used again. */
  encodes = false;
  /** Share of the requests of clients that arrive twice. */
  replays = 0;
  replayed = 0;
  /** Told of every message that is delivered. */
  onDelivery: ((from: string, to: string, message: Message) => void) | undefined;
  readonly channels = new Set<SimChannel>();
  readonly #listeners = new Map<string, { host: Host; incarnation: number; accept: (channel: Channel<Message>) => void }>();

  constructor(world: World) {
    this.world = world;
  }

  isCut(from: string, to: string): boolean {
    return this.cuts.size > 0 && (this.cuts.has(`${from}>${to}`) || this.cuts.has(`${from}>*`) || this.cuts.has(`*>${to}`));
  }

  /** On a path that takes smaller packets than both ends believe, large messages vanish. */
  swallows(from: string, to: string, message: Message): boolean {
    const bytesMax = this.blackHoles.get(`${from}>${to}`);
    return bytesMax !== undefined && encodeFrame(message).length > bytesMax;
  }

  /** The network as a process sees it, for as long as it lives. */
  of(host: Host): Network<Message> {
    const { incarnation } = host;
    const alive = (): boolean => host.alive && host.incarnation === incarnation;
    return {
      connect: (address, timeoutMs) => this.#connect(host, alive, nameOf(address), timeoutMs),
      listen: (address, accept) => {
        this.#listeners.set(nameOf(address), { host, incarnation, accept });
        return Promise.resolve({ address, close: () => Promise.resolve() });
      },
    };
  }

  #connect(caller: Host, alive: () => boolean, to: string, timeoutMs: number): Promise<Channel<Message>> {
    return new Promise((resolve, reject) => {
      this.world.at(0.1 + this.world.random.below(100) / 500, () => {
        if (!alive()) return;
        if (this.isCut(caller.name, to) || this.isCut(to, caller.name)) {
          this.world.at(timeoutMs, () => alive() && reject(new LostError(`no connection to ${to} within ${timeoutMs} ms`)));
          return;
        }
        const listener = this.#listeners.get(to);
        if (listener === undefined || !listener.host.alive || listener.host.incarnation !== listener.incarnation) {
          reject(new LostError(`${to}: connection refused`));
          return;
        }
        const near = new SimChannel(this, caller, listener.host);
        const far = new SimChannel(this, listener.host, caller);
        near.other = far;
        far.other = near;
        // The kernel takes connections for a process that is stopped.
        const accept = (): void => {
          if (far.closed) return;
          if (listener.host.stopped) this.world.at(CUT_CHECK_MS, accept);
          else this.world.as(listener.host, () => listener.accept(far));
        };
        accept();
        resolve(near);
      });
    });
  }

  /** The process is gone: its connections end without its hearing of it. `power`: what it had sent may be lost on the way. */
  drop(host: Host, power: boolean): void {
    for (const channel of [...this.channels]) if (channel.owner === host) channel.vanish(power && this.world.random.chance(0.5));
  }
}

function nameOf(address: Address): string {
  return 'path' in address ? address.path : address.host;
}

export class SimChannel implements Channel<Message> {
  readonly remote: string;
  closed = false;
  readonly queuedBytes = 0;
  onMessage: (message: Message) => void = () => undefined;
  onClose: (reason: string) => void = () => undefined;
  other!: SimChannel;
  readonly owner: Host;
  readonly #incarnation: number;
  readonly #network: SimNetwork;
  readonly #world: World;
  readonly #path: string;
  #queue: Item[] = [];
  #armed = false;
  #waitingSince = 0;

  constructor(network: SimNetwork, owner: Host, remote: Party) {
    this.#network = network;
    this.#world = network.world;
    this.owner = owner;
    this.#incarnation = owner.incarnation;
    this.remote = remote.name;
    this.#path = `${owner.name}>${remote.name}`;
    network.channels.add(this);
  }

  send(message: Message): void {
    if (this.closed) return;
    this.#enqueue({ at: this.#world.now + this.#delayMs(), message: this.#network.encodes ? decodeFrame(encodeFrame(message)) : message });
    this.owner.onTraffic();
  }

  close(reason: string): void {
    if (this.closed) return;
    this.#end();
    this.onClose(reason);
    this.#enqueue({ at: this.#world.now + this.#delayMs(), end: 'closed by the other end' });
  }

  /** The process at this end is gone: the other end hears of it, this end hears nothing. */
  vanish(loses: boolean): void {
    this.#end();
    if (loses) this.#queue = [];
    this.onClose = () => undefined;
    this.onMessage = () => undefined;
    this.#enqueue({ at: this.#world.now + this.#delayMs(), end: 'connection reset' });
  }

  /** Both ends lose the connection, and what is on its way. */
  reset(): void {
    for (const end of [this, this.other]) {
      end.#queue = [];
      this.#world.as(end.owner, () => end.close('connection reset'));
    }
  }

  #end(): void {
    this.closed = true;
    this.#network.channels.delete(this);
  }

  #delayMs(): number {
    return 0.02 + this.#world.random.below(100) / 500 + (this.#network.slow.size === 0 ? 0 : (this.#network.slow.get(this.#path) ?? 0));
  }

  #enqueue(item: Item): void {
    this.#queue.push(item);
    if (this.#queue.length === 1) this.#arm(item.at - this.#world.now);
  }

  #arm(delayMs: number): void {
    if (this.#armed) return;
    this.#armed = true;
    this.#world.at(delayMs, () => {
      this.#armed = false;
      this.#pump();
    });
  }

  /** Delivers in order what is due; nothing gets past a cut, nothing is handled by a process that is stopped. */
  #pump(): void {
    const { other } = this;
    while (this.#queue.length > 0) {
      const item = this.#queue[0] as Item;
      if (item.at > this.#world.now) return this.#arm(item.at - this.#world.now);
      if (this.#network.isCut(this.owner.name, other.owner.name) || other.owner.stopped || this.#isSwallowed(item)) {
        if (this.#waitingSince === 0) this.#waitingSince = this.#world.now;
        if (!other.owner.stopped && this.#world.now - this.#waitingSince > RESET_MS) return this.#nothingGotThrough();
        return this.#arm(CUT_CHECK_MS);
      }
      this.#waitingSince = 0;
      this.#queue.shift();
      if (other.closed) continue;
      if ('end' in item) this.#world.as(other.owner, () => other.close(item.end));
      else other.#deliver(item.message);
    }
  }

  #isSwallowed(item: Item): boolean {
    return 'message' in item && this.#network.blackHoles.size > 0 && this.#network.swallows(this.owner.name, this.other.owner.name, item.message);
  }

  #deliver(message: Message): void {
    const { owner } = this;
    owner.onTraffic();
    if (this.closed || owner.incarnation !== this.#incarnation) return;
    this.#world.note(`${this.remote}>${owner.name} ${message.kind}`);
    this.#network.onDelivery?.(this.remote, owner.name, message);
    if (message.kind === 'request' && this.#network.replays > 0 && this.#world.random.chance(this.#network.replays)) this.#replay(message);
    this.#world.as(owner, () => this.onMessage(message));
  }

  /** The same message arrives once more, behind what was sent meanwhile. */
  #replay(message: Message): void {
    this.#network.replayed++;
    this.#world.at(this.#world.random.below(REPLAY_MS_MAX), () => {
      if (!this.closed && !this.owner.stopped) this.#world.as(this.owner, () => this.onMessage(message));
    });
  }

  #nothingGotThrough(): void {
    this.#queue = [];
    this.close('nothing got through');
  }
}
