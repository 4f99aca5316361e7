/**
 * One brick's part in a replica set: holds its copy, follows a primary or is one, and serves clients.
 *
 *   absent ─▶ catchingUp ─▶ member ⇄ primary        (by the view; see view.ts)
 *
 * Pure over its environment: runs unchanged in the brick process and in the simulator.
 */
import { FsError } from '../base/errno.js';
import type { Cancel, Clock, Random } from '../env/clock.js';
import type { Channel } from '../env/channel.js';
import type { Log } from '../env/log.js';
import { EMPTY_VIEW, type BrickId, type View } from '../fops/view.js';
import { OPENS_MAX, type Message, type MessageOf } from '../wire/messages.js';
import type { Authority, ReplicaStatus } from './authority.js';
import { Copy } from './copy.js';
import { DirectWriter } from './direct-writer.js';
import { Journal } from './journal.js';
import { LEASE_MS } from './leases.js';
import { Member } from './member.js';
import { Primary, type PrimaryHost } from './primary.js';
import { Standing } from './standing.js';
import { Sessions, type Session } from './sessions.js';
import type { JournalDisk, Store } from './store.js';

export interface ReplicaEnv {
  brick: BrickId;
  /** The whole replica set; see `setBricks`. */
  bricks: readonly BrickId[];
  store: Store;
  journalDisk: JournalDisk;
  /** Kernel boot id: another one than the meta says means that unsynced data may be gone. */
  bootId: string;
  clock: Clock;
  random: Random;
  log: Log;
  authority: Authority;
  /** An authenticated connection to a sibling brick, as caller; rejects with LostError. */
  dial(brick: BrickId): Promise<Channel<Message>>;
  pingTimeoutMs(): number;
  /** Healing gives way to clients (the default). */
  healThrottle?(): boolean;
  /** Writes of one client to a file, one after the other, before it may write to all bricks itself (16); 0: never. */
  directAfter?(): number;
  /** Clients may give file locks themselves (see lock-leases.ts); absent: they may not. */
  lockLeases?(): boolean;
  /** Memory of a large payload that is not needed any more. */
  giveBack(data: Uint8Array): void;
  /** A copy of what may be overwritten when this returns; `giveBack` takes it. */
  copyOf(this: void, data: Uint8Array): Uint8Array;
}

const DIRECT_AFTER = 16;
const RETURN_PAUSE_MS = 1000;
const TICK_MS = 1000;
const WRITE_AGAIN_MS = 100;


export class Replica {
  readonly #env: ReplicaEnv;
  readonly #copy: Copy;
  readonly #member: Member;
  readonly #direct: DirectWriter;
  readonly #sessions = new Sessions();
  readonly #clients = new Set<Channel<Message>>();
  readonly #log: Log;
  #bricks: readonly BrickId[];
  #intact: boolean;
  #view: View = EMPTY_VIEW;
  #primary: Primary | undefined;
  /** Epoch in which this process became a full copy; 0 while it is not one. */
  #continuous = 0;
  #leaseUntil = 0;
  #stopped = false;
  #returning = false;
  #returnPauseMs = RETURN_PAUSE_MS;
  /** A comparison of the whole copy was asked for and has not begun. */
  #wholeWanted = false;
  #tick: Cancel = () => undefined;
  #writing: Cancel = () => undefined;

