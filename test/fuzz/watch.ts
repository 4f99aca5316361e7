/** Counts what was thrown and what came of it, and keeps everything that must not happen. */

const MIB = 1 << 20;

export interface Figures {
  target: string;
  inputs: number;
  /** Not taken: the connection was closed, or the answer was a refusal. */
  refused: number;
  /** Answered as done. */
  carriedOut: number;
  memoryMiB: number;
  seconds: number;
}

export class Watch {
  readonly target: string;
  readonly violations: string[] = [];
  inputs = 0;
  refused = 0;
  carriedOut = 0;
  readonly #memoryBefore: number;
  readonly #memoryMiBMax: number;
  readonly #begin = Date.now();
  readonly #recent: string[] = [];
  #peak = 0;
  readonly #onError = (error: unknown): void => this.violation(`an error that nobody handled: ${describe(error)}`);

  /** `memoryMiBMax`: growth of this process beyond which memory is not bounded. */
  constructor(target: string, memoryMiBMax: number) {
    this.target = target;
    this.#memoryMiBMax = memoryMiBMax;
    this.#memoryBefore = process.memoryUsage().rss;
    process.on('uncaughtException', this.#onError);
    process.on('unhandledRejection', this.#onError);
  }

  /** One input is about to be thrown; the last ones are told with a violation. */
  input(bytes: Uint8Array, label = ''): void {
    this.inputs++;
    this.#recent.push(`${label} ${Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, 400)).toString('hex')}`);
    if (this.#recent.length > 12) this.#recent.shift();
  }

  violation(what: string): void {
    if (this.violations.length < 20) this.violations.push(`${this.target}, input ${this.inputs}: ${what}\n    last inputs:\n      ${this.#recent.slice(-4).join('\n      ')}`);
  }

  sampleMemory(): void {
    const grown = (process.memoryUsage().rss - this.#memoryBefore) / MIB;
    if (grown > this.#peak) {
      this.#peak = grown;
      if (grown > this.#memoryMiBMax) this.violation(`memory grew by ${Math.round(grown)} MiB`);
    }
  }

  end(): Figures {
    process.off('uncaughtException', this.#onError);
    process.off('unhandledRejection', this.#onError);
    const { target, inputs, refused, carriedOut } = this;
    return { target, inputs, refused, carriedOut, memoryMiB: Math.round(this.#peak), seconds: (Date.now() - this.#begin) / 1000 };
  }
}

export function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** The next turn of the event loop: what was begun goes on. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** False when it does not settle in time. */
export async function within(ms: number, promise: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => (timer = setTimeout(() => resolve(false), ms)));
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
