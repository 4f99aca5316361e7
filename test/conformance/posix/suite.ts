/** The POSIX suite's vocabulary: what a test gets, and the constants of the system calls. */
import assert from 'node:assert/strict';
import { Agent, PosixError } from './client.js';
import type { StatAnswer } from './calls.js';

export type PosixTest = (t: PosixFixture) => Promise<void>;
export type PosixTests = Record<string, PosixTest>;

/** Directories through which the same files are seen: one for each mount. */
export interface PosixSubject {
  directories: string[];
  /** A FUSE mount: some errno and sizes are the kernel's there. */
  fuse: boolean;
}

export const O = {
  RDONLY: 0, WRONLY: 1, RDWR: 2, CREAT: 0o100, EXCL: 0o200, TRUNC: 0o1000, APPEND: 0o2000, NONBLOCK: 0o4000, DSYNC: 0o10000,
  DIRECT: 0o40000, DIRECTORY: 0o200000, NOFOLLOW: 0o400000, SYNC: 0o4010000, PATH: 0o10000000, TMPFILE: 0o20200000,
};
export const NEW = O.RDWR | O.CREAT | O.EXCL;
export const SEEK = { SET: 0, CUR: 1, END: 2, DATA: 3, HOLE: 4 };
export const FALLOC = { KEEP_SIZE: 1, PUNCH_HOLE: 2, COLLAPSE: 8, ZERO_RANGE: 16 };
export const LOCK = { READ: 0, WRITE: 1, UNLOCK: 2 };
export const F = { GETLK: 5, SETLK: 6, SETLKW: 7, OFD_GETLK: 36, OFD_SETLK: 37, OFD_SETLKW: 38 };
export const FLOCK = { SHARED: 1, EXCLUSIVE: 2, NOWAIT: 4, UNLOCK: 8 };
export const TYPE = { MASK: 0o170000, FIFO: 0o010000, CHAR: 0o020000, DIR: 0o040000, BLOCK: 0o060000, FILE: 0o100000, LINK: 0o120000, SOCKET: 0o140000 };

export async function fails(code: string | string[], work: Promise<unknown>, what = ''): Promise<void> {
  const codes = Array.isArray(code) ? code : [code];
  let result: unknown;
  try {
    result = await work;
  } catch (error) {
    if (error instanceof PosixError && codes.includes(error.code)) return;
    throw new Error(`${what} expected ${codes.join(' or ')}, got ${String(error)}`, { cause: error });
  }
  assert.fail(`${what} expected ${codes.join(' or ')}, but it succeeded with ${JSON.stringify(result)}`);
}

export class PosixFixture {
  private readonly agents: Agent[] = [];

  constructor(
    readonly subject: PosixSubject,
    /** The test's own directory, relative to each of the subject's. */
    readonly name: string,
    /** Processes of earlier tests that can serve this one, and afterwards the next. */
    private readonly idle: Agent[],
  ) {}


  /** A new process in the test's directory, seen through the mount of that number (modulo how many there are). */
  agent(mount = 0): Agent {
    const { directories } = this.subject;
    const directory = `${directories[mount % directories.length]}/${this.name}`;
    const idle = this.idle.pop();
    const agent = idle ?? new Agent(directory);
    idle?.startOver(directory).catch(() => undefined);
    this.agents.push(agent);
    return agent;
  }

  /** System calls through the first mount. */
  get a(): Agent['sys'] {
    return (this.agents[0] ?? this.agent(0)).sys;
  }

  private second: Agent | undefined;

  /** System calls of another process, through another mount where there is one. */
  get b(): Agent['sys'] {
    void this.a;
    this.second ??= this.agent(1);
    return this.second.sys;
  }

  /** Creates a file with content; closed again. */
  async file(name: string, content = '', mode = 0o644): Promise<void> {
    const fd = await this.a.open(name, NEW, mode);
    if (content !== '') await this.a.write(fd, content);
    await this.a.close(fd);
  }

  async content(name: string, agent = this.a): Promise<string> {
    const fd = await agent.open(name, O.RDONLY);
    try {
      let all = '';
      for (;;) {
        const part = await agent.read(fd, 1 << 20);
        if (part === '') return all;
        all += part;
      }
    } finally {
      await agent.close(fd);
    }
  }

  async exists(name: string, agent = this.a): Promise<boolean> {
    try {
      await agent.lstat(name);
      return true;
    } catch (error) {
      if (error instanceof PosixError && error.code === 'ENOENT') return false;
      throw error;
    }
  }

  /** The same attributes through both mounts. */
  async same(name: string): Promise<StatAnswer> {
    const [one, two] = [await this.a.lstat(name), await this.b.lstat(name)];
    assert.deepEqual({ ...two, atime: '' }, { ...one, atime: '' }, `${JSON.stringify(name)} has the same attributes on both mounts`);
    return one;
  }

  async end(): Promise<void> {
    for (const agent of this.agents) {
      if (!agent.reusable) await agent.kill();
      else {
        await agent.startOver('/');
        this.idle.push(agent);
      }
    }
  }
}
