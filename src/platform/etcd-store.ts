/** The cluster store over etcd. */
import { Errno, LostError } from '../base/errno.js';
import type { ClusterStore, CommitMode, Compare, Entry, WatchEvent, Write } from '../env/cluster-store.js';
import type { Log } from '../env/log.js';
import type { EtcdClient, EtcdEndpoint, KeyValue, WatchResponse } from './etcd-client.js';

const READ_MS = 8_000;
/** Longer than an election. */
const COMMIT_MS = 8_000;
const WATCH_PAUSE_MS = 100;
/** An endpoint that does not begin a watch in this time is left for the next one. */
const WATCH_BEGIN_MS = 3_000;
const KEY_MIN = Buffer.from([0]);

/** The first key after all keys with this prefix. */
function rangeEnd(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  if (end.length === 0) return KEY_MIN;
  // Keys are ASCII: the last byte never overflows.
  end[end.length - 1] = (end.at(-1) as number) + 1;
  return end;
}

function rangeOf(prefix: string): { key: Buffer; rangeEnd: Buffer } {
  return { key: prefix === '' ? KEY_MIN : Buffer.from(prefix), rangeEnd: rangeEnd(prefix) };
}

function entryOf(kv: KeyValue): Entry {
  return { key: kv.key.toString(), value: kv.value.toString(), revision: Number(kv.modRevision) };
}

interface RangeResponse {
  header: { revision: string } | null;
  kvs: KeyValue[];
}

export class EtcdStore implements ClusterStore {
  readonly #client: EtcdClient;
  readonly #log: Log;
  readonly #closed = new AbortController();

  /** Takes the client over: it is closed with the store. */
  constructor(client: EtcdClient, log: Log) {
    this.#client = client;
    this.#log = log;
  }

  async get(key: string, signal?: AbortSignal): Promise<Entry | undefined> {
    const answer = await this.#client.retry<RangeResponse>('KV', 'Range', { key: Buffer.from(key) }, READ_MS, signal);
    const kv = answer.kvs[0];
    return kv === undefined ? undefined : entryOf(kv);
  }

  async list(prefix: string, signal?: AbortSignal): Promise<Entry[]> {
    return (await this.#client.retry<RangeResponse>('KV', 'Range', rangeOf(prefix), READ_MS, signal)).kvs.map(entryOf);
  }

  async commit(compares: Compare[], writes: Write[], mode: CommitMode = 'waits'): Promise<boolean> {
    const request = {
      compare: compares.map(({ key, revision }) => ({
        result: 'EQUAL',
        target: 'MOD',
        key: Buffer.from(key),
        modRevision: String(revision),
      })),
      success: writes.map((write) =>
        'value' in write
          ? { requestPut: { key: Buffer.from(write.key), value: Buffer.from(write.value) } }
          : { requestDeleteRange: { key: Buffer.from(write.key) } },
      ),
    };
    const how = mode === 'now' ? this.#client.callNow.bind(this.#client) : this.#client.call.bind(this.#client);
    return (await how<{ succeeded: boolean }>('KV', 'Txn', request, COMMIT_MS)).succeeded;
  }

  watch(prefix: string, callback: (event: WatchEvent) => void, signal: AbortSignal): void {
    const ended = AbortSignal.any([signal, this.#closed.signal]);
    const loop = async (): Promise<void> => {
      while (!ended.aborted) {
        try {
          await this.#watchOnce(prefix, callback, ended);
        } catch (error) {
          if (ended.aborted) return;
          this.#log.debug('the watch of the cluster store begins anew', {
            reason: error instanceof Error ? error.message : String(error),
          });
          await new Promise((resolve) => setTimeout(resolve, WATCH_PAUSE_MS));
        }
      }
    };
    loop().catch((error: unknown) => this.#log.error('the watch of the cluster store failed', { error }));
  }

  close(): Promise<void> {
    this.#closed.abort();
    this.#client.close();
    return Promise.resolve();
  }

  /** Reads everything, then follows from that revision on, until the endpoint fails. */
  async #watchOnce(prefix: string, callback: (event: WatchEvent) => void, ended: AbortSignal): Promise<void> {
    const endpoint = this.#client.endpoint();
    let present: RangeResponse;
    try {
      present = await endpoint.call<RangeResponse>('KV', 'Range', rangeOf(prefix), WATCH_BEGIN_MS);
    } catch (error) {
      this.#client.rotate(endpoint);
      throw error;
    }
    if (ended.aborted) return;
    callback({ kind: 'reset', entries: present.kvs.map(entryOf) });
    await this.#follow(endpoint, prefix, Number(present.header?.revision ?? 0) + 1, callback, ended);
  }

  #follow(
    endpoint: EtcdEndpoint,
    prefix: string,
    startRevision: number,
    callback: (event: WatchEvent) => void,
    ended: AbortSignal,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const stream = endpoint.watch();
      const finish = (error?: Error): void => {
        clearTimeout(timer);
        ended.removeEventListener('abort', abort);
        stream.cancel();
        if (error === undefined) resolve();
        else {
          this.#client.rotate(endpoint);
          reject(error);
        }
      };
      const abort = (): void => finish();
      const timer = setTimeout(() => finish(new LostError('the watch did not begin', Errno.ETIMEDOUT)), WATCH_BEGIN_MS);
      ended.addEventListener('abort', abort);
      stream.on('error', (error: Error) => finish(new LostError(error.message)));
      stream.on('end', () => finish(new LostError('etcd ended the watch')));
      stream.on('data', (response: WatchResponse) => {
        if (ended.aborted) return;
        if (response.canceled) return finish(new LostError(`etcd ended the watch: ${response.cancelReason}`));
        if (response.created) clearTimeout(timer);
        for (const { type, kv } of response.events) {
          if (kv === null) continue;
          if (type === 'PUT') callback({ kind: 'put', entry: entryOf(kv) });
          else callback({ kind: 'remove', key: kv.key.toString() });
        }
      });
      stream.write({ createRequest: { ...rangeOf(prefix), startRevision: String(startRevision) } });
    });
  }
}
