/**
 * The part of a brick that follows a primary: applies its stream of mutations in order, answers its calls.
 *
 * It obeys the brick that is primary in the highest view it knows, and refuses lower epochs (sealing). Acknowledgements are cumulative: one for
 * all that was applied in a turn of the event loop.
 */
import { Errno, FsError } from '../base/errno.js';
import type { Log } from '../env/log.js';
import type { Channel } from '../env/channel.js';
import type { Gfid } from '../base/ids.js';
import type { BrickId, View } from '../fops/view.js';
import type { Message, MessageOf } from '../wire/messages.js';
import { DAMAGED_RANGES_MAX, type PeerArgs, type PeerOpName, type PeerResult } from '../wire/peer-ops.js';
import { definiteErrno, type Copy } from './copy.js';
import { spareBytes } from './space.js';
import { isSessionState } from './session-table.js';
import { Standing } from './standing.js';
import { addRegionKeys, inodeKey, nameKey, PAGE_MAX, pageOf, purgeKeys, writeKeys, type Key } from './keys.js';
import { REGION_BYTES } from '../fops/ops.js';
import { Soundness, SUM_BLOCK_BYTES, type Examined } from './soundness.js';
import { BLOCK_BYTES, DIGEST_BYTES, FINE_BYTES, NO_DIGEST_BYTE, type Store } from './store.js';

/** Keys or inodes of an answer that is not in pages, at most; and the bytes of the keys in doubt, which must fit one message. */
const LISTED_MAX = 65_536;
const DOUBT_BYTES_MAX = 3 << 20;
const LIST_PAGE = 1000;
/** A mebibyte each, at most. */
const SETTLE_PARTS_MAX = 1024;

/** The errno of an acknowledgement that says: this brick follows another primary. */
export const NOT_FOLLOWED = Errno.ECANCELED;

export interface MemberHost {
  readonly brick: BrickId;
  view(): View;
  /** Adopts a view learnt from a primary. */
  adoptView(view: View): void;
  /** See PEER_OPS.seal. */
  standing(): number;
  /** Memory of a large payload that is not needed any more. */
  giveBack(data: Uint8Array): void;
  /** This brick is (again) a full copy that follows this primary. */
  joined(epoch: number): void;
  /** This copy is equal to that of the primary, which may not serve yet. */
  settled(): void;
  /** Its disk may lack what was acknowledged. */
  suspected(): void;
}

/** Of bytes that are to be written anew: what memory shows of them the disk may lack. */
function digestsOfNothing(count: number): Uint8Array {
  return new Uint8Array(count * DIGEST_BYTES).fill(NO_DIGEST_BYTE);
}

export class Member {
  readonly #host: MemberHost;
  readonly #copy: Copy;
  readonly #log: Log;
  /** The channel of the primary that sealed this brick last. */
  #primary: Channel<Message> | undefined;
  #primaryBrick: BrickId = '';
  #epoch = 0;
  #sequence = 0;
  #unacknowledged = false;
  /** See result-check.ts: of what was applied since the last acknowledgement. */
  #check = 0;
  #failed = false;
  #settling: Buffer[] = [];
  /** Of the copy, when it was sealed. */
  #syncFailures = 0;
  /** The primary that made this copy equal serves since. */
  #confirmed = true;
  /** How often the primary said whether this copy is to be compared as a whole. */
  #marks = 0;
  /** What calls that are answered in pages have still to tell. */
  readonly #pages = new Map<PeerOpName, string[]>();

  constructor(host: MemberHost, copy: Copy, log: Log) {
    this.#host = host;
    this.#copy = copy;
    this.#log = log;
  }

