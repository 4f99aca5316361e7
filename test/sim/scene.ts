/** Three simulated bricks, two clients and a file that both have open: what directed scenarios begin with. */
import assert from 'node:assert/strict';
import { ROOT_GFID, type Gfid } from '../../src/base/ids.js';
import type { Channel } from '../../src/env/channel.js';
import { LOCK_END_MAX } from '../../src/fops/ops.js';
import { LOCK_NONE, LOCK_WRITE } from '../../src/replica/file-locks.js';
import { dialBrick } from '../../src/wire/dial.js';
import type { Message } from '../../src/wire/messages.js';
import { SimClient, SimCluster, type SimBrick } from './sim-cluster.js';
import { World } from './world.js';

export class Scene {
  readonly world: World;
  readonly cluster: SimCluster;
  readonly old: SimClient;
  readonly other: SimClient;
  gfid: Gfid = '';

  private constructor(seed: number) {
    this.world = new World(seed);
    this.cluster = new SimCluster(this.world, 3);
    this.old = new SimClient(this.cluster, 'old');
    this.other = new SimClient(this.cluster, 'other');
  }

  /** Three bricks, and a file that both clients have open: the old one wrote it. */
  static async begin(seed: number): Promise<Scene> {
    const scene = new Scene(seed);
    scene.cluster.start();
    const { attr } = await scene.settle(scene.old.call('create', { parent: ROOT_GFID, name: 'image', mode: 0o644, exclusive: true, truncate: false, uid: 0, gid: 0 }));
    scene.gfid = attr.gfid;
    await scene.settle(scene.write(scene.old, 'before'));
    await scene.settle(scene.other.call('open', { gfid: attr.gfid, truncate: false, killPriv: false }));
    return scene;
  }

  write(client: SimClient, text: string): Promise<unknown> {
    return client.call('write', { gfid: this.gfid, offset: 0, append: false, sync: false, killPriv: false, data: Buffer.from(text) });
  }

  /** The old client becomes the only one who has the file open, and writes until its writes go to all bricks. */
  async writeDirectly(): Promise<void> {
    const { old, other, gfid, cluster } = this;
    cluster.directAfter = 2;
    await this.settle(other.call('release', { gfid }));
    for (let n = 0; old.volume.directWrites === 0; n++) {
      assert.ok(n < 1000, 'no exclusive lease');
      await this.settle(this.write(old, `early ${n}`));
      await this.pass(5);
    }
  }

  lock(client: SimClient, wait: boolean): Promise<unknown> {
    return this.#setLock(client, LOCK_WRITE, wait);
  }

  unlock(client: SimClient): Promise<unknown> {
    return this.#setLock(client, LOCK_NONE, false);
  }

  #setLock(client: SimClient, type: number, wait: boolean): Promise<unknown> {
    return client.call('setLock', { gfid: this.gfid, owner: 'qemu', kind: 0, type, start: 0, end: LOCK_END_MAX, pid: 1, wait });
  }

  async settle<T>(work: Promise<T>, ms = 60_000): Promise<T> {
    let over = false;
    void work.then(
      () => (over = true),
      () => (over = true),
    );
    assert.ok(await this.world.run(() => over, this.world.now + ms), `not settled: ${JSON.stringify(this.cluster.view)}`);
    return work;
  }

  async pass(ms: number): Promise<void> {
    await this.world.run(() => false, this.world.now + ms);
  }

  async until(what: () => boolean): Promise<void> {
    assert.ok(await this.world.run(what, this.world.now + 60_000), JSON.stringify(this.cluster.view));
  }

  /** Nothing gets to or from the client. What it sends is on the way until it is heard again. */
  silence(client: SimClient): void {
    this.cluster.network.cuts.add(`${client.name}>*`).add(`*>${client.name}`);
  }

  hear(client: SimClient): void {
    this.cluster.network.cuts.delete(`${client.name}>*`);
    this.cluster.network.cuts.delete(`*>${client.name}`);
  }

  async content(): Promise<string> {
    const { data } = await this.settle(this.other.call('read', { gfid: this.gfid, offset: 0, size: 100 }));
    return Buffer.from(data).toString();
  }

  async inSync(count: number): Promise<void> {
    await this.until(() => this.cluster.view.inSync.length === count);
  }

  /** A connection to the primary with a session of its own making. */
  stranger(heard: (kind: string) => void): Promise<Channel<Message>> {
    const { world, cluster } = this;
    const { id: volume, secret } = cluster.spec;
    const host = { name: 'stranger', stopped: false, alive: true, incarnation: 1, onTraffic: () => undefined };
    const env = { clock: world.clock(() => true, host), random: world.random, network: cluster.network.of(host) };
    const options = { role: 'client' as const, id: 'f'.repeat(32), brick: cluster.view.primary, volume, secret };
    return dialBrick(env, { host: this.primary().name, port: 1 }, 1000, options, (channel) => {
      channel.onMessage = ({ kind }) => heard(kind);
    });
  }

  primary(): SimBrick {
    return this.cluster.brick(this.cluster.view.primary);
  }

  member(): SimBrick {
    return this.cluster.bricks.find((brick) => brick.id !== this.cluster.view.primary && brick.alive) as SimBrick;
  }
}
