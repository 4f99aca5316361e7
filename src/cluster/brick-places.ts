/**
 * `replace-brick` and `reset-brick`: another brick takes a brick's place in the set, while the volume is in use. The new one has an identity of its own,
 * is absent at first, and catches up by a walk of the whole tree; the old identity never serves again, wherever its disk turns up.
 */
import { Errno } from '../base/errno.js';
import { hex } from '../base/ids.js';
import type { Clock, Random } from '../env/clock.js';
import type { ClusterStore } from '../env/cluster-store.js';
import type { Log } from '../env/log.js';
import type { Hosts } from './hosts.js';
import type { Liveness } from './liveness.js';
import type { NodeService } from './node-service.js';
import { encode, held, keys, type BrickRecord, type Held, type VolumeRecord } from './records.js';
import { Refused } from './refused.js';
import type { ClusterState } from './state.js';
import type { ViewKeeper } from './views.js';
import { checkBrickPath, checkPlaces, type BrickRequest, type Place } from './volume-rules.js';
import type { VolumeAnswer } from './volumes.js';

const PREPARE_MS = 20_000;
const START_MS = 15_000;
const POLL_MS = 30;

export interface BrickPlacesOptions {
  state: ClusterState;
  store: ClusterStore;
  liveness: Liveness;
  hosts: Hosts;
  nodes: NodeService;
  views: () => ViewKeeper;
  clock: Clock;
  random: Random;
  log: Log;
}

function nameOf(brick: BrickRequest): string {
  return `${brick.host}:${brick.path}`;
}

export class BrickPlaces {
  readonly #options: BrickPlacesOptions;

  constructor(options: BrickPlacesOptions) {
    this.#options = options;
  }

  /** Resolves when the new brick has its place; it is filled afterwards, as heal info tells. */
  async replace(name: string, source: BrickRequest, target: BrickRequest): Promise<VolumeAnswer> {
    const volume = await this.#started(name);
    const old = await this.#brickAt(volume.value, source);
    const place = await this.#place(target);
    if (place.node === old.node && place.path === old.path)
      throw new Refused(
        `the new brick is the old one: 'reset-brick ${name} ${nameOf(source)} start' is for a disk that is replaced in its place`,
      );
    this.#checkPlace(volume.value, place, undefined);
    await this.#takePlace(volume, old, place);
    return { id: volume.value.id, warnings: await this.#waitForNew(volume.value, place) };
  }

  /** The brick is taken out of the set and its process stopped, so that its disk can be replaced. */
  async resetStart(name: string, source: BrickRequest): Promise<VolumeAnswer> {
    const volume = await this.#started(name);
    const old = await this.#brickAt(volume.value, source);
    if (old.resetting === true) throw new Refused(`brick ${nameOf(old)} is being reset already: 'commit' ends it`);
    const bricks = volume.value.bricks.map((brick) => (brick.id === old.id ? { ...brick, resetting: true } : brick));
    await this.#options.views().replace(volume, { ...volume.value, bricks }, old.id);
    this.#options.log.info('a brick is being reset', { volume: name, brick: nameOf(old) });
    await this.#until(() => this.#options.state.brickProcess(old.id)?.value.state !== 'up');
    return { id: volume.value.id, warnings: [] };
  }

  /** A new brick in the place of the one that is being reset; with `force` the old one again, where its directory still holds it. */
  async resetCommit(name: string, source: BrickRequest, target: BrickRequest, force: boolean): Promise<VolumeAnswer> {
    const volume = await this.#started(name);
    const old = await this.#brickAt(volume.value, source);
    const place = await this.#place(target);
    if (place.node !== old.node || place.path !== old.path)
      throw new Refused(
        `${nameOf(place)} is another place than ${nameOf(old)}: use 'replace-brick ${name} ${nameOf(source)} ${nameOf(target)} commit force'`,
      );
    if (old.resetting !== true)
      throw new Refused(`brick ${nameOf(old)} is not being reset: begin with 'reset-brick ${name} ${nameOf(source)} start'`);
    const still = await this.#isStill(volume.value, old);
    if (still && !force)
      throw new Refused(
        `${old.path} still holds this brick: empty it or mount another disk there, or add 'force' to use it again as it is`,
      );
    if (still) await this.#keep(volume, old, place.host);
    else await this.#takePlace(volume, old, place, force);
    return { id: volume.value.id, warnings: await this.#waitForNew(volume.value, place) };
  }

  // --- what must be true

  async #started(name: string): Promise<Held<VolumeRecord>> {
    const entry = await this.#options.store.get(keys.volume(name));
    const volume = entry === undefined ? undefined : held<VolumeRecord>(entry);
    if (volume === undefined || volume.value.preparing !== '')
      throw new Refused(`volume ${name} does not exist: 'gluon volume list' shows those that do`, Errno.ENOENT);
    if (volume.value.state !== 'started') throw new Refused(`volume ${name} is not started`);
    if (volume.value.replicaCount < 2)
      throw new Refused(`volume ${name} keeps one copy: there is none that another brick could be filled from`);
    return volume;
  }

  async #brickAt(volume: VolumeRecord, { host, path }: BrickRequest): Promise<BrickRecord> {
    const plain = checkBrickPath(path);
    const named = volume.bricks.find((brick) => brick.host === host && brick.path === plain);
    if (named !== undefined) return named;
    const node = await this.#options.hosts.nodeOfBrick(host).catch(() => undefined);
    const found = volume.bricks.find((brick) => brick.node === node?.id && brick.path === plain);
    if (found === undefined)
      throw new Refused(
        `volume ${volume.name} has no brick ${host}:${plain}: 'gluon volume info ${volume.name}' shows its bricks`,
        Errno.ENOENT,
      );
    return found;
  }

