/** One sentence of what libvirt, QEMU and Nova expect of a shared file system, and how it is tried. */
import type { Node } from '../../support/cluster.js';
import type { Stage } from '../stage.js';
import { Python } from './python.js';

export interface Trial {
  stage: Stage;
  /** The first two nodes. */
  source: Node;
  target: Node;
  /** A folder of its own on the volume, which exists. */
  folder: string;
  python(node: Node): Python;
  atEnd(undo: () => void | Promise<void>): void;
  note(text: string): void;
}

export interface Check {
  /** Whose expectation, and what. */
  sentence: string;
  run(trial: Trial): Promise<void>;
}

let trials = 0;

export async function tryCheck(stage: Stage, check: Check, note: (text: string) => void): Promise<void> {
  const undos: (() => void | Promise<void>)[] = [];
  const [source, target] = [stage.node(0), stage.node(1)];
  const folder = `${stage.instances}/contract-${++trials}`;
  const atEnd = (undo: () => void | Promise<void>): void => void undos.push(undo);
  const python = (node: Node): Python => {
    const started = Python.start(stage, node);
    atEnd(() => started.kill());
    return started;
  };
  await stage.on(source, ['mkdir', folder]);
  try {
    await check.run({ stage, source, target, folder, python, atEnd, note });
  } finally {
    for (const undo of undos.reverse()) await undo();
  }
}
