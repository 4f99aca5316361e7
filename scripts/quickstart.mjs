#!/usr/bin/env node
/**
 * `npm run quickstart`: three nodes on this machine, a volume of three replicas, mounted three times. From a fresh Debian 12 with only Node 20
 * and root. Every step is skipped when it is done already, so it can be interrupted and run again, and repairs what was killed.
 *
 *   DIR/quickstart.json      ports and what was put in place outside DIR
 *   DIR/node1..3/state       state folder of a gluond     DIR/node1..3/brick   its copy of the volume, plain files
 *   DIR/node1..3/gluond.log  its log                      DIR/node1..3/mnt     the volume, mounted
 */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, lstatSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { endAll, markedProcesses, mounts } from './lib/processes.mjs';
import { assertNode, build, ensureModules, ensurePackages, packageList } from './lib/setup.mjs';
import { must, progress, PROJECT_ROOT, run, script, shellText, StepError, waitFor } from './lib/steps.mjs';

const DIRECTORY_DEFAULT = '/var/lib/gluon-quickstart';
const VOLUME = 'vm-instances';
const NODES = 3;
const PORT_DEFAULT = 24007;
const PORT_STEP = 100;
const MARK = 'GLUON_QUICKSTART';
const HELPER = '/sbin/mount.gluon';
const GLUON = join(PROJECT_ROOT, 'bin', 'gluon');
const HELPER_SOURCE = join(PROJECT_ROOT, 'deploy', 'mount.gluon');

const HELP = `usage: npm run quickstart [-- --dir DIR] [--down]

Starts three gluon nodes on 127.0.0.1 to 127.0.0.3 with a mounted volume of three replicas. --down removes all of it again.
  --dir DIR   where nodes, bricks and mounts live (default ${DIRECTORY_DEFAULT})
`;

/** One quickstart: where its things are. */
class Quickstart {
  constructor(directory) {
    this.directory = resolve(directory);
    this.file = join(this.directory, 'quickstart.json');
    this.settings = existsSync(this.file) ? JSON.parse(readFileSync(this.file, 'utf8')) : { port: undefined, placedHelper: false };
    this.nodes = Array.from({ length: NODES }, (_, index) => {
      const home = join(this.directory, `node${index + 1}`);
      return { number: index + 1, address: `127.0.0.${index + 1}`, home, state: join(home, 'state'), brick: join(home, 'brick'), mount: join(home, 'mnt') };
    });
  }

  save() {
    writeFileSync(this.file, `${JSON.stringify(this.settings, undefined, 2)}\n`);
  }

  /** How a peer is called when it is probed: the port only when it is not the usual one. */
  host(node) {
    return this.settings.port === PORT_DEFAULT ? node.address : `${node.address}:${this.settings.port}`;
  }

  environment() {
    return { ...process.env, [MARK]: this.directory };
  }

  processes() {
    return markedProcesses(MARK, this.directory);
  }

  mounts() {
    return mounts(({ path }) => path.startsWith(`${this.directory}/`));
  }

  gluonWords(node, words) {
    return [GLUON, `--state-dir=${node.state}`, ...words];
  }
}

function show(words) {
  const shown = words[0] === process.execPath ? words.slice(1) : words;
  process.stdout.write(`\n$ ${shellText(shown)}\n`);
}

/** Runs a gluon command as the user would type it, shown with its output. */
async function gluon(quickstart, node, words, { quiet = false, timeoutMs = 90_000 } = {}) {
  const typed = quickstart.gluonWords(node, words);
  if (!quiet) show(typed);
  const result = await run([process.execPath, ...typed], { env: quickstart.environment(), timeoutMs });
  if (!quiet) process.stdout.write(`${result.stdout}${result.stderr}`);
  if (!quiet && result.status !== 0) throw new StepError(`${shellText(typed)}: ${result.timedOut ? `no answer in ${timeoutMs / 1000} s` : `status ${result.status}`}\n${logTails(quickstart)}`);
  return result;
}

