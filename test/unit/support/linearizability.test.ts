import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SeededRandom } from '../../sim/world.js';
import { checkLinearizable, partition, type Model, type Operation } from '../../support/linearizability.js';
import {
  blockModel, fileModel, lockModel, namesModel, type BlockInput, type FileInput, type FileOutput, type LockInput, type LockOutput, type NamesInput, type NamesOutput,
} from '../../support/sequential-models.js';

type Line<I, O> = [call: number, end: number, input: I, output: O | undefined];

function history<I, O>(...lines: Line<I, O>[]): Operation<I, O>[] {
  return lines.map(([call, end, input, output], i) => ({ client: `c${i}`, call, return: end, input, output }));
}

function verdict<S, I, O>(model: Model<S, I, O>, ...lines: Line<I, O>[]): string {
  return checkLinearizable(model, history(...lines)).kind;
}

const w = (value: string): BlockInput => ({ block: 'b', write: value });
const r: BlockInput = { block: 'b', read: true };
const block = blockModel('');

void describe('the linearizability checker accepts', () => {
  void it('an empty history', () => assert.equal(verdict(block), 'linearizable'));

  void it('reads that see a concurrent write or not', () => {
    assert.equal(verdict<string, BlockInput, string>(block, [0, 10, w('a'), ''], [1, 3, r, ''], [4, 6, r, 'a']), 'linearizable');
  });

  void it('two writes at once in either order', () => {
    for (const last of ['a', 'b']) assert.equal(verdict<string, BlockInput, string>(block, [0, 10, w('a'), ''], [0, 10, w('b'), ''], [11, 12, r, last]), 'linearizable');
  });

  void it('a lost write that is seen late, and one that is never seen', () => {
    assert.equal(verdict<string, BlockInput, string>(block, [0, Infinity, w('a'), undefined], [1, 2, r, ''], [3, 4, r, 'a'], [5, 6, r, 'a']), 'linearizable');
    assert.equal(verdict<string, BlockInput, string>(block, [0, Infinity, w('a'), undefined], [1, 2, r, ''], [3, 4, r, '']), 'linearizable');
  });

  void it('zeros in place of what was cut off, where a kernel read size and data one after the other', () => {
    const read = (throughPages: boolean): string =>
      verdict<readonly string[], FileInput, FileOutput>(fileModel(['a', 'b']), [0, 9, { truncate: 1 }, 0], [1, 2, { read: true, throughPages }, ['a', '']]);
    assert.deepEqual([read(true), read(false)], ['linearizable', 'wrong']);
  });

  void it('a write of a revoked client that took effect in time', () => {
    assert.equal(verdict<string, BlockInput, string>(block, [0, 5, w('a'), undefined], [4, 6, w('b'), ''], [7, 8, r, 'b']), 'linearizable');
    assert.equal(verdict<string, BlockInput, string>(block, [0, 5, w('a'), undefined], [4, 6, w('b'), ''], [7, 8, r, 'a']), 'linearizable');
  });

  void it('the example of Herlihy and Wing that needs going back', () => {
    assert.equal(
      verdict<string, BlockInput, string>(block, [0, 20, w('a'), ''], [1, 21, w('b'), ''], [2, 22, w('c'), ''], [3, 8, r, 'b'], [9, 12, r, 'a'], [13, 15, r, 'c']),
      'linearizable',
    );
  });
});

void describe('the linearizability checker refuses', () => {
  void it('a stale read', () => assert.equal(verdict<string, BlockInput, string>(block, [0, 1, w('a'), ''], [2, 3, w('b'), ''], [4, 5, r, 'a']), 'wrong'));

  void it('a lost write', () => assert.equal(verdict<string, BlockInput, string>(block, [0, 1, w('a'), ''], [2, 3, r, '']), 'wrong'));

  void it('a value that flickers', () => {
    assert.equal(verdict<string, BlockInput, string>(block, [0, Infinity, w('a'), undefined], [1, 2, r, 'a'], [3, 4, r, '']), 'wrong');
  });

  void it('a value that nobody wrote', () => assert.equal(verdict<string, BlockInput, string>(block, [0, 1, w('a'), ''], [0, 1, r, 'x']), 'wrong'));

  void it('two readers that see two writes in different orders', () => {
    assert.equal(
      verdict<string, BlockInput, string>(block, [0, 20, w('a'), ''], [0, 20, w('b'), ''], [1, 2, r, 'a'], [3, 4, r, 'b'], [5, 6, r, 'a']),
      'wrong',
    );
  });

  void it('a write of a revoked client that took effect too late', () => {
    assert.equal(verdict<string, BlockInput, string>(block, [0, 5, w('a'), undefined], [6, 7, w('b'), ''], [8, 9, r, 'a']), 'wrong');
    assert.equal(verdict<string, BlockInput, string>(block, [0, 5, w('a'), undefined], [6, 7, r, ''], [8, 9, r, 'a']), 'wrong');
  });

  void it('and says how far it came', () => {
    const answer = checkLinearizable(block, history<BlockInput, string>([0, 1, w('a'), ''], [2, 3, r, 'a'], [4, 5, r, 'x']));
    assert.ok(answer.kind === 'wrong' && answer.reached === 2 && answer.stuck.includes('"x"'));
  });
});

