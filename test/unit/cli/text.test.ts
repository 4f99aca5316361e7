import assert from 'node:assert/strict';
import test from 'node:test';
import { brickStatus, gluon, peer, status, volume } from './fakes.js';

/** Output as GlusterFS operators and their scripts know it, line for line. `|` marks the end of lines with trailing spaces. */
const GOLDEN: [command: string, out: string][] = [
  [
    'peer status',
    `Number of Peers: 2

Hostname: server2
Uuid: b2b2b2b2-b2b2-b2b2-b2b2-b2b2b2b2b2b2
State: Peer in Cluster (Connected)

Hostname: server3
Uuid: c3c3c3c3-c3c3-c3c3-c3c3-c3c3c3c3c3c3
State: Peer in Cluster (Disconnected)
Other names:
10.0.0.3
`,
  ],
  [
    'pool list',
    `UUID\t\t\t\t\tHostname\tState
b2b2b2b2-b2b2-b2b2-b2b2-b2b2b2b2b2b2\tserver2\tConnected
c3c3c3c3-c3c3-c3c3-c3c3-c3c3c3c3c3c3\tserver3\tDisconnected
a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a1\tlocalhost\tConnected
`,
  ],
  [
    'volume info vms',
    ` |
Volume Name: vms
Type: Replicate
Volume ID: b7f4a3a1-7d0e-4b86-8f3c-1f6f0d6c1b3a
Status: Started
Snapshot Count: 0
Number of Bricks: 1 x 3 = 3
Transport-type: tcp
Bricks:
Brick1: server1:/bricks/b1/brick
Brick2: server2:/bricks/b1/brick
Brick3: server3:/bricks/b1/brick
Options Reconfigured:
cluster.granular-entry-heal: on
`,
  ],
  ['volume list', 'vms\n'],
  [
    'volume status vms',
    `Status of volume: vms
Gluster process                             TCP Port  RDMA Port  Online  Pid
------------------------------------------------------------------------------
Brick server1:/bricks/b1/brick              49152     0          Y       13439
Brick server2:/bricks/b1/brick              49152     0          Y       13440
Brick server3:/bricks/b1/brick              N/A       N/A        N       N/A
 |
Task Status of Volume vms
------------------------------------------------------------------------------
There are no active volume tasks
 |
Copies of Volume vms (view 7)
------------------------------------------------------------------------------
  server1:/bricks/b1/brick: primary
  server2:/bricks/b1/brick: in sync
  server3:/bricks/b1/brick: absent (its node does not answer)
 |
`,
  ],
  [
    'volume status vms tasks',
    `Task Status of Volume vms
------------------------------------------------------------------------------
There are no active volume tasks
 |
`,
  ],
  [
    'volume heal vms info',
    `Brick server1:/bricks/b1/brick
/disk.img
/log\\x1b[2J
<gfid:e5e5e5e5-e5e5-e5e5-e5e5-e5e5e5e5e5e5>
Status: Connected
Number of entries: 3

Brick server2:/bricks/b1/brick
Status: Connected
Number of entries: 0
Left to copy: 3.0 MiB, about 3 min 20 s

Brick server3:/bricks/b1/brick
Status: Transport endpoint is not connected
Number of entries: -
Left to copy: 512 bytes, waits for the brick to come back

`,
  ],
  [
    'volume heal vms info summary',
    `Brick server1:/bricks/b1/brick
Status: Connected
Total Number of entries: 3
Number of entries in heal pending: 0
Number of entries in split-brain: 0
Number of entries possibly healing: 3

Brick server2:/bricks/b1/brick
Status: Connected
Total Number of entries: 0
Number of entries in heal pending: 0
Number of entries in split-brain: 0
Number of entries possibly healing: 0
Left to copy: 3.0 MiB, about 3 min 20 s

Brick server3:/bricks/b1/brick
Status: Transport endpoint is not connected
Total Number of entries: -
Number of entries in heal pending: -
Number of entries in split-brain: -
Number of entries possibly healing: -
Left to copy: 512 bytes, waits for the brick to come back

`,
  ],
  [
    'volume heal vms info split-brain',
    `Brick server1:/bricks/b1/brick
Status: Connected
Number of entries in split-brain: 0

Brick server2:/bricks/b1/brick
Status: Connected
Number of entries in split-brain: 0

Brick server3:/bricks/b1/brick
Status: Transport endpoint is not connected
Number of entries in split-brain: -

`,
  ],
  [
    'volume heal vms statistics heal-count',
    `Entries to be healed on volume vms

Brick server1:/bricks/b1/brick
Number of entries: 3

Brick server2:/bricks/b1/brick
Number of entries: 0

Brick server3:/bricks/b1/brick
Number of entries: -

`,
  ],
  [
    'volume get vms network.ping-timeout',
    `Option                                   Value                                  |
------                                   -----                                  |
network.ping-timeout                     10                                     |
`,
  ],
  [
    'volume set help',
    `Option: network.ping-timeout
Default Value: 10
Type: seconds
Description: Silence after which a node counts as gone.

Option: cluster.quorum-type
Default Value: auto
Values: auto, none
Description: Kept for scripts.

`,
  ],
  ['system:: uuid get', 'UUID: a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a1\n'],
  ['system:: getwd', '/var/lib/gluon\n'],
  ['version', 'gluon 1.2.3\ngluond 9.9.9\n'],
  ['peer probe server4', 'peer probe: success\n'],
  ['volume start vms', 'volume start: vms: success\n'],
  ['volume set vms network.ping-timeout 5', 'volume set: success\n'],
  ['volume reset vms network.ping-timeout', 'volume reset: success: network.ping-timeout has the default again\n'],
];

