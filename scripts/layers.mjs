#!/usr/bin/env node
/**
 * The import rule, executed. An arrow goes from a later layer to an earlier one or stays inside its own:
 *
 *   base ◀ env ◀ fops ◀ wire ◀ replica ◀ brick ◀ client ◀ fuse ◀ cluster ◀ cli ◀ platform ◀ main
 *
 * Only platform/ and main/ touch the outside world (files, sockets, libraries that do I/O, the real clock): what comes before them
 * runs unchanged in the simulator. Uses node's own modules only, so that it runs before dependencies are installed.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const LAYERS = ['base', 'env', 'fops', 'wire', 'replica', 'brick', 'client', 'fuse', 'cluster', 'cli', 'platform', 'main'];

/** Layers that may touch the outside world. */
const OUTSIDE = ['platform', 'main'];

/** Pure node modules: no I/O, no clock. Everything else of node belongs to platform/ and main/. */
const PURE_BUILTINS = ['node:crypto', 'node:buffer', 'node:path', 'node:util', 'node:zlib'];

/** Packages that are pure code, and the layers besides platform/ and main/ that may use them. */
const PACKAGE_LAYERS = { msgpackr: ['wire', 'replica', 'brick'], commander: ['cli'] };

/** What reads the real clock or chance: neither can be replayed from a seed. */
const REAL_WORLD = [
  [/\bDate\.now\s*\(/, 'Date.now'],
  [/\bnew Date\s*\(\s*\)/, 'new Date()'],
  [/\bperformance\.now\b/, 'performance.now'],
  [/\bprocess\.hrtime\b/, 'process.hrtime'],
  [/\bMath\.random\b/, 'Math.random'],
  [/(?<![.\w])setTimeout\s*\(/, 'setTimeout'],
  [/(?<![.\w])setInterval\s*\(/, 'setInterval'],
  [/(?<![.\w])setImmediate\s*\(/, 'setImmediate'],
];

const STATIC_IMPORT = /^[ \t]*(import|export)\b([^;'"]*?\bfrom[ \t\n]*|[ \t]*)['"]([^'"\n]+)['"]/gm;
const DYNAMIC_IMPORT = /\b(?:import|require)[ \t]*\([ \t\n]*['"]([^'"\n]+)['"]/g;

function lineOf(text, index) {
  let line = 1;
  for (let at = text.indexOf('\n'); at !== -1 && at < index; at = text.indexOf('\n', at + 1)) line++;
  return line;
}

/** Comments become blanks of the same length, so that positions stay true. Comment marks inside string literals survive. */
export function blankComments(text) {
  const token = /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g;
  return text.replace(token, (found) => (found.startsWith('/*') || found.startsWith('//') ? found.replace(/[^\n]/g, ' ') : found));
}

/** Every module that a source text names: `{specifier, line, typeOnly}`. */
export function importsOf(source) {
  const text = blankComments(source);
  const found = [];
  for (const match of text.matchAll(STATIC_IMPORT)) {
    const clause = match[2];
    if (match[1] === 'export' && !/\bfrom\b/.test(clause)) continue;
    found.push({ specifier: match[3], line: lineOf(text, match.index), typeOnly: /^\s*type\b/.test(clause) });
  }
  for (const match of text.matchAll(DYNAMIC_IMPORT)) {
    // `typeof import('x')` and `import('x').T` in types are erased; counting them as code is the safe side.
    found.push({ specifier: match[1], line: lineOf(text, match.index), typeOnly: false });
  }
  return found;
}

function layerOf(path) {
  return /^src\/([^/]+)\//.exec(path)?.[1];
}

function packageName(specifier) {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

/** What is wrong with `path` importing `specifier`, or undefined. */
export function importProblem(path, specifier) {
  const layer = layerOf(path);
  if (layer === undefined || !LAYERS.includes(layer)) return `is in no layer; sources live in src/{${LAYERS.join(',')}}/`;
  if (specifier.startsWith('.')) {
    const target = posix.join(posix.dirname(path), specifier);
    if (!target.startsWith('src/')) return `imports '${specifier}', which is outside src/`;
    const targetLayer = layerOf(target);
    if (targetLayer === undefined || !LAYERS.includes(targetLayer)) return `imports '${specifier}', which is in no layer`;
    if (LAYERS.indexOf(targetLayer) > LAYERS.indexOf(layer)) {
      return `imports '${specifier}': ${layer}/ comes before ${targetLayer}/; declare an interface here and implement it there`;
    }
    return undefined;
  }
  if (OUTSIDE.includes(layer)) return undefined;
  if (specifier.startsWith('node:')) {
    if (PURE_BUILTINS.includes(specifier)) return undefined;
    return `imports '${specifier}': only platform/ and main/ touch the outside world; have it injected`;
  }
  const name = packageName(specifier);
  if (PACKAGE_LAYERS[name]?.includes(layer)) return undefined;
  return `imports package '${name}': only platform/ and main/ may; have it injected`;
}

/** Cycles among `graph: Map<path, path[]>`, each once, as the list of files from and back to its first. */
export function cyclesOf(graph) {
  const state = new Map();
  const stack = [];
  const cycles = [];
  const visit = (path) => {
    state.set(path, 'open');
    stack.push(path);
    for (const next of graph.get(path) ?? []) {
      if (state.get(next) === 'open') cycles.push([...stack.slice(stack.indexOf(next)), next]);
      else if (!state.has(next)) visit(next);
    }
    stack.pop();
    state.set(path, 'done');
  };
  for (const path of graph.keys()) if (!state.has(path)) visit(path);
  return cycles;
}

/** Every broken rule in `files: Map<'src/layer/name.ts', text>`, as `path:line: sentence`. */
export function layerProblems(files) {
  const problems = [];
  const graph = new Map();
  for (const [path, source] of files) {
    const targets = [];
    for (const { specifier, line, typeOnly } of importsOf(source)) {
      const problem = importProblem(path, specifier);
      if (problem !== undefined) problems.push(`${path}:${line}: ${problem}`);
      if (!specifier.startsWith('.')) continue;
      const target = posix.join(posix.dirname(path), specifier).replace(/\.js$/, '.ts');
      if (!files.has(target)) problems.push(`${path}:${line}: imports '${specifier}', which does not exist`);
      else if (!typeOnly) targets.push(target);
    }
    graph.set(path, targets);
    const layer = layerOf(path);
    if (layer === undefined || OUTSIDE.includes(layer)) continue;
    const text = blankComments(source);
    for (const [pattern, name] of REAL_WORLD) {
      const match = pattern.exec(text);
      if (match !== null) problems.push(`${path}:${lineOf(text, match.index)}: uses ${name}: time and chance come in through env/`);
    }
  }
  for (const cycle of cyclesOf(graph)) problems.push(`${cycle[0]}:1: import cycle ${cycle.join(' -> ')}`);
  return problems;
}

/** The `.ts` files below `root/directories`, by path relative to `root`. */
export function readSources(root, directories) {
  const files = new Map();
  for (const directory of directories) {
    let entries;
    try {
      entries = readdirSync(join(root, directory), { recursive: true, withFileTypes: true });
    } catch (error) {
      if (error.code === 'ENOENT') continue;
      throw error;
    }
    for (const entry of entries) {
      if (!entry.isFile() || !entry.name.endsWith('.ts')) continue;
      const path = join(entry.parentPath ?? entry.path, entry.name);
      files.set(relative(root, path), readFileSync(path, 'utf8'));
    }
  }
  return new Map([...files].sort(([left], [right]) => (left < right ? -1 : 1)));
}

export const PROJECT_ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const files = readSources(PROJECT_ROOT, ['src']);
  const problems = layerProblems(files);
  for (const problem of problems) console.error(problem);
  console.log(`layers: ${files.size} files, ${problems.length} problem(s)`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}
