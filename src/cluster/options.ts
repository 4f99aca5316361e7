/**
 * Every option of a volume, in one table: it feeds `volume set`, `get`, `reset` and `set help`.
 *
 * `effect` says what setting it does in gluon. `acts`: it is obeyed. `constant`: gluon behaves as `value` says and in no other way, so only
 * that value is taken. `accepted`: it tunes machinery that gluon does not have; it is kept and shown, and the answer says that it changes nothing.
 * `refused`: taking it would promise something that gluon does not do.
 */
export type OptionType = 'boolean' | 'integer' | 'size' | 'seconds' | 'percent' | 'enum' | 'string' | 'addresses';

export type OptionEffect =
  | { kind: 'acts' }
  | { kind: 'constant'; value: string; why: string }
  | { kind: 'accepted'; why: string }
  | { kind: 'refused'; why: string };

export interface OptionSpec {
  key: string;
  type: OptionType;
  defaultValue: string;
  /** Of integer, seconds, percent; bytes of size. */
  min?: number;
  max?: number;
  values?: readonly string[];
  doc: string;
  effect: OptionEffect;
}

const ACTS: OptionEffect = { kind: 'acts' };
const accepted = (why: string): OptionEffect => ({ kind: 'accepted', why });
const constant = (value: string, why: string): OptionEffect => ({ kind: 'constant', value, why });
const refused = (why: string): OptionEffect => ({ kind: 'refused', why });

const NO_THREADS = 'gluon does its work in one event loop for each process and has no such threads';
const NO_TRANSLATOR = 'gluon has no such translator: caching follows leases and is always coherent';
const NO_AFR = 'gluon orders writes at a primary and has no locks or change logs for each write';
const KEEPALIVE = 'gluon notices dead peers by its own signs of life (network.ping-timeout)';

function option(
  key: string,
  type: OptionType,
  defaultValue: string,
  doc: string,
  effect: OptionEffect,
  limits: Partial<Pick<OptionSpec, 'min' | 'max' | 'values'>> = {},
): OptionSpec {
  return { key, type, defaultValue, doc, effect, ...limits };
}

