/** Calls from this gluond to others (peering.proto). */
import { credentials, Metadata, status, type ChannelCredentials, type Client, type ServiceError } from '@grpc/grpc-js';
import { Errno, LostError } from '../base/errno.js';
import { Refused } from '../cluster/refused.js';
import { clientConstructor } from './proto.js';
import { grpcTarget } from './target.js';
import type { TlsMaterial } from './tls-listener.js';

export interface CallResponse {
  errno: number;
  message: string;
  body: string;
}

const Peering = clientConstructor('peering.proto', 'gluon.peering.v1.Peering');
const CALL_MS = 5_000;

/** Of a pool: the other end must be this node. */
export function memberCredentials(material: TlsMaterial, node: string): ChannelCredentials {
  return credentials.createSsl(
    Buffer.from(material.authority),
    Buffer.from(material.key),
    Buffer.from(material.certificate),
    {
      checkServerIdentity: (_host, certificate) =>
        certificate.subject.CN === node
          ? undefined
          : new Error(`the certificate is of ${certificate.subject.CN}, not of ${node}`),
    },
  );
}

/** Before there is a common pool: encrypted, whoever it is. */
export function strangerCredentials(material: TlsMaterial): ChannelCredentials {
  return credentials.createSsl(null, Buffer.from(material.key), Buffer.from(material.certificate), {
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
}

/** gRPC's explanation is a paragraph; what the system said is in it. Only for people. */
function reasonOf(error: ServiceError): string {
  return /\bE[A-Z]{4,}\b/.exec(error.details)?.[0] ?? error.details;
}

export class PeerClient {
  readonly #client: Client;

  constructor(
    readonly address: string,
    secure: ChannelCredentials,
  ) {
    this.#client = new Peering(grpcTarget(address).address, secure, {
      // The name is not checked, the node id in the certificate is; an address would not be allowed here.
      'grpc.ssl_target_name_override': 'localhost',
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.min_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1_000,
      'grpc.keepalive_time_ms': 5_000,
      'grpc.keepalive_timeout_ms': 5_000,
      'grpc.use_local_subchannel_pool': 1,
    });
  }

  close(): void {
    this.#client.close();
  }

  /** Rejects with Refused (the answer) or LostError (none). */
  call<R>(method: string, args: object, timeoutMs = CALL_MS): Promise<R> {
    const definition = Peering.service['Call']!;
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest<object, CallResponse>(
        definition.path,
        definition.requestSerialize as (request: object) => Buffer,
        definition.responseDeserialize as (bytes: Buffer) => CallResponse,
        { method, body: JSON.stringify(args) },
        new Metadata(),
        { deadline: Date.now() + timeoutMs },
        (error, response) => {
          if (error !== null) {
            const late = error.code === status.DEADLINE_EXCEEDED;
            const denied = error.code === status.PERMISSION_DENIED;
            if (denied)
              reject(new Refused(`${this.address} does not accept this node: ${error.details}`, Errno.EACCES));
            else
              reject(
                new LostError(
                  late
                    ? `${this.address} did not answer within ${timeoutMs} ms`
                    : `nobody answers on ${this.address} (${reasonOf(error)})`,
                  late ? Errno.ETIMEDOUT : Errno.ENOTCONN,
                ),
              );
          } else if (response !== undefined && response.errno === 0) resolve(JSON.parse(response.body) as R);
          else reject(new Refused(response?.message ?? 'empty answer', response?.errno ?? Errno.EIO));
        },
      );
    });
  }
}
