/** The other bricks of the view as the primary sees them: it keeps a connection to each, seals it, and has it made equal. */
import { Errno, FsError, LostError } from '../base/errno.js';
import type { BrickId } from '../fops/view.js';
import type { PeerArgs, PeerOpName, PeerResult } from '../wire/peer-ops.js';
import { CatchUp } from './catch-up.js';
import { DiskFullError } from './full-disks.js';
import type { Key } from './keys.js';
import { PeerLink, PeerRefusedError } from './peer-link.js';
import type { Primary } from './primary.js';
import { spareBytes, type Spare } from './space.js';
import { Standing } from './standing.js';

/** A sibling brick as the primary sees it. */
export interface Follower {
  readonly brick: BrickId;
  link: PeerLink | undefined;
  /**
   * down: no connection. joining: connected, not equal yet. ready: gets every mutation and counts for acknowledgements.
   * catchingUp: gets the mutations that `catchUp` lets through.
   */
  state: 'down' | 'joining' | 'ready' | 'catchingUp';
  acknowledged: number;
  catchUp: CatchUp | undefined;
  /** Its disk failed when it was to be made equal last. */
  refuses: boolean;
  seal: { standing: number; doubt: Key[]; checkpoint: number; base: number; incomplete: boolean } | undefined;
}

/** Calls one follower. */
export type Caller = <K extends PeerOpName>(op: K, args: PeerArgs<K>) => Promise<PeerResult<K>>;

export const CALL_TIMEOUT_MS = 10_000;
const RESYNC_CALL_TIMEOUT_MS = 60_000;
const REDIAL_MS_MIN = 20;
const REDIAL_MS_MAX = 1000;
const DISTRUST_MS = 1000;
const INTERRUPTED_MS = 1000;
const STATE_PART_BYTES = 1 << 19;
/** What is under way of an attempt that is over is waited for no longer: then the journals are read anew. */
const ATTEMPT_ENDS_MS = 10_000;

export class Followers {
  readonly #primary: Primary;
  readonly #followers = new Map<BrickId, Follower>();
  readonly #distrusted = new WeakSet<PeerLink>();
  /** Bricks that are being made equal, until all of it has ended: what is under way when the connection is lost takes its time. */
  readonly #attempts = new Map<BrickId, Promise<void>>();

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  get(brick: BrickId): Follower | undefined {
    return this.#followers.get(brick);
  }

  all(): Iterable<Follower> {
    return this.#followers.values();
  }

