/**
 * The handshake of messages.ts, both sides. Each end proves that it knows the volume's secret before the other believes anything it says;
 * until then nothing else is accepted, and the whole takes at most HANDSHAKE_MS.
 *
 *   caller                                    brick
 *   hello {version, volume, role, id, nonce} ─▶
 *         ◀─ challenge {brick, nonce, proof}       proof: HMAC over 'brick' role id brick callerNonce brickNonce
 *   prove {proof} ─▶                               proof: HMAC over 'caller' and the same
 *         ◀─ welcome {view}                        or refused {errno, reason}, at any point
 *
 * Results are handed over by callback and not by promise: the next message may be in the same packet, and its handler must be set by then.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { Errno, FsError, LostError } from '../base/errno.js';
import type { Channel } from '../env/channel.js';
import type { Clock, Random } from '../env/clock.js';
import type { BrickId, View } from '../fops/view.js';
import { PROTOCOL_VERSION, type Message, type MessageOf } from './messages.js';

export const HANDSHAKE_MS = 5_000;
const NONCE_BYTES = 32;

export type Role = 'client' | 'brick';

export interface Caller {
  role: Role;
  /** Session of a client, brick id of a brick. */
  id: string;
}

function proof(
  secret: string,
  who: 'brick' | 'caller',
  caller: Caller,
  brick: BrickId,
  callerNonce: Uint8Array,
  brickNonce: Uint8Array,
): Buffer {
  // Every part has a fixed length but the two words, and those end with NUL: no two different inputs give the same bytes.
  const mac = createHmac('sha256', Buffer.from(secret, 'hex'));
  mac.update(`${who}\0${caller.role}\0${caller.id}${brick}`, 'latin1');
  mac.update(callerNonce);
  mac.update(brickNonce);
  return mac.digest();
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && timingSafeEqual(a, b);
}

export interface HandshakeEnv {
  clock: Clock;
  random: Random;
}

export interface CallOptions extends Caller {
  volume: string;
  secret: string;
  /** The brick that must answer; another one is not believed. */
  brick: BrickId;
}

/**
 * The caller's side on a fresh channel. Exactly one of the callbacks is called, once. `onReady` runs inside the delivery of `welcome`: set
 * the channel's handlers there. The channel is closed on failure: LostError (closed, silent) or FsError EACCES, EPROTO, or what the brick said.
 */
export function callHandshake(
  env: HandshakeEnv,
  channel: Channel<Message>,
  options: CallOptions,
  onReady: (view: View) => void,
  onFailed: (error: FsError | LostError) => void,
): void {
  const { role, id, volume, secret, brick } = options;
  const nonce = env.random.bytes(NONCE_BYTES);
  let step: 'challenge' | 'welcome' | 'over' = 'challenge';
  const fail = (error: FsError | LostError): void => {
    if (step === 'over') return;
    step = 'over';
    cancel();
    channel.close(error.message);
    onFailed(error);
  };
  const cancel = env.clock.after(HANDSHAKE_MS, () =>
    fail(new LostError(`${channel.remote} did not finish the handshake within ${HANDSHAKE_MS} ms`, Errno.ETIMEDOUT)),
  );
  const denied = (detail: string, errno: number = Errno.EACCES): void =>
    fail(new FsError(errno, 'handshake', `${channel.remote}: ${detail}`));
  const challenged = (message: MessageOf<'challenge'>): void => {
    if (message.brick !== brick) denied(`is brick ${message.brick}, not ${brick}`);
    else if (message.nonce.byteLength !== NONCE_BYTES) denied('a nonce of the wrong size', Errno.EPROTO);
    else if (!equal(message.proof, proof(secret, 'brick', options, brick, nonce, message.nonce)))
      denied('does not know the secret of the volume');
    else {
      step = 'welcome';
      channel.send({ kind: 'prove', proof: proof(secret, 'caller', options, brick, nonce, message.nonce) });
    }
  };
  channel.onClose = (reason) =>
    fail(new LostError(`${channel.remote}: connection lost during the handshake: ${reason}`));
  channel.onMessage = (message) => {
    if (message.kind === 'refused') denied(message.reason, message.errno === 0 ? Errno.EACCES : message.errno);
    else if (message.kind === 'challenge' && step === 'challenge') challenged(message);
    else if (message.kind === 'welcome' && step === 'welcome') {
      step = 'over';
      cancel();
      channel.onMessage = () => undefined;
      channel.onClose = () => undefined;
      onReady(message.view);
    } else denied(`sent ${message.kind} where ${step} belongs`, Errno.EPROTO);
  };
  channel.send({ kind: 'hello', version: PROTOCOL_VERSION, volume, role, id, nonce });
}

