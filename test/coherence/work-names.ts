/** Programs that work on names and attributes. */
import { closeSync, readdirSync } from 'node:fs';
import { errnoName } from '../../src/base/errno.js';
import { CallError, calls } from '../conformance/posix/calls.js';
import { NEW, TYPE } from '../conformance/posix/suite.js';
import type { BlockInput, NamesInput, NamesOutput } from '../support/sequential-models.js';
import type { Work } from './jobs.js';
import type { Recorder } from './recorder.js';

/** The output, or the name of the errno. */
function told(ask: () => NamesOutput): NamesOutput {
  try {
    return ask();
  } catch (error) {
    if (error instanceof CallError) return { error: errnoName(error.errno) };
    throw error;
  }
}

function identity(path: string): NamesOutput {
  const { ino, mode, nlink } = calls.lstat(path);
  return (mode & TYPE.MASK) === TYPE.DIR ? { id: `${ino}/` } : { id: ino, links: nlink };
}

export function names(recorder: Recorder, work: Work & { kind: 'names' }): void {
  const { dice } = recorder;
  let tokens = 0;
  const note = (input: NamesInput, ask: () => NamesOutput): NamesOutput => recorder.note(input, () => told(ask));
  const place = (): string => `${work.directory}/n${dice.roll(work.names)}`;
  // No two rename onto the same name: a kernel that looks up the source before another's rename and the target after it sees two names of one inode, asks
  // nobody, and says that it is done.
  const own = (recorder.client.charCodeAt(0) - 'A'.charCodeAt(0)) % work.names;
  const make = (path: string): void => {
    const token = (++tokens * 64) + (recorder.client.charCodeAt(0) % 64);
    if (work.directories) {
      note({ mkdir: path, token }, () => (calls.mkdir(path), {}));
      return;
    }
    let fd = -1;
    const made = note({ create: path, token }, () => ((fd = calls.open(path, NEW)), {}));
    if (fd < 0) return;
    // Which inode it is was decided at the creation.
    made.id = calls.fstat(fd).ino;
    closeSync(fd);
  };
  while (!recorder.over) {
    const path = place();
    const what = dice.roll(10);
    if (what <= 1) make(path);
    else if (what === 2 && work.directories) note({ rmdir: path }, () => (calls.rmdir(path), {}));
    else if (what === 2) note({ unlink: path }, () => (calls.unlink(path), {}));
    else if (what <= 4) {
      const to = `${work.directory}/n${own}`;
      note({ rename: path, to }, () => (calls.rename(path, to), {}));
    } else if (what === 5) note({ list: work.directory }, () => ({ names: readdirSync(work.directory).sort() }));
    else note({ lookup: path }, () => identity(path));
  }
}

/** Each attribute is a register of its own: it holds what was set last, and every value is set once. */
export function attributes(recorder: Recorder, work: Work & { kind: 'attributes' }): void {
  const { dice } = recorder;
  const client = recorder.client.charCodeAt(0) % 64;
  let count = 0;
  const ways: Record<string, { set: (file: string, n: number) => void; get: (file: string) => string }> = {
    mtime: { set: (file, n) => calls.utimens(file, null, [n, 0]), get: (file) => String(BigInt(calls.stat(file).mtime) / 1_000_000_000n) },
    owner: { set: (file, n) => calls.lchown(file, n, -1), get: (file) => String(calls.stat(file).uid) },
    xattr: { set: (file, n) => calls.setxattr(file, 'user.register', String(n)), get: (file) => calls.getxattr(file, 'user.register') },
  };
  const kinds = Object.keys(ways);
  const sides = work.files > 1 ? 8 : 3;
  while (!recorder.over) {
    const kind = kinds[dice.roll(kinds.length)] as string;
    const way = ways[kind] as { set: (file: string, n: number) => void; get: (file: string) => string };
    const file = `f${dice.roll(work.files)}`;
    const block = `${file} ${kind}`;
    if (dice.roll(sides) === 0) {
      const value = ++count * 64 + client;
      recorder.note<BlockInput, string>({ block, write: String(value) }, () => (way.set(file, value), ''));
    } else recorder.note<BlockInput, string>({ block, read: true }, () => way.get(file));
  }
}

/** `took(n)`: true when it was this process that got number n. */
export function claims(recorder: Recorder, work: Work & { kind: 'claims' }): void {
  const { directory, how } = work;
  const own = recorder.client;
  const at = (n: number): string => `${directory}/n${n}`;
  const ways: Record<typeof how, (n: number) => void> = {
    create: (n) => calls.close(calls.open(at(n), NEW)),
    mkdir: (n) => void calls.mkdir(at(n)),
    link: (n) => void calls.link(`${directory}/source`, at(n)),
    // One name, moved to a place of its own by each.
    take: (n) => void calls.rename(at(n), `${directory}/of-${own}-${n}`),
    // A directory of its own onto one name, which must not exist.
    rename: (n) => void calls.rename(`${directory}/of-${own}-${n}`, at(n), 1),
    rmdir: (n) => void calls.rmdir(at(n)),
    fill: (n) => void (own === 'A' ? calls.rmdir(at(n)) : calls.close(calls.open(`${at(n)}/${own}`, NEW))),
  };
  const losses = how === 'fill' && own === 'A' ? ['ENOTEMPTY'] : how === 'take' || how === 'rmdir' || how === 'fill' ? ['ENOENT', 'ESTALE'] : ['EEXIST'];
  for (let n = 0; n < work.count; n++) {
    try {
      ways[how](n);
      recorder.outcome.won.push(n);
    } catch (error) {
      if (!(error instanceof CallError) || !losses.includes(errnoName(error.errno))) throw error;
    }
  }
}
