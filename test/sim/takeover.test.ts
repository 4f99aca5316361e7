/** A new primary takes over: what must not be believed of the one before, of copies that it was changing, and what a brick promised. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Errno, FsError } from '../../src/base/errno.js';
import { ROOT_GFID } from '../../src/base/ids.js';
import { LOCK_NONE, LOCK_WRITE } from '../../src/replica/file-locks.js';
import { STORE } from './sim-authority.js';
import type { SimBrick } from './sim-brick.js';
import { SimClient, SimCluster } from './sim-cluster.js';
import { World } from './world.js';

const MESSAGES_MAX = 40;

class Takeover {
  readonly world: World;
  readonly cluster: SimCluster;
  readonly client: SimClient;

  private constructor(seed: number, bricks: number) {
    this.world = new World(seed);
    this.cluster = new SimCluster(this.world, bricks);
    this.client = new SimClient(this.cluster, 'client');
  }

  static async begin(seed: number, bricks = 3): Promise<Takeover> {
    const takeover = new Takeover(seed, bricks);
    takeover.cluster.start();
    await takeover.settle(mkdir(takeover.client, 'first'));
    return takeover;
  }

  /** The primary, and the others in the order in which they would take over. */
  bricks(): [primary: SimBrick, next: SimBrick, last: SimBrick] {
    const primary = this.cluster.brick(this.cluster.view.primary);
    const others = this.cluster.bricks.filter((brick) => brick !== primary).toSorted((a, b) => (a.id < b.id ? -1 : 1));
    return [primary, others[0] as SimBrick, others[1] as SimBrick];
  }

  async settle<T>(work: Promise<T>): Promise<T> {
    let over = false;
    void work.then(
      () => (over = true),
      () => (over = true),
    );
    await this.until(() => over);
    return await work;
  }

  async pass(ms: number): Promise<void> {
    await this.world.run(() => false, this.world.now + ms);
  }

  async until(what: () => boolean): Promise<void> {
    assert.ok(await this.world.run(what, this.world.now + 90_000), `${JSON.stringify(this.cluster.view)} at ${this.world.now}`);
  }

  cut(...lines: string[]): void {
    for (const line of lines) this.cluster.network.cuts.add(line);
  }

  /** Nothing passes between the two, in either direction. */
  part(a: readonly string[], b: readonly string[]): void {
    for (const one of a) for (const other of b) this.cut(`${one}>${other}`, `${other}>${one}`);
  }
}

function mkdir(client: SimClient, name: string): Promise<unknown> {
  return client.call('mkdir', { parent: ROOT_GFID, name, mode: 0o755, uid: 0, gid: 0 });
}

/** 0, or the errno. */
async function lookup(client: SimClient, name: string): Promise<number> {
  try {
    await client.call('lookup', { parent: ROOT_GFID, name });
    return 0;
  } catch (error) {
    if (!(error instanceof FsError)) throw error;
    return error.errno;
  }
}

