/** One simulated run: clients at work while faults strike, then everything mended, and what was promised checked. See DESIGN.md. */
import { silentLog, type Log, type LogFields } from '../../src/env/log.js';
import { Faults, LOSS_OF_ALL_POWER } from './faults.js';
import type { Operation } from '../support/linearizability.js';
import { Histories, Instants, NOTHING, type Content, type History } from './histories.js';
import { OwnerActor } from './owner-actor.js';
import { SharedActor, type ActorHost } from './shared-actor.js';
import { makeTree, readAll, type SharedTree } from './shared-tree.js';
import type { SimBrick } from './sim-brick.js';
import { SimClient, SimCluster } from './sim-cluster.js';
import type { Message } from '../../src/wire/messages.js';
import { checkSurvivors } from './survivors.js';
import { World, type Party } from './world.js';

export interface Outcome {
  seed: number;
  operations: number;
  faults: Record<string, number>;
  /** Operations that went another way than through the primary. */
  ways: Record<string, number>;
  virtualMs: number;
  /** Equal for two runs that went the same way. */
  digest: number;
  violations: string[];
}

const FORM_MS = 20_000;
const FAULTS_MS_MIN = 2500;
const FAULTS_MS_MAX = 8000;
const LIMIT_MS = 300_000;
const HEAL_MS = 90_000;
const MARKS_MS = 120_000;
const LOOK_MS = 1500;
const CLIENTS_MAX = 8;
const OPERATIONS_AT_END = 8;
const FULL_MS_MAX = 1500;
const READER_CHANCE = 0.2;
const LATE_MS_MAX = 9000;
/** Faults go on for so long after a loss of all power, while what is left is read. */
const DARK_MS_MAX = 60_000;
/** From this seed on most clients have the file of the lock open, so that they are offered leases on it. Kept seeds are older, and go as they went. */
const OPEN_LOCKS_FROM = 38_000_000;
const OPEN_LOCK_CHANCE = 0.7;
const SESSION_REVOKED = 'a silent session was revoked';

class Run implements ActorHost {
  readonly world: World;
  readonly cluster: SimCluster;
  readonly violations: string[] = [];
  readonly mortals: SimClient[] = [];
  readonly seed: number;
  readonly #instants = new Instants();
  readonly #revocations = new Map<string, number>();
  readonly #actors = new Set<SharedActor>();
  readonly #owners: OwnerActor[] = [];
  /** Parts of the history: a total loss of power ends one. */
  readonly #past: Histories[] = [];
  readonly #faults: Faults;
  readonly #faultsMs: number;
  /** All bricks and clients lose power at once in this run. */
  readonly #blackout: boolean;
  readonly #full: boolean;
  readonly #far: boolean;
  histories: Histories;
  tree!: SharedTree;
  ending = false;
  fullAllowed = false;
  /** Between a loss of all power and the reading of what is left. */
  #dark = false;
  #values = 0;
  #operations = 0;
  #clients = 0;

