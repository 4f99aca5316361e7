/** The faults of a run: which kinds a seed has, when they strike, and how they end. */
import { Errno } from '../../src/base/errno.js';
import { STORE } from './sim-authority.js';
import { SPACE_CALLS, type SimBrick } from './sim-brick.js';
import type { SimClient, SimCluster } from './sim-cluster.js';
import type { World } from './world.js';

const PAUSE_MS_MAX = 600;
const LONG_MS_MAX = 9000;
const CLOCK_ERROR_MS = 3_600_000;
const DOOM_CALLS_MAX = 60;
const DOOM_MESSAGES_MAX = 80;
const RESTART_MS_MAX = 900;
const LONG_CHANCE = 0.2;
/** Where the kinds were chosen, to meet something sooner. */
const LONG_CHANCE_CHOSEN = 0.5;

export interface FaultHost {
  readonly seed: number;
  readonly world: World;
  readonly cluster: SimCluster;
  /** Clients that may be stopped or crash; the others only have a bad network. */
  readonly mortals: readonly SimClient[];
  clientCrashed(client: SimClient): void;
}

type Inject = (faults: Faults) => void;

/** Weight, and what happens. A kind that does not apply at the moment does nothing. */
const KINDS: Record<string, [weight: number, inject: Inject]> = {
  kill: [4, (faults) => faults.onLiving((brick) => brick.crash(false))],
  'crash at a disk call': [4, (faults) => faults.onLiving((brick) => brick.doom({ power: faults.chance(0.3), calls: 1 + faults.below(DOOM_CALLS_MAX), messages: 0 }), false)],
  'crash at a message': [3, (faults) => faults.onLiving((brick) => brick.doom({ power: faults.chance(0.3), calls: 0, messages: 1 + faults.below(DOOM_MESSAGES_MAX) }), false)],
  'loss of power': [2, (faults) => faults.losePower()],
  'several killed': [1, (faults) => faults.killSeveral()],
  cut: [3, (faults) => faults.cut(true)],
  'cut one way': [2, (faults) => faults.cut(false)],
  partition: [3, (faults) => faults.partition()],
  'cut off from the store': [2, (faults) => faults.cutOffFromStore()],
  'connection reset': [2, (faults) => faults.reset()],
  'slow network': [1, (faults) => faults.slowNetwork()],
  'request repeated': [1, (faults) => faults.replay()],
  'brick stopped': [2, (faults) => faults.onLiving((brick) => faults.stop(brick))],
  'client stopped': [1, (faults) => faults.onMortal((client) => faults.stop(client))],
  'client crash': [1, (faults) => faults.onMortal((client) => faults.crashClient(client))],
  'clock jump': [1, (faults) => faults.onBrick((brick) => (brick.wallErrorMs = faults.below(2 * CLOCK_ERROR_MS) - CLOCK_ERROR_MS))],
  'store away': [1, (faults) => faults.storeAway()],
  'disk error': [1, (faults) => faults.diskError()],
  'disk full': [1, (faults) => faults.diskFull()],
  'slow disk': [1, (faults) => faults.slowDisk()],
  checkpoint: [2, (faults) => faults.checkpoint()],
};

/** Not by weight: a run has it or not. */
export const LOSS_OF_ALL_POWER = 'loss of all power';
/** A sync fails and loses what it was to write, for good. Every so many seeds have it, so that the others draw what they drew before there was this kind. */
const PAGES_LOST = 'pages lost';
const PAGES_LOST_SEEDS = 8;

export const FAULT_KINDS: readonly string[] = [...Object.keys(KINDS), LOSS_OF_ALL_POWER, PAGES_LOST];

export class Faults {
  readonly #host: FaultHost;
  readonly #kinds: string[] = [];
  readonly #pause_ms: number;
  /** Faults of the disk strike one brick at a time: an error that no other copy can make good is the caller's. */
  #sick: SimBrick | undefined;
  readonly #longChance: number;
  /** By how many faults a line is cut. */
  readonly #cuts = new Map<string, number>();
  #over = false;

