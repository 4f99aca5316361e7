import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';
import { PROJECT_ROOT } from '../support/scripts.js';

type Results = Record<string, Record<string, number>>;
interface Table {
  median(values: number[]): number;
  standing(results: Results, row: { row: string; bound: number }): { verdict: string; goal?: number };
  alignedTable(lines: string[][]): string;
  numberText(value: number | undefined): string;
  resultTable(results: Results, wanted: Set<string>): string;
}

const table = (await import(pathToFileURL(join(PROJECT_ROOT, 'bench', 'table.mjs')).href)) as Table;
const ROW = { row: 'r', bound: 1 / 3 };

describe('where gluon stands in a row', () => {
  test('below: slower than the better of two profiles, though faster than the other', () => {
    const results = { 'glusterfs-default': { r: 90 }, 'glusterfs-virt': { r: 110 }, gluon: { r: 100 } };
    assert.equal(table.standing(results, ROW).verdict, 'BELOW');
  });

  test('level: exactly as fast as the better profile', () => {
    assert.equal(table.standing({ disk: { r: 10_000 }, 'glusterfs-default': { r: 100 }, gluon: { r: 100 } }, ROW).verdict, 'level');
  });

  test('goal: three times the better profile', () => {
    assert.equal(table.standing({ disk: { r: 10_000 }, 'glusterfs-default': { r: 100 }, gluon: { r: 300 } }, ROW).verdict, 'goal');
  });

  test('goal: 70 % of what the disk allows, where that is less', () => {
    const results = { disk: { r: 600 }, 'glusterfs-default': { r: 100 }, gluon: { r: 140 } };
    assert.deepEqual(table.standing(results, ROW), { verdict: 'goal', goal: 140 });
  });

  test('MooseFS, which promises less, is no reason to be below', () => {
    assert.equal(table.standing({ moosefs: { r: 500 }, 'glusterfs-default': { r: 100 }, gluon: { r: 100 } }, ROW).verdict, 'level');
  });

  test('nothing is claimed without a figure', () => {
    assert.equal(table.standing({ 'glusterfs-default': { r: 100 }, gluon: {} }, ROW).verdict, '-');
    assert.equal(table.standing({ gluon: { r: 5 } }, ROW).verdict, '-');
  });
});

describe('the ratio to MooseFS', () => {
  const wanted = new Set(['stat-cold', 'rename']);
  const cells = (results: Results) => table.resultTable(results, wanted).split('\n').map((line) => line.trimEnd().split(/ {2,}/));
  const gluon = { 'stat-cold': 300, rename: 300 };

  test('is shown for the rows that leases exist for, and no others', () => {
    const [head, stat, rename] = cells({ moosefs: { 'stat-cold': 200, rename: 200 }, gluon });
    const column = head!.indexOf('/ MooseFS');
    assert.equal(stat![column], '1.50x');
    assert.equal(rename![column], '-');
  });

  test('is no column where MooseFS or gluon was not measured', () => {
    assert.ok(!cells({ disk: gluon, gluon })[0]!.includes('/ MooseFS'));
    assert.ok(!cells({ disk: gluon, moosefs: gluon })[0]!.includes('/ MooseFS'));
  });
});

test('the median of an even count is between the two in the middle', () => {
  assert.equal(table.median([4, 1, 3, 2]), 2.5);
  assert.equal(table.median([9, 1, 5]), 5);
});

test('columns are aligned, numbers on the right', () => {
  assert.equal(table.alignedTable([['a', 'bb'], ['ccc', 'd']]), 'a    bb\nccc   d');
});

test('numbers are short', () => {
  assert.deepEqual([0.5, 99.96, 1234, 12_345, 123_456, undefined].map(table.numberText), ['0.5', '100.0', '1,234', '12.3k', '123k', '-']);
});
