/** GlusterFS for the heal benchmark: the volume of the speed benchmark, in its network namespace, with one brick that comes and goes. */
import { readFileSync } from 'node:fs';
import { must, sleep, waitFor } from '../../scripts/lib/steps.mjs';
import { GlusterSystem } from './gluster.mjs';

const VOLUME = 'gluon-bench';

export class HealGluster {
  constructor(directory, profile) {
    this.name = `glusterfs-${profile}`;
    this.system = new GlusterSystem(profile, directory);
    this.network = {
      bytes: async () => {
        const { stdout } = await must(this.system.inside('cat', '/proc/net/dev'));
        return Number(/^\s*lo:\s*(\d+)/m.exec(stdout)[1]);
      },
    };
  }

  up() {
    return this.system.up();
  }

  down() {
    return this.system.down();
  }

  brick(number) {
    return `${this.system.directory}/brick${number}`;
  }

  async takeBrickAway() {
    const { stdout } = await this.system.gluster('--xml', 'volume', 'status', VOLUME);
    const node = [...stdout.matchAll(/<node>(.*?)<\/node>/gs)].map(([, body]) => body).find((body) => body.includes(`<path>${this.brick(3)}</path>`));
    const pid = Number(/<pid>(\d+)<\/pid>/.exec(node)[1]);
    process.kill(pid, 'SIGKILL');
    await waitFor('the brick to be gone', 10_000, () => {
      try {
        return readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
      } catch {
        return true;
      }
    });
    await sleep(1_000);
  }

  async bringBrickBack() {
    await this.system.gluster('volume', 'start', VOLUME, 'force');
    await this.system.gluster('volume', 'heal', VOLUME).catch(() => undefined);
  }

  async inSync() {
    // Not `heal info`: the program behind it asks the glusterd of the machine, whatever socket it was told. A brick that has just started cannot be asked yet.
    const { stdout } = await this.system.gluster('volume', 'heal', VOLUME, 'statistics', 'heal-count').catch(() => ({ stdout: '' }));
    const counts = [...stdout.matchAll(/^Number of entries: (.*)$/gm)].map(([, count]) => count);
    return counts.length === 3 && counts.every((count) => count === '0');
  }
}
