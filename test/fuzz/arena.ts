/**
 * Where the inputs are thrown: brick directories on small file systems of their own, and beside them what must never change: a tree of canaries
 * whose owner, mode, content and times are compared before and after, and to which symbolic links inside the bricks lead.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, closeSync, lstatSync, mkdirSync, mkdtempSync, openSync, readdirSync, readlinkSync, readSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const BRICK_MIB = 192;

/** Large files are sparse: their ends tell. */
const CONTENT_BYTES = 1 << 18;

function contentOf(path: Buffer, size: number): string {
  const fd = openSync(path, 'r');
  const hash = createHash('sha1');
  const bytes = Buffer.alloc(CONTENT_BYTES);
  for (const at of size > CONTENT_BYTES ? [0, size - CONTENT_BYTES] : [0]) hash.update(bytes.subarray(0, readSync(fd, bytes, 0, CONTENT_BYTES, at)));
  closeSync(fd);
  return hash.digest('hex');
}

/** One line for each entry of a tree: path, type, mode, owner, size, times, content. `times` is left out where they may change. */
export function dumpTree(root: string, options: { times: boolean; skip?: string }): string[] {
  const lines: string[] = [];
  const walk = (shown: string): void => {
    // Names are bytes.
    const path = Buffer.from(`${root}${shown}`, 'latin1');
    const stat = lstatSync(path, { bigint: true });
    const content = stat.isSymbolicLink() ? readlinkSync(path, 'latin1') : stat.isFile() ? contentOf(path, Number(stat.size)) : '';
    const times = options.times ? ` ${stat.mtimeNs} ${stat.ctimeNs}` : '';
    const size = stat.isDirectory() ? '' : stat.size;
    lines.push(`${shown} ${stat.mode.toString(8)} ${stat.uid}:${stat.gid} ${stat.rdev} ${stat.nlink} ${size} ${content}${times}`);
    if (!stat.isDirectory()) return;
    for (const name of readdirSync(path, { encoding: 'buffer' }).map((bytes) => bytes.toString('latin1')).toSorted()) {
      if (`${shown}/${name}` !== options.skip) walk(`${shown}/${name}`);
    }
  };
  walk('');
  return lines;
}

export class Arena {
  readonly root = mkdtempSync(join(tmpdir(), 'gluon-fuzz-'));
  readonly canary = join(this.root, 'canary');
  readonly #mounts: string[] = [];
  readonly #before: string[];
  /** However the process ends, no mount stays. */
  readonly #atExit = (): void => this.#remove();

  constructor(bricks: number) {
    process.on('exit', this.#atExit);
    mkdirSync(join(this.canary, 'below'), { recursive: true });
    for (const name of ['secret', 'below/secret']) writeFileSync(join(this.canary, name), `nobody writes here ${name}\n`);
    chmodSync(join(this.canary, 'secret'), 0o640);
    for (let i = 0; i < bricks; i++) {
      const path = this.brick(i);
      mkdirSync(path);
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${BRICK_MIB}m,nodev`, `fuzz-${this.root.slice(-6)}`, path]);
      this.#mounts.push(path);
    }
    this.#before = this.#outside();
  }

  brick(index: number): string {
    return join(this.root, `brick${index}`);
  }

  /** Symbolic links to the canaries under names that the inputs use: put there by another program, as an attacker on the node could. */
  layTraps(): void {
    for (const path of this.#mounts) {
      symlinkSync('../canary', join(path, 'trap'));
      symlinkSync(join(this.canary, 'secret'), join(path, 'trap-absolute'));
    }
  }

  /** What changed outside the bricks: must be nothing. */
  escaped(): string[] {
    const now = this.#outside();
    return now.filter((line) => !this.#before.includes(line)).concat(this.#before.filter((line) => !now.includes(line)));
  }

  /** The volume's tree in one brick, without what gluon keeps for itself. */
  tree(index: number): string[] {
    return dumpTree(this.brick(index), { times: false, skip: '/.gluon' });
  }

  close(): void {
    process.off('exit', this.#atExit);
    this.#remove();
  }

  #remove(): void {
    for (const path of this.#mounts) execFileSync('umount', ['-l', path]);
    rmSync(this.root, { recursive: true, force: true });
  }

  #outside(): string[] {
    const around = readdirSync(this.root).filter((name) => !/^s\d$/.test(name)).toSorted();
    const passwd = lstatSync('/etc/passwd', { bigint: true });
    return [`/etc/passwd ${passwd.mode} ${passwd.uid} ${passwd.ctimeNs}`, around.join(' '), ...dumpTree(this.canary, { times: true })];
  }
}
