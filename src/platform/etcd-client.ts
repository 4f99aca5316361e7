/**
 * Calls to an etcd cluster: one endpoint is used until it fails, then the next. Every call has a deadline; a failed call of unknown
 * outcome is a LostError and is not repeated here.
 */
import {
  Metadata,
  status,
  type ChannelCredentials,
  type Client,
  type ClientDuplexStream,
  type ServiceError,
} from '@grpc/grpc-js';
import { Errno, FsError, LostError } from '../base/errno.js';
import { clientConstructor } from './proto.js';

export interface EtcdMember {
  /** Decimal: uses all 64 bits. */
  ID: string;
  /** '' until it was started. */
  name: string;
  peerURLs: string[];
  clientURLs: string[];
  isLearner: boolean;
}

export interface KeyValue {
  key: Buffer;
  modRevision: string;
  value: Buffer;
}

export interface WatchResponse {
  header: { revision: string } | null;
  created: boolean;
  canceled: boolean;
  compactRevision: string;
  cancelReason: string;
  events: { type: 'PUT' | 'DELETE'; kv: KeyValue | null }[];
}

type ServiceName = 'KV' | 'Watch' | 'Cluster' | 'Auth' | 'Maintenance';

const CALL_MS = 3_000;
/** An answer takes milliseconds; one that takes longer than this may never come. */
const SLOW_MS = 900;
/**
 * What is to be taken now is asked of the own member only after the others have not answered for this long. A leader that is heard and hears nothing goes
 * on taking requests until it steps down, after two election times; the next leader would take them late.
 */
const OWN_MEMBER_MS = 4_000;

const SERVICES = {
  KV: clientConstructor('etcd.proto', 'etcdserverpb.KV'),
  Watch: clientConstructor('etcd.proto', 'etcdserverpb.Watch'),
  Cluster: clientConstructor('etcd.proto', 'etcdserverpb.Cluster'),
  Auth: clientConstructor('etcd.proto', 'etcdserverpb.Auth'),
  Maintenance: clientConstructor('etcd.proto', 'etcdserverpb.Maintenance'),
};

const CHANNEL_OPTIONS = {
  // Members are known by the pool's authority; every node certificate carries this name.
  'grpc.ssl_target_name_override': 'localhost',
  'grpc.keepalive_time_ms': 2_000,
  'grpc.keepalive_timeout_ms': 2_000,
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.min_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 500,
  'grpc.use_local_subchannel_pool': 1,
};

/**
 * Changes of members and users are checked before they are made: these errors say that nothing was done. Of keys, nothing is definite but
 * an answer: a change of users at the same time is reported as a wrong argument too.
 */
function definite(service: ServiceName, error: ServiceError): boolean {
  if (service === 'KV' || service === 'Watch') return false;
  return (
    error.code === status.INVALID_ARGUMENT ||
    error.code === status.NOT_FOUND ||
    error.code === status.FAILED_PRECONDITION ||
    error.code === status.ALREADY_EXISTS
  );
}

function leaderRequired(): Metadata {
  const metadata = new Metadata();
  metadata.set('hasleader', 'true');
  return metadata;
}

/** One endpoint. */
export class EtcdEndpoint {
  readonly #clients = new Map<ServiceName, Client>();

  constructor(
    readonly address: string,
    readonly credentials: ChannelCredentials,
  ) {}

  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  #client(service: ServiceName): Client {
    let client = this.#clients.get(service);
    if (client === undefined) {
      client = new SERVICES[service](this.address, this.credentials, CHANNEL_OPTIONS);
      this.#clients.set(service, client);
    }
    return client;
  }

  /** FsError EINVAL: refused by etcd. LostError: unknown. `needsLeader`: a member that knows no leader refuses, and keeps nothing for the next one. */
  call<R>(service: ServiceName, method: string, request: object, timeoutMs = CALL_MS, needsLeader = false): Promise<R> {
    const metadata = needsLeader ? leaderRequired() : new Metadata();
    const definition = SERVICES[service].service[method]!;
    return new Promise((resolve, reject) => {
      this.#client(service).makeUnaryRequest<object, R>(
        definition.path,
        definition.requestSerialize as (request: object) => Buffer,
        definition.responseDeserialize as (bytes: Buffer) => R,
        request,
        metadata,
        { deadline: Date.now() + timeoutMs },
        (error, response) => {
          if (error === null) resolve(response as R);
          else if (definite(service, error)) reject(new FsError(Errno.EINVAL, 'etcd', error.details));
          else
            reject(
              new LostError(
                `etcd at ${this.address}: ${error.details}`,
                error.code === status.DEADLINE_EXCEEDED ? Errno.ETIMEDOUT : Errno.ENOTCONN,
              ),
            );
        },
      );
    });
  }

  watch(): ClientDuplexStream<object, WatchResponse> {
    const definition = SERVICES.Watch.service['Watch']!;
    // A member that lost its leader ends the watch instead of staying silent.
    return this.#client('Watch').makeBidiStreamRequest<object, WatchResponse>(
      definition.path,
      definition.requestSerialize as (request: object) => Buffer,
      definition.responseDeserialize as (bytes: Buffer) => WatchResponse,
      leaderRequired(),
      {},
    );
  }
}

