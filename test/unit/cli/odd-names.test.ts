/** Whatever bytes names, options and messages hold: no control byte reaches a terminal, XML stays well-formed, JSON stays JSON. */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { RefusedError, type ManagementClient } from '../../../src/cli/client.js';
import { brickStatus, gluon, heal, healBrick, peer, status, volume } from './fakes.js';
import { readXml } from './xml-check.js';

/** Ordinary text with everything that JavaScript strings can hold. */
const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom(
    '\x1b[2J',
    '</name>',
    ']]>',
    '&amp;',
    '\u0000',
    '\u009b31m',
    '\ud800',
    '\uffff',
    '\u202e',
    '\r\n',
    '\t',
    '-->',
    '%s',
  ),
);
/** A path, one character per byte. */
const path = fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString('latin1'));

const COMMANDS = [
  'peer status',
  'pool list',
  'volume info',
  'volume list',
  'volume status vms',
  'volume status vms detail',
  'volume status vms clients',
]
  .concat([
    'volume heal vms info',
    'volume heal vms info summary',
    'volume get vms all',
    'volume set help',
    'volume info nope',
  ])
  .concat(['system:: getwd', 'get-state', 'peer probe x', 'volume start vms']);

function oddClient(odd: string, file: string): Partial<ManagementClient> {
  const spec = { id: odd, host: odd, path: odd, node: odd };
  const disk = {
    fileSystem: odd,
    device: odd,
    mountOptions: odd,
    inodeSize: 0,
    bytesFree: 0,
    bytesTotal: 0,
    blockBytes: 0,
    inodesTotal: 0,
    inodesFree: 0,
  };
  const clients = [{ remote: odd, session: odd, bytesRead: 0, bytesWritten: 0, opens: 0, locks: 0 }];
  const peers = [peer(1, { id: odd, hostname: odd, otherNames: [odd], stateText: odd, address: odd, storeRole: odd })];
  const volumes = [volume({ id: odd, name: odd, bricks: [spec], options: [{ key: odd, value: odd }] })];
  const statuses = [status({ id: odd, name: odd, bricks: [brickStatus(0, { ...spec, disk, clients, detail: odd })] })];
  const entries = [{ path: file, gfid: odd }];
  return {
    peers: () => Promise.resolve(peers),
    volumes: (name) => (name === undefined ? Promise.resolve(volumes) : Promise.reject(new RefusedError(odd))),
    volumeNames: () => Promise.resolve([odd]),
    volumeStatus: () => Promise.resolve(statuses[0] ?? assert.fail()),
    healInfo: () => Promise.resolve(heal({ name: odd, bricks: [healBrick(0, { ...spec, entries, entryCount: 1 })] })),
    optionsGet: () => Promise.resolve([{ key: odd, value: odd }]),
    optionsHelp: () => Promise.resolve([{ key: odd, defaultValue: odd, description: odd, type: odd, values: [odd] }]),
    daemon: () => Promise.resolve({ id: odd, version: odd, stateDirectory: odd }),
    state: () => Promise.resolve({ id: odd, version: odd, peers, volumes, statuses }),
    peerProbe: () => Promise.resolve(odd),
    volumeStart: () => Promise.resolve({ id: odd, warnings: [odd] }),
  };
}

/** Everything that a terminal acts on, besides the ends of lines and the tabs of pool list. */
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e]/;

for (const command of COMMANDS) {
  test(`'${command}' is harmless whatever it shows`, async () => {
    const property = fc.asyncProperty(text, path, async (odd, file) => {
      const client = oddClient(odd, file);
      const plain = await gluon(command, { client });
      assert.doesNotMatch(plain.out + plain.err, CONTROL);
      const usual = await gluon(command, { client: oddClient('x', 'x') });
      // A line break inside a name would make a line that looks like gluon's own. Only the name column of the status wraps.
      if (command !== 'volume status vms') assert.equal(plain.out.split('\n').length, usual.out.split('\n').length);
      for (const report of plain.files.values()) assert.doesNotMatch(report, CONTROL);
      readXml((await gluon(command, { client, form: 'xml' })).out);
      const json = (await gluon(command, { client, form: 'json' })).out;
      assert.doesNotMatch(json, CONTROL);
      JSON.parse(json);
    });
    await fc.assert(property, { numRuns: 60 });
  });
}

test('words of the user are shown harmless too', async () => {
  const property = fc.asyncProperty(
    fc.constantFrom('volume start', 'peer probe', 'volume create', 'volume'),
    text,
    async (command, odd) => {
      for (const form of ['text', 'xml', 'json'] as const) {
        const ran = await gluon([...command.split(' '), odd], { form, script: true });
        assert.doesNotMatch(ran.out + ran.err, CONTROL);
        if (form === 'xml') readXml(ran.out);
        if (form === 'json') JSON.parse(ran.out);
      }
    },
  );
  await fc.assert(property, { numRuns: 200 });
});