  constructor(env: ReplicaEnv) {
    this.#env = env;
    this.#bricks = env.bricks;
    this.#log = env.log.child({ brick: env.brick });
    const journal = new Journal(env.journalDisk);
    const sameBoot = journal.meta.bootId === env.bootId || journal.meta.bootId === '';
    // What a lost power took stays lost through later restarts, until a resync made this copy whole.
    this.#intact = sameBoot && !journal.meta.incomplete;
    // Not a clean stop: what was being changed may lack its checksum.
    if (journal.meta.bootId !== '') env.store.sums?.suspect(journal.keys());
    journal.updateMeta({ bootId: env.bootId, incomplete: !this.#intact, torn: journal.meta.torn === true || !sameBoot });
    this.#copy = new Copy(env.store, journal, env.journalDisk);
    this.#member = new Member(
      {
        brick: env.brick,
        view: () => this.#view,
        adoptView: (view) => this.setView(view),
        standing: () => this.standing,
        giveBack: (data) => env.giveBack(data),
        joined: (epoch) => this.#joined(epoch),
        suspected: () => (this.#continuous = 0),
        settled: () => this.#settled(),
      },
      this.#copy,
      this.#log,
    );
    const { clock, brick } = env;
    this.#direct = new DirectWriter(
      {
        brick, clock,
        view: () => this.#view,
        giveBack: (data) => env.giveBack(data),
        begins: (time, keys) => {
          this.#primary?.mutations.sawTime(time);
          // A brick whose heal was interrupted goes on where it was: it lacks this too.
          this.#primary?.heals.touch(keys);
        },
      },
      this.#copy,
    );
    this.#armTick();
    this.#armWriting();
  }

  get view(): View {
    return this.#view;
  }

  get serving(): boolean {
    return this.#primary?.serving === true;
  }

  /** A newer view; older and equal ones are ignored, and those that are older than one this brick acted by before it was restarted. */
  setView(view: View): void {
    const { journal } = this.#copy;
    if (this.#stopped || view.epoch <= this.#view.epoch || view.epoch < journal.meta.sealedEpoch) return;
    const before = this.#view;
    this.#view = view;
    this.#copy.direct.endAll();
    try {
      journal.promise(view.epoch);
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      this.#log.warn('the epoch of the view could not be written', { error: String(error) });
    }
    const { brick } = this.#env;
    // A brick that is about to be admitted was made equal already, and may see another view before that one.
    if (before.inSync.includes(brick) ? !view.inSync.includes(brick) : !listed(view, brick)) this.#continuous = 0;
    this.#log.info('view', { epoch: view.epoch, primary: view.primary, inSync: view.inSync, catchingUp: view.catchingUp });
    // Before any answer that the view brings about: what it says holds at the bricks of this view, not of the last.
    for (const channel of this.#clients) channel.send({ kind: 'newView', view });
    if (view.primary !== brick) {
      this.#primary?.stop('another brick is primary');
      this.#primary = undefined;
    } else if (this.#primary !== undefined && before.epoch + 1 === view.epoch && this.#primary.serving) {
      this.#primary.viewChanged(view);
    } else {
      // A view was missed, in which another may have been primary; or recovery had not ended: begin anew.
      this.#primary?.stop('a new view');
      this.#primary = new Primary(this.#primaryHost(), view);
      this.#primary.start();
    }
    this.#returnWhenAbsent();
    this.#leaveForWhole();
  }

  /** One brick of the set was replaced by another. */
  setBricks(bricks: readonly BrickId[]): void {
    this.#bricks = bricks;
  }

  /** The serving lease is good for `ms` from now (monotonic). */
  renewLease(ms: number): void {
    this.#leaseUntil = this.#env.clock.now() + ms;
  }

  attachClient(id: string, channel: Channel<Message>): void {
    const session = this.#sessions.connect(id, channel, this.#env.clock.now());
    this.#clients.add(channel);
    channel.onMessage = (message) => this.#fromClient(session, channel, message);
    channel.onClose = () => {
      this.#clients.delete(channel);
      if (session.channel === channel) session.channel = undefined;
    };
  }

  attachPeer(brick: BrickId, channel: Channel<Message>): void {
    if (!this.#bricks.includes(brick)) {
      channel.close('not a brick of this volume');
      return;
    }
    this.#member.attach(brick, channel);
  }

  /** Rotates journals and syncs disks; for a clean stop. Does nothing unless this brick serves as primary. */
  async checkpoint(): Promise<void> {
    await this.#primary?.checkpoint();
  }

  /**
   * Has this copy compared with the primary's as a whole, whatever the journals say: it leaves the set and returns by a walk of the whole
   * tree. It waits for a view in which all others are in sync, so that bricks that are asked at the same time go one after the other.
   */
  compareWhole(): void {
    this.#wholeWanted = true;
    this.#leaveForWhole();
  }

  status(): ReplicaStatus {
    const { brick } = this.#env;
    const role = this.#stopped
      ? 'stopped'
      : this.#view.primary === brick
        ? 'primary'
        : this.#view.inSync.includes(brick)
          ? 'member'
          : this.#view.catchingUp.includes(brick)
            ? 'catchingUp'
            : 'absent';
    const clients = [...this.#sessions.all()]
      .filter((session) => session.channel !== undefined)
      .map((session) => ({
        session: session.id,
        remote: session.channel?.remote ?? '',
        bytesRead: session.bytesRead,
        bytesWritten: session.bytesWritten,
        opens: session.openCount,
        locks: this.#copy.fileLocks.countOf(session.id),
      }));
    return { brick, view: this.#view, role, continuous: this.#continuous > 0, serving: this.serving, heals: this.serving ? (this.#primary?.heals.status() ?? []) : [], clients };
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#tick();
    this.#writing();
    this.#primary?.stop('the brick stops');
    for (const channel of this.#clients) channel.close('the brick stops');
  }

  /** After `stop`, when the disk was synced: a later start finds the copy intact. */
  closeCleanly(): void {
    // What the disk may lack the next process would not know.
    if (!this.#copy.anySuspect) this.#copy.journal.closeCleanly();
  }

  /** How good this copy is: see standing.ts. */
  get standing(): number {
    if (this.#continuous === 0 && !this.#intact) return Standing.LostData;
    const { unsettled, halfWritten } = this.#copy.journal.meta;
    if (unsettled) return Standing.Unsettled;
    if (halfWritten === true) return Standing.HalfWritten;
    return this.#continuous > 0 ? Standing.Continuous : Standing.Intact;
  }

  #joined(epoch: number): void {
    if (!listed(this.#view, this.#env.brick)) return;
    this.#intact = true;
    if (!this.#copy.anySuspect) this.#continuous = epoch;
  }

  #settled(): void {
    if (!listed(this.#view, this.#env.brick)) return;
    this.#continuous = 0;
    this.#intact = true;
  }

  #primaryHost(): PrimaryHost {
    const env = this.#env;
    return {
      brick: env.brick,
      bricks: () => this.#bricks,
      clock: env.clock,
      random: env.random,
      log: this.#log,
      authority: env.authority,
      sessions: this.#sessions,
      copy: this.#copy,
      dial: (brick) => env.dial(brick),
      leaseLive: () => env.clock.now() < this.#leaseUntil,
      pingTimeoutMs: () => env.pingTimeoutMs(),
      healThrottle: () => env.healThrottle?.() ?? true,
      lockLeases: () => env.lockLeases?.() ?? false,
      directAfter: () => env.directAfter?.() ?? DIRECT_AFTER,
      standing: () => this.standing,
      giveBack: (data) => env.giveBack(data),
      copyOf: env.copyOf,
      suspected: () => {
        this.#continuous = 0;
        this.#member.sealAnew();
      },
      joined: (epoch) => this.#joined(epoch),
      adoptView: (view) => this.setView(view),
      stayAway: (ms) => (this.#returnPauseMs = ms),
    };
  }

  #fromClient(session: Session, channel: Channel<Message>, message: Message): void {
    session.lastSeen = this.#env.clock.now();
    if (this.#copy.sessions.isSilent(session.id)) this.#primary?.clients.heard(session);
    switch (message.kind) {
      case 'request':
        this.#request(session, channel, message);
        return;
      case 'ping':
        if (this.#primary?.serving === true && this.#env.clock.now() < this.#leaseUntil) {
          if (!this.#primary.leases.extend(session)) return;
          channel.send({ kind: 'pong', id: message.id, epoch: this.#view.epoch, leaseMs: LEASE_MS, equal: this.#primary.equalBricks(), synced: this.#primary.durability.synced });
        }
        return;
      case 'reclaim':
        // Of another epoch: it may have been under way for long, and the session be over since.
        if (this.#primary === undefined || message.epoch !== this.#view.epoch) channel.send({ kind: 'redirect', id: message.id, view: this.#view });
        else this.#primary.reclaim(session, channel, message);
        return;
      case 'recalled':
        this.#primary?.clients.recalled(session, message.id);
        return;
      case 'unleased':
        session.unleasedEpoch = message.epoch;
        this.#primary?.clients.unleased(session);
        return;
      case 'direct':
        this.#direct.take(session, channel, message);
        return;
      case 'directComplete':
        this.#copy.direct.complete(message.lease, session.id, message.complete);
        return;
      case 'yielded':
        this.#primary?.exclusives.yielded(session, message.lease, message.clean);
        return;
      case 'yieldedLocks':
        if (this.#primary?.lockHolders.yielded(session, message.lease) === false) this.#primary.lockLeases.yielded(session, message.gfid, message.lease);
        return;
      case 'opens':
        if (message.whole) this.#primary?.clients.toldAll(session);
        for (const gfid of session.told(message.whole, message.held, message.closed)) this.#primary?.orphans.purge(gfid);
        if (session.openCount > OPENS_MAX) channel.close('more open files than a session may have');
        return;
      case 'bye':
        void this.#primary?.clients.end(session.id);
        channel.close('the client said goodbye');
        return;
      default:
        channel.close(`unexpected ${message.kind} from a client`);
    }
  }

  #request(session: Session, channel: Channel<Message>, message: MessageOf<'request'>): void {
    const primary = this.#primary;
    if (primary === undefined || message.epoch !== this.#view.epoch) {
      channel.send({ kind: 'redirect', id: message.id, view: this.#view });
      return;
    }
    if (message.op === 'write') session.bytesWritten += message.args.data.byteLength;
    primary.request(session, channel, message);
  }

  #leaveForWhole(): void {
    const { brick, authority } = this.#env;
    const { epoch, inSync, primary } = this.#view;
    if (!this.#wholeWanted || this.#stopped || primary === brick || inSync.length !== this.#bricks.length) return;
    authority.change(epoch, { kind: 'drop', brick }).then(
      (view) => {
        // Marked before the primary asks what this copy lacks: it returns after a pause.
        if (this.#wholeWanted && view.epoch > epoch && !view.inSync.includes(brick)) {
          this.#wholeWanted = false;
          this.#copy.journal.updateMeta({ incomplete: true });
        }
        this.setView(view);
      },
      (error: unknown) => this.#log.warn('the view authority did not answer', { error: String(error) }),
    );
  }

  /** A brick that is in no list of the view asks to be made equal. */
  #returnWhenAbsent(): void {
    const { brick, authority, clock } = this.#env;
    if (listed(this.#view, brick) || this.#view.epoch === 0 || this.#returning || this.#stopped) return;
    this.#returning = true;
    clock.after(this.#returnPauseMs, () => {
      this.#returnPauseMs = RETURN_PAUSE_MS;
      const ask = authority.change(this.#view.epoch, { kind: 'catchUp', brick });
      ask.then(
        (view) => this.setView(view),
        (error: unknown) => this.#log.warn('the view authority did not answer', { error: String(error) }),
      ).finally(() => {
        this.#returning = false;
        this.#returnWhenAbsent();
      });
    });
  }

  #armTick(): void {
    this.#tick = this.#env.clock.after(TICK_MS, () => {
      this.#armTick();
      this.#forgetStrangers();
    });
  }

  /** A copy that holds half of a write must be known as one after a restart: the disk that refused to write that down is asked again soon. */
  #armWriting(): void {
    this.#writing = this.#env.clock.after(WRITE_AGAIN_MS, () => {
      this.#armWriting();
      this.#copy.journal.writeAgain();
    });
  }

  /** Clients that went to another primary, which knows what they hold, or that never were let in. */
  #forgetStrangers(): void {
    for (const session of [...this.#sessions.all()]) {
      if (session.channel === undefined && (this.#primary === undefined || !this.#copy.sessions.has(session.id))) this.#sessions.remove(session.id);
    }
  }
}

/** The brick gets every new change. */
function listed(view: View, brick: BrickId): boolean {
  return view.inSync.includes(brick) || view.catchingUp.includes(brick);
}