void describe('a new primary', () => {
  void it('changes nothing while a client may believe what the one before told it', async () => {
    const scene = await Takeover.begin(1);
    const [primary, next] = scene.bricks();
    const deaf = new SimClient(scene.cluster, 'deaf');
    assert.equal(await scene.settle(lookup(deaf, 'made')), Errno.ENOENT);
    await scene.pass(2000);
    assert.equal(await scene.settle(lookup(deaf, 'made')), Errno.ENOENT);
    scene.cut('deaf>*', '*>deaf');
    primary.crash(false);
    await scene.settle(mkdir(scene.client, 'made'));
    assert.equal(scene.cluster.view.primary, next.id);
    let told: number | undefined;
    void lookup(deaf, 'made').then((errno) => (told = errno));
    await scene.pass(400);
    assert.equal(told, undefined, 'it is cut off, and its lease is over');
    scene.cluster.network.cuts.clear();
    await scene.until(() => told !== undefined);
    assert.equal(told, 0);
  });

  void it('changes something at once when all clients have let go of what the one before told them', async () => {
    const scene = await Takeover.begin(1);
    const [primary] = scene.bricks();
    const other = new SimClient(scene.cluster, 'other');
    assert.equal(await scene.settle(lookup(other, 'made')), Errno.ENOENT);
    await scene.pass(2000);
    primary.crash(false);
    await scene.until(() => scene.cluster.view.primary !== primary.id);
    const since = scene.world.now;
    await scene.settle(mkdir(scene.client, 'made'));
    assert.ok(scene.world.now - since < 100, `${scene.world.now - since} ms after the view`);
    assert.equal(await scene.settle(lookup(other, 'made')), 0);
  });

  void it('does not believe a copy that the one before was changing when it died', async () => {
    for (let messages = 1; messages <= MESSAGES_MAX; messages++) {
      const scene = await Takeover.begin(2);
      const [primary, next, last] = scene.bricks();
      const { cluster } = scene;
      // The change is at two bricks, and not at the one that takes over.
      scene.cut(`${primary.name}>${next.name}`, `${primary.name}>${STORE}`, `${STORE}>${primary.name}`);
      const made = mkdir(scene.client, 'made');
      await scene.pass(50);
      next.doom({ power: false, calls: 0, messages });
      primary.crash(false);
      await scene.until(() => !next.alive || next.replica?.serving === true);
      if (next.alive) next.crash(false);
      await scene.pass(3000);
      next.start();
      cluster.network.cuts.clear();
      await scene.settle(made);
      assert.equal(await scene.settle(lookup(scene.client, 'made')), 0, `it died at message ${messages}`);
      primary.start();
      await scene.until(() => cluster.view.inSync.length === 3);
      assert.equal(last.store.dump(), next.store.dump());
    }
  });

  void it('is believed by a client of a brick whose machine lost power, but not that this copy is equal', async () => {
    for (let seed = 10; seed < 20; seed++) {
      const scene = await Takeover.begin(seed);
      const { cluster, client } = scene;
      const [primary, member] = scene.bricks();
      const near = new SimClient(cluster, 'near');
      assert.equal(near.home, member.id);
      const { attr } = await scene.settle(client.call('create', { parent: ROOT_GFID, name: 'file', mode: 0o644, exclusive: true, truncate: false, uid: 0, gid: 0 }));
      const write = (text: string): Promise<unknown> =>
        scene.settle(client.call('write', { gfid: attr.gfid, offset: 0, append: false, sync: false, killPriv: false, data: Buffer.from(text.repeat(4096)) }));
      await write('a');
      await scene.settle(client.call('fsync', { gfid: attr.gfid, dataOnly: false }));
      await write('b');
      await scene.pass(1500);
      // The primary does not hear of it, and goes on saying that the member is equal.
      scene.part([primary.name], [member.name]);
      member.crash(true);
      member.start();
      for (const channel of [...cluster.network.channels]) if (channel.owner === near) channel.reset();
      for (let i = 0; i < 20; i++) {
        await scene.pass(50);
        const { data } = await scene.settle(near.call('read', { gfid: attr.gfid, offset: 0, size: 4096 }));
        assert.ok(Buffer.from(data).equals(Buffer.alloc(4096, 'b')), `what was before, with seed ${seed}`);
      }
    }
  });

  void it('makes a member equal again that was lost while another one was made equal', async () => {
    const scene = await Takeover.begin(5, 4);
    const { cluster } = scene;
    const [primary, next, again] = scene.bricks();
    const slow = cluster.bricks.find((brick) => ![primary, next, again].includes(brick)) as SimBrick;
    await scene.settle(mkdir(scene.client, 'not synced'));
    scene.cut(`${slow.name}>${next.name}`);
    primary.crash(false);
    await scene.until(() => cluster.view.primary === next.id);
    cluster.network.cuts.clear();
    let calls = 0;
    cluster.network.onDelivery = (from, to, message) => {
      // Its seal arrives, and no answer after it.
      if (from === slow.name && to === next.name && message.kind === 'answer' && ++calls === 1) scene.cut(`${slow.name}>${next.name}`);
    };
    await scene.until(() => calls === 1);
    await scene.pass(500);
    assert.equal(next.replica?.serving, false);
    again.crash(true);
    again.start();
    await scene.pass(300);
    cluster.network.onDelivery = undefined;
    cluster.network.cuts.clear();
    await scene.until(() => next.replica?.serving === true);
    primary.start();
    await scene.until(() => cluster.view.inSync.length === 4 && cluster.bricks.every((brick) => brick.replica?.status().continuous === true));
    for (const brick of cluster.bricks) assert.equal(brick.store.dump(), next.store.dump(), brick.name);
  });

  void it('gives no lock after a loss of all power before its holder has claimed it', async () => {
    const scene = await Takeover.begin(4);
    const { cluster, client } = scene;
    const { attr } = await scene.settle(client.call('create', { parent: ROOT_GFID, name: 'file', mode: 0o644, exclusive: true, truncate: false, uid: 0, gid: 0 }));
    await scene.settle(client.call('fsync', { gfid: attr.gfid, dataOnly: false }));
    const other = new SimClient(cluster, 'other');
    const lock = (who: SimClient, type: number): Promise<unknown> => who.call('setLock', { gfid: attr.gfid, owner: 'o', kind: 0, type, start: 0, end: 9, pid: 1, wait: true });
    await scene.settle(lock(client, LOCK_WRITE));
    assert.equal(await scene.settle(lookup(other, 'file')), 0);
    scene.cut('client>*', '*>client');
    for (const brick of cluster.bricks) brick.crash(true);
    for (const brick of cluster.bricks) brick.start();
    let given = false;
    const late = lock(other, LOCK_WRITE).then(() => (given = true));
    await scene.pass(4000);
    assert.equal(scene.bricks()[0].replica?.serving, true);
    assert.equal(given, false, 'its holder was not heard yet');
    cluster.network.cuts.clear();
    await scene.pass(3000);
    assert.equal(given, false, 'its holder has it');
    await scene.settle(lock(client, LOCK_NONE));
    await scene.settle(late);
  });

  for (let seed = 11; seed < 16; seed++) {
    void it(`syncs what a synchronous write left in memory before it answers it again, seed ${seed}`, async () => {
      const scene = await Takeover.begin(seed);
      const [old, ...others] = scene.bricks();
      const { cluster, client } = scene;
      const { attr } = await scene.settle(client.call('create', { parent: ROOT_GFID, name: 'file', mode: 0o644, exclusive: true, truncate: false, uid: 0, gid: 0 }));
      const { gfid } = attr;
      await scene.settle(client.call('fsync', { gfid, dataOnly: false }));
      const size = (brick: SimBrick): number => brick.store.getattr(gfid).size;
      const written = client.call('write', { gfid, offset: 0, append: false, sync: true, killPriv: false, data: Buffer.from('on the disk') });
      await scene.until(() => others.every((brick) => size(brick) === 11));
      old.crash(false);
      await scene.settle(written);
      for (const brick of others) brick.crash(true);
      old.losePowerWhileDown();
      for (const brick of cluster.bricks) brick.start();
      const { data } = await scene.settle(client.call('read', { gfid, offset: 0, size: 100 }));
      assert.equal(Buffer.from(data).toString(), 'on the disk');
    });
  }

  /** What the file holds at the end; undefined where the primary did not end between the change and its answer. */
  async function endedInBetween(truncates: boolean, calls: number): Promise<string | undefined> {
    const scene = await Takeover.begin(6);
    const [old, ...others] = scene.bricks();
    const { cluster, client } = scene;
    const { attr } = await scene.settle(client.call('create', { parent: ROOT_GFID, name: 'file', mode: 0o644, exclusive: true, truncate: false, uid: 0, gid: 0 }));
    const { gfid } = attr;
    const write = (who: SimClient, text: string): Promise<unknown> => who.call('write', { gfid, offset: 0, append: false, sync: false, killPriv: false, data: Buffer.from(text) });
    const holds = async (brick: SimBrick): Promise<string> => Buffer.from(await brick.store.read(gfid, 0, 100)).toString();
    await scene.settle(write(client, 'before'));
    await scene.pass(500);
    // Nobody takes over meanwhile.
    scene.cut(`${STORE}>*`, `*>${STORE}`);
    old.doom({ power: false, calls, messages: 0 });
    const changed = truncates ? client.call('setattr', { gfid, size: 3, atimeNow: false, mtimeNow: true, killPriv: false }) : write(client, 'first!');
    await scene.until(() => !old.alive);
    if ((await scene.settle(holds(old))) !== (truncates ? 'bef' : 'first!')) return undefined;
    // A member has it, and its answer.
    await scene.pass(30);
    if (!truncates) for (const brick of others) assert.equal(await scene.settle(holds(brick)), 'first!');
    cluster.network.cuts.clear();
    scene.cut('client>*', '*>client');
    for (const brick of others) brick.crash(false);
    for (const brick of cluster.bricks) brick.start();
    const other = new SimClient(cluster, 'other');
    await scene.settle(write(other, 'second'));
    assert.equal(scene.bricks()[0], old);
    cluster.network.cuts.clear();
    await scene.settle(changed);
    const { data } = await scene.settle(other.call('read', { gfid, offset: 0, size: 100 }));
    return Buffer.from(data).toString();
  }

  for (const truncates of [false, true]) {
    void it(`makes no ${truncates ? 'truncation' : 'write'} again when its process ended before it answered, and those of the members after it`, async () => {
      const outcomes: (string | undefined)[] = [];
      for (let calls = 1; calls < 5; calls++) outcomes.push(await endedInBetween(truncates, calls));
      const seen = new Set(outcomes.filter((outcome) => outcome !== undefined));
      assert.deepEqual([...seen], ['second'], outcomes.join(', '));
    });
  }

  void it('is not obeyed by a brick that has promised to obey a later one, and was restarted since', async () => {
    const scene = await Takeover.begin(3);
    const [old, member, third] = scene.bricks();
    const { cluster, client } = scene;
    third.crash(false);
    await scene.until(() => cluster.view.inSync.length === 2);
    await scene.settle(mkdir(client, 'before'));
    // The old primary and a client hear of nobody else: the two others become the set.
    const far = [old.name, client.name];
    scene.part(far, [STORE, member.name, third.name]);
    third.start();
    await scene.until(() => cluster.view.inSync.includes(third.id) && !cluster.view.inSync.includes(old.id));
    const other = new SimClient(cluster, 'other');
    await scene.settle(mkdir(other, 'since'));
    scene.part(far, ['other']);
    // The other one of them has the role now.
    member.crash(false);
    await scene.until(() => cluster.view.primary === third.id);
    // The member returns, and hears of the old primary only.
    cluster.network.cuts.delete(`${old.name}>${member.name}`);
    cluster.network.cuts.delete(`${member.name}>${old.name}`);
    scene.part([member.name], [STORE, third.name, 'other']);
    member.start();
    let acknowledged = false;
    const late = mkdir(client, 'late').then(() => (acknowledged = true));
    await scene.pass(20_000);
    assert.equal(acknowledged, false, 'it was acknowledged by those that are not the set any more');
    cluster.network.cuts.clear();
    await scene.settle(late);
    for (const name of ['before', 'since', 'late']) assert.equal(await scene.settle(lookup(other, name)), 0, name);
  });
});
