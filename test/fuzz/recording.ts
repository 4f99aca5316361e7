/** Real frames, recorded from conversations between a client and three bricks in this process, with a brick that is lost and made equal again. */
import type { Address, Channel, Network } from '../../src/env/channel.js';
import { ROOT_GFID } from '../../src/base/ids.js';
import { XATTR_CREATE } from '../../src/fops/ops.js';
import { TcpNetwork } from '../../src/platform/tcp.js';
import { encodeFrame } from '../../src/wire/codec.js';
import type { Message } from '../../src/wire/messages.js';
import { BrickSet } from '../support/brick-set.js';
import { waitFor } from '../support/wait.js';

export interface Recording {
  /** To a brick, from a client. */
  clientToBrick: Buffer[];
  brickToClient: Buffer[];
  /** To a brick, from the primary; the handshake is in `handshake`. */
  primaryToMember: Buffer[];
  memberToPrimary: Buffer[];
  handshake: Buffer[];
}

/** Frames kept of one message kind and operation. */
const KEPT_PER_KIND = 24;
const HANDSHAKE = new Set(['hello', 'challenge', 'prove', 'welcome', 'refused']);

class RecordingChannel implements Channel<Message> {
  onMessage: (message: Message) => void = () => undefined;
  onClose: (reason: string) => void = () => undefined;

  constructor(
    readonly inner: Channel<Message>,
    readonly record: (message: Message, sent: boolean) => void,
  ) {
    inner.onMessage = (message) => {
      record(message, false);
      this.onMessage(message);
    };
    inner.onClose = (reason) => this.onClose(reason);
  }

  get remote(): string {
    return this.inner.remote;
  }

  get closed(): boolean {
    return this.inner.closed;
  }

  get queuedBytes(): number {
    return this.inner.queuedBytes;
  }

  send(message: Message): void {
    this.record(message, true);
    this.inner.send(message);
  }

  close(reason: string): void {
    this.inner.close(reason);
  }

  trust(): void {
    this.inner.trust?.();
  }
}

/** Records at the calling side: it sees both directions. */
class RecordingNetwork implements Network<Message> {
  readonly #inner = new TcpNetwork();
  readonly #counts = new Map<string, number>();
  readonly recording: Recording = { clientToBrick: [], brickToClient: [], primaryToMember: [], memberToPrimary: [], handshake: [] };

  async connect(address: Address, timeoutMs: number): Promise<Channel<Message>> {
    const inner = await this.#inner.connect(address, timeoutMs);
    let role = 'client';
    return new RecordingChannel(inner, (message, sent) => {
      if (message.kind === 'hello') role = message.role;
      this.#record(message, role, sent);
    });
  }

  listen(address: Address, accept: (channel: Channel<Message>) => void) {
    return this.#inner.listen(address, accept);
  }

  #record(message: Message, role: string, sent: boolean): void {
    const key = `${role} ${message.kind} ${'op' in message ? message.op : ''} ${sent}`;
    const count = this.#counts.get(key) ?? 0;
    if (count >= KEPT_PER_KIND) return;
    this.#counts.set(key, count + 1);
    const { recording } = this;
    const into = HANDSHAKE.has(message.kind)
      ? recording.handshake
      : role === 'client'
        ? sent
          ? recording.clientToBrick
          : recording.brickToClient
        : sent
          ? recording.primaryToMember
          : recording.memberToPrimary;
    into.push(Buffer.from(encodeFrame(message)));
  }

  /** Kinds of messages that were seen. */
  get kinds(): number {
    return this.#counts.size;
  }
}

