/**
 * Sends what no honest program sends to one TCP port or unix socket, and tells what came of it. Usage: intruder.js HOST PORT | intruder.js PATH.
 * Prints one JSON object: the name of each attack → 'closed' when the other end ended the connection, 'open' when it did not within the bound.
 */
import { connect, type Socket } from 'node:net';

const BOUND_MS = Number(process.env['INTRUDER_MS'] ?? 15_000);

/** A frame of the brick protocol: u32le bytes that follow, u32le header bytes, header, payload. */
function frame(header: Buffer, payload: Buffer = Buffer.alloc(0), lies: { length?: number; header?: number } = {}): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(lies.length ?? 4 + header.length + payload.length, 0);
  head.writeUInt32LE(lies.header ?? header.length, 4);
  return Buffer.concat([head, header, payload]);
}

function nested(depth: number): Buffer {
  return Buffer.concat([Buffer.alloc(depth, 0x91), Buffer.from([0xc0])]);
}

function noise(size: number): Buffer {
  const out = Buffer.alloc(size);
  let x = 12_345;
  for (let i = 0; i < size; i++) out[i] = (x = (Math.imul(x, 1_103_515_245) + 12_345) >>> 0) >>> 16;
  return out;
}

const array32 = Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff, 1]);
const bin32 = Buffer.from([0x92, 0x01, 0xc6, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
const proto = Buffer.concat([Buffer.from([0x81, 0xa9]), Buffer.from('__proto__'), Buffer.from([0x81, 0xa1, 0x61, 0x01])]);

export const ATTACKS: Record<string, Buffer[]> = {
  noise: [noise(100_000)],
  'nothing but zeros': [Buffer.alloc(100_000)],
  'length 0': [frame(Buffer.alloc(0), Buffer.alloc(0), { length: 0 }), Buffer.alloc(64)],
  'length 2^32 - 1': [frame(Buffer.from([0x90]), noise(1000), { length: 0xffff_ffff })],
  'length 2^31': [frame(Buffer.from([0x90]), noise(1000), { length: 0x8000_0000 })],
  'header longer than the frame': [frame(Buffer.from([0x91, 0x01]), Buffer.alloc(10), { header: 1000 })],
  'header of 2^32 - 1': [frame(Buffer.from([0x91, 0x01]), Buffer.alloc(10), { header: 0xffff_ffff })],
  'no message': [frame(Buffer.from([0x90]))],
  'unknown message': [frame(Buffer.from([0x91, 0xcd, 0x7f, 0xff]))],
  'msgpack cut off': [frame(Buffer.from([0x9f, 0x01, 0xd9]))],
  'msgpack array of 2^32 - 1': [frame(array32)],
  'msgpack binary of 2^32 - 1': [frame(bin32)],
  'msgpack nested 100,000 deep': [frame(nested(100_000))],
  'msgpack with __proto__': [frame(proto)],
  'msgpack extension': [frame(Buffer.from([0xd4, 0x7f, 0x00]))],
  'a request before the handshake': [frame(Buffer.from([0x95, 0x0a, 0x01, 0x01, 0x00, 0x00]))],
  'a hello with wrong types': [frame(Buffer.from([0x96, 0x01, 0xa1, 0x78, 0xc0, 0x05, 0xc2, 0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]))],
  'an HTTP request': [Buffer.from('GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n')],
  'HTTP/2 preface, then noise': [Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), noise(100_000)],
  'HTTP/2 settings of 2^24 - 1': [Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.from([0xff, 0xff, 0xff, 4, 0, 0, 0, 0, 0]), noise(100_000)],
  'a TLS hello': [Buffer.from('16030100c8010000c40303', 'hex'), noise(200)],
  'a frame that never ends': [frame(Buffer.from([0x91]), noise(500_000), { length: 1_000_000 })],
  'one byte': [Buffer.from([0x10])],
};

const GOAWAY = 7;

/** An HTTP/2 server may say goodbye and leave closing to the caller. */
function saysGoodbye(received: Buffer): boolean {
  for (let at = 0; at + 9 <= received.length; at += 9 + received.readUIntBE(at, 3)) if (received[at + 3] === GOAWAY) return true;
  return false;
}

function attack(parts: Buffer[]): Promise<string> {
  return new Promise((resolve) => {
    const [first = '', second] = process.argv.slice(2);
    const socket: Socket = second === undefined ? connect(first) : connect(Number(second), first);
    const done = (outcome: string): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(outcome);
    };
    const timer = setTimeout(() => done('open'), BOUND_MS);
    socket.on('connect', () => parts.forEach((part) => socket.write(part)));
    let received = Buffer.alloc(0);
    socket.on('data', (data: Buffer) => {
      received = Buffer.concat([received, data]).subarray(0, 4096);
      if (saysGoodbye(received)) done('closed');
    });
    socket.on('end', () => done('closed'));
    socket.on('error', () => done('closed'));
    socket.on('close', () => done('closed'));
  });
}

/** Many at once, each with half of a frame as large as it may claim: memory must not follow the claims. */
async function crowd(): Promise<void> {
  const half = frame(Buffer.from([0x91]), noise(400_000), { length: 1_200_000 });
  await Promise.all(Array.from({ length: 64 }, () => attack([half])));
}

const outcome: Record<string, string> = {};
await Promise.all(Object.entries(ATTACKS).map(async ([name, parts]) => (outcome[name] = await attack(parts))));
await crowd();
process.stdout.write(`${JSON.stringify(outcome)}\n`);