/** The endpoints of a cluster, the preferred one first. */
export class EtcdClient {
  #endpoints: EtcdEndpoint[] = [];
  #current = 0;
  readonly #credentials: () => ChannelCredentials;
  readonly #own: () => string;
  /** Counts the changes of endpoint of `callNow`. */
  #turn = 0;
  /** Since when no other member answered `callNow`. */
  #othersSilentSince: number | undefined;

  /** `own`: address of the member on this machine, '' where there is none. */
  constructor(addresses: readonly string[], credentials: () => ChannelCredentials, own: () => string = () => '') {
    this.#credentials = credentials;
    this.#own = own;
    this.setEndpoints(addresses);
  }

  get addresses(): string[] {
    return this.#endpoints.map((endpoint) => endpoint.address);
  }

  /** Keeps the connections to addresses that stay. */
  setEndpoints(addresses: readonly string[]): void {
    if (
      addresses.length === this.#endpoints.length &&
      addresses.every((address, i) => this.#endpoints[i]?.address === address)
    )
      return;
    const current = this.#endpoints[this.#current];
    const old = this.#endpoints;
    this.#endpoints = addresses.map(
      (address) =>
        old.find((endpoint) => endpoint.address === address) ?? new EtcdEndpoint(address, this.#credentials()),
    );
    for (const endpoint of old) if (!this.#endpoints.includes(endpoint)) endpoint.close();
    this.#current = current === undefined ? 0 : Math.max(0, this.#endpoints.indexOf(current));
  }

  endpoint(): EtcdEndpoint {
    const endpoint = this.#endpoints[this.#current];
    if (endpoint === undefined) throw new LostError('no member of the cluster store is known');
    return endpoint;
  }

  /** `failed` did not answer: the next one is used from now on. */
  rotate(failed: EtcdEndpoint): void {
    if (this.#endpoints[this.#current] === failed && this.#endpoints.length > 0)
      this.#current = (this.#current + 1) % this.#endpoints.length;
  }

  /** One attempt at the current endpoint. While it is slow, what follows is asked of the next one: that member may have lost its leader alone. */
  async call<R>(service: ServiceName, method: string, request: object, timeoutMs?: number): Promise<R> {
    const endpoint = this.endpoint();
    const slow = setTimeout(() => this.rotate(endpoint), SLOW_MS);
    try {
      return await endpoint.call<R>(service, method, request, timeoutMs);
    } catch (error) {
      if (error instanceof LostError) this.rotate(endpoint);
      throw error;
    } finally {
      clearTimeout(slow);
    }
  }

  /** One attempt, by way of another machine while one answers; refused by a member that knows no leader. While it is slow, what follows is asked of the next one. */
  async callNow<R>(service: ServiceName, method: string, request: object, timeoutMs?: number): Promise<R> {
    const own = this.#own();
    const others = this.#endpoints.filter(({ address }) => address !== own);
    const silent = this.#othersSilentSince !== undefined && performance.now() - this.#othersSilentSince > OWN_MEMBER_MS;
    const candidates = others.length === 0 || silent ? this.#endpoints : others;
    const turn = this.#turn;
    const endpoint = candidates[turn % candidates.length];
    if (endpoint === undefined) throw new LostError('no member of the cluster store is known');
    const leave = (): void => {
      if (endpoint.address !== own) this.#othersSilentSince ??= performance.now();
      if (this.#turn === turn) this.#turn++;
    };
    const slow = setTimeout(leave, SLOW_MS);
    try {
      const answer = await endpoint.call<R>(service, method, request, timeoutMs, true);
      if (endpoint.address !== own) this.#othersSilentSince = undefined;
      return answer;
    } catch (error) {
      if (error instanceof LostError) leave();
      throw error;
    } finally {
      clearTimeout(slow);
    }
  }

  /** For requests that change nothing, or the same when repeated: tries every endpoint, with growing patience, until `timeoutMs`. */
  async retry<R>(
    service: ServiceName,
    method: string,
    request: object,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<R> {
    const until = performance.now() + timeoutMs;
    for (let patienceMs = SLOW_MS; ; patienceMs = Math.min(CALL_MS, patienceMs * 2)) {
      try {
        return await this.call<R>(
          service,
          method,
          request,
          Math.max(100, Math.min(patienceMs, until - performance.now())),
        );
      } catch (error) {
        if (!(error instanceof LostError) || signal?.aborted === true || performance.now() + 50 >= until) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  async members(timeoutMs = 5_000): Promise<EtcdMember[]> {
    const answer = await this.retry<{ members: EtcdMember[] }>('Cluster', 'MemberList', {}, timeoutMs);
    return answer.members;
  }

  close(): void {
    for (const endpoint of this.#endpoints) endpoint.close();
    this.#endpoints = [];
  }
}
