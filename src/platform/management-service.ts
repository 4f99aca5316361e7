/**
 * The management service: requests as they come from grpc-js, answered by the parts of cluster/. Every failure becomes a Result; only a
 * caller that may not ask gets a gRPC status.
 */
import {
  status,
  type sendUnaryData,
  type ServerUnaryCall,
  type ServerWritableStream,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { matchesAddress } from '../base/address-pattern.js';
import { Errno, FsError, LostError } from '../base/errno.js';
import { optionHelp, findOption } from '../cluster/option-values.js';
import { OPTIONS } from '../cluster/options.js';
import type { Peers } from '../cluster/peers.js';
import type { NodeService } from '../cluster/node-service.js';
import type { BrickRecord, VolumeRecord } from '../cluster/records.js';
import { Refused } from '../cluster/refused.js';
import { volumeMessage, type Reports } from '../cluster/reports.js';
import type { BrickPlaces } from '../cluster/brick-places.js';
import type { ClusterState } from '../cluster/state.js';
import type { Volumes } from '../cluster/volumes.js';
import type { Log } from '../env/log.js';
import { EMPTY_VIEW } from '../fops/view.js';
import type { BrickRequest } from '../cluster/volume-rules.js';
import { required, specToMessage } from '../wire/brick-control.js';
import { secretOfClients } from '../wire/handshake.js';
import type {
  NodeMessage,
  OptionInForceMessage,
  OptionMessage,
  Result,
  VolumeStatusMessage,
  WatchVolumeEventMessage,
} from '../wire/management.js';
import { GLUOND_PORT, parseHostPort } from './target.js';

/** Who asks: root of this machine, a node of the pool, or anybody. */
export interface Caller {
  trusted: boolean;
  /** Numeric address; '' on the unix socket. */
  address: string;
  /** The caller is on this machine. */
  here: boolean;
}

export interface ManagementParts {
  state: ClusterState;
  volumes: Volumes;
  places: BrickPlaces;
  peers: Peers;
  reports: Reports;
  nodes: NodeService;
  log: Log;
  node(): NodeMessage;
  /** Data socket of a brick of this node, '' when it does not serve. */
  socketOf(brick: BrickRecord): string;
  stop(daemon: boolean): Promise<number>;
  caller(peer: string): Caller;
}

type Handler<Q> = (request: Q, caller: Caller) => Promise<object>;

const DONE: Result = { opRet: 0, opErrno: 0, message: '' };
/** A node that has just started, or lost the quorum, answers with an error after this. */
const READY_MS = 5_000;
const WATCHERS_MAX = 10_000;

/** `quorumProblem`: what is known of why the cluster store does not answer, or ''. */
export function resultOf(error: unknown, quorumProblem = ''): Result {
  if (error instanceof Refused) return { opRet: -1, opErrno: error.errno, message: error.message };
  if (error instanceof LostError)
    return {
      opRet: -1,
      opErrno: error.errno,
      message: `${quorumProblem === '' ? error.message : quorumProblem}. It may have happened all the same: look before trying again`,
    };
  if (error instanceof FsError) return { opRet: -1, opErrno: error.errno, message: error.message };
  return {
    opRet: -1,
    opErrno: Errno.EIO,
    message: `an error inside gluond: ${error instanceof Error ? error.message : String(error)}; see its log`,
  };
}

function checkScrubs(volume: VolumeRecord): void {
  if (volume.state !== 'started') throw new Refused(`volume ${volume.name} is not started`);
  if (volume.options['features.bitrot'] === 'on') return;
  throw new Refused(
    `volume ${volume.name} keeps no checksums: switch them on with 'gluon volume bitrot ${volume.name} enable'`,
  );
}

export class ManagementService {
  readonly #parts: ManagementParts;
  #watchers = 0;

  constructor(parts: ManagementParts) {
    this.#parts = parts;
  }

  implementation(): UntypedServiceImplementation {
    const { volumes, places, peers, reports } = this.#parts;
    const unary = <Q>(handler: Handler<Q>, options: { open?: boolean } = {}) =>
      this.#unary(handler, options.open === true);
    const change = (result: { id: string; warnings: string[] }): object => result;
    return {
      Ping: unary(() => Promise.resolve({ ...this.#parts.node() }), { open: true }),
      PeerProbe: unary<{ host: string; joinToken: string }>(({ host, joinToken }) => {
        const { host: name, port } = this.#address(host);
        return peers.probe(name, port, joinToken);
      }),
      PeerDetach: unary<{ host: string; force: boolean }>(async ({ host, force }) => {
        const { host: name, port } = this.#address(host);
        await peers.detach(name, /:\d+$/.test(host) ? port : undefined, force);
        return {};
      }),
      PeerList: unary(() => Promise.resolve({ peers: reports.peers() })),
      VolumeCreate: unary<{
        name: string;
        replicaCount: number;
        bricks: { host: string; path: string }[];
        transport: string;
        force: boolean;
      }>((q) => volumes.create(q.name, q.replicaCount, q.bricks, q.transport, q.force)),
      VolumeStart: unary<{ name: string; force: boolean }>(async ({ name, force }) =>
        change(await volumes.start(name, force)),
      ),
      VolumeStop: unary<{ name: string; force: boolean }>(async ({ name, force }) =>
        change(await volumes.stop(name, force)),
      ),
      VolumeDelete: unary<{ name: string }>(async ({ name }) => change(await volumes.delete(name))),
      VolumeReplaceBrick: unary<{ name: string; source: BrickRequest | null; target: BrickRequest | null }>(
        async ({ name, source, target }) =>
          change(await places.replace(name, required(source, 'brick'), required(target, 'new brick'))),
      ),
      VolumeResetBrick: unary<{ name: string; source: BrickRequest | null; target: BrickRequest | null; force: boolean }>(
        async ({ name, source, target, force }) => {
          const brick = required(source, 'brick');
          return change(
            await (target === null ? places.resetStart(name, brick) : places.resetCommit(name, brick, target, force)),
          );
        },
      ),
      VolumeInfo: unary<{ name: string }>(({ name }) =>
        Promise.resolve({ volumes: this.#named(name).map(volumeMessage) }),
      ),
      VolumeList: unary(() => Promise.resolve({ names: volumes.all().map((volume) => volume.name) })),
      VolumeStatus: unary<{ name: string; disk: boolean; clients: boolean }>(({ name, disk, clients }) =>
        reports.status(volumes.get(name), { disk, clients }),
      ),
      VolumeSet: unary<{ name: string; options: OptionMessage[]; group: string }>(async ({ name, options, group }) =>
        change(await volumes.set(name, options, group)),
      ),
      VolumeGet: unary<{ name: string; key: string }>(({ name, key }) =>
        Promise.resolve({ options: optionsInForce(volumes.get(name), key) }),
      ),
      VolumeReset: unary<{ name: string; key: string }>(async ({ name, key }) =>
        change(await volumes.reset(name, key)),
      ),
      VolumeOptionHelp: unary(() =>
        Promise.resolve({
          options: OPTIONS.map((option) => ({
            key: option.key,
            defaultValue: option.defaultValue,
            description: optionHelp(option),
            type: option.type,
            values: option.values ?? [],
          })),
        }),
      ),
      VolumeHeal: unary<{ name: string; full: boolean }>(({ name, full }) => this.#heal(volumes.get(name), full)),
      VolumeHealInfo: unary<{ name: string }>(async ({ name }) => ({
        name,
        bricks: await reports.healInfo(volumes.get(name)),
      })),
      VolumeScrub: unary<{ name: string }>(({ name }) => this.#scrub(volumes.get(name))),
      VolumeScrubStatus: unary<{ name: string }>(({ name }) => this.#scrubStatus(volumes.get(name))),
      GetState: unary(async () => {
        const statuses: VolumeStatusMessage[] = await Promise.all(
          volumes.all().map((volume) => reports.status(volume, { disk: true, clients: false })),
        );
        return {
          node: { result: DONE, ...this.#parts.node() },
          peers: reports.peers(),
          volumes: volumes.all().map(volumeMessage),
          statuses,
        };
      }),
      SystemStop: unary<{ daemon: boolean }>(async ({ daemon }) => ({ bricksStopped: await this.#parts.stop(daemon) })),
      WatchVolume: (call: ServerWritableStream<{ volume: string; client: string }, object>) => void this.#watch(call),
    };
  }

  #address(host: string): { host: string; port: number } {
    try {
      return parseHostPort(host, GLUOND_PORT);
    } catch (error) {
      throw new Refused(`'${host}' is not a host name or address`, Errno.EINVAL, { cause: error });
    }
  }

  #named(name: string): VolumeRecord[] {
    const { volumes } = this.#parts;
    return name === '' || name === 'all' ? volumes.all() : [volumes.get(name)];
  }

  #unary<Q>(
    handler: Handler<Q>,
    open: boolean,
  ): (call: ServerUnaryCall<Q, object>, callback: sendUnaryData<object>) => void {
    const { log } = this.#parts;
    return (call, callback) => {
      const caller = this.#parts.caller(call.getPeer());
      if (!open && !caller.trusted) {
        callback({
          code: status.PERMISSION_DENIED,
          details: 'this needs the unix socket of the node (as root) or a certificate of the pool',
        });
        return;
      }
      this.#ready(open)
        .then(() => handler(call.request, caller))
        .then(
          (answer) => callback(null, { result: DONE, ...answer }),
          (error: unknown) => {
            const result = resultOf(error, this.#quorumProblem());
            if (result.opErrno === Errno.EIO)
              log.error('a management request failed', { method: call.getPath(), error });
            else log.info('a management request was refused', { method: call.getPath(), reason: result.message });
            callback(null, { result });
          },
        );
    };
  }

  #quorumProblem(): string {
    const voters = this.#parts.reports.peers().filter((peer) => peer.storeRole === 'voter');
    const connected = voters.filter((peer) => peer.connected || peer.local).length;
    if (connected * 2 > voters.length) return '';
    const lacking = `the pool has no quorum: only ${connected} of ${voters.length} nodes are connected, and changes need a majority`;
    return `${lacking}. Start gluond on the others ('gluon peer status' shows them)`;
  }

  async #ready(open: boolean): Promise<void> {
    if (open) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () =>
          reject(
            new Refused(
              'the state of the pool cannot be read: more than half of the nodes that keep it must be up (this node has not seen it since it started)',
              Errno.EAGAIN,
            ),
          ),
        READY_MS,
      );
    });
    try {
      await Promise.race([this.#parts.state.ready, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #heal(volume: VolumeRecord, full: boolean): Promise<object> {
    const { state, nodes } = this.#parts;
    if (volume.state !== 'started') throw new Refused(`volume ${volume.name} is not started`);
    const view = state.view(volume.id)?.value ?? EMPTY_VIEW;
    const primary = volume.bricks.find((brick) => brick.id === view.primary);
    if (primary === undefined)
      throw new Refused(
        `volume ${volume.name} has no primary brick yet: see 'gluon volume status ${volume.name}'`,
        Errno.EAGAIN,
      );
    // Without `full` there is nothing to begin: what differs is known, and is healed as soon as its brick is back.
    if (!full) return { id: volume.id };
    if (volume.replicaCount < 3)
      throw new Refused(
        `with replica ${volume.replicaCount} no brick can leave the set to be compared as a whole: it takes three copies`,
      );
    const asked = volume.bricks.filter((brick) => brick !== primary);
    const answers = await Promise.all(
      asked.map((brick) =>
        nodes.call(brick.node, 'order', { brick: brick.id, order: 'heal-full' }).catch(() => ({ attached: false })),
      ),
    );
    const away = asked
      .filter((_, i) => answers[i]?.attached !== true)
      .map((brick) => `brick ${brick.host}:${brick.path} does not answer and was not asked`);
    if (away.length === asked.length)
      throw new Refused(`no brick but the primary answers: see 'gluon volume status ${volume.name}'`, Errno.ENOTCONN);
    return { id: volume.id, warnings: away };
  }

  /** Every brick looks for damage now. */
  async #scrub(volume: VolumeRecord): Promise<object> {
    const { nodes } = this.#parts;
    checkScrubs(volume);
    const answers = await Promise.all(
      volume.bricks.map((brick) =>
        nodes.call(brick.node, 'order', { brick: brick.id, order: 'scrub' }).catch(() => ({ attached: false })),
      ),
    );
    const away = volume.bricks
      .filter((_, i) => answers[i]?.attached !== true)
      .map((brick) => `brick ${brick.host}:${brick.path} does not answer and was not asked`);
    if (away.length === volume.bricks.length)
      throw new Refused(`no brick answers: see 'gluon volume status ${volume.name}'`, Errno.ENOTCONN);
    return { id: volume.id, warnings: away };
  }

  async #scrubStatus(volume: VolumeRecord): Promise<object> {
    checkScrubs(volume);
    const value = (key: string): string => optionsInForce(volume, key)[0]?.value ?? '';
    return {
      name: volume.name,
      scrub: value('features.scrub'),
      throttle: value('features.scrub-throttle'),
      frequency: value('features.scrub-freq'),
      bricks: await this.#parts.reports.scrub(volume),
    };
  }

  async #watch(call: ServerWritableStream<{ volume: string; client: string }, object>): Promise<void> {
    const { state, volumes, log } = this.#parts;
    const caller = this.#parts.caller(call.getPeer());
    const name = call.request.volume.replace(/^\//, '');
    let ended = false;
    let detach: () => void = () => undefined;
    const finish = (): void => {
      if (ended) return;
      ended = true;
      this.#watchers -= 1;
      detach();
    };
    const fail = (error: unknown): void => {
      finish();
      call.write({ result: resultOf(error) });
      call.end();
    };
    this.#watchers += 1;
    if (this.#watchers > WATCHERS_MAX) return fail(new Refused('too many mounts watch this node', Errno.EAGAIN));
    let sent = '';
    let id: string | undefined;
    const send = (): void => {
      if (ended) return;
      const volume = id === undefined ? state.volume(name)?.value : state.volumeById(id);
      if (volume === undefined || volume.preparing !== '') {
        fail(new Refused(`volume ${name} does not exist`, Errno.ENOENT));
        return;
      }
      id = volume.id;
      if (!caller.trusted && !admits(volume, caller.address)) {
        fail(new Refused(`${caller.address} may not mount ${name}: see its option auth.allow`, Errno.EACCES));
        return;
      }
      const whole = volumes.spec(volume, caller.here ? (brick) => this.#parts.socketOf(brick) : undefined);
      const spec = specToMessage({ ...whole, secret: secretOfClients(whole.secret) });
      const event: WatchVolumeEventMessage = {
        result: DONE,
        spec,
        view: state.view(volume.id)?.value ?? EMPTY_VIEW,
        node: this.#parts.node().id,
      };
      const text = JSON.stringify(event);
      if (text === sent) return;
      sent = text;
      call.write(event);
    };
    detach = state.onChange((changed) => {
      if (changed.has('volumes') || changed.has('views') || changed.has('bricks')) send();
    });
    call.on('cancelled', () => {
      finish();
      call.end();
    });
    call.on('error', finish);
    call.on('close', finish);
    try {
      await this.#ready(false);
      log.debug('a mount watches a volume', { volume: name, client: call.request.client, address: caller.address });
      send();
    } catch (error) {
      if (!ended) fail(error);
    }
  }
}

function admits(volume: VolumeRecord, address: string): boolean {
  const { 'auth.allow': allow, 'auth.reject': reject } = volume.options;
  if (reject !== undefined && matchesAddress(reject, address)) return false;
  return allow === undefined || allow === '' || matchesAddress(allow, address);
}

function optionsInForce(volume: VolumeRecord, key: string): OptionInForceMessage[] {
  const of = (name: string, defaultValue: string): OptionInForceMessage => ({
    key: name,
    value: volume.options[name] ?? defaultValue,
    isDefault: volume.options[name] === undefined,
  });
  if (key !== '' && key !== 'all') {
    const option = findOption(key);
    return [of(option.key, 'user' in option ? '' : option.defaultValue)];
  }
  const own = Object.keys(volume.options).filter(
    (name) => name.startsWith('user.') && !OPTIONS.some((option) => option.key === name),
  );
  return [...OPTIONS.map((option) => of(option.key, option.defaultValue)), ...own.map((name) => of(name, ''))];
}