  async #place({ host, path }: BrickRequest): Promise<Place> {
    const { hosts, liveness } = this.#options;
    const place = { host, path: checkBrickPath(path), node: (await hosts.nodeOfBrick(host)).id };
    if (!liveness.alive(place.node))
      throw new Refused(`node ${host} is in the pool but not connected: see 'gluon peer status'`, Errno.ENOTCONN);
    return place;
  }

  /** Against every brick of every volume, but for `except`. */
  #checkPlace(volume: VolumeRecord, place: Place, except: BrickRecord | undefined): void {
    const others = this.#options.state.everyVolume().filter((other) => other.id !== volume.id);
    const existing = [...others, volume].flatMap((other) => other.bricks.map((brick) => ({ ...brick, volume: other.name })));
    checkPlaces([place], existing.filter((brick) => brick.id !== except?.id), true);
  }

  async #isStill(volume: VolumeRecord, brick: BrickRecord): Promise<boolean> {
    try {
      await this.#options.nodes.call(brick.node, 'checkBrick', { path: brick.path, volume: volume.id, brick: brick.id });
      return true;
    } catch (error) {
      if (error instanceof Refused) return false;
      throw error;
    }
  }

  // --- what is done

  async #takePlace(volume: Held<VolumeRecord>, old: BrickRecord, place: Place, force = true): Promise<void> {
    const { nodes, random, log, views } = this.#options;
    const fresh: BrickRecord = { id: hex(random.bytes(16)), node: place.node, host: place.host, path: place.path };
    const at = { path: fresh.path, volume: volume.value.id, brick: fresh.id };
    const { created } = await nodes.call(fresh.node, 'prepareBrick', { ...at, force, incomplete: true }, PREPARE_MS);
    try {
      const bricks = volume.value.bricks.map((brick) => (brick.id === old.id ? fresh : brick));
      await views().replace(volume, { ...volume.value, bricks }, old.id);
    } catch (error) {
      await nodes
        .call(fresh.node, 'unprepareBrick', { ...at, created })
        .catch((failure: unknown) => log.warn('a brick directory could not be given back', { path: fresh.path, error: failure }));
      throw error;
    }
    log.info('a brick was replaced', { volume: volume.value.name, old: nameOf(old), oldId: old.id, new: nameOf(fresh), newId: fresh.id });
  }

  async #keep(volume: Held<VolumeRecord>, old: BrickRecord, host: string): Promise<void> {
    const { store } = this.#options;
    const bricks = volume.value.bricks.map((brick) =>
      brick.id === old.id ? { id: brick.id, node: brick.node, host, path: brick.path } : brick,
    );
    if (!(await store.commit([volume], [{ key: volume.key, value: encode({ ...volume.value, bricks }) }])))
      throw new Refused(`volume ${volume.value.name} was changed by another command: look and try again`, Errno.EAGAIN);
  }

  /** Until the brick in that place runs; why it does not, if it does not. */
  async #waitForNew(volume: VolumeRecord, place: Place): Promise<string[]> {
    const { state } = this.#options;
    const brick = (): BrickRecord | undefined =>
      state.volumeById(volume.id)?.bricks.find((one) => one.node === place.node && one.path === place.path && one.resetting !== true);
    const process = (): string => state.brickProcess(brick()?.id ?? '')?.value.state ?? 'down';
    await this.#until(() => process() === 'up');
    if (process() === 'up') return [];
    const reason = state.brickProcess(brick()?.id ?? '')?.value.reason ?? 'it has not reported';
    return [`brick ${nameOf(place)} does not run yet: ${reason}`];
  }

  async #until(done: () => boolean): Promise<void> {
    const { clock } = this.#options;
    const until = clock.now() + START_MS;
    while (!done() && clock.now() < until) await new Promise<void>((resolve) => void clock.after(POLL_MS, resolve));
  }
}