function logTails(quickstart) {
  return quickstart.nodes
    .map(({ number, home }) => {
      const path = join(home, 'gluond.log');
      if (!existsSync(path)) return '';
      return `last lines of ${path} (node ${number}):\n${readFileSync(path, 'utf8').trimEnd().split('\n').slice(-6).join('\n')}`;
    })
    .join('\n');
}

async function portFree(host, port) {
  const code = await new Promise((answer) => {
    const server = createServer();
    server.once('error', (error) => answer(error.code));
    server.listen({ host, port, exclusive: true }, () => server.close(() => answer(undefined)));
  });
  if (code === 'EADDRNOTAVAIL') throw new StepError(`${host} is not an address of this machine: is the loopback interface up? (ip link set lo up)`);
  return code === undefined;
}

/** One port that is free on all addresses: the usual one, or the next that is. */
async function choosePort(quickstart) {
  for (let port = PORT_DEFAULT; port < PORT_DEFAULT + 50 * PORT_STEP; port += PORT_STEP) {
    const free = await Promise.all(quickstart.nodes.map(({ address }) => portFree(address, port)));
    if (free.every(Boolean)) {
      if (port !== PORT_DEFAULT) progress(`port ${PORT_DEFAULT} is taken on this machine: the nodes listen on ${port}`);
      return port;
    }
  }
  throw new StepError(`no port from ${PORT_DEFAULT} in steps of ${PORT_STEP} is free on 127.0.0.1 to 127.0.0.${NODES}`);
}

async function answers(quickstart, node) {
  return (await gluon(quickstart, node, ['pool', 'list'], { quiet: true, timeoutMs: 10_000 })).status === 0;
}

async function startNode(quickstart, node) {
  mkdirSync(node.state, { recursive: true, mode: 0o700 });
  mkdirSync(node.brick, { recursive: true });
  if (await answers(quickstart, node)) return;
  const words = [join(PROJECT_ROOT, 'bin', 'gluond'), '--name', node.address, '--listen', `${node.address}:${quickstart.settings.port}`, '--state-dir', node.state];
  const log = join(node.home, 'gluond.log');
  process.stdout.write(`\n$ ${shellText(words)} >>${shellText([log])} 2>&1 &\n`);
  const output = openSync(log, 'a');
  const child = spawn(process.execPath, words, { cwd: '/', detached: true, stdio: ['ignore', output, output], env: quickstart.environment() });
  closeSync(output);
  let ended;
  child.on('error', (error) => (ended = error.message));
  child.on('exit', (status, signal) => (ended = signal ?? `status ${status}`));
  await waitFor(`gluond of node ${node.number} to answer; its log is ${log}`, 30_000, async () => {
    if (ended !== undefined) throw new StepError(`gluond of node ${node.number} ended with ${ended}\n${logTails(quickstart)}`);
    return answers(quickstart, node);
  });
  child.unref();
}

async function connectedPeers(quickstart, node) {
  const { stdout } = await gluon(quickstart, node, ['pool', 'list'], { quiet: true, timeoutMs: 15_000 });
  return stdout.split('\n').filter((line) => /\tConnected\s*$/.test(line)).length;
}

async function joinPool(quickstart) {
  const [first, ...others] = quickstart.nodes;
  const listed = (await gluon(quickstart, first, ['pool', 'list'], { quiet: true })).stdout;
  for (const node of others) {
    if (listed.split('\n').some((line) => line.split('\t').some((word) => word.trim() === node.address))) continue;
    await gluon(quickstart, first, ['peer', 'probe', quickstart.host(node)]);
  }
  for (const node of quickstart.nodes) {
    await waitFor(`node ${node.number} to be connected with the others`, 60_000, async () => (await connectedPeers(quickstart, node)) === NODES, 500);
  }
}

async function startVolume(quickstart) {
  const [first] = quickstart.nodes;
  const info = () => gluon(quickstart, first, ['volume', 'info', VOLUME], { quiet: true });
  if ((await info()).status !== 0) {
    const bricks = quickstart.nodes.map((node) => `${node.address}:${node.brick}`);
    // `force`: the bricks lie on the root filesystem, which is refused otherwise.
    await gluon(quickstart, first, ['volume', 'create', VOLUME, 'replica', String(NODES), ...bricks, 'force']);
  }
  if (!/^Status: Started/m.test((await info()).stdout)) await gluon(quickstart, first, ['--mode=script', 'volume', 'start', VOLUME]);
}

