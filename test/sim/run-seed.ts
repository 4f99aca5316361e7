/** One simulated run: clients that check every answer against a model of their own folder, while bricks crash and return. */
import { Errno, FsError } from '../../src/base/errno.js';
import { ROOT_GFID, type Gfid } from '../../src/base/ids.js';
import type { Log } from '../../src/env/log.js';
import { SimClient, SimCluster, STORE } from './sim-cluster.js';
import { World } from './world.js';

export interface Outcome {
  seed: number;
  operations: number;
  faults: number;
  virtualMs: number;
  violations: string[];
}

interface Model {
  gfid: Gfid;
  data: Buffer;
}

const CLIENTS = 3;
const OPERATIONS = 60;
const FAULT_MS = 150;
const LIMIT_MS = 300_000;

async function expectErrno(work: Promise<unknown>, errno: number): Promise<string | undefined> {
  try {
    await work;
    return `succeeded, expected errno ${errno}`;
  } catch (error) {
    if (error instanceof FsError && error.errno === errno) return undefined;
    return `failed with ${String(error)}, expected errno ${errno}`;
  }
}

/** Works through two clients by turns: what the one did, the other must see. */
class Actor {
  readonly clients: SimClient[];
  readonly #world: World;
  readonly #violations: string[];
  readonly #name: string;
  readonly #files = new Map<string, Model>();
  #folder: Gfid = '';
  done = false;
  operations = 0;
  #value = 0;

  constructor(world: World, cluster: SimCluster, name: string, violations: string[]) {
    this.#world = world;
    this.clients = [new SimClient(cluster, `${name}a`), new SimClient(cluster, `${name}b`)];
    this.#name = name;
    this.#violations = violations;
  }

