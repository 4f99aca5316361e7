/**
 * Who keeps the views, as the gluonds do over the cluster store: node leases that are renewed while the store is heard, serving leases that go to the
 * brick with them, deaths that are told or concluded from silence, changes that wait until those who lose a role have stopped serving.
 */
import { LostError } from '../../src/base/errno.js';
import { canWait, dueChange, refusal, type BrickFact } from '../../src/cluster/views.js';
import { EMPTY_VIEW, type BrickId, type View } from '../../src/fops/view.js';
import { nextView, type ViewChange } from '../../src/replica/view.js';
import type { SimBrick } from './sim-brick.js';
import type { SimCluster } from './sim-cluster.js';

const LEASE_MS = 3000;
const RENEW_MS = 500;
/** A node that is silent for so long is dead; by then the serving lease of its brick is over, also on a clock that runs slow. */
const DEAD_MS = LEASE_MS + 500;
/** A request to the store is given up after this. */
const CHANGE_MS = 5000;
const FENCE_MS = 12_000;
const FENCE_RETRY_MS = 200;
const TEND_MS = 100;
/** How long a brick gets to return before a change that would bring no service back. */
const RETURN_MS = 5000;

/** The name of the cluster store in cuts. */
export const STORE = 'store';

/** What the store knows of a node and its brick. */
interface Record {
  up: boolean;
  heardAt: number;
  /** No serving lease while the view has this epoch or an older one. */
  fencedEpoch: number;
}

