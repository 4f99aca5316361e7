/** What libvirt does with the file system under an image. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import type { Node } from '../../support/cluster.js';
import { QEMU_USER, type Libvirt } from '../libvirt.js';
import { NOVA_FLAGS } from '../libvirt-machine.js';
import type { Stage } from '../stage.js';
import type { Check } from './check.js';

const FUSE_MAGIC = '65735546';
let domains = 0;

/** A domain that has its image open and never runs: enough for labels, locks and the safety check. */
async function pausedDomain(stage: Stage, host: Libvirt, path: string): Promise<string> {
  const name = `contract-${++domains}`;
  const { root } = stage.bed.cluster;
  const environment = { GLUON_TEST_GUEST_OF: host.node.stateDirectory, ...stage.bed.cluster.environment(host.node), GLUON_TEST_RUN: process.env['GLUON_TEST_RUN'] ?? 'gluontest' };
  const disk = { path, format: 'raw', cache: 'writeback', aio: 'threads' };
  const xml = `${root}/${name}.xml`;
  writeFileSync(xml, host.domain({ name, disk, kernel: '', initrd: '', append: '', console: `${root}/${name}.console`, environment }).replace(/<kernel>.*<\/cmdline>/, ''));
  await host.must(['define', xml]);
  await host.must(['start', '--paused', name]);
  return name;
}

const owner = async (stage: Stage, node: Node, path: string): Promise<number> => Number((await stage.on(node, ['stat', '-c', '%u', path])).stdout);

export const LIBVIRT_CONTRACT: readonly Check[] = [
  {
    sentence: 'libvirt: the mount is of type fuse.glusterfs, which counts as shared and coherent: a guest with cache=writeback may be migrated without --unsafe; under another name it may not',
    run: async ({ stage, folder, source, target, atEnd }) => {
      assert.equal((await stage.on(source, ['stat', '-f', '-c', '%t', stage.instances])).stdout.trim(), FUSE_MAGIC);
      const types = readFileSync(`/proc/${source.network.mountsOf}/mounts`, 'utf8').split('\n').map((line) => line.split(' ')).filter(([, path]) => path === stage.instances).map(([, , type]) => type);
      assert.deepEqual(types, ['fuse.glusterfs']);
      const [first, second] = await stage.libvirts();
      await stage.on(source, ['truncate', '-s', '8M', `${folder}/disk`]);
      const name = await pausedDomain(stage, first, `${folder}/disk`);
      atEnd(async () => {
        for (const host of [first, second]) await host.virsh(['destroy', name]).then(() => host.virsh(['undefine', name]));
      });
      await first.must(['migrate', ...NOVA_FLAGS, name, second.uri, '--migrateuri', `tcp://${target.network.address}`]);
      assert.equal(await second.must(['domstate', name]), 'paused');

      const other = `${source.directory}/other`;
      await stage.bed.cluster.mount(source, other, ['subtype=gluon']);
      atEnd(() => stage.bed.cluster.unmount(source, other));
      const path = `${other}/${folder.slice(stage.instances.length + 1)}/disk-2`;
      await stage.on(source, ['truncate', '-s', '8M', path]);
      const unsafe = await pausedDomain(stage, first, path);
      atEnd(() => first.virsh(['destroy', unsafe]).then(() => first.virsh(['undefine', unsafe])).then(() => undefined));
      const refused = await first.virsh(['migrate', ...NOVA_FLAGS, unsafe, second.uri, '--migrateuri', `tcp://${target.network.address}`]);
      assert.notEqual(refused.status, 0, 'a mount under another name is taken for shared storage: the check proves nothing');
      assert.match(refused.stderr, /Unsafe migration/);
    },
  },
  {
    sentence: 'libvirt: the chown to the qemu user is seen on every node, stays when the guest has moved, and is undone when it ends; trusted.libvirt attributes are kept and removed',
    run: async ({ stage, folder, source, target, atEnd }) => {
      const [first, second] = await stage.libvirts();
      const path = `${folder}/disk`;
      await stage.on(source, ['truncate', '-s', '8M', path]);
      for (const node of stage.nodes) assert.equal(await owner(stage, node, path), 0);
      const name = await pausedDomain(stage, first, path);
      atEnd(async () => {
        for (const host of [first, second]) await host.virsh(['destroy', name]).then(() => host.virsh(['undefine', name]));
      });
      for (const node of stage.nodes) assert.equal(await owner(stage, node, path), QEMU_USER.id, `node ${node.index + 1} sees the owner`);
      const attributes = async (node: Node): Promise<string> => (await stage.on(node, ['getfattr', '-d', '-m', 'trusted.libvirt', '--absolute-names', path])).stdout;
      assert.match(await attributes(target), /trusted\.libvirt\.security\.dac="\+0:\+0"/);
      await first.must(['migrate', ...NOVA_FLAGS, name, second.uri, '--migrateuri', `tcp://${target.network.address}`]);
      for (const node of stage.nodes) assert.equal(await owner(stage, node, path), QEMU_USER.id, `after the migration node ${node.index + 1} sees the owner`);
      await second.must(['destroy', name]);
      for (const node of stage.nodes) assert.equal(await owner(stage, node, path), 0, `after the end node ${node.index + 1} sees the owner`);
      assert.doesNotMatch(await attributes(source), /trusted\.libvirt/);
    },
  },
  {
    sentence: 'libvirt: the lock around its attributes (fcntl, byte 1) holds between nodes and ends with the process; trusted.* attributes are set, listed and removed by root',
    run: async ({ folder, source, target, python }) => {
      const [here, there] = [python(source), python(target)];
      for (const process of [here, there]) await process.ask(`known.update(f=open('${folder}/disk', 'a+'))`);
      assert.equal(await here.ask('fcntl.lockf(known["f"], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 1)'), null);
      assert.equal(await there.ask('fcntl.lockf(known["f"], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 1)'), 'EAGAIN');
      await here.ask(`os.setxattr('${folder}/disk', 'trusted.libvirt.security.ref_dac', b'1')`);
      assert.equal(await there.ask(`os.getxattr('${folder}/disk', 'trusted.libvirt.security.ref_dac').decode()`), '1');
      assert.deepEqual(await there.ask(`os.listxattr('${folder}/disk')`), ['trusted.libvirt.security.ref_dac']);
      await here.kill();
      assert.equal(await there.ask('fcntl.lockf(known["f"], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 1)'), null);
      await there.ask(`os.removexattr('${folder}/disk', 'trusted.libvirt.security.ref_dac')`);
      assert.equal(await there.ask(`os.getxattr('${folder}/disk', 'trusted.libvirt.security.ref_dac')`), 'ENODATA');
    },
  },
];
