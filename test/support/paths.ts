/** Where things are in the source tree, whichever build directory the tests were compiled to. */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

function packageRoot(): string {
  let dir = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(dir, 'package.json'))) {
    const parent = dirname(dir);
    if (parent === dir) throw new Error('package.json not found above the tests');
    dir = parent;
  }
  return dir;
}

export const PACKAGE_ROOT = packageRoot();
/** The directory with src/ and test/ as compiled: dist, or the build that these tests belong to. */
export const BUILD_ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..');
/** Files of test/support that are not compiled (Python, shell). */
export const SUPPORT_SOURCE = join(PACKAGE_ROOT, 'test', 'support');
