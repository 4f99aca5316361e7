/** Names, links, special files and xattrs that made other file systems touch what is not theirs. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Errno } from '../../src/base/errno.js';
import { ROOT_GFID } from '../../src/base/ids.js';
import { OP_NAMES, OPS } from '../../src/fops/ops.js';
import { encodeFrame } from '../../src/wire/codec.js';

import { PEER_OPS } from '../../src/wire/peer-ops.js';
import { fixedMessages } from '../unit/wire/samples.js';
import { Arena } from './arena.js';
import { Honest } from './brick-clients.js';
import { LoneBrick, SELF } from './lone-brick.js';
import { putTogether, takeApart } from './mutate.js';
import { turn, within } from './watch.js';

const BAD_NAMES = ['.', '..', '/', 'a/b', '../x', '/etc/passwd', 'a\0', '\0', 'x'.repeat(256), '\u00ff'.repeat(256)];
const ODD_NAMES = ['%2e%2e', '\u00c0\u00af', '\u00c0\u00ae\u00c0\u00ae', '\x01\x1b[31m', 'new\nline', '%s%n', '-rf', '\u00ff'.repeat(255), ' ', '...'];
const OWNER = { uid: 0, gid: 0 };
const ANSWER_MS = 5_000;
const EPOCH = 1;

let arena: Arena;
let brick: LoneBrick;
let honest: Honest;

before(() => {
  arena = new Arena(1);
  brick = new LoneBrick(arena.brick(0), { epoch: EPOCH, primary: SELF, inSync: [SELF], catchingUp: [] });
  arena.layTraps();
  honest = new Honest((onMessage) => brick.connect('client', 'a'.repeat(32), onMessage));
});

after(async () => {
  await brick.close();
  arena.close();
});

async function ask(op: string, args: object): Promise<{ errno: number; result: Record<string, unknown> }> {
  let answer: { errno: number; result: Record<string, unknown> } | undefined;
  const asked = honest.ask(op, args, EPOCH).then((got) => (answer = got));
  assert.ok(await within(ANSWER_MS, asked), `${op} ${JSON.stringify(args)} is answered`);
  return answer as never;
}

const gfidOf = ({ errno, result }: { errno: number; result: Record<string, unknown> }): string => {
  assert.equal(errno, 0);
  return (result['attr'] as { gfid: string }).gfid;
};

test('no name field of any message lets a path, a dot, NUL or 256 bytes through', () => {
  const sampleName = 'na\u00efve\n';
  let fields = 0;
  for (const { label, message } of fixedMessages()) {
    if (message.kind !== 'request' && message.kind !== 'replicate' && message.kind !== 'call') continue;
    const parts = takeApart(encodeFrame(message));
    for (const [at, item] of parts.items.entries()) {
      if (item !== sampleName) continue;
      fields++;
      for (const bad of [...BAD_NAMES, '']) {
        const items = [...parts.items];
        items[at] = bad;
        const channel = brick.connect('client', 'b'.repeat(32), () => undefined);
        channel.deliver(putTogether({ items, payload: parts.payload }));
        assert.match(channel.reason, /not a valid name/, `${label}, item ${at}: ${JSON.stringify(bad)}`);
      }
    }
  }
  const named = [...OP_NAMES.map((op) => OPS[op].args), ...Object.values(PEER_OPS).map((op) => op.args)].flatMap((args) => Object.values(args) as { label: string }[]);
  assert.ok(fields >= named.filter(({ label }) => label === 'name').length, `every name field was tried: ${fields}`);
});

test('odd names are names: stored byte for byte, and removed', async () => {
  for (const name of ODD_NAMES) {
    assert.equal((await ask('create', { parent: ROOT_GFID, name, mode: 0o600, exclusive: true, truncate: false, ...OWNER })).errno, 0, JSON.stringify(name));
    assert.ok(arena.tree(0).some((line) => line.startsWith(`/${name} `)), JSON.stringify(name));
    assert.equal((await ask('unlink', { parent: ROOT_GFID, name })).errno, 0);
  }
});

test('the private directory and what others put into the tree do not exist for clients', async () => {
  for (const name of ['.gluon', 'trap', 'trap-absolute']) assert.equal((await ask('lookup', { parent: ROOT_GFID, name })).errno, Errno.ENOENT, name);
  assert.notEqual((await ask('mkdir', { parent: ROOT_GFID, name: '.gluon', mode: 0o755, ...OWNER })).errno, 0);
  assert.notEqual((await ask('rename', { parent: ROOT_GFID, name: '.gluon', newParent: ROOT_GFID, newName: 'x', flags: 0 })).errno, 0);
  // A name that a planted link has: the link is put away and not followed.
  const gfid = gfidOf(await ask('create', { parent: ROOT_GFID, name: 'trap-absolute', mode: 0o600, exclusive: false, truncate: true, ...OWNER }));
  assert.equal((await ask('write', { gfid, offset: 0, append: false, sync: true, killPriv: false, data: Buffer.from('mine') })).errno, 0);
  assert.deepEqual(arena.escaped(), []);
});

test('magic xattrs are refused, invisible, and do nothing', async () => {
  const gfid = gfidOf(await ask('create', { parent: ROOT_GFID, name: 'magic', mode: 0o600, exclusive: true, truncate: false, ...OWNER }));
  const before = arena.tree(0);
  for (const name of ['trusted.gluon.gfid', 'trusted.gluon.volume', 'trusted.gluon.', 'system.nfs4_acl', 'system.', 'glusterfs.pathinfo', 'io-stats-dump', 'trusted.', 'user.', 'nothing', '../x', '/etc/passwd']) {
    for (const inode of [gfid, ROOT_GFID]) {
      assert.notEqual((await ask('setxattr', { gfid: inode, name, value: Buffer.from('/tmp/x'), flags: 0 })).errno, 0, `set ${name}`);
      assert.notEqual((await ask('getxattr', { gfid: inode, name })).errno, 0, `get ${name}`);
      assert.notEqual((await ask('removexattr', { gfid: inode, name })).errno, 0, `remove ${name}`);
      assert.deepEqual((await ask('listxattr', { gfid: inode })).result['names'], [], `list after ${name}`);
    }
  }
  assert.deepEqual(arena.tree(0), before);
});

test('devices, FIFOs and sockets are never opened on the brick: every operation is answered', async () => {
  const types = [['fifo', 0o010666, 0], ['disk', 0o060666, 0x800], ['zero', 0o020666, 0x105], ['kmsg', 0o020666, 0x10b], ['socket', 0o140666, 0]] as const;
  for (const [name, mode, rdev] of types) {
    const gfid = gfidOf(await ask('mknod', { parent: ROOT_GFID, name, mode, rdev, ...OWNER }));
    await ask('open', { gfid, truncate: false, killPriv: false });
    const data = Buffer.from('x');
    const refused = [
      await ask('read', { gfid, offset: 0, size: 10 }),
      await ask('write', { gfid, offset: 0, append: false, sync: false, killPriv: false, data }),
      await ask('open', { gfid, truncate: true, killPriv: false }),
      await ask('fallocate', { gfid, offset: 0, length: 10, mode: 0 }),
      await ask('lseek', { gfid, offset: 0, whence: 3 }),
      await ask('setattr', { gfid, size: 0, atimeNow: false, mtimeNow: false, killPriv: false }),
      await ask('copyFileRange', { source: gfid, sourceOffset: 0, target: gfid, targetOffset: 0, length: 10 }),
    ];
    for (const [index, { errno }] of refused.entries()) assert.notEqual(errno, 0, `${name}, operation ${index}`);
    for (const answer of [await ask('fsync', { gfid, dataOnly: false }), await ask('setattr', { gfid, mode: 0o600, uid: 1, atimeNow: false, mtimeNow: true, killPriv: false }), await ask('getattr', { gfid })]) assert.equal(answer.errno, 0, name);
    assert.equal((await ask('unlink', { parent: ROOT_GFID, name })).errno, 0);
  }
});

test('a symbolic link is data: nothing is done to what it names', async () => {
  for (const [index, target] of ['/etc/passwd', '../canary/secret', '../canary', `${arena.canary}/secret`, '.gluon/brick.json'].entries()) {
    const gfid = gfidOf(await ask('symlink', { parent: ROOT_GFID, name: `link${index}`, target, ...OWNER }));
    for (const [op, args] of Object.entries({
      open: { truncate: true, killPriv: true }, read: { offset: 0, size: 100 }, write: { offset: 0, append: true, sync: false, killPriv: true, data: Buffer.from('x') },
      fallocate: { offset: 0, length: 4096, mode: 0 }, lseek: { offset: 0, whence: 3 }, readdir: { after: '', limit: 10, attributes: true },
    })) assert.notEqual((await ask(op, { gfid, ...args })).errno, 0, `${op} through ${target}`);
    for (const change of [{ uid: 4242, gid: 4242 }, { mode: 0o777 }, { size: 0 }, { atimeNow: true, mtimeNow: true }]) await ask('setattr', { gfid, atimeNow: false, mtimeNow: false, killPriv: true, ...change });
    await ask('setxattr', { gfid, name: 'user.x', value: Buffer.from('x'), flags: 0 });
    await ask('setxattr', { gfid, name: 'trusted.x', value: Buffer.from('x'), flags: 0 });
    await ask('link', { gfid, newParent: ROOT_GFID, newName: `second${index}` });
    await ask('create', { parent: gfid, name: 'inside', mode: 0o600, exclusive: false, truncate: true, ...OWNER });
    await ask('create', { parent: ROOT_GFID, name: `link${index}`, mode: 0o600, exclusive: false, truncate: true, ...OWNER });
    await ask('rename', { parent: gfid, name: 'secret', newParent: ROOT_GFID, newName: 'stolen', flags: 0 });
    await ask('unlink', { parent: gfid, name: 'secret' });
    await ask('fsync', { gfid, dataOnly: false });
  }
  brick.flush();
  await turn();
  assert.deepEqual(arena.escaped(), []);
});
