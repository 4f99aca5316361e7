/** What the guest tells: every QEMU that ran it appends to the same file, one after the other. */
import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs';
import { WaitError, sleep } from '../support/wait.js';

const FAILURES = /GUEST-FAIL[^\r\n]*|I\/O error[^\r\n]*|EXT4-fs (?:error|\(\w+\): (?!mounted|unmounting|re-mounted|recovery|orphan|write access))[^\r\n]*|Kernel panic[^\r\n]*|BUG:[^\r\n]*|Oops[^\r\n]*/g;
const POLL_MS = 20;

export interface Progress {
  /** Last step of each writer that is on its disk. */
  synced: [number, number];
  verified: number;
  files: number;
  /** Longest operation since the report before, by the guest's clock. */
  longestMs: number;
}

export class Console {
  private seen = '';
  private offset = 0;

  constructor(readonly path: string) {}

  /** All of it until now. */
  get text(): string {
    if (!existsSync(this.path)) return '';
    const { size } = statSync(this.path);
    if (size > this.offset) {
      const fd = openSync(this.path, 'r');
      const data = Buffer.alloc(size - this.offset);
      const got = readSync(fd, data, 0, data.length, this.offset);
      closeSync(fd);
      this.offset += got;
      this.seen += data.subarray(0, got).toString('latin1');
    }
    return this.seen;
  }

  get errors(): string[] {
    return [...this.text.matchAll(FAILURES)].map(([line]) => line);
  }

  /** The guest's latest report; of one boot of several, the latest boot's. */
  get progress(): Progress | undefined {
    const last = [...this.text.matchAll(/GUEST-AT (\d+) (\d+) (\d+) (\d+) (\d+)\r?\n/g)].at(-1);
    if (last === undefined) return undefined;
    const [, first = 0, second = 0, verified = 0, files = 0, longestMs = 0] = last.map(Number);
    return { synced: [first, second], verified, files, longestMs };
  }

  get beats(): number {
    return this.text.split('GUEST-BEAT').length - 1;
  }

  /** A line from the given place of the text on. `gone` tells that nobody writes any more. */
  async line(pattern: RegExp, boundMs: number, { from = 0, gone = () => false }: { from?: number; gone?: () => boolean } = {}): Promise<RegExpExecArray> {
    const end = performance.now() + boundMs;
    for (;;) {
      const ended = gone();
      const found = pattern.exec(this.text.slice(from));
      if (found !== null) return found;
      if (ended) throw new Error(`QEMU ended before the console showed ${pattern}\n${this.text.slice(-1500)}`);
      if (performance.now() > end) throw new WaitError(`the guest's console to show ${pattern}`, boundMs, this.text.slice(-1000));
      await sleep(POLL_MS);
    }
  }
}
