/** From the view that names this brick primary to its first answer. */
import { FsError, LostError } from '../base/errno.js';
import type { BrickId } from '../fops/view.js';
import { CatchUp } from './catch-up.js';
import type { Follower } from './followers.js';
import { PeerRefusedError } from './peer-link.js';
import { findLostAnswers } from './lost-answers.js';
import type { Primary } from './primary.js';
import { Standing } from './standing.js';

/** A new primary waits this long for members before it lets others take their place. */
const MISSING_MS = 3000;
const PAUSE_MS = 200;
const LOOK_MS = 100;

export class Recovery {
  readonly #primary: Primary;
  #wake: (() => void) | undefined;
  #anew = false;

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  /** A member was sealed: look again. */
  wake(): void {
    this.#wake?.();
  }

  /**
   * Seals every member, lets a better copy have the role, makes the members equal in what is in doubt. True when this brick may serve; false when
   * its role ended before.
   */
  async run(): Promise<boolean> {
    const primary = this.#primary;
    const { host, followers, log } = primary;
    log.info('becoming primary', { epoch: primary.view.epoch, inSync: primary.view.inSync });
    host.copy.dropStrangers();
    followers.connectAll();
    const missingSince = host.clock.now();
    while (primary.recovering) {
      const members = primary.view.inSync.filter((brick) => brick !== host.brick);
      const sealed = members.map((brick) => followers.get(brick)).filter((follower) => follower?.seal !== undefined) as Follower[];
      const best = Math.max(0, ...sealed.map((follower) => follower.seal?.standing ?? 0));
      if (best > host.standing()) {
        await this.#handOver(sealed.find((follower) => follower.seal?.standing === best) as Follower, 'it has the better copy');
        continue;
      }
      if (sealed.length === members.length && (await this.#settleAll(sealed))) break;
      const missing = members.some((brick) => this.#isMissing(brick));
      if (missing && host.clock.now() >= missingSince + MISSING_MS) await this.#replaceMissing(members);
      await this.#event();
      followers.connectAll();
    }
    return primary.recovering;
  }

  async #handOver(successor: Follower, reason: string): Promise<void> {
    const { host, log, view } = this.#primary;
    log.warn('a member takes the role', { successor: successor.brick, reason });
    try {
      host.adoptView(await host.authority.change(view.epoch, { kind: 'succeed', successor: successor.brick }));
    } catch (error) {
      log.warn('the view authority did not answer', { error: String(error) });
      await this.#primary.sleep(PAUSE_MS);
    }
  }

  /** Not connected, or with a disk that fails. */
  #isMissing(brick: BrickId): boolean {
    const follower = this.#primary.followers.get(brick);
    return follower?.seal === undefined || follower.refuses;
  }

  /**
   * A member that cannot be dropped stays away (or its disk fails): a brick that waits to catch up is made equal and takes its place. Only when this copy lost nothing: then it has
   * every change that was acknowledged, since none was without it. The new view begins recovery anew.
   */
  async #replaceMissing(members: BrickId[]): Promise<void> {
    const { host, followers, log, view } = this.#primary;
    const newcomer = [...followers.all()].find((follower) => follower.seal !== undefined && view.catchingUp.includes(follower.brick));
    if (newcomer === undefined || host.standing() < Standing.HalfWritten) return;
    const without = members.filter((brick) => this.#isMissing(brick));
    log.warn('members stay away, another brick takes their place', { newcomer: newcomer.brick, without });
    try {
      const catchUp = new CatchUp(this.#primary, newcomer, true);
      newcomer.catchUp = catchUp;
      await catchUp.makeEqual();
      await followers.sendState(newcomer);
      host.adoptView(await host.authority.change(this.#primary.view.epoch, { kind: 'admit', brick: newcomer.brick, without }));
    } catch (error) {
      if (!(error instanceof LostError) && !(error instanceof FsError)) throw error;
      log.warn('the brick could not take their place', { newcomer: newcomer.brick, error: String(error) });
      newcomer.link?.close('recovery begins again');
    }
  }

  /**
   * The loss of power that took data took the end of the journal too: no copy can be compared by it, also not that of a brick that is absent now and lost
   * nothing. A checkpoint that only bricks have that were made equal from here on tells them from the others.
   */
  async #journalAnew(): Promise<void> {
    const { host, view } = this.#primary;
    const { copy } = host;
    if (this.#anew) return;
    // What was acknowledged and not synced may be gone: clients are told when they sync it.
    copy.journal.updateMeta({ losses: copy.losses + 1 });
    const number = copy.journal.nextNumber(view.epoch);
    copy.rotate(number);
    await copy.store.sync();
    copy.journal.synced(number);
    copy.journal.complete(number);
    this.#anew = true;
  }

  /** This disk fails: a member with a copy as good as this one takes the role. */
  async #handOverToEqual(members: Follower[]): Promise<void> {
    const successor = members.find((member) => (member.seal?.standing ?? -1) >= this.#primary.host.standing());
    if (successor !== undefined) await this.#handOver(successor, 'this disk fails');
  }

  #event(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#primary.host.clock.after(LOOK_MS, () => {
        this.#wake = undefined;
        resolve();
      });
      this.#wake = () => {
        cancel();
        this.#wake = undefined;
        resolve();
      };
    });
  }

  async #settleAll(members: Follower[]): Promise<boolean> {
    const primary = this.#primary;
    const { host, followers, log } = primary;
    const { copy } = host;
    const doubt = copy.doubtKeys();
    for (const member of members) for (const key of member.seal?.doubt ?? []) doubt.add(key);
    const own = host.standing();
    // A member that is lost meanwhile and returns is another one: it was not made equal, or has lost what it was given.
    const links = new Map(members.map((member) => [member, member.link]));
    try {
      if (own === Standing.LostData) await this.#journalAnew();
      const adopted = copy.supposed.adopt(copy);
      if (adopted > 0) log.info('answers of a primary before this one were taken over', { answers: adopted });
      await findLostAnswers(primary, members);
      copy.journal.note([...doubt]);
      const records = copy.supposed.tell();
      const settle = async (member: Follower, how: (catchUp: CatchUp) => Promise<void>): Promise<void> => {
        if (records.length > 0) await primary.call(member, 'suppose', { records });
        const catchUp = new CatchUp(primary, member, true);
        member.catchUp = catchUp;
        await how(catchUp);
        await followers.sendState(member);
        member.refuses = false;
      };
      // One after the other: should this brick be lost meanwhile, the others but one are whole copies still.
      const continuous = members.filter((member) => own === Standing.Continuous && member.seal?.standing === Standing.Continuous);
      for (const member of continuous) await settle(member, (catchUp) => catchUp.settle([...doubt]));
      await Promise.all(members.filter((member) => !continuous.includes(member)).map((member) => settle(member, (catchUp) => catchUp.makeEqual())));
    } catch (error) {
      if (!(error instanceof LostError) && !(error instanceof FsError)) throw error;
      log.warn('a member was lost while it was made equal', { error: String(error) });
      const refuses = error instanceof PeerRefusedError ? members.find((member) => member.brick === error.brick) : undefined;
      if (refuses !== undefined) followers.refused(refuses);
      else if (error instanceof FsError) await this.#handOverToEqual(members);
      for (const member of members) if (member.state !== 'down') member.link?.close('recovery begins again');
      await primary.sleep(PAUSE_MS);
      return false;
    }
    if (!primary.recovering) return false;
    for (const member of members) {
      if (member.link === undefined || member.link !== links.get(member) || !primary.view.inSync.includes(member.brick)) return false;
    }
    for (const member of members) {
      member.state = 'ready';
      member.acknowledged = primary.stream.sequence;
      member.catchUp = undefined;
      primary.heals.equal(member.brick);
    }
    return true;
  }
}
