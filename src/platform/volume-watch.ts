/**
 * What a mount learns of its volume from the gluonds of the pool: the servers it was given are tried in turn, for ever; after a
 * connection broke, the next one. A server is HOST, HOST:PORT, [IPv6], [IPv6]:PORT or the absolute path of a gluond's unix socket.
 */
import { hostname } from 'node:os';
import { credentials, type ChannelCredentials, type ClientReadableStream, type ServiceError } from '@grpc/grpc-js';
import { Errno, FsError, LostError } from '../base/errno.js';
import type { Log } from '../env/log.js';
import type { View } from '../fops/view.js';
import type { VolumeSpec } from '../fops/volume.js';
import { required, specFromMessage, viewFromMessage } from '../wire/brick-control.js';
import type { WatchVolumeEventMessage } from '../wire/management.js';
import { clientConstructor } from './proto.js';
import { GLUOND_PORT, grpcTarget } from './target.js';

export { GLUOND_PORT };

export interface WatchVolumeOptions {
  servers: string[];
  volume: string;
  /** The first call comes before `watchVolume` resolves. `spec.started` turns false when the volume is stopped or deleted. */
  onUpdate: (spec: VolumeSpec, view: View) => void;
  /** Ends the watch. */
  signal: AbortSignal;
  log: Log;
  /** The first answer must come within this time. */
  firstAnswerMs?: number;
  /** How gluonds on TCP are spoken to; the default encrypts and accepts any certificate. */
  tls?: ChannelCredentials;
}

const FIRST_ANSWER_MS = 20_000;
/** A server that neither answers nor refuses is left for the next one after this. */
const SERVER_MS = 5_000;
const PAUSE_MS_MIN = 100;
const PAUSE_MS_MAX = 2_000;

type Outcome = { kind: 'definite'; error: FsError } | { kind: 'lost'; reason: string };

const Management = clientConstructor('management.proto', 'gluon.management.v1.Management');

function encryptedAnyCertificate(): ChannelCredentials {
  return credentials.createSsl(null, null, null, { rejectUnauthorized: false, checkServerIdentity: () => undefined });
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}

/** Follows one server until its stream ends. `onEvent` is called for every good message. */
function follow(
  server: string,
  options: WatchVolumeOptions,
  tls: ChannelCredentials,
  onEvent: (event: WatchVolumeEventMessage) => void,
): Promise<Outcome> {
  const target = grpcTarget(server);
  const client = new Management(target.address, target.local ? credentials.createInsecure() : tls, {
    'grpc.ssl_target_name_override': 'localhost',
    'grpc.keepalive_time_ms': 5_000,
    'grpc.keepalive_timeout_ms': 5_000,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.use_local_subchannel_pool': 1,
  });
  return new Promise((resolve) => {
    const call: ClientReadableStream<WatchVolumeEventMessage> = client.makeServerStreamRequest(
      Management.service['WatchVolume']!.path,
      Management.service['WatchVolume']!.requestSerialize,
      Management.service['WatchVolume']!.responseDeserialize as (bytes: Buffer) => WatchVolumeEventMessage,
      { volume: options.volume, client: hostname() },
    );
    let ended = false;
    const end = (outcome: Outcome): void => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      options.signal.removeEventListener('abort', abort);
      call.cancel();
      client.close();
      resolve(outcome);
    };
    const abort = (): void => end({ kind: 'lost', reason: 'the watch was ended' });
    const timer = setTimeout(() => end({ kind: 'lost', reason: `no answer within ${SERVER_MS} ms` }), SERVER_MS);
    options.signal.addEventListener('abort', abort);
    call.on('data', (event: WatchVolumeEventMessage) => {
      if (ended) return;
      clearTimeout(timer);
      const { result } = event;
      if (result !== null && result.opRet !== 0) {
        const error = new FsError(result.opErrno, 'mount', result.message);
        // A gluond that cannot reach the cluster store knows nothing definite.
        end(
          result.opErrno === Errno.ENOENT || result.opErrno === Errno.EACCES
            ? { kind: 'definite', error }
            : { kind: 'lost', reason: result.message },
        );
        return;
      }
      try {
        onEvent(event);
      } catch (error) {
        options.log.error('an update of the volume could not be taken', { error, server });
      }
    });
    call.on('error', (error: ServiceError) => end({ kind: 'lost', reason: error.details || error.message }));
    call.on('end', () => end({ kind: 'lost', reason: 'the server ended the stream' }));
  });
}

