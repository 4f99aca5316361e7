/**
 * The brick's end of brick-control.proto: attaches to the gluond of its node, takes configuration, views and serving leases from it,
 * answers its questions, and asks it for changes of the view. Reconnects for as long as it runs.
 */
import { readFileSync } from 'node:fs';
import { credentials, type ClientDuplexStream } from '@grpc/grpc-js';
import { Errno, LostError } from '../base/errno.js';
import type { Log } from '../env/log.js';
import type { BrickId, View } from '../fops/view.js';
import type { VolumeSpec } from '../fops/volume.js';
import type { Authority, ReplicaStatus } from '../replica/authority.js';
import type { ViewChange } from '../replica/view.js';
import {
  required,
  specFromMessage,
  viewFromMessage,
  type ConfigMessage,
  type FromBrickMessage,
  type ReplicaStatusMessage,
  type ToBrickMessage,
} from '../wire/brick-control.js';
import { VERSION } from './package-root.js';
import { clientConstructor } from './proto.js';

export interface BrickConfig {
  spec: VolumeSpec;
  brick: BrickId;
  /** Peer id of this node. */
  node: string;
  /** Address to listen on. */
  listenHost: string;
  /** Port to try first; when it is taken, or 0, any other. */
  port: number;
  /** Unix socket to listen on for clients of this node, '' for none. */
  socket: string;
}

export type BrickOrder = 'heal' | 'heal-full' | 'checkpoint' | 'scrub' | 'stop';

export interface BrickControlHandlers {
  /** First after every connection, and whenever the volume's options or places change. */
  onConfig(config: BrickConfig): void;
  /** Also older and equal ones, after a reconnection. */
  onView(view: View): void;
  /** The brick may serve for `ms` from now; pass it on in the same turn of the event loop. 0 takes the lease away. */
  onLease(ms: number): void;
  /** Undefined while there is nothing to tell yet. */
  onQuery(): ReplicaStatus | undefined;
  onOrder(order: BrickOrder): void;
  /** gluond does not want this process: end. */
  onRefused(reason: string): void;
}

export interface BrickControlOptions {
  /** Unix socket of gluond. */
  socket: string;
  /** Identity of the volume. */
  volume: string;
  brick: BrickId;
  log: Log;
  handlers: BrickControlHandlers;
}

type Stream = ClientDuplexStream<FromBrickMessage, ToBrickMessage>;
type Waiting = { resolve: (view: View) => void; reject: (error: LostError) => void; timer: NodeJS.Timeout };

const HEARTBEAT_MS = 500;
const CHANGE_MS = 15_000;
const PAUSE_MS_MIN = 50;
const PAUSE_MS_MAX = 1_000;

const BrickControlClient = clientConstructor('brick-control.proto', 'gluon.brick.v1.BrickControl');

/** Microseconds of CLOCK_MONOTONIC: the same in every process of this machine. */
export function monotonicUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

/** Field 22 of /proc/PID/stat: when the process began, in clock ticks since boot. '' when there is no such process. */
export function processStartTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}

export function changeToMessage(change: ViewChange): {
  kind: string;
  brick: string;
  successor: string;
  without: string[];
} {
  return {
    kind: change.kind,
    brick: 'brick' in change ? change.brick : '',
    successor: 'successor' in change ? change.successor : '',
    without: 'without' in change ? change.without : [],
  };
}

export function statusToMessage(status: ReplicaStatus): ReplicaStatusMessage {
  return {
    ...status,
    scrub: status.scrub ?? null,
    heals: status.heals.map((heal) => ({ ...heal, paths: heal.paths.map((path) => Buffer.from(path, 'latin1')) })),
  };
}