  /** Every seed has some of the kinds only (or those in `only`): what one fault hides, another seed shows. */
  constructor(host: FaultHost, except: ReadonlySet<string>, only?: readonly string[]) {
    this.#host = host;
    this.#longChance = only === undefined ? LONG_CHANCE : LONG_CHANCE_CHOSEN;
    const { random } = host.world;
    this.#pause_ms = random.pick([150, 300, 600]);
    for (const [kind, [weight]] of Object.entries(KINDS)) {
      const has = random.chance(weight >= 3 ? 0.6 : 0.35);
      if ((only?.includes(kind) ?? has) && !except.has(kind)) this.#kinds.push(...Array<string>(weight).fill(kind));
    }
    if (only?.includes(PAGES_LOST) ?? (host.seed % PAGES_LOST_SEEDS === 0 && !except.has('disk error'))) this.#kinds.push(PAGES_LOST, PAGES_LOST);
    if (this.#kinds.length === 0) this.#kinds.push('kill');
  }

  start(): void {
    const next = (): void => {
      if (this.#over) return;
      const kind = this.#host.world.random.pick(this.#kinds);
      if (kind === PAGES_LOST) this.losePages();
      else (KINDS[kind] as [number, Inject])[1](this);
      this.#restart();
      this.#host.world.at(this.#host.world.random.below(this.#pause_ms * 2), next);
    };
    this.#host.world.at(this.below(this.#pause_ms), next);
  }

  /** No more faults; what was broken is mended. */
  end(): void {
    const { cluster, mortals } = this.#host;
    if (this.#over) return;
    this.#over = true;
    cluster.network.cuts.clear();
    cluster.network.slow.clear();
    this.count('request repeated', cluster.network.replayed);
    cluster.network.replays = 0;
    for (const party of [...cluster.bricks, ...mortals, ...cluster.clients]) party.stopped = false;
    for (const brick of cluster.bricks) {
      brick.mend();
      if (!brick.alive) brick.start();
    }
  }

  /** Bricks that crashed return, most of them soon. */
  #restart(): void {
    const { world, cluster } = this.#host;
    for (const brick of cluster.bricks) {
      if (brick.alive || this.#host.world.now < brick.downUntil) continue;
      const { incarnation } = brick;
      world.at(10 + world.random.below(this.chance(0.1) ? LONG_MS_MAX : RESTART_MS_MAX), () => {
        if (!brick.alive && brick.incarnation === incarnation && !this.#over) brick.start();
      });
    }
  }

  below(below: number): number {
    return this.#host.world.random.below(below);
  }

  chance(probability: number): boolean {
    return this.#host.world.random.chance(probability);
  }

  count(kind: string, times = 1): void {
    for (let i = 0; i < times; i++) this.#host.cluster.count(kind);
  }

  #later(act: () => void, longest_ms = this.chance(this.#longChance) ? LONG_MS_MAX : PAUSE_MS_MAX): void {
    this.#host.world.at(this.below(longest_ms), () => {
      if (!this.#over) act();
    });
  }

  // ---------------------------------------------------------------- processes

  onBrick(act: (brick: SimBrick) => void): void {
    act(this.#host.world.random.pick(this.#host.cluster.bricks));
    this.count('clock jump');
  }

  onLiving(act: (brick: SimBrick) => void, counted = true): void {
    const living = this.#host.cluster.bricks.filter((brick) => brick.alive);
    if (living.length === 0) return;
    const brick = this.#host.world.random.pick(living);
    act(brick);
    if (counted) this.count(brick.alive ? 'brick stopped' : 'kill');
  }

  onMortal(act: (client: SimClient) => void): void {
    const { mortals, world } = this.#host;
    const living = mortals.filter((client) => client.alive);
    if (living.length > 0) act(world.random.pick(living));
  }

  stop(party: SimBrick | SimClient): void {
    if ('volume' in party) this.count('client stopped');
    party.stopped = true;
    this.#later(() => (party.stopped = false));
  }

  killSeveral(): void {
    const { bricks } = this.#host.cluster;
    for (const brick of bricks) {
      if (!this.chance(0.7)) continue;
      if (brick.alive) this.count('kill');
      brick.crash(false);
    }
  }

  losePower(): void {
    const { cluster, world } = this.#host;
    const able = cluster.bricks.filter((brick) => brick.alive && cluster.mayLosePower(brick));
    if (able.length === 0) return;
    world.random.pick(able).crash(true);
    this.count('loss of power');
  }

  crashClient(client: SimClient): void {
    this.count('client crash');
    client.crash();
    this.#host.clientCrashed(client);
  }

  /** No fault, but it comes too seldom by itself for the time that a run takes. */
  checkpoint(): void {
    const { cluster } = this.#host;
    const primary = cluster.brick(cluster.view.primary) as SimBrick | undefined;
    if (primary?.replica?.serving !== true) return;
    this.count('checkpoint');
    void primary.replica.checkpoint();
  }

  // ---------------------------------------------------------------- network

  #names(): string[] {
    const { cluster } = this.#host;
    return [...cluster.bricks.map((brick) => brick.name), ...[...cluster.clients].map((client) => client.name), STORE];
  }

  #cutLines(lines: string[]): void {
    const { cuts } = this.#host.cluster.network;
    for (const line of lines) {
      cuts.add(line);
      this.#cuts.set(line, (this.#cuts.get(line) ?? 0) + 1);
    }
    // A line that another fault has cut too stays so.
    this.#later(() => {
      for (const line of lines) {
        const left = (this.#cuts.get(line) ?? 1) - 1;
        this.#cuts.set(line, left);
        if (left === 0) cuts.delete(line);
      }
    });
  }

