/** What a stranger offers to a node that is in no pool: looked at whole before anything of the node is changed for it. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { Errno } from '../base/errno.js';
import type { JoinOffer } from '../cluster/peers.js';
import { Refused } from '../cluster/refused.js';

const TEXT_BYTES_MAX = 65_536;
const ADDRESSES_MAX = 64;
const ID = /^[0-9a-f]{32}$/;
/** host:port, with brackets where the host is an IPv6 address. */
const ADDRESS = /^(?:[0-9A-Za-z_.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}$/;

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= TEXT_BYTES_MAX;
}

function isAddress(value: unknown): boolean {
  return isText(value) && ADDRESS.test(value);
}

/** The certificate is of that authority and fits the key. */
function fits(authority: string, certificate: string, key: string): boolean {
  try {
    const issuer = new X509Certificate(authority);
    const own = new X509Certificate(certificate);
    return issuer.ca && own.verify(issuer.publicKey) && own.checkPrivateKey(createPrivateKey(key));
  } catch {
    // Not even PEM.
    return false;
  }
}

/** The offer as it is; Refused EINVAL when no pool would make it. */
export function checkOffer(offer: unknown): JoinOffer {
  const refuse = (what: string): never => {
    throw new Refused(`the offer to join a pool is not one: ${what}`, Errno.EINVAL);
  };
  if (!isRecord(offer) || !isRecord(offer['pool']) || !isRecord(offer['peer'])) return refuse('it lacks the pool or the peer');
  const { pool, peer, certificate, key, storeAddresses, initialCluster } = offer;
  const { id, caCertificate } = pool as Record<string, unknown>;
  const { etcdClient, etcdPeer } = peer as Record<string, unknown>;
  if (!isText(id) || !ID.test(id)) return refuse('the identity of the pool');
  if (!isText(caCertificate) || !isText(certificate) || !isText(key) || !fits(caCertificate, certificate, key)) return refuse('the certificates');
  if (!Array.isArray(storeAddresses) || storeAddresses.length === 0 || storeAddresses.length > ADDRESSES_MAX || !storeAddresses.every(isAddress)) return refuse('the addresses of the store');
  if (!isText(initialCluster) || (initialCluster !== '' && !(isAddress(etcdClient) && isAddress(etcdPeer)))) return refuse('the member of the store');
  return offer as unknown as JoinOffer;
}