export class SimAuthority {
  view: View = EMPTY_VIEW;
  readonly #cluster: SimCluster;
  readonly #records = new Map<BrickId, Record>();
  #waiting: { epoch: number; since: number } | undefined;

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
  }

  start(): void {
    for (const brick of this.#cluster.bricks) this.#renew(brick);
    const tend = (): void => {
      this.#settle();
      for (const brick of this.#cluster.bricks) this.#deliver(brick);
      for (const client of this.#cluster.clients) this.#cluster.tell(client);
      this.#cluster.world.at(TEND_MS, tend);
    };
    tend();
  }

  /** Nothing gets from the node of this brick to the store and back. */
  cutOff(name: string): boolean {
    const { network } = this.#cluster;
    return network.isCut(name, STORE) || network.isCut(STORE, name);
  }

  /** True when no node reaches the store. */
  get #away(): boolean {
    return this.#cluster.bricks.every((brick) => this.cutOff(brick.name));
  }

  // ---------------------------------------------------------------- nodes and leases

  #record(brick: BrickId): Record {
    let record = this.#records.get(brick);
    if (record === undefined) this.#records.set(brick, (record = { up: false, heardAt: -DEAD_MS, fencedEpoch: 0 }));
    return record;
  }

  brickStarted(brick: SimBrick): void {
    const { world } = this.#cluster;
    const { incarnation } = brick;
    const announce = (): void => {
      if (!brick.alive || brick.incarnation !== incarnation) return;
      if (this.cutOff(brick.name)) {
        world.at(TEND_MS, announce);
        return;
      }
      this.#record(brick.id).up = true;
      this.#lease(brick);
      this.#deliver(brick);
      this.#settle();
    };
    world.at(2 + world.random.below(8), announce);
  }

  /** The gluond of the node sees the process end, and tells; a node without power tells nothing. */
  brickDied(brick: SimBrick, power: boolean): void {
    const { world } = this.#cluster;
    const { incarnation } = brick;
    if (power) return;
    const tell = (): void => {
      if (brick.alive || brick.incarnation !== incarnation) return;
      if (this.cutOff(brick.name)) {
        world.at(TEND_MS, tell);
        return;
      }
      this.#record(brick.id).up = false;
      this.#settle();
    };
    world.at(3 + world.random.below(20), tell);
  }

  #renew(brick: SimBrick): void {
    const { world } = this.#cluster;
    this.#lease(brick);
    world.at(RENEW_MS, () => this.#renew(brick));
  }

  /** A brick that hangs is not heard, and does not read the lease. */
  #lease(brick: SimBrick): void {
    if (this.cutOff(brick.name) || !brick.alive || brick.stopped) return;
    const record = this.#record(brick.id);
    record.heardAt = this.#cluster.world.now;
    if (record.fencedEpoch === 0 || record.fencedEpoch < this.view.epoch) brick.replica?.renewLease(LEASE_MS);
  }

  #fact(brick: BrickId): BrickFact {
    const { up, heardAt } = this.#record(brick);
    return !up || this.#cluster.world.now - heardAt >= DEAD_MS ? 'dead' : 'live';
  }

  // ---------------------------------------------------------------- views

  /** A request of a brick: the answer takes a moment, or does not come. */
  change(brick: SimBrick, epoch: number, change: ViewChange, alive: () => boolean): Promise<View> {
    const { world, network } = this.#cluster;
    return new Promise((resolve, reject) => {
      if (!alive()) return;
      const answer = (act: () => void): void => {
        const lost = network.isCut(STORE, brick.name);
        world.at(lost ? CHANGE_MS : 1, () => {
          if (!alive()) return;
          if (lost) reject(new LostError('the cluster store does not answer'));
          else act();
        });
      };
      world.at(1 + world.random.below(5), () => {
        if (network.isCut(brick.name, STORE)) {
          world.at(CHANGE_MS, () => alive() && reject(new LostError('the cluster store does not answer')));
          return;
        }
        if (epoch !== this.view.epoch || refusal(this.view, change, brick.id) !== undefined) return answer(() => resolve(this.view));
        this.#fenceAll(this.#leaving(change, brick.id), epoch, world.now + FENCE_MS, (fenced) => {
          if (!fenced) return answer(() => reject(new LostError('a brick could not be fenced')));
          if (epoch === this.view.epoch && !this.#away) this.#apply(change);
          answer(() => resolve(this.view));
        });
      });
    });
  }

  /** Bricks that lose their right to serve by this change, other than the one that asks. */
  #leaving(change: ViewChange, asking: BrickId): BrickId[] {
    const gone: BrickId[] = change.kind === 'drop' ? [change.brick] : change.kind === 'admit' ? change.without : change.kind === 'succeed' ? [this.view.primary] : [];
    return gone.filter((brick) => brick !== asking && this.view.inSync.includes(brick));
  }

  #fenceAll(bricks: BrickId[], epoch: number, until: number, done: (fenced: boolean) => void): void {
    const { world } = this.#cluster;
    const left = bricks.filter((id) => !this.#fence(this.#cluster.brick(id), epoch));
    if (left.length === 0) done(true);
    else if (world.now >= until) done(false);
    else world.at(FENCE_RETRY_MS, () => this.#fenceAll(left, epoch, until, done));
  }

  /** True when the brick does not serve and will not in this epoch. */
  #fence(brick: SimBrick, epoch: number): boolean {
    if (this.#fact(brick.id) === 'dead') return true;
    if (this.cutOff(brick.name) || brick.stopped) return false;
    const record = this.#record(brick.id);
    record.fencedEpoch = Math.max(record.fencedEpoch, epoch);
    brick.replica?.renewLease(0);
    return true;
  }

  /** Makes the change that is due because bricks died or appeared. */
  #settle(): void {
    const { world, brickIds } = this.#cluster;
    if (this.#away) return;
    const fact = (brick: BrickId): BrickFact => this.#fact(brick);
    const change = dueChange(this.view, brickIds, fact);
    if (change === undefined || !canWait(this.view, brickIds, change, fact)) {
      this.#waiting = undefined;
      if (change !== undefined) this.#apply(change);
    } else if (this.#waiting?.epoch !== this.view.epoch) {
      this.#waiting = { epoch: this.view.epoch, since: world.now };
    } else if (world.now - this.#waiting.since >= RETURN_MS) this.#apply(change);
  }

  #apply(change: ViewChange): void {
    const { world, bricks, brickIds, log } = this.#cluster;
    const answer = nextView(this.view, brickIds, change);
    if ('refused' in answer) return;
    this.view = answer.view;
    world.note(`view ${JSON.stringify(answer.view)}`);
    log.info('the view changed', { at: world.now, change, view: answer.view });
    for (const brick of bricks) world.at(1 + world.random.below(10), () => this.#deliver(brick));
    for (const client of this.#cluster.clients) world.at(1 + world.random.below(10), () => this.#cluster.tell(client));
  }

  #deliver(brick: SimBrick): void {
    if (brick.alive && !brick.stopped && !this.cutOff(brick.name) && this.view.epoch > 0) this.#cluster.world.as(brick, () => brick.replica?.setView(this.view));
  }
}
