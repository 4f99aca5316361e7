import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import { Server } from '@grpc/grpc-js';
import { silentLog } from '../../../src/env/log.js';
import { makeAuthority, makeNodeCertificate } from '../../../src/platform/pki.js';
import { TlsListener } from '../../../src/platform/tls-listener.js';
import { waitFor } from '../../support/wait.js';

test('strangers cannot take all connections: a node of the pool still gets in', async () => {
  const authority = await makeAuthority('cd'.repeat(16));
  const node = await makeNodeCertificate(authority, 'ab'.repeat(16), ['127.0.0.1']);
  const server = new Server();
  const listener = new TlsListener(server, { authority: authority.certificate, certificate: node.certificate, key: node.key }, silentLog);
  const { port } = await listener.listen({ host: '127.0.0.1', port: 0 });
  const sockets: TLSSocket[] = [];
  const dial = (own: object): TLSSocket => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ALPNProtocols: ['h2'], ...own });
    socket.on('error', () => undefined);
    socket.resume();
    sockets.push(socket);
    return socket;
  };
  for (let i = 0; i < 300; i++) dial({});
  const open = (): number => sockets.filter((socket) => !socket.closed && !socket.connecting && socket.encrypted).length;
  await waitFor('the strangers beyond the limit to be closed', 20_000, () => sockets.filter((socket) => socket.closed).length === 44);
  assert.equal(open(), 256);
  const member = dial({ cert: node.certificate, key: node.key });
  await waitFor('the node to be let in', 10_000, () => member.localPort !== undefined && listener.identity(`127.0.0.1:${member.localPort}`) !== '');
  sockets.slice(0, 300).forEach((socket) => socket.destroy());
  await waitFor('a stranger to find room again', 10_000, async () => {
    const again = dial({});
    await new Promise((resolve) => setTimeout(resolve, 300));
    return !again.closed;
  });
  for (const socket of sockets) socket.destroy();
  listener.close();
  server.forceShutdown();
});
