/** What `volume status` and `volume heal NAME info` say: asked of every node that holds a brick, with a bound for each. */
import { LostError } from '../base/errno.js';
import { EMPTY_VIEW, type BrickId, type View } from '../fops/view.js';
import type {
  BrickMessage,
  BrickRoleName,
  BrickStatusMessage,
  HealBrickMessage,
  PeerMessage,
  ScrubBrickMessage,
  VolumeMessage,
  VolumeStateName,
  VolumeStatusMessage,
} from '../wire/management.js';
import { majority } from '../replica/view.js';
import type { HealStatusMessage } from '../wire/brick-control.js';
import type { Liveness } from './liveness.js';
import type { BrickReport, NodeService } from './node-service.js';
import type { BrickRecord, NodeId, PeerRecord, VolumeRecord, VolumeState } from './records.js';
import { Refused } from './refused.js';
import type { ClusterState } from './state.js';

const REPORT_MS = 4_000;

const STATES: Record<VolumeState, VolumeStateName> = { created: 'CREATED', started: 'STARTED', stopped: 'STOPPED' };

export function brickMessage(brick: BrickRecord): BrickMessage {
  return { id: brick.id, host: brick.host, path: brick.path, node: brick.node };
}

export function volumeMessage(volume: VolumeRecord): VolumeMessage {
  return {
    id: volume.id,
    name: volume.name,
    state: STATES[volume.state],
    replicaCount: volume.replicaCount,
    bricks: volume.bricks.map(brickMessage),
    options: Object.entries(volume.options)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => ({ key, value })),
  };
}

export interface ReportsOptions {
  node: NodeId;
  state: ClusterState;
  liveness: Liveness;
  nodes: NodeService;
}

interface Gathered {
  report: BrickReport | undefined;
  problem: string;
}

function roleOf(view: View, brick: BrickId, up: boolean, started: boolean): BrickRoleName {
  if (!started) return 'BRICK_STOPPED';
  if (view.epoch === 0) return 'UNKNOWN';
  if (view.catchingUp.includes(brick)) return 'CATCHING_UP';
  if (!view.inSync.includes(brick) || !up) return 'ABSENT';
  return view.primary === brick ? 'PRIMARY' : 'IN_SYNC';
}

/** Said of a brick without which no majority has every write: reads and writes wait until it is back. */
const WAITED_FOR = 'the volume waits for this brick';

/** Bricks in sync that are away, where too few are left: nothing goes on without them. */
export function waitedFor(view: View, bricks: number, up: (brick: BrickId) => boolean): Set<BrickId> {
  const away = view.inSync.filter((brick) => !up(brick));
  return new Set(view.inSync.length - away.length < majority(bricks) ? away : []);
}

function joined(...parts: string[]): string {
  return parts.filter((part) => part !== '').join('; ');
}

export class Reports {
  readonly #options: ReportsOptions;

  constructor(options: ReportsOptions) {
    this.#options = options;
  }

  /** The node that answers first, then by host name. */
  peers(): PeerMessage[] {
    const { state, liveness, node } = this.#options;
    const message = (peer: PeerRecord): PeerMessage => {
      const connected = liveness.alive(peer.id);
      const storeRole = peer.etcdClient === '' ? (state.peers().length === 1 ? 'embedded' : 'client') : 'voter';
      return {
        id: peer.id,
        hostname: peer.hostname,
        otherNames: peer.otherNames,
        connected,
        local: peer.id === node,
        stateText: '',
        address: peer.address,
        storeRole,
      };
    };
    const all = state.peers().map(message);
    return all.sort((a, b) => Number(b.local) - Number(a.local) || (a.hostname < b.hostname ? -1 : 1));
  }

  async status(volume: VolumeRecord, parts: { disk: boolean; clients: boolean }): Promise<VolumeStatusMessage> {
    const view = this.#view(volume);
    const gathered = await this.#gather(volume, { disk: parts.disk, status: true });
    const waits = this.#waitedFor(volume, view, gathered);
    const full = new Set(gathered.get(view.primary)?.report?.status?.heals.filter(({ state }) => state === 'full').map(({ brick }) => brick));
    const bricks = volume.bricks.map((brick): BrickStatusMessage => {
      const { report, problem } = gathered.get(brick.id) ?? { report: undefined, problem: 'it was not asked' };
      const online = this.#up(brick) && volume.state === 'started' && report?.attached === true;
      return {
        brick: brickMessage(brick),
        online,
        port: online ? (report?.port ?? 0) : 0,
        pid: report?.pid ?? 0,
        role: roleOf(view, brick.id, online, volume.state === 'started'),
        disk: report?.disk ?? null,
        clients: parts.clients ? (report?.status?.clients ?? []) : [],
        detail: joined(waits.has(brick.id) ? WAITED_FOR : '', full.has(brick.id) ? DISK_FULL : '', problem === '' && !online && volume.state === 'started' ? whyAway(brick, report) : problem),
        serving: report?.status?.serving === true,
      };
    });
    return { id: volume.id, name: volume.name, state: STATES[volume.state], epoch: view.epoch, bricks };
  }

