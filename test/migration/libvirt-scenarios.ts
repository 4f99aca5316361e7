/** Migrations by libvirt, as Nova asks for them. */
import { diskProblems, makeDisk, type DiskKind } from './guest-disk.js';
import { LibvirtMachine } from './libvirt-machine.js';
import { folderName, judge, type Circumstances, type Outcome, type Scenario } from './scenario.js';

const KINDS: readonly DiskKind[] = [
  { format: 'qcow2', cache: 'none', aio: 'native' },
  { format: 'qcow2', cache: 'writeback', aio: 'threads' },
  { format: 'raw', cache: 'writethrough', aio: 'threads' },
];

async function rounds(scene: Circumstances, kind: DiskKind): Promise<Outcome> {
  const { stage, dice, note } = scene;
  const outcome: Outcome = { migrations: [], guestErrors: [], verified: 0, bricks: '', violations: [] };
  const [first, second] = await stage.libvirts();
  const disk = await makeDisk(stage, first.node, folderName(dice), kind);
  const machine = await LibvirtMachine.boot(stage, first, disk, Math.floor(dice.between(1, 1e9)));
  scene.atEnd(() => machine.kill());
  try {
    await machine.ready();
    await machine.progress();
    for (let n = 0; n < scene.rounds; n++) {
      const migration = await machine.migrate(machine.host === first ? second : first);
      outcome.migrations.push(migration);
      note(`now on n${machine.host.node.index + 1}: downtime ${migration.downtimeMs.toFixed(0)} ms of ${migration.totalMs.toFixed(0)} ms, ${machine.console.progress?.verified ?? 0} blocks verified`);
      await machine.progress();
    }
    await machine.end();
    outcome.violations.push(...(await diskProblems(stage, machine.host.node, disk)));
  } catch (error) {
    outcome.violations.push(error instanceof Error ? error.message : String(error), first.log, second.log);
    await machine.kill();
  }
  await judge(stage, [machine], outcome);
  return outcome;
}

export const LIBVIRT: readonly Scenario[] = KINDS.map((kind) => ({
  name: `libvirt-${kind.format}-${kind.cache}`,
  what: `virsh migrate --live with Nova's flags, without --unsafe: a ${kind.format} disk, cache ${kind.cache}, aio ${kind.aio}`,
  rounds: 6,
  run: (scene) => rounds(scene, kind),
}));