export class BrickControl implements Authority {
  readonly #options: BrickControlOptions;
  readonly #client;
  readonly #waiting = new Map<number, Waiting>();
  #stream: Stream | undefined;
  #state: NonNullable<FromBrickMessage['state']> = { state: 'starting', reason: '', port: 0, socket: '' };
  #nextId = 1;
  #ended = false;
  #pauseMs = PAUSE_MS_MIN;
  #retry: NodeJS.Timeout | undefined;
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(options: BrickControlOptions) {
    this.#options = options;
    this.#client = new BrickControlClient(`unix:${options.socket}`, credentials.createInsecure(), {
      'grpc.initial_reconnect_backoff_ms': PAUSE_MS_MIN,
      'grpc.min_reconnect_backoff_ms': PAUSE_MS_MIN,
      'grpc.max_reconnect_backoff_ms': PAUSE_MS_MAX,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_receive_message_length': 16 << 20,
    });
  }

  get connected(): boolean {
    return this.#stream !== undefined;
  }

  /** Connects now and again whenever the connection breaks, until `close`. */
  start(): void {
    this.#heartbeat = setInterval(() => this.#send({ heartbeat: { leaseId: 0 } }), HEARTBEAT_MS);
    this.#attach();
  }

  /** Tells gluond; repeated after every reconnection. */
  setState(
    state: 'starting' | 'serving' | 'stopping' | 'failed',
    detail: { reason?: string; port?: number; socket?: string } = {},
  ): void {
    this.#state = { ...this.#state, ...detail, state };
    this.#send({ state: this.#state });
  }

  change(epoch: number, change: ViewChange): Promise<View> {
    return new Promise((resolve, reject) => {
      if (this.#stream === undefined) {
        reject(new LostError(`gluond does not answer on ${this.#options.socket}`));
        return;
      }
      const id = this.#nextId++;
      const timer = setTimeout(
        () => this.#settle(id, undefined, `gluond did not answer within ${CHANGE_MS} ms`),
        CHANGE_MS,
      );
      this.#waiting.set(id, { resolve, reject, timer });
      this.#send({ change: { id, epoch, change: changeToMessage(change) } });
    });
  }

  close(): void {
    this.#ended = true;
    clearTimeout(this.#retry);
    clearInterval(this.#heartbeat);
    this.#lose('the brick ends');
    this.#stream?.end();
    this.#stream = undefined;
    this.#client.close();
  }

  #send(message: FromBrickMessage): void {
    this.#stream?.write(message);
  }

  #attach(): void {
    if (this.#ended) return;
    const method = BrickControlClient.service['Attach']!;
    const stream = this.#client.makeBidiStreamRequest<FromBrickMessage, ToBrickMessage>(
      method.path,
      method.requestSerialize as (message: FromBrickMessage) => Buffer,
      method.responseDeserialize as (bytes: Buffer) => ToBrickMessage,
      {},
    );
    this.#stream = stream;
    const lost = (reason: string): void => {
      if (this.#stream !== stream) return;
      this.#stream = undefined;
      this.#lose(reason);
      if (this.#ended) return;
      if (this.#pauseMs === PAUSE_MS_MIN) this.#options.log.warn('connection to gluond lost', { reason });
      this.#retry = setTimeout(() => this.#attach(), this.#pauseMs);
      this.#pauseMs = Math.min(PAUSE_MS_MAX, this.#pauseMs * 2);
    };
    stream.on('error', (error: Error) => lost(error.message));
    stream.on('end', () => lost('gluond ended the connection'));
    stream.on('data', (message: ToBrickMessage) => {
      if (this.#stream === stream) this.#receive(message);
    });
    const { volume, brick } = this.#options;
    stream.write({
      hello: { volume, brick, pid: process.pid, startTime: processStartTime(process.pid), version: VERSION },
    });
    stream.write({ state: this.#state });
  }

  #receive(message: ToBrickMessage): void {
    const { handlers } = this.#options;
    switch (message.message) {
      case 'config':
        this.#pauseMs = PAUSE_MS_MIN;
        handlers.onConfig(configFromMessage(required(message.config, 'config')));
        break;
      case 'view':
        handlers.onView(viewFromMessage(required(message.view, 'view')));
        break;
      case 'lease': {
        const { untilMonotonicUs, id } = required(message.lease, 'lease');
        handlers.onLease(Math.max(0, (untilMonotonicUs - monotonicUs()) / 1000));
        if (id !== 0) this.#send({ heartbeat: { leaseId: id } });
        break;
      }
      case 'changed': {
        const { id, view, lost } = required(message.changed, 'changed');
        this.#settle(id, view === null ? undefined : viewFromMessage(view), lost);
        break;
      }
      case 'query': {
        const status = handlers.onQuery();
        this.#send({
          status: {
            id: required(message.query, 'query').id,
            status: status === undefined ? null : statusToMessage(status),
          },
        });
        break;
      }
      case 'order':
        handlers.onOrder(required(message.order, 'order').order as BrickOrder);
        break;
      case 'refused':
        handlers.onRefused(message.refused ?? '');
        break;
      case undefined:
        // A newer gluond may say what this brick does not know.
        break;
    }
  }

  #settle(id: number, view: View | undefined, lost: string): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    if (view === undefined) waiting.reject(new LostError(lost, Errno.ETIMEDOUT));
    else waiting.resolve(view);
  }

  #lose(reason: string): void {
    for (const id of [...this.#waiting.keys()]) this.#settle(id, undefined, reason);
  }
}

function configFromMessage(message: ConfigMessage): BrickConfig {
  return { ...message, spec: specFromMessage(required(message.spec, 'volume')) };
}
