/** Programs on the mounts of three nodes, all at once, with hot caches: what each was told must fit one history. */
import { test } from 'node:test';
import { Cluster, withCluster } from '../support/cluster.js';
import { run } from '../support/exec.js';
import { coherenceOver } from './all.js';
import { PING_TIMEOUT_S } from './dead-clients.js';

test('three mounts are one filesystem', async (t) => {
  await withCluster(
    () => Cluster.mounted({ options: { 'network.ping-timeout': String(PING_TIMEOUT_S) } }),
    async (cluster) => {
      await run('chmod', ['755', cluster.root], {});
      await coherenceOver(t, cluster);
      await t.test('and leave three equal bricks', () => cluster.assertHealedAndEqual());
    },
  );
});