void describe('the work of the linearizability checker', () => {
  void it('is bounded, and a search that was given up is no pass', () => {
    const lines: Line<BlockInput, string>[] = Array.from({ length: 40 }, (_, i) => [0, 1000, w(`v${i}`), '']);
    lines.push([0, 1000, r, 'never']);
    assert.equal(checkLinearizable(block, history(...lines), 5000).kind, 'undecided');
  });

  void it('stays small for a long history of few clients, some of which were lost', () => {
    const random = new SeededRandom(7);
    const lines: Line<BlockInput, string>[] = [];
    let value = '';
    for (let i = 0; i < 2000; i++) {
      const lost = random.chance(0.005);
      if (random.chance(0.5)) {
        lines.push([2 * i, lost ? Infinity : 2 * i + 1, w(`v${i}`), lost ? undefined : '']);
        if (!lost || random.chance(0.5)) value = `v${i}`;
      } else lines.push([2 * i, 2 * i + 1, r, value]);
    }
    const answer = checkLinearizable(block, history(...lines));
    assert.equal(answer.kind, 'linearizable');
    assert.ok(answer.steps < 100_000, `${answer.steps} steps`);
  });

  void it('finds what a simple search finds, for small random histories', () => {
    const random = new SeededRandom(11);
    const counts = { linearizable: 0, wrong: 0 };
    for (let round = 0; round < 3000; round++) {
      const lines = Array.from({ length: 5 }, (_, i): Line<BlockInput, string> => {
        const call = random.below(12);
        const lost = random.chance(0.2);
        const end = lost ? (random.chance(0.5) ? Infinity : call + random.below(8)) : call + random.below(8);
        if (random.chance(0.5)) return [call, end, w(`v${i}`), lost ? undefined : ''];
        return [call, lost ? call + 1 : end, r, random.chance(0.3) ? '' : `v${random.below(5)}`];
      });
      const found = checkLinearizable(block, history(...lines)).kind;
      assert.equal(found, simple(history(...lines)) ? 'linearizable' : 'wrong', JSON.stringify(lines));
      counts[found as 'wrong']++;
    }
    assert.ok(counts.linearizable > 300 && counts.wrong > 300, JSON.stringify(counts));
  });
});

/** Every order of every choice of lost operations, tried one by one. */
function simple(operations: Operation<BlockInput, string>[]): boolean {
  const extend = (rest: Operation<BlockInput, string>[], state: string): boolean => {
    if (rest.every((operation) => operation.output === undefined)) return true;
    return rest.some((operation) => {
      // Of the others, those that must come first and are still here: definite ones that returned before this was called.
      if (rest.some((other) => other.output !== undefined && other.return < operation.call)) return false;
      const later = rest.filter((other) => other !== operation && !(other.output === undefined && other.return < operation.call));
      const read = 'read' in operation.input;
      if (read && operation.output !== undefined && operation.output !== state) return false;
      return extend(later, 'write' in operation.input ? operation.input.write : state);
    });
  };
  return extend(operations, '');
}

void describe('the model of a file', () => {
  const file = fileModel([]);
  const run = (...lines: Line<FileInput, FileOutput>[]): string => verdict(file, ...lines);

  void it('gives every append its own place', () => {
    assert.equal(run([0, 5, { append: 'a' }, 1], [0, 5, { append: 'b' }, 0], [6, 7, { read: true }, ['b', 'a']]), 'linearizable');
    assert.equal(run([0, 5, { append: 'a' }, 0], [0, 5, { append: 'b' }, 0]), 'wrong');
    assert.equal(run([0, 1, { append: 'a' }, 0], [2, 3, { read: true }, ['a', 'a']]), 'wrong');
  });

  void it('knows sizes, holes and truncation', () => {
    assert.equal(run([0, 1, { write: 'a', at: 2 }, 0], [2, 3, { read: true }, ['', '', 'a']], [4, 5, { truncate: 1 }, 0], [6, 7, { size: true }, 1]), 'linearizable');
    assert.equal(run([0, 1, { write: 'a', at: 0 }, 0], [2, 3, { truncate: 0 }, 0], [4, 5, { size: true }, 1]), 'wrong');
  });
});

