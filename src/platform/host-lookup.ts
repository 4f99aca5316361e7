/** Names and addresses as this machine sees them. */
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { isIP, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { HostLookup } from '../cluster/node-service.js';

const LOOKUP_MS = 5_000;

export class SystemHostLookup implements HostLookup {
  async resolve(host: string): Promise<string[]> {
    if (isIP(host) !== 0) return [host];
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<string[]>((resolve) => {
      timer = setTimeout(() => resolve([]), LOOKUP_MS);
    });
    const found = lookup(host, { all: true }).then(
      (addresses) => addresses.map(({ address }) => address),
      () => [],
    );
    try {
      return await Promise.race([found, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  isLocal(address: string): boolean {
    if (address.startsWith('127.')) return true;
    return Object.values(networkInterfaces()).some((list) => list?.some((one) => one.address === address) === true);
  }
}

/** The address that this machine sends from when it speaks to `remote` (numeric). Nothing is sent. */
export function localAddressTo(remote: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(remote) ? 'udp6' : 'udp4');
    socket.once('error', (error) => {
      socket.close();
      reject(error);
    });
    socket.connect(9, remote, () => {
      const { address } = socket.address();
      socket.close();
      resolve(address);
    });
  });
}
