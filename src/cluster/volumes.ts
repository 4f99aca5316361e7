/** The volumes: what the operator may do with them. Every change is one compare-and-set; errors are Refused or LostError. */
import { Errno, LostError } from '../base/errno.js';
import { hex, uuidText } from '../base/ids.js';
import type { Clock, Random } from '../env/clock.js';
import type { ClusterStore } from '../env/cluster-store.js';
import type { Log } from '../env/log.js';
import type { BrickSpec, VolumeSpec } from '../fops/volume.js';
import { checkOption, findOption, groupOptions } from './option-values.js';
import type { Hosts } from './hosts.js';
import type { Liveness } from './liveness.js';
import type { NodeService } from './node-service.js';
import { encode, held, keys, type BrickRecord, type Held, type NodeId, type VolumeRecord } from './records.js';
import { Refused } from './refused.js';
import type { ClusterState } from './state.js';
import {
  checkBrickPath,
  checkCounts,
  checkPlaces,
  checkVolumeName,
  type BrickRequest,
  type Place,
} from './volume-rules.js';

export interface VolumesOptions {
  node: NodeId;
  state: ClusterState;
  store: ClusterStore;
  liveness: Liveness;
  hosts: Hosts;
  nodes: NodeService;
  clock: Clock;
  random: Random;
  log: Log;
}

export interface VolumeAnswer {
  id: string;
  warnings: string[];
}

const PREPARE_MS = 20_000;
const START_MS = 30_000;
const STOP_MS = 30_000;
const POLL_MS = 30;
/** A failure that was told before a start may still stand there for a moment. */
const FAIL_MS = 1_000;
/** Reasons of a brick that is down without having failed. */
const NOT_YET = new Set(['stopped', 'starting']);
const ATTEMPTS = 5;
/** Set on every new volume, and shown as set: what GlusterFS shows too. */
const INITIAL_OPTIONS = {
  'cluster.granular-entry-heal': 'on',
  'nfs.disable': 'on',
  'transport.address-family': 'inet',
};

function unknown(name: string): Refused {
  return new Refused(`volume ${name} does not exist: 'gluon volume list' shows those that do`, Errno.ENOENT);
}

export class Volumes {
  readonly #options: VolumesOptions;

  constructor(options: VolumesOptions) {
    this.#options = options;
  }

  /** Refused when there is none. */
  get(name: string): VolumeRecord {
    const volume = this.#options.state.volume(name)?.value;
    if (volume === undefined || volume.preparing !== '') throw unknown(name);
    return volume;
  }

  all(): VolumeRecord[] {
    return this.#options.state.volumes();
  }

  /** `socketOf` names the data socket of bricks of this node, for readers on this machine. */
  spec(volume: VolumeRecord, socketOf?: (brick: BrickRecord) => string): VolumeSpec {
    const bricks = volume.bricks.map((brick): BrickSpec => {
      const socket = brick.node === this.#options.node ? (socketOf?.(brick) ?? '') : '';
      return {
        ...brick,
        port: this.#options.state.brickProcess(brick.id)?.value.port ?? 0,
        socket: socket === '' ? undefined : socket,
      };
    });
    return {
      id: volume.id,
      name: volume.name,
      secret: volume.secret,
      started: volume.state === 'started',
      bricks,
      options: volume.options,
    };
  }

