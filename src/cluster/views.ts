/**
 * Keeper of the views: carries out the changes that bricks ask for, and those that the death of a brick makes due. The rules are in
 * replica/view.ts; here is who may ask, what must have ended before, and the compare-and-set.
 *
 * A brick that is to leave inSync has stopped serving before the change is committed (rule 3 of the design): its process is gone, its
 * node gave no sign of life for longer than its serving lease, or its gluond took the lease away (`fence`).
 */
import { Errno, FsError, LostError } from '../base/errno.js';
import type { Cancel, Clock } from '../env/clock.js';
import type { ClusterStore, Compare } from '../env/cluster-store.js';
import type { Log } from '../env/log.js';
import { EMPTY_VIEW, type BrickId, type View } from '../fops/view.js';
import { majority, nextView, viewWithout, type ViewChange } from '../replica/view.js';
import type { Liveness } from './liveness.js';
import { encode, held, keys, type Held, type NodeId, type VolumeRecord } from './records.js';
import { Refused } from './refused.js';
import type { ClusterState } from './state.js';

export type BrickFact = 'live' | 'dead' | 'unknown';

/** The change that is due because bricks died or appeared, if any. */
export function dueChange(
  view: View,
  bricks: readonly BrickId[],
  fact: (brick: BrickId) => BrickFact,
): ViewChange | undefined {
  if (view.epoch === 0) return bricks.every((brick) => fact(brick) === 'live') ? { kind: 'form' } : undefined;
  if (fact(view.primary) === 'dead') {
    const successor = view.inSync.filter((brick) => brick !== view.primary && fact(brick) === 'live').toSorted()[0];
    if (successor !== undefined) return { kind: 'succeed', successor };
  }
  const quorum = majority(bricks.length);
  const gone = view.inSync.find((brick) => brick !== view.primary && fact(brick) === 'dead');
  if (gone !== undefined && view.inSync.length - 1 >= quorum) return { kind: 'drop', brick: gone };
  const abandoned = view.catchingUp.find((brick) => fact(brick) === 'dead');
  return abandoned === undefined ? undefined : { kind: 'abandon', brick: abandoned };
}

/**
 * True when fewer than a majority would be in sync and live afterwards, so that the change brings no service back at once: after a power cut of
 * several nodes, bricks return one by one, and one that comes a moment later should find its place.
 */
export function canWait(
  view: View,
  bricks: readonly BrickId[],
  change: ViewChange,
  fact: (brick: BrickId) => BrickFact,
): boolean {
  if (change.kind !== 'succeed' && change.kind !== 'drop') return false;
  const gone = change.kind === 'succeed' ? view.primary : change.brick;
  return view.inSync.filter((brick) => brick !== gone && fact(brick) === 'live').length < majority(bricks.length);
}

/** Why a brick may not ask for this, or undefined. */
export function refusal(view: View, change: ViewChange, asking: BrickId): string | undefined {
  switch (change.kind) {
    case 'form':
      return 'a volume is formed by gluond';
    case 'catchUp':
      return change.brick === asking ? undefined : 'a brick may only return itself';
    case 'drop':
    case 'abandon':
      return change.brick === asking || view.primary === asking
        ? undefined
        : 'only the primary may remove another brick';
    case 'succeed':
    case 'handOver':
    case 'admit':
      return view.primary === asking ? undefined : 'only the primary may ask for this';
  }
}

/** Bricks that lose their right to serve by this change, other than the one that asks. */
function leaving(view: View, change: ViewChange, asking: BrickId): BrickId[] {
  const gone: BrickId[] = [];
  if (change.kind === 'drop') gone.push(change.brick);
  if (change.kind === 'admit') gone.push(...change.without);
  if (change.kind === 'succeed') gone.push(view.primary);
  return gone.filter((brick) => brick !== asking && view.inSync.includes(brick));
}

export interface ViewKeeperOptions {
  node: NodeId;
  state: ClusterState;
  store: ClusterStore;
  liveness: Liveness;
  clock: Clock;
  log: Log;
  /**
   * Asks the gluond of `node` to take the serving lease of its brick away for as long as the view has this epoch. Resolves when the
   * brick does not serve; rejects with LostError when that cannot be learnt.
   */
  fence(node: NodeId, brick: BrickId, epoch: number): Promise<void>;
}

const COMMIT_ATTEMPTS = 8;
const FENCE_MS = 12_000;
const FENCE_RETRY_MS = 200;
const LOOK_MS = 200;
/** How long a brick gets to return before a change that would not help at once. */
const RETURN_MS = 5_000;
const AGAIN_MS = 20;

/** All bricks of the set: one that is being reset is of it, but may not return. */
function membersOf(volume: VolumeRecord): BrickId[] {
  return volume.bricks.map((brick) => brick.id);
}

function sameMembers(a: VolumeRecord, b: VolumeRecord): boolean {
  return membersOf(a).join() === membersOf(b).join();
}

