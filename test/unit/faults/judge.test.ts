/** The judge of real-fault rounds: what it calls lost and wrong, and what it lets pass. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHistory } from '../../faults/history.js';
import { judge, type Circumstances, type Look } from '../../faults/judge.js';

/** `[op, begin, end, outcome or result, ...arguments]`; no end: never answered. */
type Entry = [op: string, begin: number, end: number | undefined, outcome: string | number, ...args: number[]];

function historyOf(client: number, entries: Entry[]): ReturnType<typeof parseHistory> {
  const lines: unknown[] = [];
  for (const [id, [op, begin, end, outcome, ...args]] of entries.entries()) {
    lines.push(['b', id, begin, op, ...args]);
    if (end !== undefined) lines.push(typeof outcome === 'number' ? ['e', id, end, 'ok', outcome] : ['e', id, end, outcome]);
  }
  return parseHistory(client, lines.map((line) => JSON.stringify(line)).join('\n'));
}

const NOTHING: Look = { begin: 900, ns: 1000, blocks: [0], log: [], names: {} };

interface Case {
  one: Entry[];
  look?: Partial<Look>;
  cut?: Circumstances['cut'];
  mayFail?: string;
  lost?: number;
  wrong?: number;
}

const CUT = { begin: 100, end: 110 };

const CASES: Record<string, Case> = {
  'nothing at all': { one: [] },
  'a write that is there': { one: [['write', 1, 2, 'ok', 0, 7]], look: { blocks: [7] } },
  'a write that is gone': { one: [['write', 1, 2, 'ok', 0, 7]], lost: 1, wrong: 1 },
  'a write without an answer is there': { one: [['write', 1, undefined, '', 0, 7]], look: { blocks: [7] } },
  'a write without an answer is not there': { one: [['write', 1, undefined, '', 0, 7]] },
  'garbage in a block': { one: [], look: { blocks: [-1] }, wrong: 1 },
  'an error': { one: [['write', 1, 2, 'EIO', 0, 7]], wrong: 1 },
  'an error that may be': { one: [['write', 1, 2, 'ENOSPC', 0, 7]], mayFail: 'ENOSPC' },
  'another error than the one that may be': { one: [['write', 1, 2, 'EIO', 0, 7]], mayFail: 'ENOSPC', wrong: 1 },
  'a record that is there': { one: [['append', 1, 2, 'ok', 1]], look: { log: [[1, 1]] } },
  'a record that is gone': { one: [['append', 1, 2, 'ok', 1]], lost: 1 },
  'a record that is there twice': { one: [['append', 1, 2, 'ok', 1]], look: { log: [[1, 1], [1, 1]] }, wrong: 1 },
  'a record that nobody wrote': { one: [], look: { log: [[1, 1]] }, wrong: 1 },
  'records out of order': { one: [['append', 1, 2, 'ok', 1], ['append', 3, 4, 'ok', 2]], look: { log: [[1, 2], [1, 1]] }, wrong: 1 },
  'garbage in the log': { one: [], look: { log: ['garbage'] }, wrong: 1 },
  'a name that was made': { one: [['create', 1, 2, 'ok', 1]], look: { names: { '1-1.new': 1 } } },
  'a name that is gone': { one: [['create', 1, 2, 'ok', 1]], lost: 1 },
  'a rename that is undone': { one: [['create', 1, 2, 'ok', 1], ['rename', 3, 4, 'ok', 1]], look: { names: { '1-1.new': 1 } }, lost: 1 },
  'both names of a rename': { one: [['create', 1, 2, 'ok', 1], ['rename', 3, 4, 'ok', 1]], look: { names: { '1-1.new': 1, '1-1': 1 } }, wrong: 1 },
  'a removed name': { one: [['create', 1, 2, 'ok', 3], ['rename', 3, 4, 'ok', 3], ['unlink', 5, 6, 'ok', 3]] },
  'a removed name that is back': { one: [['create', 1, 2, 'ok', 3], ['rename', 3, 4, 'ok', 3], ['unlink', 5, 6, 'ok', 3]], look: { names: { '1-3': 3 } }, wrong: 1 },
  'a removal without an answer': { one: [['create', 1, 2, 'ok', 3], ['rename', 3, 4, 'ok', 3], ['unlink', 5, undefined, '', 3]], look: { names: { '1-3': 3 } } },
  'content that is gone': { one: [['create', 1, 2, 'ok', 2], ['rename', 3, 4, 'ok', 2]], look: { names: { '1-2': 0 } }, lost: 1 },
  'the last replacement': { one: [['create', 1, 2, 'ok', 1], ['rename', 3, 4, 'ok', 1], ['replace', 5, 6, 'ok', 1]], look: { names: { 'current-1': 1 } } },
  'a replacement that is lost': { one: [['create', 1, 2, 'ok', 1], ['rename', 3, 4, 'ok', 1], ['replace', 5, 6, 'ok', 1]], lost: 1, wrong: 1 },
  'a name that nobody made': { one: [], look: { names: { what: 1 } }, wrong: 1 },
  'power: what was not synced may go': { one: [['write', 1, 2, 'ok', 0, 7], ['append', 1, 2, 'ok', 1], ['create', 3, 4, 'ok', 1]], cut: CUT },
  'power: what was synced must stay': { one: [['write', 1, 2, 'ok', 0, 7], ['fsync', 3, 4, 'ok']], cut: CUT, lost: 1 },
  'power: a sync that began before the write says nothing of it': { one: [['fsync', 1, 4, 'ok'], ['write', 2, 3, 'ok', 0, 7]], cut: CUT },
  'power: acknowledged while the power went, and gone': { one: [['write', 1, 2, 'ok', 0, 7], ['write', 99, 105, 'ok', 0, 8], ['read', 106, 107, 8, 0]], look: { blocks: [7] }, cut: CUT },
  'power: acknowledged while the power went, and there': { one: [['write', 99, 105, 'ok', 0, 8]], look: { blocks: [8] }, cut: CUT },
  'power: in flight when the power went, acknowledged afterwards, and gone': { one: [['write', 99, 200, 'ok', 0, 8]], look: { blocks: [0] }, cut: CUT, wrong: 1 },
  'power: a sync that succeeded afterwards, and what it is about is gone': { one: [['write', 1, 2, 'ok', 0, 7], ['fsync', 99, 200, 'ok']], cut: CUT, lost: 1 },
  'power: a sync that fails afterwards, and later ones do not': { one: [['write', 1, 2, 'ok', 0, 7], ['fsync', 99, 200, 'EIO'], ['fsync', 201, 202, 'ok']], cut: CUT, mayFail: 'EIO' },
  'power: a record whose first sync succeeded afterwards, and that is gone': { one: [['append', 1, 2, 'ok', 1], ['log fsync', 99, 200, 'ok']], cut: CUT, lost: 1 },
  'power: a sync that was cut short says nothing': { one: [['write', 1, 2, 'ok', 0, 7], ['fsync', 3, undefined, '']], cut: CUT },
  'power: acknowledged afterwards must stay': { one: [['append', 90, 200, 'ok', 1]], cut: CUT, lost: 1 },
  'power: a synced record must stay': { one: [['append', 1, 2, 'ok', 1], ['log fsync', 3, 4, 'ok']], cut: CUT, lost: 1 },
  'power: a synced name must stay': { one: [['create', 1, 2, 'ok', 1], ['names fsync', 3, 4, 'ok']], cut: CUT, lost: 1 },
  'power: zeros in place of a record that was not synced': { one: [['append', 1, 2, 'ok', 1], ['append', 3, 4, 'ok', 2]], look: { log: [null, [1, 2]] }, cut: CUT },
  'power: an old value, then another old one': {
    one: [['write', 1, 2, 'ok', 0, 7], ['write', 3, 4, 'ok', 0, 8], ['read', 200, 201, 7, 0]],
    look: { blocks: [8] },
    cut: CUT,
    wrong: 2,
  },
};

for (const [name, { one, look, cut, mayFail, lost = 0, wrong = 0 }] of Object.entries(CASES)) {
  test(`${name}: ${lost} lost, ${wrong} wrong`, () => {
    const verdict = judge([historyOf(1, one)], [{ ...NOTHING, ...look }], { mayFail: ({ outcome }) => outcome === mayFail, ...(cut === undefined ? {} : { cut }) });
    assert.deepEqual([verdict.lost.length, verdict.wrong.length], [lost, wrong], JSON.stringify(verdict));
  });
}

test('mounts that show different things are wrong', () => {
  const verdict = judge([], [NOTHING, { ...NOTHING, blocks: [1] }], { mayFail: () => false });
  assert.ok(verdict.wrong.some((text) => text.includes('mount 2')));
});

test('only what was acknowledged counts', () => {
  const one = historyOf(1, [['write', 1, 2, 'ok', 0, 7], ['read', 3, 4, 7, 0], ['write', 5, 6, 'ENOSPC', 0, 8], ['write', 7, undefined, '', 0, 9]]);
  assert.equal(judge([one], [{ ...NOTHING, blocks: [7] }], { mayFail: () => true }).acknowledged, 1);
});