  async create(
    name: string,
    replicaCount: number,
    requests: readonly BrickRequest[],
    transport: string,
    force: boolean,
  ): Promise<VolumeAnswer> {
    const { state, store, nodes, liveness, random, log } = this.#options;
    checkVolumeName(name);
    if (transport !== '' && transport !== 'tcp')
      throw new Refused(`transport ${transport} is not supported: gluon speaks tcp`);
    const present = await store.get(keys.volume(name));
    if (present !== undefined && held<VolumeRecord>(present).value.preparing === '')
      throw new Refused(`volume ${name} exists already`, Errno.EEXIST);
    const copies = checkCounts(replicaCount, requests.length);
    const places = await this.#places(requests);
    const others = state.everyVolume().filter((volume) => volume.name !== name);
    const existing = others.flatMap((volume) => volume.bricks.map((brick) => ({ ...brick, volume: volume.name })));
    checkPlaces(places, existing, force);
    for (const place of places) {
      if (!liveness.alive(place.node))
        throw new Refused(
          `node ${place.host} is in the pool but not connected: see 'gluon peer status'`,
          Errno.ENOTCONN,
        );
    }
    const volume: VolumeRecord = {
      id: hex(random.bytes(16)),
      name,
      secret: Buffer.from(random.bytes(32)).toString('hex'),
      state: 'created',
      replicaCount: copies,
      bricks: places.map((place) => ({ ...place, id: hex(random.bytes(16)) })),
      options: { ...INITIAL_OPTIONS },
      preparing: this.#options.node,
    };
    if (
      !(await store.commit(
        [{ key: keys.volume(name), revision: present?.revision ?? 0 }],
        [{ key: keys.volume(name), value: encode(volume) }],
      ))
    ) {
      throw new Refused(`volume ${name} is being created by another command`, Errno.EAGAIN);
    }
    const prepared: (BrickRecord & { created: boolean })[] = [];
    try {
      // One after the other: of two bricks on one node the second sees what the first one made.
      for (const brick of volume.bricks) {
        const { created } = await nodes.call(
          brick.node,
          'prepareBrick',
          { path: brick.path, volume: volume.id, brick: brick.id, force },
          PREPARE_MS,
        );
        prepared.push({ ...brick, created });
      }
      const mine = await store.get(keys.volume(name));
      const complete = { ...volume, preparing: '' as const };
      const same = mine !== undefined && held<VolumeRecord>(mine).value.id === volume.id;
      if (
        !same ||
        !(await store.commit(
          [{ key: mine.key, revision: mine.revision }],
          [{ key: mine.key, value: encode(complete) }],
        ))
      ) {
        throw new Refused(`volume ${name} was created by another command meanwhile`, Errno.EAGAIN);
      }
    } catch (error) {
      await this.#undo(volume, prepared);
      throw error;
    }
    log.info('volume created', {
      volume: name,
      id: volume.id,
      bricks: volume.bricks.map((brick) => `${brick.host}:${brick.path}`),
    });
    await this.#mirrored(name, (record) => record?.id === volume.id && record.preparing === '');
    const warnings =
      copies === 2
        ? [
            `with replica 2 every write needs both bricks: when one is down, I/O waits. Use replica 3 to survive a failure`,
          ]
        : [];
    return { id: volume.id, warnings };
  }

  async start(name: string, force: boolean): Promise<VolumeAnswer> {
    const { nodes, state, liveness, log } = this.#options;
    const volume = await this.#fresh(name);
    if (volume.value.state === 'started' && !force)
      throw new Refused(`volume ${name} is started already: 'start ${name} force' starts bricks that do not run`);
    const away = volume.value.bricks.filter((brick) => !liveness.alive(brick.node));
    const formed = (state.view(volume.value.id)?.value.epoch ?? 0) > 0;
    if (!formed && away.length > 0) {
      throw new Refused(
        `the first start needs every brick, and ${away.map((brick) => brick.host).join(', ')} is not connected: see 'gluon peer status'`,
        Errno.ENOTCONN,
      );
    }
    const problems: string[] = [];
    await Promise.all(
      volume.value.bricks
        .filter((brick) => !away.includes(brick) && brick.resetting !== true)
        .map(async (brick) => {
          try {
            await nodes.call(brick.node, 'checkBrick', { path: brick.path, volume: volume.value.id, brick: brick.id });
          } catch (error) {
            problems.push(
              `brick ${brick.host}:${brick.path}: ${error instanceof Error ? error.message : String(error)}`,
            );
          }
        }),
    );
    if (problems.length > 0 && !force)
      throw new Refused(`${problems.join('; ')}. 'start ${name} force' starts the other bricks`);
    if (volume.value.state !== 'started') await this.#change(name, (record) => ({ ...record, state: 'started' }));
    else
      await Promise.all(
        volume.value.bricks.map((brick) =>
          nodes.call(brick.node, 'startNow', { volume: volume.value.id }).catch(() => undefined),
        ),
      );
    log.info('volume started', { volume: name });
    const warnings = await this.#waitStarted(volume.value);
    return { id: volume.value.id, warnings };
  }

