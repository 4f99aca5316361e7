/** A pair of clients that check every answer against a model of their own folder: what the one did, the other must see, byte by byte. */
import { Errno, FsError } from '../../src/base/errno.js';
import { ROOT_GFID, type Gfid } from '../../src/base/ids.js';
import type { VolumeClient } from '../../src/client/client.js';
import { SimClient, type SimCluster } from './sim-cluster.js';
import type { World } from './world.js';

interface Model {
  gfid: Gfid;
  data: Buffer;
}

const THINK_MS_MAX = 150;

async function expectErrno(work: Promise<unknown>, errno: number): Promise<string | undefined> {
  try {
    await work;
    return `succeeded, expected errno ${errno}`;
  } catch (error) {
    if (error instanceof FsError && error.errno === errno) return undefined;
    return `failed with ${String(error)}, expected errno ${errno}`;
  }
}

export class OwnerActor {
  readonly clients: SimClient[];
  readonly #world: World;
  readonly #ending: () => boolean;
  readonly #violations: string[];
  readonly #name: string;
  readonly #files = new Map<string, Model>();
  #folder: Gfid = '';
  done = false;
  operations = 0;
  #value = 0;

  constructor(world: World, cluster: SimCluster, name: string, ending: () => boolean, violations: string[]) {
    this.#world = world;
    this.#ending = ending;
    this.clients = [new SimClient(cluster, `${name}a`), new SimClient(cluster, `${name}b`)];
    this.#name = name;
    this.#violations = violations;
  }

  async run(): Promise<void> {
    const begin = async (): Promise<void> => {
      const made = await this.client.call('mkdir', { parent: ROOT_GFID, name: this.#name, mode: 0o755, uid: 1, gid: 2 });
      this.#folder = made.attr.gfid;
    };
    if (await this.#revokedDuring(begin)) return;
    while (!this.#ending()) {
      if (await this.#revokedDuring(() => this.#step())) return;
      this.operations++;
      await new Promise<void>((resolve) => void this.#world.at(this.#world.random.skewed(0, THINK_MS_MAX), resolve));
    }
    await this.#revokedDuring(() => this.#verifyAll());
    this.done = true;
  }

  /** A session that was revoked takes with it what this model knows of what was under way. */
  async #revokedDuring(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return false;
    } catch (error) {
      if (this.clients.every((client) => client.revocations === 0)) throw error;
      this.done = true;
      return true;
    }
  }

  get client(): VolumeClient {
    return this.#world.random.pick(this.clients).volume;
  }

  #wrong(what: string): void {
    if (this.clients.some((client) => client.revocations > 0)) return;
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

