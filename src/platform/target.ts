/** How the address of a gluond is written: by people (HOST, HOST:PORT, [IPv6]:PORT, /path/of/socket) and for grpc-js. */
import { isIPv6 } from 'node:net';
import { Errno, FsError } from '../base/errno.js';

export const GLUOND_PORT = 24_007;

export interface HostPort {
  host: string;
  port: number;
}

const HOST = /^[A-Za-z0-9._-]{1,253}$/;

/** EINVAL with the reason when it is no address. An IPv6 address may stand without brackets where no port follows. */
export function parseHostPort(text: string, defaultPort = GLUOND_PORT): HostPort {
  const bracketed = /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(text);
  const plain = /^([^:]*)(?::(\d{1,5}))?$/.exec(text);
  let host: string;
  let portText: string | undefined;
  if (bracketed !== null) [, host = '', portText] = bracketed;
  else if (isIPv6(text)) host = text;
  else if (plain !== null) [, host = '', portText] = plain;
  else throw new FsError(Errno.EINVAL, 'address', `'${text}' is not HOST, HOST:PORT or [IPv6]:PORT`);
  if (!isIPv6(host) && !HOST.test(host))
    throw new FsError(Errno.EINVAL, 'address', `'${host}' is not a host name or an address`);
  const port = portText === undefined ? defaultPort : Number(portText);
  if (port < 1 || port > 65_535) throw new FsError(Errno.EINVAL, 'address', `${port} is not a port (1 to 65535)`);
  return { host, port };
}

export function formatHostPort({ host, port }: HostPort): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

/** `local`: over a unix socket, without TLS. */
export function grpcTarget(server: string): { address: string; local: boolean } {
  if (server.startsWith('/')) return { address: `unix:${server}`, local: true };
  const { host, port } = parseHostPort(server);
  if (isIPv6(host)) return { address: `ipv6:[${host}]:${port}`, local: false };
  return { address: `${/^[0-9.]+$/.test(host) ? 'ipv4' : 'dns'}:${host}:${port}`, local: false };
}
