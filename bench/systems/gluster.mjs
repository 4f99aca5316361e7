/**
 * A GlusterFS volume of its own for the comparison: one glusterd with three bricks on 127.x, in its own network namespace and working
 * folder, so that a GlusterFS that this machine may run for other purposes is neither used nor disturbed.
 */
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { endAll, markedProcesses, mounts } from '../../scripts/lib/processes.mjs';
import { must, run, waitFor } from '../../scripts/lib/steps.mjs';
import { BenchNetwork } from './network.mjs';

const VOLUME = 'gluon-bench';
const MARK = 'GLUON_BENCH_GLUSTER';

export class GlusterSystem {
  /** `profile` is 'default' or the name of an option group. `directory` is on the disk to compare with. */
  constructor(profile, directory) {
    this.profile = profile;
    this.directory = join(directory, `glusterfs-${profile}`);
    this.mountPoint = join(this.directory, 'mount');
    this.socket = join(this.directory, 'glusterd.socket');
    this.network = undefined;
  }

  static available() {
    return existsSync('/usr/sbin/glusterd') && existsSync('/sbin/mount.glusterfs');
  }

  environment() {
    return { ...process.env, [MARK]: this.directory };
  }

  inside(...words) {
    return this.network.inside(...words);
  }

  gluster(...words) {
    return must(this.inside('gluster', '--mode=script', `--glusterd-sock=${this.socket}`, ...words), { env: this.environment(), timeoutMs: 120_000 });
  }

  /** Resolves with the folder to measure in. */
  async up() {
    await this.removeLeftovers();
    rmSync(this.directory, { recursive: true, force: true });
    const workingDirectory = join(this.directory, 'glusterd');
    for (const path of [workingDirectory, this.mountPoint]) mkdirSync(path, { recursive: true });
    if (existsSync('/var/lib/glusterd/groups')) cpSync('/var/lib/glusterd/groups', join(workingDirectory, 'groups'), { recursive: true });
    this.network = await BenchNetwork.make(this.environment());
    const configuration = join(this.directory, 'glusterd.vol');
    writeFileSync(
      configuration,
      `volume management
  type mgmt/glusterd
  option working-directory ${workingDirectory}
  option transport-type socket
  option transport.socket.keepalive-time 10
  option transport.socket.keepalive-interval 2
  option transport.socket.read-fail-log off
  option glusterd-sockfile ${this.socket}
  option event-threads 1
end-volume
`,
    );
    await must(this.inside('glusterd', '-f', configuration, '-p', join(this.directory, 'glusterd.pid'), '-l', join(this.directory, 'glusterd.log')), { env: this.environment(), timeoutMs: 30_000 });
    await waitFor('glusterd to answer', 20_000, async () => (await run(this.inside('gluster', `--glusterd-sock=${this.socket}`, 'pool', 'list'))).status === 0);
    const bricks = [1, 2, 3].map((number) => `127.0.0.2:${join(this.directory, `brick${number}`)}`);
    await this.gluster('volume', 'create', VOLUME, 'replica', '3', ...bricks, 'force');
    if (this.profile !== 'default') await this.gluster('volume', 'set', VOLUME, 'group', this.profile);
    await this.gluster('volume', 'start', VOLUME);
    await must(this.inside('mount', '-t', 'glusterfs', '-o', `log-file=${join(this.directory, 'mount.log')}`, `127.0.0.2:/${VOLUME}`, this.mountPoint), { env: this.environment(), timeoutMs: 60_000 });
    return this.mountPoint;
  }

  /** A bench that was killed could not take its volume down. */
  async removeLeftovers() {
    const left = mounts(({ path }) => path === this.mountPoint);
    for (const { path } of left) await run(['umount', '-l', path], { timeoutMs: 10_000 });
    await endAll(() => markedProcesses(MARK, this.directory), 5_000);
  }

  async down() {
    await run(['umount', this.mountPoint], { timeoutMs: 30_000 });
    await this.removeLeftovers();
    this.network?.close();
    this.network = undefined;
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 3 });
  }
}