  cut(both: boolean): void {
    const { random } = this.#host.world;
    const from = random.pick(this.#names());
    const to = random.pick([...this.#names(), '*']);
    if (from === to) return;
    this.count(both ? 'cut' : 'cut one way');
    this.#cutLines(both ? [`${from}>${to}`, `${to}>${from}`] : [random.chance(0.5) ? `${from}>${to}` : `${to}>${from}`]);
  }

  /** Two sides, each with some of the bricks and clients; the primary is often with the few. */
  partition(): void {
    const { cluster, world } = this.#host;
    const far = new Set<string>();
    const primary = cluster.brick(cluster.view.primary) as SimBrick | undefined;
    if (primary !== undefined && world.random.chance(0.6)) far.add(primary.name);
    // A primary that only readers still reach has nothing that waits for the others, and would go on answering.
    if (primary !== undefined && world.random.chance(0.3)) for (const name of [primary, ...cluster.clients].filter((party) => !('reads' in party) || party.reads).map((party) => party.name)) far.add(name);
    else for (const name of this.#names()) if (name !== STORE && world.random.chance(0.3)) far.add(name);
    const near = this.#names().filter((name) => !far.has(name));
    this.count('partition');
    this.#cutLines([...far].flatMap((a) => near.flatMap((b) => [`${a}>${b}`, `${b}>${a}`])));
  }

  /** A brick, often the primary, and clients that do not hear of views. */
  cutOffFromStore(): void {
    const { cluster, world } = this.#host;
    const primary = cluster.brick(cluster.view.primary) as SimBrick | undefined;
    const brick = primary !== undefined && world.random.chance(0.7) ? primary : world.random.pick(cluster.bricks);
    const clients = [...cluster.clients].filter(() => world.random.chance(0.5));
    this.count('cut off from the store');
    this.#cutLines([brick, ...clients].flatMap(({ name }) => [`${name}>${STORE}`, `${STORE}>${name}`]));
  }

  storeAway(): void {
    this.count('store away');
    this.#cutLines([`${STORE}>*`, `*>${STORE}`]);
  }

  reset(): void {
    const channels = [...this.#host.cluster.network.channels];
    if (channels.length === 0) return;
    this.count('connection reset');
    this.#host.world.random.pick(channels).reset();
  }

  slowNetwork(): void {
    const { network } = this.#host.cluster;
    const { random } = this.#host.world;
    const line = `${random.pick(this.#names())}>${random.pick(this.#names())}`;
    this.count('slow network');
    network.slow.set(line, random.skewed(1, 400));
    this.#later(() => network.slow.delete(line));
  }

  replay(): void {
    const { network } = this.#host.cluster;
    network.replays = 0.2;
    this.#later(() => (network.replays = 0));
  }

  // ---------------------------------------------------------------- disks

  #onHealthyDisk(act: (brick: SimBrick) => void, mend: (brick: SimBrick) => void): void {
    if (this.#sick !== undefined) return;
    const brick = this.#host.world.random.pick(this.#host.cluster.bricks);
    this.#sick = brick;
    act(brick);
    this.#later(() => {
      mend(brick);
      this.#sick = undefined;
    });
  }

  diskError(): void {
    const { random } = this.#host.world;
    const calls = random.pick<ReadonlySet<string> | 'any'>(['any', new Set(['fsync', 'sync']), new Set(['write', 'patch']), new Set(['journal'])]);
    this.#onHealthyDisk(
      (brick) => (brick.fault = { errno: Errno.EIO, calls, chance: random.pick([0.05, 0.3, 1]) }),
      (brick) => (brick.fault = undefined),
    );
  }

  losePages(): void {
    const { random } = this.#host.world;
    this.#onHealthyDisk(
      (brick) => {
        // What it loses so is what a loss of power would take.
        if (!brick.alive || !this.#host.cluster.mayLosePower(brick)) return;
        brick.fault = { errno: Errno.EIO, calls: new Set(['fsync', 'sync']), chance: random.pick([0.3, 1]) };
        brick.losesPages = brick.lossy = true;
        this.count(PAGES_LOST);
      },
      (brick) => {
        brick.fault = undefined;
        brick.losesPages = false;
      },
    );
  }

  diskFull(): void {
    this.#onHealthyDisk(
      (brick) => (brick.fault = { errno: Errno.ENOSPC, calls: SPACE_CALLS, chance: 1 }),
      (brick) => (brick.fault = undefined),
    );
  }

  slowDisk(): void {
    this.#onHealthyDisk(
      (brick) => {
        brick.slow_ms = this.#host.world.random.pick([30, 300, 2000]);
        this.count('slow disk');
      },
      (brick) => (brick.slow_ms = 0),
    );
  }
}
