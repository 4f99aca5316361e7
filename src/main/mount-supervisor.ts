import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The supervisor's script, which lies beside this file's source, not beside its compiled form. */
export function supervisorScript(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'package.json'))) {
    const parent = dirname(directory);
    if (parent === directory) throw new Error('the mount supervisor was not found: the gluon package is incomplete');
    directory = parent;
  }
  return join(directory, 'src', 'main', 'mount-supervisor.sh');
}
