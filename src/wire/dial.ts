/** Connection and handshake in one step. */
import type { Address, Channel, Network } from '../env/channel.js';
import type { View } from '../fops/view.js';
import { callHandshake, type CallOptions, type HandshakeEnv } from './handshake.js';
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
