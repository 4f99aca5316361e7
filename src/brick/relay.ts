/** Passes messages on between a client and a brick that it cannot reach. Who speaks to whom is proved by the handshake that they make through it. */
import { keepPayloads, type Channel } from '../env/channel.js';
import type { Message } from '../wire/messages.js';

/** From now on every message of the one goes to the other, and the end of the one is the end of the other. */
export function join(near: Channel<Message>, far: Channel<Message>, ended: () => void): void {
  near.onMessage = (message) => far.send(kept(message));
  far.onMessage = (message) => near.send(kept(message));
  near.onClose = (reason) => {
    far.close(reason);
    ended();
  };
  far.onClose = (reason) => near.close(`the brick behind it: ${reason}`);
  if (far.closed) near.close('the brick behind it is gone');
  else near.send({ kind: 'relayed' });
}

/** With bytes of its own: those of a received message are used again. */
function kept(message: Message): Message {
  const copy = { ...message } as Record<string, unknown>;
  for (const key of ['args', 'result']) if (typeof copy[key] === 'object' && copy[key] !== null) copy[key] = keepPayloads(copy[key] as Record<string, unknown>);
  return keepPayloads(copy) as unknown as Message;
}