  constructor(seed: number, log: Log, kinds: readonly string[] | undefined) {
    this.seed = seed;
    this.world = new World(seed);
    const { random } = this.world;
    const count = random.pick([3, 3, 3, 3, 3, 3, 4, 5]);
    const options = { log: watched(log, (session) => this.#revoking(session)), pingTimeoutS: random.pick([3, 5, 10]), encodes: random.chance(0.1) };
    this.cluster = new SimCluster(this.world, count, options);
    this.histories = new Histories(this.#instants, NOTHING);
    this.#faultsMs = FAULTS_MS_MIN + random.below(FAULTS_MS_MAX - FAULTS_MS_MIN);
    const dark = random.chance(0.12);
    this.#blackout = kinds?.includes(LOSS_OF_ALL_POWER) ?? dark;
    this.#full = !this.#blackout && random.chance(0.06);
    this.#far = random.chance(0.15);
    this.world.onFailure = (party, error) => this.failed(party, error);
    // A disk that refuses and one that is reported full at the same time could leave nobody to take a change.
    this.#faults = new Faults(this, new Set(this.#full ? ['disk error', 'disk full'] : []), kinds);
  }

  violation(text: string): void {
    this.violations.push(`at ${this.world.now.toFixed(1)} ms: ${text}`);
  }

  nextValue(): number {
    return ++this.#values;
  }

  counted(): void {
    this.#operations++;
  }

  /** A process threw what nothing caught: it ends. That is in order only where its disk failed it. */
  failed(party: Party | undefined, error: unknown): void {
    const failing = this.cluster.bricks.find((brick) => brick.threw(error));
    if (failing !== undefined) {
      if (failing.alive) this.cluster.count('ended by its disk');
      failing.crash(false);
    } else this.violation(`a bug in ${party?.name ?? 'a process'}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  }

  /** When a primary said last that it revokes the session of this client. */
  #revokedAt(client: string): number {
    return this.#revocations.get(client) ?? this.#instants.next();
  }

  #revoking(session: string): void {
    for (const client of this.cluster.clients) if (client.volume.session === session) this.#revocations.set(client.name, this.#instants.next());
  }

  sessionLost(client: SimClient, locked: boolean): void {
    this.cluster.count('session revoked');
    const { lock } = this.histories;
    if (locked) lock.operations.push({ client: client.name, input: { lost: client.name }, output: 'granted', call: this.#revokedAt(client.name), return: this.#instants.next() });
  }

  revoked<I, O>(history: History<I, O>, operation: Operation<I, O>, sent: boolean): void {
    operation.return = this.#revokedAt(operation.client);
    if (!sent || operation.return < operation.call) history.withdraw(operation);
  }

  clientCrashed(client: SimClient): void {
    this.histories.lock.begin(client.name, { lost: client.name });
    for (const actor of this.#actors) if (actor.client === client) this.#actors.delete(actor);
    this.world.at(this.world.random.below(1000), () => {
      if (this.#clients < CLIENTS_MAX && !this.#dark && !this.ending) this.#addActor();
    });
  }

  #ways(): Record<string, number> {
    const { localReads, allClients } = this.cluster;
    const sum = (count: (client: SimClient) => number): number => allClients.reduce((total, client) => total + count(client), 0);
    return { 'read of a local brick': localReads, 'direct write': sum(({ volume }) => volume.directWrites), 'lock given by the client': sum(({ volume }) => volume.localLocks) };
  }

  // ---------------------------------------------------------------- the course of a run

  async run(): Promise<Outcome> {
    this.cluster.start();
    if (await this.#prepare()) {
      await this.#disturb();
      if (this.violations.length === 0) await this.#finish();
    }
    for (const histories of [...this.#past, this.histories]) if (this.violations.length === 0) this.violations.push(...histories.check());
    return {
      seed: this.seed, operations: this.#operations, faults: Object.fromEntries(this.cluster.faults), ways: this.#ways(), virtualMs: this.world.now, digest: this.world.digest,
      violations: this.violations,
    };
  }

  /** Waits in virtual time; false, and a violation, when it takes too long. */
  async #within(ms: number, what: () => string, done: () => boolean): Promise<boolean> {
    const reached = await this.world.run(() => this.violations.length > 0 || done(), this.world.now + ms);
    if (!reached) this.violation(`not within ${ms} ms: ${what()}; view ${JSON.stringify(this.cluster.view)}`);
    return reached && this.violations.length === 0;
  }

  async #settles<T>(ms: number, what: string, work: Promise<T>): Promise<T | undefined> {
    let result: { value: T } | undefined;
    work.then(
      (value) => (result = { value }),
      (error: unknown) => this.violation(`${what}: ${String(error)}`),
    );
    await this.#within(ms, () => what, () => result !== undefined);
    return result?.value;
  }

  async #prepare(): Promise<boolean> {
    const { random } = this.world;
    const client = new SimClient(this.cluster, 'c0');
    const tree = await this.#settles(FORM_MS, 'the tree is made', makeTree(client.volume, this.#far));
    if (tree === undefined) return false;
    this.tree = tree;
    client.close();
    for (let i = 0; i < 2 + random.below(2); i++) this.#addActor();
    if (!this.#blackout && !this.#full && random.chance(0.5)) {
      const owner = new OwnerActor(this.world, this.cluster, 'own', () => this.ending, this.violations);
      this.#owners.push(owner);
      owner.run().catch((error: unknown) => this.violation(`an owner's operation failed: ${String(error)}`));
    }
    return true;
  }

  #addActor(): void {
    const client = new SimClient(this.cluster, `c${++this.#clients}`);
    this.mortals.push(client);
    client.reads = this.world.random.chance(READER_CHANCE);
    if (this.seed >= OPEN_LOCKS_FROM && this.world.random.chance(OPEN_LOCK_CHANCE)) void client.volume.call('open', { gfid: this.tree.lock, truncate: false, killPriv: false }).catch(() => undefined);
    const actor = new SharedActor(this, client, OPERATIONS_AT_END);
    this.#actors.add(actor);
    actor.run().catch((error: unknown) => this.failed(client, error));
  }

  async #disturb(): Promise<void> {
    const { world } = this;
    const until = world.now + this.#faultsMs;
    this.#faults.start();
    if (this.#full) world.at(world.random.below(this.#faultsMs / 2), () => this.#fillDisks());
    if (this.#blackout) {
      await world.run(() => this.violations.length > 0, world.now + world.random.below(this.#faultsMs));
      if (this.violations.length === 0) await this.#loseAllPower();
    }
    await world.run(() => this.violations.length > 0, until);
    this.#faults.end();
    for (const brick of this.cluster.bricks) brick.spare = 1;
  }

  /** Disks that are full and say so: of one brick or of all. Nothing may happen then but what needs no space. */
  #fillDisks(): void {
    const { random } = this.world;
    this.fullAllowed = true;
    this.cluster.count('disk reported full');
    const all = random.chance(0.5);
    for (const brick of this.cluster.bricks) if (all || random.chance(0.4)) brick.spare = 0;
    this.world.at(random.below(FULL_MS_MAX), () => {
      for (const brick of this.cluster.bricks) brick.spare = 1;
    });
  }

  /** Everything is dark at the same instant. What was synced must be there when the bricks are back; a new history begins with what is found. */
  async #loseAllPower(): Promise<void> {
    const { cluster } = this;
    cluster.count(LOSS_OF_ALL_POWER);
    // The brick that was primary is often the last to return.
    if (this.world.random.chance(0.5)) cluster.brick(cluster.view.primary).downUntil = this.world.now + this.world.random.below(LATE_MS_MAX);
    this.#dark = true;
    for (const actor of this.#actors) actor.client.crash();
    this.#actors.clear();
    for (const brick of cluster.bricks) {
      if (brick.alive) brick.crash(true);
      else if (this.world.random.chance(0.5)) brick.losePowerWhileDown();
    }
    const before = this.histories;
    this.#past.push(before);
    const client = new SimClient(cluster, `c${++this.#clients}`);
    // Partitions that follow each other all the time could leave nobody a majority for ever.
    this.world.at(DARK_MS_MAX, () => {
      if (this.#dark) this.#faults.end();
    });
    const after = await this.#settles<Content>(LIMIT_MS, 'the content is read after the loss of power', this.#readBack(client));
    if (after === undefined) return;
    client.close();
    this.violations.push(...checkSurvivors(before, after));
    this.histories = new Histories(this.#instants, after);
    this.#dark = false;
    for (let i = 0; i < 2; i++) this.#addActor();
  }

  async #readBack(client: SimClient): Promise<Content> {
    return await readAll(client.volume, this.tree);
  }

  async #finish(): Promise<void> {
    const { cluster } = this;
    this.ending = true;
    const stuck = (): string => [...this.#actors].filter((actor) => !actor.done).map((actor) => `${actor.client.name} waits for ${actor.doing}`).join('; ');
    const done = (): boolean => [...this.#actors].every((actor) => actor.done) && this.#owners.every((owner) => owner.done);
    if (!(await this.#within(LIMIT_MS, () => `clients are done: ${stuck()}`, done))) return;
    const whole = (): boolean => cluster.view.inSync.length === cluster.bricks.length && cluster.bricks.every((brick) => brick.replica?.status().continuous === true);
    if (!(await this.#within(HEAL_MS, () => `all bricks are in sync: ${cluster.bricks.map((brick) => `${brick.name} ${brick.replica?.status().role} ${brick.replica?.status().continuous}`).join()}`, whole))) return;
    await this.#compareReading();
    if (this.violations.length > 0) return;
    // One that has no connection could not say goodbye, and what it had open would stay for long.
    const heard = Promise.allSettled([...cluster.clients].map((client) => client.call('statfs', { gfid: this.tree.lock })));
    if ((await this.#settles(LIMIT_MS, 'every client is heard', heard)) === undefined) return;
    for (const client of [...cluster.clients]) client.close();
    if (await this.#marksGo()) this.#compareBricks();
  }

  /** A checkpoint of the whole set leaves no key in any journal; inodes without a name go when nobody can have them open. */
  async #marksGo(): Promise<boolean> {
    const { world, cluster } = this;
    const until = world.now + MARKS_MS;
    for (;;) {
      void cluster.brick(cluster.view.primary).replica?.checkpoint();
      await world.run(() => this.violations.length > 0, world.now + LOOK_MS);
      if (this.violations.length > 0) return false;
      const orphans = this.#mayKeepOrphans ? 0 : cluster.bricks.reduce((sum, brick) => sum + brick.store.orphans().length, 0);
      const marks = cluster.bricks.map((brick) => (orphans > 0 ? -1 : brick.journalKeys().length));
      if (marks.every((count) => count === 0)) return true;
      if (world.now < until) continue;
      this.violation(`after ${MARKS_MS} ms the journals still have ${marks.join()} keys; inodes without a name: ${cluster.bricks.map((brick) => brick.store.orphans().join()).join(' | ')}`);
      return false;
    }
  }

  /** What a client that died had open stays until its session is given up. */
  get #mayKeepOrphans(): boolean {
    return this.cluster.faults.has('client crash') || this.#blackout;
  }

  /** What a new client reads at the end is part of the history too. */
  async #compareReading(): Promise<void> {
    const reader = new SimClient(this.cluster, `c${++this.#clients}`);
    const { blocks, file, names, instants } = this.histories;
    const call = instants.next();
    const content = await this.#settles(LIMIT_MS, 'everything is read at the end', readAll(reader.volume, this.tree));
    if (content === undefined) return;
    const end = instants.next();
    // A checkpoint is made when something changed: what a brick noted while it was made equal goes with it.
    await this.#settles(LIMIT_MS, 'a last change is made', reader.call('setxattr', { gfid: this.tree.lock, name: 'user.end', value: Buffer.from('x'), flags: 0 }));
    const base = { client: reader.name, call, return: end };
    for (const [block, value] of content.blocks) blocks.operations.push({ ...base, input: { block, read: true }, output: value });
    file.operations.push({ ...base, input: { read: true }, output: content.file });
    for (const directory of this.tree.directories.keys()) {
      const listed = [...content.names.keys()].filter((place) => place.startsWith(`${directory}/`)).map((place) => place.slice(directory.length + 1));
      names.operations.push({ ...base, input: { list: directory }, output: { names: listed.toSorted() } });
    }
  }

  #compareBricks(): void {
    const [first, ...others] = this.cluster.bricks as [SimBrick, ...SimBrick[]];
    this.world.note(first.store.dump());
    for (const other of others) {
      const lines = difference(first.store.dump(), other.store.dump());
      if (lines !== '') this.violation(`bricks differ, - ${first.name} + ${other.name}:\n${lines}`);
    }
    const orphans = this.cluster.bricks.map((brick) => brick.store.orphans().toSorted().join());
    if (orphans.some((list) => list !== orphans[0]) || (!this.#mayKeepOrphans && orphans[0] !== '')) this.violation(`inodes that nobody has open are kept: ${orphans.join(' | ')}`);
  }
}

function difference(ours: string, theirs: string): string {
  const [a, b] = [ours.split('\n'), theirs.split('\n')];
  return [...a.filter((line) => !b.includes(line)).map((line) => `- ${line}`), ...b.filter((line) => !a.includes(line)).map((line) => `+ ${line}`)].join('\n');
}

const TRACED_CHARACTERS_MAX = 2000;

function trace(log: Log, at: number, from: string, to: string, message: Message): void {
  if (message.kind === 'ping' || message.kind === 'pong') return;
  const text = JSON.stringify(message, (key, value: unknown) => (value !== null && typeof value === 'object' && (key === 'data' || key === 'attr') ? '…' : value));
  log.debug(`${at.toFixed(1)} ${from} > ${to} ${text.slice(0, TRACED_CHARACTERS_MAX)}`);
}

/** Tells of sessions that a primary revokes. */
function watched(log: Log, revoked: (session: string) => void): Log {
  const info = (message: string, fields?: LogFields): void => {
    if (message === SESSION_REVOKED) revoked(String(fields?.['session']));
    log.info(message, fields);
  };
  return { debug: (message, fields) => log.debug(message, fields), info, warn: (message, fields) => log.warn(message, fields), error: (message, fields) => log.error(message, fields), child: (more) => watched(log.child(more), revoked) };
}

export interface RunOptions {
  /** Every message is told too. */
  log?: Log | undefined;
  /** Only these kinds of faults, instead of some by chance. */
  kinds?: readonly string[] | undefined;
}

export async function runSeed(seed: number, { log, kinds }: RunOptions = {}): Promise<Outcome> {
  const run = new Run(seed, log ?? silentLog, kinds);
  if (log !== undefined) run.cluster.network.onDelivery = (from, to, message) => trace(log, run.world.now, from, to, message);
  const onRejection = (error: unknown): void => run.failed(undefined, error);
  process.on('unhandledRejection', onRejection);
  try {
    return await run.run();
  } finally {
    process.off('unhandledRejection', onRejection);
  }
}