for (const [command, out] of GOLDEN) {
  test(`'${command}' prints what GlusterFS's scripts expect`, async () => {
    const ran = await gluon(command);
    assert.equal(ran.out, out.replaceAll('|\n', '\n'));
    assert.equal(ran.err, '');
    assert.equal(ran.status, 0);
  });
}

test('a pool of one node has no peers', async () => {
  const ran = await gluon('peer status', { client: { peers: () => Promise.resolve([peer(0)]) } });
  assert.equal(ran.out, 'Number of Peers: 0\n');
});

test('the number of bricks is told in the form of the type of volume', async () => {
  const tell = async (count: number, replicaCount: number): Promise<string | undefined> => {
    const bricks = Array.from({ length: count }, () => volume().bricks[0] ?? assert.fail());
    const ran = await gluon('volume info', {
      client: { volumes: () => Promise.resolve([volume({ bricks, replicaCount })]) },
    });
    return /^(Type: .*)\n(?:.*\n)*?(Number of Bricks: .*)$/m.exec(ran.out)?.slice(1).join(', ');
  };
  assert.equal(await tell(1, 1), 'Type: Distribute, Number of Bricks: 1');
  assert.equal(await tell(2, 2), 'Type: Replicate, Number of Bricks: 1 x 2 = 2');
  assert.equal(await tell(5, 5), 'Type: Replicate, Number of Bricks: 1 x 5 = 5');
  assert.equal(await tell(6, 3), 'Type: Distributed-Replicate, Number of Bricks: 2 x 3 = 6');
});

test('a brick name wider than its column wraps, and the other columns stay in place', async () => {
  const path = `/srv/${'long/'.repeat(8)}brick`;
  const long = status({ bricks: [brickStatus(0, { path })] });
  const { out } = await gluon('volume status vms', { client: { volumeStatus: () => Promise.resolve(long) } });
  const lines = out.split('\n');
  assert.equal(lines[3], 'Brick server1:/srv/long/long/long/long/long');
  assert.equal(lines[4], '/long/long/long/brick                       49152     0          Y       13439');
  assert.equal(lines[4]?.indexOf('49152'), lines[1]?.indexOf('TCP Port'));
});

test('volume status detail shows the disk of each brick, N/A where nobody could ask', async () => {
  const disk = {
    fileSystem: 'ext4',
    device: '/dev/sda1',
    mountOptions: 'rw,relatime',
    inodeSize: 256,
    bytesFree: 1.5 * 2 ** 30,
    bytesTotal: 2 ** 41,
    blockBytes: 4096,
    inodesTotal: 1000,
    inodesFree: 900,
  };
  const two = status({ bricks: [brickStatus(0, { disk }), brickStatus(1, { online: false })] });
  const { out } = await gluon('volume status vms detail', { client: { volumeStatus: () => Promise.resolve(two) } });
  const value = (label: string): string[] =>
    out
      .split('\n')
      .filter((line) => line.startsWith(`${label.padEnd(20)} : `))
      .map((line) => line.slice(23));
  assert.deepEqual(value('Brick'), ['Brick server1:/bricks/b1/brick', 'Brick server2:/bricks/b1/brick']);
  assert.deepEqual(value('TCP Port'), ['49152'.padEnd(20), 'N/A'.padEnd(20)]);
  assert.deepEqual(value('Disk Space Free'), ['1.5GB'.padEnd(20), 'N/A'.padEnd(20)]);
  assert.deepEqual(value('Total Disk Space'), ['2.0TB'.padEnd(20), 'N/A'.padEnd(20)]);
  for (const label of [
    'RDMA Port',
    'Online',
    'Pid',
    'File System',
    'Device',
    'Mount Options',
    'Inode Size',
    'Inode Count',
    'Free Inodes',
  ]) {
    assert.equal(value(label).length, 2, label);
  }
});

