import type { Volume } from '../model.js';
import { brickName, dashed, printable } from '../printable.js';

/** How many replica sets the volume has. */
export function setCount(volume: Volume): number {
  return Math.max(1, Math.round(volume.bricks.length / Math.max(1, volume.replicaCount)));
}

export function typeText(volume: Volume): string {
  if (volume.replicaCount <= 1) return 'Distribute';
  return setCount(volume) > 1 ? 'Distributed-Replicate' : 'Replicate';
}

function brickCountText(volume: Volume): string {
  if (volume.replicaCount <= 1) return String(volume.bricks.length);
  return `${setCount(volume)} x ${volume.replicaCount} = ${volume.bricks.length}`;
}

/** One volume of `volume info`; the line before it holds one space. */
function volumeInfoLines(volume: Volume): string[] {
  const lines = [
    ' ',
    `Volume Name: ${printable(volume.name)}`,
    `Type: ${typeText(volume)}`,
    `Volume ID: ${dashed(volume.id)}`,
    `Status: ${volume.state}`,
    'Snapshot Count: 0',
    `Number of Bricks: ${brickCountText(volume)}`,
    'Transport-type: tcp',
    'Bricks:',
    ...volume.bricks.map((brick, index) => `Brick${index + 1}: ${brickName(brick)}`),
  ];
  if (volume.options.length > 0) lines.push('Options Reconfigured:');
  for (const option of volume.options) lines.push(`${printable(option.key)}: ${printable(option.value)}`);
  return lines;
}

export function volumeInfoText(volumes: Volume[]): string[] {
  return volumes.flatMap(volumeInfoLines);
}
