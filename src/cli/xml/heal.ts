import type { HealBrick, VolumeHeal } from '../model.js';
import { brickName, dashed } from '../printable.js';
import { entryName, healTotals } from '../text/heal.js';
import { element, elementWith, type XmlNode } from './tree.js';

function healInfo(heal: VolumeHeal, content: (brick: HealBrick) => XmlNode[]): XmlNode {
  const bricks = heal.bricks.map((brick) =>
    elementWith('brick', { hostUuid: dashed(brick.node) }, element('name', brickName(brick)), ...content(brick)),
  );
  return element('healInfo', element('bricks', ...bricks));
}

function status(brick: HealBrick): XmlNode {
  return element('status', brick.connected ? 'Connected' : 'Transport endpoint is not connected');
}

function count(brick: HealBrick): string {
  return brick.connected && brick.entryCount !== undefined ? String(brick.entryCount) : '-';
}

/** What gluon adds, only for a brick that lacks something. */
function progress(brick: HealBrick): XmlNode[] {
  if (brick.role !== 'catching up' && brick.bytesLeft === 0) return [];
  const estimate = brick.secondsLeft === undefined ? [] : [element('secondsLeft', Math.ceil(brick.secondsLeft))];
  return [element('bytesLeft', brick.bytesLeft), element('bytesDone', brick.bytesDone), ...estimate];
}

export function healInfoXml(heal: VolumeHeal): XmlNode {
  return healInfo(heal, (brick) => [
    ...(brick.connected ? brick.entries : []).map((entry) =>
      elementWith('file', { gfid: dashed(entry.gfid) }, entryName(entry)),
    ),
    status(brick),
    element('numberOfEntries', count(brick)),
    ...progress(brick),
  ]);
}

export function healSummaryXml(heal: VolumeHeal): XmlNode {
  return healInfo(heal, (brick) => {
    const totals = healTotals(heal, brick);
    return [
      status(brick),
      element('totalNumberOfEntries', totals.total),
      element('numberOfEntriesInHealPending', totals.pending),
      element('numberOfEntriesInSplitBrain', totals.splitBrain),
      element('numberOfEntriesPossiblyHealing', totals.healing),
      ...progress(brick),
    ];
  });
}

export function healSplitBrainXml(heal: VolumeHeal): XmlNode {
  return healInfo(heal, (brick) => [
    status(brick),
    element('numberOfEntriesInSplitBrain', brick.connected ? '0' : '-'),
  ]);
}

export function healCountXml(heal: VolumeHeal): XmlNode {
  return healInfo(heal, (brick) => [element('numberOfEntries', count(brick))]);
}