  get allReady(): boolean {
    for (const follower of this.#followers.values()) if (follower.state !== 'ready') return false;
    return true;
  }

  /** True when there are others, and all of them count for acknowledgements: nobody is being made equal. */
  get allInSync(): boolean {
    const { inSync } = this.#primary.view;
    for (const { state, brick } of this.#followers.values()) if (state !== 'ready' || !inSync.includes(brick)) return false;
    return this.#followers.size > 0;
  }

  /** Those that count for acknowledgements. */
  ready(): Follower[] {
    return [...this.#followers.values()].filter((follower) => follower.state === 'ready' && this.#primary.view.inSync.includes(follower.brick));
  }

  stop(reason: string): void {
    for (const follower of this.#followers.values()) {
      follower.catchUp?.stop(reason);
      follower.link?.close(reason);
    }
  }

  /** The next view: who left it is let go, who stays promises to obey it. */
  viewChanged(): void {
    const { view, heals, host } = this.#primary;
    heals.keepOnly(host.bricks());
    this.#primary.fullDisks.keepOnly(host.bricks());
    for (const follower of this.#followers.values()) {
      const listed = view.inSync.includes(follower.brick) || view.catchingUp.includes(follower.brick);
      if (!listed) {
        follower.catchUp?.stop('left the view');
        follower.link?.close('left the view');
        this.#followers.delete(follower.brick);
      } else if (follower.link !== undefined && follower.state === 'ready') {
        follower.link.call(view.epoch, 'seal', { view }, CALL_TIMEOUT_MS).catch((error: unknown) => {
          if (!this.#primary.stopped) follower.link?.close(`seal failed: ${String(error)}`);
        });
      }
    }
  }

  connectAll(): void {
    const { view, host } = this.#primary;
    for (const brick of [...view.inSync, ...view.catchingUp]) {
      if (brick === host.brick || this.#followers.has(brick)) continue;
      const follower: Follower = { brick, link: undefined, state: 'down', acknowledged: 0, catchUp: undefined, refuses: false, seal: undefined };
      this.#followers.set(brick, follower);
      void this.#keepConnected(follower);
    }
  }

  /** Dials and joins a follower again and again until it leaves the view or this brick is no longer primary. */
  async #keepConnected(follower: Follower): Promise<void> {
    const primary = this.#primary;
    let pause = REDIAL_MS_MIN;
    let failures = 0;
    while (!primary.stopped && this.#followers.get(follower.brick) === follower) {
      const awayMs = primary.slowness.awayMs(follower.brick);
      if (awayMs > 0) {
        await primary.sleep(Math.min(awayMs, REDIAL_MS_MAX));
        continue;
      }
      try {
        const channel = await primary.host.dial(follower.brick);
        // It left the view meanwhile, and may be back in it as another.
        if (primary.stopped || this.#followers.get(follower.brick) !== follower) {
          channel.close('not followed any more');
          return;
        }
        const link = new PeerLink(follower.brick, channel, primary.host.clock);
        follower.link = link;
        follower.state = 'joining';
        const closed = new Promise<string>((resolve) => (link.onClose = resolve));
        link.onApplied = (message) => primary.stream.applied(follower, message);
        if (link.closed) throw new LostError('closed at once');
        follower.seal = await link.call(primary.view.epoch, 'seal', { view: primary.view }, CALL_TIMEOUT_MS);
        pause = REDIAL_MS_MIN;
        failures = 0;
        if (primary.serving) this.#join(follower);
        else primary.recovery.wake();
        const reason = await closed;
        this.#lost(follower, reason);
      } catch (error) {
        follower.link?.close('joining failed');
        this.#lost(follower, String(error));
        failures++;
        if (error instanceof FsError && error.errno === Errno.ESTALE) primary.log.warn('a member knows a later view', { brick: follower.brick });
      }
      if (failures >= 2) this.#askToDrop(follower, 'cannot be reached');
      await primary.sleep(pause);
      pause = Math.min(pause * 2, REDIAL_MS_MAX);
    }
  }

  #lost(follower: Follower, reason: string): void {
    const primary = this.#primary;
    const before = follower.state;
    follower.link = undefined;
    follower.state = 'down';
    follower.seal = undefined;
    follower.catchUp?.stop(reason);
    follower.catchUp = undefined;
    if (primary.stopped || this.#followers.get(follower.brick) !== follower) return;
    if (before === 'ready') {
      primary.log.warn('lost a member', { brick: follower.brick, reason });
      this.#askToDrop(follower, reason);
      primary.updateGate();
      primary.stream.commit();
    }
  }

  /** A brick in sync could not be made equal, its disk fails: the others go on without it where they are a majority. */
  refused(follower: Follower): void {
    follower.refuses = true;
    if (this.#primary.view.inSync.includes(follower.brick)) this.#askToDrop(follower, 'could not be made equal');
  }

  /** The members serve no reads, so one that is lost may leave at once. */
  #askToDrop(follower: Follower, reason: string): void {
    const { view, host, log } = this.#primary;
    const { brick } = follower;
    const listed = view.inSync.includes(brick);
    const kind = listed ? 'drop' : 'abandon';
    if (!listed && !view.catchingUp.includes(brick)) return;
    log.info('asks for a view without a brick', { brick, reason, epoch: view.epoch });
    host.authority.change(view.epoch, { kind, brick }).then(
      (next) => host.adoptView(next),
      (error: unknown) => log.warn('the view authority did not answer', { error: String(error) }),
    );
  }

  /** The primary serves from now on: who was sealed meanwhile is made equal. */
  joinSealed(): void {
    for (const follower of this.#followers.values()) if (follower.state === 'joining' && follower.seal !== undefined) this.#join(follower);
  }

  /** A brick connected to a serving primary. */
  #join(follower: Follower): void {
    const primary = this.#primary;
    const inSync = primary.view.inSync.includes(follower.brick);
    if (inSync) primary.updateGate();
    const { link } = follower;
    // It returned while this disk refuses to make good what it made half of. All that was acknowledged is there too.
    if (inSync && primary.host.copy.journal.meta.halfWritten === true && (follower.seal?.standing ?? 0) > Standing.HalfWritten) {
      void primary.refusals.stepDown('this copy holds half of a write', follower.brick).then(() => this.#closeLater(link, 'it could not take the role'));
      return;
    }
    const before = this.#attempts.get(follower.brick);
    const run = async (): Promise<void> => {
      // It works on the list of what is lacking that this one goes on with.
      if (before !== undefined && !(await primary.within(before, ATTEMPT_ENDS_MS))) primary.heals.forget(follower.brick);
      if (!inSync) await primary.fullDisks.untilSpace(follower);
      if (primary.exclusives.size > 0) await primary.exclusives.recallAll();
      if (follower.link !== link) return;
      follower.catchUp = new CatchUp(primary, follower, inSync);
      await follower.catchUp.run();
    };
    const attempt = run().then(
      () => undefined,
      (error: unknown) => {
        if (primary.stopped) return;
        if (error instanceof DiskFullError) primary.fullDisks.refused(follower, true);
        else primary.log.warn('catching up was interrupted', { brick: follower.brick, error: String(error) });
        if (error instanceof PeerRefusedError && error.errno === Errno.ENOSPC) primary.fullDisks.refused(follower);
        if (!(error instanceof LostError) && !(error instanceof FsError)) throw error;
        if (error instanceof PeerRefusedError) this.refused(follower);
        else if (error instanceof FsError) void primary.refusals.stepDown(`it could not be read: ${error.message}`);
        this.#closeLater(link, 'catching up was interrupted');
      },
    );
    this.#attempts.set(follower.brick, attempt);
    void attempt.finally(() => {
      if (this.#attempts.get(follower.brick) === attempt) this.#attempts.delete(follower.brick);
    });
  }

  /** Not at once: what stood in the way will still be there. */
  #closeLater(link: PeerLink | undefined, reason: string): void {
    void this.#primary.sleep(INTERRUPTED_MS).then(() => link?.close(reason));
  }

  /** The follower is equal to this copy and gets every change from now on. */
  becomeReady(follower: Follower): void {
    this.follow(follower);
    this.admitted(follower);
  }

  /** The follower is equal; nothing is under way. From now on it gets every change and fsync, and nothing is acknowledged without it. */
  follow(follower: Follower): void {
    follower.state = 'ready';
    follower.refuses = false;
    follower.acknowledged = this.#primary.stream.sequence;
  }

  /** The view lists it as in sync. */
  admitted(follower: Follower): void {
    follower.catchUp = undefined;
    this.#primary.fullDisks.joined(follower.brick);
    this.#primary.stream.announce(follower);
    this.#primary.heals.equal(follower.brick);
    this.#primary.updateGate();
    this.#primary.stream.commit();
  }

  /** Sends answers and locks: the follower could take over after this. */
  async sendState(follower: Follower): Promise<void> {
    const state = this.#primary.host.copy.exportState(this.#primary.serving);
    const parts = Math.max(1, Math.ceil(state.byteLength / STATE_PART_BYTES));
    await Promise.all(
      Array.from({ length: parts }, (_, part) => {
        const slice = state.subarray(part * STATE_PART_BYTES, (part + 1) * STATE_PART_BYTES);
        return this.call(follower, 'settle', { part, last: part === parts - 1, state: slice });
      }),
    );
  }

  async call<K extends PeerOpName>(follower: Follower, op: K, args: PeerArgs<K>): Promise<PeerResult<K>> {
    return await this.caller(follower)(op, args);
  }

  /**
   * Calls the follower over the connection that it has now, and no other: what was read before that was lost must not reach the brick over the next one,
   * after changes that are not in it.
   */
  caller({ link, brick }: Follower): Caller {
    return async (op, args) => {
      if (link === undefined) throw new LostError(`${op}: no connection to brick ${brick}`);
      return await link.call(this.#primary.view.epoch, op, args, RESYNC_CALL_TIMEOUT_MS);
    };
  }

  /** Also those that are about to be admitted. */
  #following(): Follower[] {
    return [...this.#followers.values()].filter((follower) => follower.state === 'ready');
  }

  /** Its copy is another one than this: it leaves, and returns by a comparison of the whole. */
  distrust(follower: Follower, reason: string): void {
    const { link } = follower;
    if (link === undefined || this.#distrusted.has(link)) return;
    this.#distrusted.add(link);
    const close = (): void => link.close(reason);
    link.call(this.#primary.view.epoch, 'markIncomplete', { incomplete: true }, DISTRUST_MS).then(close, close);
  }

  isDistrusted(follower: Follower): boolean {
    return follower.link !== undefined && this.#distrusted.has(follower.link);
  }

  /** Has every in-sync brick but this one do it; `args` are asked for anew with every attempt. True when all have; false when the role ended before, and another may never hear of it. */
  async everywhere<K extends PeerOpName>(op: K, args: () => PeerArgs<K>): Promise<boolean> {
    const { gate } = this.#primary;
    for (;;) {
      if (gate.closed) await new Promise<void>((resolve) => gate.hold(resolve));
      if (this.#primary.stopped) return false;
      const asked = this.#following();
      await Promise.all(asked.map((follower) => this.#insist(follower, op, args())));
      if (!this.#primary.serving) return false;
      // A member that was lost has left the view, or the gate is closed until it has. One that joined meanwhile may have been told the state of before.
      if (!this.#primary.stalled && this.#following().every((follower) => asked.includes(follower))) return true;
    }
  }

  async #insist<K extends PeerOpName>(follower: Follower, op: K, args: PeerArgs<K>): Promise<void> {
    const { link } = follower;
    try {
      await link?.call(this.#primary.view.epoch, op, args, this.#primary.slowness.waitMsMax);
    } catch (error) {
      if (error instanceof FsError) link?.close(`${op} failed: ${error.message}`);
      else if (!(error instanceof LostError)) throw error;
    }
  }

  /** The spare bytes of this brick and the members; one that does not answer is left out. */
  async spares(): Promise<Spare[]> {
    const { host } = this.#primary;
    const spares = [{ brick: host.brick, bytes: spareBytes(host.copy.store.statfs()) }];
    const ask = async (follower: Follower): Promise<void> => {
      try {
        spares.push({ brick: follower.brick, bytes: (await this.call(follower, 'space', {})).spare });
      } catch (error) {
        if (!(error instanceof LostError) && !(error instanceof FsError)) throw error;
      }
    };
    await Promise.all(this.ready().map(ask));
    return spares;
  }
}
