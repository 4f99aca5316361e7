/** The conformance suite over one brick directory, without replication. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LocalFops } from '../../src/brick/local-fops.js';
import { initialiseBrick, openBrick } from '../../src/brick/store/identity.js';
import { RealClock, RealRandom } from '../../src/platform/clock.js';
import { LibcDisk } from '../../src/platform/libc.js';
import { conformanceOf } from './all.js';
import type { Subject } from './suite.js';

const VOLUME = 'a'.repeat(32);
const BRICK = 'b'.repeat(32);

async function directorySubject(): Promise<Subject> {
  const path = mkdtempSync(join(tmpdir(), 'gluon-conformance-'));
  const disk = new LibcDisk();
  initialiseBrick(disk, path, { volumeId: VOLUME, brickId: BRICK, bootId: '' });
  const brick = openBrick(disk, path, VOLUME, BRICK);
  const fops = new LocalFops(brick.store, new RealClock(), new RealRandom());
  return {
    open: async () => ({ fops, close: async () => undefined }),
    manySessions: false,
    exactlyOnce: false,
    goneMs: 0,
    close: async () => {
      brick.store.close();
      rmSync(path, { recursive: true, force: true });
    },
  };
}

conformanceOf('a brick directory', directorySubject);