export class ViewKeeper {
  readonly #options: ViewKeeperOptions;
  readonly #busy = new Set<string>();
  readonly #again = new Set<string>();
  /** Since when a change that brings no service back has been due. */
  readonly #waiting = new Map<string, { epoch: number; since: number }>();
  #timer: Cancel = () => undefined;
  #detach: () => void = () => undefined;
  #stopped = true;

  constructor(options: ViewKeeperOptions) {
    this.#options = options;
  }

  start(): void {
    this.#stopped = false;
    this.#detach = this.#options.state.onChange((changed) => {
      if (changed.has('bricks') || changed.has('views') || changed.has('volumes')) this.look();
    });
    const tick = (): void => {
      this.look();
      if (!this.#stopped) this.#timer = this.#options.clock.after(LOOK_MS, tick);
    };
    tick();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer();
    this.#detach();
  }

  /** Makes the changes that are due now; also called by the timer, because a death by silence is no event. */
  look(): void {
    for (const volume of this.#options.state.volumes()) {
      if (volume.state !== 'started') continue;
      if (this.#busy.has(volume.id)) this.#again.add(volume.id);
      else if (this.#due(volume) !== undefined) void this.#settle(volume.id);
    }
  }

  /** See Authority. `asking` is the brick that asks. */
  async change(volumeId: string, epoch: number, change: ViewChange, asking: BrickId): Promise<View> {
    const volume = this.#options.state.volumeById(volumeId);
    if (volume === undefined) throw new FsError(Errno.ENOENT, 'view', `there is no volume ${volumeId}`);
    const bricks = membersOf(volume);
    let fenced: Compare[] | undefined;
    for (let attempt = 0; attempt < COMMIT_ATTEMPTS; attempt++) {
      const present = await this.#read(volumeId);
      const view = present.value;
      if (view.epoch !== epoch) return view;
      const resets = change.kind === 'catchUp' && volume.bricks.some((brick) => brick.id === change.brick && brick.resetting === true);
      const refused = resets ? 'the brick is being reset' : refusal(view, change, asking);
      const answer = refused === undefined ? nextView(view, bricks, change) : { refused };
      if ('refused' in answer) {
        this.#options.log.debug('a change of the view was refused', {
          volume: volume.name,
          asking,
          change,
          epoch,
          reason: answer.refused,
        });
        return view;
      }
      if (fenced === undefined) {
        fenced = [];
        for (const brick of leaving(view, change, asking)) fenced.push(...(await this.#fence(volume, brick, epoch)));
        continue;
      }
      if (await this.#commit(volume, present, answer.view, change, asking, fenced)) return answer.view;
      // Somebody changed the view, or a brick that was dead is back, or this node's mirror of the volume is behind.
      fenced = undefined;
      if ((await this.#read(volumeId)).value.epoch === epoch) await this.#sleep(AGAIN_MS);
    }
    return (await this.#read(volumeId)).value;
  }

  /**
   * Takes a brick out of the set and commits the volume's next record in the same compare-and-set. Refused where no majority would remain in sync. The
   * brick has stopped serving before.
   */
  async replace(volume: Held<VolumeRecord>, next: VolumeRecord, brick: BrickId): Promise<void> {
    const { value } = volume;
    const bricks = value.bricks.map((one) => one.id);
    for (let attempt = 0; attempt < COMMIT_ATTEMPTS; attempt++) {
      const present = await this.#read(value.id);
      const view = present.value;
      const successor = view.inSync.filter((other) => other !== brick && this.fact(value, other) === 'live').toSorted()[0];
      const answer = viewWithout(view, bricks.length, brick, successor);
      if ('refused' in answer)
        throw new Refused(
          `the brick cannot leave now: ${answer.refused}. 'gluon volume heal ${value.name} info' shows which bricks are not equal yet`,
          Errno.EAGAIN,
        );
      const fenced = view.inSync.includes(brick) ? await this.#fence(value, brick, view.epoch) : [];
      const writes = [
        { key: volume.key, value: encode(next) },
        { key: present.key, value: encode(answer.view) },
      ];
      if (await this.#options.store.commit([volume, present, ...fenced], writes)) {
        this.#options.log.info('a brick gave its place away', { volume: value.name, brick, view: answer.view });
        return;
      }
      const entry = await this.#options.store.get(volume.key);
      if (entry?.revision !== volume.revision)
        throw new Refused(`volume ${value.name} was changed by another command: look and try again`, Errno.EAGAIN);
    }
    throw new Refused(`the view of volume ${value.name} changes all the time: try again`, Errno.EAGAIN);
  }

  fact(volume: VolumeRecord, brick: BrickId): BrickFact {
    return this.#evidence(volume, brick).fact;
  }

  /** With what must still be true when a change is committed because of it. */
  #evidence(volume: VolumeRecord, brick: BrickId): { fact: BrickFact; compares: Compare[] } {
    const { state, liveness } = this.#options;
    const node = volume.bricks.find((record) => record.id === brick)?.node ?? '';
    const process = state.brickProcess(brick);
    const compare = { key: keys.brick(brick), revision: process?.revision ?? 0 };
    if (process?.value.state !== 'up') return { fact: 'dead', compares: [compare] };
    const silent = liveness.dead(node);
    if (silent !== undefined) return { fact: 'dead', compares: [compare, silent] };
    return { fact: liveness.confirmed(node) ? 'live' : 'unknown', compares: [compare] };
  }

  #due(volume: VolumeRecord): ViewChange | undefined {
    const view = this.#options.state.view(volume.id)?.value ?? EMPTY_VIEW;
    const bricks = volume.bricks.map((brick) => brick.id);
    const fact = (brick: BrickId): BrickFact => this.fact(volume, brick);
    const change = dueChange(view, bricks, fact);
    if (change === undefined || !canWait(view, bricks, change, fact)) {
      this.#waiting.delete(volume.id);
      return change;
    }
    const now = this.#options.clock.now();
    const waiting = this.#waiting.get(volume.id);
    if (waiting?.epoch === view.epoch) return now - waiting.since < RETURN_MS ? undefined : change;
    this.#waiting.set(volume.id, { epoch: view.epoch, since: now });
    return undefined;
  }

  async #settle(volumeId: string): Promise<void> {
    const { state, log } = this.#options;
    this.#busy.add(volumeId);
    try {
      for (let attempt = 0; attempt < COMMIT_ATTEMPTS && !this.#stopped; attempt++) {
        this.#again.delete(volumeId);
        const volume = state.volumeById(volumeId);
        if (volume === undefined || volume.state !== 'started') return;
        const change = this.#due(volume);
        if (change === undefined) {
          if (this.#again.has(volumeId)) continue;
          return;
        }
        const present = state.view(volumeId) ?? { key: keys.view(volumeId), revision: 0, value: EMPTY_VIEW };
        const bricks = volume.bricks.map((brick) => brick.id);
        const answer = nextView(present.value, bricks, change);
        if ('refused' in answer) {
          log.debug('a due change is not allowed', { volume: volume.name, change, reason: answer.refused });
          return;
        }
        const witnesses =
          change.kind === 'form'
            ? bricks
            : change.kind === 'succeed'
              ? [present.value.primary, change.successor]
              : 'brick' in change
                ? [change.brick]
                : [];
        const compares = witnesses.flatMap((brick) => this.#evidence(volume, brick).compares);
        if (await this.#commit(volume, present, answer.view, change, undefined, compares)) {
          // The mirror learns of it by the watch, which calls again.
          return;
        }
        // Somebody else was faster; the mirror will show it.
        await this.#sleep(20);
      }
    } catch (error) {
      if (error instanceof LostError)
        log.debug('the cluster store does not answer: the view stays as it is', { reason: error.message });
      else log.error('a change of the view failed', { error });
      await this.#sleep(LOOK_MS);
    } finally {
      this.#busy.delete(volumeId);
    }
  }

  /** The brick has stopped serving. Resolves with what must still be true when a change is committed because of it. */
  async #fence(volume: VolumeRecord, brick: BrickId, epoch: number): Promise<Compare[]> {
    const { clock, log } = this.#options;
    const node = volume.bricks.find((record) => record.id === brick)?.node ?? '';
    const until = clock.now() + FENCE_MS;
    let reason = '';
    for (;;) {
      const { fact, compares } = this.#evidence(volume, brick);
      if (fact === 'dead') return compares;
      try {
        await this.#options.fence(node, brick, epoch);
        log.info('a brick was fenced', { volume: volume.name, brick, epoch });
        return [];
      } catch (error) {
        if (!(error instanceof LostError)) throw error;
        reason = error.message;
      }
      if (clock.now() >= until)
        throw new LostError(`brick ${brick} could not be fenced within ${FENCE_MS} ms: ${reason}`, Errno.ETIMEDOUT);
      await this.#sleep(FENCE_RETRY_MS);
    }
  }

  async #read(volumeId: string): Promise<Held<View>> {
    const entry = await this.#options.store.get(keys.view(volumeId));
    return entry === undefined ? { key: keys.view(volumeId), revision: 0, value: EMPTY_VIEW } : held<View>(entry);
  }

  async #commit(
    volume: VolumeRecord,
    present: Held<View>,
    view: View,
    change: ViewChange,
    asking: BrickId | undefined,
    compares: Compare[],
  ): Promise<boolean> {
    // Of the bricks that the record had when this was decided: one that was replaced must not come back by a change that knew it.
    const record = this.#options.state.volume(volume.name);
    if (record === undefined || record.value.id !== volume.id || !sameMembers(record.value, volume)) return false;
    const done = await this.#options.store.commit(
      [
        { key: present.key, revision: present.revision },
        { key: record.key, revision: record.revision },
        ...compares,
      ],
      [{ key: present.key, value: encode(view) }],
    );
    if (done) this.#options.log.info('the view changed', { volume: volume.name, change, asking, view });
    return done;
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.#options.clock.after(ms, resolve));
  }
}
