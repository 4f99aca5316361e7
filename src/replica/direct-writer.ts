/** Writes that a client sends to every in-sync brick itself, under an exclusive lease: as one brick takes them. */
import { Errno, FsError } from '../base/errno.js';
import type { Channel } from '../env/channel.js';
import type { Time } from '../base/time.js';
import type { Clock } from '../env/clock.js';
import type { Args } from '../fops/ops.js';
import type { BrickId, View } from '../fops/view.js';
import type { Message, MessageOf } from '../wire/messages.js';
import type { Change, Copy } from './copy.js';
import { writeKeys, type Key } from './keys.js';
import type { Session } from './sessions.js';

/** A client whose clock is further ahead writes through the primary: it would make the times of files run ahead. */
const AHEAD_S_MAX = 2;
/** Of one lease. Our clients have a quarter of that under way, and say with each write which of those before it are complete. */
const IN_DOUBT_MAX = 4096;

export interface DirectHost {
  readonly brick: BrickId;
  readonly clock: Clock;
  view(): View;
  giveBack(data: Uint8Array): void;
  /** A client gave a change this time; it changes these keys, whether all of it can be made or not. */
  begins(time: Time, keys: readonly Key[]): void;
}

export class DirectWriter {
  readonly #host: DirectHost;
  readonly #copy: Copy;
  /** Of this turn: they leave when the answers are in the journal. */
  #replies: { channel: Channel<Message>; reply: Message }[] = [];

  constructor(host: DirectHost, copy: Copy) {
    this.#host = host;
    this.#copy = copy;
  }

  take(session: Session, channel: Channel<Message>, message: MessageOf<'direct'>): void {
    if (message.op !== 'write') {
      channel.close(`${message.op} is not written directly`);
      return;
    }
    const { id, args } = message;
    let errno = 0;
    let result: unknown;
    try {
      result = this.#make(session, message, args);
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      errno = error.errno;
    }
    this.#host.giveBack(args.data);
    const reply = { kind: 'reply', id, errno, lease: errno === 0, op: 'write', result: errno === 0 ? result : undefined } as Message;
    if (this.#replies.push({ channel, reply }) === 1) queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const replies = this.#replies;
    this.#replies = [];
    this.#copy.journal.flushAnswers();
    for (const { channel, reply } of replies) channel.send(reply);
  }

  #make(session: Session, message: MessageOf<'direct'>, args: Args<'write'>): unknown {
    const { lease, order, complete, epoch, requestNumber, acknowledged, time } = message;
    const { brick, clock } = this.#host;
    const view = this.#host.view();
    const held = this.#copy.direct.find(lease, args.gfid, session.id);
    const mine = epoch === view.epoch && view.inSync.includes(brick) && this.#copy.sessions.has(session.id);
    if (held === undefined || !mine || args.append || args.sync || requestNumber === 0 || time.sec > clock.wall().sec + AHEAD_S_MAX)
      throw new FsError(Errno.ESTALE, 'write', 'no such lease');
    held.complete(complete);
    if (held.writes.length >= IN_DOUBT_MAX) throw new FsError(Errno.ESTALE, 'write', 'too many writes that may not be on every brick');
    // A disk that is full would make a part of it: the primary looks at the space of all.
    if (!this.#copy.room.takes(args)) throw new FsError(Errno.ESTALE, 'write', 'no space for it here');
    const change: Change = {
      op: 'write', args, session: session.id, requestNumber, acknowledged, time, newGfid: '', purge: false,
      keys: writeKeys(args.gfid, args.offset, args.data.byteLength),
    };
    // In doubt from here on: a write that fails may have changed bytes.
    held.made({ order, requestNumber, offset: args.offset, length: args.data.byteLength });
    this.#host.begins(time, change.keys);
    const result = this.#copy.apply(change, true);
    this.#copy.remember(change, result);
    session.bytesWritten += args.data.byteLength;
    return result;
  }
}
