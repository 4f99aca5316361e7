/** A client that works on the shared tree, one operation after the other, and writes down what it asked and was told. */
import { errnoName, Errno, FsError, LostError } from '../../src/base/errno.js';
import type { Gfid } from '../../src/base/ids.js';
import type { Attr } from '../../src/fops/fields.js';
import { S_IFDIR, S_IFMT } from '../../src/fops/ops.js';
import { LOCK_NONE, LOCK_WRITE } from '../../src/replica/file-locks.js';
import type { Operation } from '../support/linearizability.js';
import type { NamesInput, NamesOutput, Place } from '../support/sequential-models.js';
import type { Histories, History } from './histories.js';
import { BLOCK_BYTES, blockName, DIRECTORIES, ENTRY_BYTES, gfidOf, idOf, NAMES, readBlock, readFile, valueBytes, type SharedTree } from './shared-tree.js';
import type { SimClient } from './sim-cluster.js';
import type { World } from './world.js';

/** Answers that a program must expect on this tree. */
const EXPECTED = new Set<number>([Errno.ENOENT, Errno.EEXIST, Errno.ENOTDIR, Errno.EISDIR, Errno.ESTALE]);
const FILE_ENTRIES_MAX = 12;
const THINK_MS_MAX = 120;
const AWAKE_CHECK_MS = 5;
const BURST_MAX = 8;
const LOCKS_MAX = 8;
const LOCKS_MS_MAX = 30;
const BURST_MS_MAX = 10;

export interface ActorHost {
  readonly world: World;
  readonly tree: SharedTree;
  readonly histories: Histories;
  /** Operations after this one are the last few. */
  readonly ending: boolean;
  /** Disks are reported full: ENOSPC is an answer. */
  readonly fullAllowed: boolean;
  /** A value that nobody wrote before; also numbers the creations. */
  nextValue(): number;
  violation(text: string): void;
  /** The client's session was revoked, and with it its lock. */
  sessionLost(client: SimClient, locked: boolean): void;
  /** The operation was under way when the session was revoked: it took effect before that, or never (`sent`: it may have). */
  revoked<I, O>(history: History<I, O>, operation: Operation<I, O>, sent: boolean): void;
  counted(): void;
}

export class SharedActor {
  readonly client: SimClient;
  readonly #host: ActorHost;
  readonly #histories: Histories;
  readonly #seen = new Map<Place, string>();
  #left: number;
  /** It holds the lock, or asked for it and has no answer, or gives it up and has none. */
  #locked = false;
  #open: Gfid[] = [];
  done = false;
  /** What it waits for, for reports. */
  doing = '';

