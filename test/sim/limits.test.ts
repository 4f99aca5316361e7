/** What a client that keeps to no rules can bring about at the primary. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Gfid } from '../../src/base/ids.js';
import type { Channel } from '../../src/env/channel.js';
import type { HeldLock } from '../../src/fops/held-lock.js';
import type { Args, OpName, Result } from '../../src/fops/ops.js';
import { LOCK_READ } from '../../src/replica/file-locks.js';
import { dialBrick } from '../../src/wire/dial.js';
import type { Message, MessageOf } from '../../src/wire/messages.js';
import { Scene } from './scene.js';

const OWN_SESSION = 'e'.repeat(32);

/** A session of which every message is made here. */
class Bare {
  readonly scene: Scene;
  readonly heard: Message[] = [];
  #channel: Channel<Message> | undefined;
  #id = 1;

  constructor(scene: Scene) {
    this.scene = scene;
  }

  /** To the primary, and what it holds is claimed. */
  async connect(begins: boolean, locks: HeldLock[] = []): Promise<void> {
    const { world, cluster } = this.scene;
    const { id: volume, secret } = cluster.spec;
    const host = { name: 'bare', stopped: false, alive: true, incarnation: 1, onTraffic: () => undefined };
    const env = { clock: world.clock(() => true, host), random: world.random, network: cluster.network.of(host) };
    const options = { role: 'client' as const, id: OWN_SESSION, brick: cluster.view.primary, volume, secret };
    const dialled = dialBrick(env, { host: this.scene.primary().name, port: 1 }, 1000, options, (channel) => {
      this.#channel = channel;
      channel.onMessage = (message) => this.heard.push(message);
    });
    await this.scene.settle(dialled);
    const { epoch } = cluster.view;
    this.#channel?.send({ kind: 'reclaim', id: epoch, epoch, begins, opens: [], locks });
    await this.scene.until(() => this.heard.some(({ kind }) => kind === 'reclaimed' || kind === 'fenced'));
    this.#channel?.send({ kind: 'unleased', epoch });
  }

  /** Sends a change under this number; the id of its answer. */
  send<K extends OpName>(requestNumber: number, op: K, args: Args<K>): number {
    const id = this.#id++;
    this.#channel?.send({ kind: 'request', id, epoch: this.scene.cluster.view.epoch, requestNumber, acknowledged: 0, op, args } as Message);
    return id;
  }

  answer(id: number): MessageOf<'reply'> | undefined {
    return this.heard.find((message): message is MessageOf<'reply'> => message.kind === 'reply' && message.id === id);
  }

  get closed(): boolean {
    return this.#channel?.closed === true;
  }
}

function given(gfid: Gfid, count: number, of = gfid): Args<'setLock'> {
  const granted = Array.from({ length: count }, (_, i) => ({ gfid: of, owner: 'o', kind: 0, type: LOCK_READ, start: 2 * i, end: 2 * i, pid: 1 }));
  return { gfid, owner: 'o', kind: 0, type: LOCK_READ, start: 0, end: 0, pid: 1, wait: false, granted };
}

function gfidOf(n: number): Gfid {
  return n.toString(16).padStart(32, 'c');
}

async function begin(seed: number): Promise<Bare> {
  const bare = new Bare(await Scene.begin(seed));
  await bare.connect(true);
  return bare;
}

void describe('a client that keeps to no rules', () => {
  for (const [what, args] of [['on another inode', given(gfidOf(1), 1, gfidOf(2))], ['too many at once', given(gfidOf(1), 129)]] as const) {
    void it(`loses its connection when it tells of locks that it cannot have given: ${what}`, async () => {
      const bare = await begin(1);
      bare.send(1, 'setLock', given(gfidOf(1), 128));
      await bare.scene.until(() => bare.answer(1) !== undefined);
      bare.send(2, 'setLock', args);
      await bare.scene.pass(50);
      assert.equal(bare.closed, true);
    });
  }

  void it('is revoked when it claims more locks than a session may have', async () => {
    const bare = new Bare(await Scene.begin(2));
    await bare.connect(true, given(gfidOf(1), 16_385).granted);
    assert.deepEqual(bare.heard.map(({ kind }) => kind).at(-1), 'fenced');
  });

  void it('is answered anew with attributes that every brick has', async () => {
    const bare = await begin(3);
    const { scene } = bare;
    const { cluster, gfid } = scene;
    const attributes = { gfid, mode: 0o600, atimeNow: false, mtimeNow: false, killPriv: false };
    const first = bare.send(1, 'setattr', attributes);
    await scene.until(() => bare.answer(first) !== undefined);
    // From here on the answer is one of the journal.
    for (const brick of cluster.bricks) brick.crash(false);
    for (const brick of cluster.bricks) brick.start();
    await scene.until(() => scene.primary().replica?.serving === true && scene.old.volume.connected && scene.other.volume.connected);
    bare.heard.length = 0;
    await bare.connect(false);
    await scene.pass(3000);
    const primary = scene.primary().name;
    const cuts = cluster.bricks.filter(({ name }) => name !== primary).map(({ name }) => `${name}>${primary}`);
    for (const cut of cuts) cluster.network.cuts.add(cut);
    const written = scene.old.call('write', { gfid, offset: 1000, append: false, sync: false, killPriv: false, data: Buffer.from('far') });
    await scene.pass(50);
    const again = bare.send(1, 'setattr', attributes);
    await scene.pass(200);
    assert.equal(bare.answer(again), undefined);
    for (const cut of cuts) cluster.network.cuts.delete(cut);
    await scene.settle(written);
    await scene.until(() => bare.answer(again) !== undefined);
    const result = bare.answer(again)?.result as Result<'setattr'> | undefined;
    assert.equal(result?.attr.size, 1003);
  });
});

void describe('two locks of one client that are under way together', () => {
  void it('bring a lease that every brick knows of before the client does', async () => {
    const scene = await Scene.begin(4);
    const { cluster, old, gfid } = scene;
    await scene.pass(300);
    const primary = scene.primary().name;
    const members = cluster.bricks.map(({ name }) => name).filter((name) => name !== primary);
    for (const member of members) cluster.network.slow.set(`${primary}>${member}`, 5);
    const knownBy = new Map<number, string[]>();
    const bricksThatKnew: string[][] = [];
    cluster.network.onDelivery = (_, to, message) => {
      if (message.kind === 'replicate' && message.op === 'setLock' && message.args.leased !== undefined) knownBy.set(message.args.leased, [...(knownBy.get(message.args.leased) ?? []), to]);
      if (message.kind === 'lockLease') bricksThatKnew.push([...(knownBy.get(message.lease) ?? [])]);
    };
    const lock = (at: number): Promise<unknown> => old.call('setLock', { gfid, owner: 'qemu', kind: 0, type: LOCK_READ, start: at, end: at, pid: 1, wait: false });
    await scene.settle(Promise.all([lock(1), lock(3)]));
    await scene.pass(50);
    assert.deepEqual(bricksThatKnew.map((names) => names.toSorted()), [members.toSorted()]);
  });
});
