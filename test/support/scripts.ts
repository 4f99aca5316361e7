import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

function findRoot(from: string): string {
  for (let directory = from; ; directory = dirname(directory)) {
    if (existsSync(join(directory, 'package.json'))) return directory;
    if (directory === dirname(directory)) throw new Error(`no package.json above ${from}`);
  }
}

/** The folder of package.json; tests run compiled, one or two folders deeper than their source. */
export const PROJECT_ROOT: string = findRoot(dirname(fileURLToPath(import.meta.url)));

/** Loads `scripts/<name>`, plain JavaScript that is not compiled, as the shape the caller knows it to have. */
export async function loadScript<T>(name: string): Promise<T> {
  return (await import(pathToFileURL(join(PROJECT_ROOT, 'scripts', name)).href)) as T;
}