  constructor(host: ActorHost, client: SimClient, operationsAtEnd: number) {
    this.#host = host;
    this.#histories = host.histories;
    this.client = client;
    this.#left = operationsAtEnd;
    client.onRevoked = () => {
      host.sessionLost(client, this.#locked);
      this.#locked = false;
      this.#open = [];
    };
  }

  async run(): Promise<void> {
    while (this.#left > 0) {
      await this.#pause(this.#host.world.random.skewed(0, this.#host.ending ? 20 : THINK_MS_MAX));
      if (this.#host.ending) this.#left--;
      if (this.client.reads) await this.#look();
      else await this.#step();
      this.#host.counted();
    }
    if (this.#locked) await this.#unlock();
    while (this.#open.length > 0) await this.#release(this.#open.pop() as Gfid);
    this.done = true;
  }

  async #pause(ms: number): Promise<void> {
    const { world } = this.#host;
    await new Promise<void>((resolve) => void world.at(ms, resolve));
    while (this.client.stopped) await new Promise<void>((resolve) => void world.at(AWAKE_CHECK_MS, resolve));
    // Whoever is dead does not go on.
    if (!this.client.alive) await new Promise<void>(() => undefined);
    world.running = this.client;
  }

  async #look(): Promise<void> {
    const kind = this.#host.world.random.below(5);
    if (kind < 2) await this.#lookup();
    else if (kind < 3) await this.#list();
    else if (kind < 4) await this.#readBlock();
    else await this.#readFile();
  }

  async #step(): Promise<void> {
    const { random } = this.#host.world;
    const kind = random.below(100);
    if (kind < 14) await this.#create();
    else if (kind < 18) await this.#mkdir();
    else if (kind < 26) await this.#remove('unlink');
    else if (kind < 28) await this.#remove('rmdir');
    else if (kind < 36) await this.#rename();
    else if (kind < 40) await this.#link();
    else if (kind < 50) await this.#lookup();
    else if (kind < 54) await this.#list();
    else if (kind < 62) await this.#writeBlock(random.below(this.#host.tree.offsets.length));
    else if (kind < 66) await this.#burst();
    else if (kind < 76) await this.#readBlock();
    else if (kind < 82) await this.#append();
    else if (kind < 87) await this.#readFile();
    else if (kind < 89) await this.#size();
    else if (kind < 90) await this.#truncate();
    else if (kind < 94) await this.#sync();
    else if (kind < 98) await this.#lockOrUnlock();
    else await this.#lockBurst();
  }

  /** Asks, and writes down the answer. An answer that is not known leaves the operation open. */
  async #ask<I, O, R>(history: History<I, O>, input: I, work: () => Promise<R>, output: (result: R) => O, failed: (errno: number) => O | undefined): Promise<R | undefined> {
    const operation = history.begin(this.client.name, input);
    const { revocations } = this.client;
    this.doing = JSON.stringify(input);
    try {
      const result = await work();
      history.end(operation, output(result));
      this.doing = '';
      return result;
    } catch (error) {
      this.doing = '';
      if (!(error instanceof FsError) && !(error instanceof LostError)) throw error;
      if (this.client.revocations > revocations) this.#host.revoked(history, operation, error instanceof LostError);
      else if (error instanceof FsError) this.#failed(history, operation, error, failed(error.errno));
      else this.#host.violation(`${this.client.name}: ${JSON.stringify(input)} was lost: ${error.message}`);
      return undefined;
    }
  }

  #failed<I, O>(history: History<I, O>, operation: Operation<I, O>, error: FsError, output: O | undefined): void {
    const { create, mkdir } = operation.input as { create?: Place; mkdir?: Place };
    // Made before, told again after a restart, and gone since: nobody can say what was made.
    if (error.errno === Errno.ESTALE && (create ?? mkdir) !== undefined) operation.return = this.#histories.instants.next();
    else if (output !== undefined) history.end(operation, output);
    else if (error.errno === Errno.ENOSPC && this.#host.fullAllowed) this.#refusedForSpace(history, operation);
    else this.#host.violation(`${this.client.name}: ${JSON.stringify(operation.input)} failed: ${error.message}`);
  }

