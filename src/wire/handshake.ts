/**
 * The handshake of the brick protocol, both sides; the messages are in messages.ts. Each side proves with a keyed digest of both nonces that it knows the
 * volume's secret; the secret does not travel, and a recorded handshake is worth nothing the next time.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { Errno, FsError, LostError } from '../base/errno.js';
import type { Channel } from '../env/channel.js';
import type { Clock, Random } from '../env/clock.js';
import type { BrickId, View } from '../fops/view.js';
import { PROTOCOL_VERSION, type Message } from './messages.js';

const NONCE_BYTES = 32;

interface Common {
  volume: string;
  /** 64 hex digits. */
  secret: string;
  random: Random;
  clock: Clock;
  timeoutMs: number;
}

export interface CallerOptions extends Common {
  role: 'client' | 'brick';
  /** Session id of a client, brick id of a brick. */
  id: string;
  /** The brick that is expected at the other end. */
  brick: BrickId;
}

export interface AcceptOptions extends Common {
  brick: BrickId;
  view: () => View;
}

interface Parties {
  role: string;
  id: string;
  brick: BrickId;
  callerNonce: Uint8Array;
  brickNonce: Uint8Array;
}

function proof(secret: string, side: 'caller' | 'brick', parties: Parties): Buffer {
  const { role, id, brick, callerNonce, brickNonce } = parties;
  const mac = createHmac('sha256', Buffer.from(secret, 'hex'));
  mac.update(`gluon ${side} ${role} ${id} ${brick} `, 'latin1').update(callerNonce).update(brickNonce);
  return mac.digest();
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && timingSafeEqual(a, b);
}

/** Receives one message after the other; rejects when the channel closes or the time is over. */
function conversation<T>(channel: Channel<Message>, clock: Clock, timeoutMs: number, step: (message: Message, done: (value: T) => void) => void): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const finish = (settle: () => void): void => {
      cancel();
      channel.onMessage = () => undefined;
      channel.onClose = () => undefined;
      settle();
    };
    const fail = (error: unknown): void => {
      finish(() => reject(error instanceof Error ? error : new LostError(String(error))));
      channel.close('handshake failed');
    };
    const cancel = clock.after(timeoutMs, () => fail(new LostError(`${channel.remote}: no handshake within ${timeoutMs} ms`, Errno.ETIMEDOUT)));
    channel.onMessage = (message) => {
      try {
        step(message, (value) => finish(() => resolve(value)));
      } catch (error) {
        fail(error);
      }
    };
    channel.onClose = (reason) => finish(() => reject(new LostError(`${channel.remote}: closed during the handshake: ${reason}`)));
  });
}

function unexpected(channel: Channel<Message>, message: Message): never {
  if (message.kind === 'refused') throw new FsError(message.errno, 'connect', `${channel.remote}: ${message.reason}`);
  throw new FsError(Errno.EPROTO, 'connect', `${channel.remote}: unexpected ${message.kind} in the handshake`);
}

/**
 * The side that dialled. Resolves with the brick's view. FsError EACCES where the other end does not prove itself, ESTALE where it is another brick, the
 * errno it gave where it refused; LostError where the connection broke or time ran out.
 */
export function callHandshake(channel: Channel<Message>, options: CallerOptions): Promise<View> {
  const { role, id, brick, volume, secret, random, clock, timeoutMs } = options;
  const callerNonce = random.bytes(NONCE_BYTES);
  let proved = false;
  const promise = conversation<View>(channel, clock, timeoutMs, (message, done) => {
    if (message.kind === 'challenge' && !proved) {
      if (message.brick !== brick) throw new FsError(Errno.ESTALE, 'connect', `${channel.remote} serves brick ${message.brick}, not ${brick}`);
      if (message.nonce.byteLength !== NONCE_BYTES) unexpected(channel, message);
      const parties: Parties = { role, id, brick, callerNonce, brickNonce: Uint8Array.from(message.nonce) };
      if (!sameBytes(message.proof, proof(secret, 'brick', parties))) throw new FsError(Errno.EACCES, 'connect', `${channel.remote} does not know the volume's secret`);
      proved = true;
      channel.send({ kind: 'prove', proof: proof(secret, 'caller', parties) });
    } else if (message.kind === 'welcome' && proved) done(message.view);
    else unexpected(channel, message);
  });
  channel.send({ kind: 'hello', version: PROTOCOL_VERSION, volume, role, id, nonce: callerNonce });
  return promise;
}

function refuse(channel: Channel<Message>, errno: number, reason: string): never {
  channel.send({ kind: 'refused', errno, reason });
  throw new FsError(errno, 'accept', `${channel.remote}: ${reason}`);
}

/** The brick's side. Resolves with who the caller proved to be; until then the caller has learnt nothing but the brick's id. */
export function acceptHandshake(channel: Channel<Message>, options: AcceptOptions): Promise<{ role: 'client' | 'brick'; id: string }> {
  const { brick, volume, secret, view, random, clock, timeoutMs } = options;
  let parties: (Parties & { role: 'client' | 'brick' }) | undefined;
  return conversation(channel, clock, timeoutMs, (message, done) => {
    if (message.kind === 'hello' && parties === undefined) {
      if (message.version !== PROTOCOL_VERSION) refuse(channel, Errno.EPROTO, `protocol version ${message.version} is not spoken here, ${PROTOCOL_VERSION} is`);
      if (message.volume !== volume) refuse(channel, Errno.ESTALE, 'this brick belongs to another volume');
      if (message.nonce.byteLength !== NONCE_BYTES) refuse(channel, Errno.EPROTO, 'a nonce of the wrong size');
      parties = { role: message.role, id: message.id, brick, callerNonce: Uint8Array.from(message.nonce), brickNonce: random.bytes(NONCE_BYTES) };
      channel.send({ kind: 'challenge', brick, nonce: parties.brickNonce, proof: proof(secret, 'brick', parties) });
    } else if (message.kind === 'prove' && parties !== undefined) {
      if (!sameBytes(message.proof, proof(secret, 'caller', parties))) refuse(channel, Errno.EACCES, 'the volume secret does not match');
      channel.send({ kind: 'welcome', view: view() });
      done({ role: parties.role, id: parties.id });
    } else throw new FsError(Errno.EPROTO, 'accept', `${channel.remote}: unexpected ${message.kind} in the handshake`);
  });
}
