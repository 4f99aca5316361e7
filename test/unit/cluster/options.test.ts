import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkOption, findOption, groupOptions, optionHelp } from '../../../src/cluster/option-values.js';
import { GROUPS, OPTIONS } from '../../../src/cluster/options.js';

describe('options of a volume', () => {
  it('every option has a key of its own, and a default that it would take itself', () => {
    assert.equal(new Set(OPTIONS.map((option) => option.key)).size, OPTIONS.length);
    for (const option of OPTIONS) {
      if (option.effect.kind === 'refused' || option.defaultValue === '') continue;
      assert.doesNotThrow(() => checkOption(option.key, option.defaultValue), option.key);
      assert.equal(option.type === 'enum', option.values !== undefined, option.key);
    }
  });

  it('the help of every option says what setting it does', () => {
    for (const option of OPTIONS) assert.match(optionHelp(option), /\.$/, option.key);
  });

  it('every pair of every group is taken', () => {
    for (const group of Object.keys(GROUPS))
      for (const [key, value] of groupOptions(group)) assert.doesNotThrow(() => checkOption(key, value), key);
    assert.throws(() => groupOptions('nope'), /there is virt/);
    assert.throws(() => groupOptions('constructor'), /no option group/);
  });

  const table: [key: string, text: string, outcome: string | RegExp][] = [
    ['network.ping-timeout', '20', '20'],
    ['network.ping-timeout', '1min', '60'],
    ['network.ping-timeout', '3', /from 4 to 1013/],
    ['network.ping-timeout', '', /give seconds/],
    ['network.ping-timeout', '1e9', /give seconds/],
    ['ping-timeout', '20', '20'],
    ['keepalive-time', '20', /could be server\.keepalive-time or client\.keepalive-time/],
    ['features.shard', 'ENABLE', 'on'],
    ['features.shard', 'perhaps', /on or off/],
    ['performance.cache-size', '1GB', '1GB'],
    ['performance.cache-size', '64GB', /size/],
    ['cluster.quorum-type', 'Auto', 'auto'],
    ['cluster.quorum-type', 'fixed', /always auto/],
    ['cluster.quorum-type', 'sometimes', /none, fixed, auto/],
    ['client.event-threads', '2.5', /whole number/],
    ['auth.allow', '10.0.0.*, host-1', '10.0.0.*,host-1'],
    ['auth.allow', '10.0.0.1;rm', /not an address/],
    ['server.root-squash', 'on', /not supported/],
    ['user.anything', 'text', 'text'],
    ['user.anything', 'a\nb', /control characters/],
    ['netwrok.ping-timeout', '20', /did you mean network\.ping-timeout/],
    ['__proto__', 'x', /no option/],
  ];
  for (const [key, text, outcome] of table) {
    it(`${key} = ${JSON.stringify(text)}: ${String(outcome)}`, () => {
      if (typeof outcome === 'string') assert.equal(checkOption(key, text).value, outcome);
      else assert.throws(() => checkOption(key, text), outcome);
    });
  }

  it('what is kept without effect is said', () => {
    assert.match(checkOption('performance.io-cache', 'on').note, /changes nothing/);
    assert.equal(checkOption('network.ping-timeout', '20').note, '');
    assert.ok('user' in findOption('user.x'));
  });
});
