/**
 * A MooseFS of its own for the comparison: a master, three chunkservers that keep three copies of everything, and a mount with the caches
 * that mfsmount has by itself, in a network namespace and folder of their own. A MooseFS that this machine runs otherwise is not touched.
 *
 * What its answers say (3.0.117, seen with strace and with a chunkserver that was stopped meanwhile):
 *   write         the mount has the data in its memory, also with O_DIRECT. They go on to the first chunkserver, from that to the second,
 *                 from that to the third
 *   fsync, close  all three chunkservers have given the data to their kernels. None of them syncs: it would only when a chunk is closed, and
 *                 only where HDD_FSYNC_BEFORE_CLOSE asks for it. The master's change log is written in the background (CHANGELOG_SAVE_MODE)
 * So what an fsync has acknowledged is lost when the power of all copies fails; gluon and GlusterFS acknowledge what is on the disks. The
 * rows with a sync are no like for like.
 */
import { copyFileSync, existsSync, mkdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import { endAll, markedProcesses, mounts, processesWhere } from '../../scripts/lib/processes.mjs';
import { must, run, StepError, waitFor } from '../../scripts/lib/steps.mjs';
import { BenchNetwork } from './network.mjs';

const MARK = 'GLUON_BENCH_MOOSEFS';
const EMPTY_METADATA = '/var/lib/mfs/metadata.mfs.empty';
const COPIES = 3;
/** A chunkserver on 127.x is refused by the master; these (RFC 5737) are addresses of the namespace's loopback interface all the same. */
const ADDRESSES = ['192.0.2.1', '192.0.2.2', '192.0.2.3'];
const MASTER = ADDRESSES[0];
/** A chunkserver registers within a second or two where nothing hinders it. */
const COPIES_MS = 60_000;
/** For a server that is gone mfsmount would wait without end; this makes such a row fail. */
const IO_TIMEOUT_SEC = 60;

/** Which network namespace a process is in; undefined when it has ended. */
function networkOf(pid) {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return undefined;
  }
}

export class MooseSystem {
  /** `directory` is on the disk to compare with. */
  constructor(directory) {
    this.directory = join(directory, 'moosefs');
    this.mountPoint = join(this.directory, 'mount');
    this.network = undefined;
  }

  static available() {
    return ['/usr/sbin/mfsmaster', '/usr/sbin/mfschunkserver', '/usr/bin/mfsmount', '/usr/bin/mfssetgoal', EMPTY_METADATA].every((path) => existsSync(path));
  }

  environment() {
    return { ...process.env, [MARK]: this.directory };
  }

  /** Runs a program of MooseFS in the namespace: its tools talk over the network with the mount, too. */
  mfs(words, timeoutMs = 30_000) {
    return must(this.network.inside(...words), { env: this.environment(), timeoutMs });
  }

  /** Resolves with the folder to measure in, once what is written there has three copies. */
  async up() {
    await this.removeLeftovers();
    rmSync(this.directory, { recursive: true, force: true });
    mkdirSync(this.mountPoint, { recursive: true });
    this.network = await BenchNetwork.make(this.environment());
    for (const address of ADDRESSES) await this.mfs(['ip', 'address', 'add', `${address}/32`, 'dev', 'lo']);
    await this.#startMaster();
    for (const [index, address] of ADDRESSES.entries()) await this.#startChunkserver(index, address);
    const configuration = this.#configuration('mfsmount', []);
    const mountOptions = `mfstimeout=${IO_TIMEOUT_SEC},mfsnice=${getPriority()}`;
    await this.mfs(['mfsmount', '-c', configuration, '-H', MASTER, '-o', mountOptions, this.mountPoint], 60_000);
    await this.mfs(['mfssetgoal', '-r', String(COPIES), this.mountPoint]);
    // The other systems have no trash: what is unlinked there is gone.
    await this.mfs(['mfssettrashtime', '-r', '0', this.mountPoint]);
    await waitFor(`a file with ${COPIES} copies on MooseFS (each chunkserver needs some GiB of free disk)`, COPIES_MS, () => this.#newFileHasAllCopies(), 1_000);
    return this.mountPoint;
  }

  async #startMaster() {
    const data = join(this.directory, 'master');
    mkdirSync(data);
    copyFileSync(EMPTY_METADATA, join(data, 'metadata.mfs'));
    const exports = join(this.directory, 'mfsexports.cfg');
    writeFileSync(exports, '* / rw,alldirs,admin,maproot=0:0\n');
    const configuration = this.#configuration('mfsmaster', [...this.#daemonOptions(data), `EXPORTS_FILENAME = ${exports}`, `TOPOLOGY_FILENAME = ${this.#configuration('mfstopology', [])}`]);
    await this.mfs(['mfsmaster', '-c', configuration, 'start'], 60_000);
  }