  /** Nothing happened, but that a write may have changed bytes of its range. */
  #refusedForSpace<I, O>(history: History<I, O>, operation: Operation<I, O>): void {
    const input = operation.input as { block?: string; write?: string };
    if (input.block === undefined || input.write === undefined) {
      history.withdraw(operation);
      return;
    }
    operation.input = { block: input.block, scribble: input.write } as I;
    history.end(operation, '' as O);
  }

  // ---------------------------------------------------------------- names

  #askName<R>(input: NamesInput, work: () => Promise<R>, output: (result: R) => NamesOutput): Promise<R | undefined> {
    return this.#ask(this.#histories.names, input, work, output, (errno) => (EXPECTED.has(errno) ? { error: errnoName(errno) } : undefined));
  }

  #somePlace(): Place {
    const { random } = this.#host.world;
    return `${random.pick(DIRECTORIES)}/${random.pick(NAMES)}`;
  }

  #at(place: Place): { parent: Gfid; name: string } {
    const [directory = '', name = ''] = place.split('/');
    return { parent: this.#host.tree.directories.get(directory) as Gfid, name };
  }

  async #create(): Promise<void> {
    const place = this.#somePlace();
    const args = { ...this.#at(place), mode: 0o644, exclusive: true, truncate: false, uid: 1, gid: 2 };
    const made = await this.#askName({ create: place, token: this.#host.nextValue() }, () => this.client.volume.call('create', args), ({ attr }) => ({ id: attr.gfid }));
    if (made === undefined) return;
    this.#seen.set(place, made.attr.gfid);
    if (this.#host.world.random.chance(0.2)) this.#open.push(made.attr.gfid);
    else await this.#release(made.attr.gfid);
    if (this.#host.world.random.chance(0.3)) await this.#syncObject(made.attr.gfid, made.attr.gfid);
    const closed = this.#open.length > 3 ? this.#open.shift() : undefined;
    if (closed !== undefined) await this.#release(closed);
  }

  /** What a session had open went with it. */
  async #release(gfid: Gfid): Promise<void> {
    const { revocations } = this.client;
    try {
      await this.client.volume.call('release', { gfid });
    } catch (error) {
      if (this.client.revocations === revocations) throw error;
    }
  }

  async #mkdir(): Promise<void> {
    const place = this.#somePlace();
    const args = { ...this.#at(place), mode: 0o755, uid: 1, gid: 2 };
    await this.#askName({ mkdir: place, token: this.#host.nextValue() }, () => this.client.volume.call('mkdir', args), ({ attr }) => ({ id: idOf(attr, true) }));
  }

  async #remove(op: 'unlink' | 'rmdir'): Promise<void> {
    const place = this.#somePlace();
    await this.#askName(op === 'unlink' ? { unlink: place } : { rmdir: place }, () => this.client.volume.call(op, this.#at(place)), () => ({}));
  }

  async #rename(): Promise<void> {
    const place = this.#somePlace();
    const to = this.#somePlace();
    const target = this.#at(to);
    const args = { ...this.#at(place), newParent: target.parent, newName: target.name, flags: 0 };
    await this.#askName({ rename: place, to }, () => this.client.volume.call('rename', args), () => ({}));
  }

  async #link(): Promise<void> {
    const { random } = this.#host.world;
    const known = [...this.#seen.values()];
    if (known.length === 0) return;
    const id = random.pick(known);
    const to = this.#somePlace();
    const target = this.#at(to);
    await this.#askName({ link: id, to }, () => this.client.volume.call('link', { gfid: gfidOf(id), newParent: target.parent, newName: target.name }), () => ({}));
  }

  async #lookup(): Promise<void> {
    const place = this.#somePlace();
    const output = ({ attr }: { attr: Attr }): NamesOutput => {
      const directory = (attr.mode & S_IFMT) === S_IFDIR;
      return directory ? { id: idOf(attr, true) } : { id: attr.gfid, links: attr.nlink };
    };
    const found = await this.#askName({ lookup: place }, () => this.client.volume.call('lookup', this.#at(place)), output);
    if (found !== undefined && (found.attr.mode & S_IFMT) !== S_IFDIR) this.#seen.set(place, found.attr.gfid);
  }

  async #list(): Promise<void> {
    const { random } = this.#host.world;
    const directory = random.pick(DIRECTORIES);
    const args = { gfid: this.#host.tree.directories.get(directory) as Gfid, after: '', limit: 100, attributes: random.chance(0.5) };
    await this.#askName({ list: directory }, () => this.client.volume.call('readdir', args), ({ entries }) => ({ names: entries.map((entry) => entry.name) }));
  }

  // ---------------------------------------------------------------- data

  /** Many writes right after each other, and at the same time: what gets an exclusive lease. */
  async #burst(): Promise<void> {
    const { world, tree } = this.#host;
    const { random } = world;
    for (let rounds = 2 + random.below(BURST_MAX); rounds > 0; rounds--) {
      const first = random.below(tree.offsets.length);
      const work = [this.#writeBlock(first)];
      if (random.chance(0.4)) work.push(this.#writeBlock((first + 1) % tree.offsets.length));
      if (random.chance(0.1)) work.push(this.#size());
      if (random.chance(0.25)) work.push(this.#readBlock(random.chance(0.7) ? first : random.below(tree.offsets.length)));
      await Promise.all(work);
      await this.#pause(random.skewed(0, BURST_MS_MAX));
    }
  }

  async #writeBlock(index: number): Promise<void> {
    const { world, tree } = this.#host;
    const value = `v${this.#host.nextValue()}`;
    const sync = world.random.chance(0.15);
    const args = { gfid: tree.blocks, offset: tree.offsets[index] as number, append: false, sync, killPriv: false, data: valueBytes(value, BLOCK_BYTES) };
    const call = this.#histories.instants.next();
    const written = await this.#ask(this.#histories.blocks, { block: blockName(index), write: value }, () => this.client.volume.call('write', args), () => '', () => undefined);
    if (sync && written !== undefined) this.#histories.syncs.push({ object: blockName(index), call: call + 2, return: this.#histories.instants.next() });
  }

  async #readBlock(index = this.#host.world.random.below(this.#host.tree.offsets.length)): Promise<void> {
    const { tree } = this.#host;
    await this.#ask(this.#histories.blocks, { block: blockName(index), read: true }, () => readBlock(this.client.volume, tree, index), (value) => value, () => undefined);
  }

  async #append(): Promise<void> {
    const { tree } = this.#host;
    const value = `v${this.#host.nextValue()}`;
    const args = { gfid: tree.file, offset: 0, append: true, sync: false, killPriv: false, data: valueBytes(value, ENTRY_BYTES) };
    await this.#ask(this.#histories.file, { append: value }, () => this.client.volume.call('write', args), ({ offset }) => offset / ENTRY_BYTES, () => undefined);
  }

  async #readFile(): Promise<void> {
    const { tree } = this.#host;
    await this.#ask(this.#histories.file, { read: true }, () => readFile(this.client.volume, tree), (values) => values, () => undefined);
  }

  async #size(): Promise<void> {
    const { tree } = this.#host;
    await this.#ask(this.#histories.file, { size: true }, () => this.client.volume.call('getattr', { gfid: tree.file }), ({ attr }) => attr.size / ENTRY_BYTES, () => undefined);
  }

  async #truncate(): Promise<void> {
    const { world, tree } = this.#host;
    const truncate = world.random.below(FILE_ENTRIES_MAX);
    const args = { gfid: tree.file, size: truncate * ENTRY_BYTES, atimeNow: false, mtimeNow: false, killPriv: false };
    await this.#ask(this.#histories.file, { truncate }, () => this.client.volume.call('setattr', args), () => 0, () => undefined);
  }

  async #sync(): Promise<void> {
    const { world, tree } = this.#host;
    const object = world.random.pick(['blocks', 'blocks', 'file', ...DIRECTORIES]);
    await this.#syncObject(object, object === 'blocks' ? tree.blocks : object === 'file' ? tree.file : (tree.directories.get(object) as Gfid));
  }

  async #syncObject(object: string, gfid: Gfid): Promise<void> {
    const call = this.#histories.instants.next();
    const { revocations } = this.client;
    this.doing = `fsync ${object}`;
    try {
      await this.client.volume.call('fsync', { gfid, dataOnly: false });
      this.#histories.syncs.push({ object, call, return: this.#histories.instants.next() });
    } catch (error) {
      const revoked = this.client.revocations > revocations;
      if (!(error instanceof FsError) && !revoked) throw error;
      if (!revoked && (error as FsError).errno !== Errno.ESTALE) this.#host.violation(`${this.client.name}: fsync of ${object} failed: ${(error as FsError).message}`);
    }
    this.doing = '';
  }

  // ---------------------------------------------------------------- the lock

  #lockArgs(type: number, wait: boolean) {
    return { gfid: this.#host.tree.lock, owner: 'o', kind: 0, type, start: 0, end: 9, pid: 1, wait };
  }

  #lockOrUnlock(): Promise<void> {
    return this.#locked ? this.#unlock() : this.#lock();
  }

  /** Several right after each other, as QEMU does: what a lock lease is for. */
  async #lockBurst(): Promise<void> {
    const { random } = this.#host.world;
    for (let left = 2 + random.below(LOCKS_MAX); left > 0; left--) {
      await this.#lockOrUnlock();
      await this.#pause(random.skewed(0, LOCKS_MS_MAX));
    }
  }

  async #lock(): Promise<void> {
    const { name, revocations } = this.client;
    const args = this.#lockArgs(LOCK_WRITE, this.#host.world.random.chance(0.3));
    const refused = (errno: number): 'refused' | undefined => (errno === Errno.EAGAIN ? 'refused' : undefined);
    this.#locked = true;
    const granted = await this.#ask(this.#histories.lock, { lock: name }, () => this.client.volume.call('setLock', args), () => 'granted' as const, refused);
    this.#locked = granted !== undefined && this.client.revocations === revocations;
  }

  async #unlock(): Promise<void> {
    const { name, revocations } = this.client;
    await this.#ask(this.#histories.lock, { unlock: name }, () => this.client.volume.call('setLock', this.#lockArgs(LOCK_NONE, false)), () => 'granted' as const, () => undefined);
    if (this.client.revocations === revocations) this.#locked = false;
  }
}
