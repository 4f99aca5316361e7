import assert from 'node:assert/strict';
import test from 'node:test';
import { NoAnswerError } from '../../../src/cli/client.js';
import { COMMANDS } from '../../../src/cli/commands/table.js';
import { parseCommandLine } from '../../../src/cli/global-options.js';
import { match } from '../../../src/cli/grammar.js';
import { distance, nearest } from '../../../src/base/nearest.js';
import { splitWords } from '../../../src/cli/shell.js';
import { gluon } from './fakes.js';

const ABBREVIATIONS: [given: string, meant: string][] = [
  ['v i', 'volume info'],
  ['v l', 'volume list'],
  ['vol stat', 'volume status'],
  ['v sto vms', 'volume stop'],
  ['v star vms', 'volume start'],
  ['v c', 'volume create'],
  ['v d vms', 'volume delete'],
  ['v se', 'volume set'],
  ['v g', 'volume get'],
  ['v reset', 'volume reset'],
  ['v reset-b', 'volume reset-brick'],
  ['v rep', 'volume replace-brick'],
  ['v hea', 'volume heal'],
  ['pe s', 'peer status'],
  ['pe p', 'peer probe'],
  ['po l', 'pool list'],
  ['sys u g', 'system:: uuid get'],
  ['system getwd', 'system:: getwd'],
  ['h', 'help'],
  ['v add', 'volume add-brick'],
];

for (const [given, meant] of ABBREVIATIONS) {
  test(`'gluon ${given}' is 'gluon ${meant}'`, () => {
    assert.equal(match(COMMANDS, given.split(' ')).command.words.join(' '), meant);
  });
}

/** Words that are no command: status 1, what is wrong and the usage on stderr, nothing on stdout, nothing done. */
const WRONG: [given: string, complaint: RegExp][] = [
  ['frobnicate', /unrecognized word 'frobnicate'; 'gluon help' lists the commands/],
  ['volume', /'volume' needs another word[^]*Usage:\n {2}gluon volume create/],
  ['volume s', /ambiguous word 's' after 'volume': it could be start, stop, status, set/],
  ['volume rese', /ambiguous word 'rese' after 'volume': it could be reset-brick, reset/],
  ['p', /ambiguous word 'p': it could be peer, pool/],
  ['volume infoo', /unrecognized word 'infoo' after 'volume'; did you mean 'info'\?/],
  ['peer prob\x1b[2J', /unrecognized word 'prob\\x1b\[2J'/],
  ['peer probe', /the host name is missing\n\nUsage: gluon peer probe/],
  ['peer probe a b', /'b' is one word too many/],
  ['peer status now', /'now' is one word too many/],
  ['pool list x', /'x' is one word too many/],
  ['volume start', /the name of the volume is missing/],
  ['volume start vms now', /'now' is one word too many/],
  ['volume delete vms force', /'force' is one word too many/],
  ['volume info a b', /'b' is one word too many/],
  ['volume create', /the name of the volume is missing/],
  ['volume create v', /the bricks are missing/],
  ['volume create v replica', /the replica count is missing/],
  ['volume create v replica three h:/b', /the replica count is 'three' and must be a whole number/],
  ['volume create v replica 0 h:/b', /the replica count is 0/],
  ['volume create v h:b', /'h:b' is not a brick: write HOST:\/PATH with an absolute path/],
  ['volume create v /b', /'\/b' is not a brick/],
  ['volume create v h:/b force h:/c', /'force' is not a brick/],
  ['volume set vms', /the option is missing/],
  ['volume set vms key', /option 'key' has no value/],
  ['volume set vms a 1 b', /option 'b' has no value/],
  ['volume set vms group', /the group is missing/],
  ['volume get vms', /the option is missing/],
  ['volume reset', /the name of the volume is missing/],
  ['volume reset vms a b', /'b' is one word too many/],
  ['volume heal', /the name of the volume is missing/],
  ['volume heal vms now', /'now' is not something to do with heal; known: enable/],
  ['volume heal vms info all', /'all' is not a kind of heal information; known: summary, split-brain/],
  ['volume replace-brick vms a:/b c:/d', /the words 'commit force' are missing/],
  ['volume replace-brick vms a:/b c:/d commit', /the words 'commit force' are missing/],
  ['volume replace-brick vms a:/b', /the new brick is missing/],
  ['volume reset-brick vms a:/b', /'start', or the new brick, is missing/],
  ['volume reset-brick vms a:/b now', /'now' is not a brick/],
  ['volume reset-brick vms a:/b a:/b force', /the word 'commit' is missing/],
  ['volume status vms everything', /'everything' is not a kind of status/],
  ['volume status vms detail clients', /'clients' is one word too many/],
  ['get-state odir tmp', /'tmp' must be an absolute path/],
  ['get-state file a/b', /must be a name without '\/'/],
];

