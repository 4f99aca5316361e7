/**
 * Writes under exclusive leases: sent to every in-sync brick at the same time instead of through the primary (see replica/exclusives.ts).
 *
 *   exclusive ──▶ connecting ──every brick──▶ waiting ──own changes through the primary answered──▶ on ──yield──▶ draining ──▶ yielded
 *                                                                                                   └── a brick refuses, is lost, or slow ──▶ yielded, not clean
 *
 * What this client asks of the primary and names by the inode (a truncation, say) is not ordered there against its direct writes, so it is kept apart from them here:
 * neither begins before the other has ended. Whatever was not answered by every brick is asked for again through the primary, under the number it has.
 */
import { compareTime, type Time } from '../base/time.js';
import type { Gfid } from '../base/ids.js';
import type { Channel } from '../env/channel.js';
import type { Attr } from '../fops/fields.js';
import type { Args, OpName } from '../fops/ops.js';
import type { BrickId, View } from '../fops/view.js';
import type { Message, MessageOf } from '../wire/messages.js';

/** A request of the client. */
export interface DirectRequest {
  id: number;
  op: OpName;
  args: unknown;
  requestNumber: number;
  /** It may have been carried out. */
  everSent: boolean;
}

export interface DirectHost<R extends DirectRequest> {
  now(): number;
  wall(): Time;
  view(): View;
  /** To the primary. */
  primary(): Channel<Message> | undefined;
  /** Connects to another brick; `ready` is called in the turn in which the connection is made, and rejections are for good. */
  dial(brick: BrickId, ready: (channel: Channel<Message>, view: View) => void): Promise<void>;
  acknowledged(): number;
  /** Sends it through the primary. */
  sendToPrimary(request: R): void;
  /** Every in-sync brick has made it; the primary's attributes. */
  done(request: R, attr: Attr | undefined): void;
  /** It is asked for again: under another id, so that late answers to the first one are nobody's. False when nobody waits for it any more. */
  again(request: R): boolean;
  learnView(view: View): void;
}

interface Flight<R> {
  request: R;
  order: number;
  waits: Set<BrickId>;
  attr: Attr | undefined;
  since: number;
}

interface Inode<R> {
  readonly gfid: Gfid;
  readonly lease: number;
  readonly epoch: number;
  readonly bricks: readonly BrickId[];
  state: 'connecting' | 'waiting' | 'on' | 'draining';
  /** By the id of the request. */
  readonly flights: Map<number, Flight<R>>;
  held: R[];
  /** Reads of bytes that are being written: a brick may have a part of a write that its disk refused. */
  reads: R[];
  order: number;
  toldComplete: number;
  time: Time;
  /** Of the write whose attributes were passed on. */
  attrOrder: number;
}

/** A write that a brick does not answer for so long goes through the primary, as all do then for a while: it measures its bricks. */
const SLOW_MS = 300;
const RECONNECT_MS = 1000;

export class DirectWrites<R extends DirectRequest> {
  readonly #host: DirectHost<R>;
  readonly #inodes = new Map<Gfid, Inode<R>>();
  /** Changes under way through the primary, by the inode that they name. */
  readonly #others = new Map<Gfid, number>();
  readonly #viaPrimary = new Set<number>();
  readonly #links = new Map<BrickId, Channel<Message>>();
  /** Writes that every brick answered. */
  made = 0;
  readonly #dialling = new Set<BrickId>();
  readonly #failedAt = new Map<BrickId, number>();

  constructor(host: DirectHost<R>) {
    this.#host = host;
  }

  // ---------------------------------------------------------------- requests

  /** Sends a request on its way: to all bricks, to the primary, or later. */
  send(request: R): void {
    const inode = this.#inodes.size === 0 ? undefined : this.#inodeOf(request);
    if (inode === undefined) this.#toPrimary(request);
    else {
      inode.held.push(request);
      this.#advance(inode);
    }
  }