  async stop(name: string, force: boolean): Promise<VolumeAnswer> {
    const { state, clock, liveness, log } = this.#options;
    const volume = await this.#fresh(name);
    if (volume.value.state !== 'started' && !force) throw new Refused(`volume ${name} is not started`);
    if (volume.value.state === 'started') await this.#change(name, (record) => ({ ...record, state: 'stopped' }));
    log.info('volume stopped', { volume: name });
    const up = (): BrickRecord[] =>
      volume.value.bricks.filter(
        (brick) => liveness.alive(brick.node) && state.brickProcess(brick.id)?.value.state === 'up',
      );
    const until = clock.now() + STOP_MS;
    while (up().length > 0 && clock.now() < until) await this.#sleep(POLL_MS);
    const warnings = up().map((brick) => `brick ${brick.host}:${brick.path} did not stop within ${STOP_MS / 1000} s`);
    return { id: volume.value.id, warnings };
  }

  async delete(name: string): Promise<VolumeAnswer> {
    const { store, state, liveness, log } = this.#options;
    const volume = await this.#fresh(name);
    if (volume.value.state === 'started')
      throw new Refused(`volume ${name} is started: stop it first with 'gluon volume stop ${name}'`);
    const running = volume.value.bricks.find(
      (brick) => liveness.alive(brick.node) && state.brickProcess(brick.id)?.value.state === 'up',
    );
    if (running !== undefined)
      throw new Refused(`brick ${running.host}:${running.path} has not stopped yet: try again`, Errno.EBUSY);
    const gone = [volume.key, keys.view(volume.value.id), ...volume.value.bricks.map((brick) => keys.brick(brick.id))];
    if (
      !(await store.commit(
        [volume],
        gone.map((key) => ({ key, remove: true as const })),
      ))
    )
      throw new Refused(`volume ${name} was changed by another command: look and try again`, Errno.EAGAIN);
    log.info('volume deleted', { volume: name });
    await this.#mirrored(name, (record) => record === undefined);
    return { id: volume.value.id, warnings: [] };
  }

  async set(name: string, pairs: readonly { key: string; value: string }[], group: string): Promise<VolumeAnswer> {
    const all = [...(group === '' ? [] : groupOptions(group)).map(([key, value]) => ({ key, value })), ...pairs];
    if (all.length === 0) throw new Refused("no option was given: 'volume set NAME KEY VALUE'");
    const checked = all.map(({ key, value }) => checkOption(key, value));
    const set = Object.fromEntries(checked.map(({ key, value }) => [key, value]));
    const { id } = await this.#change(name, (record) => ({ ...record, options: { ...record.options, ...set } }));
    this.#options.log.info('options set', { volume: name, options: set });
    return { id, warnings: group === '' ? checked.map(({ note }) => note).filter((note) => note !== '') : [] };
  }

