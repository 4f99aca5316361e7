/** What a fresh Debian 12 with only Node 20 and root lacks: Debian packages, npm dependencies, the build. Each is done only when needed. */
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { must, progress, PROJECT_ROOT, run, sleep, StepError } from './steps.mjs';

const APT_LOCK_WAIT_SECONDS = 300;
const APT_ATTEMPTS_MAX = 4;
const POLICY_FILE = '/usr/sbin/policy-rc.d';
/** Services that Debian starts and enables with a package of ours, although gluon (or a test) runs its own. */
const UNWANTED_SERVICES = { 'etcd-server': ['etcd.service'], 'glusterfs-server': ['glusterd.service'], rpcbind: ['rpcbind.service', 'rpcbind.socket'] };

/** The words of `scripts/packages-<list>.txt`; `#` begins a comment. A list that does not exist is empty. */
export function packageList(list) {
  const path = join(PROJECT_ROOT, 'scripts', `packages-${list}.txt`);
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .replace(/#.*$/gm, '')
    .split(/\s+/)
    .filter((word) => word !== '');
}

/** Those of `names` that dpkg does not have installed. */
export async function missingPackages(names) {
  if (names.length === 0) return [];
  const { stdout } = await run(['dpkg-query', '-W', '-f', '${Package} ${db:Status-Status}\n', ...names]);
  const installed = new Set(
    stdout
      .split('\n')
      .filter((line) => line.endsWith(' installed'))
      .map((line) => line.split(' ')[0]),
  );
  return names.filter((name) => !installed.has(name));
}

async function apt(words, timeoutMs) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', NEEDRESTART_MODE: 'l' };
  const options = ['-q', '-y', '-o', `DPkg::Lock::Timeout=${APT_LOCK_WAIT_SECONDS}`, '-o', 'Acquire::Retries=3', '-o', 'Dpkg::Use-Pty=0'];
  return run(['apt-get', ...options, ...words], { env, timeoutMs });
}

/** Runs `work` while package scripts may not start services (unless the machine has its own policy). */
async function withoutServices(work) {
  const ours = !existsSync(POLICY_FILE);
  if (ours) {
    writeFileSync(POLICY_FILE, '#!/bin/sh\n# written by gluon while it installs packages; removed right after\nexit 101\n');
    chmodSync(POLICY_FILE, 0o755);
  }
  try {
    return await work();
  } finally {
    if (ours) rmSync(POLICY_FILE, { force: true });
  }
}

async function disableServices(installed) {
  // systemctl works without a running systemd too; a minimal system has only Debian's own helper.
  const disable = existsSync('/usr/bin/systemctl') || existsSync('/bin/systemctl') ? ['systemctl', 'disable', '--now'] : ['deb-systemd-helper', 'disable'];
  // Status is ignored: there may be no systemd to tell, and a unit may not exist in a later release.
  for (const name of installed) {
    // The helper works for package scripts only; this is its way to tell.
    const env = { ...process.env, DPKG_MAINTSCRIPT_PACKAGE: name };
    for (const unit of UNWANTED_SERVICES[name] ?? []) await run([...disable, unit], { env, timeoutMs: 30_000 });
  }
}

/** Installs what is missing of `names`. Waits for another apt; repeats on network trouble; starts no service. */
export async function ensurePackages(names) {
  const missing = await missingPackages(names);
  if (missing.length === 0) return;
  if (process.getuid() !== 0) throw new StepError(`Debian packages are missing and installing them needs root: apt-get install ${missing.join(' ')}`);
  progress(`installing Debian packages: ${missing.join(' ')}`);
  const absentBefore = await missingPackages(Object.keys(UNWANTED_SERVICES));
  await withoutServices(async () => {
    for (let attempt = 1; ; attempt++) {
      if (attempt > 1 || !haveLists()) await apt(['update'], 300_000);
      const result = await apt(['install', '--no-install-recommends', ...missing], 900_000);
      if (result.status === 0) return;
      const reason = `${result.stdout}${result.stderr}`.trimEnd().split('\n').slice(-6).join('\n');
      if (attempt === APT_ATTEMPTS_MAX) throw new StepError(`apt-get install ${missing.join(' ')} failed ${attempt} times; the last words were\n${reason}`);
      progress(`apt-get failed, trying again (${attempt} of ${APT_ATTEMPTS_MAX - 1})`);
      await sleep(3_000 * attempt);
    }
  });
  const absentAfter = await missingPackages(absentBefore);
  await disableServices(absentBefore.filter((name) => !absentAfter.includes(name)));
}

function haveLists() {
  try {
    return readdirSync('/var/lib/apt/lists').some((name) => name.includes('Packages'));
  } catch {
    return false;
  }
}

export function assertNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) throw new StepError(`Node 20.19 or later is needed, this is ${process.version}`);
}

const STAMP = join(PROJECT_ROOT, 'node_modules', '.gluon-lock-hash');

/**
 * `npm ci` when node_modules is missing or was installed from another package-lock.json. Install scripts are not run: every native package ships
 * binaries, and what a script would compile or fetch could fail on a machine without a compiler.
 */
export async function ensureModules() {
  const lock = join(PROJECT_ROOT, 'package-lock.json');
  const hash = createHash('sha256').update(readFileSync(lock)).digest('hex');
  if (existsSync(STAMP) && readFileSync(STAMP, 'utf8') === hash) return;
  const npmsOwn = join(PROJECT_ROOT, 'node_modules', '.package-lock.json');
  // Installed by hand with npm, at or after the lock file's last change: good as it is.
  if (existsSync(npmsOwn) && statSync(npmsOwn).mtimeMs + 1000 >= statSync(lock).mtimeMs && existsSync(join(PROJECT_ROOT, 'node_modules', 'typescript'))) return;
  progress('installing npm dependencies (npm ci)');
  for (let attempt = 1; ; attempt++) {
    // `npm ci` refuses a lock file without the optional packages of other platforms, which npm leaves out where a registry lacks
    // them; `npm install --no-save` takes the same locked versions and is content.
    const words = attempt === 1 ? ['ci'] : ['install', '--no-save'];
    const result = await run(['npm', ...words, '--no-audit', '--no-fund'], { timeoutMs: 600_000 });
    if (result.status === 0) break;
    if (attempt === 3) throw new StepError(`npm failed ${attempt} times; the last words were\n${result.stderr.trimEnd().split('\n').slice(-8).join('\n')}`);
    await sleep(3_000 * attempt);
  }
  writeFileSync(STAMP, hash);
}

/** Compiles into dist/ (incremental: about a second when nothing changed). */
export async function build() {
  mkdirSync(join(PROJECT_ROOT, 'dist'), { recursive: true });
  await must([process.execPath, join(PROJECT_ROOT, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.json'], { timeoutMs: 300_000 });
}

const BUILT_HOURS_MAX = 24;

/** Builds, then runs a program of the build (`parts` of its path below dist/) with the words of this command line; its status. */
export async function runBuilt(...parts) {
  assertNode();
  await ensureModules();
  await build();
  const words = [process.execPath, '--enable-source-maps', join(PROJECT_ROOT, 'dist', ...parts), ...process.argv.slice(2)];
  const { status } = await run(words, { show: true, timeoutMs: BUILT_HOURS_MAX * 3_600_000 });
  return status ?? 1;
}
