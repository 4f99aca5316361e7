import assert from 'node:assert/strict';
import test from 'node:test';
import { RefusedError } from '../../../src/cli/client.js';
import { brickStatus, gluon, status } from './fakes.js';
import { readXml, shape, textAt } from './xml-check.js';

const RESULT = 'opRet opErrno opErrstr';
const BRICK = 'brick(name hostUuid isArbiter)';
const PEER = 'peer(uuid hostname hostnames(hostname) connected state stateStr)';
const NODE = 'node(hostname path peerid status port ports(tcp rdma) pid copy(state detail))';

/** The elements of every document, as GlusterFS nests them. */
const SHAPES: [command: string, shape: string][] = [
  ['peer probe server4', `cliOutput(${RESULT} output)`],
  [
    'peer status',
    `cliOutput(${RESULT} peerStatus(${PEER} ${PEER.replace('hostnames(hostname)', 'hostnames(hostname hostname)')}))`,
  ],
  ['volume create v server1:/b', `cliOutput(${RESULT} volCreate(volume(name id)))`],
  ['volume start vms', `cliOutput(${RESULT} volStart(volume(name id)))`],
  ['volume stop vms', `cliOutput(${RESULT} volStop(volume(name id)))`],
  ['volume delete vms', `cliOutput(${RESULT} volDelete(volume(name id)))`],
  [
    'volume info',
    `cliOutput(${RESULT} volInfo(volumes(volume(name id status statusStr snapshotCount brickCount distCount replicaCount arbiterCount ` +
      `disperseCount redundancyCount type typeStr transport bricks(${BRICK} ${BRICK} ${BRICK}) optCount options(option(name value))) count)))`,
  ],
  ['volume list', `cliOutput(${RESULT} volList(count volume))`],
  [
    'volume status vms',
    `cliOutput(${RESULT} volStatus(volumes(volume(volName nodeCount ${NODE} ${NODE} ${NODE} tasks))))`,
  ],
  ['volume get vms all', `cliOutput(${RESULT} volGetopts(count Opt(Option Value)))`],
  ['volume set vms a b', `cliOutput(${RESULT} cliOp output)`],
  ['volume reset vms a', `cliOutput(${RESULT} cliOp output)`],
  ['volume heal vms', `cliOutput(${RESULT} cliOp output)`],
  [
    'volume heal vms info',
    'cliOutput(healInfo(bricks(brick(name file file file status numberOfEntries) ' +
      'brick(name status numberOfEntries bytesLeft bytesDone secondsLeft) ' +
      `brick(name status numberOfEntries bytesLeft bytesDone))) ${RESULT})`,
  ],
  [
    'volume heal vms info split-brain',
    `cliOutput(healInfo(bricks(${'brick(name status numberOfEntriesInSplitBrain) '.repeat(3).trim()})) ${RESULT})`,
  ],
  [
    'volume heal vms statistics heal-count',
    `cliOutput(healInfo(bricks(${'brick(name numberOfEntries) '.repeat(3).trim()})) ${RESULT})`,
  ],
  ['volume bitrot vms enable', `cliOutput(${RESULT} cliOp output)`],
  [
    'volume bitrot vms scrub status',
    `cliOutput(${RESULT} volBitrot(volName state throttle frequency bricks(` +
      'brick(name scrubbedFiles scrubbedBytes uncheckedFiles unreadableFiles lastCompleted durationSeconds corruptedBlocks repairedBlocks tornBlocks damagedBlocks lostBlocks gfid) ' +
      'brick(name scrubbedFiles scrubbedBytes uncheckedFiles unreadableFiles lastCompleted durationSeconds corruptedBlocks repairedBlocks tornBlocks damagedBlocks lostBlocks) ' +
      'brick(name detail))))',
  ],
  ['system:: uuid get', `cliOutput(${RESULT} uuidGenerate(uuid))`],
  [
    'volume set help',
    `cliOutput(${RESULT} options(option(defaultValue description name) option(defaultValue description name)))`,
  ],
];

for (const [command, expected] of SHAPES) {
  test(`'${command} --xml' has the elements of GlusterFS`, async () => {
    const ran = await gluon(command, { form: 'xml', script: true });
    const document = readXml(ran.out);
    assert.equal(shape(document), expected);
    assert.deepEqual(
      [textAt(document, 'opRet'), textAt(document, 'opErrno'), textAt(document, 'opErrstr')],
      ['0', '0', ''],
    );
    assert.equal(ran.err, '');
  });
}