  async reset(name: string, key: string): Promise<VolumeAnswer> {
    const one = key === '' || key === 'all' ? undefined : findOption(key).key;
    const { id } = await this.#change(name, (record) => {
      const options = Object.entries(record.options).filter(([present]) => one !== undefined && present !== one);
      return { ...record, options: one === undefined ? { ...INITIAL_OPTIONS } : Object.fromEntries(options) };
    });
    this.#options.log.info('options reset', { volume: name, key });
    return { id, warnings: [] };
  }

  /** What a create of this node left behind when its gluond died. */
  async cleanUp(): Promise<void> {
    for (const volume of this.#options.state.everyVolume()) {
      if (volume.preparing === this.#options.node)
        await this.#undo(
          volume,
          volume.bricks.map((brick) => ({ ...brick, created: false })),
        );
    }
  }

  async #places(requests: readonly BrickRequest[]): Promise<Place[]> {
    const places: Place[] = [];
    for (const { host, path } of requests) {
      if (host === '') throw new Refused(`brick '${path}' names no host: give HOST:/PATH`);
      places.push({ host, path: checkBrickPath(path), node: (await this.#options.hosts.nodeOfBrick(host)).id });
    }
    return places;
  }

  async #undo(volume: VolumeRecord, prepared: readonly (BrickRecord & { created: boolean })[]): Promise<void> {
    const { nodes, store, log } = this.#options;
    for (const { node, path, id, created } of prepared) {
      await nodes
        .call(node, 'unprepareBrick', { path, volume: volume.id, brick: id, created })
        .catch((error: unknown) => log.warn('a brick directory could not be given back', { path, error }));
    }
    try {
      const present = await store.get(keys.volume(volume.name));
      if (present !== undefined && held<VolumeRecord>(present).value.id === volume.id)
        await store.commit([present], [{ key: present.key, remove: true }]);
    } catch (error) {
      log.warn('an incomplete volume stays until its name is used again', { volume: volume.name, error });
    }
  }

  /** From the store itself: the mirror of a node without quorum may be old. */
  async #fresh(name: string): Promise<Held<VolumeRecord>> {
    const entry = await this.#options.store.get(keys.volume(name));
    const volume = entry === undefined ? undefined : held<VolumeRecord>(entry);
    if (volume === undefined || volume.value.preparing !== '') throw unknown(name);
    return volume;
  }

  async #change(name: string, change: (record: VolumeRecord) => VolumeRecord): Promise<VolumeRecord> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const volume = await this.#fresh(name);
      const value = change(volume.value);
      if (await this.#options.store.commit([volume], [{ key: volume.key, value: encode(value) }])) {
        const text = encode(value);
        await this.#mirrored(name, (record) => record !== undefined && encode(record) === text);
        return value;
      }
    }
    throw new Refused(`volume ${name} was changed by other commands at the same time: try again`, Errno.EAGAIN);
  }

  /** The next command of this operator sees what this one did. */
  async #mirrored(name: string, done: (record: VolumeRecord | undefined) => boolean): Promise<void> {
    const until = this.#options.clock.now() + 2_000;
    while (!done(this.#options.state.volume(name)?.value) && this.#options.clock.now() < until) await this.#sleep(5);
  }

  /** Waits until every brick that can runs and the set has a view; says what does not run. */
  async #waitStarted(volume: VolumeRecord): Promise<string[]> {
    const { state, clock, liveness } = this.#options;
    const until = clock.now() + START_MS;
    const earliest = clock.now() + FAIL_MS;
    const missing = (): BrickRecord[] =>
      volume.bricks.filter((brick) => brick.resetting !== true && state.brickProcess(brick.id)?.value.state !== 'up');
    const failed = (brick: BrickRecord): boolean =>
      !liveness.alive(brick.node) || !NOT_YET.has(state.brickProcess(brick.id)?.value.reason ?? 'stopped');
    for (;;) {
      const left = missing();
      const formed = (state.view(volume.id)?.value.epoch ?? 0) > 0;
      if (left.length === 0 && formed) return [];
      if (clock.now() >= until || (clock.now() >= earliest && left.length > 0 && left.every(failed))) {
        const why = (brick: BrickRecord): string =>
          liveness.alive(brick.node)
            ? (state.brickProcess(brick.id)?.value.reason ?? 'it has not reported')
            : 'its node is not connected';
        const warnings = left.map((brick) => `brick ${brick.host}:${brick.path} does not run: ${why(brick)}`);
        if (!formed)
          throw new LostError(
            `volume ${volume.name} (${uuidText(volume.id)}) is started, but its replica set is not formed yet: ${warnings.join('; ')}`,
            Errno.ETIMEDOUT,
          );
        return warnings;
      }
      await this.#sleep(POLL_MS);
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.#options.clock.after(ms, resolve));
  }
}