/**
 * Resolves after the first update; updates go on until the signal. Rejects when the first answer is definite: FsError ENOENT (unknown
 * volume), ENODEV (it is not started), EACCES (auth.allow); LostError when no server gave an answer in time, naming what was tried.
 */
export function watchVolume(options: WatchVolumeOptions): Promise<void> {
  const { servers, signal, log } = options;
  if (servers.length === 0) return Promise.reject(new FsError(Errno.EINVAL, 'mount', 'no server was given'));
  const tls = options.tls ?? encryptedAnyCertificate();
  const firstAnswerMs = options.firstAnswerMs ?? FIRST_ANSWER_MS;
  return new Promise((resolve, reject) => {
    let settled = false;
    let spec: VolumeSpec | undefined;
    let view: View | undefined;
    let ended = signal.aborted;
    const stop = new AbortController();
    const tried = new Map<string, string>();
    const settle = (error?: Error): void => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      if (error === undefined) resolve();
      else {
        ended = true;
        stop.abort();
        reject(error);
      }
    };
    const timer = setTimeout(() => {
      const list = servers.map((server) => `${server}: ${tried.get(server) ?? 'not tried yet'}`).join('; ');
      settle(
        new LostError(
          `no server told about volume ${options.volume} within ${firstAnswerMs} ms (${list})`,
          Errno.ETIMEDOUT,
        ),
      );
    }, firstAnswerMs);
    signal.addEventListener('abort', () => {
      ended = true;
      stop.abort();
      settle(new LostError('the mount was ended', Errno.ECANCELED));
    });
    if (ended) settle(new LostError('the mount was ended', Errno.ECANCELED));

    const onEvent = (event: WatchVolumeEventMessage): void => {
      const nextSpec = specFromMessage(required(event.spec, 'volume'));
      const nextView = viewFromMessage(required(event.view, 'view'));
      if (!settled && !nextSpec.started) {
        settle(
          new FsError(
            Errno.ENODEV,
            'mount',
            `volume ${options.volume} is not started: start it with \`gluon volume start ${options.volume}\``,
          ),
        );
        return;
      }
      // Another server may be behind: views never go back.
      if (view !== undefined && nextView.epoch < view.epoch && spec?.id === nextSpec.id) return;
      spec = nextSpec;
      view = nextView;
      options.onUpdate(spec, view);
      settle();
    };

    const run = async (): Promise<void> => {
      let pauseMs = PAUSE_MS_MIN;
      while (!ended) {
        let anyUpdate = false;
        let definite: FsError | undefined;
        for (const server of servers) {
          if (ended) return;
          const outcome = await follow(server, { ...options, signal: stop.signal }, tls, (event) => {
            anyUpdate = true;
            onEvent(event);
          });
          if (ended) return;
          if (outcome.kind === 'definite') definite ??= outcome.error;
          const reason = outcome.kind === 'definite' ? outcome.error.message : outcome.reason;
          tried.set(server, reason);
          log.debug('a server of the volume is gone', { server, reason });
          if (
            outcome.kind === 'definite' &&
            outcome.error.errno === Errno.ENOENT &&
            spec !== undefined &&
            view !== undefined
          ) {
            spec = { ...spec, started: false };
            options.onUpdate(spec, view);
          }
        }
        if (definite !== undefined) settle(definite);
        if (anyUpdate) pauseMs = PAUSE_MS_MIN;
        await pause(pauseMs, stop.signal);
        pauseMs = Math.min(PAUSE_MS_MAX, pauseMs * 2);
      }
    };
    run().catch((error: unknown) => {
      log.error('the watch of the volume failed', { error });
      settle(error instanceof Error ? error : new Error(String(error)));
    });
  });
}
