/**
 * Makes another brick's copy equal to the primary's, key by key, by state and not by replay, and has it admitted to the set.
 *
 *   load      the keys of both journals; the whole tree, when the brick is empty, was rolled back or may have lost what nobody knows of;
 *             or what was left when the last attempt was interrupted
 *   work      see equaliser.ts; meanwhile the brick gets every change that depends on nothing it lacks (lacking.ts)
 *   join      the moment in which nothing is lacking: answers and locks are handed over. From then on the brick gets every change and every fsync,
 *             and nothing is acknowledged without it. Where the moment does not come by itself, because what is left changes all the time, mutations
 *             are held for HELD_MS at most
 *   admit     its disk is synced, then the view is changed; nobody waits for either
 *
 * Idempotent, in any order, interruptible at any point.
 */
import { FsError, LostError } from '../base/errno.js';
import { ROOT_GFID } from '../base/ids.js';
import { Equaliser } from './equaliser.js';
import type { Caller, Follower } from './followers.js';
import { DiskFullError } from './full-disks.js';
import { fileKey, inodeKey, type Key } from './keys.js';
import { Lacking } from './lacking.js';
import type { Primary } from './primary.js';

/** Requests that are under way at once: of several files. */
const PARALLEL = 8;
/** Mutations are held when so few keys are left for so long. */
const FEW_KEYS = 32;
const FEW_MS = 1000;
const HELD_MS = 60;
/** After so many attempts the time grows: a brick that answers slowly must not stay outside for ever. */
const SHORT_ATTEMPTS = 10;
const HELD_GROWTH = 1.5;
const HELD_MS_MAX = 5000;
const SYNC_EVERY_MS = 10_000;
const ADMIT_ATTEMPTS = 5;
const WAIT_MS = 2;
/** The walk goes ahead of the work, so that it is known how much is left; but not by more keys than that. */
const WALK_AHEAD_MAX = 200_000;

export class CatchUp {
  readonly #primary: Primary;
  readonly #follower: Follower;
  readonly #member: boolean;
  readonly #lacking: Lacking;
  readonly #equaliser: Equaliser;
  readonly #call: Caller;
  #stopped = '';
  /** Names were placed since it was known that no directory is aside that is needed. */
  #placed = true;
  /** Only names and inodes are made equal. */
  #dataWaits = false;

  /** `member`: the view lists the brick as in sync. Nothing is acknowledged until it is equal, so nothing changes meanwhile. */
  constructor(primary: Primary, follower: Follower, member: boolean) {
    this.#primary = primary;
    this.#follower = follower;
    this.#member = member;
    this.#lacking = (member ? undefined : primary.heals.resume(follower)) ?? new Lacking((gfid) => primary.host.copy.store.directoryPlace(gfid));
    this.#call = primary.followers.caller(follower);
    this.#equaliser = new Equaliser(primary, this.#call, this.#lacking, member, () => this.#check());
  }

  stop(reason: string): void {
    this.#stopped = reason === '' ? 'stopped' : reason;
  }

  /** What the brick still lacks. */
  get lacking(): Lacking {
    return this.#lacking;
  }

