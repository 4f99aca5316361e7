/** A client with a bug in a copy of the compiled code, to prove that the suite sees what it must see. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { withPlant } from '../sim/plant.js';
import { run } from '../support/exec.js';
import type { Cluster, Node } from '../support/cluster.js';
import { BUILD_ROOT, PACKAGE_ROOT } from '../support/paths.js';

export interface Plant {
  name: string;
  /** Below src, `.js`; see test/sim/planted-bugs.ts for what to do when an anchor moved. */
  file: string;
  anchor: string;
  replacement: string;
}

/** It lets go of its leases in words only: it goes on answering from memory, and so does its kernel. */
export const KEEPS_WHAT_IS_RECALLED: Plant = {
  name: 'keeps what is recalled',
  file: 'client/client.js',
  anchor: 'const namesForMs = this.cache.forget(message.gfids);',
  replacement: "channel.send({ kind: 'recalled', id: message.id }); return; const namesForMs = 0;",
};

/** It is alive, asks and pings, and never answers a recall. */
export const NEVER_ANSWERS: Plant = {
  name: 'never answers a recall',
  file: 'client/client.js',
  anchor: "const answer = () => channel.send({ kind: 'recalled', id: message.id });",
  replacement: 'const answer = () => undefined;',
};

/** A mount of the node by a client with the plant, at another place, for the time of `body`. */
export async function withPlantedMount(cluster: Cluster, node: Node, plant: Plant, body: (at: string) => Promise<void>): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'planted-'));
  const at = join(node.directory, 'planted');
  mkdirSync(at, { recursive: true });
  const before = node.environment;
  try {
    for (const name of ['node_modules', 'package.json', 'bin', 'deploy', 'src']) symlinkSync(join(PACKAGE_ROOT, name), join(root, name));
    cpSync(join(BUILD_ROOT, 'src'), join(root, 'dist', 'src'), { recursive: true, filter: (path) => !path.endsWith('.map') });
    const path = join(root, 'dist', 'src', plant.file);
    writeFileSync(path, withPlant(readFileSync(path, 'utf8'), plant.file, plant.name, plant.anchor, plant.replacement));
    node.environment = { ...before, GLUON_BUILD: relative(PACKAGE_ROOT, join(root, 'dist')) };
    await cluster.mount(node, at);
    await body(at);
  } finally {
    await cluster.unmount(node, at).catch(() => run('umount', ['-l', at], { accept: 'any' }));
    node.environment = before;
    rmSync(root, { recursive: true, force: true });
  }
}