for (const [given, complaint] of WRONG) {
  test(`'gluon ${given.replace('\x1b', 'ESC')}' is refused with its usage`, async () => {
    const ran = await gluon(given);
    assert.deepEqual([ran.status, ran.out, ran.calls], [1, '', []]);
    assert.match(ran.err, complaint);
    assert.match(ran.err, /^gluon: /);
  });
}

/** Commands that set an option of the volume, and those that ask its bricks. */
const BITROT: [given: string, call: string][] = [
  ['volume bitrot vms enable', 'optionsSet vms [{"key":"features.bitrot","value":"on"}]'],
  ['volume bitrot vms disable', 'optionsSet vms [{"key":"features.bitrot","value":"off"}]'],
  ['volume bitrot vms scrub-throttle a', 'optionsSet vms [{"key":"features.scrub-throttle","value":"aggressive"}]'],
  ['volume bitrot vms scrub-frequency daily', 'optionsSet vms [{"key":"features.scrub-freq","value":"daily"}]'],
  ['volume bitrot vms scrub pause', 'optionsSet vms [{"key":"features.scrub","value":"pause"}]'],
  ['volume bitrot vms scrub resume', 'optionsSet vms [{"key":"features.scrub","value":"Active"}]'],
  ['volume bitrot vms scrub ondemand', 'scrub vms'],
];

for (const [given, call] of BITROT) {
  test(`'gluon ${given}' does what it says`, async () => {
    const ran = await gluon(given);
    assert.deepEqual([ran.status, ran.err, ran.calls], [0, '', [call]]);
  });
}

const BRICKS: [given: string, call: string, said: string][] = [
  [
    'volume replace-brick vms a:/b c:/d commit force',
    'replaceBrick vms {"host":"a","path":"/b"} {"host":"c","path":"/d"}',
    'volume replace-brick: success: replace-brick commit force operation successful',
  ],
  [
    'volume reset-brick vms a:/b start',
    'resetBrick vms {"host":"a","path":"/b"} undefined',
    'volume reset-brick: success: reset-brick start operation successful',
  ],
  [
    'volume reset-brick vms a:/b a:/b commit',
    'resetBrick vms {"host":"a","path":"/b"} {"target":{"host":"a","path":"/b"},"force":false}',
    'volume reset-brick: success: reset-brick commit operation successful',
  ],
  [
    'volume reset-brick vms a:/b a:/b commit force',
    'resetBrick vms {"host":"a","path":"/b"} {"target":{"host":"a","path":"/b"},"force":true}',
    'volume reset-brick: success: reset-brick commit force operation successful',
  ],
];

for (const [given, call, said] of BRICKS) {
  test(`'gluon ${given}' does what it says`, async () => {
    const ran = await gluon(given);
    assert.deepEqual([ran.status, ran.out, ran.calls], [0, `${said}\n`, [call]]);
    const xml = await gluon(given, { form: 'xml' });
    assert.match(xml.out, /<vol(Replace|Reset)Brick>\s*<volume>\s*<name>vms<\/name>/);
    const json = await gluon(given, { form: 'json' });
    assert.equal((JSON.parse(json.out) as { result: { name: string } }).result.name, 'vms');
  });
}

/** What GlusterFS has and gluon has not: status 1 and the reason. */
const UNSUPPORTED = [
  'volume add-brick vms h:/b',
  'volume remove-brick vms h:/b start',
  'volume rebalance vms start',
  'volume profile vms start',
  'volume quota vms enable',
  'volume bitrot vms signing-time 120',
  'volume geo-replication vms h::v start',
  'snapshot create s vms',
  'system:: uuid reset',
  'volume create v replica 3 arbiter 1 h:/a h:/b h:/c',
  'volume create v disperse 3 h:/a h:/b h:/c',
  'volume create v transport rdma h:/a',
  'volume status vms shd',
  'volume status vms mem',
  'volume heal vms disable',
  'volume heal vms split-brain latest-mtime /f',
  'volume heal vms statistics',
];

for (const command of UNSUPPORTED) {
  test(`'gluon ${command}' says why it is not supported`, async () => {
    const ran = await gluon(command);
    assert.deepEqual([ran.status, ran.out, ran.calls], [1, '', []]);
    assert.match(ran.err, /failed: .*not supported by gluon: \w/);
  });
}

/** What a command asks of gluond. */
const CALLS: [given: string, call: string][] = [
  ['peer probe server4', 'peerProbe server4 '],
  ['peer detach server4 force', 'peerDetach server4 true'],
  ['volume create v replica 3 transport tcp a:/b [::1]:/b fe80::1:/c:/d force', CREATE()],
  ['volume start vms force', 'volumeStart vms true'],
  ['volume stop vms', 'volumeStop vms false'],
  ['volume delete vms', 'volumeDelete vms'],
  ['volume set vms a 1 b 2', 'optionsSet vms [{"key":"a","value":"1"},{"key":"b","value":"2"}]'],
  ['volume set vms group virt', 'optionsSetGroup vms "virt"'],
  ['volume reset vms', 'optionsReset vms undefined false'],
  ['volume reset vms a force', 'optionsReset vms "a" true'],
  ['volume heal vms', 'heal vms false'],
  ['volume heal vms full', 'heal vms true'],
];