  /** From connected and sealed to ready: the whole way. */
  async run(): Promise<void> {
    const primary = this.#primary;
    const follower = this.#follower;
    if (this.#member) {
      await this.makeEqual();
      await primary.followers.sendState(follower);
      if (this.#stopped === '') primary.followers.becomeReady(follower);
      return;
    }
    const { clock } = primary.host;
    const begun = clock.now();
    const end = primary.heals.begin(follower.brick, this.#lacking);
    const endSyncs = this.#syncNowAndThen();
    try {
      follower.state = 'catchingUp';
      if (!this.#lacking.loaded) await this.#load();
      if (primary.fullDisks.has(follower.brick)) await this.#freeSpace();
      await this.#workAlmostOff();
      await this.#tidy();
      if (!(await primary.fullDisks.hasSpace(follower))) throw new DiskFullError('its disk is full');
      const held = await this.#join();
      const joined = clock.now();
      await this.#admit();
      const { bytesCompared, bytesSent } = this.#lacking;
      const now = clock.now();
      primary.log.info('a brick is in sync', { brick: follower.brick, tookMs: Math.round(now - begun), admissionMs: Math.round(now - joined), held, bytesCompared, bytesSent });
    } finally {
      endSyncs();
      end();
    }
  }

  /** Without locks: nothing changes meanwhile. */
  async makeEqual(): Promise<void> {
    await this.#load();
    await this.#workOff();
    await this.#tidy();
    await this.#endResync();
  }

  /** Makes just these keys equal, without locks; an inode that was to go with its last name goes. */
  async settle(keys: readonly Key[]): Promise<void> {
    this.#lacking.load(keys);
    this.#lacking.endLoading();
    await this.#workOff();
    await this.#equaliser.forgetGone();
  }

  // ---------------------------------------------------------------- choosing what is to be done

  async #load(): Promise<void> {
    const primary = this.#primary;
    const { journal, store } = primary.host.copy;
    const { seal, brick } = this.#follower;
    const theirs = await this.#journalOfFollower();
    this.#check();
    const walk = primary.heals.needsWalk(this.#follower);
    for (const key of theirs) this.#lacking.add(key);
    this.#lacking.load(seal?.doubt ?? []);
    if (walk) {
      primary.log.info('a brick is compared as a whole', { brick, standing: seal?.standing, incomplete: seal?.incomplete, checkpoint: seal?.checkpoint, base: journal.meta.base });
      await this.#call('markIncomplete', { incomplete: true });
      primary.heals.unknown(brick);
      // An interrupted walk goes on only where this was: a disk that was rolled back has a lower number.
      const number = journal.meta.checkpoint;
      await this.#call('checkpoint', { number });
      this.#lacking.checkpoint = number;
      this.#lacking.beginWalk(ROOT_GFID);
      for (const gfid of store.orphans()) this.#lacking.load([inodeKey(gfid), fileKey(gfid)]);
    }
    await journal.read(
      (keys) => this.#lacking.load(keys),
      () => primary.sleep(0),
    );
    this.#check();
    this.#lacking.endLoading();
  }

  async #journalOfFollower(): Promise<Key[]> {
    const keys: Key[] = [];
    let from = 0;
    do {
      const page = await this.#call('journalKeys', { from });
      keys.push(...page.keys);
      from = page.next;
    } while (from !== 0);
    return keys;
  }

  // ---------------------------------------------------------------- the work

  /** Until few keys have been left for a while. */
  async #workAlmostOff(): Promise<void> {
    const { clock } = this.#primary.host;
    let fewSince = Infinity;
    await this.#workOff(() => {
      if (this.#lacking.walking || this.#lacking.size > FEW_KEYS) fewSince = Infinity;
      else fewSince = Math.min(fewSince, clock.now());
      return clock.now() - fewSince > FEW_MS;
    });
  }

  /** Works until nothing is lacking, and no directory aside is needed. False when `over` said so before. */
  async #workOff(over: () => boolean = () => false): Promise<boolean> {
    const lacking = this.#lacking;
    for (;;) {
      this.#check();
      if (over()) return false;
      if (lacking.size > 0 || lacking.walking) await this.#workTogether(over);
      else if (this.#placed) this.#placed = !(await this.#equaliser.returnAsides());
      else return true;
    }
  }

