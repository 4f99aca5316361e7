import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { credentials } from '@grpc/grpc-js';
import { MemoryCluster, MemoryStore } from '../../src/cluster/memory-store.js';
import type { ClusterStore, WatchEvent } from '../../src/env/cluster-store.js';
import { silentLog } from '../../src/env/log.js';
import { EtcdClient } from '../../src/platform/etcd-client.js';
import { EtcdMember, freePorts } from '../../src/platform/etcd-member.js';
import { EtcdStore } from '../../src/platform/etcd-store.js';
import { LevelStore } from '../../src/platform/level-store.js';
import { makeAuthority, makeNodeCertificate } from '../../src/platform/pki.js';

async function until(what: string, ready: () => boolean): Promise<void> {
  const end = performance.now() + 5_000;
  while (!ready()) {
    if (performance.now() > end) throw new Error(`waited for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** One set of claims for every implementation. */
function claims(open: () => Promise<{ store: ClusterStore; close: () => Promise<void> }>): void {
  let store: ClusterStore;
  let close: () => Promise<void>;
  before(async () => ({ store, close } = await open()));
  after(() => close());

  it('a key that was never written is absent', async () => {
    assert.equal(await store.get('none'), undefined);
    assert.deepEqual(await store.list('none/'), []);
  });

  it('revision 0 means absent: only the first of two creations succeeds', async () => {
    const create = (value: string): Promise<boolean> =>
      store.commit([{ key: 'create/a', revision: 0 }], [{ key: 'create/a', value }]);
    assert.equal(await create('first'), true);
    assert.equal(await create('second'), false);
    assert.equal((await store.get('create/a'))?.value, 'first');
  });

  it('one of many concurrent compare-and-sets on the same revision succeeds', async () => {
    await store.commit([], [{ key: 'race', value: '0' }]);
    const { revision } = (await store.get('race'))!;
    const outcomes = await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        store.commit([{ key: 'race', revision }], [{ key: 'race', value: String(i) }]),
      ),
    );
    assert.equal(outcomes.filter(Boolean).length, 1);
    assert.notEqual((await store.get('race'))!.revision, revision);
  });

  it('all writes of a commit happen or none', async () => {
    await store.commit([], [{ key: 'multi/x', value: '1' }]);
    assert.equal(
      await store.commit(
        [{ key: 'multi/x', revision: 0 }],
        [
          { key: 'multi/y', value: '1' },
          { key: 'multi/x', remove: true },
        ],
      ),
      false,
    );
    assert.deepEqual(
      (await store.list('multi/')).map((e) => e.key),
      ['multi/x'],
    );
    const { revision } = (await store.get('multi/x'))!;
    assert.equal(
      await store.commit(
        [{ key: 'multi/x', revision }],
        [
          { key: 'multi/y', value: '2' },
          { key: 'multi/x', remove: true },
        ],
      ),
      true,
    );
    assert.deepEqual(
      (await store.list('multi/')).map((e) => [e.key, e.value]),
      [['multi/y', '2']],
    );
  });

  it('a list holds the keys with the prefix in order, and no neighbours', async () => {
    for (const key of ['list/b', 'list/a', 'lisu', 'list0', 'list/a/c']) await store.commit([], [{ key, value: key }]);
    assert.deepEqual(
      (await store.list('list/')).map((e) => e.key),
      ['list/a', 'list/a/c', 'list/b'],
    );
    assert.ok((await store.list('')).some((e) => e.key === 'lisu'));
  });

  it('a watch tells what is present, then every change in order, and nothing of other prefixes', async () => {
    await store.commit([], [{ key: 'watch/old', value: 'o' }]);
    const events: WatchEvent[] = [];
    const end = new AbortController();
    store.watch('watch/', (event) => events.push(event), end.signal);
    await until('the first event', () => events.length > 0);
    assert.equal(events[0]?.kind, 'reset');
    for (let i = 0; i < 20; i++) await store.commit([], [{ key: 'watch/n', value: String(i) }]);
    await store.commit([], [{ key: 'other', value: 'x' }]);
    await store.commit([], [{ key: 'watch/old', remove: true }]);
    await until('all events', () => events.length >= 22);
    const values = events
      .slice(1)
      .map((event) => (event.kind === 'put' ? event.entry.value : event.kind === 'remove' ? `-${event.key}` : 'reset'));
    assert.deepEqual(values, [...Array.from({ length: 20 }, (_, i) => String(i)), '-watch/old']);
    end.abort();
    await store.commit([], [{ key: 'watch/n', value: 'late' }]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(events.length, 22);
  });

  it('the revision of a watched entry can be compared with', async () => {
    const events: WatchEvent[] = [];
    const end = new AbortController();
    store.watch('cas/', (event) => events.push(event), end.signal);
    await until('the watch', () => events.length > 0);
    await store.commit([], [{ key: 'cas/k', value: '1' }]);
    await until('the event', () => events.length > 1);
    const event = events[1] as Extract<WatchEvent, { kind: 'put' }>;
    assert.equal(
      await store.commit([{ key: 'cas/k', revision: event.entry.revision }], [{ key: 'cas/k', value: '2' }]),
      true,
    );
    end.abort();
  });
}

describe('cluster store in memory', () => {
  claims(() => {
    const store = new MemoryStore(new MemoryCluster());
    return Promise.resolve({ store, close: () => store.close() });
  });
});

describe('cluster store in level', () => {
  const directory = mkdtempSync(join(tmpdir(), 'gluon-level-'));
  after(() => rmSync(directory, { recursive: true, force: true }));
  claims(async () => {
    const store = await LevelStore.open(join(directory, 'a'));
    return { store, close: () => store.close() };
  });

  it('what was committed is there after it was closed and opened', async () => {
    const first = await LevelStore.open(join(directory, 'b'));
    await first.commit([], [{ key: 'k', value: 'v' }]);
    await first.close();
    const second = await LevelStore.open(join(directory, 'b'));
    assert.equal((await second.get('k'))?.value, 'v');
    await second.close();
  });

  it('a second process (here: a second handle) is refused', async () => {
    const first = await LevelStore.open(join(directory, 'c'));
    await assert.rejects(LevelStore.open(join(directory, 'c')));
    await first.close();
  });
});

describe('cluster store in etcd', () => {
  const directory = mkdtempSync(join(tmpdir(), 'gluon-etcd-'));
  after(() => rmSync(directory, { recursive: true, force: true }));
  claims(async () => {
    const authority = await makeAuthority('p');
    const node = await makeNodeCertificate(authority, 'n', []);
    const file = (name: string, text: string): string => {
      writeFileSync(join(directory, name), text, { mode: 0o600 });
      return join(directory, name);
    };
    const files = {
      caFile: file('ca.pem', authority.certificate),
      certificateFile: file('node.pem', node.certificate),
      keyFile: file('node.key', node.key),
    };
    const member = new EtcdMember(
      { directory: join(directory, 'etcd'), logFile: join(directory, 'etcd.log'), ...files },
      silentLog,
    );
    const [clientPort = 0, peerPort = 0] = await freePorts('127.0.0.1', 2);
    const initialCluster = `n=https://127.0.0.1:${peerPort}`;
    member.configure({
      name: 'n',
      host: '127.0.0.1',
      clientPort,
      peerPort,
      initialCluster,
      initialState: 'new',
      pool: 'p',
    });
    member.start();
    const secure = credentials.createSsl(
      Buffer.from(authority.certificate),
      Buffer.from(node.key),
      Buffer.from(node.certificate),
    );
    const client = new EtcdClient([member.clientAddress()], () => secure);
    const store = new EtcdStore(client, silentLog);
    await member.waitReady(
      async () => (await client.call('KV', 'Range', { key: Buffer.from('x') }, 500)) !== undefined,
      15_000,
    );
    return {
      store,
      close: async () => {
        await store.close();
        await member.stop();
      },
    };
  });
});
