/**
 * Debian's libvirt on a node: a libvirtd with the node's network and mounts, a host name of its own, and its folders below the node's directory, mounted where
 * libvirt has them. Nova's settings; nothing of the machine's own libvirt is touched.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { appendFileSync, copyFileSync, existsSync, mkdirSync, openSync, closeSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import type { Node } from '../support/cluster.js';
import type { RunOptions, RunResult } from '../support/exec.js';
import { onHost } from '../support/network.js';
import { PACKAGE_ROOT } from '../support/paths.js';
import { isAlive, killAndWait, processesMarked, signal } from '../support/processes.js';
import { waitFor } from '../support/wait.js';
import type { Stage } from './stage.js';

const START_MS = 60_000;
const END_MS = 20_000;
export const MIGRATE_MS = 120_000;

/** As Debian's libvirt-daemon-system makes it. */
export const QEMU_USER = { name: 'libvirt-qemu', id: 64_055 };

/** Where libvirt has its folders, and what they are called below the node's. */
const FOLDERS = { '/etc/libvirt': 'etc', '/var/lib/libvirt': 'lib', '/run/libvirt': 'run', '/var/cache/libvirt': 'cache', '/var/log/libvirt': 'log' };

function daemonSettings(node: Node): string {
  const uuid = `00000000-0000-4000-8000-00000000000${node.index + 1}`;
  const words = { listen_tls: 0, listen_tcp: 1, auth_tcp: '"none"', auth_unix_rw: '"none"', listen_addr: `"${node.network.address}"`, host_uuid: `"${uuid}"`, log_outputs: '"3:file:/var/log/libvirt/libvirtd.log"' };
  return Object.entries(words).map(([key, value]) => `${key} = ${value}\n`).join('');
}

/** What a compute node has, besides what only a whole machine has (AppArmor, cgroups, a /dev of its own for each guest). */
function qemuSettings(): string {
  const owner = `user = "${QEMU_USER.name}"\ngroup = "${QEMU_USER.name}"\ndynamic_ownership = 1\nremember_owner = 1\n`;
  return `${owner}security_driver = "none"\nnamespaces = []\ncgroup_controllers = []\nstdio_handler = "file"\n`;
}

function hostName(index: number): string {
  return `compute0${index + 1}`;
}

export class Libvirt {
  private constructor(
    private readonly stage: Stage,
    readonly node: Node,
    private readonly child: ChildProcess,
  ) {}

  static async start(stage: Stage, node: Node): Promise<Libvirt> {
    const at = join(node.directory, 'libvirt');
    for (const name of Object.values(FOLDERS)) mkdirSync(join(at, name), { recursive: true });
    writeFileSync(join(at, 'etc', 'libvirtd.conf'), daemonSettings(node));
    writeFileSync(join(at, 'etc', 'qemu.conf'), qemuSettings());
    const hosts = stage.nodes.map(({ index, network }) => `${network.address} ${hostName(index)}\n`).join('');
    for (const [file, more] of Object.entries({ passwd: `${QEMU_USER.name}:x:${QEMU_USER.id}:${QEMU_USER.id}::/:/usr/sbin/nologin\n`, group: `${QEMU_USER.name}:x:${QEMU_USER.id}:\n`, hosts })) {
      copyFileSync(join('/etc', file), join(at, file));
      appendFileSync(join(at, file), more);
    }
    // Nobody to ask for other names.
    writeFileSync(join(at, 'resolv.conf'), '');
    const binds = [...Object.entries(FOLDERS), ...['passwd', 'group', 'hosts', 'resolv.conf'].map((file) => [`/etc/${file}`, file] as const)];
    for (const [target, name] of binds) {
      stage.madeFolder(target);
      await stage.on(node, ['mount', '--bind', join(at, name), target]);
    }
    const output = openSync(join(at, 'libvirtd.out'), 'a');
    // Later mounts of the node appear for libvirt and its guests too.
    await stage.on(node, ['mount', '--make-rshared', '/']);
    const here = join(PACKAGE_ROOT, 'test', 'migration');
    const [command = '', ...rest] = onHost(node.network, ['unshare', '--mount', '--uts', '--propagation', 'slave', join(here, 'start-libvirtd.sh'), hostName(node.index), at, join(here, 'reaper.py')]);
    const child = spawn(command, rest, { stdio: ['ignore', output, output], detached: true, env: { ...process.env, ...stage.bed.cluster.environment(node) } });
    closeSync(output);
    child.on('error', () => undefined);
    const libvirt = new Libvirt(stage, node, child);
    try {
      const answers = await waitFor(`libvirtd of node ${node.index + 1} to answer`, START_MS, async () => (!isAlive(child.pid ?? 0) ? 'ended' : (await libvirt.virsh(['version'])).status === 0 && 'answers'));
      if (answers === 'ended') throw new Error(`libvirtd of node ${node.index + 1} ended`);
      await libvirt.must(['domcapabilities', '--virttype', 'qemu', '--machine', 'pc']);
      rmSync(`/proc/${child.pid}/root/dev/kvm`);
    } catch (error) {
      await libvirt.stop();
      throw new Error(`${String(error)}\n${libvirt.log}`, { cause: error });
    }
    return libvirt;
  }

