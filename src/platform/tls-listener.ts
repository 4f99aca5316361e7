/**
 * TLS in front of a grpc-js server: a client certificate is asked for and not demanded, so that one port serves peers, mounts and
 * candidates; what a connection may do is decided by its identity. Certificates change while it runs; connections of a node that was
 * removed are cut.
 */
import { createServer, type TLSSocket } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { ServerCredentials, type Server } from '@grpc/grpc-js';
import { Errno, FsError } from '../base/errno.js';
import type { Log } from '../env/log.js';
import type { HostPort } from './target.js';

export interface TlsMaterial {
  authority: string;
  certificate: string;
  key: string;
}

const HANDSHAKE_MS = 5_000;
/** Connections at once: far more than any pool needs, far less than would hurt. */
const CONNECTIONS_MAX = 4_096;
/** Of those without a certificate of the pool, from one address: nodes find room however many strangers come. */
const STRANGERS_PER_ADDRESS_MAX = 256;
const STRANGERS_MAX = 3_072;

export class TlsListener {
  readonly #log: Log;
  readonly #tls;
  /** By "address:port" of the other end, as grpc-js names it. */
  readonly #identities = new Map<string, string>();
  readonly #sockets = new Set<TLSSocket>();
  /** Connections without a certificate, by address. */
  readonly #strangers = new Map<string, number>();
  #strangerCount = 0;

  constructor(server: Server, material: TlsMaterial, log: Log) {
    this.#log = log;
    const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
    this.#tls = createServer({
      ca: material.authority,
      cert: material.certificate,
      key: material.key,
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
      minVersion: 'TLSv1.2',
      handshakeTimeout: HANDSHAKE_MS,
    });
    this.#tls.maxConnections = CONNECTIONS_MAX;
    this.#tls.on('secureConnection', (socket) => {
      const remote = `${socket.remoteAddress}:${socket.remotePort}`;
      const identity = identityOf(socket);
      if (identity !== '') this.#identities.set(remote, identity);
      else if (!this.#letIn(socket)) return;
      this.#sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        if (this.#identities.get(remote) === identity) this.#identities.delete(remote);
      });
      injector.injectConnection(socket);
    });
    this.#tls.on('tlsClientError', (error, socket) => {
      this.#log.debug('a connection did not become encrypted', { reason: error.message, remote: socket.remoteAddress });
      socket.destroy();
    });
  }

  /** Counts a connection without a certificate; false when there are too many, and it is closed. */
  #letIn(socket: TLSSocket): boolean {
    const address = socket.remoteAddress ?? '';
    const count = this.#strangers.get(address) ?? 0;
    if (count >= STRANGERS_PER_ADDRESS_MAX || this.#strangerCount >= STRANGERS_MAX) {
      socket.on('error', () => undefined);
      socket.destroy();
      return false;
    }
    this.#strangers.set(address, count + 1);
    this.#strangerCount++;
    socket.on('close', () => {
      const left = (this.#strangers.get(address) ?? 1) - 1;
      this.#strangerCount--;
      if (left === 0) this.#strangers.delete(address);
      else this.#strangers.set(address, left);
    });
    return true;
  }

  listen(address: HostPort): Promise<HostPort> {
    return new Promise((resolve, reject) => {
      this.#tls.once('error', (error: NodeJS.ErrnoException) => {
        const taken = error.code === 'EADDRINUSE' ? 'another process listens there' : error.message;
        reject(
          new FsError(
            Errno.EINVAL,
            'gluond',
            `cannot listen on ${address.host} port ${address.port}: ${taken}; choose another --listen`,
          ),
        );
      });
      this.#tls.listen(address.port, address.host, () => {
        this.#tls.removeAllListeners('error');
        this.#tls.on('error', (error) => this.#log.error('the listener failed', { error }));
        resolve({ host: address.host, port: (this.#tls.address() as AddressInfo).port });
      });
    });
  }

  /** Node id of the certificate that the connection from `remote` has shown, '' without one of this pool. */
  identity(remote: string): string {
    return this.#identities.get(remote) ?? '';
  }

  /** For new connections. */
  setMaterial(material: TlsMaterial): void {
    this.#tls.setSecureContext({ ca: material.authority, cert: material.certificate, key: material.key });
  }

  /** Cuts the connections of nodes for which this is false. */
  keepOnly(member: (node: string) => boolean): void {
    for (const socket of this.#sockets) {
      const identity = this.#identities.get(`${socket.remoteAddress}:${socket.remotePort}`);
      if (identity !== undefined && !member(identity)) socket.destroy();
    }
  }

  close(): void {
    this.#tls.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

function identityOf(socket: TLSSocket): string {
  if (!socket.authorized) return '';
  const { subject } = socket.getPeerCertificate();
  return subject?.OU === 'node' && typeof subject.CN === 'string' ? subject.CN : '';
}
