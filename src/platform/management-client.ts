/** The management service of a gluond over gRPC, as the command line needs it. */
import { connect, isIP } from 'node:net';
import type { ChannelCredentials, Client, ClientOptions, ServiceError, status as GrpcStatus } from '@grpc/grpc-js';
import type { MethodDefinition } from '@grpc/proto-loader';
import { Errno } from '../base/errno.js';
import { NoAnswerError, RefusedError, type BrickPlace, type ManagementClient } from '../cli/client.js';
import * as messages from './management-messages.js';
import { formatHostPort, grpcTarget, type HostPort } from './target.js';

/** Where a gluond listens. */
export type ManagementAddress = { path: string } | HostPort;

export function addressText(address: ManagementAddress): string {
  return 'path' in address ? address.path : formatHostPort(address);
}

export interface ManagementClientOptions {
  address: ManagementAddress;
  timeoutMs: number;
  /** For TCP: the certificate that shows this node to belong to the pool. */
  credentials?: () => Promise<ChannelCredentials>;
}

/** A node that is up answers a connection at once; a command does not wait longer than this for one that is not. */
const CONNECT_MS_MAX = 10_000;
const MESSAGE_BYTES_MAX = 64 << 20;

const CHANNEL_OPTIONS: ClientOptions = {
  'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
  // A proxy of the environment is for the web, not for the nodes of a cluster.
  'grpc.enable_http_proxy': 0,
};

/** What may be asked again without a second thought. */
const READS = new Set(
  ['Ping', 'PeerList', 'VolumeInfo', 'VolumeList', 'VolumeStatus', 'VolumeGet', 'VolumeOptionHelp'].concat([
    'VolumeHealInfo',
    'VolumeScrub',
    'VolumeScrubStatus',
    'GetState',
  ]),
);
const AMBIGUOUS = 'what was asked for may have happened, or happen still: look before you repeat it';

type Method = MethodDefinition<object, object>;

interface Channel {
  client: Client;
  methods: Map<string, Method>;
  grpcStatus: typeof GrpcStatus;
}

export class GrpcManagementClient implements ManagementClient {
  readonly #options: ManagementClientOptions;
  #channel: Promise<Channel> | undefined;

  constructor(options: ManagementClientOptions) {
    this.#options = options;
  }

  async peerProbe(host: string, joinToken: string): Promise<string> {
    const { note } = await this.#call<messages.Answered & { note: string }>('PeerProbe', { host, joinToken });
    return note;
  }

  async peerDetach(host: string, force: boolean): Promise<void> {
    await this.#call('PeerDetach', { host, force });
  }

