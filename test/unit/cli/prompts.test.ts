import assert from 'node:assert/strict';
import test from 'node:test';
import { COMMANDS } from '../../../src/cli/commands/table.js';
import { runShell } from '../../../src/cli/shell.js';
import { context, gluon } from './fakes.js';

const ASKING = ['peer detach server2', 'volume stop vms', 'volume delete vms', 'volume create v replica 2 a:/b c:/d'];

for (const command of ASKING) {
  test(`'${command}' asks, and does nothing on no, with status 0`, async () => {
    for (const answers of [['n'], ['no'], []]) {
      const ran = await gluon(command, { answers });
      assert.deepEqual([ran.status, ran.calls, ran.out, ran.asked.length], [0, [], '', 1]);
      assert.match(ran.asked[0] ?? '', /\? \(y\/n\) $/);
    }
  });

  test(`'${command}' goes on after yes, and unasked with --mode=script`, async () => {
    for (const answers of [['y'], ['YES'], [' y ']]) assert.equal((await gluon(command, { answers })).calls.length, 1);
    const script = await gluon(command, { script: true });
    assert.deepEqual([script.calls.length, script.asked], [1, []]);
  });
}

test('an answer that is neither yes nor no is asked again, and not for ever', async () => {
  const ran = await gluon('volume stop vms', { answers: ['maybe', '', 'y'] });
  assert.deepEqual([ran.asked.length, ran.calls], [3, ['volumeStop vms false']]);
  const endless = await gluon('volume stop vms', { answers: new Array<string>(100).fill('maybe') });
  assert.deepEqual([endless.asked.length, endless.calls], [10, []]);
});

test('giving all options their defaults asks only people', async () => {
  assert.deepEqual((await gluon('volume reset vms')).asked, []);
  assert.equal((await gluon('volume reset vms', { tty: true, answers: ['n'] })).calls.length, 0);
  assert.deepEqual((await gluon('volume reset vms key', { tty: true })).asked, []);
});

test('the interactive prompt runs line after line until quit, exit or the end', async () => {
  for (const end of ['quit', 'exit', undefined]) {
    const calls: string[] = [];
    const lines = [
      '',
      'volume start vms',
      'nonsense',
      'v "x',
      'gluon volume stop vms',
      'y',
      ...(end === undefined ? [] : [end, 'volume start never']),
    ];
    const { context: made, ran } = context({ answers: lines }, calls, new Map());
    assert.equal(await runShell(COMMANDS, made), 0);
    assert.deepEqual(calls, ['volumeStart vms false', 'volumeStop vms false']);
    assert.match(ran.err, /unrecognized word 'nonsense'[^]*quote " is not closed/);
    assert.equal(ran.asked.filter((text) => text === 'gluon> ').length, end === undefined ? 6 : 6);
  }
});
