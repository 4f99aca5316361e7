/** Connection and handshake in one step. */
import type { Address, Channel, Network } from '../env/channel.js';
import type { View } from '../fops/view.js';
import { callHandshake, type CallOptions, type HandshakeEnv } from './handshake.js';
import { LostError } from '../base/errno.js';
import { hex } from '../base/ids.js';
import type { BrickId } from '../fops/view.js';
import type { Message } from './messages.js';

/**
 * Resolves with an authenticated channel. `onReady` runs before the next message can arrive: what it sets on the channel misses nothing. Rejects with
 * LostError or FsError as `callHandshake`.
 */
export async function dialBrick(
  env: HandshakeEnv & { network: Network<Message> },
  address: Address,
  timeoutMs: number,
  options: CallOptions,
  onReady: (channel: Channel<Message>, view: View) => void = () => undefined,
): Promise<Channel<Message>> {
  const channel = await env.network.connect(address, timeoutMs);
  return await new Promise((resolve, reject) => {
    callHandshake(
      env,
      channel,
      options,
      (view) => {
        onReady(channel, view);
        resolve(channel);
      },
      reject,
    );
  });
}

const ID_BYTES = 16;

/** As `dialBrick`, through another brick of the volume that can reach it. `onView` is told the views that the other brick knows: the primary may be another one by now. */
export async function dialThrough(
  env: HandshakeEnv & { network: Network<Message> },
  via: Address,
  viaBrick: BrickId,
  timeoutMs: number,
  options: CallOptions,
  onReady: (channel: Channel<Message>, view: View) => void,
  onView: (view: View) => void,
): Promise<void> {
  const outer = { ...options, id: hex(env.random.bytes(ID_BYTES)), brick: viaBrick };
  await new Promise<void>((resolve, reject) => {
    const begin = (channel: Channel<Message>, known: View): void => {
      const cancel = env.clock.after(timeoutMs, () => channel.close(`no connection to brick ${options.brick} within ${timeoutMs} ms`));
      channel.onClose = (reason) => {
        cancel();
        reject(new LostError(`brick ${options.brick} through ${channel.remote}: ${reason}`));
      };
      channel.onMessage = (message) => {
        if (message.kind === 'newView') {
          onView(message.view);
          return;
        }
        cancel();
        if (message.kind !== 'relayed') channel.close(`sent ${message.kind} where relayed belongs`);
        else {
          const ready = (view: View): void => {
            onReady(channel, view);
            resolve();
          };
          callHandshake(env, channel, options, ready, reject);
        }
      };
      channel.send({ kind: 'relay', brick: options.brick });
      onView(known);
    };
    dialBrick(env, via, timeoutMs, outer, begin).catch(reject);
  });
}
