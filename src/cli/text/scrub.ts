import type { ScrubBrick, VolumeScrub } from '../model.js';
import { brickName, dashed, printable } from '../printable.js';
import { size } from './units.js';

const RULE = '='.repeat(57);

/** UTC, as GlusterFS prints it; what stands for a run that never ended otherwise. */
function completed(sec: number): string {
  return sec === 0 ? 'Scrubber pending to complete.' : new Date(sec * 1000).toISOString().slice(0, 19).replace('T', ' ');
}

function days(seconds: number): string {
  const [d, h, m, s] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60];
  return `${d}:${h}:${m}:${s}`;
}

/** What GlusterFS puts in brackets behind `Active`. */
export function activity(scrub: VolumeScrub): string {
  if (scrub.scrub === 'pause') return 'Paused';
  return scrub.bricks.some((brick) => brick.report?.state === 'running') ? 'Active (In Progress)' : 'Active (Idle)';
}

function brickText(brick: ScrubBrick): string[] {
  const { report } = brick;
  const head = [RULE, '', `Brick: ${brickName(brick)}`, ''];
  if (report === undefined) return [...head, `Not known: ${printable(brick.detail)}`, ''];
  const now = report.state === 'waiting' ? [] : [`Under way: ${report.filesNow} files, ${size(report.bytesNow)}`, ''];
  return [
    ...head,
    ...now,
    `Number of Scrubbed files: ${report.files}`,
    '',
    `Number of Skipped files: ${report.unchecked + report.unreadable}`,
    '',
    `Last completed scrub time: ${completed(report.endedSec)}`,
    '',
    `Duration of last scrub (D:M:H:M:S): 0:${days(report.durationSec)}`,
    '',
    `Files without checksums yet: ${report.unchecked}`,
    '',
    `Damaged blocks found: ${report.corrupted}`,
    '',
    `Damaged blocks repaired: ${report.repaired}`,
    '',
    `Damaged blocks that no brick has right: ${report.lost}`,
    '',
    `Error count: ${report.damaged}`,
    '',
    ...(report.damagedFiles.length === 0 ? [] : ["Corrupted object's [GFID]:", '', ...report.damagedFiles.map(dashed), '']),
  ];
}

/** `volume bitrot NAME scrub status`. */
export function scrubText(scrub: VolumeScrub): string[] {
  return [
    `Volume name : ${printable(scrub.name)}`,
    '',
    `State of scrub: ${activity(scrub)}`,
    '',
    `Scrub impact: ${printable(scrub.throttle)}`,
    '',
    `Scrub frequency: ${printable(scrub.frequency)}`,
    '',
    ...scrub.bricks.flatMap(brickText),
    RULE,
  ];
}
