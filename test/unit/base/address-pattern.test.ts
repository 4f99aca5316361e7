import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matchesAddress } from '../../../src/base/address-pattern.js';

test('a pattern stands for the addresses that it describes, whole', () => {
  const cases: [patterns: string, address: string, expected: boolean][] = [
    ['10.0.0.1', '10.0.0.1', true], ['10.0.0.1', '10.0.0.11', false], ['10.0.0.1', '110.0.0.1', false], ['10.0.0.*', '10.0.0.7', true], ['10.0.0.*', '10.0.1.7', false],
    ['*', 'fe80::1', true], ['*', '', true], ['', '10.0.0.1', false], [' , ', '10.0.0.1', false], ['1.1.1.1, 10.*.2', '10.9.2', true], ['10.*.2', '10.2', false], ['*.2', '10.2', true],
    ['a*b*c', 'axxbyyc', true], ['a*b*c', 'acb', false], ['10.0.0.1*', '10.0.0.1', true], ['10x0', '10.0', false], ['10.0', '10x0', false],
  ];
  for (const [patterns, address, expected] of cases) assert.equal(matchesAddress(patterns, address), expected, `${patterns} ~ ${address}`);
});

test('an IPv4 address over an IPv6 socket cannot slip by', () => {
  assert.equal(matchesAddress('10.0.0.*', '::ffff:10.0.0.7'), true);
  assert.equal(matchesAddress('10.0.0.*', '::ffff:10.0.1.7'), false);
});

test('stars without end cost nothing', () => {
  const begin = performance.now();
  assert.equal(matchesAddress(`${'*1'.repeat(5_000)}x`, '1'.repeat(5_000)), false);
  assert.ok(performance.now() - begin < 1_000);
});
