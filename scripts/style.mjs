#!/usr/bin/env node
/** Style rules that a machine can hold. Problems fail the check; warnings are only told. */
import { fileURLToPath } from 'node:url';
import { blankComments, PROJECT_ROOT, readSources } from './layers.mjs';

const LINES_MAX = 500;

/** `pattern` is looked for in the whole text, or with `code` in the text without comments. `where` limits it to paths. */
const RULES = [
  { pattern: /\b(?:TODO|FIXME|XXX|HACK)\b/, problem: 'leaves work behind: finish it, or say in DESIGN.md what is missing' },
  { pattern: /\bPromise\.race\s*\(/, code: true, where: /^src\/(?!platform\/)/, problem: 'Promise.race leaks on a long-lived promise: use an AbortSignal or a timer that is cancelled' },
  { pattern: /\b(?:test|it|describe)\.only\s*\(|\bonly:\s*true\b/, code: true, where: /^test\//, problem: 'runs only this test' },
  { pattern: /@ts-ignore|@ts-nocheck/, problem: 'switches the type checker off' },
  { pattern: /\bexport\s+default\b/, code: true, where: /^src\//, problem: 'default export: name it' },
  { pattern: /\b(?:console)\.\w+\s*\(/, code: true, where: /^src\/(?!main\/)/, problem: 'writes to the console: use the Log that is passed in, or return text' },
];

function lineOf(text, index) {
  return text.slice(0, index).split('\n').length;
}

/** `{problems, warnings}` of `files: Map<path, text>`. */
export function styleProblems(files) {
  const problems = [];
  const warnings = [];
  for (const [path, source] of files) {
    const code = blankComments(source);
    for (const rule of RULES) {
      if (rule.where !== undefined && !rule.where.test(path)) continue;
      const text = rule.code === true ? code : source;
      const match = rule.pattern.exec(text);
      if (match !== null) problems.push(`${path}:${lineOf(text, match.index)}: ${rule.problem}`);
    }
    const name = path.slice(path.lastIndexOf('/') + 1);
    if (!/^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.test|\.d)?\.ts$/.test(name)) problems.push(`${path}:1: file names are words in lower case joined by '-'`);
    const lines = source.split('\n').length;
    if (lines > LINES_MAX) warnings.push(`${path}: ${lines} lines; a file has one subject (a table may be long)`);
  }
  return { problems, warnings };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const files = readSources(PROJECT_ROOT, ['src', 'test', 'bench']);
  const { problems, warnings } = styleProblems(files);
  for (const warning of warnings) console.log(`warning: ${warning}`);
  for (const problem of problems) console.error(problem);
  console.log(`style: ${files.size} files, ${problems.length} problem(s)`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}