test('volume status clients lists who is connected to each brick', async () => {
  const clients = [{ remote: '10.0.0.9:50000', session: 's', bytesRead: 12, bytesWritten: 3456, opens: 2, locks: 1 }];
  const one = status({ bricks: [brickStatus(0, { clients }), brickStatus(1, { online: false })] });
  const { out } = await gluon('volume status vms clients', { client: { volumeStatus: () => Promise.resolve(one) } });
  assert.match(
    out,
    /^Client connections for volume vms\n-{46}\nBrick : server1:\/bricks\/b1\/brick\nClients connected : 1\n/,
  );
  assert.match(out, /^10\.0\.0\.9:50000 +12 +3456 +2 +1$/m);
  assert.match(out, /Clients connected : N\/A/);
});

test('volume status of all volumes also names those that are not started', async () => {
  const stopped = status({ name: 'old', started: false });
  const client = {
    volumeNames: () => Promise.resolve(['old', 'vms']),
    volumeStatus: (name: string) => Promise.resolve(name === 'old' ? stopped : status()),
  };
  const ran = await gluon('volume status', { client });
  assert.match(ran.out, /^Volume old is not started\n \nStatus of volume: vms\n/);
  const single = await gluon('volume status old', { client });
  assert.equal(single.status, 1);
  assert.match(single.err, /^volume status: failed: volume old is not started; start it with/);
});

test('volume status can be asked of one brick', async () => {
  const { out } = await gluon('volume status vms server2:/bricks/b1/brick');
  assert.match(out, /Brick server2:/);
  assert.doesNotMatch(out, /server1/);
  const wrong = await gluon('volume status vms server9:/bricks/b1/brick');
  assert.equal(wrong.status, 1);
  assert.match(wrong.err, /server9:\/bricks\/b1\/brick is no brick of volume vms/);
});

test('on a terminal a heal shows its progress as a bar', async () => {
  const { out } = await gluon('volume heal vms info', { tty: true });
  assert.match(out, /^Progress: \[#######\.{23}\] {2}25 %$/m);
  assert.equal(out.match(/Progress/g)?.length, 1, 'only for the brick that is being healed');
});

test('a pool without volumes is told on stderr, so that stdout stays empty for scripts', async () => {
  for (const command of ['volume list', 'volume info', 'volume status']) {
    const ran = await gluon(command, {
      client: { volumes: () => Promise.resolve([]), volumeNames: () => Promise.resolve([]) },
    });
    assert.deepEqual([ran.status, ran.out], [0, ''], command);
    assert.match(ran.err, /^No volumes present in this pool/);
  }
});

test('get-state writes the pool into a file and tells where', async () => {
  const ran = await gluon('get-state odir /tmp/x file state');
  assert.equal(ran.out, 'gluond state dumped to /tmp/x/state\n');
  const text = ran.files.get('/tmp/x/state') ?? '';
  for (const line of [
    'MYUUID: a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a1',
    'Peer1.primary_hostname: server2',
    'Volume1.Brick2.port: 49152',
  ]) {
    assert.ok(text.split('\n').includes(line), line);
  }
  assert.deepEqual([...(await gluon('get-state')).files.keys()], ['/run/gluon/gluond_state_1700000000']);
});

test('help lists the commands that gluon has, and only those', async () => {
  const { out } = await gluon('help');
  for (const line of [
    'peer probe { <HOSTNAME> | <IP-address> } - ',
    'volume create <NEW-VOLNAME> ',
    'system:: getwd - ',
  ])
    assert.ok(out.includes(`${line}`), line);
  assert.doesNotMatch(out, /add-brick/);
  assert.match((await gluon('volume help')).out, /^\ngluon volume commands\n=+\n\nvolume bitrot [^\n]+\n\n?volume create/);
  assert.doesNotMatch((await gluon('peer help')).out, /volume create/);
});

test('scrub status tells of every brick what GlusterFS tells of every node, and more', async () => {
  const { out } = await gluon('volume bitrot vms scrub status');
  assert.match(out, /^Volume name : vms\n\nState of scrub: Active \(In Progress\)\n\nScrub impact: lazy\n\nScrub frequency: biweekly\n\n=+\n\nBrick: server1:/);
  assert.match(out, /Number of Scrubbed files: 1200\n\nNumber of Skipped files: 0\n\nLast completed scrub time: 2023-11-14 22:13:20\n\nDuration of last scrub \(D:M:H:M:S\): 0:1:2:3:4\n/);
  assert.match(out, /Error count: 1\n\nCorrupted object's \[GFID\]:\n\nd4d4d4d4-d4d4-/);
  assert.match(out, /Under way: 7 files, 3.0 MiB\n[^]*Scrubber pending to complete\.[^]*Files without checksums yet: 4/);
  assert.match(out, /Brick: server3:[^\n]*\n\nNot known: its node does not answer\n/);
});
