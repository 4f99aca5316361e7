import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MountUsageError, parseMountOptions, parseMountSource } from '../../../src/fuse/mount-options.js';

test('a source names servers, a volume and a directory of it', () => {
  assert.deepEqual(parseMountSource('localhost:vm-instances'), {
    text: 'localhost:vm-instances',
    servers: [{ host: 'localhost', port: 0 }],
    volume: 'vm-instances',
    subdirectory: [],
  });
  assert.deepEqual(parseMountSource('a,b.c,[fe80::1%eth0]:/vol/x/y/').servers, [
    { host: 'a', port: 0 },
    { host: 'b.c', port: 0 },
    { host: 'fe80::1%eth0', port: 0 },
  ]);
  assert.deepEqual(parseMountSource('a:/vol/x//y/').subdirectory, ['x', 'y']);
});

test('what names no volume is refused with what to write instead', () => {
  for (const text of [
    '',
    'vol',
    ':vol',
    'host:',
    'host:/',
    'ho st:vol',
    'host:vo l',
    'host:vol/../x',
    'a b,c:vol',
    'host:\u0007',
  ]) {
    assert.throws(() => parseMountSource(text), MountUsageError, JSON.stringify(text));
  }
  assert.throws(() => parseMountSource('vol'), /HOST:VOLUME/);
});

test('what fstab and mount add for others is tolerated', () => {
  const options = parseMountOptions(
    'defaults,_netdev,nofail,x-systemd.mount-timeout=120,x-systemd.requires=gluond.service,user,auto,noauto,rw,noatime,comment=hello',
  );
  assert.deepEqual(options.kernel, ['rw', 'noatime']);
  assert.equal(options.subtype, 'glusterfs');
  assert.deepEqual(options.notes, []);
});

test('own options are read', () => {
  const options = parseMountOptions(
    'ro,log-file=/l,log-level=WARNING,subtype=x,backup-volfile-servers=b:[::1]:c,backupvolfile-server=d,direct-io-mode=enable,server-port=99',
  );
  assert.equal(options.readOnly, true);
  assert.deepEqual(options.kernel, ['ro']);
  assert.equal(options.logFile, '/l');
  assert.equal(options.logLevel, 'warn');
  assert.equal(options.subtype, 'x');
  assert.deepEqual(
    options.backupServers.map((s) => s.host),
    ['b', '::1', 'c', 'd'],
  );
  assert.equal(options.directIo, true);
  assert.equal(options.serverPort, 99);
  assert.equal(parseMountOptions('remount,ro').remount, true);
});

test('labels keep their commas', () => {
  assert.deepEqual(parseMountOptions('context="system_u:object_r:x_t:s0,c1",ro').kernel, [
    'context="system_u:object_r:x_t:s0,c1"',
    'ro',
  ]);
});

test('an option that is not carried out is refused or explained, never ignored', () => {
  for (const text of [
    'acl',
    'bogus',
    'bogus=1',
    'log-level=loud',
    'log-file=relative',
    'log-file',
    'ro=1',
    'subtype=a/b',
    'direct-io-mode=maybe',
    'attribute-timeout=x',
    'server-port=0',
    'backup-volfile-servers=a b',
    '__proto__',
  ]) {
    assert.throws(() => parseMountOptions(text), MountUsageError, text);
  }
  assert.equal(parseMountOptions('attribute-timeout=0').notes.length, 0);
  assert.match(parseMountOptions('entry-timeout=600').notes[0] ?? '', /no effect/);
  assert.match(parseMountOptions('bogus,ro', true).notes[0] ?? '', /left out/);
});