test('volume info as XML carries the numbers that GlusterFS gives to states and types', async () => {
  const document = readXml((await gluon('volume info vms', { form: 'xml' })).out);
  const at = (...path: string[]): string => textAt(document, 'volInfo', 'volumes', 'volume', ...path);
  assert.deepEqual(
    [at('status'), at('statusStr'), at('type'), at('typeStr'), at('transport')],
    ['1', 'Started', '2', 'Replicate', '0'],
  );
  assert.equal(at('bricks', 'brick'), 'server1:/bricks/b1/brick');
  assert.equal(textAt(document, 'volInfo', 'volumes', 'count'), '1');
});

test('volume status as XML tells bricks that are down with 0, N/A and -1', async () => {
  const down = status({ bricks: [brickStatus(2, { online: false, role: 'absent' })] });
  const { out } = await gluon('volume status vms', {
    form: 'xml',
    client: { volumeStatus: () => Promise.resolve(down) },
  });
  assert.match(out, /<status>0<\/status>/);
  const node = (...path: string[]): string => textAt(readXml(out), 'volStatus', 'volumes', 'volume', 'node', ...path);
  assert.deepEqual(
    [node('port'), node('ports', 'tcp'), node('pid'), node('copy', 'state')],
    ['N/A', 'N/A', '-1', 'absent'],
  );
});

test('the local node stands in pool list as localhost', async () => {
  const document = readXml((await gluon('pool list', { form: 'xml' })).out);
  assert.equal(textAt(document, 'peerStatus', 'peer', 'hostname'), 'localhost');
  assert.equal(document.children.find((child) => child.name === 'peerStatus')?.children.length, 3);
});

test('a failure is a document too, with status 1 and nothing on stderr', async () => {
  const ran = await gluon('volume info nope', { form: 'xml' });
  const document = readXml(ran.out);
  assert.deepEqual([ran.status, ran.err], [1, '']);
  assert.deepEqual([textAt(document, 'opRet'), textAt(document, 'opErrno')], ['-1', '2']);
  assert.match(textAt(document, 'opErrstr'), /^there is no volume 'nope'/);
});

test('odd bytes in names and messages leave XML well-formed', async () => {
  const bad = '<&">\u0000\u001b[2J\uffff\ud800';
  const ran = await gluon(['volume', 'start', bad], {
    form: 'xml',
    client: { volumeStart: () => Promise.reject(new RefusedError(bad)) },
  });
  assert.match(textAt(readXml(ran.out), 'opErrstr'), /^<&">\\x00\\x1b\[2J/);
});

async function json(command: string): Promise<unknown> {
  const ran = await gluon(command, { form: 'json', script: true });
  assert.equal(ran.err, '');
  return JSON.parse(ran.out);
}

test('JSON answers have one envelope', async () => {
  const ID = 'b7f4a3a1-7d0e-4b86-8f3c-1f6f0d6c1b3a';
  assert.deepEqual(await json('volume start vms'), {
    ok: true,
    command: 'volume start',
    result: { name: 'vms', id: ID, warnings: [] },
  });
  assert.deepEqual(await json('vol list'), { ok: true, command: 'volume list', result: { volumes: ['vms'] } });
  const failed = await gluon('volume info nope', { form: 'json' });
  assert.deepEqual(JSON.parse(failed.out), {
    ok: false,
    command: 'volume info',
    error: { message: "there is no volume 'nope'; 'gluon volume list' shows those of this pool", errno: 2 },
  });
});

test('volume status as JSON says which brick is primary and which are in sync', async () => {
  const { result } = (await json('volume status vms')) as {
    result: { volumes: { epoch: number; bricks: Record<string, unknown>[] }[] };
  };
  const [only] = result.volumes;
  assert.equal(only?.epoch, 7);
  assert.deepEqual(
    only.bricks.map((each) => [each['name'], each['state'], each['primary'], each['inSync'], each['port']]),
    [
      ['server1:/bricks/b1/brick', 'primary', true, true, 49152],
      ['server2:/bricks/b1/brick', 'in sync', false, true, 49152],
      ['server3:/bricks/b1/brick', 'absent', false, false, null],
    ],
  );
});

test('heal info as JSON has bytes, an estimate, and the exact bytes of odd names', async () => {
  const { result } = (await json('volume heal vms info')) as { result: { bricks: Record<string, unknown>[] } };
  const [first, second, third] = result.bricks;
  assert.deepEqual(first?.['files'], [
    { path: '/disk.img', gfid: 'd4d4d4d4-d4d4-d4d4-d4d4-d4d4d4d4d4d4' },
    { path: '/log\\x1b[2J', pathHex: Buffer.from('/log\x1b[2J').toString('hex'), gfid: '' },
    { path: null, gfid: 'e5e5e5e5-e5e5-e5e5-e5e5-e5e5e5e5e5e5' },
  ]);
  assert.deepEqual([second?.['bytesLeft'], second?.['bytesDone'], second?.['secondsLeft']], [3 << 20, 1 << 20, 200]);
  assert.deepEqual([third?.['entries'], third?.['connected']], [null, false]);
});
