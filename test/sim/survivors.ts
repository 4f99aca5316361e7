/**
 * What must be there after all bricks lost power at once: everything that an acknowledged fsync covered, unless a later change may have replaced it. What was not
 * synced may be there, or not, or a block may be torn between the two.
 */
import type { Operation } from '../support/linearizability.js';
import { isDirectoryId, UNWRITTEN, type BlockInput, type NamesInput, type NamesOutput, type Place } from '../support/sequential-models.js';
import type { Content, Histories, Sync } from './histories.js';

/** Violations. `after` is what was found once the bricks were back. */
export function checkSurvivors(before: Histories, after: Content): string[] {
  return [...checkBlocks(before, after), ...checkFile(before, after), ...checkNames(before, after)];
}

function changed(operation: Operation<BlockInput, string>): string | undefined {
  const { input } = operation;
  return 'write' in input ? input.write : 'scribble' in input ? input.scribble : undefined;
}

function lastSync(syncs: readonly Sync[], ...objects: string[]): Sync | undefined {
  return syncs.filter((sync) => objects.includes(sync.object)).toSorted((a, b) => b.call - a.call)[0];
}

function checkBlocks(before: Histories, after: Content): string[] {
  const wrong: string[] = [];
  for (const [block, found] of after.blocks) {
    const sync = lastSync(before.syncs, 'blocks', block);
    const writes = before.blocks.operations.filter((operation) => operation.input.block === block && changed(operation) !== undefined);
    const covered = writes.filter((write) => sync !== undefined && write.return < sync.call);
    const uncovered = writes.filter((write) => !covered.includes(write));
    // The last of the covered ones; several where they ran at the same time.
    const last = covered.filter((write) => !covered.some((later) => later.call > write.return));
    const possible = last.length > 0 ? last.map(changed) : [before.initial.blocks.get(block) ?? UNWRITTEN];
    const scribbled = writes.some((write) => 'scribble' in write.input && (last.includes(write) || uncovered.includes(write)));
    if (possible.includes(found) || scribbled || uncovered.some((write) => changed(write) === found)) continue;
    if (uncovered.length > 0 && (found.startsWith('torn') || found === UNWRITTEN)) continue;
    wrong.push(`after the loss of power ${block} holds ${JSON.stringify(found)}; synced were ${possible.join()}, later came ${uncovered.map(changed).join()}`);
  }
  return wrong;
}

/** Entries that were appended, acknowledged and synced, while nobody truncated since. */
function checkFile(before: Histories, after: Content): string[] {
  const sync = lastSync(before.syncs, 'file');
  if (sync === undefined) return [];
  const { operations } = before.file;
  if (operations.some(({ input, return: end }) => 'truncate' in input && end >= sync.call)) return [];
  const truncated = Math.max(0, ...operations.filter(({ input }) => 'truncate' in input).map(({ return: end }) => end));
  const wrong: string[] = [];
  for (const { input, output, call, return: end } of operations) {
    if (!('append' in input) || typeof output !== 'number' || end >= sync.call || call <= truncated) continue;
    if (after.file[output] !== input.append) wrong.push(`after the loss of power entry ${output} of the file is ${JSON.stringify(after.file[output])}, ${input.append} was synced`);
  }
  return wrong;
}

function placesOf(input: NamesInput): Place[] {
  if ('rename' in input) return [input.rename, input.to];
  if ('link' in input) return [input.to];
  return 'create' in input ? [input.create] : 'mkdir' in input ? [input.mkdir] : 'unlink' in input ? [input.unlink] : 'rmdir' in input ? [input.rmdir] : [];
}

/** Names of files that were created and synced (by the file or its directory), where nothing else touched the name since. */
function checkNames(before: Histories, after: Content): string[] {
  const wrong: string[] = [];
  const { operations } = before.names;
  for (const made of operations) {
    const place = 'create' in made.input ? made.input.create : undefined;
    const id = made.output?.id;
    if (place === undefined || id === undefined || isDirectoryId(id)) continue;
    const [directory = ''] = place.split('/');
    const sync = before.syncs.some((candidate) => (candidate.object === id || candidate.object === directory) && candidate.call > made.return);
    const touched = operations.some((other) => other !== made && mayChange(other) && other.return > made.call && placesOf(other.input).includes(place));
    if (!sync || touched || after.names.get(place) === id) continue;
    wrong.push(`after the loss of power ${place} is ${after.names.get(place) ?? 'absent'}; it was made as ${id} and synced`);
  }
  return wrong;
}

function mayChange(operation: Operation<NamesInput, NamesOutput>): boolean {
  return operation.output?.error === undefined;
}
