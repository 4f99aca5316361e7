/** Runs the simulator over a copy of the compiled code with a planted bug in it. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { spawn } from 'node:child_process';
import { packageRoot } from '../support/package-root.js';
import { PLANTED_BUGS, SEEDS_MAX, type PlantedBug } from './planted-bugs.js';

const PARTS = ['src/base', 'src/env', 'src/fops', 'src/wire', 'src/replica', 'src/brick', 'src/client', 'src/cluster', 'test/sim', 'test/support'];

/** The text with the plant in place of its anchor, which must occur once. */
export function withPlant(text: string, file: string, name: string, anchor: string, replacement: string): string {
  const times = text.split(anchor).length - 1;
  if (times === 1) return text.replace(anchor, () => replacement);
  throw new Error(`planted bug '${name}': its anchor occurs ${times} times in the compiled src/${file}. The source moved: see planted-bugs.ts for what to do. Anchor: ${anchor}`);
}

function copyWith(bug: PlantedBug): string {
  const root = packageRoot();
  const folder = mkdtempSync(join(tmpdir(), 'gluon-plant-'));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  for (const part of PARTS) {
    mkdirSync(dirname(join(folder, 'dist', part)), { recursive: true });
    cpSync(join(root, 'dist', part), join(folder, 'dist', part), { recursive: true, filter: (path) => !path.endsWith('.map') && (!path.endsWith('.test.js') || (bug.directed !== undefined && path.endsWith(`/${bug.directed}`))) });
  }
  for (const [file, anchor, replacement] of bug.patches) {
    const path = join(folder, 'dist', 'src', file);
    writeFileSync(path, withPlant(readFileSync(path, 'utf8'), file, bug.name, anchor, replacement));
  }
  return folder;
}

export function plantedBug(name: string): PlantedBug {
  const bug = PLANTED_BUGS.find((candidate) => candidate.name === name);
  if (bug === undefined) throw new Error(`no planted bug is called '${name}'; there are:\n  ${PLANTED_BUGS.map((candidate) => candidate.name).join('\n  ')}`);
  return bug;
}

/** What catches the bug: words for `runPlanted`. */
export function plantedWords(bug: PlantedBug): string[] {
  if (bug.directed !== undefined) return bug.scenario === undefined ? [bug.directed] : [bug.directed, `--test-name-pattern=${bug.scenario}`];
  const words = ['--start', String(bug.from), '--seeds', String(SEEDS_MAX), '--threads', '1', '--failures', '1'];
  return bug.faults === undefined ? words : [...words, '--faults', bug.faults];
}

/** Runs `main.js` with these words (or the tests of that name) over the planted copy; resolves with its exit status and what it printed. */
export async function runPlanted(bug: PlantedBug, words: string[]): Promise<{ status: number | null; output: string }> {
  const folder = copyWith(bug);
  try {
    // A test that is run by a test is not taken for a part of it.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const [test = '', ...options] = words;
    const child = spawn(process.execPath, test.endsWith('.test.js') ? ['--test', ...options, join(folder, 'dist', 'test', 'sim', test)] : [join(folder, 'dist', 'test', 'sim', 'main.js'), ...words], { stdio: ['ignore', 'pipe', 'pipe'], env });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const status = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', resolve);
    });
    return { status, output };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