function CREATE(): string {
  const bricks = [
    { host: 'a', path: '/b' },
    { host: '::1', path: '/b' },
    { host: 'fe80::1', path: '/c:/d' },
  ];
  return `volumeCreate ${JSON.stringify({ name: 'v', replicaCount: 3, bricks, force: true })}`;
}

for (const [given, call] of CALLS) {
  test(`'gluon ${given}' asks for just that`, async () => {
    const ran = await gluon(given, { script: true });
    assert.deepEqual([ran.status, ran.calls], [0, [call]]);
  });
}

test('--wignore creates as with force', async () => {
  const ran = await gluon('volume create v h:/b', { ignoreWarnings: true });
  assert.match(ran.calls[0] ?? '', /"force":true/);
});

test('an empty value can be set', async () => {
  const ran = await gluon(['volume', 'set', 'vms', 'a', '']);
  assert.deepEqual(ran.calls, ['optionsSet vms [{"key":"a","value":""}]']);
});

test('a gluond that does not answer is a failure of the command with its name', async () => {
  const ran = await gluon('volume list', {
    client: { volumeNames: () => Promise.reject(new NoAnswerError('cannot reach gluond at /x', 107)) },
  });
  assert.deepEqual([ran.status, ran.out, ran.err], [1, '', 'volume list: failed: cannot reach gluond at /x\n']);
});

test('a fault of gluon itself is told as one', async () => {
  const ran = await gluon('volume list', { client: { volumeNames: () => Promise.reject(new TypeError('oops')) } });
  assert.equal(ran.status, 1);
  assert.match(ran.err, /^gluon: internal error: TypeError: oops\n/);
});

test('global options stand anywhere, and words with one dash are words', () => {
  const line = parseCommandLine(['volume', '--xml', 'set', 'vms', 'key', '-1', '--mode=script', '--timeout', '5'], '1');
  assert.ok(line.kind === 'command');
  assert.deepEqual(line.words, ['volume', 'set', 'vms', 'key', '-1']);
  assert.deepEqual([line.options.xml, line.options.mode, line.options.timeoutMs], [true, 'script', 5000]);
  const dashes = parseCommandLine(['volume', 'set', 'vms', 'key', '--', '--xml'], '1');
  assert.ok(dashes.kind === 'command');
  assert.deepEqual([dashes.words.at(-1), dashes.options.xml], ['--xml', false]);
});

const WRONG_OPTIONS: [given: string[], complaint: RegExp][] = [
  [['--mode=robot'], /mode.*script.*interactive/],
  [['--timeout=soon'], /timeout.*number of seconds/],
  [['--timeout=0'], /number of seconds/],
  [['--timeout'], /argument missing/],
  [['--frob'], /unknown option '--frob'/],
  [['--state-dir='], /must not be empty/],
  [['--log-level=LOUD'], /Known: TRACE/],
  [['--xml', '--json'], /exclude each other/],
];

for (const [given, complaint] of WRONG_OPTIONS) {
  test(`'gluon ${given.join(' ')}' is refused`, () => {
    const line = parseCommandLine([...given, ...(given.at(-1) === '--timeout' ? [] : ['volume', 'list'])], '1');
    assert.ok(line.kind === 'wrong');
    assert.match(line.message, complaint);
  });
}

test('--version and --help are answered without a command', () => {
  assert.deepEqual(parseCommandLine(['--version'], '1.2'), { kind: 'told', lines: ['gluon 1.2'] });
  const help = parseCommandLine(['volume', '--help'], '1.2');
  assert.ok(help.kind === 'told' && help.lines[0]?.startsWith('Usage: gluon'));
});

test('the nearest word is the one with the fewest edits, and none when all are far', () => {
  assert.equal(distance('kitten', 'sitting'), 3);
  assert.equal(distance('lsit', 'list'), 1);
  assert.equal(nearest('crate', ['create', 'delete']), 'create');
  assert.equal(nearest('xyzzy', ['create', 'delete']), undefined);
});

test('words of the interactive prompt are divided as in a shell', () => {
  assert.deepEqual(splitWords(`  volume set vms  a "b c" d'e f'g \\  ''`), [
    'volume',
    'set',
    'vms',
    'a',
    'b c',
    'de fg',
    ' ',
    '',
  ]);
  assert.throws(() => splitWords('volume "x'), /quote " is not closed/);
});
