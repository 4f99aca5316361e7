/** What deploy/openstack tells administrators to set is what gluon knows, and obeys. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkOption, findOption } from '../../../src/cluster/option-values.js';
import { parseMountOptions, parseMountSource } from '../../../src/fuse/mount-options.js';
import { PACKAGE_ROOT } from '../../support/paths.js';

const FOLDER = join(PACKAGE_ROOT, 'deploy', 'openstack');

function read(name: string): string {
  return readFileSync(join(FOLDER, name), 'utf8');
}

function field(unit: string, name: string): string {
  const value = new RegExp(`^${name}=(.*)$`, 'm').exec(unit)?.[1];
  assert.ok(value !== undefined, `the unit has no ${name}`);
  return value;
}

test('every option that volume.sh sets is one that acts, with a value that it takes', () => {
  const pairs = [...read('volume.sh').matchAll(/^(?:# )?gluon volume set vm-instances (\S+) (\S+)$/gm)];
  assert.ok(pairs.length >= 4);
  for (const [, key = '', value = ''] of pairs) {
    const option = findOption(key);
    assert.ok('effect' in option && option.effect.kind === 'acts', key);
    assert.equal(checkOption(key, value).note, '', key);
  }
});

test('the mount unit names a volume and options that the mount knows, and its file is named after its path', () => {
  const unit = read('var-lib-nova-instances.mount');
  assert.equal(parseMountSource(field(unit, 'What')).volume, 'vm-instances');
  assert.deepEqual(parseMountOptions(field(unit, 'Options')).notes, []);
  assert.equal(field(unit, 'Where'), '/var/lib/nova/instances');
});

test('every file of the folder is in its README', () => {
  const readme = read('README.md');
  for (const name of readdirSync(FOLDER).filter((file) => file !== 'README.md')) assert.ok(readme.includes(`\`${name}\``), name);
});