  async healInfo(volume: VolumeRecord): Promise<HealBrickMessage[]> {
    if (volume.state !== 'started')
      throw new Refused(`volume ${volume.name} is not started: its bricks cannot be asked what differs`);
    const view = this.#view(volume);
    const gathered = await this.#gather(volume, { disk: false, status: true });
    const primary = gathered.get(view.primary);
    const heals = primary?.report?.status?.heals;
    const waits = this.#waitedFor(volume, view, gathered);
    return volume.bricks.map((brick): HealBrickMessage => {
      const { report, problem } = gathered.get(brick.id) ?? { report: undefined, problem: 'it was not asked' };
      const connected = this.#up(brick) && report?.attached === true;
      const role = roleOf(view, brick.id, connected, true);
      const heal = heals?.find((one) => one.brick === brick.id);
      const full = role === 'PRIMARY' || role === 'IN_SYNC';
      const progress =
        heal === undefined
          ? full
            ? { state: 'done', keysLeft: 0, bytesLeft: 0, bytesDone: 0, secondsLeft: 0, paths: [] }
            : null
          : progressOf(heal);
      const detail =
        problem !== ''
          ? problem
          : progress === null
            ? 'the primary does not answer: what this brick lacks is not known'
            : whyAway(brick, report);
      return { brick: brickMessage(brick), connected, role, progress, detail: joined(waits.has(brick.id) ? WAITED_FOR : '', heal?.state === 'full' ? DISK_FULL : '', detail) };
    });
  }

  #waitedFor(volume: VolumeRecord, view: View, gathered: ReadonlyMap<BrickId, Gathered>): Set<BrickId> {
    if (volume.state !== 'started') return new Set();
    const byId = new Map(volume.bricks.map((brick) => [brick.id, brick]));
    return waitedFor(view, volume.bricks.length, (id) => {
      const brick = byId.get(id);
      return brick !== undefined && this.#up(brick) && gathered.get(id)?.report?.attached === true;
    });
  }

  /** What the scrubber of every brick tells. */
  async scrub(volume: VolumeRecord): Promise<ScrubBrickMessage[]> {
    const gathered = await this.#gather(volume, { disk: false, status: true });
    return volume.bricks.map((brick): ScrubBrickMessage => {
      const { report, problem } = gathered.get(brick.id) ?? { report: undefined, problem: 'it was not asked' };
      const scrub = report?.status?.scrub ?? null;
      const detail = problem !== '' ? problem : scrub !== null ? '' : report?.reason || 'the brick does not answer';
      return { brick: brickMessage(brick), scrub, detail };
    });
  }

  #view(volume: VolumeRecord): View {
    return this.#options.state.view(volume.id)?.value ?? EMPTY_VIEW;
  }

  #up(brick: BrickRecord): boolean {
    return this.#options.liveness.alive(brick.node) && this.#options.state.brickProcess(brick.id)?.value.state === 'up';
  }

  async #gather(volume: VolumeRecord, parts: { disk: boolean; status: boolean }): Promise<Map<BrickId, Gathered>> {
    const { nodes, liveness, state } = this.#options;
    const found = new Map<BrickId, Gathered>();
    const holders = [...new Set(volume.bricks.map((brick) => brick.node))];
    await Promise.all(
      holders.map(async (node) => {
        const bricks = volume.bricks.filter((brick) => brick.node === node);
        const name = state.peer(node)?.value.hostname ?? bricks[0]?.host ?? node;
        let problem = liveness.alive(node) ? '' : `node ${name} is not connected`;
        let reports: BrickReport[] = [];
        if (problem === '') {
          try {
            ({ bricks: reports } = await nodes.call(node, 'reportBricks', { volume: volume.id, ...parts }, REPORT_MS));
          } catch (error) {
            if (!(error instanceof LostError || error instanceof Refused)) throw error;
            problem = `node ${name} could not be asked: ${error.message}`;
          }
        }
        for (const brick of bricks)
          found.set(brick.id, { report: reports.find((report) => report.brick === brick.id), problem });
      }),
    );
    return found;
  }
}

function whyAway(brick: BrickRecord, report: BrickReport | undefined): string {
  return brick.resetting === true ? "it is being reset: 'volume reset-brick … commit' ends that" : (report?.reason ?? '');
}

/** Said of a brick that is away until its disk has space. */
const DISK_FULL = 'its disk is full: it waits for space';

function progressOf(heal: HealStatusMessage): HealBrickMessage['progress'] {
  const { state, keysLeft, bytesLeft, bytesDone, secondsLeft } = heal;
  return { state, keysLeft, bytesLeft, bytesDone, secondsLeft, paths: heal.paths.map((path) => Buffer.from(path)) };
}
