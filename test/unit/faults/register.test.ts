/** The checker of registers knows good histories from bad ones, and agrees with trying every order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { registerProblems, type RegisterOp } from '../../faults/register.js';

const write = (value: number, begin: number, end = Infinity): RegisterOp => ({ kind: 'write', value, begin, end });
const read = (value: number, begin: number, end: number): RegisterOp => ({ kind: 'read', value, begin, end });

const GOOD: Record<string, RegisterOp[]> = {
  'nothing happened': [],
  'what was there first is read': [read(0, 1, 2)],
  'a write is read after it ended': [write(1, 1, 2), read(1, 3, 4)],
  'a read beside a write may return the old value': [write(1, 1, 5), read(0, 2, 3)],
  'a read beside a write may return the new value': [write(1, 1, 5), read(1, 2, 3)],
  'two writes at the same time, either may be last': [write(1, 1, 5), write(2, 1, 5), read(1, 6, 7), read(1, 8, 9)],
  'a write without an answer took effect': [write(1, 1), read(0, 2, 3), read(1, 4, 5), read(1, 6, 7)],
  'a write without an answer took no effect': [write(1, 1), read(0, 2, 3), read(0, 4, 5)],
  'a write without an answer takes effect between two others': [write(1, 1), write(2, 2, 3), read(2, 4, 5), read(1, 6, 7)],
};

const BAD: Record<string, RegisterOp[]> = {
  'a stale read': [write(1, 1, 2), read(0, 3, 4)],
  'a lost write': [write(1, 1, 2), write(2, 3, 4), read(1, 5, 6)],
  'a value of the future': [read(1, 1, 2), write(1, 3, 4)],
  'a value that nobody wrote': [read(7, 1, 2)],
  'garbage': [write(1, 1, 2), read(-1, 3, 4)],
  'a new value is seen, then the old one': [write(1, 1, 9), read(1, 2, 3), read(0, 4, 5)],
  'two writes at the same time in two orders': [write(1, 1, 5), write(2, 1, 5), read(1, 6, 7), read(2, 8, 9), read(1, 10, 11)],
  'a write without an answer flickers': [write(1, 1), read(1, 2, 3), read(0, 4, 5)],
  'a write within the time of another value': [write(1, 1, 2), read(1, 3, 4), write(2, 5, 6), read(1, 7, 8)],
};

for (const [name, ops] of Object.entries(GOOD)) test(`good: ${name}`, () => assert.deepEqual(registerProblems(ops), []));
for (const [name, ops] of Object.entries(BAD)) test(`bad: ${name}`, () => assert.notDeepEqual(registerProblems(ops), []));

/** The definition itself: some order that respects real time and explains every read. */
function explained(ops: RegisterOp[]): boolean {
  const search = (left: RegisterOp[], value: number): boolean => {
    if (left.every((op) => op.end === Infinity)) return true;
    const bound = Math.min(...left.map((op) => op.end));
    return left.some((op) => {
      if (op.begin > bound) return false;
      const rest = left.filter((other) => other !== op);
      if (op.kind === 'write') return search(rest, op.value);
      return (op.end === Infinity || op.value === value) && search(rest, value);
    });
  };
  return search(ops, 0);
}

test('the checker agrees with the definition', () => {
  const op = fc.record({ kind: fc.constantFrom('write' as const, 'read' as const), value: fc.integer({ min: 0, max: 3 }), begin: fc.integer({ min: 0, max: 14 }), length: fc.integer({ min: 1, max: 8 }), answered: fc.boolean() });
  fc.assert(
    fc.property(fc.array(op, { maxLength: 7 }), (given) => {
      let values = 0;
      // Instants are told apart, as those of a clock in nanoseconds are; writes carry values of their own.
      const ops = given.map(({ kind, value, begin, length, answered }, i): RegisterOp => {
        const from = begin + i / 100;
        const end = kind === 'write' && !answered ? Infinity : from + length + 0.001;
        return { kind, value: kind === 'write' ? ++values : value, begin: from, end };
      });
      assert.equal(registerProblems(ops).length === 0, explained(ops), JSON.stringify(ops));
    }),
    { numRuns: 3000, seed: 1 },
  );
});
