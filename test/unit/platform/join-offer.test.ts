import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Refused } from '../../../src/cluster/refused.js';
import { checkOffer } from '../../../src/platform/join-offer.js';
import { makeAuthority, makeNodeCertificate } from '../../../src/platform/pki.js';

const NODE = 'ab'.repeat(16);

test('an offer that no pool would make is refused before anything is changed for it', async () => {
  const authority = await makeAuthority('cd'.repeat(16));
  const other = await makeAuthority('ef'.repeat(16));
  const { certificate, key } = await makeNodeCertificate(authority, NODE, ['127.0.0.1']);
  const good = {
    pool: { id: 'cd'.repeat(16), caCertificate: authority.certificate, caKey: '' },
    peer: { id: NODE, hostname: 'n', otherNames: [], address: '127.0.0.1:1', etcdClient: '127.0.0.1:2', etcdPeer: '[::1]:3' },
    certificate, key, token: '', storeAddresses: ['127.0.0.1:2', '[fe80::1]:2'], initialCluster: `${NODE}=https://127.0.0.1:3`,
  };
  assert.deepEqual(checkOffer(good), good);
  const wrong: unknown[] = [
    null, [], 'x', {}, { ...good, pool: null }, { ...good, peer: undefined }, { ...good, pool: { ...good.pool, id: '../../x' } },
    { ...good, pool: { ...good.pool, caCertificate: undefined } }, { ...good, pool: { ...good.pool, caCertificate: 'x' } }, { ...good, pool: { ...good.pool, caCertificate: other.certificate } },
    { ...good, certificate: 'y' }, { ...good, key: other.key }, { ...good, key: 5 }, { ...good, storeAddresses: [] }, { ...good, storeAddresses: 'a' }, { ...good, storeAddresses: ['/etc/passwd'] },
    { ...good, storeAddresses: [5] }, { ...good, initialCluster: undefined }, { ...good, peer: { ...good.peer, etcdClient: '--flag' } },
  ];
  for (const [index, offer] of wrong.entries()) assert.throws(() => checkOffer(offer), Refused, `offer ${index}`);
});
