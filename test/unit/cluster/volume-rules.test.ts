import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  checkBrickPath,
  checkCounts,
  checkPlaces,
  checkVolumeName,
  overlaps,
} from '../../../src/cluster/volume-rules.js';

describe('rules of a new volume', () => {
  for (const name of ['vms', 'vm-instances', 'A_1', '0']) it(`'${name}' names a volume`, () => checkVolumeName(name));
  for (const name of ['', '-x', 'a/b', 'a b', 'ü', 'all', 'ALL', 'force', 'x'.repeat(256), 'a\0']) {
    it(`${JSON.stringify(name.slice(0, 12))} does not name a volume`, () => assert.throws(() => checkVolumeName(name)));
  }

  const counts: [replica: number, bricks: number, outcome: number | RegExp][] = [
    [0, 1, 1],
    [3, 3, 3],
    [2, 2, 2],
    [5, 5, 5],
    [1, 1, 1],
    [0, 0, /no brick/],
    [0, 3, /replica 3/],
    [3, 2, /multiple/],
    [3, 6, /distribute/],
    [4, 4, /odd/],
    [65, 65, /at most/],
  ];
  for (const [replica, bricks, outcome] of counts) {
    it(`replica ${replica} of ${bricks} bricks: ${String(outcome)}`, () => {
      if (typeof outcome === 'number') assert.equal(checkCounts(replica, bricks), outcome);
      else assert.throws(() => checkCounts(replica, bricks), outcome);
    });
  }

  it('a path is absolute, clean and not the root', () => {
    assert.equal(checkBrickPath('//a///b/'), '/a/b');
    for (const path of ['a', '', '/', '//', '/a/../b', '/./a', '/a\nb', `/${'x'.repeat(1100)}`])
      assert.throws(() => checkBrickPath(path));
  });

  it('paths overlap when one is, holds or lies in the other', () => {
    assert.ok(overlaps('/a', '/a') && overlaps('/a', '/a/b') && overlaps('/a/b', '/a'));
    assert.ok(!overlaps('/a', '/ab') && !overlaps('/a/b', '/a/c'));
  });

  const place = (node: string, path: string) => ({ node, host: node, path });
  it('two bricks on one node need force; the same or nested ones are never allowed', () => {
    assert.throws(() => checkPlaces([place('n', '/a'), place('n', '/b')], [], false), /one node/);
    checkPlaces([place('n', '/a'), place('n', '/b')], [], true);
    checkPlaces([place('n', '/a'), place('m', '/a')], [], false);
    assert.throws(() => checkPlaces([place('n', '/a'), place('n', '/a')], [], true), /twice/);
    assert.throws(() => checkPlaces([place('n', '/a'), place('n', '/a/b')], [], true), /lie in each other/);
  });

  it('the brick of another volume on the same node is in the way', () => {
    const existing = [{ ...place('n', '/a/b'), volume: 'v' }];
    assert.throws(() => checkPlaces([place('n', '/a/b')], existing, true), /is a brick of volume v/);
    assert.throws(() => checkPlaces([place('n', '/a')], existing, true), /contains a brick/);
    assert.throws(() => checkPlaces([place('n', '/a/b/c')], existing, true), /lies in a brick/);
    checkPlaces([place('m', '/a/b')], existing, false);
  });
});