/** What clients of a volume are told in the place of its secret: who knows this one alone cannot pass for a brick. */
export function secretOfClients(secret: string): string {
  return createHmac('sha256', Buffer.from(secret, 'hex')).update('clients').digest('hex');
}

export interface AnswerOptions {
  volume: string;
  /** That clients know. */
  secret: string;
  /** That only bricks know; the same as `secret` when absent. */
  brickSecret?: string | undefined;
  brick: BrickId;
  /** Why this caller is not let in although it knows the secret; undefined to let it in. */
  refuse?: (caller: Caller) => { errno: number; reason: string } | undefined;
  /** Sent in the welcome. */
  view(): View;
}

/**
 * The brick's side on an accepted channel. `onReady` runs right after the welcome was sent, inside the delivery of `prove`: set the channel's
 * handlers there. On failure the channel is closed, and `onFailed` told why.
 */
export function answerHandshake(
  env: HandshakeEnv,
  channel: Channel<Message>,
  options: AnswerOptions,
  onReady: (caller: Caller) => void,
  onFailed: (reason: string) => void,
): void {
  const { volume, brick } = options;
  const secretFor = ({ role }: Caller): string => (role === 'brick' ? (options.brickSecret ?? options.secret) : options.secret);
  const nonce = env.random.bytes(NONCE_BYTES);
  let caller: (Caller & { nonce: Uint8Array }) | undefined;
  let over = false;
  const fail = (reason: string): void => {
    if (over) return;
    over = true;
    cancel();
    channel.close(reason);
    onFailed(reason);
  };
  const cancel = env.clock.after(HANDSHAKE_MS, () => fail(`no handshake within ${HANDSHAKE_MS} ms`));
  const refuse = (errno: number, reason: string): void => {
    channel.send({ kind: 'refused', errno, reason });
    fail(reason);
  };
  const greeted = (message: MessageOf<'hello'>): void => {
    if (message.version !== PROTOCOL_VERSION)
      refuse(Errno.EPROTO, `protocol version ${message.version} is not spoken here, ${PROTOCOL_VERSION} is`);
    else if (message.volume !== volume) refuse(Errno.ENOENT, 'another volume is served here');
    else if (message.nonce.byteLength !== NONCE_BYTES) refuse(Errno.EPROTO, 'a nonce of the wrong size');
    else {
      caller = { role: message.role, id: message.id, nonce: Uint8Array.from(message.nonce) };
      channel.send({
        kind: 'challenge',
        brick,
        nonce,
        proof: proof(secretFor(caller), 'brick', caller, brick, caller.nonce, nonce),
      });
    }
  };
  const proved = (message: MessageOf<'prove'>, who: Caller & { nonce: Uint8Array }): void => {
    if (!equal(message.proof, proof(secretFor(who), 'caller', who, brick, who.nonce, nonce))) {
      refuse(Errno.EACCES, 'the secret of the volume was not proved');
      return;
    }
    const refusal = options.refuse?.(who);
    if (refusal !== undefined) {
      refuse(refusal.errno, refusal.reason);
      return;
    }
    over = true;
    cancel();
    channel.trust?.();
    channel.onMessage = () => undefined;
    channel.onClose = () => undefined;
    // The welcome goes out before anything that the new owner of the channel says.
    channel.send({ kind: 'welcome', view: options.view() });
    onReady({ role: who.role, id: who.id });
  };
  channel.onClose = (reason) => fail(reason);
  channel.onMessage = (message) => {
    if (over) return;
    if (message.kind === 'hello' && caller === undefined) greeted(message);
    else if (message.kind === 'prove' && caller !== undefined) proved(message, caller);
    else fail(`sent ${message.kind} during the handshake`);
  };
}
