import type { ScrubBrick, VolumeScrub } from '../model.js';
import { brickName, dashed } from '../printable.js';
import { activity } from '../text/scrub.js';
import { element, elementWith, type XmlNode } from './tree.js';

function brickXml(brick: ScrubBrick): XmlNode {
  const { report } = brick;
  const name = element('name', brickName(brick));
  if (report === undefined) return elementWith('brick', { hostUuid: dashed(brick.node) }, name, element('detail', brick.detail));
  return elementWith(
    'brick',
    { hostUuid: dashed(brick.node) },
    name,
    element('scrubbedFiles', report.files),
    element('scrubbedBytes', report.bytes),
    element('uncheckedFiles', report.unchecked),
    element('unreadableFiles', report.unreadable),
    element('lastCompleted', report.endedSec),
    element('durationSeconds', report.durationSec),
    element('corruptedBlocks', report.corrupted),
    element('repairedBlocks', report.repaired),
    element('tornBlocks', report.torn),
    element('damagedBlocks', report.damaged),
    element('lostBlocks', report.lost),
    ...report.damagedFiles.map((gfid) => element('gfid', dashed(gfid))),
  );
}

export function scrubXml(scrub: VolumeScrub): XmlNode {
  return element(
    'volBitrot',
    element('volName', scrub.name),
    element('state', activity(scrub)),
    element('throttle', scrub.throttle),
    element('frequency', scrub.frequency),
    element('bricks', ...scrub.bricks.map(brickXml)),
  );
}
