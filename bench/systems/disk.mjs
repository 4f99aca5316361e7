/** The bare disk: the same filesystem that holds the bricks. */
import { join } from 'node:path';

export class DiskSystem {
  constructor(directory) {
    this.directory = join(directory, 'disk');
  }

  up() {
    return Promise.resolve(this.directory);
  }

  down() {
    return Promise.resolve();
  }
}
