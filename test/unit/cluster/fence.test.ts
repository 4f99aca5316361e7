/** Fencing a node that not every other one reaches. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LostError } from '../../../src/base/errno.js';
import { fenceByAnyWay } from '../../../src/cluster/fence.js';
import type { NodeService } from '../../../src/cluster/node-service.js';

/** Node a asks; `links` says who reaches whom. */
function service(links: string[], calls: string[]): NodeService {
  const reach = (from: string, to: string): Promise<never> =>
    links.includes(from + to) ? (Promise.resolve({}) as Promise<never>) : Promise.reject(new LostError(`${from} does not reach ${to}`));
  return {
    call: async (node, call, args) => {
      calls.push(`${call} ${node}`);
      await reach('a', node);
      return call === 'fenceFor' ? reach(node, (args as { node: string }).node) : ({} as never);
    },
  };
}

const TABLE: [why: string, links: string[], fenced: boolean][] = [
  ['directly', ['ab'], true],
  ['by way of a third node', ['ac', 'cb'], true],
  ['nobody reaches it', ['ac'], false],
  ['the asking node reaches nobody', ['cb'], false],
];
for (const [why, links, fenced] of TABLE) {
  test(`${why}: ${fenced ? 'fenced' : 'not known'}`, async () => {
    const calls: string[] = [];
    const work = fenceByAnyWay(service(links, calls), ['c'], 'b', 'brick', 3);
    if (fenced) await work;
    else await assert.rejects(work, (error) => error instanceof LostError);
    assert.deepEqual(calls, ['fence b', 'fenceFor c']);
  });
}
