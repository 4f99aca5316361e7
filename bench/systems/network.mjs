/** A network namespace of its own, kept by a process: whatever is started in it talks over its loopback interface, whose counter is the wire. */
import { spawn } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { must, run, waitFor } from '../../scripts/lib/steps.mjs';

export class BenchNetwork {
  #keeper;

  /** `environment` marks the keeper, so that what is left of a killed bench is found. */
  static async make(environment) {
    const network = new BenchNetwork();
    network.#keeper = spawn('unshare', ['--net', '--', 'sh', '-c', 'ip link set lo up && exec sleep 36000'], { stdio: 'ignore', env: environment });
    const own = readlinkSync('/proc/self/ns/net');
    await waitFor('a network namespace', 5_000, () => readlinkSync(`/proc/${network.#keeper.pid}/ns/net`) !== own);
    await waitFor('its loopback interface', 5_000, async () => (await run(network.inside('ip', 'link', 'show', 'lo'))).stdout.includes('LOOPBACK,UP'));
    return network;
  }

  inside(...words) {
    return ['nsenter', '-t', String(this.#keeper.pid), '-n', '--', ...words];
  }

  /** Bytes that went over it since it was made. */
  async bytes() {
    const { stdout } = await must(this.inside('cat', '/proc/net/dev'));
    return Number(/^\s*lo:\s*(\d+)/m.exec(stdout)[1]);
  }

  close() {
    this.#keeper?.kill('SIGKILL');
  }
}
