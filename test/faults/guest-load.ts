/** A virtual machine at work while a fault is injected: its disk is a file on the client host's mount. Afterwards it boots again and looks at what it wrote. */
import { join } from 'node:path';
import { run } from '../support/exec.js';
import { guestKernel, makeRootImage, type GuestKernel } from '../support/guest-image.js';
import { Guest, type GuestTask } from '../support/qemu.js';
import type { Bed } from './bed.js';

const IMAGE_MIB = 96;
const FILES = 8;
const FILE_KIB = 1024;
const BOOT_MS = 180_000;
const WORK_MS = 300_000;

export class GuestLoad {
  private constructor(
    private readonly kernel: GuestKernel,
    private readonly image: string,
    private guest: Guest,
  ) {}

  /** Resolves when the guest has begun to write. */
  static async start(bed: Bed, directory: string): Promise<GuestLoad> {
    const kernel = await guestKernel();
    const root = join(bed.cluster.root, 'guest.raw');
    await makeRootImage(root, IMAGE_MIB);
    const image = join(bed.client.mountPoint, directory, 'guest.raw');
    await run('cp', ['--sparse=always', root, image]);
    const load = new GuestLoad(kernel, image, GuestLoad.boot(kernel, image, 'write'));
    try {
      await load.guest.line(/GUEST-WROTE/, BOOT_MS);
    } catch (error) {
      load.guest.kill();
      throw error;
    }
    return load;
  }

  private static boot(kernel: GuestKernel, path: string, task: GuestTask['task']): Guest {
    return Guest.boot(kernel, { path, format: 'raw', cache: 'none' }, [{ task, tag: 'work', count: FILES, kib: FILE_KIB }]);
  }

  /** Waits for the end of its work, and boots it anew. Empty when the guest saw no error and finds everything. */
  async finish(): Promise<string[]> {
    try {
      await this.guest.end(WORK_MS);
      this.guest = GuestLoad.boot(this.kernel, this.image, 'verify');
      await this.guest.end(BOOT_MS);
      return /GUEST-VERIFIED work/.test(this.guest.output) ? [] : ['the guest did not find what it wrote'];
    } catch (error) {
      return [`the guest: ${error instanceof Error ? error.message : String(error)}`];
    } finally {
      this.guest.kill();
    }
  }

  kill(): void {
    this.guest.kill();
  }
}