  /** True for a read that waits for direct writes to the same bytes; it is sent when they are through. */
  holdsRead(request: R): boolean {
    const inode = request.op === 'read' ? this.#inodes.get((request.args as Args<'read'>).gfid) : undefined;
    if (inode === undefined || !overlaps(inode, request)) return false;
    inode.reads.push(request);
    return true;
  }

  /** It was answered, or is not waited for any more. */
  left(request: R): void {
    for (const inode of this.#inodes.values()) if (inode.reads.includes(request)) inode.reads = inode.reads.filter((read) => read !== request);
    for (const inode of this.#inodes.values()) if (inode.held.includes(request)) inode.held = inode.held.filter((held) => held !== request);
    if (!this.#viaPrimary.delete(request.id)) return;
    for (const gfid of namedBy(request)) {
      const count = this.#others.get(gfid);
      if (count === undefined) continue;
      if (count > 1) this.#others.set(gfid, count - 1);
      else {
        this.#others.delete(gfid);
        const inode = this.#inodes.get(gfid);
        if (inode !== undefined) this.#advance(inode);
      }
    }
  }

  /** One that it names and that is written directly, or about to be. */
  #inodeOf(request: R): Inode<R> | undefined {
    for (const gfid of namedBy(request)) {
      const inode = this.#inodes.get(gfid);
      if (inode !== undefined && inode.state !== 'connecting') return inode;
    }
    return undefined;
  }

  #toPrimary(request: R): void {
    const named = namedBy(request);
    if (named.length > 0) this.#viaPrimary.add(request.id);
    for (const gfid of named) this.#others.set(gfid, (this.#others.get(gfid) ?? 0) + 1);
    this.#host.sendToPrimary(request);
  }

  /** What is held goes on, in order, where nothing of the other kind is under way. */
  #advance(inode: Inode<R>): void {
    const others = (): number => this.#others.get(inode.gfid) ?? 0;
    if (inode.state === 'waiting' && others() === 0) inode.state = 'on';
    while (inode.state === 'on' && inode.held.length > 0) {
      const next = inode.held[0] as R;
      if (isDirect(next) ? others() > 0 : namedBy(next).some((gfid) => (this.#inodes.get(gfid)?.flights.size ?? 0) > 0)) return;
      inode.held.shift();
      if (isDirect(next)) this.#write(inode, next);
      else this.#toPrimary(next);
    }
  }

  #write(inode: Inode<R>, request: R): void {
    const { lease, epoch, bricks } = inode;
    const { view, primary, acknowledged, now } = this.#host;
    const order = ++inode.order;
    let complete = order - 1;
    for (const flight of inode.flights.values()) complete = Math.min(complete, flight.order - 1);
    inode.toldComplete = complete;
    inode.time = laterOf(this.#host.wall(), inode.time);
    request.everSent = true;
    inode.flights.set(request.id, { request, order, waits: new Set(bricks), attr: undefined, since: now() });
    const message = {
      kind: 'direct', id: request.id, epoch, lease, order, complete, requestNumber: request.requestNumber, acknowledged: acknowledged(), time: inode.time, op: request.op,
      args: request.args,
    } as Message;
    for (const brick of bricks) (brick === view().primary ? primary() : this.#links.get(brick))?.send(message);
  }

  /** An answer to a direct write; false when it is none. */
  answered(brick: BrickId, message: MessageOf<'reply'>): boolean {
    for (const inode of this.#inodes.values()) {
      const flight = inode.flights.get(message.id);
      if (flight === undefined) continue;
      if (message.op !== 'write' || message.errno !== 0) {
        this.#fail(inode);
        return true;
      }
      if (!flight.waits.delete(brick)) return true;
      if (brick === this.#host.view().primary) flight.attr = (message.result as { attr?: Attr }).attr;
      if (flight.waits.size === 0) this.#complete(inode, flight);
      return true;
    }
    return false;
  }

  #complete(inode: Inode<R>, flight: Flight<R>): void {
    this.made++;
    inode.flights.delete(flight.request.id);
    const newest = flight.order > inode.attrOrder;
    if (newest) inode.attrOrder = flight.order;
    this.#host.done(flight.request, newest ? flight.attr : undefined);
    for (const read of inode.reads.splice(0)) {
      if (overlaps(inode, read)) inode.reads.push(read);
      else this.#host.sendToPrimary(read);
    }
    if (inode.state === 'draining') this.#yieldWhenDrained(inode);
    this.#advanceAll();
  }

  /** A copy from one file to another waits for both. */
  #advanceAll(): void {
    for (const waiting of [...this.#inodes.values()]) if (waiting.held.length > 0) this.#advance(waiting);
  }

  // ---------------------------------------------------------------- leases

  /** The primary gave an exclusive lease. */
  begin({ gfid, lease, epoch, time }: MessageOf<'exclusive'>): void {
    const { view } = this.#host;
    if (epoch !== view().epoch) return;
    const bricks = [...view().inSync];
    const inode: Inode<R> = { gfid, lease, epoch, bricks, state: 'connecting', flights: new Map(), held: [], reads: [], order: 0, toldComplete: 0, time, attrOrder: 0 };
    this.#inodes.set(gfid, inode);
    this.#connect();
  }

  /** What the primary answered: later writes get later times. */
  saw({ gfid, ctime }: Attr): void {
    const inode = this.#inodes.get(gfid);
    if (inode !== undefined && compareTime(ctime, inode.time) > 0) inode.time = ctime;
  }

  /** The primary wants it back. */
  yield(lease: number): void {
    for (const inode of this.#inodes.values()) {
      if (inode.lease !== lease) continue;
      inode.state = 'draining';
      this.#yieldWhenDrained(inode);
      return;
    }
    // It came too late for this client to begin with.
    this.#host.primary()?.send({ kind: 'yielded', lease, clean: true });
  }

  #yieldWhenDrained(inode: Inode<R>): void {
    if (inode.flights.size === 0) this.#yield(inode, true);
  }

  /** What it wrote may not be everywhere: the bricks settle that, then what was not answered is asked for again. */
  #fail(inode: Inode<R>): void {
    this.#yield(inode, inode.flights.size === 0);
  }

  #yield(inode: Inode<R>, clean: boolean): void {
    this.#inodes.delete(inode.gfid);
    this.#host.primary()?.send({ kind: 'yielded', lease: inode.lease, clean });
    for (const { request } of inode.flights.values()) if (this.#host.again(request)) this.#toPrimary(request);
    // Each may name another inode that is written directly.
    for (const request of inode.held) this.send(request);
    for (const request of inode.reads) this.#host.sendToPrimary(request);
    this.#advanceAll();
  }

  /** Another view, or no connection to the primary: everything is asked for anew. */
  clear(): void {
    for (const { flights } of this.#inodes.values()) for (const { request } of flights.values()) this.#host.again(request);
    this.#inodes.clear();
    this.#others.clear();
    this.#viaPrimary.clear();
    const { inSync, primary } = this.#host.view();
    for (const [brick, link] of [...this.#links]) {
      if (inSync.includes(brick) && brick !== primary) continue;
      this.#links.delete(brick);
      link.close('not needed any more');
    }
  }

  close(): void {
    for (const link of [...this.#links.values()]) link.close('the client is closed');
    this.#links.clear();
  }

  /** Now and then: who is too slow, and what is complete while nothing follows to tell it. */
  tick(): void {
    const now = this.#host.now();
    for (const inode of [...this.#inodes.values()]) {
      if (inode.state === 'connecting') {
        this.#connect();
        continue;
      }
      for (const { since } of inode.flights.values()) {
        if (now - since <= SLOW_MS) continue;
        this.#fail(inode);
        break;
      }
      if (inode.flights.size > 0 || inode.toldComplete === inode.order) continue;
      inode.toldComplete = inode.order;
      const message: Message = { kind: 'directComplete', lease: inode.lease, complete: inode.order };
      for (const brick of inode.bricks) (brick === this.#host.view().primary ? this.#host.primary() : this.#links.get(brick))?.send(message);
    }
  }

  // ---------------------------------------------------------------- connections

  #connect(): void {
    const { primary, inSync } = this.#host.view();
    let missing = false;
    for (const brick of inSync) {
      if (brick === primary || this.#links.has(brick)) continue;
      missing = true;
      if (!this.#dialling.has(brick) && this.#host.now() - (this.#failedAt.get(brick) ?? -RECONNECT_MS) >= RECONNECT_MS) this.#dial(brick);
    }
    if (missing) return;
    for (const inode of this.#inodes.values()) {
      if (inode.state !== 'connecting') continue;
      inode.state = 'waiting';
      this.#advance(inode);
    }
  }

  #dial(brick: BrickId): void {
    this.#dialling.add(brick);
    const connected = (channel: Channel<Message>, view: View): void => {
      this.#links.set(brick, channel);
      channel.onMessage = (message) => {
        if (message.kind === 'reply') this.answered(brick, message);
        else if (message.kind === 'newView') this.#host.learnView(message.view);
      };
      channel.onClose = () => this.#lost(brick, channel);
      if (channel.closed) this.#lost(brick, channel);
      else this.#host.learnView(view);
    };
    this.#host.dial(brick, connected).then(
      () => {
        this.#dialling.delete(brick);
        this.#connect();
      },
      () => {
        this.#dialling.delete(brick);
        this.#failedAt.set(brick, this.#host.now());
      },
    );
  }

  #lost(brick: BrickId, channel: Channel<Message>): void {
    if (this.#links.get(brick) !== channel) return;
    this.#links.delete(brick);
    this.#failedAt.set(brick, this.#host.now());
    for (const inode of [...this.#inodes.values()]) if (inode.state !== 'connecting' && inode.bricks.includes(brick)) this.#fail(inode);
  }
}

/** True when bytes of the read are being written by all bricks. */
function overlaps<R extends DirectRequest>({ flights }: Inode<R>, { args }: R): boolean {
  const { offset, size } = args as Args<'read'>;
  for (const { request } of flights.values()) {
    const write = request.args as Args<'write'>;
    if (write.offset < offset + size && offset < write.offset + write.data.byteLength) return true;
  }
  return false;
}

/** Written to all bricks; anything else that changes the inode goes through the primary. */
function isDirect({ op, args }: DirectRequest): boolean {
  return op === 'write' && !(args as Args<'write'>).append && !(args as Args<'write'>).sync && (args as Args<'write'>).data.byteLength > 0;
}

const NOTHING: readonly Gfid[] = [];

/** The inodes that a change names, where it is ordered against direct writes here; as NAMED_BY_INODE in replica/mutations.ts. */
function namedBy({ op, args }: DirectRequest): readonly Gfid[] {
  switch (op) {
    case 'write':
    case 'setattr':
    case 'setxattr':
    case 'removexattr':
    case 'fallocate':
    case 'link':
      return [(args as { gfid: Gfid }).gfid];
    case 'open':
      return (args as Args<'open'>).truncate ? [(args as Args<'open'>).gfid] : NOTHING;
    case 'copyFileRange': {
      const { source, target } = args as Args<'copyFileRange'>;
      return source === target ? [source] : [source, target];
    }
    default:
      return NOTHING;
  }
}

function laterOf(wall: Time, last: Time): Time {
  if (compareTime(wall, last) > 0) return wall;
  return last.nsec === 999_999_999 ? { sec: last.sec + 1, nsec: 0 } : { sec: last.sec, nsec: last.nsec + 1 };
}
