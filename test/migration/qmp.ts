/** QEMU's machine protocol over its unix socket: one command at a time, events with QEMU's own time stamps. */
import { connect, type Socket } from 'node:net';
import { sleep, waitFor, within } from '../support/wait.js';

const COMMAND_MS = 30_000;

export interface QmpEvent {
  event: string;
  data: Record<string, unknown>;
  /** Of the machine's real-time clock. */
  atMs: number;
}

interface Message {
  QMP?: unknown;
  event?: string;
  data?: Record<string, unknown>;
  timestamp?: { seconds: number; microseconds: number };
  return?: unknown;
  error?: { class: string; desc: string };
}

export class QmpError extends Error {}

export class Qmp {
  readonly events: QmpEvent[] = [];
  private text = '';
  private waiting: ((message: Message) => void) | undefined;
  private closed = false;

  private constructor(private readonly socket: Socket) {
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => this.take(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
      this.waiting?.({ error: { class: 'Closed', desc: 'QEMU closed the connection' } });
    });
  }

  /** `isAlive` ends the waiting early: a QEMU that refused its arguments never listens. */
  static async connect(path: string, boundMs: number, isAlive: () => boolean): Promise<Qmp> {
    const end = performance.now() + boundMs;
    for (;;) {
      const socket = await new Promise<Socket | undefined>((resolve) => {
        const attempt = connect(path, () => resolve(attempt));
        attempt.once('error', () => resolve(undefined));
      });
      if (socket !== undefined) {
        const qmp = new Qmp(socket);
        await qmp.run('qmp_capabilities');
        return qmp;
      }
      if (!isAlive()) throw new QmpError('QEMU ended before it listened');
      if (performance.now() > end) throw new QmpError(`QEMU did not listen within ${boundMs} ms`);
      await sleep(20);
    }
  }

  get isOpen(): boolean {
    return !this.closed;
  }

  async run<T = unknown>(execute: string, words: Record<string, unknown> = {}): Promise<T> {
    if (this.closed) throw new QmpError(`${execute}: QEMU is gone`);
    if (this.waiting !== undefined) throw new QmpError(`${execute}: another command is under way`);
    const answer = new Promise<Message>((resolve) => {
      this.waiting = resolve;
    });
    this.socket.write(`${JSON.stringify({ execute, arguments: words })}\n`);
    const message = await within(`QEMU to answer ${execute}`, COMMAND_MS, answer).finally(() => {
      this.waiting = undefined;
    });
    if (message.error !== undefined) throw new QmpError(`${execute}: ${message.error.desc}`);
    return message.return as T;
  }

  /** The first event of this name from the given place in `events` on. */
  event(name: string, from: number, boundMs: number): Promise<QmpEvent> {
    return waitFor(`QEMU's event ${name}`, boundMs, () => this.events.slice(from).find(({ event }) => event === name), 5);
  }

  close(): void {
    this.socket.destroy();
  }

  private take(chunk: string): void {
    this.text += chunk;
    for (let end = this.text.indexOf('\n'); end >= 0; end = this.text.indexOf('\n')) {
      const line = this.text.slice(0, end).trim();
      this.text = this.text.slice(end + 1);
      if (line !== '') this.message(JSON.parse(line) as Message);
    }
  }

  private message(message: Message): void {
    const { event, data = {}, timestamp } = message;
    if (event !== undefined) {
      const { seconds = 0, microseconds = 0 } = timestamp ?? {};
      this.events.push({ event, data, atMs: seconds * 1000 + microseconds / 1000 });
    } else if (message.QMP === undefined) this.waiting?.(message);
  }
}
