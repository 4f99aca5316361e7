/** gluond's end of brick-control.proto. */
import type { ServerDuplexStream, UntypedServiceImplementation } from '@grpc/grpc-js';
import type { BrickConnection, BrickKeeper } from '../cluster/bricks.js';
import type { Log } from '../env/log.js';
import type { FromBrickMessage, ToBrickMessage } from '../wire/brick-control.js';
import { monotonicUs } from './brick-control.js';

const HELLO_MS = 5_000;

/** `ready` resolves when this gluond knows which bricks it has: a brick that comes earlier waits. */
export function brickControlService(
  keeper: () => BrickKeeper,
  ready: Promise<void>,
  log: Log,
): UntypedServiceImplementation {
  return {
    Attach: (call: ServerDuplexStream<FromBrickMessage, ToBrickMessage>) => {
      let attached: ReturnType<BrickKeeper['attach']> | undefined;
      let closed = false;
      const early: FromBrickMessage[] = [];
      const timer = setTimeout(() => call.end(), HELLO_MS);
      const connection: BrickConnection = {
        sendLease: (leaseMs, id) =>
          void call.write({ lease: { untilMonotonicUs: monotonicUs() + Math.round(leaseMs * 1000), id } }),
        send: (message) => void call.write(message),
        close: () => call.end(),
      };
      const begin = async (hello: NonNullable<FromBrickMessage['hello']>): Promise<void> => {
        await ready;
        if (closed) return;
        attached = keeper().attach(hello, connection);
        for (const message of early.splice(0)) attached.receive(message);
      };
      call.on('data', (message: FromBrickMessage) => {
        if (message.message === 'hello' && message.hello !== null && message.hello !== undefined) {
          clearTimeout(timer);
          begin(message.hello).catch((error: unknown) => log.error('a brick could not be attached', { error }));
        } else if (attached !== undefined) attached.receive(message);
        else early.push(message);
      });
      const end = (): void => {
        if (closed) return;
        closed = true;
        clearTimeout(timer);
        attached?.closed();
      };
      call.on('end', () => {
        end();
        call.end();
      });
      call.on('cancelled', end);
      call.on('error', end);
      call.on('close', end);
    },
  };
}
