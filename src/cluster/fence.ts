/** Taking a brick's serving lease away on a node that this one may not reach. */
import { Errno, LostError } from '../base/errno.js';
import type { BrickId } from '../fops/view.js';
import type { NodeService } from './node-service.js';
import type { NodeId } from './records.js';

/**
 * Asks the gluond of `target` directly, and every other one to pass it on: where the link between two nodes is cut, a third may reach both, and without it
 * a member that is alive and out of reach would hold the set up for ever. Resolves with the first answer; rejects with LostError when nobody got one.
 */
export async function fenceByAnyWay(
  nodes: NodeService,
  others: readonly NodeId[],
  target: NodeId,
  brick: BrickId,
  epoch: number,
): Promise<void> {
  const ways: Promise<unknown>[] = [nodes.call(target, 'fence', { brick, epoch })];
  for (const node of others) ways.push(nodes.call(node, 'fenceFor', { node: target, brick, epoch }));
  try {
    await Promise.any(ways);
  } catch (error) {
    const { errors } = error as AggregateError;
    const [first] = errors as unknown[];
    throw new LostError(
      `node ${target} cannot be reached from any node: ${first instanceof Error ? first.message : String(first)}`,
      Errno.ETIMEDOUT,
    );
  }
}
