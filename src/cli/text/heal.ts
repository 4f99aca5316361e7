import type { HealBrick, HealEntry, VolumeHeal } from '../model.js';
import { brickName, dashed, printable, printablePath } from '../printable.js';
import { duration, size } from './units.js';

const BAR_WIDTH = 30;

function connection(brick: HealBrick): string {
  if (brick.connected) return 'Status: Connected';
  return `Status: Transport endpoint is not connected${brick.detail === '' ? '' : ` (${printable(brick.detail)})`}`;
}

function count(brick: HealBrick): string {
  return brick.connected && brick.entryCount !== undefined ? String(brick.entryCount) : '-';
}

/** `[#######.......................]  23 %`; full only when nothing is left. */
export function progressBar(done: number, left: number): string {
  const share = left <= 0 ? 1 : Math.min(0.99, done / Math.max(1, done + left));
  const filled = Math.floor(share * BAR_WIDTH);
  return `[${'#'.repeat(filled)}${'.'.repeat(BAR_WIDTH - filled)}] ${String(Math.floor(share * 100)).padStart(3)} %`;
}

/** What gluon adds for a brick that is being healed: nothing for one that is in sync. */
function progress(brick: HealBrick, bar: boolean): string[] {
  if (brick.role !== 'catching up' && brick.bytesLeft === 0) return [];
  const reason = brick.detail === '' ? '' : `, ${printable(brick.detail)}`;
  const waits = brick.role === 'catching up' ? reason : ', waits for the brick to come back';
  const estimate = brick.secondsLeft === undefined ? '' : `, about ${duration(brick.secondsLeft)}`;
  const lines = [`Left to copy: ${size(brick.bytesLeft)}${waits === '' ? estimate : waits}`];
  if (bar && waits === '') lines.push(`Progress: ${progressBar(brick.bytesDone, brick.bytesLeft)}`);
  return lines;
}

/** Its path, or `<gfid:…>` where that is not known. */
export function entryName(entry: HealEntry): string {
  return entry.path === '' ? `<gfid:${dashed(entry.gfid)}>` : printablePath(entry.path);
}

function entries(brick: HealBrick): string[] {
  if (!brick.connected) return [];
  return brick.entries.map(entryName);
}

/** `heal NAME info`. `bar`: stdout is a terminal. */
export function healInfoText(heal: VolumeHeal, bar: boolean): string[] {
  return heal.bricks.flatMap((brick) => [
    `Brick ${brickName(brick)}`,
    ...entries(brick),
    connection(brick),
    `Number of entries: ${count(brick)}`,
    ...progress(brick, bar),
    '',
  ]);
}

/** How the entries of a brick divide: gluon knows no split-brain, and an entry is being healed when the brick that lacks it is catching up. */
export function healTotals(
  heal: VolumeHeal,
  brick: HealBrick,
): { total: string; pending: string; splitBrain: string; healing: string } {
  const total = count(brick);
  if (total === '-') return { total, pending: '-', splitBrain: '-', healing: '-' };
  const healing = heal.bricks.some((other) => other.role === 'catching up');
  return { total, pending: healing ? '0' : total, splitBrain: '0', healing: healing ? total : '0' };
}

export function healSummaryText(heal: VolumeHeal, bar: boolean): string[] {
  return heal.bricks.flatMap((brick) => {
    const totals = healTotals(heal, brick);
    return [
      `Brick ${brickName(brick)}`,
      connection(brick),
      `Total Number of entries: ${totals.total}`,
      `Number of entries in heal pending: ${totals.pending}`,
      `Number of entries in split-brain: ${totals.splitBrain}`,
      `Number of entries possibly healing: ${totals.healing}`,
      ...progress(brick, bar),
      '',
    ];
  });
}

/** There is no split-brain in gluon, so this always tells 0. */
export function healSplitBrainText(heal: VolumeHeal): string[] {
  return heal.bricks.flatMap((brick) => [
    `Brick ${brickName(brick)}`,
    connection(brick),
    `Number of entries in split-brain: ${brick.connected ? '0' : '-'}`,
    '',
  ]);
}

export function healCountText(heal: VolumeHeal, title: string): string[] {
  return [
    title,
    '',
    ...heal.bricks.flatMap((brick) => [`Brick ${brickName(brick)}`, `Number of entries: ${count(brick)}`, '']),
  ];
}
