/** A guest that libvirt runs, moved as Nova moves it: live, peer to peer, undefined on the source, persistent on the destination, and never --unsafe. */
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { WaitError, waitFor } from '../support/wait.js';
import { Console } from './console.js';
import type { GuestDisk } from './guest-disk.js';
import { MIGRATE_MS, type Libvirt } from './libvirt.js';
import { DOWNTIME_LIMIT_MS, type Migration } from './machine.js';
import type { Stage } from './stage.js';

const BOOT_MS = 120_000;
const PROGRESS_MS = 60_000;
const END_MS = 120_000;

export const NOVA_FLAGS = ['--live', '--p2p', '--undefinesource', '--persistent'];

let domains = 0;

export class LibvirtMachine {
  private constructor(
    readonly name: string,
    readonly disk: GuestDisk,
    readonly console: Console,
    public host: Libvirt,
  ) {}

  static async boot(stage: Stage, host: Libvirt, disk: GuestDisk, seed: number): Promise<LibvirtMachine> {
    const name = `instance-${String(++domains).padStart(8, '0')}`;
    const root = stage.bed.cluster.root;
    const boot = join(root, 'boot');
    mkdirSync(boot, { recursive: true });
    const [kernel, initrd] = [join(boot, 'vmlinuz'), join(boot, 'initrd.gz')];
    if (!existsSync(kernel)) copyFileSync(stage.kernel.kernel, kernel);
    if (!existsSync(initrd)) copyFileSync(stage.kernel.initrd, initrd);
    const console = new Console(join(root, `${name}.console`));
    const append = `console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check nokaslr seed=${seed}`;
    const environment = { GLUON_TEST_GUEST_OF: host.node.stateDirectory, ...stage.bed.cluster.environment(host.node), GLUON_TEST_RUN: process.env['GLUON_TEST_RUN'] ?? 'gluontest' };
    const xml = join(root, `${name}.xml`);
    writeFileSync(xml, host.domain({ name, disk, kernel, initrd, append, console: console.path, environment }));
    await host.must(['define', xml]);
    const machine = new LibvirtMachine(name, disk, console, host);
    await host.must(['start', name]);
    return machine;
  }

  async ready(): Promise<void> {
    await this.console.line(/GUEST-READY/, BOOT_MS);
  }

  async progress(boundMs = PROGRESS_MS): Promise<void> {
    const before = this.console.progress;
    const end = performance.now() + boundMs;
    await waitFor('the guest to sync and verify more blocks', boundMs, () => {
      if (this.console.errors.length > 0) return true;
      const now = this.console.progress;
      return now !== undefined && now.synced.every((step, i) => step > (before?.synced[i] ?? 0)) && now.verified > (before?.verified ?? 0);
    });
    const [failure] = this.console.errors;
    if (failure !== undefined) throw new Error(`the guest says: ${failure}`);
    if (performance.now() > end) throw new WaitError('the guest to go on', boundMs, this.console.text.slice(-500));
  }

  async migrate(to: Libvirt, flags: readonly string[] = NOVA_FLAGS): Promise<Migration> {
    const begin = performance.now();
    const source = this.host;
    await source.must(['migrate-setmaxdowntime', this.name, String(DOWNTIME_LIMIT_MS)]);
    await source.must(['migrate', ...flags, this.name, to.uri, '--migrateuri', `tcp://${to.node.network.address}`], { boundMs: MIGRATE_MS });
    this.host = to;
    const facts = await to.must(['domjobinfo', '--completed', this.name]);
    const downtimeMs = Number(/Total downtime:\s+([\d.]+)\s+ms/.exec(facts)?.[1] ?? Number.NaN);
    if (Number.isNaN(downtimeMs)) throw new Error(`libvirt tells no downtime: ${facts}`);
    return { downtimeMs, totalMs: performance.now() - begin };
  }

  async end(): Promise<void> {
    const socket = connect(join(this.host.node.directory, 'libvirt', 'run', `${this.name}.in`));
    socket.on('error', () => undefined).on('data', () => undefined);
    try {
      await waitFor('the console to take input', 5000, () => socket.readyState === 'open');
      socket.write('stop\n');
      await this.console.line(/GUEST-END|GUEST-FAIL/, END_MS);
      await waitFor('libvirt to see the guest end', END_MS, async () => (await this.host.must(['domstate', this.name])) === 'shut off');
    } finally {
      socket.destroy();
      await this.kill();
    }
  }

  async kill(): Promise<void> {
    await this.host.virsh(['destroy', this.name]);
    await this.host.virsh(['undefine', this.name]);
  }
}