  async run(): Promise<void> {
    const made = await this.client.call('mkdir', { parent: ROOT_GFID, name: this.#name, mode: 0o755, uid: 1, gid: 2 });
    this.#folder = made.attr.gfid;
    for (let i = 0; i < OPERATIONS; i++) {
      await this.#step();
      this.operations++;
      if (this.#world.random.chance(0.3)) await new Promise<void>((resolve) => void this.#world.at(this.#world.random.below(40), resolve));
    }
    await this.#verifyAll();
    this.done = true;
  }

  get client(): SimClient {
    return this.#world.random.pick(this.clients);
  }

  get waiting(): number {
    return this.clients.reduce((sum, client) => sum + client.pending, 0);
  }

  #wrong(what: string): void {
    this.#violations.push(`${this.#name} after ${this.operations} operations at ${this.#world.now.toFixed(1)} ms: ${what}`);
  }

  async #step(): Promise<void> {
    const { random } = this.#world;
    const name = `f${random.below(4)}`;
    const file = this.#files.get(name);
    const parent = this.#folder;
    switch (random.below(7)) {
      case 0: {
        const work = this.client.call('create', { parent, name, mode: 0o644, exclusive: true, truncate: false, uid: 1, gid: 2 });
        if (file !== undefined) {
          const wrong = await expectErrno(work, Errno.EEXIST);
          if (wrong !== undefined) this.#wrong(`create of ${name} ${wrong}`);
          return;
        }
        const { attr } = await work;
        this.#files.set(name, { gfid: attr.gfid, data: Buffer.alloc(0) });
        await this.client.call('release', { gfid: attr.gfid });
        return;
      }
      case 1: {
        const work = this.client.call('unlink', { parent, name });
        if (file === undefined) {
          const wrong = await expectErrno(work, Errno.ENOENT);
          if (wrong !== undefined) this.#wrong(`unlink of ${name} ${wrong}`);
        } else {
          await work;
          this.#files.delete(name);
        }
        return;
      }
      case 2: {
        const newName = `f${random.below(4)}`;
        const work = this.client.call('rename', { parent, name, newParent: parent, newName, flags: 0 });
        if (file === undefined) {
          const wrong = await expectErrno(work, Errno.ENOENT);
          if (wrong !== undefined) this.#wrong(`rename of ${name} ${wrong}`);
          return;
        }
        await work;
        this.#files.delete(name);
        this.#files.set(newName, file);
        return;
      }
      case 3:
      case 4: {
        if (file === undefined) return;
        const offset = random.below(20) * 1000;
        const data = Buffer.from(`${this.#name}:${this.#value++};`.repeat(1 + random.below(30)));
        const append = random.chance(0.3);
        const at = append ? file.data.length : offset;
        const written = await this.client.call('write', { gfid: file.gfid, offset, append, sync: random.chance(0.2), killPriv: false, data });
        if (written.offset !== at) this.#wrong(`a write went to ${written.offset} instead of ${at}`);
        const grown = Buffer.alloc(Math.max(file.data.length, at + data.length));
        file.data.copy(grown);
        data.copy(grown, at);
        file.data = grown;
        return;
      }
      case 5: {
        if (file === undefined) {
          const wrong = await expectErrno(this.client.call('lookup', { parent, name }), Errno.ENOENT);
          if (wrong !== undefined) this.#wrong(`lookup of ${name} ${wrong}`);
        } else await this.#verify(name, file);
        return;
      }
      case 6: {
        if (file === undefined) return;
        const size = random.below(15_000);
        await this.client.call('setattr', { gfid: file.gfid, size, atimeNow: false, mtimeNow: false, killPriv: false });
        const data = Buffer.alloc(size);
        file.data.copy(data);
        file.data = data;
        if (random.chance(0.3)) await this.client.call('fsync', { gfid: file.gfid, dataOnly: false });
        return;
      }
    }
  }

  async #verify(name: string, file: Model): Promise<void> {
    const { attr } = await this.client.call('lookup', { parent: this.#folder, name });
    if (attr.gfid !== file.gfid) this.#wrong(`${name} is another inode`);
    if (attr.size !== file.data.length) this.#wrong(`${name} has ${attr.size} bytes instead of ${file.data.length}`);
    const { data } = await this.client.call('read', { gfid: file.gfid, offset: 0, size: 1 << 20 });
    if (!Buffer.from(data).equals(file.data)) this.#wrong(`${name} holds other bytes than were written`);
  }

  async #verifyAll(): Promise<void> {
    const { entries } = await this.client.call('readdir', { gfid: this.#folder, after: '', limit: 100, attributes: false });
    const names = entries.map((entry) => entry.name).join();
    const expected = [...this.#files.keys()].toSorted().join();
    if (names !== expected) this.#wrong(`the folder lists ${names} instead of ${expected}`);
    for (const [name, file] of this.#files) await this.#verify(name, file);
  }
}

export async function runSeed(seed: number, log?: Log): Promise<Outcome> {
  const world = new World(seed);
  const cluster = new SimCluster(world, 3, log);
  const violations: string[] = [];
  const actors = Array.from({ length: CLIENTS }, (_, i) => new Actor(world, cluster, `client${i}`, violations));
  let faults = 0;
  let faulting = true;
  cluster.start();
  for (const actor of actors) actor.run().catch((error: unknown) => violations.push(`an operation failed: ${String(error)}\n${(error as Error).stack ?? ''}`));

  const names = [...cluster.bricks.map((brick) => brick.name), ...actors.flatMap((actor) => actor.clients.map((client) => client.name)), STORE];
  const crash = (): void => {
    const alive = cluster.bricks.filter((brick) => brick.alive);
    if (alive.length === 0) return;
    // Power may be lost at one brick while the others are full copies (two at once may lose what nobody synced); a process may be killed anywhere.
    const power = world.random.chance(0.3) && cluster.bricks.every((brick) => brick.replica?.status().continuous === true);
    world.random.pick(alive).crash(power);
  };
  const cut = (): void => {
    const from = world.random.pick(names);
    const to = world.random.pick([...names, '*']);
    if (from === to) return;
    const both = world.random.chance(0.6);
    const cuts = both ? [`${from}>${to}`, `${to}>${from}`] : [`${from}>${to}`];
    for (const one of cuts) world.cuts.add(one);
    world.at(world.random.below(world.random.chance(0.2) ? 9000 : 600), () => {
      for (const one of cuts) world.cuts.delete(one);
    });
  };
  const stop = (): void => {
    const party = world.random.pick([...cluster.bricks, ...actors.flatMap((actor) => actor.clients)]);
    party.stopped = true;
    world.at(world.random.below(world.random.chance(0.2) ? 9000 : 400), () => (party.stopped = false));
  };
  const injectFault = (): void => {
    if (!faulting) return;
    if (world.random.chance(0.7)) {
      faults++;
      const kind = world.random.below(10);
      if (kind < 5) crash();
      else if (kind < 8) cut();
      else if (kind < 9) stop();
      else world.random.pick(cluster.bricks).wallErrorMs = world.random.below(7_200_000) - 3_600_000;
    }
    for (const brick of cluster.bricks) {
      if (!brick.alive) world.at(10 + world.random.below(800), () => !brick.alive && brick.start());
    }
    world.at(world.random.below(FAULT_MS * 2), injectFault);
  };
  world.at(FAULT_MS, injectFault);
  const tend = (): void => {
    cluster.tend();
    world.at(100, tend);
  };
  tend();
  world.at(3000, () => {
    faulting = false;
    world.cuts.clear();
    for (const party of [...cluster.bricks, ...actors.flatMap((actor) => actor.clients)]) party.stopped = false;
    for (const brick of cluster.bricks) if (!brick.alive) brick.start();
  });

  const finished = await world.run(() => !faulting && (violations.length > 0 || actors.every((actor) => actor.done)), LIMIT_MS);
  if (!finished) violations.push(`not finished after ${LIMIT_MS} ms: ${actors.map((actor) => `${actor.operations} done, ${actor.waiting} waiting`).join('; ')}; view ${JSON.stringify(cluster.view)}`);
  const healed = await world.run(() => violations.length > 0 || cluster.view.inSync.length === cluster.bricks.length, world.now + 60_000);
  if (!healed) violations.push(`not all bricks are in sync again: ${JSON.stringify(cluster.view)}`);
  await world.run(() => false, world.now + 15_000);
  const [first, ...others] = cluster.bricks;
  for (const other of others) {
    if (violations.length === 0 && other.store.dump() !== first?.store.dump()) violations.push(`bricks differ:\n${first?.store.dump()}\n--\n${other.store.dump()}`);
  }
  return { seed, operations: actors.reduce((sum, actor) => sum + actor.operations, 0), faults, virtualMs: world.now, violations };
}
