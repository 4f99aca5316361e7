/**
 * The wall clock of a node jumps. libfaketime tells the node's programs another time than the machine's; etcd asks the kernel itself and keeps
 * the true time, which it does not order by.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { nameOf } from './bed.js';
import type { Fault, Scene } from './fault.js';

const LIBRARY = ['x86_64', 'aarch64'].map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketimeMT.so.1`).find((path) => existsSync(path));
const NOTICED_S = 1;

function clockFile({ victim }: Scene): string {
  return join(victim.directory, 'clock');
}

/** Written anew as a whole: the programs read it about every second. */
function setOffset(scene: Scene, seconds: number): void {
  writeFileSync(clockFile(scene), `${seconds < 0 ? '-' : '+'}${Math.abs(seconds)}\n`);
}

async function restart({ bed, victim }: Scene): Promise<void> {
  await bed.killNode(victim);
  await bed.startNode(victim);
  await bed.cluster.waitUntilHealed();
}

function jump(name: string, what: string, seconds: number, short: boolean): Fault {
  return {
    name,
    what,
    short,
    victim: 'any node',
    prepare: async (scene) => {
      if (LIBRARY === undefined) throw new Error('libfaketime is missing: install the package faketime');
      setOffset(scene, 0);
      const { victim } = scene;
      victim.environment = { LD_PRELOAD: LIBRARY, FAKETIME_TIMESTAMP_FILE: clockFile(scene), FAKETIME_CACHE_DURATION: String(NOTICED_S), FAKETIME_DONT_FAKE_MONOTONIC: '1' };
      scene.atEnd(async () => {
        victim.environment = {};
        await restart(scene);
      });
      await restart(scene);
    },
    inject: (scene) => {
      setOffset(scene, seconds);
      scene.note(`${nameOf(scene.victim)}: the clock jumps by ${seconds} s`);
      return Promise.resolve();
    },
    holdS: { short: 5, full: [5, 20] },
    repair: (scene) => {
      setOffset(scene, 0);
      return Promise.resolve();
    },
    stallMs: ({ pingTimeoutMs }) => pingTimeoutMs,
  };
}

export const CLOCK_FAULTS: readonly Fault[] = [
  jump('clock-ahead', 'the clock of a node jumps an hour ahead, and back', 3600, false),
  jump('clock-behind', 'the clock of a node jumps an hour back, and ahead again', -3600, false),
];