  get uri(): string {
    return `qemu+tcp://${this.node.network.address}/system`;
  }

  get log(): string {
    // The second is all that there is of one that ended before it could log.
    const paths = [join(this.node.directory, 'libvirt', 'log', 'libvirtd.log'), join(this.node.directory, 'libvirt', 'libvirtd.out')];
    return paths.map((path) => (existsSync(path) ? readFileSync(path, 'utf8').slice(-3000) : '')).join('\n');
  }

  /** Any exit status. */
  virsh(words: string[], options: RunOptions = {}): Promise<RunResult> {
    return this.stage.on(this.node, ['virsh', '-q', '-c', this.uri, ...words], { accept: 'any', boundMs: 60_000, ...options });
  }

  /** Must succeed. */
  async must(words: string[], options: RunOptions = {}): Promise<string> {
    const { status, stdout, stderr } = await this.virsh(words, options);
    if (status !== 0) throw new Error(`virsh ${words.join(' ')} on node ${this.node.index + 1}: ${stderr.trim()}${stdout.trim()}`);
    return stdout.trim();
  }

  /** The daemon and its guests. */
  async stop(): Promise<void> {
    const { pid = 0 } = this.child;
    signal(pid, 'SIGTERM');
    await waitFor('libvirtd to end after SIGTERM', END_MS, () => !isAlive(pid)).catch(() => killAndWait(pid));
    for (const guest of processesMarked(`GLUON_TEST_GUEST_OF=${this.node.stateDirectory}`)) await killAndWait(guest.pid);
  }

  /** Debian's QEMU without KVM, as a transient or persistent domain. */
  domain({ name, disk, kernel, initrd, append, console, environment }: DomainFacts): string {
    const variables = Object.entries(environment).map(([key, value]) => `<qemu:env name='${key}' value='${value}'/>`);
    return `<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>${name}</name><uuid>${randomUUID()}</uuid>
  <memory unit='MiB'>128</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><kernel>${kernel}</kernel><initrd>${initrd}</initrd><cmdline>${append}</cmdline></os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot><on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='${disk.format}' cache='${disk.cache}' io='${disk.aio}' discard='unmap'/>
      <source file='${disk.path}'/><target dev='vda' bus='virtio'/>
    </disk>
    <controller type='usb' model='none'/><memballoon model='none'/>
    <serial type='unix'><source mode='bind' path='/run/libvirt/${name}.in'/><log file='${console}' append='on'/></serial>
  </devices>
  <qemu:commandline>${variables.join('')}</qemu:commandline>
</domain>
`;
  }
}

export interface DomainFacts {
  name: string;
  disk: { path: string; format: string; cache: string; aio: string };
  kernel: string;
  initrd: string;
  append: string;
  console: string;
  environment: Record<string, string>;
}