void describe('the model of names', () => {
  const model = namesModel(new Map(), new Set(['A', 'B']));
  const run = (...lines: Line<NamesInput, NamesOutput>[]): string => verdict(model, ...lines);

  void it('lets one of two exclusive creations win', () => {
    assert.equal(run([0, 5, { create: 'd/x', token: 1 }, { id: 'A' }], [0, 5, { create: 'd/x', token: 2 }, { error: 'EEXIST' }]), 'linearizable');
    assert.equal(run([0, 5, { create: 'd/x', token: 1 }, { id: 'A' }], [0, 5, { create: 'd/x', token: 2 }, { id: 'B' }]), 'wrong');
    assert.equal(run([0, 1, { create: 'd/x', token: 1 }, { error: 'EEXIST' }]), 'wrong');
  });

  void it('refuses an absence that is over and a presence that is gone', () => {
    assert.equal(run([0, 1, { create: 'd/x', token: 1 }, { id: 'A' }], [2, 3, { lookup: 'd/x' }, { error: 'ENOENT' }]), 'wrong');
    assert.equal(run([0, 1, { create: 'd/x', token: 1 }, { id: 'A' }], [2, 3, { unlink: 'd/x' }, {}], [4, 5, { lookup: 'd/x' }, { id: 'A' }]), 'wrong');
  });

  void it('moves over what is there, all at once', () => {
    const made: Line<NamesInput, NamesOutput>[] = [[0, 1, { create: 'd/x', token: 1 }, { id: 'A' }], [2, 3, { create: 'e/y', token: 2 }, { id: 'B' }], [4, 9, { rename: 'd/x', to: 'e/y' }, {}]];
    assert.equal(run(...made, [5, 6, { lookup: 'e/y' }, { id: 'B' }], [7, 8, { list: 'd' }, { names: [] }], [10, 11, { lookup: 'e/y' }, { id: 'A' }]), 'linearizable');
    assert.equal(run(...made, [5, 6, { list: 'd' }, { names: [] }], [7, 8, { lookup: 'e/y' }, { id: 'B' }]), 'wrong');
    assert.equal(run(...made, [5, 6, { lookup: 'e/y' }, { error: 'ENOENT' }]), 'wrong');
  });

  void it('recognises what a lost creation made', () => {
    assert.equal(run([0, Infinity, { create: 'd/x', token: 1 }, undefined], [1, 2, { lookup: 'd/x' }, { id: 'C' }], [3, 4, { lookup: 'd/x' }, { id: 'C' }]), 'linearizable');
    assert.equal(run([0, Infinity, { create: 'd/x', token: 1 }, undefined], [1, 2, { lookup: 'd/x' }, { id: 'C' }], [3, 4, { lookup: 'd/x' }, { id: 'D' }]), 'wrong');
    assert.equal(run([0, Infinity, { create: 'd/x', token: 1 }, undefined], [1, 2, { lookup: 'd/x' }, { id: 'A' }]), 'wrong');
  });

  void it('counts the names of an inode', () => {
    const made: Line<NamesInput, NamesOutput>[] = [[0, 1, { create: 'd/x', token: 1 }, { id: 'A' }], [2, 3, { link: 'A', to: 'd/y' }, {}]];
    assert.equal(run(...made, [4, 5, { lookup: 'd/x' }, { id: 'A', links: 2 }]), 'linearizable');
    assert.equal(run(...made, [4, 5, { lookup: 'd/x' }, { id: 'A', links: 1 }]), 'wrong');
  });
});

void describe('the model of a lock', () => {
  const run = (...lines: Line<LockInput, LockOutput>[]): string => verdict(lockModel, ...lines);

  void it('has one holder', () => {
    assert.equal(run([0, 1, { lock: 'a' }, 'granted'], [2, 3, { lock: 'b' }, 'refused'], [4, 5, { unlock: 'a' }, 'granted'], [6, 7, { lock: 'b' }, 'granted']), 'linearizable');
    assert.equal(run([0, 1, { lock: 'a' }, 'granted'], [2, 3, { lock: 'b' }, 'granted']), 'wrong');
    assert.equal(run([0, 1, { lock: 'a' }, 'refused']), 'wrong');
  });

  void it('goes from a holder that died', () => {
    assert.equal(run([0, 1, { lock: 'a' }, 'granted'], [2, Infinity, { lost: 'a' }, undefined], [3, 4, { lock: 'b' }, 'refused'], [5, 6, { lock: 'b' }, 'granted']), 'linearizable');
  });
});

void describe('a history in parts', () => {
  void it('has one part for each object, in order', () => {
    const parts = partition(history<BlockInput, string>([0, 1, { block: 'a', write: 'x' }, ''], [2, 3, { block: 'b', read: true }, ''], [4, 5, { block: 'a', read: true }, 'x']), (input) => input.block);
    assert.deepEqual([...parts].map(([key, part]) => [key, part.length]), [['a', 2], ['b', 1]]);
  });
});
