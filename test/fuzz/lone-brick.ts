/** One real brick (directory, replica, server) whose siblings are whoever throws the inputs: no gluond, no sockets. */
import { BrickServer } from '../../src/brick/server.js';
import { initialiseBrick, openBrick, type OpenBrick } from '../../src/brick/store/identity.js';
import { LostError } from '../../src/base/errno.js';
import { silentLog } from '../../src/env/log.js';
import type { View } from '../../src/fops/view.js';
import { RealClock, RealRandom } from '../../src/platform/clock.js';
import { LibcDisk } from '../../src/platform/libc.js';
import { Replica } from '../../src/replica/replica.js';
import { answersOf, PipeChannel } from './pipe-channel.js';
import { callHandshake, type Role } from '../../src/wire/handshake.js';
import type { Message } from '../../src/wire/messages.js';

export const VOLUME = 'feedfacefeedfacefeedfacefeedface';
export const SECRET = '5e'.repeat(32);
export const SELF = '2'.padStart(32, '0');
export const SIBLING = '1'.padStart(32, '0');
export const THIRD = '3'.padStart(32, '0');

/** The caller's end of a connection to a brick in this process. */
export interface Caller {
  /** The brick's end. */
  channel: PipeChannel;
  /** Everything that the brick sent after the welcome. */
  received: Message[];
}

export class LoneBrick {
  readonly open: OpenBrick;
  readonly replica: Replica;
  readonly server: BrickServer;
  readonly #env = { clock: new RealClock(), random: new RealRandom() };
  readonly #lease: NodeJS.Timeout;
  #strangers = 0;

  /** As primary it is the whole set; as member it follows SIBLING. */
  constructor(path: string, view: View) {
    const disk = new LibcDisk();
    initialiseBrick(disk, path, { volumeId: VOLUME, brickId: SELF, bootId: '' });
    this.open = openBrick(disk, path, VOLUME, SELF);
    const bricks = [...new Set([...view.inSync, SELF, SIBLING, THIRD])];
    this.replica = new Replica({
      brick: SELF, bricks, store: this.open.store, journalDisk: this.open.journal, bootId: 'boot', ...this.#env, log: silentLog,
      authority: { change: () => Promise.reject(new LostError('there is no gluond here')) },
      dial: () => Promise.reject(new LostError('there is no other brick')),
      pingTimeoutMs: () => 10_000,
      giveBack: () => undefined,
    });
    this.server = new BrickServer({
      brick: SELF, bricks, volume: VOLUME, secret: SECRET, ...this.#env, log: silentLog, view: () => this.replica.view, replica: () => this.replica, admits: () => true,
    });
    const renew = (): void => this.replica.renewLease(5000);
    renew();
    this.#lease = setInterval(() => {
      renew();
      this.open.store.flushTimes(2000);
    }, 500);
    this.replica.setView(view);
  }

  /** A connection of somebody who knows the secret. */
  connect(role: Role, id: string, onMessage?: (message: Message) => void): Caller {
    const received: Message[] = [];
    const options = { role, id, brick: SELF, volume: VOLUME, secret: SECRET };
    let failure: Error | undefined;
    const { near, far } = answersOf((message) => (onMessage === undefined ? received.push(message) : onMessage(message)));
    this.server.accept(far);
    callHandshake(this.#env, near, options, () => undefined, (error) => (failure = error));
    if (failure !== undefined) throw failure;
    return { channel: far, received };
  }

  /** The brick's end of a connection on which nothing was said; `sent` gets what it says. */
  stranger(sent: (message: Message, frame: Buffer) => void): PipeChannel {
    this.#strangers++;
    const channel = new PipeChannel(sent);
    this.server.accept(channel);
    return channel;
  }

  close(): void {
    clearInterval(this.#lease);
    this.replica.stop();
    this.server.close('the fuzzing ends');
    this.open.close();
  }
}
