/** `npm ci` on the volume installs what the lock file says, and Node runs it from there. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Cluster, compareTrees, withCluster } from '../../support/cluster.js';
import { run } from '../../support/exec.js';
import { entriesIn, victims, victimText, withVictim } from '../../support/faults.js';
import { PACKAGE_ROOT } from '../../support/paths.js';
import { SHORT } from '../../support/size.js';

let scratch: string;
const NPM = ['--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error'];

/** Packages that this project has itself, so that they are in npm's cache; the short form takes fewer. None has parts for each platform. */
const PACKAGES = SHORT ? ['commander', '@grpc/grpc-js', 'fast-check'] : ['commander', '@grpc/grpc-js', '@grpc/proto-loader', 'level', 'fast-check', 'prettier'];

function version(name: string): string {
  const text = readFileSync(join(PACKAGE_ROOT, 'node_modules', name, 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

before(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'gluon-npm-'));
  const source = join(scratch, 'source');
  mkdirSync(source);
  const dependencies = Object.fromEntries(PACKAGES.map((name) => [name, version(name)]));
  writeFileSync(join(source, 'package.json'), JSON.stringify({ name: 'on-the-volume', version: '1.0.0', private: true, dependencies }));
  await run('npm', ['install', '--package-lock-only', '--omit=optional', ...NPM], { cwd: source, boundMs: 300_000 });
  await run('cp', ['-a', source, join(scratch, 'plain')]);
  await run('npm', ['ci', '--omit=optional', ...NPM], { cwd: join(scratch, 'plain'), boundMs: 300_000 });
});
after(() => rmSync(scratch, { recursive: true, force: true }));

test('npm ci on the volume', async (t) => {
  await withCluster(
    () => Cluster.mounted(),
    async (cluster) => {
      for (const victim of victims('secondary')) {
        await t.test(`installs the same files as on ext4${victimText(victim)}`, async () => {
          const directory = (index: number): string => join(cluster.node(index).mountPoint, `npm-${victim}`);
          await run('cp', ['-a', join(scratch, 'source'), directory(0)]);
          const work = async (): Promise<void> => {
            await run('npm', ['ci', '--omit=optional', ...NPM], { cwd: directory(0), boundMs: 600_000 });
          };
          await withVictim(cluster, victim, work, entriesIn(join(cluster.node(2).brickPath, `npm-${victim}`, 'node_modules'), 2));
          const code = "const { Command } = require('commander'); console.log(new Command('from the volume').name())";
          assert.equal((await run(process.execPath, ['-e', code], { cwd: directory(1) })).stdout.trim(), 'from the volume');
          await sameContent(join(scratch, 'plain'), directory(2));
          await cluster.assertHealedAndEqual();
        });
      }
    },
  );
});

/** npm gives its files new times at each run: names, modes and content count. */
async function sameContent(a: string, b: string): Promise<void> {
  const result = await compareTrees(['--no-top', '--max=1000000'], [a, b]);
  const differing = result.stdout.split('\n').filter((line) => line.startsWith(b) && !/: mtime /.test(line) && !line.includes('.package-lock.json'));
  assert.deepEqual(differing, []);
}
