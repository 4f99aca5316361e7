/** From the view that names this brick primary to its first answer. */
import { FsError, LostError } from '../base/errno.js';
import type { BrickId } from '../fops/view.js';
import { CatchUp } from './catch-up.js';
import type { Follower } from './followers.js';
import type { Primary } from './primary.js';

/** A new primary waits this long for members before it lets others take their place. */
const MISSING_MS = 3000;
const PAUSE_MS = 200;
const LOOK_MS = 100;

export class Recovery {
  readonly #primary: Primary;
  #wake: (() => void) | undefined;

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
        const successor = sealed.find((follower) => follower.seal?.standing === best) as Follower;
        log.warn('a member has the better copy and takes the role', { successor: successor.brick, standing: best });
        try {
          host.adoptView(await host.authority.change(primary.view.epoch, { kind: 'succeed', successor: successor.brick }));
        } catch (error) {
          log.warn('the view authority did not answer', { error: String(error) });
          await primary.sleep(PAUSE_MS);
        }
        continue;
      }
      if (sealed.length === members.length && (await this.#settleAll(sealed))) break;
      if (sealed.length < members.length && host.clock.now() >= missingSince + MISSING_MS) await this.#replaceMissing(members);
      await this.#event();
      followers.connectAll();
    }
    return primary.recovering;
  }

  /**
   * A member that cannot be dropped stays away: a brick that waits to catch up is made equal and takes its place. Only when this copy lost nothing: then it has
   * every change that was acknowledged, since none was without it. The new view begins recovery anew.
   */
  async #replaceMissing(members: BrickId[]): Promise<void> {
    const { host, followers, log, view } = this.#primary;
    const newcomer = [...followers.all()].find((follower) => follower.seal !== undefined && view.catchingUp.includes(follower.brick));
    if (newcomer === undefined || host.standing() === 0) return;
    const without = members.filter((brick) => followers.get(brick)?.seal === undefined);
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
    try {
      copy.journal.note([...doubt]);
      await Promise.all(
        members.map(async (member) => {
          const continuous = own === 2 && member.seal?.standing === 2;
          const catchUp = new CatchUp(primary, member, true);
          member.catchUp = catchUp;
          await (continuous ? catchUp.settle([...doubt]) : catchUp.makeEqual());
          await followers.sendState(member);
        }),
      );
    } catch (error) {
      if (!(error instanceof LostError) && !(error instanceof FsError)) throw error;
      log.warn('a member was lost while it was made equal', { error: String(error) });
      for (const member of members) if (member.state !== 'down') member.link?.close('recovery begins again');
      await primary.sleep(PAUSE_MS);
      return false;
    }
    if (!primary.recovering) return false;
    for (const member of members) {
      if (member.link === undefined || !primary.view.inSync.includes(member.brick)) return false;
    }
    for (const member of members) {
      member.state = 'ready';
      member.acknowledged = primary.stream.sequence;
      member.catchUp = undefined;
    }
    return true;
  }
}
