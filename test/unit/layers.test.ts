import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { loadScript, PROJECT_ROOT } from '../support/scripts.js';

interface Layers {
  LAYERS: string[];
  layerProblems(files: Map<string, string>): string[];
  importsOf(source: string): { specifier: string; line: number; typeOnly: boolean }[];
  readSources(root: string, directories: string[]): Map<string, string>;
}
interface Style {
  styleProblems(files: Map<string, string>): { problems: string[]; warnings: string[] };
}

const { LAYERS, layerProblems, importsOf, readSources } = await loadScript<Layers>('layers.mjs');
const { styleProblems } = await loadScript<Style>('style.mjs');

/** Problems of a small made-up tree. */
function planted(tree: Record<string, string>): string[] {
  return layerProblems(new Map(Object.entries(tree)));
}

describe('the tree as it stands', () => {
  test('keeps the layers, has no cycles, and only platform/ and main/ touch the outside world', () => {
    assert.deepEqual(layerProblems(readSources(PROJECT_ROOT, ['src'])), []);
  });

  test('keeps the style rules', () => {
    assert.deepEqual(styleProblems(readSources(PROJECT_ROOT, ['src', 'test', 'bench'])).problems, []);
  });
});

describe('the import rule catches', () => {
  for (const [index, layer] of LAYERS.entries()) {
    for (const [otherIndex, other] of LAYERS.entries()) {
      const allowed = otherIndex <= index;
      test(`${layer} -> ${other}: ${allowed ? 'allowed' : 'refused'}`, () => {
        const problems = planted({
          [`src/${layer}/a.ts`]: `import { b } from '../${other}/b.js';\n`,
          [`src/${other}/b.ts`]: 'export const b = 1;\n',
        });
        assert.equal(problems.length, allowed ? 0 : 1, problems.join('\n'));
        if (!allowed) assert.match(problems[0] ?? '', new RegExp(`^src/${layer}/a.ts:1: .*${layer}/ comes before ${other}/`));
      });
    }
  }

  const later = { 'src/platform/b.ts': 'export type B = 1;\n' };
  const forms: Record<string, string> = {
    'a type import': "import type { B } from '../platform/b.js';",
    'an import over several lines': "import {\n  B,\n} from '../platform/b.js';",
    'an import for its effect': "import '../platform/b.js';",
    'an export from': "export { B } from '../platform/b.js';",
    'an export of everything': "export * from '../platform/b.js';",
    'a dynamic import': "const b = await import('../platform/b.js');",
    'an import inside a type': "type B = import('../platform/b.js').B;",
    'an import after a comment on its line': "/* why */ import { B } from '../platform/b.js';",
  };
  for (const [name, source] of Object.entries(forms)) {
    test(`${name} of a later layer`, () => {
      assert.equal(planted({ 'src/replica/a.ts': source, ...later }).length, 1);
    });
  }

  test('a comment or a string that looks like an import is none', () => {
    const source = "// import { B } from '../platform/b.js';\n/*\nimport { B } from '../platform/b.js';\n*/\nconst s = \"import('nothing')\";\n";
    assert.deepEqual(planted({ 'src/replica/a.ts': source.replace("const s = \"import('nothing')\";\n", ''), ...later }), []);
  });

  test('the line of the import is told', () => {
    const [found] = importsOf("const a = 1;\n\nimport { b } from './b.js';\n");
    assert.deepEqual(found, { specifier: './b.js', line: 3, typeOnly: false });
  });

  test('a file outside every layer', () => {
    assert.match(planted({ 'src/util/a.ts': "import { b } from '../base/b.js';\n", 'src/base/b.ts': '' })[0] ?? '', /in no layer/);
  });

  test('an import of something that does not exist', () => {
    assert.match(planted({ 'src/base/a.ts': "import { b } from './b.js';\n" })[0] ?? '', /does not exist/);
  });

  test('an import out of src/', () => {
    assert.match(planted({ 'src/main/a.ts': "import { b } from '../../test/b.js';\n" })[0] ?? '', /outside src/);
  });
});

describe('the outside world is refused before platform/', () => {
  for (const module of ['node:fs', 'node:fs/promises', 'node:net', 'node:child_process', 'koffi', '@grpc/grpc-js', 'etcd3', 'level', 'node:timers/promises']) {
    test(module, () => {
      const source = `import x from '${module}';\n`;
      for (const layer of LAYERS) {
        const outside = layer === 'platform' || layer === 'main';
        assert.equal(planted({ [`src/${layer}/a.ts`]: source }).length, outside ? 0 : 1, layer);
      }
    });
  }

  test('pure modules are welcome everywhere', () => {
    assert.deepEqual(planted({ 'src/base/a.ts': "import { createHash } from 'node:crypto';\nimport { posix } from 'node:path';\n" }), []);
  });

  for (const use of ['Date.now()', 'new Date()', 'performance.now()', 'Math.random()', 'setTimeout(f, 1)', 'setInterval(f, 1)', 'process.hrtime.bigint()']) {
    test(`${use} in replica/ but not in platform/`, () => {
      assert.match(planted({ 'src/replica/a.ts': `const x = ${use};\n` })[0] ?? '', /time and chance come in through env/);
      assert.deepEqual(planted({ 'src/platform/a.ts': `const x = ${use};\n` }), []);
      assert.deepEqual(planted({ 'src/replica/a.ts': `// ${use} would not replay\n` }), []);
    });
  }
});

describe('cycles', () => {
  test('a cycle of three files in one layer is found once, with its way', () => {
    const problems = planted({
      'src/base/a.ts': "import './b.js';\n",
      'src/base/b.ts': "import './c.js';\n",
      'src/base/c.ts': "import './a.js';\n",
    });
    assert.deepEqual(problems, ['src/base/a.ts:1: import cycle src/base/a.ts -> src/base/b.ts -> src/base/c.ts -> src/base/a.ts']);
  });

  test('types may refer to each other: they are erased', () => {
    const tree = { 'src/base/a.ts': "import type { B } from './b.js';\n", 'src/base/b.ts': "import type { A } from './a.js';\n" };
    assert.deepEqual(planted(tree), []);
  });

  test('a diamond is no cycle', () => {
    const tree = { 'src/base/a.ts': "import './b.js';\nimport './c.js';\n", 'src/base/b.ts': "import './d.js';\n", 'src/base/c.ts': "import './d.js';\n", 'src/base/d.ts': '' };
    assert.deepEqual(planted(tree), []);
  });
});

describe('the style rules catch', () => {
  const cases: Record<string, [string, string]> = {
    'work left behind': ['src/base/a.ts', `// TO${'DO'}: later\n`],
    'a race of promises': ['src/base/a.ts', `await Promise.${'race'}([a, b]);\n`],
    'a test that silences the others': ['test/unit/a.test.ts', `test.${'only'}('x', f);\n`],
    'the type checker switched off': ['src/base/a.ts', `// @ts-${'ignore'}\n`],
    'a name in capitals': ['src/base/FooBar.ts', ''],
    'console output from a library layer': ['src/base/a.ts', "console.log('x');\n"],
  };
  for (const [name, [path, source]] of Object.entries(cases)) {
    test(name, () => {
      assert.equal(styleProblems(new Map([[path, source]])).problems.length, 1);
    });
  }

  test('a long file is told, not refused', () => {
    const answer = styleProblems(new Map([['src/base/a.ts', 'const a = 1;\n'.repeat(600)]]));
    assert.equal(answer.problems.length, 0);
    assert.equal(answer.warnings.length, 1);
  });
});