/** mount(8) runs its helpers with a short path, on which Node may not be: this one knows where it is. */
const HELPER_MARK = "# put in place by gluon's quickstart, removed by 'npm run quickstart -- --down'";
const HELPER_TEXT = `#!/bin/sh
${HELPER_MARK}
PATH=$PATH:'${dirname(process.execPath)}'
export PATH
exec '${HELPER_SOURCE}' "$@"
`;

/** Puts the helper in place that \`mount -t gluon\` calls, unless the machine has one that works. */
function placeHelper(quickstart) {
  const present = lstatSync(HELPER, { throwIfNoEntry: false });
  const text = present !== undefined && existsSync(HELPER) ? readFileSync(HELPER, 'utf8') : undefined;
  if (text === HELPER_TEXT) return;
  const target = /^exec '([^']+)'/m.exec(text ?? '')?.[1];
  const usable = text !== undefined && (target === undefined || existsSync(target));
  if (usable) {
    progress(`${HELPER} is there already and is used as it is`);
    return;
  }
  // A link or a helper that leads to a checkout that was removed.
  rmSync(HELPER, { force: true });
  writeFileSync(HELPER, HELPER_TEXT, { mode: 0o755 });
  quickstart.settings.placedHelper = true;
  quickstart.save();
}

function removeHelper(quickstart) {
  // It may have been placed from another checkout.
  if (quickstart.settings.placedHelper && existsSync(HELPER) && readFileSync(HELPER, 'utf8').includes(HELPER_MARK)) rmSync(HELPER);
}

async function mountWorks(path) {
  return (await run(['stat', '-f', path], { timeoutMs: 15_000 })).status === 0;
}

async function mountNode(quickstart, node) {
  const there = quickstart.mounts().some(({ path }) => path === node.mount);
  if (there && (await mountWorks(node.mount))) return;
  // Supervisor and worker were both killed: nothing serves this mount any more.
  if (there) await run(['umount', '-l', node.mount], { timeoutMs: 10_000 });
  mkdirSync(node.mount, { recursive: true });
  const options = [`log-file=${join(node.home, 'mount.log')}`];
  if (quickstart.settings.port !== PORT_DEFAULT) options.push(`server-port=${quickstart.settings.port}`);
  const words = ['mount', '-t', 'gluon', '-o', options.join(','), `${node.address}:${VOLUME}`, node.mount];
  show(words);
  const result = await run(words, { env: quickstart.environment(), timeoutMs: 60_000 });
  process.stdout.write(`${result.stdout}${result.stderr}`);
  if (result.status !== 0) throw new StepError(`the volume could not be mounted on ${node.mount}\n${logTails(quickstart)}`);
  if (!(await mountWorks(node.mount))) throw new StepError(`${node.mount} is mounted but does not answer; its log is ${join(node.home, 'mount.log')}`);
}

async function assertFuse() {
  if (process.getuid() !== 0) throw new StepError('root is needed: the quickstart mounts filesystems and may install Debian packages');
  if (existsSync('/dev/fuse')) return;
  if (existsSync('/sbin/modprobe')) await run(['/sbin/modprobe', 'fuse'], { timeoutMs: 20_000 });
  if (!existsSync('/dev/fuse')) throw new StepError('/dev/fuse is missing: load the kernel module fuse (modprobe fuse), or start the container with --device /dev/fuse');
}

function tellNext(quickstart, begun) {
  const [first, second, third] = quickstart.nodes;
  const command = shellText(quickstart.gluonWords(first, []));
  process.stdout.write(`
${begun ? 'gluon is up' : 'gluon was up already'}: volume ${VOLUME}, three replicas, mounted on

  ${quickstart.nodes.map(({ mount }) => mount).join('\n  ')}

Try:
  echo hello > ${first.mount}/file && cat ${second.mount}/file     # written on one node, read on another
  ls -l ${third.brick}                   # a brick holds plain files
  alias gluon='${command}'
  gluon volume status                     # gluon peer status, gluon volume info, gluon help
  kill -9 $(gluon volume status ${VOLUME} --json | grep -o '"pid": [1-9][0-9]*' | head -1 | grep -o '[0-9]*$')    # kill a brick: I/O goes on
  gluon volume heal ${VOLUME} info        # what it has missed; it heals by itself
  npm run bench                           # speed, beside the bare disk
  npm run quickstart -- --down${quickstart.directory === DIRECTORY_DEFAULT ? '' : ` --dir ${shellText([quickstart.directory])}`}            # remove all of it
`);
}

