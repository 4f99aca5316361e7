/** gluon on the quickstart's mounts, which are brought up when they are not; `bitrot`: with checksums (features.bitrot) while it is measured. */
import { must, waitFor } from '../../scripts/lib/steps.mjs';

const VOLUME = 'vm-instances';
const SCRUB_MS = 120_000;

export class GluonSystem {
  constructor(mount, quickstartDirectory, bitrot = false) {
    this.mount = mount;
    this.quickstartDirectory = quickstartDirectory;
    this.bitrot = bitrot;
    this.quickstart = undefined;
  }

  async up() {
    if (this.mount !== undefined && !this.bitrot) return this.mount;
    const { quickstartUp } = await import('../../scripts/quickstart.mjs');
    const { quickstart, mounts } = await quickstartUp(this.quickstartDirectory);
    this.quickstart = quickstart;
    if (this.bitrot) {
      await this.#bitrot('enable');
      await waitFor('the scrubbers to have looked at everything', SCRUB_MS, async () => {
        const { stdout } = await this.#bitrot('scrub', 'status', '--json');
        return JSON.parse(stdout).result.bricks.every(({ scrub }) => scrub !== null && scrub.endedSec > 0 && scrub.state === 'waiting');
      });
    }
    return this.mount ?? mounts[0];
  }

  async down() {
    if (this.bitrot && this.quickstart !== undefined) await this.#bitrot('disable');
  }

  #bitrot(...words) {
    const { quickstart } = this;
    return must(quickstart.gluonWords(quickstart.nodes[0], ['--mode=script', 'volume', 'bitrot', VOLUME, ...words]), { timeoutMs: 60_000, env: quickstart.environment() });
  }
}