  /** Several at once; until there is nothing that could be done now. */
  async #workTogether(over: () => boolean): Promise<void> {
    let failed = false;
    const ended = (): boolean => failed || over();
    const work = (index: number): Promise<void> =>
      this.#work(index, ended).catch((error: unknown) => {
        failed = true;
        throw error;
      });
    const outcomes = await Promise.allSettled(Array.from({ length: PARALLEL }, (_, i) => work(i)));
    const first = outcomes.find((outcome) => outcome.status === 'rejected');
    if (first !== undefined) throw first.reason;
  }

  async #work(index: number, over: () => boolean): Promise<void> {
    const lacking = this.#lacking;
    const { names, inodes, data, attributes } = lacking;
    const { heals, gate, host } = this.#primary;
    const { store } = host.copy;
    // All kinds go on at the same time: what clients do with names that lack their inodes would be noted again and again.
    const kinds = this.#dataWaits ? [names, inodes] : index % 2 === 0 ? [names, inodes, data] : [inodes, data, names];
    // Nobody is disturbed where changes are held.
    const paced = !this.#member && !gate.closed;
    while (this.#stopped === '' && !over()) {
      if (index === 0 && lacking.walking && lacking.size < WALK_AHEAD_MAX) {
        await this.#walk();
        continue;
      }
      const kind = kinds.find((keys) => keys.size > 0) ?? attributes;
      const key = lacking.take(kind) ?? lacking.take(names) ?? lacking.takeRemoval() ?? lacking.take(inodes) ?? (this.#dataWaits ? undefined : lacking.take(data));
      if (key === undefined) {
        if (!lacking.working && !lacking.walking) return;
        await this.#primary.sleep(WAIT_MS);
        continue;
      }
      if (key.startsWith('n')) {
        this.#placed = true;
        if (this.#member && lacking.postponed(key, (parent, name) => store.describe(parent) !== undefined && store.child(parent, name) !== undefined)) continue;
      }
      let cost: number;
      try {
        cost = await this.#equaliser.equalise(key);
      } catch (error) {
        lacking.failed(key);
        throw error;
      }
      if (paced) await heals.pace.rest(cost, lacking.size);
    }
  }

  /** What is gone at the primary goes first, on a disk that is full. */
  async #freeSpace(): Promise<void> {
    this.#dataWaits = true;
    await this.#workTogether(() => false);
    this.#dataWaits = false;
    await this.#equaliser.forgetGone();
    if (!(await this.#primary.fullDisks.hasSpace(this.#follower))) throw new DiskFullError('its disk is full');
  }

  /** One directory, or the end of the walk. */
  async #walk(): Promise<void> {
    const gfid = this.#lacking.nextDirectory();
    if (gfid === undefined) {
      this.#lacking.endWalk();
      return;
    }
    try {
      await this.#equaliser.walkDirectory(gfid);
    } catch (error) {
      this.#lacking.returnDirectory(gfid);
      throw error;
    }
  }

  /** Has the brick's disk synced now and then, so that little must be done again after an interruption. Ends with the returned function. */
  #syncNowAndThen(): () => void {
    const { clock, copy, log } = this.#primary.host;
    let over = false;
    const sync = async (): Promise<void> => {
      if (over) return;
      if (this.#lacking.unsettled > 0 && this.#lacking.loaded) {
        const synced = this.#lacking.beginSync();
        const number = copy.journal.meta.checkpoint;
        try {
          await this.#call('checkpoint', { number });
          synced(number);
        } catch (error) {
          synced(undefined);
          if (!(error instanceof LostError) && !(error instanceof FsError)) throw error;
          log.debug('a brick that catches up could not sync its disk', { brick: this.#follower.brick, error: String(error) });
          // A later sync would not write what this one lost: what was done since the last good one is done again.
          if (error instanceof FsError) this.stop('its disk could not be synced');
        }
      }
      if (!over) cancel = clock.after(SYNC_EVERY_MS, () => void sync());
    };
    let cancel = clock.after(SYNC_EVERY_MS, () => void sync());
    return () => {
      over = true;
      cancel();
    };
  }

  // ---------------------------------------------------------------- the end

  /** What the source does not have goes; what was moved aside goes; the brick's journal gets the keys that others may lack too. */
  async #tidy(): Promise<void> {
    await this.#equaliser.forgetGone();
    if (!this.#placed) await this.#call('clearAside', {});
    while (this.#lacking.untold > 0) await this.#tellSome();
  }

  async #tellSome(): Promise<void> {
    await this.#call('addKeys', { keys: this.#lacking.tell() });
  }

  /** Resolves with how often mutations were held for it. */
  async #join(): Promise<number> {
    const { gate, host } = this.#primary;
    const reason = `catch-up of ${this.#follower.brick}`;
    for (let attempt = 0; ; attempt++) {
      await this.#workAlmostOff();
      const joined = this.#joinNow();
      if (joined !== undefined) {
        await joined;
        return attempt;
      }
      const held_ms = Math.min(HELD_MS * HELD_GROWTH ** Math.max(0, attempt - SHORT_ATTEMPTS), HELD_MS_MAX);
      let over = false;
      const release = (): void => {
        over = true;
        gate.open(reason);
      };
      gate.close(reason);
      const cancel = host.clock.after(held_ms, release);
      try {
        await this.#workOff(() => over);
        const done = this.#joinNow();
        release();
        if (done !== undefined) {
          await done;
          return attempt + 1;
        }
      } finally {
        cancel();
        release();
      }
    }
  }

  /** Undefined when something is lacking. All of it leaves in one turn, so what comes after is passed on after it. */
  #joinNow(): Promise<unknown> | undefined {
    const { followers } = this.#primary;
    this.#check();
    if (this.#lacking.size > 0 || this.#placed) return undefined;
    const sent: Promise<unknown>[] = [];
    while (this.#lacking.untold > 0) sent.push(this.#tellSome());
    sent.push(followers.sendState(this.#follower));
    followers.follow(this.#follower);
    return Promise.all(sent);
  }

  async #admit(): Promise<void> {
    const primary = this.#primary;
    const follower = this.#follower;
    await this.#call('clearAside', {});
    await this.#equaliser.forgetGone();
    await this.#endResync();
    for (let attempt = 0; attempt < ADMIT_ATTEMPTS; attempt++) {
      this.#check();
      const without = primary.view.inSync.filter((brick) => brick !== primary.host.brick && primary.followers.get(brick)?.state !== 'ready');
      // Without an answer it may be in sync by the next view all the same: nothing is acknowledged without it until that is known.
      primary.admitting(follower.brick);
      const view = await primary.host.authority.change(primary.view.epoch, { kind: 'admit', brick: follower.brick, without });
      primary.admissionAnswered(follower.brick);
      if (!primary.stopped) primary.host.adoptView(view);
      this.#check();
      this.#check();
      if (!view.inSync.includes(follower.brick)) continue;
      primary.followers.admitted(follower);
      return;
    }
    throw new LostError('the view changed again and again');
  }

  /** The brick's disk is synced: it holds what the primary holds, and its journal what others may lack. */
  async #endResync(): Promise<void> {
    const { checkpoint, base } = this.#primary.host.copy.journal.meta;
    await this.#call('resyncEnd', { checkpoint, base });
  }

  #check(): void {
    if (this.#stopped !== '') throw new LostError(`catching up ended: ${this.#stopped}`);
    if (this.#primary.stopped) throw new LostError('no longer primary');
  }
}