/** Brings everything up that is not; resolves with `{mounts, nodes}`. */
export async function quickstartUp(directory = DIRECTORY_DEFAULT) {
  assertNode();
  await assertFuse();
  await ensurePackages(packageList('run'));
  await ensureModules();
  progress('building');
  await build();
  const quickstart = new Quickstart(directory);
  const before = quickstart.processes().map(({ pid }) => pid);
  mkdirSync(quickstart.directory, { recursive: true });
  if (quickstart.settings.port === undefined) {
    quickstart.settings.port = await choosePort(quickstart);
    quickstart.save();
  }
  for (const node of quickstart.nodes) await startNode(quickstart, node);
  await joinPool(quickstart);
  await startVolume(quickstart);
  placeHelper(quickstart);
  for (const node of quickstart.nodes) await mountNode(quickstart, node);
  const begun = quickstart.processes().some(({ pid }) => !before.includes(pid));
  return { quickstart, begun, directory: quickstart.directory, mounts: quickstart.nodes.map(({ mount }) => mount) };
}

async function quickstartDown(directory) {
  const quickstart = new Quickstart(directory);
  if (!existsSync(quickstart.directory)) {
    process.stdout.write(`nothing is up in ${quickstart.directory}\n`);
    return;
  }
  if (!existsSync(quickstart.file)) throw new StepError(`${quickstart.directory} has no quickstart.json: it is not a quickstart's folder, nothing was touched`);
  for (const { path } of quickstart.mounts()) {
    progress(`unmounting ${path}`);
    if ((await run(['umount', path], { timeoutMs: 20_000 })).status !== 0) {
      progress(`${path} is in use: detaching it`);
      await must(['umount', '-l', path], { timeoutMs: 10_000 });
    }
  }
  const count = quickstart.processes().length;
  if (count > 0) progress(`ending ${count} processes`);
  // The daemons first: a gluond that lives starts its bricks again.
  const daemons = () => quickstart.processes().filter(({ words }) => words.some((word) => word.endsWith('/gluond') || word.endsWith('/gluond.js')));
  await endAll(daemons, 15_000);
  // An etcd that is the last of its cluster waits ten seconds for the others; nothing of it is kept here.
  const left = await endAll(() => quickstart.processes(), 3_000);
  if (left.length > 0) throw new StepError(`these processes do not end: ${left.map(({ pid, command }) => `${pid} (${command})`).join(', ')}`);
  const mounted = quickstart.mounts();
  if (mounted.length > 0) throw new StepError(`still mounted below ${quickstart.directory}: ${mounted.map(({ path }) => path).join(', ')}; its files were not removed`);
  removeHelper(quickstart);
  rmSync(quickstart.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  progress(`removed ${quickstart.directory}`);
  const other = mounts(({ source, type }) => type.startsWith('fuse') && /^127\.0\.0\.[123]:/.test(source) && source.includes(VOLUME));
  for (const { path } of other) process.stdout.write(`${path} still has the volume mounted: umount ${path}\n`);
}

async function main() {
  let values;
  try {
    ({ values } = parseArgs({ options: { dir: { type: 'string', default: DIRECTORY_DEFAULT }, down: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } } }));
  } catch (error) {
    throw new StepError(`${error.message}\n${HELP}`);
  }
  if (values.help) process.stdout.write(HELP);
  else if (values.down) await quickstartDown(values.dir);
  else {
    const { quickstart, begun } = await quickstartUp(values.dir);
    tellNext(quickstart, begun);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await script(main, async () => {
    process.stderr.write("interrupted: run it again to go on, or with '-- --down' to remove what is there\n");
  });
}