  async #startChunkserver(index, address) {
    const name = `chunkserver${index + 1}`;
    const data = join(this.directory, name);
    const disk = join(this.directory, `brick${index + 1}`);
    for (const path of [data, disk]) mkdirSync(path);
    const options = [
      ...this.#daemonOptions(data),
      `HDD_CONF_FILENAME = ${this.#configuration(`mfshdd${index + 1}`, [disk])}`,
      `LABELS = ${'ABC'[index]}`,
      `MASTER_HOST = ${MASTER}`,
      'MASTER_RECONNECTION_DELAY = 1',
      `BIND_HOST = ${address}`,
      `CSSERV_LISTEN_HOST = ${address}`,
    ];
    await this.mfs(['mfschunkserver', '-c', this.#configuration(name, options), 'start'], 60_000);
  }

  /** MooseFS runs at nice -19 unless told otherwise; every system here has the processors on the same terms. */
  #daemonOptions(data) {
    return ['WORKING_USER = root', 'WORKING_GROUP = root', `NICE_LEVEL = ${getPriority()}`, `DATA_PATH = ${data}`];
  }

  #configuration(name, lines) {
    const path = join(this.directory, `${name}.cfg`);
    writeFileSync(path, lines.map((line) => `${line}\n`).join(''));
    return path;
  }

  /** How many copies a chunk gets is decided when it is made, from the chunkservers that are known then: only a new file tells. */
  async #newFileHasAllCopies() {
    const probe = join(this.mountPoint, 'probe');
    const environment = { env: this.environment(), timeoutMs: COPIES_MS };
    const written = await run(['dd', 'if=/dev/zero', `of=${probe}`, 'bs=64k', 'count=1', 'conv=fsync'], environment);
    const checked = await run(this.network.inside('mfscheckfile', probe), environment);
    await run(['rm', '-f', probe], environment);
    return written.status === 0 && new RegExp(`^ *chunks with ${COPIES} copies: +1$`, 'm').test(checked.stdout);
  }

  /** A bench that was killed could not take it down. The master's writer and mfsmount write over the mark; their namespace tells them. */
  async removeLeftovers() {
    for (const { path } of mounts(({ path: mounted }) => mounted === this.mountPoint)) await run(['umount', '-l', path], { timeoutMs: 10_000 });
    const namespaces = new Set(markedProcesses(MARK, this.directory).map(({ pid }) => networkOf(pid)));
    for (const other of [undefined, networkOf('self')]) namespaces.delete(other);
    const left = await endAll(() => processesWhere((pid) => namespaces.has(networkOf(pid))), 10_000);
    if (left.length > 0) throw new StepError(`these processes of MooseFS do not end: ${left.map(({ pid, command }) => `${pid} (${command})`).join(', ')}`);
  }

  async down() {
    await run(['umount', this.mountPoint], { timeoutMs: 30_000 });
    await this.removeLeftovers();
    this.network?.close();
    this.network = undefined;
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 3 });
  }
}