export const OPTIONS: readonly OptionSpec[] = [
  option(
    'network.ping-timeout',
    'seconds',
    '10',
    'A node that gives no sign of life for this long is replaced: the longest that I/O may stall when a node dies.',
    ACTS,
    { min: 4, max: 1013 },
  ),
  option(
    'network.frame-timeout',
    'seconds',
    '0',
    'An operation that no majority of bricks could answer for this long fails with an error; 0 waits until the majority is back.',
    ACTS,
    { min: 0, max: 86_400 },
  ),
  option(
    'auth.allow',
    'addresses',
    '*',
    'Addresses that may mount the volume, comma separated; * in one stands for anything.',
    ACTS,
  ),
  option('auth.reject', 'addresses', '', 'Addresses that may not mount the volume; stronger than auth.allow.', ACTS),

  option(
    'cluster.quorum-type',
    'enum',
    'auto',
    'Which bricks must answer for a write.',
    constant('auto', 'a majority of the replica set is always needed: less would allow split brain'),
    { values: ['none', 'fixed', 'auto'] },
  ),
  option(
    'cluster.quorum-count',
    'integer',
    '',
    'Number of bricks for quorum-type fixed.',
    refused('the quorum is always the majority of the replica set'),
    { min: 1, max: 64 },
  ),
  option(
    'cluster.server-quorum-type',
    'enum',
    'server',
    'Whether bricks of a minority of nodes stop serving.',
    constant('server', 'a node that cannot reach the majority of the pool never serves'),
    { values: ['none', 'server'] },
  ),
  option(
    'cluster.server-quorum-ratio',
    'percent',
    '51',
    'Part of the nodes that must be up.',
    constant('51', 'a majority of the nodes that keep the cluster store is needed'),
    { min: 0, max: 100 },
  ),
  option(
    'cluster.self-heal-daemon',
    'boolean',
    'on',
    'Heal returning bricks automatically.',
    constant('on', 'a returning brick is always healed'),
  ),
  option(
    'cluster.data-self-heal',
    'boolean',
    'off',
    'Heal data from clients.',
    constant('off', 'bricks heal each other, clients never do'),
  ),
  option(
    'cluster.metadata-self-heal',
    'boolean',
    'off',
    'Heal attributes from clients.',
    constant('off', 'bricks heal each other, clients never do'),
  ),
  option(
    'cluster.entry-self-heal',
    'boolean',
    'off',
    'Heal directories from clients.',
    constant('off', 'bricks heal each other, clients never do'),
  ),
  option(
    'cluster.data-self-heal-algorithm',
    'enum',
    'diff',
    'How changed regions are healed.',
    accepted('gluon compares digests of what changed and copies what differs'),
    { values: ['diff', 'full', 'reset'] },
  ),
  option(
    'cluster.granular-entry-heal',
    'boolean',
    'on',
    'Record changed names instead of directories.',
    constant('on', 'the change journal holds names'),
  ),
  option(
    'cluster.favorite-child-policy',
    'enum',
    'none',
    'How split brain is settled.',
    constant('none', 'there is no split brain to settle'),
    { values: ['none', 'size', 'ctime', 'mtime', 'majority'] },
  ),
  option(
    'cluster.heal-timeout',
    'seconds',
    '600',
    'Seconds between crawls for what must be healed.',
    accepted('healing begins when a brick returns, not by a crawl'),
    { min: 5, max: 86_400 },
  ),
  option(
    'cluster.heal-throttle',
    'boolean',
    'on',
    'Healing gives way to clients: their changes take at most about three times as long as without it. Off: as fast as the machines can.',
    ACTS,
  ),
  option('cluster.shd-max-threads', 'integer', '1', 'Parallel heals.', accepted(NO_THREADS), { min: 1, max: 64 }),
  option('cluster.shd-wait-qlength', 'integer', '1024', 'Entries waiting to be healed.', accepted(NO_THREADS), {
    min: 1,
    max: 655_536,
  }),
  option(
    'cluster.self-heal-window-size',
    'integer',
    '8',
    'Blocks healed at once.',
    accepted('gluon bounds healing so that I/O is never held up for more than 100 ms'),
    { min: 1, max: 1024 },
  ),
  option('cluster.background-self-heal-count', 'integer', '8', 'Heals from clients.', accepted('clients do not heal'), {
    min: 0,
    max: 256,
  }),
  option('cluster.eager-lock', 'boolean', 'on', 'Keep locks between writes.', accepted(NO_AFR)),
  option('cluster.post-op-delay-secs', 'seconds', '1', 'Delay of the change log after a write.', accepted(NO_AFR), {
    min: 0,
    max: 2_147_483,
  }),
  option(
    'cluster.ensure-durability',
    'boolean',
    'on',
    'Sync data before the change log says it is there.',
    constant('on', 'an acknowledged fsync is always on stable storage of every brick in sync'),
  ),
  option(
    'cluster.locking-scheme',
    'enum',
    'granular',
    'Locks of a heal.',
    constant('granular', 'a heal only ever locks the region it copies'),
    { values: ['full', 'granular'] },
  ),
  option(
    'cluster.choose-local',
    'boolean',
    'on',
    'Clients read the files of a brick on their own node themselves while they hold a lease on them; off: they always ask the primary.',
    ACTS,
  ),
  option(
    'client.direct-writes',
    'boolean',
    'on',
    'The only user of a file writes to all bricks itself, under an exclusive lease; off: all writes go through the primary.',
    ACTS,
  ),
  option(
    'client.lock-leases',
    'boolean',
    'on',
    'The client that asked for a file lock last gives its programs the next ones on that file itself, while they come one after the other; off: the primary gives them all.',
    ACTS,
  ),
  option(
    'cluster.read-hash-mode',
    'integer',
    '1',
    'Which brick is read from.',
    accepted('gluon reads where a read is known to be current'),
    { min: 0, max: 5 },
  ),
  option(
    'cluster.lookup-optimize',
    'boolean',
    'on',
    'Do not search other distribute subvolumes.',
    accepted('a volume is one replica set: there is nowhere else to search'),
  ),
  option(
    'cluster.readdir-optimize',
    'boolean',
    'off',
    'Read directories from one distribute subvolume.',
    accepted('a volume is one replica set'),
  ),
  option(
    'cluster.min-free-disk',
    'percent',
    '10',
    'Do not place new files on a fuller brick.',
    accepted('a volume is one replica set: every brick holds every file'),
    { min: 0, max: 100 },
  ),
  option(
    'cluster.consistent-metadata',
    'boolean',
    'no',
    'Attributes always from one brick.',
    accepted('attributes are always consistent'),
  ),

  option('performance.quick-read', 'boolean', 'off', 'Small files with the lookup.', accepted(NO_TRANSLATOR)),
  option('performance.read-ahead', 'boolean', 'off', 'Read-ahead in the client.', accepted('the kernel reads ahead')),
  option('performance.readdir-ahead', 'boolean', 'off', 'Read-ahead of directories.', accepted(NO_TRANSLATOR)),
  option('performance.io-cache', 'boolean', 'off', 'Cache in the client.', accepted(NO_TRANSLATOR)),
  option('performance.stat-prefetch', 'boolean', 'on', 'Attributes with directory entries.', accepted(NO_TRANSLATOR)),
  option('performance.open-behind', 'boolean', 'off', 'Open files when they are read.', accepted(NO_TRANSLATOR)),
  option(
    'performance.write-behind',
    'boolean',
    'off',
    'Acknowledge writes before the bricks have them.',
    constant('off', 'an acknowledged write is on every brick in sync'),
  ),
  option(
    'performance.flush-behind',
    'boolean',
    'off',
    'Acknowledge close before writes are done.',
    constant('off', 'an acknowledged write is on every brick in sync'),
  ),
  option(
    'performance.strict-o-direct',
    'boolean',
    'on',
    'O_DIRECT is not answered from caches.',
    constant('on', 'O_DIRECT never goes through a cache of gluon'),
  ),
  option(
    'performance.strict-write-ordering',
    'boolean',
    'on',
    'Writes in order.',
    constant('on', 'every operation takes effect at one instant'),
  ),
  option('performance.client-io-threads', 'boolean', 'off', 'Threads of the client.', accepted(NO_THREADS)),
  option('performance.io-thread-count', 'integer', '16', 'Threads of the brick.', accepted(NO_THREADS), {
    min: 1,
    max: 64,
  }),
  option('performance.high-prio-threads', 'integer', '16', 'Threads of the brick.', accepted(NO_THREADS), {
    min: 1,
    max: 64,
  }),
  option('performance.normal-prio-threads', 'integer', '16', 'Threads of the brick.', accepted(NO_THREADS), {
    min: 1,
    max: 64,
  }),
  option('performance.low-prio-threads', 'integer', '16', 'Threads of the brick.', accepted(NO_THREADS), {
    min: 1,
    max: 64,
  }),
  option('performance.least-prio-threads', 'integer', '1', 'Threads of the brick.', accepted(NO_THREADS), {
    min: 1,
    max: 64,
  }),
  option('performance.cache-size', 'size', '32MB', 'Size of the io-cache.', accepted(NO_TRANSLATOR), {
    min: 0,
    max: 32 * 2 ** 30,
  }),
  option(
    'performance.md-cache-timeout',
    'seconds',
    '1',
    'How long attributes may be stale.',
    accepted('attributes are never stale'),
    { min: 0, max: 600 },
  ),
  option(
    'performance.cache-invalidation',
    'boolean',
    'on',
    'Invalidate caches on changes.',
    constant('on', 'caches follow leases and are always coherent'),
  ),
  option(
    'performance.parallel-readdir',
    'boolean',
    'off',
    'Read distribute subvolumes in parallel.',
    accepted('a volume is one replica set'),
  ),
  option('performance.nl-cache', 'boolean', 'off', 'Cache absent names.', accepted(NO_TRANSLATOR)),

  option(
    'network.remote-dio',
    'enum',
    'disable',
    'Filter O_DIRECT on the way to the brick.',
    accepted('a brick writes through its page cache and syncs when it is asked to'),
    { values: ['enable', 'disable', 'on', 'off'] },
  ),
  option(
    'network.inode-lru-limit',
    'integer',
    '65536',
    'Inodes that a brick remembers.',
    accepted('a brick bounds its caches itself'),
    { min: 0, max: 2_147_483_647 },
  ),
  option('network.tcp-window-size', 'size', '0', 'Socket buffers.', accepted('the kernel sizes socket buffers'), {
    min: 0,
    max: 2 ** 30,
  }),
  option('client.event-threads', 'integer', '2', 'Network threads of the client.', accepted(NO_THREADS), {
    min: 1,
    max: 1024,
  }),
  option('server.event-threads', 'integer', '2', 'Network threads of the brick.', accepted(NO_THREADS), {
    min: 1,
    max: 1024,
  }),
  option(
    'server.outstanding-rpc-limit',
    'integer',
    '64',
    'Requests of one client at once.',
    accepted('a brick bounds the memory of a connection itself'),
    { min: 0, max: 65_536 },
  ),
  option('server.tcp-user-timeout', 'seconds', '20', 'TCP gives a connection up.', accepted(KEEPALIVE), {
    min: 0,
    max: 1013,
  }),
  option('client.tcp-user-timeout', 'seconds', '20', 'TCP gives a connection up.', accepted(KEEPALIVE), {
    min: 0,
    max: 1013,
  }),
  option('server.keepalive-time', 'seconds', '20', 'TCP keep-alive.', accepted(KEEPALIVE), { min: 0, max: 1013 }),
  option('server.keepalive-interval', 'seconds', '2', 'TCP keep-alive.', accepted(KEEPALIVE), { min: 0, max: 1013 }),
  option('server.keepalive-count', 'integer', '9', 'TCP keep-alive.', accepted(KEEPALIVE), { min: 0, max: 1013 }),
  option('client.keepalive-time', 'seconds', '20', 'TCP keep-alive.', accepted(KEEPALIVE), { min: 0, max: 1013 }),
  option(
    'server.allow-insecure',
    'boolean',
    'on',
    'Clients from ports above 1023.',
    constant('on', 'a client proves that it knows the secret of the volume, its port says nothing'),
  ),
  option(
    'server.root-squash',
    'boolean',
    'off',
    'Map root of clients to nobody.',
    refused('gluon does not map users; restrict the mounts with auth.allow'),
  ),
  option(
    'server.ssl',
    'boolean',
    'off',
    'Encrypt the data protocol.',
    refused('the data protocol is authenticated but not encrypted yet: use a private network'),
  ),
  option(
    'client.ssl',
    'boolean',
    'off',
    'Encrypt the data protocol.',
    refused('the data protocol is authenticated but not encrypted yet: use a private network'),
  ),
  option(
    'auth.ssl-allow',
    'string',
    '',
    'Certificates that may mount.',
    refused('mounts are admitted by address, see auth.allow'),
  ),

  option(
    'features.shard',
    'boolean',
    'off',
    'Cut large files into pieces.',
    accepted('gluon tracks changes in regions of 1 MiB and keeps files whole: healing is as quick as with shards'),
  ),
  option('features.shard-block-size', 'size', '64MB', 'Size of a piece.', accepted('gluon keeps files whole'), {
    min: 4 * 2 ** 20,
    max: 4 * 2 ** 40,
  }),
  option(
    'features.read-only',
    'boolean',
    'off',
    'No changes from clients.',
    refused('mount with the option ro instead'),
  ),
  option('features.worm', 'boolean', 'off', 'Files are written once.', refused('gluon does not do this')),
  option('features.trash', 'boolean', 'off', 'Keep removed files.', refused('gluon does not do this')),
  option('features.quota', 'boolean', 'off', 'Limits for directories.', refused('gluon does not do this')),
  option(
    'features.bitrot',
    'boolean',
    'off',
    'Every brick keeps checksums of its files: bytes that its disk damaged are never served, and are repaired from another brick.',
    ACTS,
  ),
  option('features.scrub', 'enum', 'Active', 'Whether bricks look for damage that nobody reads.', ACTS, {
    values: ['Active', 'pause'],
  }),
  option('features.scrub-freq', 'enum', 'biweekly', 'How often a brick looks at all of its files.', ACTS, {
    values: ['hourly', 'daily', 'weekly', 'biweekly', 'monthly'],
  }),
  option(
    'features.scrub-throttle',
    'enum',
    'lazy',
    'How fast it does: lazy 8, normal 32, aggressive 128 MiB a second for each brick.',
    ACTS,
    { values: ['lazy', 'normal', 'aggressive'] },
  ),
  option('features.scrub-rate', 'size', '0', 'Bytes a second instead of those of scrub-throttle; 0: those.', ACTS, {
    min: 0,
    max: 2 ** 40,
  }),
  option(
    'features.cache-invalidation',
    'boolean',
    'on',
    'Tell clients of changes.',
    constant('on', 'caches follow leases and are always coherent'),
  ),
  option(
    'features.cache-invalidation-timeout',
    'seconds',
    '60',
    'How long a client is told of changes.',
    accepted('a client is told for as long as it holds a lease'),
    { min: 0, max: 1200 },
  ),

  option(
    'storage.owner-uid',
    'integer',
    '-1',
    'Owner of the root of the volume.',
    refused('use chown on the root of a mount: it is kept on every brick'),
    { min: -1, max: 2 ** 31 },
  ),
  option(
    'storage.owner-gid',
    'integer',
    '-1',
    'Group of the root of the volume.',
    refused('use chgrp on the root of a mount: it is kept on every brick'),
    { min: -1, max: 2 ** 31 },
  ),
  option(
    'storage.linux-aio',
    'boolean',
    'off',
    'Asynchronous I/O of the brick.',
    accepted('a brick reads from the page cache and uses a thread pool for the disk'),
  ),
  option(
    'storage.linux-io_uring',
    'boolean',
    'off',
    'Asynchronous I/O of the brick.',
    accepted('a brick reads from the page cache and uses a thread pool for the disk'),
  ),
  option(
    'storage.reserve',
    'percent',
    '1',
    'Space that a brick keeps free.',
    accepted('a full disk is an ordinary ENOSPC in gluon'),
    { min: 0, max: 100 },
  ),
  option(
    'storage.health-check-interval',
    'seconds',
    '30',
    'How often a brick looks at its disk.',
    accepted('a brick looks every second'),
    { min: 0, max: 86_400 },
  ),
  option(
    'storage.fips-mode-rchecksum',
    'boolean',
    'on',
    'Digests allowed by FIPS.',
    accepted('gluon compares copies with SHA-256'),
  ),

  option(
    'diagnostics.brick-log-level',
    'enum',
    'INFO',
    'Log level of the bricks.',
    accepted('bricks log at the level that gluond was started with'),
    { values: ['TRACE', 'DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL', 'NONE'] },
  ),
  option(
    'diagnostics.client-log-level',
    'enum',
    'INFO',
    'Log level of the mounts.',
    accepted('give log-level to mount instead'),
    { values: ['TRACE', 'DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL', 'NONE'] },
  ),
  option(
    'diagnostics.latency-measurement',
    'boolean',
    'off',
    'Measure operations.',
    accepted('there is no profile yet'),
  ),
  option('diagnostics.count-fop-hits', 'boolean', 'off', 'Count operations.', accepted('there is no profile yet')),

  option('nfs.disable', 'boolean', 'on', 'No NFS server.', constant('on', 'gluon has no NFS server')),
  option(
    'transport.address-family',
    'enum',
    'inet',
    'Address family.',
    accepted('gluon uses whatever the host names resolve to'),
    { values: ['inet', 'inet6', 'unspec'] },
  ),
  option(
    'user.cifs',
    'boolean',
    'off',
    'Export with Samba.',
    constant('off', 'gluon does not run Samba; export a mount instead'),
  ),
  option(
    'user.smb',
    'boolean',
    'off',
    'Export with Samba.',
    constant('off', 'gluon does not run Samba; export a mount instead'),
  ),
];

/** `volume set NAME group GROUP`. */
export const GROUPS: Record<string, readonly [string, string][]> = {
  virt: [
    ['performance.quick-read', 'off'],
    ['performance.read-ahead', 'off'],
    ['performance.io-cache', 'off'],
    ['performance.low-prio-threads', '32'],
    ['network.remote-dio', 'disable'],
    ['performance.strict-o-direct', 'on'],
    ['cluster.eager-lock', 'enable'],
    ['cluster.quorum-type', 'auto'],
    ['cluster.server-quorum-type', 'server'],
    ['cluster.data-self-heal-algorithm', 'full'],
    ['cluster.locking-scheme', 'granular'],
    ['cluster.shd-max-threads', '8'],
    ['cluster.shd-wait-qlength', '10000'],
    ['features.shard', 'on'],
    ['user.cifs', 'off'],
    ['client.event-threads', '4'],
    ['server.event-threads', '4'],
    ['performance.client-io-threads', 'on'],
    ['network.ping-timeout', '20'],
    ['server.tcp-user-timeout', '20'],
    ['server.keepalive-time', '10'],
    ['server.keepalive-interval', '2'],
    ['server.keepalive-count', '5'],
    ['cluster.lookup-optimize', 'off'],
  ],
};
