/** Field kinds that only the brick protocol uses. */
import { f, type Kind } from '../fops/fields.js';
import type { BrickId, View } from '../fops/view.js';

const BRICKS_MAX = 64;

const brickId: Kind<BrickId> = { label: 'brick id', check: (v) => v === '' || f.gfid.check(v) };

function isBrickList(value: unknown): boolean {
  return Array.isArray(value) && value.length <= BRICKS_MAX && value.every((v) => v !== '' && brickId.check(v));
}

export const brickIds: Kind<BrickId[]> = { label: 'brick ids', check: isBrickList };

export const viewKind: Kind<View> = {
  label: 'view',
  check: (v) => Array.isArray(v) && v.length === 4 && f.size.check(v[0]) && brickId.check(v[1]) && isBrickList(v[2]) && isBrickList(v[3]),
  pack: (v) => [v.epoch, v.primary, v.inSync, v.catchingUp],
  unpack: (v) => {
    const [epoch, primary, inSync, catchingUp] = v as [number, BrickId, BrickId[], BrickId[]];
    return { epoch, primary, inSync, catchingUp };
  },
};
