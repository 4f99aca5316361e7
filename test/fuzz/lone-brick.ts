/** One real brick (directory, replica, server) whose siblings are whoever throws the inputs: no gluond, no sockets. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { BrickServer } from '../../src/brick/server.js';
import { initialiseBrick, openBrick, type OpenBrick } from '../../src/brick/store/identity.js';
import { LostError } from '../../src/base/errno.js';
import { silentLog } from '../../src/env/log.js';
import type { View } from '../../src/fops/view.js';
import { RealClock, RealRandom } from '../../src/platform/clock.js';
import { LibcDisk } from '../../src/platform/libc.js';
import { Replica } from '../../src/replica/replica.js';
import { BrickSet, VOLUME } from '../support/brick-set.js';
import { answersOf, type PipeChannel } from './pipe-channel.js';
import { callHandshake, type Role } from '../../src/wire/handshake.js';
import type { Message } from '../../src/wire/messages.js';

export const SECRET = '5e'.repeat(32);
export const SELF = '2'.padStart(32, '0');
export const SIBLING = '1'.padStart(32, '0');
export const THIRD = '3'.padStart(32, '0');

/** What inputs are thrown at: one brick, or a set behind its primary. */
export interface Target {
  readonly epoch: number;
  /** The target's end of a connection of somebody who knows the secret; `onMessage` gets what the target says after the welcome. */
  connect(role: Role, id: string, onMessage: (message: Message) => void): PipeChannel;
  /** What is wrong with it. */
  problem(): string | undefined;
  /** What waits in memory goes to the disk. */
  flush(): void;
  close(): Promise<void>;
}

export function connectTo(accept: (channel: PipeChannel) => void, role: Role, id: string, brick: string, onMessage: (message: Message) => void): PipeChannel {
  const options = { role, id, brick, volume: VOLUME, secret: SECRET };
  let failure: Error | undefined;
  const { near, far } = answersOf(onMessage);
  accept(far);
  callHandshake({ clock: new RealClock(), random: new RealRandom() }, near, options, () => undefined, (error) => (failure = error));
  if (failure !== undefined) throw failure;
  return far;
}

/** Three bricks in this process that replicate over sockets; clients come to the primary. */
export class SetTarget implements Target {
  readonly #set: BrickSet;

  private constructor(set: BrickSet) {
    this.#set = set;
  }

  static async start(directory: string): Promise<SetTarget> {
    return new SetTarget(await BrickSet.start(3, undefined, directory));
  }

  get epoch(): number {
    return this.#set.view.epoch;
  }

  problem(): string | undefined {
    const { view } = this.#set;
    return view.inSync.length === 3 ? undefined : `a brick lost its place: ${JSON.stringify(view)}`;
  }

  flush(): void {
    this.#set.flushTimes();
  }

  connect(role: Role, id: string, onMessage: (message: Message) => void): PipeChannel {
    const { primary } = this.#set.view;
    return connectTo((channel) => this.#set.accept(primary, channel), role, id, primary, onMessage);
  }

  async close(): Promise<void> {
    await this.#set.stop();
  }
}

export class LoneBrick implements Target {
  readonly open: OpenBrick;
  readonly replica: Replica;
  readonly server: BrickServer;
  readonly #env = { clock: new RealClock(), random: new RealRandom() };
  readonly #lease: NodeJS.Timeout;

  /** As primary it is the whole set; as member it follows SIBLING. */
  constructor(path: string, view: View) {
    const disk = new LibcDisk();
    if (!existsSync(join(path, '.gluon'))) initialiseBrick(disk, path, { volumeId: VOLUME, brickId: SELF, bootId: '' });
    this.open = openBrick(disk, path, VOLUME, SELF);
    const bricks = [...new Set([...view.inSync, SELF, SIBLING, THIRD])];
    this.replica = new Replica({
      brick: SELF, bricks, store: this.open.store, journalDisk: this.open.journal, bootId: 'boot', ...this.#env, log: silentLog,
      authority: { change: () => Promise.reject(new LostError('there is no gluond here')) },
      dial: () => Promise.reject(new LostError('there is no other brick')),
      pingTimeoutMs: () => 10_000,
      lockLeases: () => true,
      giveBack: () => undefined,
      copyOf: (data) => Buffer.from(data),
    });
    this.server = new BrickServer({
      brick: SELF, bricks: () => bricks, volume: VOLUME, secret: SECRET, ...this.#env, log: silentLog, view: () => this.replica.view, replica: () => this.replica, admits: () => true,
    });
    const renew = (): void => this.replica.renewLease(5000);
    renew();
    this.#lease = setInterval(() => {
      renew();
      this.open.store.flushTimes(2000);
    }, 500);
    this.replica.setView(view);
  }

  get epoch(): number {
    return this.replica.view.epoch;
  }

  problem(): string | undefined {
    return undefined;
  }

  flush(): void {
    this.open.store.flushTimes(Number.MAX_SAFE_INTEGER);
  }

  connect(role: Role, id: string, onMessage: (message: Message) => void): PipeChannel {
    return connectTo((channel) => this.server.accept(channel), role, id, SELF, onMessage);
  }

  close(): Promise<void> {
    clearInterval(this.#lease);
    this.replica.stop();
    this.server.close('the fuzzing ends');
    this.open.close();
    return Promise.resolve();
  }
}
