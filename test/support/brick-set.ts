/**
 * Three real bricks (directories, sockets, replicas) in this process, with an authority over views in memory instead of gluond: for tests of the client and
 * of replication that need no management.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BrickServer } from '../../src/brick/server.js';
import { initialiseBrick, openBrick, type OpenBrick } from '../../src/brick/store/identity.js';
import type { DirectoryStore } from '../../src/brick/store/store.js';
import { VolumeClient, type ClientOptions } from '../../src/client/client.js';
import type { Channel, Network } from '../../src/env/channel.js';
import { silentLog, type Log } from '../../src/env/log.js';
import { EMPTY_VIEW, type BrickId, type View } from '../../src/fops/view.js';
import type { VolumeSpec } from '../../src/fops/volume.js';
import { RealClock, RealRandom } from '../../src/platform/clock.js';
import { LibcDisk } from '../../src/platform/libc.js';
import { TcpNetwork } from '../../src/platform/tcp.js';
import { Replica } from '../../src/replica/replica.js';
import { nextView, type ViewChange } from '../../src/replica/view.js';
import { dialBrick } from '../../src/wire/dial.js';
import type { Message } from '../../src/wire/messages.js';

export const VOLUME = 'feedfacefeedfacefeedfacefeedface';
const LEASE_MS = 5000;
const PING_TIMEOUT_MS = 10_000;
const FLUSH_MS = 500;
const FLUSH_TIMES_MAX = 2000;

interface Running {
  open: OpenBrick;
  replica: Replica;
  server: BrickServer;
  listeners: { close(): Promise<void> }[];
}

export class BrickSet {
  readonly directory: string;
  readonly spec: VolumeSpec;
  readonly log: Log;
  readonly #clock = new RealClock();
  readonly #random = new RealRandom();
  readonly #network: Network<Message>;
  readonly #running = new Map<BrickId, Running>();
  readonly #clients = new Set<VolumeClient>();
  readonly #lease: NodeJS.Timeout;
  readonly #flush: NodeJS.Timeout;
  view: View = EMPTY_VIEW;
  /** Silence after which a session loses what it has; orphans stay for a little longer after every change of the primary. */
  pingTimeoutMs = PING_TIMEOUT_MS;
  /** Bricks that start from now on keep checksums. */
  sums = false;

  private constructor(count: number, log: Log, directory: string, network: Network<Message>) {
    this.#network = network;
    this.log = log;
    this.directory = directory;
    const bricks = Array.from({ length: count }, (_, i) => {
      const path = join(directory, `brick${i}`);
      return { id: `${i + 1}`.padStart(32, '0'), node: `node${i}`, host: '127.0.0.1', path, port: 0, socket: join(directory, `s${i}`) };
    });
    this.spec = { id: VOLUME, name: 'test', secret: '5e'.repeat(32), started: true, bricks, options: {} };
    this.#lease = setInterval(() => {
      for (const { replica } of this.#running.values()) replica.renewLease(LEASE_MS);
    }, 500);
    this.#flush = setInterval(() => {
      for (const { open } of this.#running.values()) open.store.flushTimes(FLUSH_TIMES_MAX);
    }, FLUSH_MS);
  }

  static async start(count = 3, log: Log = silentLog, directory = mkdtempSync(join(tmpdir(), 'gluon-set-')), network: Network<Message> = new TcpNetwork()): Promise<BrickSet> {
    const set = new BrickSet(count, log, directory, network);
    for (const brick of set.spec.bricks) {
      mkdirSync(brick.path, { recursive: true });
      initialiseBrick(new LibcDisk(), brick.path, { volumeId: VOLUME, brickId: brick.id, bootId: '' });
      await set.startBrick(brick.id);
    }
    set.#apply({ kind: 'form' });
    return set;
  }

  async startBrick(id: BrickId): Promise<void> {
    const brick = this.#spec(id);
    const bricks = this.spec.bricks.map((spec) => spec.id);
    const open = openBrick(new LibcDisk(), brick.path, VOLUME, id);
    if (this.sums) open.store.keepSums({ found: () => undefined, lost: () => undefined });
    const { secret } = this.spec;
    const server = new BrickServer({
      brick: id, bricks: () => bricks, volume: VOLUME, secret, clock: this.#clock, random: this.#random, log: this.log,
      view: () => this.view, replica: () => this.#running.get(id)?.replica, admits: () => true,
    });
    const tcp = await this.#network.listen({ host: '127.0.0.1', port: 0 }, (channel) => server.accept(channel));
    brick.port = (tcp.address as { port: number }).port;
    const local = await this.#network.listen({ path: brick.socket as string }, (channel) => server.accept(channel));
    const replica = new Replica({
      brick: id, bricks, store: open.store, journalDisk: open.journal, bootId: 'boot', clock: this.#clock, random: this.#random, log: this.log,
      authority: { change: (epoch, change) => this.#change(epoch, change) },
      dial: (sibling) => this.#dial(id, sibling),
      pingTimeoutMs: () => this.pingTimeoutMs,
      giveBack: () => undefined,
      copyOf: (data) => Buffer.from(data),
    });
    replica.renewLease(LEASE_MS);
    this.#running.set(id, { open, replica, server, listeners: [tcp, local] });
    if (this.view.epoch > 0) {
      replica.setView(this.view);
      this.#tellClients();
    }
  }

  /** Ends the brick as abruptly as one process allows: connections break, nothing is synced. */
  async stopBrick(id: BrickId): Promise<void> {
    const running = this.#running.get(id);
    if (running === undefined) return;
    this.#running.delete(id);
    running.replica.stop();
    running.server.close('killed');
    await Promise.all(running.listeners.map((listener) => listener.close()));
    running.open.close();
    if (this.view.primary === id) {
      const successor = this.view.inSync.find((other) => other !== id && this.#running.has(other));
      if (successor !== undefined) this.#apply({ kind: 'succeed', successor });
    } else if (this.view.inSync.includes(id)) this.#apply({ kind: 'drop', brick: id });
    else if (this.view.catchingUp.includes(id)) this.#apply({ kind: 'abandon', brick: id });
  }

  /** The brick's disk is replaced by an empty one. */
  emptyBrick(id: BrickId): void {
    const { path } = this.#spec(id);
    rmSync(path, { recursive: true, force: true });
    mkdirSync(path);
    initialiseBrick(new LibcDisk(), path, { volumeId: VOLUME, brickId: id, bootId: '', incomplete: true });
  }

  client(options: ClientOptions = {}): VolumeClient {
    const client = new VolumeClient({ clock: this.#clock, random: this.#random, network: this.#network, log: this.log }, options);
    this.#clients.add(client);
    client.update(this.spec, this.view);
    return client;
  }

  forget(client: VolumeClient): void {
    client.close();
    this.#clients.delete(client);
  }

  /** A connection to the brick that does not come over its sockets. */
  accept(id: BrickId, channel: Channel<Message>): void {
    this.#running.get(id)?.server.accept(channel);
  }

  /** Writes the times that wait in memory. */
  flushTimes(): void {
    for (const { open } of this.#running.values()) open.store.flushTimes(Number.MAX_SAFE_INTEGER);
  }

  store(id: BrickId): DirectoryStore | undefined {
    return this.#running.get(id)?.open.store;
  }

  replica(id: BrickId): Replica | undefined {
    return this.#running.get(id)?.replica;
  }

  async close(): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Ends everything and leaves the directory. */
  async stop(): Promise<void> {
    clearInterval(this.#lease);
    clearInterval(this.#flush);
    for (const client of this.#clients) client.close();
    for (const { replica, server, listeners, open } of this.#running.values()) {
      replica.stop();
      server.close('the test ends');
      await Promise.all(listeners.map((listener) => listener.close()));
      open.close();
    }
  }

  #spec(id: BrickId) {
    const brick = this.spec.bricks.find((spec) => spec.id === id);
    if (brick === undefined) throw new Error(`no brick ${id}`);
    return brick;
  }

  async #dial(from: BrickId, to: BrickId): Promise<Channel<Message>> {
    const env = { network: this.#network, clock: this.#clock, random: this.#random };
    const { secret } = this.spec;
    return await dialBrick(env, { host: '127.0.0.1', port: this.#spec(to).port }, 1000, { role: 'brick', id: from, brick: to, volume: VOLUME, secret });
  }

  async #change(epoch: number, change: ViewChange): Promise<View> {
    if (epoch === this.view.epoch) this.#apply(change);
    return await Promise.resolve(this.view);
  }

  #apply(change: ViewChange): void {
    const answer = nextView(this.view, this.spec.bricks.map((spec) => spec.id), change);
    if ('refused' in answer) return;
    this.view = answer.view;
    for (const { replica } of this.#running.values()) replica.setView(this.view);
    this.#tellClients();
  }

  #tellClients(): void {
    for (const client of this.#clients) client.update(this.spec, this.view);
  }
}