async function converse(set: BrickSet): Promise<void> {
  const client = set.client();
  const { fops } = client;
  const owner = { uid: 1000, gid: 1000 };
  const parent = ROOT_GFID;
  const make = async (name: string): Promise<string> => (await fops.create({ parent, name, mode: 0o644, exclusive: true, truncate: false, ...owner })).attr.gfid;
  const one = await make('one');
  const two = await make('two');
  const directory = (await fops.mkdir({ parent, name: 'directory', mode: 0o755, ...owner })).attr.gfid;
  const data = (bytes: number): Buffer => Buffer.alloc(bytes, 'gluon');
  for (const bytes of [1, 100, 4096, 70_000]) await fops.write({ gfid: one, offset: bytes, append: false, sync: false, killPriv: false, data: data(bytes) });
  await fops.write({ gfid: one, offset: 0, append: true, sync: true, killPriv: true, data: data(10) });
  const link = (await fops.symlink({ parent, name: 'link', target: '../canary/secret', ...owner })).attr.gfid;
  for (const [name, mode, rdev] of [['fifo', 0o010644, 0], ['device', 0o060600, 0x800], ['null', 0o020666, 0x103], ['socket', 0o140755, 0]] as const) {
    await fops.mknod({ parent: directory, name, mode, rdev, ...owner });
  }
  await fops.setattr({ gfid: one, mode: 0o600, uid: 5, gid: 6, size: 50_000, atime: { sec: 5, nsec: 6 }, atimeNow: false, mtimeNow: true, killPriv: false });
  await fops.link({ gfid: one, newParent: directory, newName: 'second' });
  await fops.rename({ parent, name: 'two', newParent: directory, newName: 'three', flags: 0 });
  await fops.open({ gfid: one, truncate: false, killPriv: false });
  await fops.setxattr({ gfid: one, name: 'user.x', value: data(20), flags: XATTR_CREATE });
  await fops.setxattr({ gfid: one, name: 'user.y', value: data(2000), flags: 0 });
  await fops.getxattr({ gfid: one, name: 'user.x' });
  await fops.listxattr({ gfid: one });
  await fops.removexattr({ gfid: one, name: 'user.y' });
  await fops.fallocate({ gfid: two, offset: 0, length: 100_000, mode: 0 });
  await fops.copyFileRange({ source: one, sourceOffset: 0, target: two, targetOffset: 4096, length: 8192 });
  await fops.lseek({ gfid: two, offset: 0, whence: 3 });
  await fops.tmpfile({ parent, mode: 0o600, ...owner });
  const lock = { gfid: one, owner: 'owner', kind: 0, start: 0, end: 100 };
  await fops.setLock({ ...lock, type: 1, pid: 42, wait: false });
  await fops.getLock({ ...lock, type: 1 });
  await fops.cancelLock({ gfid: one, owner: 'owner' });
  await fops.setLock({ ...lock, type: 2, pid: 42, wait: false });
  await fops.setLock({ ...lock, kind: 1, type: 0, pid: 42, wait: true });
  await fops.fsync({ gfid: one, dataOnly: false });
  for (let i = 0; i < 4; i++) {
    await fops.lookup({ parent: directory, name: 'fifo' });
    await fops.lookup({ parent, name: `absent${i}` }).catch(() => undefined);
    await fops.getattr({ gfid: directory });
    await fops.readdir({ gfid: directory, after: '', limit: 100, attributes: i % 2 === 0 });
    await fops.read({ gfid: one, offset: 0, size: 4096 });
    await fops.readlink({ gfid: link });
    await fops.statfs({});
  }
  await fops.dropLocks({ gfid: one, owner: 'owner', kind: 1 });
  await fops.release({ gfid: one });
  await fops.unlink({ parent: directory, name: 'second' });
  await fops.rmdir({ parent: (await fops.mkdir({ parent, name: 'gone', mode: 0o700, ...owner })).attr.gfid, name: 'x' }).catch(() => undefined);
  await fops.rmdir({ parent, name: 'gone' });
  // Another client changes what this one has under a lease: recalls.
  const other = set.client();
  await fops.getattr({ gfid: one });
  await other.fops.setattr({ gfid: one, mode: 0o640, atimeNow: false, mtimeNow: false, killPriv: false });
  set.forget(other);
  await loseAndReturn(set, client, { parent, ...owner });
  set.forget(client);
}

/** A member is lost, much changes, it returns and is made equal; then the primary is lost. */
async function loseAndReturn(set: BrickSet, client: ReturnType<BrickSet['client']>, where: { parent: string; uid: number; gid: number }): Promise<void> {
  const { fops } = client;
  const inSync = (count: number): Promise<unknown> => waitFor(`${count} bricks to be in sync`, 20_000, () => set.view.inSync.length === count);
  const member = set.view.inSync.find((brick) => brick !== set.view.primary) as string;
  await set.stopBrick(member);
  await inSync(2);
  for (let i = 0; i < 5; i++) {
    const { gfid } = (await fops.create({ ...where, name: `later${i}`, mode: 0o644, exclusive: true, truncate: false })).attr;
    await fops.write({ gfid, offset: 0, append: false, sync: false, killPriv: false, data: Buffer.alloc(200_000, i) });
    await fops.fallocate({ gfid, offset: 65_536, length: 65_536, mode: 3 });
  }
  await fops.symlink({ ...where, name: 'later-link', target: 'later1' });
  await fops.mkdir({ ...where, name: 'later-directory', mode: 0o755 });
  await fops.unlink({ parent: where.parent, name: 'link' });
  await set.startBrick(member);
  await inSync(3);
  await set.replica(set.view.primary)?.checkpoint();
  const primary = set.view.primary;
  const { gfid } = (await fops.lookup({ parent: where.parent, name: 'later1' })).attr;
  for (const start of [0, 100, 200]) await fops.setLock({ gfid, owner: 'owner', kind: 0, type: 1, start, end: start + 10, pid: 42, wait: false });
  await fops.open({ gfid, truncate: false, killPriv: false });
  await set.stopBrick(primary);
  await waitFor('another primary', 10_000, () => set.view.primary !== primary);
  await fops.getattr({ gfid: where.parent });
  await set.startBrick(primary);
  await inSync(3);
}

export async function record(): Promise<{ recording: Recording; kinds: number }> {
  const network = new RecordingNetwork();
  const set = await BrickSet.start(3, undefined, undefined, network);
  try {
    await converse(set);
  } finally {
    await set.close();
  }
  return { recording: network.recording, kinds: network.kinds };
}
