/** What the README promises of `npm run quickstart`: up, up again, repaired after kills, down without a trace. In a network of its own. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, lstatSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { run, shell, type RunResult } from '../support/exec.js';
import { inNamespace } from '../support/network.js';
import { PACKAGE_ROOT } from '../support/paths.js';
import { processesMarked, signal, type Process } from '../support/processes.js';

const UP_MS = 240_000;
const namespace = `${process.env['GLUON_TEST_RUN'] ?? 'gluontest'}-${randomBytes(3).toString('hex')}`;
let scratch: string;
let directory: string;
let helperBefore: boolean;

function quickstart(words: string[], accept: number[] = [0]): Promise<RunResult> {
  const script = [process.execPath, join(PACKAGE_ROOT, 'scripts', 'quickstart.mjs'), '--dir', directory, ...words];
  const [command = '', ...rest] = inNamespace(namespace, script);
  return run(command, rest, { boundMs: UP_MS, accept });
}

function processes(): Process[] {
  return processesMarked(`GLUON_QUICKSTART=${directory}`);
}

function mount(node: number): string {
  return join(directory, `node${node}`, 'mnt');
}

before(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'qs-'));
  directory = join(scratch, 'q');
  helperBefore = lstatSync('/sbin/mount.gluon', { throwIfNoEntry: false }) !== undefined;
  await shell('ip netns add "$1"; ip -n "$1" link set lo up', [namespace]);
});

after(async () => {
  await quickstart(['--down'], [0, 1]);
  await run('ip', ['netns', 'delete', namespace], { accept: 'any' });
  rmSync(scratch, { recursive: true, force: true });
});

test('brings up a mounted volume and shows the commands it used', async () => {
  const { stdout } = await quickstart([]);
  for (const shown of ['peer probe 127.0.0.2', 'peer probe 127.0.0.3', 'volume create vm-instances replica 3', 'volume start vm-instances', 'mount -t gluon']) {
    assert.ok(stdout.includes(shown), `${shown} is shown in\n${stdout}`);
  }
  assert.match(stdout, /^gluon is up:/m);
});

test('what is written on one mount is on the others and a plain file on the bricks', async () => {
  await shell('echo hello > "$1/file"; cmp "$1/file" "$2/file"; cmp "$1/file" "$3/file"', [mount(1), mount(2), mount(3)], { boundMs: 20_000 });
  for (const node of [1, 2, 3]) assert.equal(readFileSync(join(directory, `node${node}`, 'brick', 'file'), 'utf8'), 'hello\n');
});

test('run again it starts nothing and says how to use what is there', async () => {
  const before = processes().map(({ pid }) => pid);
  const { stdout } = await quickstart([]);
  assert.match(stdout, /^gluon was up already:/m);
  assert.deepEqual(processes().map(({ pid }) => pid), before);
});

test('run again after everything of node 2 was killed it brings that back, with the data', async () => {
  const ofNode = processes().filter(({ command }) => command.join(' ').includes(`${directory}/node2/`));
  assert.ok(ofNode.length >= 2, 'a daemon and its brick at least');
  for (const { pid } of ofNode) signal(pid, 'SIGKILL');
  await shell('echo during > "$1/during"', [mount(1)], { boundMs: 30_000 });
  await quickstart([]);
  await shell('cmp "$1/file" "$2/file"; cmp "$1/during" "$2/during"', [mount(1), mount(2)], { boundMs: 30_000 });
});

test('down leaves no process, mount, file or helper', async () => {
  await quickstart(['--down']);
  assert.deepEqual(processes(), []);
  assert.ok(!readFileSync('/proc/self/mounts', 'utf8').includes(directory));
  assert.ok(!existsSync(directory));
  assert.equal(lstatSync('/sbin/mount.gluon', { throwIfNoEntry: false }) !== undefined, helperBefore);
});

test('down again is no error', async () => {
  const { stdout } = await quickstart(['--down']);
  assert.match(stdout, /nothing is up/);
});
