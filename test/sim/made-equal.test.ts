/** A brick that was being made equal has to serve, because the primary that did it is lost. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { FsError } from '../../src/base/errno.js';
import { ROOT_GFID } from '../../src/base/ids.js';
import type { SimBrick } from './sim-brick.js';
import type { SimClient } from './sim-cluster.js';
import { Scene } from './scene.js';

interface Change {
  name: string;
  make(client: SimClient): Promise<unknown>;
  shown(brick: SimBrick): boolean;
}

function has(brick: SimBrick, name: string): boolean {
  return brick.store.child(ROOT_GFID, name) !== undefined;
}

const CHANGES: readonly Change[] = [
  {
    name: 'creates a directory',
    make: (client) => client.call('mkdir', { parent: ROOT_GFID, name: 'made', mode: 0o755, uid: 0, gid: 0 }),
    shown: (brick) => has(brick, 'made'),
  },
  {
    name: 'removes a name',
    make: (client) => client.call('unlink', { parent: ROOT_GFID, name: 'mine' }),
    shown: (brick) => !has(brick, 'mine'),
  },
  {
    name: 'renames',
    make: (client) => client.call('rename', { parent: ROOT_GFID, name: 'mine', newParent: ROOT_GFID, newName: 'moved', flags: 0 }),
    shown: (brick) => has(brick, 'moved') && !has(brick, 'mine'),
  },
];

void describe('a brick that was being made equal', () => {
  for (const [index, { name, make, shown }] of CHANGES.entries()) {
    void it(`has the answer to what came to it so, and nobody ${name} twice`, async () => {
      for (let seed = 61; seed < 65; seed++) {
        const scene = await Scene.begin(10 * seed + index);
        const { old, cluster } = scene;
        await scene.settle(old.call('create', { parent: ROOT_GFID, name: 'mine', mode: 0o644, exclusive: true, truncate: false, uid: 0, gid: 0 }));
        await scene.pass(50);
        const primary = scene.primary();
        const members = cluster.bricks.filter((brick) => brick !== primary);
        for (const member of members) cluster.network.cuts.add(`${primary.name}>${member.name}`);
        const made = make(old).then(() => 0, (error: FsError) => error.errno);
        await scene.until(() => shown(primary));
        scene.silence(old);
        for (const brick of cluster.bricks) brick.crash(false);
        cluster.network.cuts.clear();
        scene.silence(old);
        for (const brick of cluster.bricks) brick.start();
        await scene.until(() => members.some(shown));
        primary.crash(false);
        await scene.until(() => cluster.view.primary !== primary.id);
        scene.hear(old);
        assert.equal(await scene.settle(made), 0);
      }
    });
  }
});