  /** Takes a connection from a sibling brick. */
  attach(brick: BrickId, channel: Channel<Message>): void {
    channel.onMessage = (message) => {
      switch (message.kind) {
        case 'replicate':
          this.#replicate(channel, message);
          break;
        case 'committed':
          if (channel === this.#primary) {
            this.#copy.committed(message.sequence);
            this.#confirm();
          }
          break;
        case 'call':
          void this.#answer(brick, channel, message);
          break;
        default:
          channel.close(`unexpected ${message.kind} from a brick`);
      }
    };
    channel.onClose = () => {
      if (channel === this.#primary) this.#primary = undefined;
    };
  }

  /**
   * The primary serves: every member was made equal. Before that, a primary that is lost may have made this copy equal and another not, in what no list of
   * doubts names any more.
   */
  #confirm(): void {
    // One whose disk lacks something is no whole copy until that was written anew.
    if (this.#confirmed || this.#copy.anySuspect) return;
    this.#confirmed = true;
    this.#host.joined(this.#epoch);
  }

  /** True while a primary is connected that sealed this brick. */
  get followed(): boolean {
    return this.#primary !== undefined;
  }

  #replicate(channel: Channel<Message>, message: MessageOf<'replicate'>): void {
    // A lower epoch of the brick that is primary still is in order: it has not heard of its own new view yet.
    if (channel !== this.#primary || this.#host.view().primary !== this.#primaryBrick) {
      channel.send({ kind: 'applied', epoch: message.epoch, sequence: message.sequence, errno: NOT_FOLLOWED, check: 0 });
      return;
    }
    if (this.#failed) return;
    this.#confirm();
    this.#copy.committed(message.committed);
    this.#sequence = message.sequence;
    const keys = message.op === 'write' ? writeKeys(message.args.gfid, message.args.offset, message.args.data.byteLength) : message.keys;
    const { op, args, session, requestNumber, acknowledged, time, newGfid, purge } = message;
    const outcome = this.#copy.applyFromPrimary({ op, args, session, requestNumber, acknowledged, time, newGfid, purge, keys }, message.sequence);
    if (op === 'write') this.#host.giveBack(args.data);
    const { errno } = outcome;
    if (errno === 0) this.#check = (this.#check + outcome.check) >>> 0;
    else {
      // From here on this copy differs; the primary decides what becomes of it.
      this.#failed = true;
      this.#flush(channel, message.sequence - 1);
      channel.send({ kind: 'applied', epoch: this.#epoch, sequence: message.sequence, errno, check: 0 });
      return;
    }
    if (this.#unacknowledged) return;
    this.#unacknowledged = true;
    queueMicrotask(() => this.#flush(channel, this.#sequence));
  }

  #flush(channel: Channel<Message>, sequence: number): void {
    if (!this.#unacknowledged) return;
    this.#unacknowledged = false;
    this.#copy.journal.flushAnswers();
    const check = this.#check;
    this.#check = 0;
    channel.send({ kind: 'applied', epoch: this.#epoch, sequence, errno: 0, check });
  }

  async #answer(brick: BrickId, channel: Channel<Message>, message: MessageOf<'call'>): Promise<void> {
    let result: unknown;
    let errno = 0;
    try {
      if (message.op === 'seal') result = this.#seal(brick, channel, message.args as PeerArgs<'seal'>);
      else if (channel !== this.#primary || this.#host.view().primary !== brick) errno = Errno.ESTALE;
      else result = await this.#carryOut(message.op, message.args);
    } catch (error) {
      errno = definiteErrno(error);
      this.#log.warn('a call of the primary failed', { op: message.op, error: String(error) });
    }
    channel.send({ kind: 'answer', id: message.id, errno, op: message.op, result: errno === 0 ? result : undefined } as Message);
  }

  #seal(brick: BrickId, channel: Channel<Message>, { view }: PeerArgs<'seal'>): PeerResult<'seal'> {
    const known = this.#host.view();
    if (view.epoch < known.epoch || view.epoch < this.#copy.journal.meta.sealedEpoch) throw new FsError(Errno.ESTALE, 'seal', `epoch ${view.epoch} is over, ${known.epoch} is known`);
    if (view.primary !== brick) throw new FsError(Errno.EINVAL, 'seal', 'the caller is not the primary of that view');
    this.#host.adoptView(view);
    this.#copy.journal.promise(view.epoch);
    const inDoubt = this.#copy.doubtKeys();
    const doubt = pageOf(inDoubt, LISTED_MAX, DOUBT_BYTES_MAX);
    // More than can be told: only the journals tell what may differ, as after a restart.
    const compared = this.#failed || doubt.length < inDoubt.size;
    const standing = compared ? Math.min(Standing.Intact, this.#host.standing()) : this.#host.standing();
    if (channel !== this.#primary) {
      this.#primary?.close('another primary sealed this brick');
      this.#primary = channel;
      this.#primaryBrick = brick;
      this.#failed = false;
      this.#unacknowledged = false;
      this.#check = 0;
      this.#syncFailures = this.#copy.syncFailures;
    }
    this.#epoch = view.epoch;
    this.#copy.direct.endAll();
    const { checkpoint, base, incomplete } = this.#copy.journal.meta;
    return { standing, doubt, checkpoint, base, incomplete };
  }

  /** In sync by the view, this copy is about to be made equal to the primary's: until that is done it is neither what it was nor what the other is. */
  #becomesUnsettled(): void {
    const { journal } = this.#copy;
    if (!journal.meta.unsettled && this.#host.view().inSync.includes(this.#host.brick)) journal.updateMeta({ unsettled: true });
  }

  /**
   * A sync for the primary. Once one failed, of this primary or of one before it, this primary is told of no good one any more: it is to seal this copy anew,
   * compare it by the journals and write anew what the disk may lack.
   */
  async #sync(op: PeerOpName, sync: () => Promise<void>, gfids: Iterable<Gfid> = []): Promise<void> {
    const primary = this.#primary;
    try {
      await sync();
    } catch (error) {
      // One that is gone has nothing to lose: that says nothing about the disk.
      if (definiteErrno(error) === Errno.ESTALE) throw error;
      this.#copy.suspectUnsynced(gfids);
      this.#host.suspected();
      this.#confirmed = false;
      if (this.#primary !== primary) this.sealAnew();
      throw error;
    }
    if (this.#copy.syncFailures !== this.#syncFailures) throw new FsError(Errno.EIO, op, 'an earlier sync failed');
  }

  /** What this copy is for its primary does not hold any more. */
  sealAnew(): void {
    this.#confirmed = false;
    this.#primary?.close('the disk may lack what it was to write');
  }

  /** A part of a list that is put together when its first page is asked for. `next`: where the next page begins, 0 after the last. */
  #page(op: PeerOpName, { from }: { from: number }, whole: () => string[]): { part: string[]; next: number } {
    if (from === 0) this.#pages.set(op, whole());
    const list = this.#pages.get(op) ?? [];
    const part = pageOf(list.slice(from, from + PAGE_MAX));
    const next = from + part.length < list.length ? from + part.length : 0;
    if (next === 0) this.#pages.delete(op);
    return { part, next };
  }

  /** The calls of PEER_OPS but `seal`. */
  async #carryOut(op: PeerOpName, args: unknown): Promise<unknown> {
    const { store, journal } = this.#copy;
    switch (op) {
      case 'settle': {
        const { part, last, state } = args as PeerArgs<'settle'>;
        if (part === 0) this.#settling = [];
        if (this.#settling.length >= SETTLE_PARTS_MAX) throw new FsError(Errno.EPROTO, op, 'a state without an end');
        this.#settling.push(Buffer.from(state));
        if (!last) return {};
        this.#copy.importState(Buffer.concat(this.#settling));
        this.#settling = [];
        if (journal.meta.unsettled || journal.meta.halfWritten === true) journal.updateMeta({ unsettled: false, halfWritten: false });
        this.#confirmed = false;
        this.#host.settled();
        return {};
      }
      case 'fsync': {
        const { gfid, dataOnly } = args as PeerArgs<'fsync'>;
        await this.#sync(op, () => store.fsync(gfid, dataOnly), [gfid]);
        return {};
      }
      case 'checkpoint': {
        const { number } = args as PeerArgs<'checkpoint'>;
        this.#copy.rotate(number);
        await this.#sync(op, () => store.sync());
        journal.synced(number);
        return {};
      }
      case 'checkpointDone':
        journal.complete((args as PeerArgs<'checkpointDone'>).number);
        return {};
      case 'journalKeys': {
        const { part, next } = this.#page(op, args as PeerArgs<'journalKeys'>, () => [...journal.keys()]);
        return { keys: part, next };
      }
      case 'answers': {
        const { part, next } = this.#page(op, args as PeerArgs<'answers'>, () => this.#copy.results.records());
        return { records: part, next };
      }
      case 'suppose':
        this.#copy.supposed.take((args as PeerArgs<'suppose'>).records);
        return {};
      case 'addKeys':
        journal.note((args as PeerArgs<'addKeys'>).keys);
        return {};
      case 'markIncomplete':
        this.#marks++;
        journal.updateMeta({ incomplete: (args as PeerArgs<'markIncomplete'>).incomplete });
        return {};
      case 'child': {
        const { parent, name } = args as PeerArgs<'child'>;
        return store.child(parent, name) ?? { gfid: '', type: 0 };
      }
      case 'place': {
        this.#becomesUnsettled();
        const { parent, name, gfid, type, target } = args as PeerArgs<'place'>;
        journal.note(gfid === '' ? [nameKey(parent, name)] : [nameKey(parent, name), inodeKey(gfid)]);
        return { created: store.place(parent, name, gfid === '' ? undefined : { gfid, type }, target) };
      }
      case 'describe':
        return { state: store.describe((args as PeerArgs<'describe'>).gfid) };
      case 'putInode': {
        this.#becomesUnsettled();
        const { state } = args as PeerArgs<'putInode'>;
        journal.note([inodeKey(state.attr.gfid)]);
        return { created: store.putInode(state) };
      }
      case 'digests': {
        const { gfid, region } = args as PeerArgs<'digests'>;
        try {
          return { digests: this.#copy.isSuspect(gfid) ? digestsOfNothing(REGION_BYTES / BLOCK_BYTES) : await store.digests(gfid, region, true), ranges: store.dataRanges(gfid, region) };
        } catch (error) {
          // What cannot be read is as good as not there: it is written anew.
          if (error instanceof FsError && error.errno === Errno.EIO) return { digests: new Uint8Array(), ranges: [] };
          throw error;
        }
      }
      case 'fineDigests': {
        const { gfid, region, blocks } = args as PeerArgs<'fineDigests'>;
        if (this.#copy.isSuspect(gfid)) return { digests: digestsOfNothing(REGION_BYTES / FINE_BYTES) };
        try {
          return { digests: await store.fineDigests(gfid, region, blocks, true) };
        } catch (error) {
          if (error instanceof FsError && error.errno === Errno.EIO) return { digests: new Uint8Array() };
          throw error;
        }
      }
      case 'patch': {
        this.#becomesUnsettled();
        const { gfid, offset, data } = args as PeerArgs<'patch'>;
        this.#noteRange(gfid, offset, data.byteLength);
        store.patch(gfid, offset, data);
        this.#host.giveBack(data);
        return {};
      }
      case 'punch': {
        this.#becomesUnsettled();
        const { gfid, offset, length } = args as PeerArgs<'punch'>;
        this.#noteRange(gfid, offset, length);
        store.punch(gfid, offset, length);
        return {};
      }
      case 'patchRanges':
        this.#becomesUnsettled();
        this.#patchRanges(args as PeerArgs<'patchRanges'>);
        return {};
      case 'forget':
        this.#becomesUnsettled();
        store.forget((args as PeerArgs<'forget'>).gfid);
        return {};
      case 'list': {
        const { gfid, after } = args as PeerArgs<'list'>;
        return store.readdir(gfid, after, LIST_PAGE, false);
      }
      case 'clearAside':
        store.clearAside();
        return {};
      case 'asides':
        return { gfids: store.asides() };
      case 'orphans':
        // Strangers beyond that go when this brick is primary.
        return { gfids: store.orphans().slice(0, LISTED_MAX) };
      case 'purge': {
        const { gfid } = args as PeerArgs<'purge'>;
        const keys = purgeKeys(gfid);
        journal.note(keys);
        this.#copy.noteUnnumbered(keys);
        store.purge(gfid);
        return {};
      }
      case 'resyncEnd': {
        const { checkpoint, base } = args as PeerArgs<'resyncEnd'>;
        const marks = this.#marks;
        await this.#sync(op, () => store.sync());
        this.#copy.noneSuspect();
        // It was found to be another copy meanwhile.
        if (marks !== this.#marks) throw new FsError(Errno.ESTALE, op, 'the copy is to be compared as a whole');
        journal.adopt(checkpoint, base);
        return {};
      }
      case 'space':
        return { spare: Math.max(0, Math.floor(spareBytes(store.statfs()))) };
      case 'damage':
        return { damage: (store.sums?.damage(DAMAGED_RANGES_MAX) ?? []).map((range) => [range.gfid, range.offset, range.length]) };
      case 'blocks': {
        const { gfid, offset, length } = args as PeerArgs<'blocks'>;
        return store.sums?.examine(gfid, offset, length) ?? (await unchecked(store, gfid, offset, length));
      }
      case 'taint': {
        const { gfid, offset, length } = args as PeerArgs<'taint'>;
        store.sums?.taint(gfid, offset, length);
        return {};
      }
      case 'session': {
        const { session, state } = args as PeerArgs<'session'>;
        if (!isSessionState(state)) throw new FsError(Errno.EPROTO, op, `no session state ${state}`);
        this.#copy.setSession(session, state);
        return {};
      }
      case 'locksKnown':
        this.#copy.locksKnown = true;
        return {};
      case 'lockLeaseGiven': {
        const { gfid, lease, session } = args as PeerArgs<'lockLeaseGiven'>;
        this.#copy.lockLeaseGiven(gfid, lease, session);
        return {};
      }
      case 'lockLeaseOver': {
        const { gfid, lease } = args as PeerArgs<'lockLeaseOver'>;
        this.#copy.lockLeaseOver(gfid, lease);
        return {};
      }
      case 'grantLease': {
        const { lease, gfid, session } = args as PeerArgs<'grantLease'>;
        this.#copy.direct.grant(lease, gfid, session);
        return {};
      }
      case 'endLease': {
        // It is made equal as a whole.
        if (journal.meta.halfWritten === true) throw new FsError(Errno.EIO, op, 'the disk made a part of a write');
        const writes = this.#copy.direct.end((args as PeerArgs<'endLease'>).lease);
        return { writes: writes.map(({ requestNumber, offset, length }) => [requestNumber, offset, length]) };
      }
      case 'dropLease':
        this.#copy.direct.drop((args as PeerArgs<'dropLease'>).lease);
        return {};
      case 'forgetAnswers': {
        const { session, numbers } = args as PeerArgs<'forgetAnswers'>;
        this.#copy.forgetAnswers(session, numbers);
        return {};
      }
      case 'seal':
        throw new FsError(Errno.EPROTO, op);
    }
  }

  #patchRanges({ gfid, holes, ranges, data }: PeerArgs<'patchRanges'>): void {
    const bytes = ranges.reduce((sum, [, length]) => sum + length, 0);
    if (bytes !== data.byteLength) throw new FsError(Errno.EINVAL, 'patchRanges', 'the ranges are not as long as the data');
    for (const [offset, length] of [...holes, ...ranges]) this.#noteRange(gfid, offset, length);
    for (const [offset, length] of holes) this.#copy.store.punch(gfid, offset, length);
    let at = 0;
    for (const [offset, length] of ranges) {
      this.#copy.store.patch(gfid, offset, data.subarray(at, at + length));
      at += length;
    }
    this.#host.giveBack(data);
  }

  #noteRange(gfid: Gfid, offset: number, length: number): void {
    const keys: Key[] = [];
    addRegionKeys(keys, gfid, offset, offset + length);
    this.#copy.journal.note(keys);
  }
}

/** The bytes of a range where this brick keeps no checksums. */
async function unchecked(store: Store, gfid: Gfid, offset: number, length: number): Promise<Examined> {
  const data = await store.read(gfid, offset, Math.min(length, REGION_BYTES));
  return { data, blocks: new Uint8Array(Math.ceil(data.byteLength / SUM_BLOCK_BYTES)).fill(Soundness.Unknown) };
}
