/** The POSIX suite on the live mounts of a cluster: each claim between processes on two nodes. */
import { test } from 'node:test';
import { Cluster, withCluster } from '../support/cluster.js';
import { run } from '../support/exec.js';
import { posixOver } from './posix/all.js';

test('the POSIX suite holds on mounts of three nodes', async (t) => {
  await withCluster(
    () => Cluster.mounted(),
    async (cluster) => {
      await run('chmod', ['755', cluster.root], {});
      await posixOver(t, { directories: cluster.nodes.map((node) => node.mountPoint), fuse: true });
      await t.test('and leaves three equal bricks', () => cluster.assertHealedAndEqual());
    },
  );
});