  async peers(): ReturnType<ManagementClient['peers']> {
    return (await this.#call<messages.PeerListMessage>('PeerList', {})).peers;
  }

  async volumeCreate(
    request: Parameters<ManagementClient['volumeCreate']>[0],
  ): ReturnType<ManagementClient['volumeCreate']> {
    const { name, replicaCount = 0, bricks, force } = request;
    return this.#call<messages.ChangeMessage>('VolumeCreate', { name, replicaCount, bricks, force });
  }

  async volumeStart(name: string, force: boolean): Promise<messages.ChangeMessage> {
    return this.#call<messages.ChangeMessage>('VolumeStart', { name, force });
  }

  async volumeStop(name: string, force: boolean): Promise<messages.ChangeMessage> {
    return this.#call<messages.ChangeMessage>('VolumeStop', { name, force });
  }

  async volumeDelete(name: string): Promise<messages.ChangeMessage> {
    return this.#call<messages.ChangeMessage>('VolumeDelete', { name });
  }

  async volumes(name = ''): ReturnType<ManagementClient['volumes']> {
    return (await this.#call<messages.VolumeInfoMessage>('VolumeInfo', { name })).volumes.map(messages.volume);
  }

  async volumeNames(): Promise<string[]> {
    return (await this.#call<messages.VolumeListMessage>('VolumeList', {})).names;
  }

  async replaceBrick(name: string, source: BrickPlace, target: BrickPlace): Promise<messages.ChangeMessage> {
    return this.#call<messages.ChangeMessage>('VolumeReplaceBrick', { name, source, target });
  }

  async resetBrick(name: string, source: BrickPlace, commit?: { target: BrickPlace; force: boolean }): Promise<messages.ChangeMessage> {
    return this.#call<messages.ChangeMessage>('VolumeResetBrick', { name, source, target: commit?.target, force: commit?.force === true });
  }

  async volumeStatus(
    name: string,
    parts: { disk: boolean; clients: boolean },
  ): ReturnType<ManagementClient['volumeStatus']> {
    return messages.volumeStatus(await this.#call<messages.VolumeStatusMessage>('VolumeStatus', { name, ...parts }));
  }

  async optionsSet(name: string, options: { key: string; value: string }[]): Promise<messages.ChangeMessage> {
    return this.#call<messages.ChangeMessage>('VolumeSet', { name, options });
  }

  async optionsSetGroup(name: string, group: string): Promise<messages.ChangeMessage> {
    return this.#call<messages.ChangeMessage>('VolumeSet', { name, group });
  }

  async optionsGet(name: string, key = ''): ReturnType<ManagementClient['optionsGet']> {
    return (await this.#call<messages.VolumeGetMessage>('VolumeGet', { name, key })).options;
  }

  async optionsReset(name: string, key: string | undefined, force: boolean): Promise<messages.ChangeMessage> {
    return this.#call<messages.ChangeMessage>('VolumeReset', { name, key: key ?? '', force });
  }

  async optionsHelp(): ReturnType<ManagementClient['optionsHelp']> {
    return (await this.#call<messages.OptionHelpMessage>('VolumeOptionHelp', {})).options;
  }

  async heal(name: string, full: boolean): Promise<messages.ChangeMessage> {
    return this.#call<messages.ChangeMessage>('VolumeHeal', { name, full });
  }

  async healInfo(name: string): ReturnType<ManagementClient['healInfo']> {
    return messages.volumeHeal(await this.#call<messages.HealInfoMessage>('VolumeHealInfo', { name }));
  }

  async scrub(name: string): Promise<messages.ChangeMessage> {
    return this.#call<messages.ChangeMessage>('VolumeScrub', { name });
  }

  async scrubStatus(name: string): ReturnType<ManagementClient['scrubStatus']> {
    return messages.volumeScrub(await this.#call<messages.ScrubStatusMessage>('VolumeScrubStatus', { name }));
  }

  async daemon(): ReturnType<ManagementClient['daemon']> {
    return this.#call<messages.PingMessage>('Ping', {});
  }

  async state(): ReturnType<ManagementClient['state']> {
    return messages.poolState(await this.#call<messages.StateMessage>('GetState', {}));
  }

  async systemStop(daemon: boolean): Promise<number> {
    return (await this.#call<messages.SystemStopMessage>('SystemStop', { daemon })).bricksStopped;
  }

  close(): void {
    this.#channel?.then(
      ({ client }) => client.close(),
      () => undefined,
    );
    this.#channel = undefined;
  }

  /** Sends one request and waits for its answer, at most the time of --timeout. */
  async #call<A extends messages.Answered>(name: string, request: object): Promise<A> {
    this.#channel ??= this.#open();
    let channel: Channel;
    try {
      channel = await this.#channel;
    } catch (error) {
      // The next command of an interactive session tries again.
      this.#channel = undefined;
      throw error;
    }
    const answer = await this.#unary<A>(channel, name, request);
    const { result } = answer;
    if (result === null)
      throw new NoAnswerError(`gluond at ${this.#where()} gave '${name}' an answer without a result`, Errno.EPROTO);
    if (result.opRet !== 0)
      throw new RefusedError(result.message, result.opErrno === 0 ? Errno.EINVAL : result.opErrno);
    return answer;
  }

  #unary<A>(channel: Channel, name: string, request: object): Promise<A> {
    const method = channel.methods.get(name);
    if (method === undefined) throw new TypeError(`management.proto has no method ${name}`);
    const deadline = Date.now() + this.#options.timeoutMs;
    return new Promise<A>((resolve, reject) => {
      channel.client.makeUnaryRequest(
        method.path,
        (value: object) => method.requestSerialize(value),
        (bytes: Buffer) => method.responseDeserialize(bytes) as A,
        request,
        { deadline },
        (error, answer) => {
          if (error !== null) reject(this.#explain(error, name, channel.grpcStatus));
          else if (answer === undefined)
            reject(new NoAnswerError(`gluond at ${this.#where()} gave '${name}' no answer`, Errno.EPROTO));
          else resolve(answer);
        },
      );
    });
  }

  async #open(): Promise<Channel> {
    const { address, credentials } = this.#options;
    await this.#knock(address);
    const [grpc, { serviceDefinition }] = await Promise.all([import('@grpc/grpc-js'), import('./proto.js')]);
    const service = serviceDefinition('management.proto', 'gluon.management.v1.Management') as unknown as Record<
      string,
      Method
    >;
    const target = grpcTarget('path' in address ? address.path : addressText(address)).address;
    // TLS has no names for addresses, and who answers is known by its certificate, not by its name.
    const options =
      'path' in address || isIP(address.host) === 0
        ? CHANNEL_OPTIONS
        : { ...CHANNEL_OPTIONS, 'grpc.ssl_target_name_override': 'gluond' };
    const client = new grpc.Client(
      target,
      credentials === undefined ? grpc.credentials.createInsecure() : await credentials(),
      options,
    );
    return { client, methods: new Map(Object.entries(service)), grpcStatus: grpc.status };
  }

  /** Connects and closes again: tells at once, and by its code, why nobody answers. */
  #knock(address: ManagementAddress): Promise<void> {
    const timeoutMs = Math.min(CONNECT_MS_MAX, this.#options.timeoutMs);
    return new Promise((resolve, reject) => {
      const socket = connect(address);
      const timer = setTimeout(() => {
        socket.destroy();
        reject(
          new NoAnswerError(
            `${this.#unreachable('ETIMEDOUT')} (no connection within ${timeoutMs / 1000} s)`,
            Errno.ETIMEDOUT,
          ),
        );
      }, timeoutMs);
      socket.once('connect', () => {
        clearTimeout(timer);
        socket.destroy();
        resolve();
      });
      socket.once('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(timer);
        reject(new NoAnswerError(this.#unreachable(error.code ?? error.message), Errno.ENOTCONN));
      });
    });
  }

  #where(): string {
    return addressText(this.#options.address);
  }

  #unreachable(code: string): string {
    const { address } = this.#options;
    const where = `cannot reach gluond at ${this.#where()}`;
    if (code === 'EACCES' || code === 'EPERM') return `${where} (${code}): its socket is for root: run gluon as root`;
    if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
      return `${where} (${code}): the host name cannot be resolved: check its spelling, DNS and /etc/hosts`;
    if (!('path' in address))
      return `${where} (${code}): check that gluond runs on that node and that no firewall is between`;
    const elsewhere = 'if its state is elsewhere, name it with --state-dir=DIRECTORY';
    return `${where} (${code}): start it with 'systemctl start gluond' or 'gluond'; ${elsewhere}`;
  }

  /** gRPC's own failures: what came back is not an answer of gluond's handlers. */
  #explain(error: ServiceError, name: string, status: Channel['grpcStatus']): Error {
    const where = `gluond at ${this.#where()}`;
    switch (error.code) {
      case status.DEADLINE_EXCEEDED: {
        const waited = `${where} did not answer '${name}' within ${this.#options.timeoutMs / 1000} s (--timeout)`;
        return new NoAnswerError(READS.has(name) ? waited : `${waited}; ${AMBIGUOUS}`, Errno.ETIMEDOUT);
      }
      case status.UNAVAILABLE: {
        const broke = `the connection to ${where} broke during '${name}'`;
        return new NoAnswerError(READS.has(name) ? broke : `${broke}; ${AMBIGUOUS}`, Errno.ENOTCONN);
      }
      case status.UNIMPLEMENTED:
        return new NoAnswerError(
          `${where} does not know '${name}': it is of another version; compare with 'gluon version'`,
          Errno.EOPNOTSUPP,
        );
      case status.UNAUTHENTICATED:
      case status.PERMISSION_DENIED:
        return new RefusedError(`${where} does not allow '${name}' from here: ${error.details}`, Errno.EACCES);
      default:
        return new NoAnswerError(`${where} failed in '${name}': ${error.details}`, Errno.EIO);
    }
  }
}
