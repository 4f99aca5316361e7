/**
 * A real gluond and a real brick process, over their sockets: HTTP/2 conversations recorded from a client and damaged, requests with odd contents, storms of
 * pings, settings and resets; over TLS by somebody without a certificate, over the unix socket by a root that means no good; frames of the brick protocol in
 * any portions. The processes live, keep their size, and the pool is as it was.
 */
import { readdirSync } from 'node:fs';
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { connect as connectPlain, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { credentials, type Client } from '@grpc/grpc-js';
import { clientConstructor, serviceDefinition } from '../../src/platform/proto.js';
import { SeededRandom } from '../sim/world.js';
import { Daemons, type Daemon } from '../support/daemons.js';
import { isAlive, residentMiB } from '../support/processes.js';
import { waitFor } from '../support/wait.js';
import { dumpTree } from './arena.js';
import { Mutator } from './mutate.js';
import type { Recording } from './recording.js';
import { describe, Watch, type Figures } from './watch.js';

const MEMORY_MIB_MAX = 200;
const SERVICE = 'gluon.management.v1.Management';
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const HEAD_BYTES = 9;
const ANSWER_MS = 10_000;
const SOCKET_MS = 1_500;
const AT_ONCE = 32;
/** Root may do these, and then they are done. */
const DESTRUCTIVE = new Set(['SystemStop', 'PeerProbe', 'PeerDetach', 'VolumeStart', 'VolumeStop', 'VolumeDelete', 'VolumeSet', 'VolumeReset', 'VolumeCreate']);
const QUIET = ['Ping', 'PeerList', 'VolumeInfo', 'VolumeList', 'VolumeStatus', 'VolumeGet', 'VolumeOptionHelp', 'VolumeHealInfo', 'GetState'];

type Door = 'root' | 'stranger';

export class DaemonAttack {
  readonly watch = new Watch('anybody → gluond and brick process', 500);
  readonly #random: SeededRandom;
  readonly #mutator: Mutator;
  readonly #frames: Buffer[];
  #daemons!: Daemons;
  #conversations: Buffer[][] = [];
  #bodies: Buffer[] = [];

  constructor(recording: Recording, seed: number) {
    this.#random = new SeededRandom(seed);
    this.#mutator = new Mutator(this.#random);
    this.#frames = [...recording.handshake, ...recording.clientToBrick, ...recording.primaryToMember];
  }

  async run(inputs: number): Promise<Figures> {
    const { watch } = this;
    this.#daemons = await Daemons.prepare(1);
    try {
      const daemon = this.#daemons.daemon(0);
      await daemon.start();
      await daemon.must('volume', 'create', 'fuzzed', `${daemon.address}:${daemon.brickPath('fuzzed')}`, 'force');
      await daemon.must('volume', 'start', 'fuzzed');
      await waitFor('the brick process', 20_000, () => daemon.brickPids().some((pid) => pid > 0 && isAlive(pid)));
      await this.#record(daemon);
      await this.#attack(daemon, inputs);
    } catch (error) {
      watch.violation(describe(error));
    } finally {
      await this.#daemons.close();
    }
    return watch.end();
  }

  async #attack(daemon: Daemon, inputs: number): Promise<void> {
    const { watch } = this;
    const pids = [daemon.process?.pid ?? 0, ...daemon.brickPids()];
    const before = pids.map(residentMiB);
    const pool = await daemon.must('volume', 'info');
    const tree = dumpTree(daemon.brickPath('fuzzed'), { times: false, skip: '/.gluon' }).join('\n');
    const works = [
      () => this.#damagedConversation(daemon, 'root'),
      () => this.#damagedConversation(daemon, 'stranger'),
      () => this.#oddRequests(daemon, 'root'),
      () => this.#oddRequests(daemon, 'stranger'),
      () => this.#storm(daemon, this.#random.chance(0.5) ? 'root' : 'stranger'),
      () => this.#brickFrames(daemon),
    ];
    while (watch.inputs < inputs && watch.violations.length === 0) {
      await Promise.all(Array.from({ length: AT_ONCE }, () => this.#random.pick(works)()));
      for (const [i, pid] of pids.entries()) {
        if (!isAlive(pid)) watch.violation(`process ${pid} ended: ${daemon.log()}`);
        else if (residentMiB(pid) > (before[i] as number) + MEMORY_MIB_MAX) watch.violation(`process ${pid} grew from ${before[i]} to ${residentMiB(pid)} MiB`);
      }
      watch.sampleMemory();
    }
    const begin = Date.now();
    if ((await daemon.must('volume', 'info')) !== pool) watch.violation('the pool is not as it was');
    if (Date.now() - begin > ANSWER_MS) watch.violation(`gluond answered after ${Date.now() - begin} ms`);
    if (dumpTree(daemon.brickPath('fuzzed'), { times: false, skip: '/.gluon' }).join('\n') !== tree) watch.violation('the volume is not as it was');
    if (daemon.brickPids().join() !== pids.slice(1).join()) watch.violation('the brick process is another one');
  }

  #socketOf(daemon: Daemon): string {
    return join(daemon.stateDirectory, 'gluond.sock');
  }

  /** A few calls of an ordinary client, through a relay that keeps what it says. */
  async #record(daemon: Daemon): Promise<void> {
    const path = join(this.#daemons.root, 'relay.sock');
    let said: Buffer[] = [];
    const relay = createServer((client) => {
      const server = connectPlain(this.#socketOf(daemon));
      client.on('data', (bytes: Buffer) => said.push(bytes));
      client.pipe(server).pipe(client);
      for (const end of [client, server]) end.on('error', () => undefined);
    });
    await new Promise<void>((resolve) => relay.listen(path, resolve));
    const Management = clientConstructor('management.proto', SERVICE);
    for (const method of QUIET) {
      said = [];
      const client = new Management(`unix:${path}`, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 }) as unknown as Client & Record<string, (request: object, done: () => void) => void>;
      await new Promise<void>((resolve) => client[method]?.({ name: 'fuzzed', key: 'all' }, resolve));
      client.close();
      const frames = framesOf(Buffer.concat(said));
      this.#conversations.push(frames);
      for (const frame of frames) if (frame[3] === 0 && frame.length > HEAD_BYTES) this.#bodies.push(frame.subarray(HEAD_BYTES));
    }
    relay.close();
    if (this.#bodies.length === 0) throw new Error('nothing was recorded');
  }

  #open(daemon: Daemon, door: Door): Socket {
    const socket = door === 'root' ? connectPlain(this.#socketOf(daemon)) : connectTls({ host: daemon.address, port: daemon.port, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
    socket.on('error', () => undefined);
    socket.resume();
    return socket;
  }

  /** Writes, and waits for the other end to close or for a while. */
  async #say(socket: Socket, parts: Buffer[]): Promise<void> {
    const closed = new Promise<boolean>((resolve) => socket.on('close', () => resolve(true)));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => (timer = setTimeout(() => resolve(false), 30 + this.#random.below(60))));
    for (const part of parts) {
      this.watch.input(part);
      socket.write(part);
    }
    if (await Promise.race([closed, late])) this.watch.refused++;
    clearTimeout(timer);
    socket.destroy();
  }

  #damagedConversation(daemon: Daemon, door: Door): Promise<void> {
    const random = this.#random;
    const frames = random.pick(this.#conversations).map((frame) => Buffer.from(frame));
    const changed: Buffer[] = [];
    for (const frame of frames) {
      const damaged = random.chance(0.4) ? damage(frame, random) : frame;
      for (let n = random.chance(0.05) ? random.below(20) : 1; n > 0; n--) changed.push(damaged);
    }
    if (random.chance(0.1)) changed.splice(random.below(changed.length), 1);
    return this.#say(this.#open(daemon, door), [...(random.chance(0.95) ? [PREFACE] : []), ...changed]);
  }

  /** Pings, settings, resets and window updates without end. */
  #storm(daemon: Daemon, door: Door): Promise<void> {
    const random = this.#random;
    const make = random.pick([
      () => http2Frame(6, 0, 0, Buffer.alloc(8)),
      () => http2Frame(4, 0, 0, Buffer.from([0, random.below(7), ...random.bytes(4)])),
      () => http2Frame(8, 0, random.below(5), Buffer.from([0x7f, 0xff, 0xff, 0xff])),
      () => http2Frame(3, 0, 1 + 2 * random.below(500), Buffer.from([0, 0, 0, 8])),
      () => http2Frame(9, 0, 1, Buffer.from(random.bytes(100))),
      () => http2Frame(2, 0, 1 + 2 * random.below(50), Buffer.from(random.bytes(5))),
      () => http2Frame(random.below(256), random.below(256), random.next() & 0x7fff_ffff, Buffer.from(random.bytes(random.below(300)))),
    ]);
    // A request that is taken back at once, many times.
    const headers = random.pick(this.#conversations).filter((frame) => frame[3] === 1);
    const rapid = random.chance(0.3) && headers.length > 0;
    const parts = Array.from({ length: 100 }, (_, i) => {
      if (!rapid) return make();
      const frame = Buffer.from(headers[0] as Buffer);
      frame.writeUInt32BE(1 + 2 * i, 5);
      const reset = http2Frame(3, 0, 1 + 2 * i, Buffer.from([0, 0, 0, 8]));
      return Buffer.concat([frame, reset]);
    });
    return this.#say(this.#open(daemon, door), [PREFACE, http2Frame(4, 0, 0, Buffer.alloc(0)), ...parts]);
  }

  /** Well-formed HTTP/2, and inside whatever. */
  async #oddRequests(daemon: Daemon, door: Door): Promise<void> {
    const random = this.#random;
    const { watch } = this;
    const session: ClientHttp2Session = connectHttp2('http://gluond', { createConnection: () => this.#open(daemon, door) });
    session.on('error', () => undefined);
    const methods = Object.keys(serviceDefinition('management.proto', SERVICE)).filter((name) => door === 'stranger' || !DESTRUCTIVE.has(name));
    const one = (): Promise<void> =>
      new Promise((resolve) => {
        const path = random.chance(0.85) ? `/${SERVICE}/${random.pick(methods)}` : random.pick(['/', '/gluon.peering.v1.Peering/Call', '/gluon.brick.v1.BrickControl/Attach', '/../../etc/passwd', `/${'x'.repeat(5000)}`]);
        const body = this.#body();
        watch.input(body, path);
        const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers', ...(random.chance(0.1) ? { 'grpc-encoding': random.pick(['gzip', 'x', 'identity']) } : {}), ...(random.chance(0.1) ? { 'grpc-timeout': random.pick(['0n', '99999999H', 'x']) } : {}) });
        const timer = setTimeout(() => stream.close(), SOCKET_MS);
        const status = (headers: Record<string, unknown>): void => {
          if (headers['grpc-status'] === undefined) return;
          if (headers['grpc-status'] !== '0') watch.refused++;
          else {
            watch.carriedOut++;
            const open = path.endsWith('/Ping') || path.endsWith('/WatchVolume') || path.endsWith('/Call');
            if (door === 'stranger' && !open) watch.violation(`a stranger was answered: ${path}`);
          }
        };
        stream.on('response', status);
        stream.on('trailers', status);
        stream.on('error', () => undefined);
        stream.on('close', () => {
          clearTimeout(timer);
          resolve();
        });
        stream.resume();
        if (path.endsWith('WatchVolume') || path.endsWith('Attach')) setTimeout(() => stream.close(), 100);
        if (random.chance(0.05)) stream.close();
        else stream.end(body);
      });
    await Promise.all(Array.from({ length: 20 }, one));
    session.destroy();
  }

  /** A gRPC message: recorded and damaged, or of lengths that lie. */
  #body(): Buffer {
    const random = this.#random;
    const body = Buffer.from(random.pick(this.#bodies));
    switch (random.below(7)) {
      case 0:
        return body;
      case 1:
        body.writeUInt32BE(random.pick([0, 1, 2 ** 31, 2 ** 32 - 1, 17 << 20]), 1);
        return body;
      case 2:
        body[0] = random.below(256);
        return body;
      case 3:
        return grpcMessage(Buffer.from(random.bytes(random.below(200))));
      case 4:
        return grpcMessage(Buffer.concat([Buffer.from([0x0a, 0x80 | random.below(128), random.below(128)]), Buffer.from(random.bytes(random.below(400)))]));
      case 5:
        return grpcMessage(Buffer.concat([Buffer.alloc(random.below(3000), 0x0b), body]));
      default: {
        const inner = Buffer.concat([body.subarray(5), Buffer.from([0x0a, 4, 0x2e, 0x2e, 0x2f, random.below(256)])]);
        for (let n = random.below(4); n > 0 && inner.length > 0; n--) inner[random.below(inner.length)] = random.below(256);
        return grpcMessage(inner);
      }
    }
  }

  /** Frames of the brick protocol, one after another in portions of any size. */
  #brickFrames(daemon: Daemon): Promise<void> {
    const random = this.#random;
    const sockets = [...brickSockets(daemon)];
    const socket = connectPlain(random.pick(sockets));
    socket.on('error', () => undefined);
    socket.resume();
    const frames = Array.from({ length: 1 + random.below(20) }, () => (random.chance(0.5) ? random.pick(this.#frames) : this.#mutator.bytes(random.pick(this.#frames), random.pick(this.#frames))));
    const all = Buffer.concat(frames);
    const parts: Buffer[] = [];
    for (let at = 0; at < all.length; ) {
      const length = 1 + random.below(random.pick([1, 10, 5000, 100_000]));
      parts.push(all.subarray(at, at + length));
      at += length;
      if (parts.length > 60) break;
    }
    return this.#say(socket, parts);
  }
}

function* brickSockets(daemon: Daemon): Generator<string> {
  const run = join(daemon.stateDirectory, 'run');
  for (const name of readdirSync(run)) if (name.endsWith('.sock')) yield join(run, name);
}

function grpcMessage(message: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function http2Frame(type: number, flags: number, stream: number, body: Buffer): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, body]);
}

/** The frames behind the preface. */
function framesOf(bytes: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = PREFACE.length; at + HEAD_BYTES <= bytes.length; ) {
    const end = at + HEAD_BYTES + bytes.readUIntBE(at, 3);
    frames.push(bytes.subarray(at, end));
    at = end;
  }
  return frames;
}

function damage(frame: Buffer, random: SeededRandom): Buffer {
  const copy = Buffer.from(frame);
  switch (random.below(7)) {
    case 0:
      copy[random.below(copy.length)] = random.below(256);
      return copy;
    case 1:
      copy.writeUIntBE(random.pick([0, 1, copy.length, 16_384, 16_385, 0xff_ffff]), 0, 3);
      return copy;
    case 2:
      copy[3] = random.below(12);
      return copy;
    case 3:
      copy[4] = random.below(256);
      return copy;
    case 4:
      copy.writeUInt32BE(random.pick([0, 1, 2, 3, 2 ** 31 - 1, 2 ** 32 - 1]), 5);
      return copy;
    case 5:
      return copy.subarray(0, random.below(copy.length));
    default:
      return Buffer.concat([copy, random.bytes(1 + random.below(50))]);
  }
}
