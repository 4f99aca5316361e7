/** What can be said about a new volume from its description alone. Errors are Refused with a sentence for the operator. */

import { Refused } from './refused.js';
import type { NodeId } from './records.js';

export interface BrickRequest {
  host: string;
  path: string;
}

const NAME_CHARS_MAX = 255;
/** Words that would be ambiguous on the command line. */
const RESERVED = new Set([
  'all',
  'help',
  'volume',
  'type',
  'subvolumes',
  'option',
  'end-volume',
  'force',
  'info',
  'status',
]);
const PATH_BYTES_MAX = 1024;
const COPIES_MAX = 63;

function invalid(detail: string): Refused {
  return new Refused(detail);
}

export function checkVolumeName(name: string): void {
  if (name === '') throw invalid('the volume name is empty');
  if (name.length > NAME_CHARS_MAX) throw invalid(`the volume name is longer than ${NAME_CHARS_MAX} characters`);
  if (!/^[A-Za-z0-9][A-Za-z0-9_-]*$/.test(name))
    throw invalid(`'${name}' is not a volume name: use letters, digits, - and _, beginning with a letter or digit`);
  if (RESERVED.has(name.toLowerCase()))
    throw invalid(`'${name}' is a word of the command line and cannot name a volume`);
}

/** The path without doubled and trailing slashes. */
export function checkBrickPath(path: string): string {
  if (!path.startsWith('/')) throw invalid(`brick path '${path}' is not absolute: give HOST:/PATH`);
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(path)) throw invalid('a brick path has control characters');
  if (path.includes('\ufffd')) throw invalid('a brick path is not valid UTF-8');
  if (Buffer.byteLength(path) > PATH_BYTES_MAX) throw invalid(`a brick path is longer than ${PATH_BYTES_MAX} bytes`);
  const parts = path.split('/').filter((part) => part !== '');
  if (parts.some((part) => part === '.' || part === '..'))
    throw invalid(`brick path '${path}' must not have . or .. in it`);
  if (parts.length === 0) throw invalid('the root directory cannot be a brick');
  return `/${parts.join('/')}`;
}

/** Replica count of the volume: as given, or 1 for a single brick. */
export function checkCounts(replicaCount: number, brickCount: number): number {
  if (brickCount === 0) throw invalid('no brick was given: add HOST:/PATH for every copy');
  if (replicaCount === 0 && brickCount === 1) return 1;
  if (replicaCount === 0)
    throw invalid(
      `${brickCount} bricks were given without a replica count: give 'replica ${brickCount}' (gluon does not distribute files over bricks yet)`,
    );
  if (replicaCount > COPIES_MAX) throw invalid(`replica ${replicaCount} is too many: at most ${COPIES_MAX}`);
  if (brickCount % replicaCount !== 0)
    throw invalid(`the number of bricks (${brickCount}) is not a multiple of the replica count (${replicaCount})`);
  if (brickCount !== replicaCount)
    throw invalid(
      `${brickCount} bricks for replica ${replicaCount} would distribute files over replica sets, which gluon does not do yet: give ${replicaCount} bricks`,
    );
  if (replicaCount === 1) return 1;
  if (replicaCount > 2 && replicaCount % 2 === 0)
    throw invalid(
      `replica ${replicaCount} survives no more failures than replica ${replicaCount - 1}: give an odd count`,
    );
  return replicaCount;
}

/** True when one path is, contains or lies in the other. */
export function overlaps(a: string, b: string): boolean {
  return a === b || a.startsWith(`${b}/`) || b.startsWith(`${a}/`);
}

/** A place on a node. */
export interface Place extends BrickRequest {
  node: NodeId;
}

/** Bricks of the new volume against each other and against those that exist. `force` allows several bricks of the set on one node. */
export function checkPlaces(
  places: readonly Place[],
  existing: readonly (Place & { volume: string })[],
  force: boolean,
): void {
  for (const [i, place] of places.entries()) {
    const twin = places.slice(0, i).find((other) => other.node === place.node && overlaps(other.path, place.path));
    if (twin !== undefined) {
      if (twin.path === place.path) throw invalid(`brick ${place.host}:${place.path} was given twice`);
      throw invalid(`brick ${place.host}:${place.path} and brick ${twin.host}:${twin.path} lie in each other`);
    }
    const used = existing.find((other) => other.node === place.node && overlaps(other.path, place.path));
    if (used !== undefined) {
      const how = used.path === place.path ? 'is' : used.path.startsWith(`${place.path}/`) ? 'contains' : 'lies in';
      throw invalid(
        `${place.host}:${place.path} ${how} a brick of volume ${used.volume} (${used.host}:${used.path}): choose another directory`,
      );
    }
    const neighbour = places.slice(0, i).find((other) => other.node === place.node);
    if (neighbour !== undefined && !force) {
      throw invalid(
        `bricks ${neighbour.host}:${neighbour.path} and ${place.host}:${place.path} are on one node, whose death would take both copies: choose different nodes, or add 'force'`,
      );
    }
  }
}
