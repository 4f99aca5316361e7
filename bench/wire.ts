/**
 * What the transport alone gives: round trips of 4 KiB and of 1 MiB between two processes, over a unix socket and over TCP on loopback.
 * `node dist/bench/wire.js` prints one line for each.
 */
import { fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Address, Channel } from '../src/env/channel.js';
import { TcpNetwork } from '../src/platform/tcp.js';
import type { Message } from '../src/wire/messages.js';

const GFID = '0123456789abcdef0123456789abcdef';
const DATA = Buffer.alloc(1 << 20, 7);

async function serve(path: string): Promise<void> {
  const network = new TcpNetwork();
  const accept = (channel: Channel<Message>): void => {
    channel.trust?.();
    channel.onMessage = (message) => {
      if (message.kind !== 'request') return;
      const { id } = message;
      if (message.op === 'write')
        channel.send({ kind: 'reply', id, errno: 0, lease: false, op: 'write', result: { offset: 0 } });
      else if (message.op === 'read')
        channel.send({
          kind: 'reply',
          id,
          errno: 0,
          lease: false,
          op: 'read',
          result: { data: DATA.subarray(0, message.args.size) },
        });
    };
  };
  await network.listen({ path }, accept);
  const tcp = await network.listen({ host: '127.0.0.1', port: 0 }, accept);
  process.send?.(tcp.address);
}

/** Keeps `depth` requests under way for `ms`; how many were answered per second. */
async function drive(
  address: Address,
  op: 'read' | 'write',
  bytes: number,
  depth: number,
  ms: number,
): Promise<number> {
  const channel = await new TcpNetwork().connect(address, 1000);
  const data = DATA.subarray(0, bytes);
  let id = 0;
  let answered = 0;
  const next = (): void => {
    const base = { kind: 'request' as const, id: ++id, epoch: 1, requestNumber: id, acknowledged: 0 };
    if (op === 'write')
      channel.send({ ...base, op, args: { gfid: GFID, offset: 0, append: false, sync: false, killPriv: false, data } });
    else channel.send({ ...base, op, args: { gfid: GFID, offset: 0, size: bytes } });
  };
  let running = true;
  channel.onMessage = () => {
    answered++;
    if (running) next();
  };
  const begin = performance.now();
  for (let i = 0; i < depth; i++) next();
  await new Promise((resolve) => setTimeout(resolve, ms));
  running = false;
  const seconds = (performance.now() - begin) / 1000;
  channel.close('done');
  return answered / seconds;
}

async function main(): Promise<void> {
  if (process.argv[2] === 'serve') {
    await serve(process.argv[3] ?? '');
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'gluon-wire-'));
  const path = join(folder, 's');
  const child = fork(fileURLToPath(import.meta.url), ['serve', path]);
  try {
    const tcp = await new Promise<Address>((resolve) =>
      child.once('message', (message) => resolve(message as Address)),
    );
    for (const [label, address] of [
      ['unix', { path }],
      ['tcp', tcp],
    ] as const) {
      for (const op of ['read', 'write'] as const) {
        await drive(address, op, 4096, 1, 500);
        for (const depth of [1, 16]) {
          const rate = await drive(address, op, 4096, depth, 1500);
          process.stdout.write(
            `${label} ${op} 4 KiB depth ${depth}: ${Math.round(rate)}/s, ${(1e6 / rate).toFixed(1)} us each\n`,
          );
        }
        for (const depth of [1, 4]) {
          const rate = await drive(address, op, 1 << 20, depth, 1500);
          process.stdout.write(`${label} ${op} 1 MiB depth ${depth}: ${((rate * 1.048576) / 1000).toFixed(2)} GB/s\n`);
        }
      }
    }
  } finally {
    child.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
